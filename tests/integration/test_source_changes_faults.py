"""What may go wrong at any moment: processes that are killed, slots that are lost, servers that are replaced."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import asyncpg
import msgspec
import pytest
from tests.changes_consumer import recorded
from tests.changing import KIND, PATIENCE_SECONDS, Begin, Database, Published, Trigger
from tests.clusters import Clusters, Postgres

from posthouse.domain.errors import SourceRefused, SourceUnavailable
from posthouse.ports.sources import Spec

ROOT: Final = Path(__file__).parents[2]
WRITERS: Final = 3
TROUBLES: Final = 8


def _spec(server: Postgres, *tables: str, trigger: str = "trg_faults", **settings: Any) -> Spec:
    given = KIND.check({"dsn": server.dsn, "tables": list(tables), **settings})
    return Spec(id=trigger, name="a test", settings=given)


async def _logical(clusters: Clusters, **settings: str) -> Postgres:
    server = clusters.server()
    await server.start(wal_level="logical", **settings)
    await server.execute("CREATE TABLE item (id int PRIMARY KEY)")
    return server


# kill -9


class Consumer:
    """A process that reads a trigger; see `tests.changes_consumer`."""

    def __init__(self, spec: Spec, folder: Path) -> None:
        self._spec = folder / "spec.json"
        self._spec.write_bytes(msgspec.json.encode(spec))
        self.record = folder / "record"
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.changes_consumer", str(self._spec), str(self.record)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": "."}, stderr=log)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def told(self) -> str:
        return self._log.read_text()[-3_000:]


async def _write(server: Postgres, writer: int, ending: asyncio.Event, committed: set[tuple[int, int]]) -> None:
    """Rows with rising numbers; some with two in a transaction, some rolled back; each is tried once."""
    chance = random.Random(writer)
    number = 0
    while not ending.is_set():
        try:
            connection = await asyncpg.connect(server.dsn, timeout=5)
        except (OSError, TimeoutError, asyncpg.PostgresError):
            await asyncio.sleep(0.05)
            continue
        try:
            while not ending.is_set():
                rows = [(writer, number + n, "kept") for n in range(chance.choice((1, 1, 2, 5)))]
                number += len(rows)
                lost = chance.random() < 0.2
                transaction = connection.transaction()
                await transaction.start()
                for row in rows:
                    await connection.execute(
                        "INSERT INTO entry VALUES ($1, $2, $3)", *row[:2], "rolled back" if lost else row[2]
                    )
                if lost:
                    await transaction.rollback()
                else:
                    await transaction.commit()
                    committed |= {row[:2] for row in rows}
                await asyncio.sleep(0.002)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
            pass
        finally:
            connection.terminate()


async def test_nothing_committed_is_lost_and_nothing_rolled_back_is_seen(clusters: Clusters, tmp_path: Path) -> None:
    """kill -9 of the reader and of the database, again and again, while others write; the rows from before are read, too."""
    chance = random.Random(7)
    server = await _logical(clusters)
    await server.execute("CREATE TABLE entry (writer int, number int, note text, PRIMARY KEY (writer, number))")
    await server.execute("INSERT INTO entry SELECT 99, n, 'kept' FROM generate_series(0, 999) n")
    spec = _spec(server, "entry", snapshot=True)
    await KIND.install(spec)
    ending = asyncio.Event()
    committed: set[tuple[int, int]] = set()
    consumer = Consumer(spec, tmp_path)
    writers = asyncio.gather(*(_write(server, n, ending, committed) for n in range(WRITERS)))
    consumer.start()
    try:
        for _ in range(TROUBLES):
            await asyncio.sleep(chance.uniform(0.2, 1.2))  # a moment that nobody chose
            if chance.random() < 0.5:
                consumer.kill()
                consumer.start()
            else:
                await server.kill()
                await server.start()
        ending.set()
        await writers
        truth = {tuple(row) for row in await server.execute("SELECT writer, number FROM entry")}
        assert committed <= truth
        async with asyncio.timeout(PATIENCE_SECONDS):
            while truth - set(_entries(recorded(consumer.record))):  # noqa: ASYNC110 - another process's fact
                await asyncio.sleep(0.1)
    except TimeoutError:
        pytest.fail(f"{len(truth - set(_entries(recorded(consumer.record))))} rows are missing\n{consumer.told()}")
    finally:
        consumer.kill()
    found = _entries(recorded(consumer.record))
    assert set(found) == truth, "something was seen that is not there"
    assert {seen["row"]["note"] for reading in recorded(consumer.record) for _, seen in reading["seen"]} == {"kept"}
    for writer in range(WRITERS):
        numbers = [number for whose, number in found if whose == writer]
        assert numbers == sorted(numbers), "out of order"
        assert len(numbers) > 50


def _entries(readings: list[dict[str, Any]]) -> list[tuple[int, int]]:
    """The rows that were inserted or there, each once, as a platform has them that collapses repeats by their keys."""
    found: dict[str, tuple[int, int]] = {}
    for reading in readings:
        for key, seen in reading["seen"]:
            found.setdefault(key, (seen["row"]["writer"], seen["row"]["number"]))
    return list(dict.fromkeys(found.values()))


async def _go_on(trigger: Trigger) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            await trigger.round()


async def test_a_database_that_goes_away_and_comes_back(clusters: Clusters, working: list[Trigger]) -> None:
    server = await _logical(clusters)
    trigger = Trigger(_spec(server, "item"))
    working.append(trigger)
    await KIND.install(trigger.spec)
    await trigger.open()
    await server.execute("INSERT INTO item VALUES (1)")
    await trigger.caught_up()
    await server.kill()
    with pytest.raises(SourceUnavailable):
        await _go_on(trigger)
    with pytest.raises(SourceUnavailable):
        await trigger.source.lag()
    with pytest.raises(SourceUnavailable):
        await trigger.reopen()
    await server.start()
    await server.execute("INSERT INTO item VALUES (2)")
    await trigger.open()
    assert (await trigger.caught_up()).ops("id") == [("insert", 1), ("insert", 2)]
    stopping = asyncio.create_task(server.stop())  # in order: it waits until whoever reads has everything
    with pytest.raises(SourceUnavailable):
        await _go_on(trigger)
    await stopping


async def test_a_database_that_falls_silent_is_noticed(
    clusters: Clusters, working: list[Trigger], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("posthouse.adapters.sources.changes.stream.SILENCE_SECONDS_MAX", 0.5)
    monkeypatch.setattr("posthouse.adapters.sources.changes.stream.STATUS_SECONDS_MAX", 0.1)
    server = await _logical(clusters)
    trigger = Trigger(_spec(server, "item"))
    working.append(trigger)
    await KIND.install(trigger.spec)
    await trigger.open()
    await trigger.caught_up()
    server.signal_all(signal.SIGSTOP)
    try:
        with pytest.raises(SourceUnavailable, match="no answer"):
            await _go_on(trigger)
        asking = asyncio.create_task(trigger.source.lag())
        await asyncio.sleep(0.05)
        asking.cancel()
        async with asyncio.timeout(PATIENCE_SECONDS / 10):  # whoever gives up need not wait for the server
            await asyncio.gather(asking, return_exceptions=True)
            await trigger.close()
    finally:
        server.signal_all(signal.SIGCONT)


async def test_a_question_that_is_not_answered_ends(watched: Database, begin: Begin) -> None:
    await watched.run("CREATE TABLE item (id int PRIMARY KEY)")
    trigger = await begin(await watched.installed("item"))
    _, _, catalog = trigger.source._opened()
    with pytest.raises(SourceUnavailable, match="in time"):
        await catalog.ask("SELECT pg_sleep(60)", seconds=0.1)
    with pytest.raises(SourceUnavailable):
        await trigger.source.lag()
    await trigger.reopen()
    assert (await trigger.source.lag()).alarm is None


async def test_a_slot_waits_for_open_transactions_and_says_for_whose(
    watched: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("posthouse.adapters.sources.changes.place.SLOT_SECONDS_MAX", 1)
    await watched.run("CREATE TABLE item (id int PRIMARY KEY)")
    spec = watched.spec("item")
    async with _open_transaction(watched):
        with pytest.raises(SourceUnavailable, match="the oldest is of process"):
            await KIND.install(spec)
        assert await watched.slot(spec, "1") is None
    await KIND.install(spec)
    assert await watched.slot(spec, "1") == 1


async def test_whoever_does_not_read_is_not_cut_off(watched: Database, begin: Begin) -> None:
    """The platform is halted, for longer than the database waits for a reader that is silent."""
    await watched.run("CREATE TABLE item (id int PRIMARY KEY)")
    await watched.run(
        f"ALTER DATABASE {await watched.value('SELECT current_database()')} SET wal_sender_timeout = '6s'"
    )
    trigger = await begin(await watched.installed("item"))
    await watched.run("INSERT INTO item SELECT generate_series(1, 30000)")
    asked = await watched.value("SELECT clock_timestamp()")
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await watched.value("SELECT clock_timestamp() > %s + interval '13 s'", asked):  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    assert len((await trigger.caught_up()).seen) == 30_000


async def test_a_stream_that_nobody_reads_is_given_back_and_taken_up_again(
    watched: Database, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that is shut down waits for its readers: a platform that is halted must not keep it from that."""
    monkeypatch.setattr("posthouse.adapters.sources.changes.stream.UNREAD_SECONDS_MAX", 0.2)
    monkeypatch.setattr("posthouse.adapters.sources.changes.stream.STATUS_SECONDS_MAX", 0.05)
    await watched.run("CREATE TABLE item (id int PRIMARY KEY)")
    trigger = await begin(await watched.installed("item"))
    await watched.run("INSERT INTO item VALUES (1)")
    reading = await trigger.read(wait_seconds=10)
    before = await watched.slot(trigger.spec, "confirmed_flush_lsn")
    await watched.run("INSERT INTO item VALUES (2)")
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await watched.slot(trigger.spec, "active"):  # noqa: ASYNC110 - the database's fact
            await asyncio.sleep(0.02)
    second = await trigger.read(wait_seconds=10)
    assert await watched.slot(trigger.spec, "confirmed_flush_lsn") == before, "nothing of that was acknowledged"
    assert await watched.slot(trigger.spec, "active")
    await trigger.source.acknowledge(reading)
    await trigger.source.acknowledge(second)
    await watched.run("INSERT INTO item VALUES (3)")
    published = await trigger.caught_up()
    assert published.ops("id") == [("insert", 1), ("insert", 2), ("insert", 3)]
    assert published.repeated == 0


