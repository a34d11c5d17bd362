"""The relay's port to a database, on each that can hold an outbox."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import closing
from typing import Any

import pytest
from tests.outboxes import Place

from posthouse_sdk.outbox import DatabaseError, NotInstalledError, emit
from posthouse_sdk.outbox.row import line_of
from posthouse_sdk.outbox.store import Held, Store, store_of

MANY = 1_000_000


@pytest.fixture
async def store(outbox: Place) -> AsyncIterator[Store]:
    made = store_of(outbox.dsn)
    await made.open()
    yield made
    await made.close()


def put(outbox: Place, *events: dict[str, Any]) -> None:
    with closing(outbox.connect()) as connection:
        for number, event in enumerate(events):
            emit(connection, "order.created", event.pop("data", number), **event)
        connection.commit()


async def data(store: Store, rows: int = 10, size: int = MANY, held: Held | None = None) -> list[str | None]:
    return [row.data for row in await store.fetch(rows, size, held or Held())]


async def test_rows_come_in_their_order_and_go_when_removed(outbox: Place, store: Store) -> None:
    put(outbox, {"subject": "shop:1", "key": "k", "app": "a", "channels": ["c"], "data": {"名": "驿站 🐎"}}, {}, {})
    first, *others = await store.fetch(10, MANY, Held())
    assert (first.type, first.subject, first.event_key, first.app) == ("order.created", "shop:1", "k", "a")
    assert (first.data, first.extra) == ('{"名":"驿站 🐎"}', '{"channels": ["c"]}')
    assert first.line == line_of("a", "k")
    assert [row.data for row in others] == ["1", "2"]
    assert others[0].line is None
    await store.remove([first.id, others[1].id])
    assert await data(store) == ["1"]
    await store.remove([others[0].id])
    assert await data(store) == []


async def test_a_round_is_bounded_by_rows_and_by_bytes(outbox: Place, store: Store) -> None:
    put(outbox, *({"data": "x" * 98} for _ in range(5)))
    assert len(await data(store, rows=3)) == 3
    assert len(await data(store, size=250)) == 3, "up to the one that passes the limit"
    assert len(await data(store, size=1)) == 1, "one at least"


async def test_what_is_larger_than_any_server_takes_is_not_read(outbox: Place, store: Store) -> None:
    if outbox.dialect == "mysql":
        pytest.skip("MariaDB's max_allowed_packet is below the limit: such a row cannot be written there")
    outbox.execute("INSERT INTO posthouse_outbox (type, data) VALUES ('a', %s)", "x" * (16 * 1024 * 1024 + 1))
    assert await data(store) == [None]


async def test_an_earlier_row_that_is_committed_later_is_not_passed_over(outbox: Place, store: Store) -> None:
    if outbox.dialect == "sqlite":
        pytest.skip("SQLite has one transaction at a time: no row is committed after a later one")
    with closing(outbox.connect()) as slow:
        emit(slow, "order.created", "early")
        put(outbox, {"data": "late"})
        assert await data(store) == ['"late"']
        slow.commit()
    assert await data(store) == ['"early"', '"late"']


async def test_what_is_rolled_back_was_never_there(outbox: Place, store: Store) -> None:
    with closing(outbox.connect()) as connection:
        emit(connection, "order.created", 1)
        connection.rollback()
    assert await data(store) == []


async def test_what_is_held_is_left_out(outbox: Place, store: Store) -> None:
    put(outbox, {"key": "k"}, {"key": "k", "app": "a"}, {"app": "a"}, {"app": "b"}, {})
    ids = [row.id for row in await store.fetch(10, MANY, Held())]
    assert await data(store, held=Held(lines={line_of(None, "k")})) == ["1", "2", "3", "4"]
    assert await data(store, held=Held(lines={line_of("a", "k"), line_of("a", "other")})) == ["0", "2", "3", "4"]
    assert await data(store, held=Held(apps={"a"})) == ["0", "3", "4"]
    assert await data(store, held=Held(apps={""})) == ["1", "2", "3"]
    assert await data(store, rows=1, held=Held(ids=set(ids[:4]))) == ["4"]
    assert await data(store, held=Held(ids={ids[4]}, apps={"a"}, lines={line_of(None, "k")})) == ["3"]


async def test_what_another_language_writes_needs_a_type_and_data_only(outbox: Place, store: Store) -> None:
    outbox.execute("INSERT INTO posthouse_outbox (type, data) VALUES ('a', '1')")
    outbox.execute("INSERT INTO posthouse_outbox (type, data) VALUES ('a', '2')")
    one, two = await store.fetch(10, MANY, Held())
    assert len({one.uid, two.uid}) == 2
    assert len(one.uid) >= 32


async def test_one_relay_has_the_lease_until_it_ends(outbox: Place, store: Store) -> None:
    other = store_of(outbox.dsn)
    await other.open()
    try:
        assert await store.claim("one", 60)
        assert not await other.claim("two", 60)
        assert await store.claim("one", 0.2), "its own it prolongs, or shortens"
        async with asyncio.timeout(10):
            while not await other.claim("two", 60):  # noqa: ASYNC110 - the database says when
                await asyncio.sleep(0.02)
        assert not await store.claim("one", 60)
        lease = await store.lease()
        assert lease.owner == "two"
        assert 50 < lease.seconds <= 60
        await store.release("one")
        assert not await store.claim("one", 60), "what is not its own it cannot give back"
        await other.release("two")
        assert await store.claim("one", 60)
    finally:
        await other.close()


async def test_what_is_refused_is_set_aside_and_can_come_back(outbox: Place, store: Store) -> None:
    put(outbox, {"subject": "shop:1", "key": "k"}, {}, {})
    rows = await store.fetch(10, MANY, Held())
    for row in rows[:2]:
        await store.set_aside(row.id, "no such event type")
    await store.set_aside(rows[0].id, "again")
    assert await data(store) == ["2"]
    dead = await store.dead(10)
    assert [(row.data, row.reason) for row in dead] == [("0", "no such event type"), ("1", "no such event type")]
    assert 0 <= dead[0].dead_seconds < 60
    assert [row.data for row in await store.dead(1)] == ["0"]
    assert (await store.backlog())[:2] == (1, 2)
    assert await store.retry([dead[0].id, 10**9]) == 1
    assert await data(store) == ["2", "0"], "at the end"
    back = (await store.fetch(10, MANY, Held()))[1]
    assert back == rows[0]._replace(id=back.id)
    assert await store.retry(None) == 1
    assert await store.retry(None) == 0
    assert await store.dead(10) == []


async def test_the_backlog_tells_what_waits_and_since_when(outbox: Place, store: Store) -> None:
    assert await store.backlog() == (0, 0, 0.0)
    put(outbox, {}, {})
    backlog = await store.backlog()
    assert (backlog.pending, backlog.dead) == (2, 0)
    assert 0 <= backlog.oldest_seconds < 60
    assert abs(await store.clock() - time.time()) < 5


async def test_installing_twice_changes_nothing(place: Place) -> None:
    store = store_of(place.dsn)
    with pytest.raises(NotInstalledError, match="posthouse outbox install"):
        await store.open()
    await store.install()
    await store.open()
    place.execute("INSERT INTO posthouse_outbox (type, data) VALUES ('a', '1')")
    await store.install()
    assert await data(store) == ["1"]
    place.execute("UPDATE posthouse_outbox_lease SET version = 99")
    with pytest.raises(NotInstalledError, match=r"has version 99.* knows version 1\. Upgrade it"):
        await store.open()
    place.execute("DROP TABLE posthouse_outbox")
    with pytest.raises(NotInstalledError, match="posthouse outbox install"):
        await store.fetch(1, 1, Held())
    await store.close()


async def test_a_wrong_dsn_says_what_to_look_at(place: Place) -> None:
    wrong = f"{place.dsn}_no_such" if place.dialect == "sqlite" else place.dsn.replace("/test_", "/no_such_")
    store = store_of(wrong)
    with pytest.raises(DatabaseError) as caught:
        await store.open()
    assert caught.value.refused
    assert "--dsn" in str(caught.value) or "is that the database of your application" in str(caught.value)
    await store.close()


async def test_a_lost_connection_is_made_anew(outbox: Place, store: Store) -> None:
    put(outbox, {})
    connection: Any = store._connection  # type: ignore[attr-defined]
    assert connection is not None
    if outbox.dialect == "postgresql":
        outbox.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid()"
        )
    elif outbox.dialect == "mysql":
        outbox.execute(f"KILL {connection.thread_id()}")
    else:
        connection.close()
    async with asyncio.timeout(10):
        while True:
            try:
                assert await data(store) == ["0"]
                break
            except DatabaseError:
                continue
