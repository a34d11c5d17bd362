"""What PostgreSQL writes as text, as JSON: the same for a row of the log and for a row of a table.

| type | JSON |
|---|---|
| boolean, smallint, integer, bigint, real, double precision | true, false, a number |
| numeric | a number, digit by digit; a text where it has more than NUMBER_DIGITS_MAX |
| NaN, Infinity | a text |
| json, jsonb | what it is |
| bytea | base64 |
| date, timestamp, timestamptz | ISO 8601; timestamptz in UTC |
| an array of any of these, or of text, uuid, time, … | an array |
| everything else: text, uuid, inet, enumerations, ranges, composites, … | a text, as PostgreSQL writes it |

A domain is what is beneath it. The session that wrote the text has the settings SESSION.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

SESSION: Final = (
    "SET datestyle = 'ISO, YMD'",
    "SET intervalstyle = 'postgres'",
    "SET timezone = 'UTC'",
    "SET extra_float_digits = 3",
    "SET bytea_output = 'hex'",
)
"""Settings that the text of values depends on."""

NUMBER_DIGITS_MAX: Final = 300
"""Longer numbers are refused by many JSON parsers, or become infinite."""

Encode = Callable[[bytes], bytes]
"""From the text of a value, in UTF-8, to JSON. Raises ValueError where the text is none of its type."""

_encoder: Final = msgspec.json.Encoder()


def text(value: bytes) -> bytes:
    return _encoder.encode(value.decode("utf-8", "replace"))


def _boolean(value: bytes) -> bytes:
    return b"true" if value == b"t" else b"false"


def _number(value: bytes) -> bytes:
    # NaN, Infinity and -Infinity end in a letter; every finite number ends in a digit.
    return value if value[-1:].isdigit() and len(value) <= NUMBER_DIGITS_MAX else text(value)


def _json(value: bytes) -> bytes:
    try:
        if b"\\u" in value:  # the type `json` takes halves of surrogate pairs, which no other parser does
            msgspec.json.decode(value)
        elif not value.isascii():  # a database of the encoding SQL_ASCII takes anything
            value.decode()
    except (ValueError, RecursionError):
        return text(value)
    return value


def _bytea(value: bytes) -> bytes:
    if not value.startswith(b"\\x"):
        raise ValueError("a bytea that is not written in hexadecimal digits")
    return b'"%b"' % base64.b64encode(binascii.unhexlify(value[2:]))


def _timestamp(value: bytes) -> bytes:
    return b'"%b"' % value.replace(b" ", b"T", 1)


def _timestamptz(value: bytes) -> bytes:
    return b'"%b"' % value.replace(b" ", b"T", 1).replace(b"+00", b"+00:00", 1)


class _Array:
    """An array, of any dimensions: `{1,NULL,"a \\"b\\""}`, `[0:1]={{1},{2}}`."""

    def __init__(self, element: Encode) -> None:
        self._element = element

    def __call__(self, value: bytes) -> bytes:
        if value.startswith(b"["):  # bounds that do not begin with 1
            value = value[value.index(b"=") + 1 :]
        if not (value.startswith(b"{") and value.endswith(b"}")):
            raise ValueError("an array that is not in braces")
        made = bytearray()
        at, end = 0, len(value)
        while at < end:
            mark = value[at]
            if mark == 0x7B:  # {
                made += b"["
                at += 1
            elif mark == 0x7D:  # }
                made += b"]"
                at += 1
            elif mark == 0x2C:  # ,
                made += b","
                at += 1
            elif mark == 0x22:  # "
                item, at = _quoted(value, at + 1)
                made += self._element(item)
            else:
                begin = at
                while value[at] not in b",}":
                    at += 1
                item = value[begin:at]
                made += b"null" if item == b"NULL" else self._element(item)
        return bytes(made)


def _quoted(value: bytes, at: int) -> tuple[bytes, int]:
    """The text up to the quote that ends it, and where it goes on."""
    parts = []
    while True:
        quote = value.index(b'"', at)
        escape = value.find(b"\\", at, quote)
        if escape < 0:
            parts.append(value[at:quote])
            return b"".join(parts), quote + 1
        parts.append(value[at:escape])
        parts.append(value[escape + 1 : escape + 2])
        at = escape + 2


# By name: what is not text, and what arrays of text are told apart by. pg_type.dat has the numbers.
_SCALARS: Final[Mapping[str, tuple[int, int, Encode]]] = {
    "bool": (16, 1000, _boolean),
    "int2": (21, 1005, _number),
    "int4": (23, 1007, _number),
    "int8": (20, 1016, _number),
    "float4": (700, 1021, _number),
    "float8": (701, 1022, _number),
    "numeric": (1700, 1231, _number),
    "json": (114, 199, _json),
    "jsonb": (3802, 3807, _json),
    "bytea": (17, 1001, _bytea),
    "timestamp": (1114, 1115, _timestamp),
    "timestamptz": (1184, 1185, _timestamptz),
    "date": (1082, 1182, text),
    "time": (1083, 1183, text),
    "timetz": (1266, 1270, text),
    "interval": (1186, 1187, text),
    "text": (25, 1009, text),
    "varchar": (1043, 1015, text),
    "bpchar": (1042, 1014, text),
    "char": (18, 1002, text),
    "name": (19, 1003, text),
    "uuid": (2950, 2951, text),
    "inet": (869, 1041, text),
    "cidr": (650, 651, text),
    "macaddr": (829, 1040, text),
    "macaddr8": (774, 775, text),
    "oid": (26, 1028, text),
}
_BY_NUMBER: Final[dict[int, Encode]] = {
    number: encode
    for scalar, array, element in _SCALARS.values()
    for number, encode in ((scalar, element), (array, _Array(element)))
}
_BY_NAME: Final[dict[str, Encode]] = {name: encode for name, (_, _, encode) in _SCALARS.items()} | {
    f"_{name}": _BY_NUMBER[array] for name, (_, array, _) in _SCALARS.items()
}


def encode_for(number: int, beneath: str | None = None) -> Encode:
    """How values of a type are encoded: by its number, or by the name of the built-in type that is beneath it."""
    return _BY_NUMBER.get(number) or _BY_NAME.get(beneath or "") or text
