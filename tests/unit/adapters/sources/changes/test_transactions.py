"""From messages to readings, without a database."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.adapters.sources.changes import pgoutput, transactions
from posthouse.adapters.sources.changes.chunks import MARK_PREFIX, Chunk, View
from posthouse.adapters.sources.changes.pgoutput import (
    Begin,
    Column,
    Commit,
    Delete,
    Insert,
    Message,
    ProtocolError,
    Relation,
    Row,
    Toast,
    Truncate,
    Type,
    Update,
)
from posthouse.adapters.sources.changes.position import Position, SnapshotProgress, Timelines, decoded
from posthouse.adapters.sources.changes.tables import Table
from posthouse.adapters.sources.changes.transactions import Transactions
from posthouse.adapters.sources.changes.values import encode_for
from posthouse.ports.sources import Reading

ORDERS = Relation(1, "public", "orders", "d", (Column("id", 23, True, -1), Column("note", 25, False, -1)))
FULL = ORDERS._replace(identity="f", columns=tuple(column._replace(key=True) for column in ORDERS.columns))
AT = 10_000_000


def made(start: Position | None = None, on: str = "insert update delete truncate") -> Transactions:
    start = start or Position(system="9", timeline=1, lsn="0/0")
    return Transactions(system="9", timelines=Timelines(1), start=start, operations=frozenset(on.split()))


def commit(into: Transactions, lsn: int, *changes: pgoutput.Received, xid: int = 7) -> None:
    for message in (Begin(lsn, AT, xid), *changes, Commit(lsn, lsn + 8, AT)):
        into.feed(message)


def seen(reading: Reading | None) -> list[dict[str, Any]]:
    assert reading is not None
    return [msgspec.json.decode(observation.seen) for observation in reading.observations]


def keys(reading: Reading | None) -> list[str]:
    assert reading is not None
    return [observation.key for observation in reading.observations]


def test_a_transaction_is_whole_and_says_when_and_where() -> None:
    into = made()
    commit(into, 0x10, ORDERS, Insert(1, [b"1", b"a"]), Update(1, None, False, [b"1", None]))
    reading = into.take()
    assert seen(reading)[1] == {
        "op": "update",
        "schema": "public",
        "table": "orders",
        "key": {"id": 1},
        "old": None,
        "new": {"id": 1, "note": None},
        "row": {"id": 1, "note": None},
        "changed": None,
        "at": "2000-01-01T00:00:10.000000Z",
        "lsn": "0/10",
        "transaction": 7,
    }
    assert keys(reading) == ["9.1/0/10/0", "9.1/0/10/1"]
    assert reading is not None
    assert [observation.event_key for observation in reading.observations] == ["public.orders:1"] * 2
    assert reading.observations[0].at == 946_684_810.0
    assert decoded(reading.position or "").lsn == "0/18"
    assert into.take() is None
    assert into.empty


def test_nothing_is_given_before_its_commit() -> None:
    into = made()
    for message in (Begin(0x10, AT, 7), ORDERS, Insert(1, [b"1", None])):
        into.feed(message)
    assert into.take() is None
    assert not into.empty


def test_what_a_row_was_is_told_as_far_as_it_is_known() -> None:
    into = made()
    into.primary_keys[1] = ["id"]
    commit(
        into,
        0x10,
        ORDERS,
        Update(1, [b"1", None], False, [b"2", b"a"]),
        Update(1, None, False, [b"2", Toast.UNCHANGED]),
        Delete(1, [b"2", None], False),
        FULL,
        Update(1, [b"3", b"a"], True, [b"3", b"b"]),
        Update(1, [b"3", b"b"], True, [b"4", Toast.UNCHANGED]),
        Delete(1, [b"4", b"b"], True),
        Truncate((1,), False, False),
    )
    found = [{name: one[name] for name in ("key", "old", "new", "row", "changed")} for one in seen(into.take())]
    new, old = {"id": 2, "note": "a"}, {"id": 3, "note": "b"}
    assert found == [
        {"key": {"id": 2}, "old": {"id": 1}, "new": new, "row": new, "changed": None},
        {"key": {"id": 2}, "old": None, "new": {"id": 2}, "row": {"id": 2}, "changed": None},
        {"key": {"id": 2}, "old": {"id": 2}, "new": None, "row": {"id": 2}, "changed": None},
        {"key": {"id": 3}, "old": {"id": 3, "note": "a"}, "new": old, "row": old, "changed": ["note"]},
        {"key": {"id": 4}, "old": old, "new": {"id": 4, "note": "b"}, "row": {"id": 4, "note": "b"}, "changed": ["id"]},
        {"key": {"id": 4}, "old": {"id": 4, "note": "b"}, "new": None, "row": {"id": 4, "note": "b"}, "changed": None},
        {"key": None, "old": None, "new": None, "row": None, "changed": None},
    ]


def test_a_large_value_that_is_not_sent_is_named() -> None:
    into = made()
    commit(into, 0x10, ORDERS, Update(1, None, False, [b"2", Toast.UNCHANGED]), Update(1, None, False, [b"2", b"x"]))
    assert [one.get("unchanged_toast") for one in seen(into.take())] == [["note"], None]


def test_only_what_is_wanted_is_given_and_keys_do_not_depend_on_it() -> None:
    into = made(on="delete")
    commit(into, 0x10, ORDERS, Insert(1, [b"1", None]), Delete(1, [b"1", None], False))
    assert keys(into.take()) == ["9.1/0/10/1"]


def test_types_that_are_not_built_in() -> None:
    into = made()
    columns = (Column("id", 23, True, -1), Column("size", 7_001, False, -1), Column("mood", 7_002, False, -1))
    commit(
        into,
        0x10,
        Type(7_001, "", "int4"),
        Type(7_002, "public", "mood"),
        ORDERS._replace(columns=columns),
        Insert(1, [b"1", b"5", b"fine"]),
    )
    assert seen(into.take())[0]["new"] == {"id": 1, "size": 5, "mood": "fine"}


def test_a_table_that_changes_is_read_as_it_is_by_then() -> None:
    into = made()
    commit(into, 0x10, ORDERS, Insert(1, [b"1", b"a"]))
    other = ORDERS._replace(name="sales", columns=(ORDERS.columns[0], Column("paid", 16, False, -1)))
    commit(into, 0x20, other, Insert(1, [b"2", b"t"]))
    assert [(one["table"], one["new"]) for one in seen(into.take())] == [
        ("orders", {"id": 1, "note": "a"}),
        ("sales", {"id": 2, "paid": True}),
    ]


def test_what_is_behind_the_position_is_not_given_again() -> None:
    into = made(Position(system="9", timeline=1, lsn="0/18"))
    commit(into, 0x10, ORDERS, Insert(1, [b"1", None]))
    assert into.take() is None
    commit(into, 0x18, Insert(1, [b"2", None]))
    assert keys(into.take()) == ["9.1/0/18/0"]


def test_a_large_transaction_comes_in_parts_and_goes_on_within(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions, "TRANSACTION_ROWS_MAX", 3)
    messages: list[pgoutput.Received] = [
        Begin(0x20, AT, 8),
        ORDERS,
        *(Insert(1, [b"%d" % n, None]) for n in range(8)),
        Commit(0x20, 0x28, AT),
    ]

    def parts(into: Transactions) -> list[Reading]:
        found = []
        for message in messages:
            into.feed(message)
            if into.full and (reading := into.take()) is not None:
                found.append(reading)
        if (reading := into.take()) is not None:
            found.append(reading)
        return found

    into = made()
    commit(into, 0x10, ORDERS, Insert(1, [b"0", None]))
    into.take()
    whole = parts(into)
    assert [len(part.observations) for part in whole] == [3, 3, 2]
    assert [part.receipt.lsn for part in whole] == [0x18, 0x18, 0x28]  # the server keeps it until it is all behind us
    for at, part in enumerate(whole):
        again = parts(made(decoded(part.position or "")))
        assert [key for more in again for key in keys(more)] == [key for more in whole[at + 1 :] for key in keys(more)]


def test_a_reading_has_no_more_bytes_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions, "READING_BYTES_MAX", 10_000)
    into = made()
    for lsn in range(0x10, 0x810, 8):
        commit(into, lsn, ORDERS, Insert(1, [b"1", b"x" * 1_000]))
        if into.full:
            break
    reading = into.take()
    assert reading is not None
    assert sum(len(observation.seen) for observation in reading.observations) < 12_000


@pytest.mark.parametrize(
    "messages",
    [
        [Insert(1, [b"1", None])],
        [ORDERS, Insert(1, [b"1", None])],
        [Begin(0x10, AT, 7), Insert(1, [b"1", None])],
        [Begin(0x10, AT, 7), Begin(0x20, AT, 8)],
        [Commit(0x10, 0x18, AT)],
        [Begin(0x10, AT, 7), ORDERS, Insert(1, [b"1"])],
        [Begin(0x10, AT, 7), ORDERS, Insert(1, [])],
        [Begin(0x10, AT, 7), ORDERS, Insert(1, [b"1", None, None])],
    ],
)
def test_what_cannot_follow_is_an_error(messages: list[pgoutput.Received]) -> None:
    into = made()
    for message in messages[:-1]:
        into.feed(message)
    with pytest.raises((ProtocolError, ValueError, IndexError)):
        into.feed(messages[-1])


# A snapshot beside it

TABLE = Table("public", "orders", [("id", encode_for(23)), ("note", encode_for(25))], ["id"])
MARK = Message(True, 0, MARK_PREFIX, b"mark")


def chunk(rows: list[Row], view: str = "100:100:") -> Chunk:
    return Chunk(TABLE, rows, view=View(view), mark=b"mark", progress=SnapshotProgress(("public.orders",), ("3",)))


def snapshotting() -> Transactions:
    return made(Position(system="9", timeline=1, lsn="0/0", snapshot=SnapshotProgress(("public.orders",))))


def test_a_chunk_comes_where_its_mark_is_without_what_was_touched_before() -> None:
    into = snapshotting()
    into.weave(chunk([[b"1", b"a"], [b"2", b"b"], [b"3", b"c"], [b"4", b"d"]]))
    commit(into, 0x10, ORDERS, Update(1, None, False, [b"1", b"new"]), xid=100)  # not visible in it
    commit(into, 0x20, Update(1, None, False, [b"2", b"b"]), xid=99)  # visible: the row is as it has left it
    commit(into, 0x30, Update(1, [b"3", None], False, [b"30", b"c"]), xid=101)
    commit(into, 0x40, MARK._replace(content=b"another one's"), xid=102)
    commit(into, 0x48, MARK, xid=103)
    reading = into.take()
    assert [(one["op"], one["row"]["id"]) for one in seen(reading)] == [
        ("update", 1),
        ("update", 2),
        ("update", 30),
        ("snapshot", 2),
        ("snapshot", 4),
    ]
    assert reading is not None
    assert decoded(reading.position or "").snapshot == SnapshotProgress(("public.orders",), ("3",))


def test_a_truncation_leaves_nothing_of_a_chunk() -> None:
    into = snapshotting()
    into.weave(chunk([[b"1", b"a"]]))
    commit(into, 0x10, ORDERS, Truncate((1,), False, False), xid=100)
    commit(into, 0x20, MARK, xid=101)
    assert [one["op"] for one in seen(into.take())] == ["truncate"]


def test_a_chunk_whose_rows_cannot_be_told_apart_is_read_again() -> None:
    into = snapshotting()
    into.weave(chunk([[b"1", b"a"]]))
    renamed = ORDERS._replace(columns=(Column("number", 23, True, -1), ORDERS.columns[1]))
    commit(into, 0x10, renamed, Update(1, None, False, [b"1", b"new"]), xid=100)
    commit(into, 0x20, MARK, xid=101)
    assert [one["op"] for one in seen(into.take())] == ["update"]
    assert into.snapshot == SnapshotProgress(("public.orders",))
    assert not into.weaving


def test_a_look_that_does_not_see_what_came_by_waits() -> None:
    """A commit is in the log before others see it, and long before where a synchronous standby has to confirm it."""
    into = snapshotting()
    commit(into, 0x10, ORDERS, Insert(1, [b"1", None]), xid=100)
    assert into.awaits(View("100:105:100"))
    assert into.awaits(View("100:105:100"))
    assert not into.awaits(View("105:105:"))
    assert not into.awaits(View("100:105:100"))  # it was visible once, so it is for good


@given(st.integers(3, 2**40), st.integers(0, 1_000))
def test_a_number_of_32_bits_is_that_of_lately(next_: int, before: int) -> None:
    view = View(f"{next_}:{next_}:")
    assert view.sees((next_ - 1) % 2**32)
    assert not view.sees((next_ + before) % 2**32)
