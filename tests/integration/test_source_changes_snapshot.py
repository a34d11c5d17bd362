"""The rows that were there before: each at least once, at a place in the stream where it is as it is told."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

import psycopg
import pytest
from tests.changing import KIND, PATIENCE_SECONDS, Begin, Database, Published, Trigger
from tests.clusters import Clusters

from posthouse.adapters.sources.changes import snapshot
from posthouse.domain.errors import Invalid, SourceRefused
from posthouse.ports.sources import Spec

ROWS = 1_500


async def _write(dsn: str, chance: random.Random) -> None:
    """Rows change, go, come back and change their keys; some of it is rolled back."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        for _ in range(150):
            with suppress(psycopg.errors.UniqueViolation, psycopg.errors.DeadlockDetected):
                async with connection.transaction(force_rollback=chance.random() < 0.1):
                    for _ in range(chance.randint(1, 4)):
                        statement = chance.choice(
                            (
                                "UPDATE item SET note = note || '.' WHERE id = %(id)s",
                                "UPDATE item SET note = note || '.' WHERE id = %(id)s",
                                "DELETE FROM item WHERE id = %(id)s",
                                "UPDATE item SET id = id + 10000 WHERE id = %(id)s",
                                "UPDATE item SET id = id - 10000 WHERE id = %(id)s + 10000",
                                "INSERT INTO item VALUES (%(id)s %% 7, %(id)s, 'new')",
                            )
                        )
                        await connection.execute(statement, {"id": chance.randint(1, ROWS)})


async def _rows(database: Database) -> list[tuple[int, int, str]]:
    return sorted(await database.ask("SELECT id, shop, note FROM item"))


def _copy(published: Published) -> list[tuple[int, int, str]]:
    return sorted((row["id"], row["shop"], row["note"]) for row in published.rows["public.item"].values())


@pytest.mark.parametrize("seed", range(3))
async def test_whoever_applies_everything_has_the_table(watched: Database, begin: Begin, seed: int) -> None:
    """With writers beside it, and begun again at any moment with or without an acknowledgement."""
    chance = random.Random(seed)
    await watched.run(
        "CREATE TABLE item (shop int, id int, note text, PRIMARY KEY (id, shop))",
        f"INSERT INTO item SELECT n % 7, n, 'old' FROM generate_series(1, {ROWS}) n",
    )
    trigger = await begin(await watched.installed("item", snapshot=True))
    writers = asyncio.gather(*(_write(watched.dsn, random.Random(seed * 10 + n)) for n in range(3)))
    begun = 0
    while not writers.done() or "snapshot" in (trigger.position or "snapshot"):
        reading = await trigger.read(limit=chance.choice((20, 100, 500)))
        if chance.random() < 0.9:
            await trigger.source.acknowledge(reading)
        if reading.position is not None and chance.random() < 0.2:
            await trigger.reopen()
            begun += 1
    await writers
    published = await trigger.caught_up()
    assert _copy(published) == await _rows(watched)
    assert published.backwards == 0
    assert begun > 3


async def test_a_snapshot_that_was_interrupted_goes_on(watched: Database, begin: Begin) -> None:
    await watched.run("CREATE TABLE item (id int PRIMARY KEY)", "INSERT INTO item SELECT generate_series(1, 1000)")
    await watched.run("CREATE TABLE other (id text PRIMARY KEY)", "INSERT INTO other VALUES ('a'), ('b')")
    trigger = await begin(await watched.installed("item", "other", snapshot=True))
    while "snapshot" in (trigger.position or "snapshot"):
        if (await trigger.read(limit=100)).position is not None:
            await trigger.reopen()
    published = await trigger.caught_up()
    assert published.repeated == 0
    assert published.ops("id") == [("snapshot", n) for n in (*range(1, 1001), "a", "b")]
    await trigger.reopen()
    assert len((await trigger.caught_up()).seen) == 1_002


