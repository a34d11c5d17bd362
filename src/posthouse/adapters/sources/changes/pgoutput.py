"""The logical replication stream of PostgreSQL, and the plug-in `pgoutput`, protocol version 1: bytes in, messages out.

PostgreSQL documentation, "Streaming Replication Protocol" and "Logical Replication Message Formats". Version 1 hands out each
transaction whole, after its commit and in the order of commits; the server keeps a large one on its disk until then. Nothing
here remembers anything: what a relation's number means, the caller keeps.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import Enum
from typing import Final, NamedTuple

POSTGRES_EPOCH_SECONDS: Final = 946_684_800
"""2000-01-01 in unix seconds: from there PostgreSQL counts its microseconds."""


class ProtocolError(ValueError):
    """What came is no message of this protocol."""


class Toast(Enum):
    """A value that is stored out of line and was not changed: it is not sent."""

    UNCHANGED = "unchanged"


Value = bytes | Toast | None
"""A value of a column: its text, NULL, or not sent."""

Row = list[Value]


class Begin(NamedTuple):
    """`lsn` is where the commit's record begins, `at` when it was made, in microseconds since 2000."""

    lsn: int
    at: int
    xid: int


class Commit(NamedTuple):
    """`end` is the first place in the log after the commit."""

    lsn: int
    end: int
    at: int


class Origin(NamedTuple):
    lsn: int
    name: str


class Column(NamedTuple):
    name: str
    type: int
    key: bool
    modifier: int


class Relation(NamedTuple):
    """`identity` is its replica identity: `d`efault, `n`othing, `f`ull or `i`ndex."""

    number: int
    schema: str
    name: str
    identity: str
    columns: tuple[Column, ...]


class Type(NamedTuple):
    """A type that is not built in. For a domain, `schema` and `name` are those of the type beneath; empty is `pg_catalog`."""

    number: int
    schema: str
    name: str


class Insert(NamedTuple):
    relation: int
    new: Row


class Update(NamedTuple):
    """`old` is what the row was, as far as it is known: all of it (`full`), its key alone, or nothing."""

    relation: int
    old: Row | None
    full: bool
    new: Row


class Delete(NamedTuple):
    relation: int
    old: Row
    full: bool


class Truncate(NamedTuple):
    relations: tuple[int, ...]
    cascade: bool
    restart_identity: bool


class Message(NamedTuple):
    """What somebody wrote into the log with `pg_logical_emit_message`."""

    transactional: bool
    lsn: int
    prefix: str
    content: bytes


Received = Begin | Commit | Origin | Relation | Type | Insert | Update | Delete | Truncate | Message


class Keepalive(NamedTuple):
    """Everything before `end` has been sent."""

    end: int
    answer: bool


_U16: Final = struct.Struct(">H")
_U32: Final = struct.Struct(">I")
_I32: Final = struct.Struct(">i")
_U64: Final = struct.Struct(">Q")
_BEGIN: Final = struct.Struct(">QqI")
_COMMIT: Final = struct.Struct(">BQQq")
_KEEPALIVE: Final = struct.Struct(">QqB")
_STATUS: Final = struct.Struct(">cQQQqB")
_FRAME_BYTES: Final = 25  # `w`, and three numbers of eight bytes


def unframed(frame: bytes) -> Keepalive | bytes:
    """What the server sent in one CopyData: that all is well, or a message of the plug-in. Raises ProtocolError."""
    kind = frame[:1]
    if kind == b"w" and len(frame) > _FRAME_BYTES:
        return frame[_FRAME_BYTES:]
    if kind == b"k" and len(frame) == 1 + _KEEPALIVE.size:
        end, _, answer = _KEEPALIVE.unpack_from(frame, 1)
        return Keepalive(end, bool(answer))
    raise ProtocolError(f"a frame {frame[:16]!r} of {len(frame)} bytes is neither data nor a keepalive")


def status(*, received: int, flushed: int, now: float, answer: bool) -> bytes:
    """A standby status update: up to where we have received, and up to where the server need not keep anything for us. `now` is
    in unix seconds; `answer` asks for a keepalive at once."""
    at = int((now - POSTGRES_EPOCH_SECONDS) * 1_000_000)
    return _STATUS.pack(b"r", received, flushed, flushed, at, answer)


def parse(data: bytes) -> Received:
    """A message of `pgoutput`. Raises ProtocolError for whatever is not one, and nothing else."""
    parser = _PARSERS.get(data[0]) if data else None
    if parser is None:
        raise ProtocolError(f"a message that begins with {data[:8]!r} is not known")
    try:
        message, end = parser(data)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise ProtocolError(f"a message that begins with {data[:8]!r} is cut off or damaged") from error
    if end != len(data):
        raise ProtocolError(f"a message that begins with {data[:8]!r} has {len(data)} bytes where {end} were expected")
    return message


