"""Table triggers on PostgreSQL: what only it has."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from tests.outboxes import Place
from tests.tables import (
    KIND,
    PATIENCE_SECONDS,
    again,
    all_of,
    changes,
    make_orders,
    observed,
    reading,
    run,
    spec,
    traces,
)

from posthouse.adapters.sources.tables import source as sources
from posthouse.adapters.sources.tables.postgresql import store as stores
from posthouse.adapters.sources.tables.postgresql.place import PostgresPlace
from posthouse.adapters.sources.tables.postgresql.store import PostgresStore
from posthouse.adapters.sources.tables.settings import read_settings
from posthouse.domain.errors import SourceRefused, SourceUnavailable
from posthouse.ports.sources import Spec

pytestmark = pytest.mark.parametrize("place", ["postgresql"], indirect=True)


@pytest.fixture
async def orders(place: Place) -> Spec:
    make_orders(place)
    made = spec(place)
    await KIND.install(made)
    return made


@asynccontextmanager
async def connection(dsn: str, **settings: Any) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    made = await asyncpg.connect(dsn, **settings)
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
async def role(place: Place) -> AsyncIterator[str]:
    """A user who may nothing."""
    name = f"app_{secrets.token_hex(4)}"
    run(place, f"CREATE ROLE {name} LOGIN PASSWORD 'app'")
    yield name
    run(place, f"DROP OWNED BY {name}", f"DROP ROLE {name}")


def as_role(place: Place, role: str) -> str:
    _, _, rest = place.dsn.partition("@")
    return f"postgresql://{role}:app@{rest}"


# Who may what


async def test_who_writes_to_the_table_needs_no_right_to_ours(place: Place, orders: Spec, role: str) -> None:
    run(place, f"GRANT SELECT, INSERT, UPDATE ON orders TO {role}")
    async with connection(as_role(place, role)) as application:
        await application.execute("INSERT INTO orders VALUES (1, 'new', 1)")
        await application.execute("UPDATE orders SET status = 'paid'")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await application.fetch("SELECT * FROM posthouse_change")
        (function,) = await application.fetch(
            "SELECT oid::regprocedure::text FROM pg_proc WHERE proname ~ '^posthouse_trg'"
        )
        await application.execute("CREATE TEMPORARY TABLE own (id int)")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):  # or it could write whatever it likes
            await application.execute(
                f"CREATE TRIGGER x AFTER INSERT ON own FOR EACH ROW EXECUTE FUNCTION {function[0]}"
            )
    assert [change["op"] for change in await changes(orders)] == ["insert", "update"]


async def test_a_right_that_is_missing_is_named(place: Place, role: str) -> None:
    make_orders(place)
    theirs = again(spec(place), dsn=as_role(place, role))
    with pytest.raises(SourceRefused, match=rf'GRANT CREATE ON SCHEMA "public" TO "{role}"'):
        await KIND.install(theirs)
    run(place, f"GRANT CREATE ON SCHEMA public TO {role}")
    with pytest.raises(SourceRefused, match=rf'GRANT TRIGGER ON "public"."orders" TO "{role}"'):
        await KIND.install(theirs)
    run(place, f"GRANT TRIGGER ON orders TO {role}")
    await KIND.install(theirs)
    place.execute("INSERT INTO orders VALUES (1, 'new', 1)")
    assert len(await changes(theirs)) == 1
    await KIND.remove(theirs)  # though only its owner may drop a table's trigger
    assert traces(place) == []


async def test_tables_of_somebody_else_are_not_trusted(place: Place, role: str) -> None:
    run(place, f"GRANT CREATE ON SCHEMA public TO {role}")
    async with connection(as_role(place, role)) as theirs:
        await theirs.execute("CREATE TABLE public.posthouse_change (id int)")
    make_orders(place)
    run(place, f"CREATE ROLE {role}_owner LOGIN PASSWORD 'app'", f"ALTER TABLE orders OWNER TO {role}_owner")
    run(place, f"GRANT CREATE ON SCHEMA public TO {role}_owner")
    try:
        with pytest.raises(SourceRefused, match=f"belongs to {role}, not to {role}_owner"):
            await KIND.install(again(spec(place), dsn=as_role(place, f"{role}_owner")))
    finally:
        run(place, f"DROP OWNED BY {role}_owner", f"DROP ROLE {role}_owner")


async def test_who_is_not_let_in_is_told(place: Place, orders: Spec) -> None:
    with pytest.raises(SourceRefused, match="refuses us") as caught:
        await KIND.install(again(orders, dsn=as_role(place, "nobody")))
    assert "app@" not in str(caught.value)


# Being woken


@pytest.fixture
def unpolled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is not woken waits too long."""
    monkeypatch.setattr(stores, "WOKEN_SECONDS_MAX", PATIENCE_SECONDS)
    monkeypatch.setattr(stores, "AFTER_SAYING_SECONDS", PATIENCE_SECONDS)