async def test_a_row_of_a_snapshot_that_is_read_again_is_the_same(watched: Database, begin: Begin) -> None:
    await watched.run("CREATE TABLE item (id int PRIMARY KEY, note text)", "INSERT INTO item VALUES (1, 'a'), (2, 'a')")
    trigger = await begin(await watched.installed("item", snapshot=True))
    while not (await trigger.read()).observations:
        pass
    trigger.position = None
    await watched.run("UPDATE item SET note = 'b' WHERE id = 2")
    await trigger.reopen()
    published = await trigger.caught_up()
    assert published.repeated == 1  # the row that is as it was
    assert {key: row["note"] for key, row in published.rows["public.item"].items()} == {
        "{'id': 1}": "a",
        "{'id': 2}": "b",
    }


async def test_chunks_are_small_where_rows_are_large(
    watched: Database, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "CHUNK_BYTES_MAX", 100_000)
    await watched.run("CREATE TABLE item (id int PRIMARY KEY, data text)")
    await watched.run("INSERT INTO item SELECT n, repeat('x', 30000) FROM generate_series(1, 20) n")
    trigger = await begin(await watched.installed("item", snapshot=True))
    assert (await trigger.caught_up()).ops("id") == [("snapshot", n) for n in range(1, 21)]
    assert max(len(reading.observations) for reading in trigger.readings) == 4


async def test_an_empty_table_and_one_that_is_gone_are_passed(watched: Database, begin: Begin) -> None:
    await watched.run("CREATE TABLE empty (id int PRIMARY KEY)", "CREATE TABLE gone (id int PRIMARY KEY)")
    await watched.run("CREATE TABLE item (id int PRIMARY KEY)", "INSERT INTO item VALUES (1)")
    spec = await watched.installed("empty", "gone", "item", snapshot=True)
    await watched.run("DROP TABLE gone")
    trigger = await begin(spec)
    assert (await trigger.caught_up()).ops("id") == [("snapshot", 1)]
    assert "snapshot" not in (trigger.position or "snapshot")


@pytest.mark.parametrize("key", ["text", "numeric", "timestamptz", "uuid", "int8"])
async def test_keys_of_any_type(watched: Database, begin: Begin, key: str) -> None:
    value = {
        "text": "'k' || n",
        "numeric": "n / 3.0",
        "timestamptz": "'2026-01-01'::timestamptz + n * interval '1.001 s'",
        "uuid": "md5(n::text)::uuid",
        "int8": "n * 9999999999",
    }[key]
    await watched.run(f"CREATE TABLE item (id {key} PRIMARY KEY)")
    await watched.run(f"INSERT INTO item SELECT {value} FROM generate_series(1, 50) n")
    trigger = await begin(await watched.installed("item", snapshot=True))
    while "snapshot" in (trigger.position or "snapshot"):
        await trigger.round(limit=7)
    assert len(trigger.published.rows["public.item"]) == 50
    assert trigger.published.repeated == 0


async def test_a_commit_that_a_standby_does_not_confirm_is_not_overwritten(
    clusters: Clusters, working: list[Trigger]
) -> None:
    """It is in the log, and so in the stream, long before anybody sees it: a chunk read meanwhile has what was before."""
    server = clusters.server()
    await server.start(wal_level="logical")
    await server.execute("CREATE TABLE item (id int PRIMARY KEY, note text)")
    await server.execute("INSERT INTO item VALUES (1, 'old')")
    settings = KIND.check({"dsn": server.dsn, "tables": ["item"], "snapshot": True})
    trigger = Trigger(Spec(id="trg_standby", name="a test", settings=settings))
    working.append(trigger)
    await KIND.install(trigger.spec)
    await server.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    await server.execute("SELECT pg_reload_conf()")
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (await server.execute("SHOW synchronous_standby_names"))[0][0] != "nobody":  # noqa: ASYNC110 - another process's fact
            await asyncio.sleep(0.02)
    hanging = asyncio.create_task(server.execute("UPDATE item SET note = 'new'"))
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await server.execute("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"):  # noqa: ASYNC110 - another process's fact
            await asyncio.sleep(0.02)
    await trigger.open()
    for _ in range(20):
        await trigger.round()
    assert trigger.published.ops("note") == [("update", "new")]
    await server.execute("ALTER SYSTEM RESET synchronous_standby_names")
    await server.execute("SELECT pg_reload_conf()")
    await hanging
    while "snapshot" in (trigger.position or "snapshot"):
        await trigger.round()
    assert trigger.published.ops("note") == [("update", "new"), ("snapshot", "new")]


