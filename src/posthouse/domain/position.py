"""How far a reader of the live stream has come, and how that travels: a vector, for nothing else misses no late commit.

Events are ordered within their partition by `seq`, attempts by their id; across partitions there is no order in which
commits become visible. So a position has an entry for each partition, and some 2 KB for 64 of them.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Final

import msgspec

from posthouse.domain.ids import ID_BYTES, AttemptId

VERSION: Final = 1
BYTES_MAX: Final = 1024 * 1024
_EVENTS: Final = 1
_ATTEMPTS: Final = 2


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """Everything up to the position was read: events by partition and `seq`, attempts by partition and id.

    A kind that is None is not read. At `at` (unix seconds) nothing was there beyond the position, so that whatever is beyond
    it came later.
    """

    events: Mapping[int, int] | None
    attempts: Mapping[int, AttemptId] | None
    at: float


def pack(position: Position) -> bytes:
    """A position as bytes, compressed. `at` loses its fraction of a second, downwards."""
    told = bytearray([VERSION, (position.events is not None) * _EVENTS + (position.attempts is not None) * _ATTEMPTS])
    _put(told, int(position.at))
    if position.events is not None:
        _put(told, len(position.events))
        for partition, seq in sorted(position.events.items()):
            _put(told, partition)
            _put(told, seq)
    if position.attempts is not None:
        _put(told, len(position.attempts))
        for partition, attempt_id in sorted(position.attempts.items()):
            _put(told, partition)
            told += attempt_id
    return zlib.compress(bytes(told), 9)


def unpack(raw: bytes) -> Position:
    """The position that was packed. Raises ValueError for what no position packs to."""
    inflater = zlib.decompressobj()
    try:
        told = inflater.decompress(raw, BYTES_MAX)
    except zlib.error as error:
        raise ValueError(f"not compressed: {error}") from None
    if not inflater.eof or inflater.unused_data:
        raise ValueError("cut off, too long, or followed by something")
    reader = _Reader(told)
    version, kinds = reader.byte(), reader.byte()
    if version != VERSION or kinds not in (_EVENTS, _ATTEMPTS, _EVENTS | _ATTEMPTS):
        raise ValueError("of another version")
    at = reader.number()
    events: dict[int, int] | None = None
    attempts: dict[int, AttemptId] | None = None
    if kinds & _EVENTS:
        events = {reader.number(): reader.number() for _ in range(reader.number())}
    if kinds & _ATTEMPTS:
        attempts = {reader.number(): AttemptId(reader.take(ID_BYTES)) for _ in range(reader.number())}
    if reader.left:
        raise ValueError("followed by something")
    return Position(events=events, attempts=attempts, at=float(at))


def _put(told: bytearray, number: int) -> None:
    """Append a number, seven bits a byte, lowest first; the high bit says that more follow (LEB128)."""
    while number > 0x7F:
        told.append(number & 0x7F | 0x80)
        number >>= 7
    told.append(number)


class _Reader:
    def __init__(self, told: bytes) -> None:
        self._told = told
        self._next = 0

    @property
    def left(self) -> int:
        return len(self._told) - self._next

    def byte(self) -> int:
        return self.take(1)[0]

    def take(self, count: int) -> bytes:
        if self.left < count:
            raise ValueError("cut off")
        self._next += count
        return self._told[self._next - count : self._next]

    def number(self) -> int:
        number = shift = 0
        while True:
            byte = self.byte()
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number
            shift += 7
            if shift > 63:
                raise ValueError("a number without an end")
