"""The head of a request that a parser has read: the next one of its connection is mostly the same, byte for byte.

Then it need not be parsed again. What may differ are the URL and the length of the body; all else has to be the same bytes, and
so means the same (RFC 9112, sections 2 to 6).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

HEAD_BYTES_MAX: Final = 2_048  # a longer one is parsed each time

_METHOD: Final = b"POST "
_VERSION: Final = b" HTTP/1.1\r\n"
_URL_AT: Final = len(_METHOD)
_DIGITS_MAX: Final = 9
_LENGTH: Final = re.compile(rb"\r\nContent-Length:[ \t]*([0-9]{1,9})\r\n", re.IGNORECASE)


class KnownHead:
    """What two requests of a connection have in common, in front of the length of the body and behind it, and how it was read:
    `headers`, and the `credential` among them."""

    __slots__ = ("_after", "_before", "credential", "headers")

    def __init__(self, before: bytes, after: bytes, headers: Sequence[tuple[bytes, bytes]], credential: bytes) -> None:
        self._before = before
        self._after = after
        self.headers = headers
        self.credential = credential

    def read(self, data: bytes) -> tuple[bytes, bytes] | None:
        """URL and body, where `data` is one whole request with this head, and nothing else."""
        before, after = self._before, self._after
        end = data.find(b" ", _URL_AT)
        if not data.startswith(before, end) or not data.startswith(_METHOD):
            return None
        at = end + len(before)
        stop = data.find(b"\r", at, at + _DIGITS_MAX + 1)
        digits = data[at:stop]
        if not data.startswith(after, stop) or not digits.isdigit():
            return None
        url, body = data[_URL_AT:end], data[stop + len(after) :]
        return (url, body) if len(body) == int(digits) and url.isascii() else None


def known_head(data: bytes, headers: Sequence[tuple[bytes, bytes]], credential: bytes) -> KnownHead | None:
    """What is to be known again of a request that was just parsed and is all of `data`; None where that cannot be said."""
    start, end = data.find(b" ", _URL_AT), data.find(b"\r\n\r\n")
    if not data.startswith(_METHOD) or not data.startswith(_VERSION, start) or not 0 < end <= HEAD_BYTES_MAX:
        return None
    found = _LENGTH.search(data, start, end + 2)
    if found is None or [value for name, value in headers if name == b"content-length"] != [found[1]]:
        return None
    at, stop = found.span(1)
    if len(data) - end - 4 != int(found[1]):
        return None
    return KnownHead(data[start:at], data[stop : end + 4], headers, credential)
