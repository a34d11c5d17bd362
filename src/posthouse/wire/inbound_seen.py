"""A request of somebody else as expressions and templates see it, and its body as it is published. Pure.

    {"method", "path", "query": {…}, "headers": {…}, "body": …, "text": …, "event": {"id", "type", "time"},
     "remote", "request_id"}

What lets somebody in is left out: credentials, cookies, signatures.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from posthouse.domain.event import JSON_CONTENT
from posthouse.domain.limits import INBOUND_EXCERPT_BYTES_MAX, INBOUND_TEXT_BYTES_MAX
from posthouse.wire.headers import UNKNOWN_CONTENT, is_content_type
from posthouse_sdk.profiles import documents
from posthouse_sdk.profiles.documents import Unreadable
from posthouse_sdk.profiles.request import kind_of

UTF_8: Final = "utf-8"

_passed_over: Final = msgspec.json.Decoder(msgspec.Raw).decode

_SECRET: Final = re.compile(
    r"(?:\A|[-_])(?:authorization|cookie2?|signature(?:-input|-256)?|sign|hmac(?:-sha\d+)?|secret|passw(?:or)?d|credentials?"
    r"|api-?key|(?:access|auth|verify|csrf|xsrf|gitlab|security)[-_]?token)\Z|\A(?:token|sig|key)\Z",
    re.IGNORECASE,
)
"""Names of headers and parameters that never are only what they are called."""


class InboundRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it came. Names of headers are in lower case, `path` and `query` as they were sent; `id` is of this request
    alone, and `at` (unix seconds) is when it came."""

    id: str
    at: float
    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    remote: str | None = None

    def items(self) -> tuple[tuple[str, str], ...]:
        """Its headers, those that are there twice too, as the SDK takes them."""
        return self.headers

    def header(self, name: str) -> str | None:
        """The first of this name."""
        return next((value for each, value in self.headers if each == name), None)


class Content(msgspec.Struct, frozen=True):
    """A body to publish. `seen` is what it says, `text` its beginning where that is not JSON. `fault`: it is not what its
    content type says."""

    data: bytes
    content_type: str
    seen: Any = None
    text: str | None = None
    fault: str | None = None


def content_of(data: bytes, content_type: str, kind: str = "raw") -> Content:
    """What came as this content type, of a kind that a profile says (`kind_of` in the SDK)."""
    kind = kind_of(kind, content_type)
    told = content_type if is_content_type(content_type) else UNKNOWN_CONTENT
    if kind == "json" or (kind == "raw" and not content_type):
        try:
            data.decode()  # the strings of what is passed over are not looked at
            _passed_over(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            if kind == "json":
                return Content(data, told, text=_text(data), fault=f"the body is no JSON: {error}")
        else:
            return Content(data, JSON_CONTENT, msgspec.Raw(data))
    seen = None
    try:
        if kind == "form":
            seen = _gathered(documents.form_of(documents.text_of(data, "ascii"), UTF_8))
        elif kind == "xml":
            seen = documents.xml_of(data, content_type).value()
    except Unreadable as error:
        return Content(data, told, text=_text(data), fault=str(error))
    return Content(data, told, seen, _text(data))


def seen_of(
    request: InboundRequest,
    content: Content,
    *,
    secret: Iterable[str] = (),
    event: Mapping[str, str | None] | None = None,
) -> bytes:
    """The whole as a JSON object; `secret` are more names of headers and parameters that are left out."""
    hidden = {name.lower() for name in secret}
    seen = {
        "method": request.method,
        "path": request.path,
        "query": _gathered(_shown(_pairs(request.query), hidden)),
        "headers": _joined(_shown(request.headers, hidden)),
        "body": content.seen,
        "text": content.text,
        "event": event,
        "remote": request.remote,
        "request_id": request.id,
    }
    return _encoded(seen)


def excerpt_of(request: InboundRequest, *, secret: Iterable[str] = ()) -> bytes:
    """What is kept of a request that nobody vouches for."""
    begin = request.body[:INBOUND_EXCERPT_BYTES_MAX]
    hidden = {name.lower() for name in secret}
    return _encoded(
        {
            "method": request.method,
            "path": request.path,
            "query": _bounded(_gathered(_shown(_pairs(request.query), hidden))),
            "headers": _bounded(_joined(_shown(request.headers, hidden))),
            "text": begin.decode("utf-8", "replace"),
            "bytes": len(request.body),
            "remote": request.remote,
        }
    )


def _encoded(value: Any) -> bytes:
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:  # of a lone half of a surrogate pair, which XML's and JSON's escapes can name
        return msgspec.json.encode(_without_surrogates(value))


def _without_surrogates(value: Any) -> Any:
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case dict():
            return {_without_surrogates(name): _without_surrogates(each) for name, each in value.items()}
        case list():
            return [_without_surrogates(each) for each in value]
        case _:
            return value


def _pairs(query: str) -> list[tuple[str, str]]:
    try:
        return documents.form_of(query, UTF_8)
    except Unreadable:
        return []


def _shown(pairs: Iterable[tuple[str, str]], hidden: set[str]) -> list[tuple[str, str]]:
    return [
        (name, value) for name, value in pairs if name.lower() not in hidden and _SECRET.search(name.strip()) is None
    ]


def _gathered(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Names and values; of a name that is there several times, a list."""
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def _joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Headers by name; lines of one name are a list with commas (RFC 9110, section 5.3)."""
    found: dict[str, str] = {}
    for name, value in pairs:
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _bounded(found: Mapping[str, Any]) -> dict[str, Any]:
    """As much of it as may be kept of a stranger's."""
    kept: dict[str, Any] = {}
    size = 0
    for name, value in found.items():
        size += len(name) + len(str(value))
        if size > INBOUND_EXCERPT_BYTES_MAX:
            break
        kept[name] = value
    return kept


def _text(data: bytes) -> str:
    return data[:INBOUND_TEXT_BYTES_MAX].decode("utf-8", "replace")
