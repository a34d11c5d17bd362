"""Requests made again, to be looked at: as they were sent, and what was signed of them; without any key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from posthouse.domain.authentication import ApiKeyAuth, KeyPlace
from posthouse.domain.delivery import DeliveryClass
from posthouse.domain.endpoint import Endpoint, EndpointConfig, Secret
from posthouse.domain.errors import Invalid
from posthouse.domain.event import JSON_CONTENT, Event
from posthouse.domain.exchange import Request
from posthouse.domain.redaction import REDACTED, is_credential, redacted_payload
from posthouse.domain.signing import Signer, StandardSigner
from posthouse.ports.expressions import NO_EXPRESSIONS, Expressions
from posthouse.ports.inspect import AttemptRecord
from posthouse.ports.writing import WRITTEN_HERE, Writer
from posthouse.send.preparing import prepared_alone
from posthouse.send.rendering import written
from posthouse.wire.message import Unsendable
from posthouse.wire.renderer import AnyRenderer, renderer_of
from posthouse.wire.signing.keys import SignedBy
from posthouse.wire.spoken import SpokenRenderer
from posthouse.wire.transforming import NotEvaluated, NotTransformed
from posthouse_sdk.signatures import HMAC_KEY_BYTES

_SIGNATURE: Final = b"webhook-signature"
_NO_SECRET: Final = Secret("v1", bytes(HMAC_KEY_BYTES))


class Signed(msgspec.Struct, frozen=True):
    """What a signer signed. `base` is None where it cannot be made again; `exact` says that it is what was signed, byte for
    byte."""

    signer: Signer
    base: bytes | None
    exact: bool


class RequestView(msgspec.Struct, frozen=True):
    """A request as it was sent, without its signature and what authenticates it, and with a mask over headers that look like
    credentials."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


def shown(event: Event, pointers: Sequence[str]) -> Event:
    """The event as people see it."""
    if not pointers:
        return event
    is_json = event.content_type == JSON_CONTENT
    return msgspec.structs.replace(event, payload=redacted_payload(event.payload, pointers, is_json=is_json))


async def request_of(
    record: AttemptRecord, expressions: Expressions = NO_EXPRESSIONS, writer: Writer = WRITTEN_HERE
) -> RequestView | None:
    """The request of an attempt; None where nothing was sent, or where what it was made of is gone. What is masked of the event
    stays so in what is made of it: where nothing can be, there is no request to be shown either."""
    url = record.facts.url
    request = await _made_again(record, expressions, writer, lambda endpoint: shown_by(endpoint, url=url))
    return None if request is None else view_of(request, url)


async def signed_of(
    record: AttemptRecord,
    expressions: Expressions = NO_EXPRESSIONS,
    writer: Writer = WRITTEN_HERE,
    *,
    masked: bool = False,
) -> tuple[Signed, ...] | None:
    """What was signed of an attempt's request, by each signer in the order of their configuration. None where the request
    cannot be made again, and where it brought several events, since it is not known which.

    Nothing is signed and no key is read: where a key is itself among what is signed, a mask stands for it. Then what is told is
    not `exact`; nor is it where chance had a part, or something is `masked` of the event. Of an encrypted body nothing is told.
    """
    config, url = record.config, record.facts.url
    if config is None or config.batch is not None:
        return None
    signing = (StandardSigner(),) if config.signing is None else config.signing
    if not signing or config.encryption is not None:
        return tuple([Signed(signer, None, exact=False) for signer in signing])

    async def bases(random: Callable[[int], bytes], mask: str) -> dict[int, bytes] | None:
        told: dict[int, bytes] = {}
        by = SignedBy(mask.encode(), told.__setitem__)
        made = await _made_again(
            record, expressions, writer, lambda endpoint: _told_by(endpoint, url, signing, by, random)
        )
        return None if made is None else told

    # Made twice, with other chance and another mask: what is the same in both is what was signed.
    one, other = await bases(bytes, REDACTED), await bases(_ones, REDACTED.swapcase())
    if one is None or other is None:
        return None
    exact = not masked and _seen_whole(config)
    return tuple(
        [Signed(signer, one.get(i), exact=exact and one.get(i) == other.get(i)) for i, signer in enumerate(signing)]
    )


async def _made_again(
    record: AttemptRecord, expressions: Expressions, writer: Writer, renderer_for: Callable[[Endpoint], AnyRenderer]
) -> Request | None:
    facts, event, config = record.facts, record.event, record.config
    if not facts.sent or event is None or config is None:
        return None
    endpoint = msgspec.structs.replace(config, dynamic_url=None).endpoint(
        id=facts.endpoint_id,
        app_id=facts.app_id,
        partition=event.partition,
        revision=facts.revision,
        pinned_schemas=record.pinned_schemas,
    )
    replay = facts.kind == DeliveryClass.REPLAY.value
    try:
        made = await prepared_alone(expressions, writer, endpoint, event)
        if isinstance(made, NotTransformed):
            return None
        renderer = renderer_for(endpoint)
        if made is not None:
            renderer = made.by(renderer)
        return await written(writer, renderer, [event], now=facts.started_at, replay=replay)
    except (Invalid, Unsendable, NotEvaluated):
        return None


def _told_by(
    endpoint: Endpoint, url: str, signing: tuple[Signer, ...], by: SignedBy, random: Callable[[int], bytes]
) -> AnyRenderer:
    """As `shown_by`, with everything that comes before signing and tells of no key."""
    shown = msgspec.structs.replace(
        endpoint, signing=signing, secrets=(), auth=None, tls=None, proxy="", proxy_key="", source_address=""
    )
    return SpokenRenderer(shown, random=random, url=url, checked=True, signed_by=by)


def _seen_whole(config: EndpointConfig) -> bool:
    """Whether nothing that signers see comes from a key: what authenticates may be in the URL or the body."""
    auth = config.auth
    return not (isinstance(auth, ApiKeyAuth) and auth.place is not KeyPlace.HEADER)


def _ones(size: int) -> bytes:
    return b"\x11" * size


def shown_by(endpoint: Endpoint, *, url: str) -> AnyRenderer:
    """Makes the requests to an endpoint as they may be shown: as they are before they are encrypted, authenticated,
    compressed and signed, so without keys; what chance decides is zero in them."""
    standard = endpoint.signing is None
    shown = msgspec.structs.replace(
        endpoint,
        signing=None if standard else (),
        # What comes along with the signature is shown, and it is not.
        secrets=(_NO_SECRET,) if standard else (),
        encryption=None,
        compress=None,
        auth=None,
        tls=None,
        proxy="",
        proxy_key="",
        source_address="",
    )
    return renderer_of(shown, random=bytes, url=url, checked=True)


def view_of(request: Request, url: str) -> RequestView:
    """A request as people see it."""
    first, *lines = request.head.rstrip(b"\r\n").split(b"\r\n")
    headers = []
    for line in lines:
        name, _, value = line.partition(b": ")
        if name.lower() != _SIGNATURE:
            text = name.decode("latin-1")
            headers.append((text, REDACTED if is_credential(text) else value.decode("latin-1")))
    return RequestView(first.partition(b" ")[0].decode("ascii"), url, tuple(headers), request.body)
