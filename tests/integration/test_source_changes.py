"""Change capture from a real PostgreSQL: what is committed there is seen, whole, in order, once."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
import uvloop
from tests.changing import KIND, PATIENCE_SECONDS, Begin, Database, Published, Trigger

from posthouse.adapters.sources.changes.transactions import TRANSACTION_ROWS_MAX

WRITERS: Final = 4
EVERYTHING: Final = ["insert", "update", "delete", "truncate"]


async def test_transactions_come_whole_and_in_the_order_of_their_commits(watched: Database, begin: Begin) -> None:
    """Money goes between accounts: after each reading there is as much as before, whoever wrote at the same time."""
    await watched.run(
        "CREATE TABLE account (id int PRIMARY KEY, balance int NOT NULL)",
        "INSERT INTO account SELECT n, 100 FROM generate_series(1, 20) n",
    )
    trigger = await begin(await watched.installed("account"))
    balances = dict.fromkeys(range(1, 21), 100)

    async def write(chance: random.Random) -> None:
        async with await psycopg.AsyncConnection.connect(watched.dsn, autocommit=True) as connection:
            for _ in range(60):
                one, other = sorted(chance.sample(range(1, 21), 2))
                async with connection.transaction(force_rollback=chance.random() < 0.2):
                    for account, amount in ((one, -7), (other, 7)):
                        await connection.execute(
                            "UPDATE account SET balance = balance + %s WHERE id = %s", (amount, account)
                        )

    writers = asyncio.gather(*(write(random.Random(n)) for n in range(WRITERS)))
    commits: list[int] = []
    while not writers.done() or (await trigger.caught_up() and False):
        reading = await trigger.round(limit=random.Random(1).randint(1, 50))
        for seen in trigger.published.seen[len(trigger.published.seen) - len(reading.observations) :]:
            balances[seen["row"]["id"]] = seen["row"]["balance"]
            if not commits or commits[-1] != seen["transaction"]:
                commits.append(seen["transaction"])
        assert sum(balances.values()) == 2_000
    await writers
    published = await trigger.caught_up()
    assert len(commits) == len(set(commits)), "a transaction was torn apart"
    assert sorted(row["balance"] for row in published.rows["public.account"].values()) == sorted(
        [balance for (balance,) in await watched.ask("SELECT balance FROM account")]
    )
    places = [int(seen["lsn"].replace("/", ""), 16) for seen in published.seen]
    assert places == sorted(places)


async def test_what_is_rolled_back_is_never_seen(watched: Database, begin: Begin) -> None:
    await watched.run("CREATE TABLE item (id int PRIMARY KEY)")
    trigger = await begin(await watched.installed("item"))
    async with watched.transaction() as connection:
        await connection.execute("INSERT INTO item VALUES (1)")
        async with connection.transaction():
            await connection.execute("INSERT INTO item VALUES (2)")
            async with connection.transaction(force_rollback=True):
                await connection.execute("INSERT INTO item VALUES (3)")
        await connection.execute("INSERT INTO item VALUES (4)")
    async with await psycopg.AsyncConnection.connect(watched.dsn) as connection:
        await connection.execute("INSERT INTO item VALUES (5)")
        await connection.rollback()
    assert (await trigger.caught_up()).ops("id") == [("insert", 1), ("insert", 2), ("insert", 4)]


async def test_every_operation(watched: Database, begin: Begin) -> None:
    await watched.run("CREATE TABLE item (id int PRIMARY KEY, name text)", "CREATE TABLE other (id int PRIMARY KEY)")
    trigger = await begin(await watched.installed("item", "other", on=EVERYTHING))
    await watched.run(
        "INSERT INTO item VALUES (1, 'a'), (2, NULL)",
        "UPDATE item SET name = 'b' WHERE id = 1",
        "UPDATE item SET id = 3 WHERE id = 2",
        "DELETE FROM item WHERE id = 1",
        "TRUNCATE item, other",
    )
    published = await trigger.caught_up()
    assert [(s["op"], s["table"], s["key"], s["old"], s["new"], s["row"]) for s in published.seen] == [
        ("insert", "item", {"id": 1}, None, {"id": 1, "name": "a"}, {"id": 1, "name": "a"}),
        ("insert", "item", {"id": 2}, None, {"id": 2, "name": None}, {"id": 2, "name": None}),
        ("update", "item", {"id": 1}, None, {"id": 1, "name": "b"}, {"id": 1, "name": "b"}),
        ("update", "item", {"id": 3}, {"id": 2}, {"id": 3, "name": None}, {"id": 3, "name": None}),
        ("delete", "item", {"id": 1}, {"id": 1}, None, {"id": 1}),
        ("truncate", "item", None, None, None, None),
        ("truncate", "other", None, None, None, None),
    ]


async def test_only_the_operations_and_columns_that_are_wanted(watched: Database, begin: Begin) -> None:
    await watched.run("CREATE TABLE item (id int PRIMARY KEY, name text, secret text)", "CREATE TABLE free (name text)")
    inserts = await begin(await watched.installed("free", on=["insert"]))
    columns = await begin(await watched.installed("item", columns={"item": ["id", "name"]}, snapshot=True))
    await watched.run("INSERT INTO item VALUES (1, 'a', 'x')", "UPDATE item SET name = 'b'")
    await watched.run("INSERT INTO free VALUES ('a')", "UPDATE free SET name = 'b'", "DELETE FROM free")
    assert (await inserts.caught_up()).ops("name") == [("insert", "a")]
    published = await columns.caught_up()
    assert published.ops("id", "name")[:2] == [("insert", 1, "a"), ("update", 1, "b")]
    assert all("secret" not in seen["row"] for seen in published.seen)


@pytest.mark.parametrize("full", [False, True])
async def test_large_values_that_did_not_change(watched: Database, begin: Begin, full: bool) -> None:
    await watched.run("CREATE TABLE page (id int PRIMARY KEY, title text, body text)")
    await watched.run("ALTER TABLE page ALTER body SET STORAGE EXTERNAL")
    if full:
        await watched.run("ALTER TABLE page REPLICA IDENTITY FULL")
    trigger = await begin(await watched.installed("page"))
    body = "驿" * 5_000
    await watched.run(f"INSERT INTO page VALUES (1, 'a', '{body}')", "UPDATE page SET title = 'b'", "DELETE FROM page")
    insert, update, delete = (await trigger.caught_up()).seen
    assert insert["new"]["body"] == body
    assert update["key"] == delete["key"] == {"id": 1}
    if full:
        assert update["new"] == {"id": 1, "title": "b", "body": body}
        assert update["old"] == {"id": 1, "title": "a", "body": body}
        assert update["changed"] == ["title"]
        assert "unchanged_toast" not in update
        assert delete["old"]["body"] == body
    else:
        assert update["new"] == {"id": 1, "title": "b"}
        assert update["unchanged_toast"] == ["body"]


async def test_values_are_what_postgresql_makes_json_of(watched: Database, begin: Begin) -> None:
    """Where the two are meant to agree: everything but bytea (base64) and arrays of one's own types (text)."""
    values = {
        "a": ("boolean", "true"),
        "b": ("smallint", "-7"),
        "c": ("bigint", "9223372036854775807"),
        "d": ("real", "1.5"),
        "e": ("double precision", "'1e-7'"),
        "f": ("numeric", "12345678901234567890.1234567890"),
        "g": ("numeric", "'NaN'"),
        "h": ("float8", "'-Infinity'"),
        "i": ("text", "'驿站 \"q\" \\ ' || chr(1)"),
        "j": ("char(5)", "'ab'"),
        "k": ("json", '\'{"b": 1, "a": [1.50, null]}\''),
        "l": ("jsonb", '\'{"b": 1, "a": [1.50, null]}\''),
        "m": ("date", "'2026-11-28'"),
        "n": ("timestamp", "'2026-11-28 20:31:34.120'"),
        "o": ("timestamptz", "'2026-11-28 20:31:34.120+08'"),
        "p": ("time", "'20:31:34'"),
        "q": ("interval", "'1 day 2 hours'"),
        "r": ("uuid", "'0198c5a0-0000-7000-8000-000000000000'"),
        "s": ("inet", "'10.0.0.1/8'"),
        "t": ("int[]", "'{1,NULL,3}'"),
        "u": ("text[]", "ARRAY['a', 'b c', 'NULL', NULL, '\"', '\\', '']"),
        "v": ("int[]", "'{{1,2},{3,4}}'"),
        "w": ("timestamptz[]", "ARRAY['2026-11-28 20:31:34+00'::timestamptz]"),
        "x": ("jsonb[]", "ARRAY['{\"a\": 1}'::jsonb]"),
        "y": ("mood", "'so so'"),
        "z": ("quantity", "7"),
        "aa": ("words", "'{a,b}'"),
        "ab": ("int4range", "'[1,5)'"),
        "ac": ("money", "'1.50'"),
        "ad": ("bit(3)", "B'101'"),
        "ae": ("point", "'(1,2)'"),
        "af": ("timestamptz", "'infinity'"),
        "ag": ("text", "NULL"),
    }
    await watched.run(
        "CREATE TYPE mood AS ENUM ('fine', 'so so')",
        "CREATE DOMAIN quantity AS int CHECK (value > 0)",
        "CREATE DOMAIN words AS text[]",
        f"CREATE TABLE thing (id int PRIMARY KEY, {', '.join(f'{name} {kind}' for name, (kind, _) in values.items())})",
    )
    row = f"INSERT INTO thing VALUES (%d, {', '.join(value for _, value in values.values())})"
    await watched.run("SET timezone = 'UTC'", row % 1)
    trigger = await begin(await watched.installed("thing", snapshot=True))
    await watched.run(row % 2)
    published = await trigger.caught_up()
    (expected,) = await watched.ask("SELECT to_jsonb(thing) FROM thing WHERE id = 2")
    found = {seen["key"]["id"]: seen["new"] for seen in published.seen}
    assert found[2] == expected[0]
    assert {**found[1], "id": 2} == found[2], "a row of a snapshot is written as one of the stream"