def _begin(data: bytes) -> tuple[Begin, int]:
    return Begin(*_BEGIN.unpack_from(data, 1)), 1 + _BEGIN.size


def _commit(data: bytes) -> tuple[Commit, int]:
    _, lsn, end, at = _COMMIT.unpack_from(data, 1)
    return Commit(lsn, end, at), 1 + _COMMIT.size


def _origin(data: bytes) -> tuple[Origin, int]:
    (lsn,) = _U64.unpack_from(data, 1)
    name, at = _text(data, 9)
    return Origin(lsn, name), at


def _relation(data: bytes) -> tuple[Relation, int]:
    (number,) = _U32.unpack_from(data, 1)
    schema, at = _text(data, 5)
    name, at = _text(data, at)
    identity = chr(data[at])
    (count,) = _U16.unpack_from(data, at + 1)
    at += 3
    columns = []
    for _ in range(count):
        key = bool(data[at] & 1)
        column, at = _text(data, at + 1)
        (kind,) = _U32.unpack_from(data, at)
        (modifier,) = _I32.unpack_from(data, at + 4)
        at += 8
        columns.append(Column(column, kind, key, modifier))
    return Relation(number, schema or "pg_catalog", name, identity, tuple(columns)), at


def _type(data: bytes) -> tuple[Type, int]:
    (number,) = _U32.unpack_from(data, 1)
    schema, at = _text(data, 5)
    name, at = _text(data, at)
    return Type(number, schema, name), at


def _insert(data: bytes) -> tuple[Insert, int]:
    (relation,) = _U32.unpack_from(data, 1)
    new, at = _row(data, _expect(data, 5, b"N"))
    return Insert(relation, new), at


def _update(data: bytes) -> tuple[Update, int]:
    (relation,) = _U32.unpack_from(data, 1)
    old: Row | None = None
    mark, at = data[5], 5
    if mark in b"KO":
        old, at = _row(data, 6)
    new, at = _row(data, _expect(data, at, b"N"))
    return Update(relation, old, mark == 0x4F, new), at


def _delete(data: bytes) -> tuple[Delete, int]:
    (relation,) = _U32.unpack_from(data, 1)
    old, at = _row(data, _expect(data, 5, b"KO"))
    return Delete(relation, old, data[5] == 0x4F), at


def _truncate(data: bytes) -> tuple[Truncate, int]:
    (count,) = _U32.unpack_from(data, 1)
    options = data[5]
    end = 6 + 4 * count
    if end > len(data):  # before a tuple of any size is made
        raise IndexError
    relations = struct.unpack_from(f">{count}I", data, 6)
    return Truncate(relations, bool(options & 1), bool(options & 2)), end


def _message(data: bytes) -> tuple[Message, int]:
    flags = data[1]
    (lsn,) = _U64.unpack_from(data, 2)
    prefix, at = _text(data, 10)
    (length,) = _U32.unpack_from(data, at)
    at += 4
    end = at + length
    if end > len(data):
        raise IndexError
    return Message(bool(flags & 1), lsn, prefix, data[at:end]), end


def _text(data: bytes, at: int) -> tuple[str, int]:
    end = data.find(0, at)
    if end < 0:
        raise IndexError
    return data[at:end].decode(), end + 1


def _expect(data: bytes, at: int, marks: bytes) -> int:
    if data[at] not in marks:
        raise ProtocolError(f"a row that begins with {data[at : at + 1]!r} where one of {marks!r} was expected")
    return at + 1


def _row(data: bytes, at: int) -> tuple[Row, int]:
    (count,) = _U16.unpack_from(data, at)
    at += 2
    row: Row = []
    for _ in range(count):
        kind = data[at]
        at += 1
        if kind == 0x74:  # t: text
            (length,) = _U32.unpack_from(data, at)
            at += 4
            end = at + length
            if end > len(data):
                raise IndexError
            row.append(data[at:end])
            at = end
        elif kind == 0x6E:  # n: NULL
            row.append(None)
        elif kind == 0x75:  # u: not sent
            row.append(Toast.UNCHANGED)
        else:
            raise ProtocolError(f"a value of kind {chr(kind)!r}, which nobody asked for")
    return row, at


_PARSERS: Final[dict[int, Callable[[bytes], tuple[Received, int]]]] = {
    ord("B"): _begin,
    ord("C"): _commit,
    ord("O"): _origin,
    ord("R"): _relation,
    ord("Y"): _type,
    ord("I"): _insert,
    ord("U"): _update,
    ord("D"): _delete,
    ord("T"): _truncate,
    ord("M"): _message,
}
