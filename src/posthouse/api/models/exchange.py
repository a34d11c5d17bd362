"""A request, what was signed of it, and the answer."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from posthouse.api.models.common import Answer, milliseconds, text_or_base64
from posthouse.domain.exchange import Timings
from posthouse.domain.limits import SIGNED_SHOWN_BYTES_MAX
from posthouse.domain.signing import Place, StandardSigner
from posthouse.manage.requests import RequestView, Signed
from posthouse.wire.signing.signers import written_by


class TimingsAnswer(Answer):
    """Milliseconds of each phase; null for one that did not take place (a connection that was open already)."""

    dns_ms: float | None
    connect_ms: float | None
    tls_ms: float | None
    first_byte_ms: float | None
    total_ms: float


class HeaderAnswer(Answer):
    """A header line."""

    name: str
    value: str


class RequestAnswer(Answer):
    """The request, made again from the event and the endpoint as it was then; without the signature."""

    method: str
    url: str
    headers: list[HeaderAnswer]
    body: str | None
    body_base64: Annotated[str | None, Field(description="Instead of body where it is no UTF-8 text.")]


class ResponseAnswer(Answer):
    """The answer, cut to what is kept of it."""

    status: int | None
    headers: list[HeaderAnswer]
    body: str | None
    body_base64: Annotated[str | None, Field(description="Instead of body where it is no UTF-8 text.")]


class WrittenAnswer(Answer):
    """Where a signer writes: its signature, and what goes along with it."""

    place: Annotated[Place, Field(alias="in")]
    name: str


class SignedAnswer(Answer):
    """What a signer signed: the base string, without any key and without the signature."""

    kind: Annotated[str, Field(examples=["standard"])]
    algorithm: Annotated[str | None, Field(description="null of standard, which takes that of its key.")]
    key: Annotated[str, Field(description="Name of the key.", examples=["secret"])]
    written: list[WrittenAnswer]
    base: Annotated[
        str | None,
        Field(
            description=f"Its first {SIGNED_SHOWN_BYTES_MAX} bytes; null where the body was encrypted.",
            examples=['evt_06b1v8k3m5x7q2n9r4t6w8y0aa.1767323045.{"type":"order.created"}'],
        ),
    ]
    base_base64: Annotated[str | None, Field(description="Instead of base where it is no UTF-8 text.")]
    base_bytes: Annotated[int | None, Field(description="Of the whole.")]
    exact: Annotated[
        bool,
        Field(
            description="Whether it is what was signed, byte for byte. false where the key is a part of it (a mask stands "
            "there), where chance had a part, or where data of the event are masked."
        ),
    ]

    @classmethod
    def of(cls, signed: Signed) -> SignedAnswer:
        signer, whole = signed.signer, signed.base
        text, base64 = (None, None) if whole is None else _beginning(whole)
        return cls(
            kind=str(signer.__struct_config__.tag),
            algorithm=None if isinstance(signer, StandardSigner) else signer.algorithm.value,
            key=signer.key,
            written=[WrittenAnswer(place=place, name=name) for place, name in written_by(signer)],
            base=text,
            base_base64=base64,
            base_bytes=None if whole is None else len(whole),
            exact=signed.exact,
        )


def timings_of(timings: Timings) -> dict[str, Any]:
    """The fields of `TimingsAnswer`."""
    return {
        "dns_ms": milliseconds(timings.dns_us),
        "connect_ms": milliseconds(timings.connect_us),
        "tls_ms": milliseconds(timings.tls_us),
        "first_byte_ms": milliseconds(timings.first_byte_us),
        "total_ms": timings.total_us / 1000,
    }


def request_answer(request: RequestView | None) -> RequestAnswer | None:
    """A request as it is told."""
    if request is None:
        return None
    body, body_base64 = text_or_base64(request.body)
    return RequestAnswer(
        method=request.method,
        url=request.url,
        headers=[HeaderAnswer(name=name, value=value) for name, value in request.headers],
        body=body,
        body_base64=body_base64,
    )


def response_answer(status: int | None, head: bytes | None, content: bytes | None) -> ResponseAnswer | None:
    """An answer as it is told."""
    if status is None:
        return None
    headers = []
    for line in (head or b"").split(b"\r\n"):
        name, colon, value = line.partition(b": ")
        if colon:
            headers.append(HeaderAnswer(name=name.decode("latin-1"), value=value.decode("latin-1")))
    body, body_base64 = text_or_base64(content or b"")
    return ResponseAnswer(status=status, headers=headers, body=body, body_base64=body_base64)


def _beginning(whole: bytes) -> tuple[str | None, str | None]:
    """The beginning of a base string as text or base64, not cut within a character."""
    cut = whole[:SIGNED_SHOWN_BYTES_MAX]
    if len(cut) < len(whole):
        end = len(cut)
        while end > len(cut) - 3 and whole[end] & 0xC0 == 0x80:
            end -= 1
        cut = cut[:end]
    return text_or_base64(cut)