async def until(fact: Callable[[], Any]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not fact():  # noqa: ASYNC110 - another process's fact
            await asyncio.sleep(0.005)


async def test_a_commit_wakes_the_readers_of_its_changes_and_no_other(
    place: Place, orders: Spec, unpolled: None
) -> None:
    other = spec(place, on=["delete"])
    await KIND.install(other)
    waits = "SELECT 1 FROM posthouse_change_trigger WHERE trigger_id = '{}' AND waits_until > now()"
    async with reading(orders) as one, reading(other) as two:
        first = asyncio.create_task(one.read(limit=10, wait_seconds=PATIENCE_SECONDS))
        second = asyncio.create_task(two.read(limit=10, wait_seconds=PATIENCE_SECONDS))
        for each in (orders, other):
            await until(lambda each=each: place.execute(waits.format(each.id)))  # type: ignore[misc]
        await asyncio.sleep(0.05)
        place.execute("INSERT INTO orders VALUES (1, 'new', 1)")
        async with asyncio.timeout(PATIENCE_SECONDS / 2):
            await one.acknowledge(await first)
        assert not second.done()
        place.execute("DELETE FROM orders")
        async with asyncio.timeout(PATIENCE_SECONDS / 2):
            assert len((await second).observations) == 1
            assert len((await one.read(limit=10, wait_seconds=1)).observations) == 1
    assert place.execute("SELECT 1 FROM posthouse_change_trigger WHERE waits_until IS NOT NULL") == []


async def test_no_commit_notifies_while_the_reader_is_busy(place: Place, orders: Spec) -> None:
    told: list[str] = []
    async with connection(place.dsn) as ear, reading(orders) as source:
        await ear.add_listener("posthouse_change", lambda *args: told.append(str(args[3])))
        store = source._store
        assert isinstance(store, PostgresStore)
        while not store._told_until:
            await store.wait(0)
        run(place, *(f"INSERT INTO orders VALUES ({number}, 'new', 1)" for number in range(100)))
        await until(lambda: told)
        assert told == [orders.id], "once a transaction"
        assert len(await all_of(source)) == 100
        assert not store._told_until
        place.execute("INSERT INTO orders VALUES (100, 'new', 1)")
        await ear.execute("SELECT 1")
        assert told == [orders.id]
        assert len((await source.read(limit=10, wait_seconds=PATIENCE_SECONDS)).observations) == 1


async def test_who_is_cancelled_as_a_commit_wakes_it_is_cancelled(place: Place, orders: Spec) -> None:
    async with reading(orders) as source:
        store = source._store
        assert isinstance(store, PostgresStore)
        while not store._told_until or store._woken.is_set():
            await store.wait(0)
        waiting = asyncio.create_task(store.wait(PATIENCE_SECONDS))
        for _ in range(3):
            await asyncio.sleep(0)
        store._wake(None, 0, "posthouse_change", orders.id)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting


async def test_an_event_is_there_soon_after_its_commit(place: Place, orders: Spec) -> None:
    took = []
    async with reading(orders) as source, connection(place.dsn) as application:
        for number in range(20):
            waiting = asyncio.create_task(source.read(limit=10, wait_seconds=PATIENCE_SECONDS))
            await asyncio.sleep(0.03)
            await application.execute(f"INSERT INTO orders VALUES ({number}, 'new', 1)")
            began = time.monotonic()
            await source.acknowledge(await waiting)
            took.append(time.monotonic() - began)
    assert sorted(took)[len(took) // 2] < 0.2, "which polling alone would not do"


# Reading


async def test_what_was_removed_is_not_looked_at_again(
    place: Place, orders: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction that only reads holds up vacuum and not the floor; one that writes holds up the floor."""
    monkeypatch.setattr(stores, "FLOOR_SECONDS", 0.0)
    async with connection(place.dsn) as old, connection(place.dsn) as slow, reading(orders) as source:
        store = source._store
        assert isinstance(store, PostgresStore)
        async with old.transaction(isolation="repeatable_read", readonly=True):
            await old.fetch("SELECT count(*) FROM orders")
            for number in range(5):
                place.execute("INSERT INTO orders VALUES (%s, 'new', 1)", number)
            assert len(await all_of(source)) == 5
            await all_of(source)
            await all_of(source)
            assert store._floor == 5
            async with slow.transaction():
                await slow.execute("INSERT INTO orders VALUES (5, 'new', 1)")
                for number in range(6, 10):
                    place.execute("INSERT INTO orders VALUES (%s, 'new', 1)", number)
                    assert len(await all_of(source)) == 1
                assert store._floor < 6
            assert [seen.event_key for seen in await all_of(source)] == ["5"]
            await all_of(source)
            await all_of(source)
            assert store._floor == 10


async def test_a_large_backlog_is_read_by_its_index(place: Place, orders: Spec) -> None:
    run(place, "INSERT INTO orders SELECT i, 'new', 1 FROM generate_series(1, 3000) i")
    async with connection(place.dsn) as asking:
        plan = await asking.fetchval(
            "EXPLAIN (FORMAT JSON) " + stores._FETCH.format(h="public").replace("$1", f"'{orders.id}'")
            .replace("$2", "500").replace("$3", "1000000").replace("$4", "0")
        )  # fmt: skip
    assert "posthouse_change_pkey" in plan
    assert "Seq Scan" not in plan
    assert len(await observed(orders, limit=500)) == 3000


# Tables


async def test_partitions_are_part_of_their_table(place: Place) -> None:
    run(
        place,
        "CREATE TABLE parted (id int, region text, PRIMARY KEY (id, region)) PARTITION BY LIST (region)",
        "CREATE TABLE parted_eu PARTITION OF parted FOR VALUES IN ('eu')",
    )
    made = spec(place, "parted")
    await KIND.install(made)
    assert (await KIND.plan(made)).install == ()
    run(place, "CREATE TABLE parted_us PARTITION OF parted FOR VALUES IN ('us')")
    run(place, "INSERT INTO parted VALUES (1, 'eu')", "INSERT INTO parted_us VALUES (2, 'us')")
    run(place, "UPDATE parted SET region = 'us' WHERE id = 1")
    found = [(change["op"], change["table"], change["key"]) for change in await changes(made)]
    assert found == [
        ("insert", "parted", '["1","eu"]'),
        ("insert", "parted", '["2","us"]'),
        ("delete", "parted", '["1","eu"]'),
        ("insert", "parted", '["1","us"]'),
    ]
    assert any("another partition" in remark for remark in (await KIND.plan(made)).remarks)
    await KIND.remove(made)
    assert traces(place) == []


async def test_copy_merge_and_truncate(place: Place, orders: Spec) -> None:
    async with connection(place.dsn) as application:
        await application.copy_records_to_table("orders", records=[(1, "new", 1), (2, "new", 1)])
        await application.execute(
            "MERGE INTO orders o USING (VALUES (2), (3)) v (id) ON o.id = v.id "
            "WHEN MATCHED THEN UPDATE SET status = 'paid' WHEN NOT MATCHED THEN INSERT VALUES (v.id, 'new', 1)"
        )
        await application.execute("TRUNCATE orders")
    found = [(change["op"], change["key"]) for change in await changes(orders)]
    assert found == [("insert", "1"), ("insert", "2"), ("update", "2"), ("insert", "3")]


async def test_what_a_foreign_key_does_is_seen(place: Place, orders: Spec) -> None:
    run(place, "CREATE TABLE line (id int PRIMARY KEY, order_id int REFERENCES orders ON DELETE CASCADE)")
    lines = spec(place, "line")
    await KIND.install(lines)
    run(place, "INSERT INTO orders VALUES (1, 'new', 1)", "INSERT INTO line VALUES (7, 1)", "DELETE FROM orders")
    assert [change["op"] for change in await changes(lines)] == ["insert", "delete"]


async def test_a_trigger_that_is_disabled_is_told(place: Place, orders: Spec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "COMPARED_SECONDS", 0.0)
    run(place, "ALTER TABLE orders DISABLE TRIGGER ALL")
    async with reading(orders) as source:
        with pytest.raises(SourceRefused, match="dropped or disabled"):
            await source.read(limit=10, wait_seconds=0)
        await KIND.install(orders)
        assert (await source.read(limit=10, wait_seconds=0)).observations == ()


async def test_a_serializable_application_is_not_disturbed(place: Place, orders: Spec) -> None:
    async with connection(place.dsn) as one, connection(place.dsn) as two, reading(orders) as source:
        async with one.transaction(isolation="serializable"), two.transaction(isolation="serializable"):
            await one.execute("INSERT INTO orders VALUES (1, 'new', 1)")
            await two.execute("INSERT INTO orders VALUES (2, 'new', 1)")
            assert await all_of(source) == []
        assert len(await all_of(source)) == 2


async def test_it_does_not_queue_behind_a_long_transaction(place: Place) -> None:
    make_orders(place)
    settings = read_settings(spec(place).settings)
    async with connection(place.dsn) as long, connection(place.dsn) as application:
        async with long.transaction():
            await long.execute("INSERT INTO orders VALUES (1, 'new', 1)")
            installing = asyncio.create_task(PostgresPlace(settings.dsn).install("trg_x", settings, seconds=1.0))
            waited = 0.0
            while not installing.done():
                began = time.monotonic()
                await application.execute("INSERT INTO orders VALUES (2, 'new', 1) ON CONFLICT DO NOTHING")
                waited = max(waited, time.monotonic() - began)
                await asyncio.sleep(0.01)
            with pytest.raises(SourceUnavailable, match="locked by transactions that do not end"):
                await installing
            assert waited < 5.0, "not as long as the other one lasts"
        await PostgresPlace(settings.dsn).install("trg_x", settings, seconds=1.0)
