"""From a finished message to the bytes of a request (RFC 9112): the one place where its head is written.

Names and values are checked here whoever put them there, so nothing can add a line of its own. GET has no body and says
nothing of one, as OPTIONS, which only handshakes speak; every other method says how long its body is.
"""

from __future__ import annotations

from typing import Final

from posthouse.domain.egress import Egress
from posthouse.domain.endpoint import Timeouts
from posthouse.domain.errors import Invalid
from posthouse.domain.exchange import Request, Target
from posthouse.domain.formats import Method
from posthouse.domain.limits import NAME_LENGTH_MAX, REQUEST_HEAD_BYTES_MAX, URL_LENGTH_MAX
from posthouse.wire.documents import Gzipped
from posthouse.wire.headers import check_header, is_content_type
from posthouse.wire.message import Message, Unsendable
from posthouse.wire.query import request_path
from posthouse.wire.render import DEFAULT_HEADERS

OPTIONS: Final = "OPTIONS"

_BODILESS: Final = frozenset({Method.GET.value, OPTIONS})
_METHODS: Final = frozenset({*Method, OPTIONS})


def assemble(message: Message, timeouts: Timeouts, egress: Egress | None = None) -> Request:
    """The request that this message is, as it stands now.

    Raises: Unsendable, without any value in its text, for a URL or a head that is too long, for a header that cannot be sent
    or comes twice, and for a body under GET.
    """
    if message.method not in _METHODS:
        raise Unsendable("the request has a method that is not spoken")
    own = _checked(message.headers)
    target, path = message.target, request_path(message)
    if (length := url_length(target, path)) > URL_LENGTH_MAX:
        raise Unsendable(f"the URL with its query has {length} characters, more than {URL_LENGTH_MAX}")
    lines = [f"{message.method} {path} HTTP/1.1", f"Host: {target.authority}"]
    lines += [f"{name}: {value}" for name, value in DEFAULT_HEADERS if name.lower() not in own]
    lines.append("Accept-Encoding: identity")
    lines += [f"{name}: {value}" for name, value in own.values()]
    body = message.document.encoded()
    if message.method in _BODILESS:
        if body:
            raise Unsendable(f"the request has a body, which {message.method} does not have")
    else:
        if message.content_type:
            if not is_content_type(message.content_type):
                raise Unsendable("the body has a content type that cannot be sent")
            lines.append(f"Content-Type: {message.content_type}")
        if isinstance(message.document, Gzipped) and message.document.compressed:
            lines.append("Content-Encoding: gzip")
        lines.append(f"Content-Length: {len(body)}")
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    if len(head) > REQUEST_HEAD_BYTES_MAX:
        raise Unsendable(f"the request has a head of {len(head)} bytes, more than {REQUEST_HEAD_BYTES_MAX}")
    return Request(target, head, body, timeouts, egress)


def _checked(headers: list[tuple[str, str]]) -> dict[str, tuple[str, str]]:
    checked: dict[str, tuple[str, str]] = {}
    for name, value in headers:
        try:
            check_header(name, value)
        except Invalid as error:
            raise _unsendable(name, str(error)) from None
        if name.lower() in checked:
            raise _unsendable(name, "it is there twice")
        checked[name.lower()] = (name, value)
    return checked


def _unsendable(name: str, why: str) -> Unsendable:
    shown = name[:NAME_LENGTH_MAX].encode("unicode_escape").decode("ascii")
    return Unsendable(f"the header {shown} cannot be sent: {why}")


def url_length(target: Target, path: str) -> int:
    """Of the whole URL, which URL_LENGTH_MAX bounds."""
    return len(target.scheme) + len("://") + len(target.authority) + len(path)
