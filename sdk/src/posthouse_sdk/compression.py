"""Compressed bodies, unpacked once they are verified: what is signed is the body as it was sent.

Source: RFC 9110, section 8.4 (Content-Encoding); RFC 1952 (gzip).
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

from posthouse_sdk.errors import BodyTooLargeError, MalformedBodyError, UnknownEncodingError

if TYPE_CHECKING:
    from posthouse_sdk.webhook import Headers

ENCODING_HEADER: Final = "content-encoding"
MAGIC: Final = b"\x1f\x8b"

_GZIP: Final = "gzip"
_IDENTITY: Final = "identity"
_WITH_GZIP_HEAD: Final = zlib.MAX_WBITS | 16
_SHOWN_MAX: Final = 80


def encoding_of(headers: Headers) -> str:
    """What the headers say that was done to the body, in the order in which it was; empty for nothing."""
    values = [str(value) for name, value in headers.items() if name.lower() == ENCODING_HEADER]
    codings = [coding.strip().lower() for value in values for coding in value.split(",")]
    return ", ".join(coding for coding in codings if coding not in ("", _IDENTITY))


def unpacked(body: bytes, headers: Headers, *, bytes_max: int) -> bytes:
    """The body of a verified request as it was before it was compressed; itself where it was not. Never more is unpacked than
    `bytes_max`, however small the body is.

    Raises: UnknownEncodingError, BodyTooLargeError, MalformedBodyError.
    """
    encoding = encoding_of(headers)
    if not encoding:
        return body
    if encoding != _GZIP:
        raise UnknownEncodingError(
            f"the signature is right, but the Content-Encoding is {encoding[:_SHOWN_MAX]!r}: only gzip is unpacked here"
        )
    unpacker = zlib.decompressobj(_WITH_GZIP_HEAD)
    try:
        found = unpacker.decompress(body, bytes_max + 1)
    except zlib.error:
        raise MalformedBodyError("the signature is right, but the body is not gzip, as it says") from None
    if len(found) > bytes_max:
        raise BodyTooLargeError(f"the signature is right, but the body has more than {bytes_max} bytes unpacked")
    if not unpacker.eof or unpacker.unused_data:
        raise MalformedBodyError("the signature is right, but the body is not one whole gzip member")
    return found