async def test_bytea_is_base64(watched: Database, begin: Begin) -> None:
    await watched.run("CREATE TABLE blob (id int PRIMARY KEY, data bytea)", r"INSERT INTO blob VALUES (1, '\x00ff10')")
    trigger = await begin(await watched.installed("blob", snapshot=True))
    await watched.run(r"INSERT INTO blob VALUES (2, '\x00ff10')")
    assert {seen["new"]["data"] for seen in (await trigger.caught_up()).seen} == {"AP8Q"}


async def test_a_schema_changes_in_mid_stream(watched: Database, begin: Begin) -> None:
    await watched.run("CREATE TABLE item (id int PRIMARY KEY, name text, gone int)")
    trigger = await begin(await watched.installed("item"))
    await watched.run(
        "INSERT INTO item VALUES (1, 'a', 7)",
        "ALTER TABLE item ADD COLUMN price numeric DEFAULT 1.50",
        "INSERT INTO item VALUES (2, 'b', 7, 2.50)",
        "ALTER TABLE item DROP COLUMN gone",
        "UPDATE item SET name = 'c' WHERE id = 1",
        "ALTER TABLE item RENAME COLUMN name TO title",
        "INSERT INTO item VALUES (3, 'd', 3)",
        "ALTER TABLE item ALTER COLUMN price TYPE text",
        "INSERT INTO item VALUES (4, 'e', 'dear')",
        "ALTER TABLE item RENAME TO article",
        "INSERT INTO article VALUES (5, 'f', 'dear')",
        "ALTER TABLE article DROP CONSTRAINT item_pkey, ADD PRIMARY KEY (id, title)",
        "DELETE FROM article WHERE id = 5",
    )
    async with watched.transaction() as connection:  # in one transaction with rows
        await connection.execute("INSERT INTO article VALUES (6, 'g', 'x')")
        await connection.execute("ALTER TABLE article ADD COLUMN more boolean")
        await connection.execute("INSERT INTO article VALUES (7, 'h', 'x', true)")
    seen = (await trigger.caught_up()).seen
    assert [(s["table"], s["row"]) for s in seen] == [
        ("item", {"id": 1, "name": "a", "gone": 7}),
        ("item", {"id": 2, "name": "b", "gone": 7, "price": 2.5}),
        ("item", {"id": 1, "name": "c", "price": 1.5}),
        ("item", {"id": 3, "title": "d", "price": 3}),
        ("item", {"id": 4, "title": "e", "price": "dear"}),
        ("article", {"id": 5, "title": "f", "price": "dear"}),
        ("article", {"id": 5, "title": "f"}),
        ("article", {"id": 6, "title": "g", "price": "x"}),
        ("article", {"id": 7, "title": "h", "price": "x", "more": True}),
    ]