# The disk of the database


async def test_a_slot_that_kept_too_much_is_lost_and_says_so(clusters: Clusters, working: list[Trigger]) -> None:
    server = await _logical(clusters, max_slot_wal_keep_size="1MB", max_wal_size="32MB", wal_keep_size="0")
    trigger = Trigger(_spec(server, "item"))
    working.append(trigger)
    await KIND.install(trigger.spec)
    assert any("1MB" in remark for remark in (await KIND.plan(trigger.spec)).remarks)
    await trigger.open()
    await server.execute("INSERT INTO item VALUES (1)")
    await trigger.caught_up()
    await trigger.close()
    await server.execute("CREATE TABLE noise (data text)")
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (await server.execute("SELECT wal_status FROM pg_replication_slots"))[0][0] != "lost":
            await server.execute("INSERT INTO noise SELECT repeat('x', 1000) FROM generate_series(1, 20000)")
            await server.execute("SELECT pg_switch_wal()")
            await server.execute("CHECKPOINT")
    with pytest.raises(SourceRefused, match="Rewind") as found:
        await trigger.open()
    assert found.value.code == "slot_lost"
    trigger.position = await KIND.rewind(trigger.spec, None)
    await trigger.open()
    await server.execute("INSERT INTO item VALUES (2)")
    assert set((await trigger.caught_up()).ops("id")) >= {("insert", 1), ("insert", 2), ("snapshot", 1)}


