"""JSON of others, read in a time that its length bounds."""

from __future__ import annotations

import math
import re
from typing import Any, Final

import msgspec

LOOKED_AT_BYTES_MIN: Final = 1_024  # in less there is not room for many numbers
_FAR: Final = re.compile(rb"[0-9][eE][+-]?[0-9]{2}")
_FAR_TEXT: Final = re.compile(_FAR.pattern.decode())

_decode: Final = msgspec.json.Decoder().decode


def decoded(text: bytes | str) -> Any:
    """As `msgspec.json.decode`. That one takes 8 µs for a number such as 1e300, so that a megabyte of them takes a second:
    where there is one with an exponent, Python reads all that are not whole, which takes a thirtieth of that.

    Raises msgspec.DecodeError, UnicodeDecodeError, RecursionError.
    """
    if len(text) < LOOKED_AT_BYTES_MIN:
        return _decode(text)
    far = _FAR_TEXT.search(text) if isinstance(text, str) else _FAR.search(text)
    return _decode(text) if far is None else _decode_far(text)


def _double(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError("Number out of range")
    return number


_decode_far: Final = msgspec.json.Decoder(float_hook=_double).decode