async def test_a_table_that_is_dropped_and_made_again_goes_on(watched: Database, begin: Begin) -> None:
    """Our publication has lost it by then: it is taken in again, and the rows that it got meanwhile are read."""
    await watched.run("CREATE TABLE item (id int PRIMARY KEY)", "CREATE TABLE other (id int PRIMARY KEY)")
    trigger = await begin(await watched.installed("item", "other"))
    await watched.run("INSERT INTO item VALUES (1)", "DROP TABLE item")
    await trigger.caught_up()
    alarm = (await trigger.source.lag()).alarm
    assert alarm is not None
    assert "public.item" in alarm
    await watched.run("CREATE TABLE item (id int PRIMARY KEY, name text)", "INSERT INTO item VALUES (2, 'a')")
    await watched.run("INSERT INTO other VALUES (1)")
    assert (await trigger.source.lag()).alarm is None
    await trigger.caught_up()
    await trigger.caught_up()
    await watched.run("INSERT INTO item VALUES (3, 'b')")
    published = await trigger.caught_up()
    assert sorted(published.ops("id")) == [("insert", 1), ("insert", 1), ("insert", 3), ("snapshot", 2)]


async def test_a_table_that_came_back_without_a_key_is_told_of_and_not_published(
    watched: Database, begin: Begin
) -> None:
    await watched.run("CREATE TABLE item (id int PRIMARY KEY)")
    trigger = await begin(await watched.installed("item"))
    await watched.run("DROP TABLE item", "CREATE TABLE item (id int)", "INSERT INTO item VALUES (1)")
    alarm = (await trigger.source.lag()).alarm
    assert alarm is not None
    assert "primary key" in alarm
    await trigger.caught_up()
    await watched.run("UPDATE item SET id = 2")  # which publishing it would have made impossible
    assert (await trigger.caught_up()).seen == []


