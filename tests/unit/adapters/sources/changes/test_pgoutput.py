"""Messages of `pgoutput`: bytes that PostgreSQL 18 sent, and whatever else may come."""

from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.adapters.sources.changes.pgoutput import (
    Begin,
    Column,
    Commit,
    Delete,
    Insert,
    Keepalive,
    Message,
    Origin,
    ProtocolError,
    Received,
    Relation,
    Toast,
    Truncate,
    Type,
    Update,
    parse,
    status,
    unframed,
)

ID = Column("id", 23, True, -1)
V = Column("v", 25, False, -1)

# Recorded from a server, but for the origin, which only a replicated transaction has.
RECORDED: dict[bytes, Received] = {
    b"B\x00\x00\x00\x00\x01\x88\xa4H\x00\x03\x04Z\xf4~/\x9b\x00\x00\x02\xf4": Begin(0x188A448, 849213625610139, 756),
    b"C\x00\x00\x00\x00\x00\x01\x88\xa4H\x00\x00\x00\x00\x01\x88\xa4x\x00\x03\x04Z\xf4~/\x9b": Commit(
        0x188A448, 0x188A478, 849213625610139
    ),
    b"R\x00\x00@\x01public\x00t\x00d\x00\x02\x01id\x00\x00\x00\x00\x17\xff\xff\xff\xff"
    b"\x00v\x00\x00\x00\x00\x19\xff\xff\xff\xff": Relation(16385, "public", "t", "d", (ID, V)),
    b"I\x00\x00@\x01N\x00\x02t\x00\x00\x00\x011t\x00\x00\x00\x01a": Insert(16385, [b"1", b"a"]),
    b"U\x00\x00@\x01N\x00\x02t\x00\x00\x00\x011u": Update(16385, None, False, [b"1", Toast.UNCHANGED]),
    b"U\x00\x00@\x01K\x00\x02t\x00\x00\x00\x011nN\x00\x02t\x00\x00\x00\x012n": Update(
        16385, [b"1", None], False, [b"2", None]
    ),
    b"U\x00\x00@\x01O\x00\x02t\x00\x00\x00\x011nN\x00\x02t\x00\x00\x00\x011t\x00\x00\x00\x00": Update(
        16385, [b"1", None], True, [b"1", b""]
    ),
    b"D\x00\x00@\x01K\x00\x02t\x00\x00\x00\x011n": Delete(16385, [b"1", None], False),
    b"D\x00\x00@\x01O\x00\x02t\x00\x00\x00\x011t\x00\x00\x00\x01a": Delete(16385, [b"1", b"a"], True),
    b"T\x00\x00\x00\x01\x00\x00\x00@\x01": Truncate((16385,), False, False),
    b"T\x00\x00\x00\x02\x03\x00\x00@\x01\x00\x00@\x0f": Truncate((16385, 16399), True, True),
    b"M\x01\x00\x00\x00\x00\x01\x88\xa58x\x00\x00\x00\x00\x05hello": Message(True, 0x188A538, "x", b"hello"),
    b"Y\x00\x00@\x05public\x00mood\x00": Type(16389, "public", "mood"),
    b"Y\x00\x00@\x06\x00int4\x00": Type(16390, "", "int4"),
    b"O\x00\x00\x00\x00\x01\x88\xa58elsewhere\x00": Origin(0x188A538, "elsewhere"),
}


@pytest.mark.parametrize(("data", "message"), RECORDED.items())
def test_what_a_server_sent_is_read(data: bytes, message: Received) -> None:
    assert parse(data) == message


@pytest.mark.parametrize("data", RECORDED)
def test_what_is_cut_off_or_goes_on_is_refused(data: bytes) -> None:
    for end in range(len(data)):
        with pytest.raises(ProtocolError):
            parse(data[:end])
    with pytest.raises(ProtocolError):
        parse(data + b"\x00")


@given(st.binary(max_size=200))
def test_garbage_is_an_error_and_nothing_else(data: bytes) -> None:
    for begin in (b"", *{recorded[:1] for recorded in RECORDED}):
        with suppress(ProtocolError):
            parse(begin + data)


@given(st.sampled_from(sorted(RECORDED)), st.data())
def test_damage_is_an_error_or_another_message(data: bytes, draw: st.DataObject) -> None:
    place = draw.draw(st.integers(0, len(data) - 1))
    damaged = data[:place] + bytes([draw.draw(st.integers(0, 255))]) + data[place + 1 :]
    with suppress(ProtocolError):
        parse(damaged)


@pytest.mark.parametrize(
    "data",
    [
        b"I\x00\x00@\x01N\x00\x01t\xff\xff\xff\xff",  # a value of four gigabytes
        b"T\xff\xff\xff\xff\x00",  # as many relations
        b"M\x00\x00\x00\x00\x00\x00\x00\x00\x00x\x00\xff\xff\xff\xff",
        b"I\x00\x00@\x01N\xff\xff",  # 65,535 values, none of them there
    ],
)
def test_a_length_is_not_believed(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse(data)


def test_a_value_in_binary_was_not_asked_for() -> None:
    with pytest.raises(ProtocolError, match="nobody asked"):
        parse(b"I\x00\x00@\x01N\x00\x01b\x00\x00\x00\x01a")


def test_a_frame_is_data_or_a_keepalive() -> None:
    insert = b"I\x00\x00@\x01N\x00\x01t\x00\x00\x00\x011"
    assert unframed(b"w" + bytes(24) + insert) == insert
    assert unframed(b"k\x00\x00\x00\x00\x01\x88\xa3h\x00\x03\x04Z\xf4~\x1av\x01") == Keepalive(0x188A368, True)


@given(st.binary(max_size=40))
def test_no_frame_is_anything_else(data: bytes) -> None:
    with suppress(ProtocolError):
        unframed(data)


def test_a_status_has_what_was_received_and_what_is_behind_us() -> None:
    made = status(received=7, flushed=5, now=946_684_800.5, answer=True)
    assert struct.unpack(">cQQQqB", made) == (b"r", 7, 5, 5, 500_000, 1)