async def test_over_the_cap_an_alarm_is_raised_and_reading_goes_on(watched: Database, begin: Begin) -> None:
    await watched.run("CREATE TABLE item (id int PRIMARY KEY, data text)")
    trigger = await begin(await watched.installed("item", retained_bytes_max=1024**2))
    assert (await trigger.source.lag()).alarm is None
    async with _open_transaction(watched):  # which is what keeps the log
        await watched.run("INSERT INTO item SELECT n, repeat('x', 1000) FROM generate_series(1, 5000) n")
        lag = await trigger.source.lag()
        assert lag.alarm is not None
        assert "retained_bytes_max" in lag.alarm
        assert (lag.retained_bytes or 0) > 1024**2
        assert len((await trigger.caught_up()).seen) == 5_000


@asynccontextmanager
async def _open_transaction(watched: Database) -> AsyncIterator[None]:
    async with watched.transaction() as connection:
        await connection.execute("SELECT pg_current_xact_id()")
        yield


async def test_over_the_cap_a_slot_is_dropped_where_that_was_asked_for(watched: Database, begin: Begin) -> None:
    await watched.run("CREATE TABLE item (id int PRIMARY KEY, data text)")
    trigger = await begin(await watched.installed("item", retained_bytes_max=1024**2, on_cap="drop"))
    await watched.run("INSERT INTO item SELECT n, repeat('x', 1000) FROM generate_series(1, 5000) n")
    with pytest.raises(SourceRefused, match="dropped") as found:
        await trigger.source.lag()
    assert found.value.code == "slot_lost"
    assert await watched.slot(trigger.spec, "1") is None
    with pytest.raises(SourceRefused, match="Rewind"):
        await trigger.reopen()