async def test_partitions_are_their_table(watched: Database, begin: Begin) -> None:
    await watched.run(
        "CREATE TABLE log (day date, id int, PRIMARY KEY (day, id)) PARTITION BY RANGE (day)",
        "CREATE TABLE log_1 PARTITION OF log FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')",
        "INSERT INTO log VALUES ('2026-01-05', 1)",
    )
    trigger = await begin(await watched.installed("log", snapshot=True))
    await watched.run(
        "CREATE TABLE log_2 PARTITION OF log FOR VALUES FROM ('2026-02-01') TO ('2026-03-01')",
        "INSERT INTO log VALUES ('2026-02-05', 2)",
        "UPDATE log SET day = '2026-02-06' WHERE id = 1",  # into another partition
        "DROP TABLE log_1",
        "INSERT INTO log VALUES ('2026-02-07', 3)",
    )
    published = await trigger.caught_up()
    assert {seen["table"] for seen in published.seen} == {"log"}
    assert sorted(row["id"] for row in published.rows["public.log"].values()) == [1, 2, 3]


async def test_names_are_only_names(watched: Database, begin: Begin) -> None:
    schema, table, column = 'Sch"ema', "t'; DROP TABLE x; --", 'c"%s'
    quoted = '"Sch""ema"."t\'; DROP TABLE x; --"'
    await watched.run(
        'CREATE SCHEMA "Sch""ema"',
        f'CREATE TABLE {quoted} (id int PRIMARY KEY, "c""%s" text)',
        f"INSERT INTO {quoted} VALUES (1, 'a')",
    )
    name = '"Sch""ema"."t\'; DROP TABLE x; --"'
    trigger = await begin(
        await watched.installed(name, columns={name: ["id", column]}, snapshot=True, trigger="trg_'; DROP TABLE x; --")
    )
    await watched.run(f"INSERT INTO {quoted} VALUES (2, 'b')")
    published = await trigger.caught_up()
    assert {(s["schema"], s["table"]) for s in published.seen} == {(schema, table)}
    assert sorted(row[column] for row in published.rows[f"{schema}.{table}"].values()) == ["a", "b"]
    await trigger.close()
    await KIND.remove(trigger.spec)
    assert await watched.ask("SELECT 1 FROM pg_publication") == []


