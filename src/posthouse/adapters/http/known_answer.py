"""The head of an answer that a parser has read: the next one is mostly the same, byte for byte, and need not be parsed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

HEAD_BYTES_MAX: Final = 1_024  # a longer one is parsed each time


class KnownAnswer(msgspec.Struct, frozen=True):
    """An answer of `size` bytes: another one that is as long and begins with the same head means the same, but for its body."""

    head: bytes
    size: int
    status: int
    headers: tuple[tuple[bytes, bytes], ...]


def known_answer(
    data: bytes, body_bytes: int, status: int, headers: Sequence[tuple[bytes, bytes]]
) -> KnownAnswer | None:
    """What is to be known again of an answer that was just parsed, is all of `data`, and keeps its connection.

    Where it is as long as its head and its body together, the head alone says where the body ends: there was no other answer
    before it, and no chunk (RFC 9112, sections 6.3 and 7.1).
    """
    end = data.find(b"\r\n\r\n") + 4
    if len(data) - end != body_bytes or end > HEAD_BYTES_MAX:
        return None
    return KnownAnswer(data[:end], len(data), status, tuple(headers))