async def test_the_age_of_the_oldest(watched: Database, begin: Begin) -> None:
    await watched.run("CREATE TABLE item (id int PRIMARY KEY)")
    trigger = await begin(await watched.installed("item"))
    await trigger.caught_up()
    assert (await trigger.source.lag()).seconds == 0
    await watched.run("INSERT INTO item VALUES (1)")
    await trigger.read(wait_seconds=10)
    first = (await trigger.source.lag()).seconds
    second = (await trigger.source.lag()).seconds
    assert first is not None
    assert second is not None
    assert 0 < first < second < PATIENCE_SECONDS


# Another history


async def test_a_standby_that_is_promoted_goes_on_where_the_two_part(
    clusters: Clusters, working: list[Trigger]
) -> None:
    """The new primary lacks the end of what was published; what it writes there instead, at the same places, is new."""
    primary = clusters.server()
    primary.settings |= {"wal_level": "logical"}
    standby = clusters.server(primary)
    await primary.start()
    await primary.execute("CREATE TABLE item (id int PRIMARY KEY)")
    await primary.execute("SELECT pg_create_physical_replication_slot('standby')")
    trigger = Trigger(_spec(primary, "item"))
    working.append(trigger)
    await KIND.install(trigger.spec)
    (standby.cluster / "standby.signal").touch()
    await standby.start(
        primary_conninfo=f"host=127.0.0.1 port={primary.port} user=posthouse password=password-of-a-test dbname=posthouse",
        primary_slot_name="standby",
        wal_level="logical",
        hot_standby_feedback="on",
    )
    await trigger.open()
    await primary.execute("INSERT INTO item VALUES (1)")
    await trigger.caught_up()
    slots = "SELECT synced AND NOT temporary FROM pg_replication_slots WHERE slot_name LIKE 'posthouse%'"
    async with asyncio.timeout(PATIENCE_SECONDS):
        while [row[0] for row in await standby.execute(slots)] != [True]:
            with suppress(asyncpg.PostgresError):  # it may have to wait for the primary
                await standby.execute("SELECT pg_sync_replication_slots()")
            await primary.execute("SELECT pg_log_standby_snapshot()")
            await trigger.round()
    await standby.stop()
    await primary.execute("INSERT INTO item SELECT generate_series(2, 50)")
    await trigger.caught_up()
    await primary.kill()
    await trigger.close()

    await standby.start()
    await standby.promote()
    trigger.spec = _spec(standby, "item")
    await standby.execute("INSERT INTO item VALUES (100)")
    await trigger.open()
    published = await trigger.caught_up()
    assert published.ops("id")[50:] == [("insert", 100)]
    assert published.repeated == 0
    await standby.execute("INSERT INTO item VALUES (101)")
    await trigger.reopen()
    assert (await trigger.caught_up()).ops("id")[50:] == [("insert", 100), ("insert", 101)]


async def test_a_database_that_was_set_back_is_noticed(clusters: Clusters, working: list[Trigger]) -> None:
    server = await _logical(clusters)
    trigger = Trigger(_spec(server, "item"))
    working.append(trigger)
    await KIND.install(trigger.spec)
    await server.stop()
    earlier = clusters.server(server)
    await server.start()
    await trigger.open()
    await server.execute("INSERT INTO item SELECT generate_series(1, 20000)")
    await trigger.caught_up()
    await trigger.close()
    await server.stop()
    await earlier.start(wal_level="logical")
    trigger.spec = _spec(earlier, "item")
    with pytest.raises(SourceRefused, match="earlier state") as found:
        await trigger.open()
    assert found.value.code == "source_rewound"


async def test_a_position_of_another_system_begins_with_what_the_slot_has(watched: Database, begin: Begin) -> None:
    await watched.run("CREATE TABLE item (id int PRIMARY KEY)")
    trigger = await begin(await watched.installed("item"))
    await watched.run("INSERT INTO item VALUES (1)")
    trigger.position = '{"system":"1","timeline":1,"lsn":"FFFFFFFF/0"}'
    await trigger.reopen()
    published: Published = await trigger.caught_up()
    assert published.ops("id") == [("insert", 1)]