async def test_a_table_with_full_identity_has_its_primary_key(watched: Database, begin: Begin) -> None:
    await watched.run(
        "CREATE TABLE item (a int, id int PRIMARY KEY)",
        "ALTER TABLE item REPLICA IDENTITY FULL",
        "CREATE TABLE nobody (a int)",
        "ALTER TABLE nobody REPLICA IDENTITY FULL",
    )
    trigger = await begin(await watched.installed("item", "nobody"))
    await watched.run("INSERT INTO item VALUES (1, 2)", "INSERT INTO nobody VALUES (1)", "UPDATE nobody SET a = 2")
    published = await trigger.caught_up()
    assert [(s["key"], s["old"]) for s in published.seen] == [({"id": 2}, None), (None, None), (None, {"a": 1})]
    assert [o.event_key for r in trigger.readings for o in r.observations] == ["public.item:2", None, None]


async def test_another_index_may_identify_rows(watched: Database, begin: Begin) -> None:
    await watched.run(
        "CREATE TABLE item (id int PRIMARY KEY, code text NOT NULL UNIQUE)",
        "ALTER TABLE item REPLICA IDENTITY USING INDEX item_code_key",
        "INSERT INTO item SELECT n, 'c' || n FROM generate_series(1, 5) n",
    )
    trigger = await begin(await watched.installed("item", snapshot=True))
    await watched.run("DELETE FROM item WHERE id = 1")
    published = await trigger.caught_up()
    assert published.seen[0]["key"] == {"code": "c1"}
    assert sorted(row["id"] for row in published.rows["public.item"].values()) == [2, 3, 4, 5]


# Acknowledging


async def test_the_slot_moves_only_after_the_acknowledgement(
    watched: Database, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("posthouse.adapters.sources.changes.stream.FORGET_SECONDS", 0.0)
    await watched.run("CREATE TABLE item (id int PRIMARY KEY)")
    trigger = await begin(await watched.installed("item"))
    before = await watched.slot(trigger.spec, "confirmed_flush_lsn")
    await watched.run("INSERT INTO item VALUES (1)")
    reading = await trigger.read(wait_seconds=5)
    assert len(reading.observations) == 1
    await watched.run("CREATE TABLE noise (id int)", "INSERT INTO noise VALUES (1)")
    await trigger.read(wait_seconds=0.5)  # what comes by meanwhile does not move it either
    await trigger.read(wait_seconds=0.5)
    assert await watched.slot(trigger.spec, "confirmed_flush_lsn") == before
    assert (await trigger.source.lag()).seconds != 0
    await trigger.source.acknowledge(reading)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await watched.slot(trigger.spec, "confirmed_flush_lsn") == before:
            await trigger.read()
    assert (await trigger.source.lag()).seconds == 0


async def test_what_others_write_does_not_fill_the_disk(watched: Database, begin: Begin) -> None:
    """Nothing of ours happens for a long time: the slot moves all the same."""
    await watched.run("CREATE TABLE item (id int PRIMARY KEY)", "CREATE TABLE noise (data text)")
    await watched.run(
        f"ALTER DATABASE {await watched.value('SELECT current_database()')} SET wal_sender_timeout = '1s'"
    )
    trigger = await begin(await watched.installed("item"))
    await watched.run("INSERT INTO noise SELECT repeat('x', 1000) FROM generate_series(1, 20000)")
    end = await watched.value("SELECT pg_current_wal_flush_lsn()")
    kept = "SELECT pg_wal_lsn_diff(confirmed_flush_lsn, %s) FROM pg_replication_slots WHERE slot_name = %s"
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await watched.value(kept, end, f"posthouse_{trigger.spec.id}") < 0:
            assert (await trigger.round()).observations == ()
    await watched.run("CHECKPOINT", "INSERT INTO item VALUES (1)")
    assert (await trigger.caught_up()).ops("id") == [("insert", 1)]


async def test_what_was_not_acknowledged_is_seen_again_with_its_key(watched: Database, begin: Begin) -> None:
    await watched.run("CREATE TABLE item (id int PRIMARY KEY)")
    trigger = await begin(await watched.installed("item"))
    await watched.run("INSERT INTO item VALUES (1)", "INSERT INTO item VALUES (2)")
    await trigger.caught_up()
    trigger.position = None  # as if it had been lost; the slot was moved, though
    await watched.run("INSERT INTO item VALUES (3)")
    await trigger.read(wait_seconds=5)
    trigger.position = None
    await trigger.reopen()
    published = await trigger.caught_up()
    assert published.ops("id") == [("insert", 1), ("insert", 2), ("insert", 3)]
    assert published.repeated == 1


async def test_a_position_ahead_of_the_slot_is_believed(watched: Database, begin: Begin) -> None:
    """The platform has it on record, and died before the database was told: nothing is published twice, ever."""
    await watched.run("CREATE TABLE item (id int PRIMARY KEY)")
    trigger = await begin(await watched.installed("item"))
    for n in range(1, 6):
        await watched.run(f"INSERT INTO item VALUES ({n})")
        await trigger.read(wait_seconds=5)
        await trigger.reopen()
    published = await trigger.caught_up()
    assert published.ops("id") == [("insert", n) for n in range(1, 6)]
    assert published.repeated == 0


async def test_a_read_that_is_cancelled_loses_nothing(watched: Database, begin: Begin) -> None:
    await watched.run("CREATE TABLE item (id int PRIMARY KEY)")
    trigger = await begin(await watched.installed("item"))
    for n in range(20):
        reading = asyncio.create_task(trigger.read(wait_seconds=30))
        await watched.run(f"INSERT INTO item VALUES ({n})")
        await asyncio.sleep(random.Random(n).random() * 0.01)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await trigger.reopen()
    assert (await trigger.caught_up()).ops("id") == [("insert", n) for n in range(20)]


async def test_close_ends_a_read_that_waits(watched: Database, begin: Begin) -> None:
    await watched.run("CREATE TABLE item (id int PRIMARY KEY)")
    trigger = await begin(await watched.installed("item"))
    reading = asyncio.create_task(trigger.source.read(limit=1, wait_seconds=60))
    await asyncio.sleep(0.05)
    reading.cancel()
    await trigger.source.close()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await trigger.source.close()


# Large ones


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="looks into /proc")
async def test_a_transaction_of_any_size_takes_little_memory(watched: Database, begin: Begin) -> None:
    await watched.run("CREATE TABLE item (id int PRIMARY KEY, data text)")
    trigger = await begin(await watched.installed("item"))
    source = trigger.source
    await watched.run("INSERT INTO item SELECT n, repeat('x', 400) FROM generate_series(1, 100000) n")  # 100 MB as JSON
    before, most, count, keys = _resident_bytes(), 0, 0, set()
    while count < 100_000:
        reading = await source.read(limit=500, wait_seconds=30)
        assert len(reading.observations) <= TRANSACTION_ROWS_MAX
        count += len(reading.observations)
        keys |= {hash(observation.key) for observation in reading.observations}
        most = max(most, _resident_bytes())
        await source.acknowledge(reading)
    assert count == len(keys) == 100_000
    assert most - before < 64 * 1024 * 1024


