"""Headers that users may set, and what must never get into a request head.

Sources: RFC 9110 sections 5.1, 5.5 and 5.6.2 (names, values, tokens) and 7.6.1 (connection-specific fields); RFC 9112.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from posthouse.domain.errors import Invalid
from posthouse.domain.handshake import Handshake
from posthouse.domain.limits import HEADER_BYTES_MAX, HEADERS_MAX, NAME_LENGTH_MAX

CONTENT_TYPE_LENGTH_MAX: Final = 255
UNKNOWN_CONTENT: Final = "application/octet-stream"

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# HTAB, SP, VCHAR and obs-text without the C1 controls; ends are checked apart.
_VALUE: Final = re.compile(r"[\t\x20-\x7e\xa0-\xff]*")
_NOT_PLAIN: Final = re.compile(r"[^\x20-\x24\x26-\x7e]")
_NOT_SPACED: Final = re.compile(r"[^\x21\x23\x24\x26-\x7e]")

_FRAMING: Final = "it frames the request and is set by Posthouse"
_CONNECTION: Final = "it belongs to the connection, which carries other requests too"
_BODY: Final = "it describes the body and is set by Posthouse"
RESERVED: Final = {
    "host": "the URL decides it",
    "content-length": _FRAMING,
    "transfer-encoding": _FRAMING,
    "expect": _FRAMING,
    "connection": _CONNECTION,
    "keep-alive": _CONNECTION,
    "proxy-connection": _CONNECTION,
    "proxy-authenticate": _CONNECTION,
    "proxy-authorization": _CONNECTION,
    "http2-settings": _CONNECTION,
    "te": _CONNECTION,
    "trailer": _CONNECTION,
    "upgrade": _CONNECTION,
    "content-type": _BODY,
    "content-encoding": _BODY,
    "accept-encoding": "answers are kept as they come, uncompressed",
}
RESERVED_PREFIX: Final = "webhook-"
REQUEST_ORIGIN: Final = "WebHook-Request-Origin"


def check_headers(headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The headers of an endpoint as they may be sent, in order; `User-Agent` and `Accept` may be replaced.

    HEADER_BYTES_MAX bounds all of them together, as lines.

    Raises: Invalid, whose path names the header (`headers.X-Foo`), for a name that is no token, comes twice (in any
    case) or is Posthouse's own, for a value with control characters, characters outside Latin-1 or a space at an end,
    and for too many or too large ones.
    """
    checked: list[tuple[str, str]] = []
    seen: set[str] = set()
    total = 0
    for name, value in headers:
        lower = name.lower()
        _check_name(name)
        if lower.startswith(RESERVED_PREFIX):
            raise _invalid(name, "this header cannot be set: names with webhook- are kept for the signature")
        if lower in seen:
            raise _invalid(name, "this header is there twice")
        _check_value(name, value)
        seen.add(lower)
        checked.append((name, value))
        if len(checked) > HEADERS_MAX:
            raise Invalid(f"there are more than {HEADERS_MAX} headers", path="headers")
        total += len(name) + len(value) + len(": \r\n")
        if total > HEADER_BYTES_MAX:
            raise _invalid(name, f"with this header they are more than {HEADER_BYTES_MAX} bytes together")
    return tuple(checked)


def check_header(name: str, value: str) -> None:
    """Whether Posthouse may put this line into a request head. Raises: Invalid, whose text tells nothing of the value."""
    _check_name(name)
    _check_value(name, value)


def origin_headers(handshake: Handshake | None) -> tuple[tuple[str, str], ...]:
    """What every request carries of a handshake that asks for consent (HTTP 1.1 Web Hooks for Event Delivery, section 4.1.2).
    Raises: Invalid."""
    if handshake is None or not handshake.origin:
        return ()
    check_header(REQUEST_ORIGIN, handshake.origin)
    return ((REQUEST_ORIGIN, handshake.origin),)


def is_token(name: str) -> bool:
    """Whether a header may have this name at all."""
    return _TOKEN.fullmatch(name) is not None


def fault_of(name: str, value: str) -> str | None:
    """Why Posthouse may not put this line into a request head; None where it may."""
    try:
        check_header(name, value)
    except Invalid as error:
        return str(error)
    return None


def percent_encoded(value: str, *, spaces: bool = False) -> str:
    """A text from an event as it can be in a header: `%` and all outside U+0020 to U+007E percent-encoded (UTF-8); with
    `spaces` also the space and `"`, as the HTTP binding of CloudEvents has it (section 3.1.3.2)."""
    return (_NOT_SPACED if spaces else _NOT_PLAIN).sub(_percent, value)


def header_text(value: str) -> str:
    """A text from an event as the whole value of a header: so encoded, and with the spaces at its ends encoded, too."""
    return without_spaces_at_its_ends(percent_encoded(value))


def without_spaces_at_its_ends(value: str) -> str:
    """A header's value with those percent-encoded, which could not be sent."""
    kept = value.strip(" ")
    if kept == value:
        return value
    start = len(value) - len(value.lstrip(" "))
    return "%20" * start + kept + "%20" * (len(value) - len(kept) - start)


def _percent(found: re.Match[str]) -> str:
    return "".join([f"%{byte:02X}" for byte in found[0].encode("utf-8", "replace")])


def _check_name(name: str) -> None:
    if not _TOKEN.fullmatch(name) or len(name) > NAME_LENGTH_MAX:
        raise _invalid(name, f"a header name is 1 to {NAME_LENGTH_MAX} letters, digits and !#$%&'*+-.^_`|~")
    if name.lower() in RESERVED:
        raise _invalid(name, f"this header cannot be set: {RESERVED[name.lower()]}")


def _check_value(name: str, value: str) -> None:
    if not _VALUE.fullmatch(value):
        raise _invalid(name, "a header value holds Latin-1 characters only, and no line break or other control")
    if value != value.strip(" \t"):
        raise _invalid(name, "a header value neither begins nor ends with a space")


def is_content_type(text: str) -> bool:
    """Whether a text can be sent as `Content-Type`: a media type with or without parameters, printable ASCII."""
    media, _, _ = text.partition(";")
    kind, slash, subtype = media.rstrip(" ").partition("/")
    return (
        len(text) <= CONTENT_TYPE_LENGTH_MAX
        and bool(slash)
        and _TOKEN.fullmatch(kind) is not None
        and _TOKEN.fullmatch(subtype) is not None
        and text.isascii()
        and text.isprintable()
        and text == text.strip()
    )


def _invalid(name: str, message: str) -> Invalid:
    # A name that is refused may be long, and hostile to a terminal.
    shown = name[:NAME_LENGTH_MAX].encode("unicode_escape").decode("ascii")
    return Invalid(message, path=f"headers.{shown}")