# Going back


async def test_a_rewind_publishes_all_rows(watched: Database, begin: Begin) -> None:
    await watched.run("CREATE TABLE item (id int PRIMARY KEY)", "INSERT INTO item VALUES (1)")
    trigger = await begin(await watched.installed("item"))
    await watched.run("INSERT INTO item VALUES (2)")
    assert (await trigger.caught_up()).ops("id") == [("insert", 2)]
    await trigger.close()
    trigger.position = await KIND.rewind(trigger.spec, None)
    await trigger.open()
    await watched.run("INSERT INTO item VALUES (3)")
    published = await trigger.caught_up()
    assert sorted({row["id"] for row in published.rows["public.item"].values()}) == [1, 2, 3]
    assert {("snapshot", 1), ("snapshot", 2)} <= set(published.ops("id"))


async def test_a_rewind_to_a_time_cannot_be(watched: Database) -> None:
    await watched.run("CREATE TABLE item (id int PRIMARY KEY)")
    with pytest.raises(Invalid, match="op snapshot"):
        await KIND.rewind(await watched.installed("item"), 0.0)


async def test_a_rewind_makes_what_was_lost(watched: Database, begin: Begin) -> None:
    """A slot that was dropped, and then a publication: both say what was lost, and what to do."""
    await watched.run("CREATE TABLE item (id int PRIMARY KEY)")
    trigger = await begin(await watched.installed("item"))
    await watched.run("INSERT INTO item VALUES (1)")
    await trigger.caught_up()
    await trigger.close()
    name = f"posthouse_{trigger.spec.id}"

    async with asyncio.timeout(PATIENCE_SECONDS):
        while await watched.slot(trigger.spec, "active"):  # noqa: ASYNC110 - another process's fact
            await asyncio.sleep(0.01)
    await watched.ask("SELECT pg_drop_replication_slot(%s)", name)
    await watched.run("INSERT INTO item VALUES (2)")
    with pytest.raises(SourceRefused, match="Rewind") as found:
        await trigger.open()
    assert found.value.code == "slot_missing"
    await KIND.install(trigger.spec)  # a slot is there again, but lacks something
    with pytest.raises(SourceRefused, match="Rewind") as found:
        await trigger.open()
    assert found.value.code == "slot_lost"
    trigger.position = await KIND.rewind(trigger.spec, None)
    await trigger.open()
    assert sorted(set((await trigger.caught_up()).ops("id"))) == [("insert", 1), ("snapshot", 1), ("snapshot", 2)]

    await watched.run(f"DROP PUBLICATION {name}", "INSERT INTO item VALUES (3)")
    with suppress(SourceRefused):  # older servers refuse, newer ones leave out what they cannot decode
        await trigger.caught_up()
    await trigger.close()
    trigger.position = await KIND.rewind(trigger.spec, None)
    await trigger.open()
    await watched.run("INSERT INTO item VALUES (4)")
    published = await trigger.caught_up()
    assert sorted(row["id"] for row in published.rows["public.item"].values()) == [1, 2, 3, 4]


async def test_a_rewind_needs_keys(watched: Database) -> None:
    await watched.run("CREATE TABLE item (id int)", "ALTER TABLE item REPLICA IDENTITY FULL")
    spec = await watched.installed("item")
    with pytest.raises(Invalid, match="primary key") as found:
        await KIND.rewind(spec, None)
    assert found.value.path == "tables[0]"
