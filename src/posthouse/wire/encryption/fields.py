"""Some fields of a JSON body replaced, and every other byte of it as it was: numbers keep their digits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from posthouse.wire.message import Unsendable
from posthouse_sdk.encryption.pointers import EACH, Pointer, index_of

Replace = Callable[[bytes], Any]
"""The JSON text of a value -> what is to stand there."""

_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_elements: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_encode: Final = msgspec.json.Encoder().encode
_SPACE: Final = b" \t\r\n"


def replaced(body: bytes, pointers: tuple[Pointer, ...], replace: Replace) -> bytes:
    """The body with what the pointers name replaced; what is not there is left out.

    Raises: Unsendable for a body that is no JSON.
    """
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
        for pointer in pointers:
            body = _replaced(body.strip(_SPACE), pointer, replace)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Unsendable("fields of the body are to be encrypted, and this body is not JSON") from None
    return body


def _replaced(value: bytes, pointer: Pointer, replace: Replace) -> bytes:
    if not pointer:
        return bytes(_encode(replace(value)))
    name, rest = pointer[0], pointer[1:]
    if value.startswith(b"{"):
        members = _members(value)
        if name not in members:
            return value
        members[name] = msgspec.Raw(_replaced(_bytes(members[name]), rest, replace))
        return bytes(_encode(members))
    if value.startswith(b"["):
        elements = _elements(value)
        index = index_of(name, len(elements))
        for place in range(len(elements)) if name == EACH else () if index is None else (index,):
            elements[place] = msgspec.Raw(_replaced(_bytes(elements[place]), rest, replace))
        return bytes(_encode(elements))
    return value


def _bytes(raw: msgspec.Raw) -> bytes:
    return bytes(memoryview(raw)).strip(_SPACE)