async def test_a_large_transaction_goes_on_within(watched: Database, begin: Begin) -> None:
    await watched.run("CREATE TABLE item (id int PRIMARY KEY)")
    trigger = await begin(await watched.installed("item"))
    total = int(2.5 * TRANSACTION_ROWS_MAX)
    await watched.run(f"INSERT INTO item SELECT n FROM generate_series(1, {total}) n", "INSERT INTO item VALUES (0)")
    while not any(seen["row"]["id"] == 0 for seen in trigger.published.seen):
        if (await trigger.round()).observations:
            await trigger.reopen()
    assert trigger.published.repeated == 0
    assert trigger.published.ops("id") == [("insert", n) for n in (*range(1, total + 1), 0)]


def test_uvloop_will_do(watched_dsn: str) -> None:
    async def watch() -> Published:
        async with await psycopg.AsyncConnection.connect(watched_dsn, autocommit=True) as connection:
            database = Database(watched_dsn, connection)
            await database.run("CREATE TABLE item (id int PRIMARY KEY)", "INSERT INTO item VALUES (1)")
            trigger = Trigger(await database.installed("item", snapshot=True))
            await trigger.open()
            await database.run("INSERT INTO item VALUES (2)")
            await trigger.caught_up()
            await trigger.close()
            await database.clear()
        return trigger.published

    found: Any = uvloop.run(watch())
    assert sorted(found.ops("id")) in (
        [("insert", 2), ("snapshot", 1)],
        [("insert", 2), ("snapshot", 1), ("snapshot", 2)],
    )
