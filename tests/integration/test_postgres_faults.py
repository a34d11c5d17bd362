"""PostgreSQL ends, hangs, is full or is another one: publishing answers 503 meanwhile, and nothing that was accepted is lost.

The engine's own faults are no target's: not one attempt fails here. `POSTHOUSE_FAULT_SECONDS` makes the load around each fault
longer.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest
from structlog.testing import capture_logs
from tests.clusters import Clusters, Postgres, dsn_of
from tests.fakes import until
from tests.receiving import Receiver, receiving
from tests.serving import PATIENCE_SECONDS, Reply, ask, call, request, serving

from posthouse.adapters.postgres.dsn import connect
from posthouse.adapters.postgres.examine import examine
from posthouse.bootstrap import Posthouse
from posthouse.domain.errors import StoreUnavailable
from posthouse.domain.limits import LANE_CONCURRENCY
from posthouse.ports.diagnosis import DatabaseFacts

LOAD_SECONDS: Final = float(os.environ.get("POSTHOUSE_FAULT_SECONDS", "0.3"))
EVENTS: Final = "/v1/apps/acme/events"
EVENT: Final = {"type": "order.created", "data": {"n": 1}}

ANSWERED_WITHIN_SECONDS: Final = 5.0  # the limit below, how rarely it is looked at, and a busy machine

pytestmark = pytest.mark.timeout(180 + 20 * LOAD_SECONDS)


class Load:
    """Publishers that never rest: what was accepted, and what was refused and how."""

    def __init__(self, port: int, *, publishers: int = 4, body: object = EVENT) -> None:
        self._port = port
        self._body = body
        self._publishers = publishers
        self.accepted: list[str] = []
        self.refused: list[Reply] = []
        self.slowest = 0.0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._publish()) for _ in range(self._publishers)]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()

    async def _publish(self) -> None:
        time = asyncio.get_running_loop().time
        while True:
            began = time()
            reply = await ask(self._port, "POST", EVENTS, self._body)
            self.slowest = max(self.slowest, time() - began)
            if reply.status == 202:
                self.accepted.append(reply.body["id"])
            else:
                self.refused.append(reply)
                await asyncio.sleep(0.02)

    async def goes_on(self, more: int = 50) -> None:
        """Until so many more events were accepted."""
        so_far = len(self.accepted)
        await until(lambda: len(self.accepted) >= so_far + more, "publishing to go on")

    async def is_refused(self, more: int = 4) -> None:
        so_far = len(self.refused)
        await until(lambda: len(self.refused) >= so_far + more, "publishing to be refused")

    def check(self) -> None:
        """Every refusal is a 503 that says when to come again."""
        assert {reply.status for reply in self.refused} <= {503}, self.refused[:3]
        assert all(int(reply.headers["retry-after"]) >= 1 for reply in self.refused)
        codes = Counter(reply.body["code"] for reply in self.refused)
        assert set(codes) <= {"store_unavailable", "overloaded"}, codes


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is waited for longer in earnest: an append whose fate is not known, and an answer of the database."""
    monkeypatch.setattr("posthouse.intake.publisher.DOUBT_SECONDS", 0.5)
    monkeypatch.setattr("posthouse.bootstrap.PUBLISH_ANSWER_SECONDS_MAX", 1.5)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


async def prepare(port: int, receiver: Receiver) -> None:
    await call(port, "POST", "/v1/event-types", {"name": "order.created"})
    await call(port, "POST", "/v1/apps", {"uid": "acme"})
    await call(port, "POST", "/v1/apps/acme/endpoints", {"url": receiver.url()})


async def all_delivered(load: Load, receiver: Receiver) -> None:
    accepted = set(load.accepted)
    await until(lambda: accepted <= receiver.confirmed.keys(), "all that was accepted to be delivered")


async def nothing_spent(database: Postgres, load: Load) -> None:
    """On record is one attempt for each accepted event, the first, and it delivered: no fault of ours is an attempt."""

    async def recorded() -> bool:
        # Beside those that were accepted there are those whose publisher could not be told so.
        rows = await database.execute(
            "SELECT count(DISTINCT event_id), (SELECT count(*) FROM delivery) FROM attempt WHERE outcome = 'delivered'"
        )
        return bool(rows[0][0] >= len(load.accepted) and rows[0][1] == 0)

    await until(recorded, "every delivery to be on record, and nothing to be owed")
    spent = await database.execute(
        "SELECT outcome, number, reason FROM attempt WHERE outcome <> 'delivered' OR number <> 1"
    )
    assert spent == []


@asynccontextmanager
async def under_load(
    receiver: Receiver, database: Postgres, *, dsn: str | None = None, publishers: int = 4, **settings: Any
) -> AsyncIterator[tuple[Posthouse, Load]]:
    """A server that publishers keep busy. In the end all that it accepted was delivered, and `database` has on record that
    nothing was spent; `dsn` is where it finds its database, if that is more than this one."""
    async with serving(dsn or database.dsn, **settings) as server:
        await prepare(server.port, receiver)
        load = Load(server.port, publishers=publishers)
        async with load.running():
            await load.goes_on()
            yield server, load
        load.check()
        await all_delivered(load, receiver)
        await nothing_spent(database, load)


async def series(port: int, name: str) -> float:
    """The value of a series that has no labels."""
    reply = await ask(port, "GET", "/metrics")
    (line,) = [line for line in reply.body.decode().splitlines() if line.startswith(f"posthouse_{name} ")]
    return float(line.split()[1])


async def test_a_restart_costs_a_while_and_nothing_else(clusters: Clusters, receiver: Receiver) -> None:
    database = clusters.server()
    await database.start()
    with capture_logs() as logs:
        await restarted_twice(database, receiver)
    events = [entry["event"] for entry in logs]
    for trouble, end in (("session.lost", "session.back"), ("publish.failing", "publish.works_again")):
        told = [event for event in events if event in {trouble, end}]
        assert (told[0], told[-1]) == (trouble, end), told
        assert len(told) <= 8, "each is told once"


async def restarted_twice(database: Postgres, receiver: Receiver) -> None:
    async with under_load(receiver, database) as (server, load):
        for way in (signal.SIGINT, signal.SIGQUIT):
            await database.stop(way)
            await load.is_refused()
            await until(lambda: not server._engine.ownership.valid, "the lanes to pause")
            assert (await ask(server.port, "GET", "/readyz")).status == 503
            await asyncio.sleep(LOAD_SECONDS)
            await database.start()
            await load.goes_on()
        await until(lambda: server._engine.ownership.valid, "the lanes to go on")
        assert (await ask(server.port, "GET", "/readyz")).status == 200
        assert await series(server.port, "publish_failed_events_total") > 0
        assert await series(server.port, "database_replacements_total") == 0
        assert await series(server.port, "log_rewinds_total") == 0


async def test_a_synchronous_standby_takes_over_and_nothing_is_lost(clusters: Clusters, receiver: Receiver) -> None:
    primary, standby = await clusters.pair(synchronous=True)
    with capture_logs() as logs:
        async with under_load(receiver, standby, dsn=dsn_of(primary, standby)) as (server, load):
            await primary.kill()
            await load.is_refused()
            await asyncio.sleep(LOAD_SECONDS)
            await standby.promote()
            await load.goes_on()
            assert await series(server.port, "database_replacements_total") == 1
            assert await series(server.port, "log_rewinds_total") == 0
    assert [entry for entry in logs if entry["log_level"] == "critical"] == []


async def test_a_standby_that_lost_the_end_is_noticed_and_nothing_after_it_is_skipped(
    clusters: Clusters, receiver: Receiver
) -> None:
    primary, standby = await clusters.pair(synchronous=False)
    async with serving(dsn_of(primary, standby)) as server:
        await prepare(server.port, receiver)
        before = [await published(server.port) for _ in range(3)]
        await until(lambda: set(before) <= receiver.confirmed.keys())
        await caught_up(primary, standby)
        await standby.stop()
        # What follows is on the primary alone: events that are delivered, an app and a type of events, an endpoint that goes.
        gone = [await published(server.port) for _ in range(5)]
        await until(lambda: set(gone) <= receiver.confirmed.keys())
        await call(server.port, "POST", "/v1/apps", {"uid": "lost"})
        await call(server.port, "PATCH", await only_endpoint(server.port), {"paused": True})
        waiting = await published(server.port)
        partition, head = (await primary.execute("SELECT partition, seq FROM log_head WHERE seq > 0"))[0]
        assert head == 9
        stream, writer = await following(server.port)
        with capture_logs() as logs:
            await primary.kill()
            await standby.start()
            await standby.promote()
            after = [await published(server.port, patiently=True) for _ in range(2)]
            await until(lambda: set(after) <= receiver.confirmed.keys(), "what came after the failover to be delivered")
            await until(lambda: bool(alarms(logs)), "an alarm")
        stored = await standby.execute(
            "SELECT seq FROM event WHERE partition = $1 AND type <> 'log.rewound' ORDER BY seq", partition
        )
        assert [row[0] for row in stored] == [1, 2, 3, 4, 5], "positions are given again"
        (alarm,) = alarms(logs)
        assert (alarm["partition"], alarm["error"]) in [
            (partition, f"partition {partition} ends at {end}, and 9 was read from it") for end in (3, 4, 5)
        ]
        assert await series(server.port, "log_rewinds_total") == 1
        assert await series(server.port, "database_replacements_total") == 1
        assert waiting not in receiver.confirmed, "it is gone with the log's end, which the alarm says"
        async with asyncio.timeout(10):
            await stream.read()  # to its end: its position is of a log that is no more
        writer.close()
        # What was known of configuration is not believed any more.
        assert (await ask(server.port, "POST", "/v1/apps/lost/events", EVENT)).status == 404
        ready = await ask(server.port, "GET", "/readyz")
        assert (ready.status, [one["code"] for one in ready.body["warnings"]]) == (200, ["log_rewound"])
        await told_of_a_rewind(standby, partition)


async def told_of_a_rewind(database: Postgres, partition: int) -> None:
    """Operators hear of it, and so does the doctor."""
    told = "SELECT payload FROM event WHERE type = 'log.rewound'"
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not (found := await database.execute(told)):  # noqa: ASYNC110 - it comes with a commit of the server's
            await asyncio.sleep(0.05)
    assert json.loads(found[0][0])["partitions"] == [partition]
    facts, _ = await examine(database.dsn, None)
    assert isinstance(facts, DatabaseFacts)
    assert [rewind.partitions for rewind in facts.rewinds or ()] == [(partition,)]


async def test_what_is_owed_on_record_is_derived_anew_where_only_the_record_was_lost(
    clusters: Clusters, receiver: Receiver
) -> None:
    """The log is whole, and the rows that were written after it are not: memory believes in rows that are not there."""
    primary, standby = await clusters.pair(synchronous=False)
    async with serving(dsn_of(primary, standby)) as server:
        await prepare(server.port, receiver)
        receiver.always(b"HTTP/1.1 500 So\r\nContent-Length: 0\r\nRetry-After: 3\r\n\r\n")
        hang, answered = receiver.answer, asyncio.Event()

        async def late(received: Any) -> bytes | None:
            await answered.wait()
            return await hang(received)

        receiver.answer = late
        event = await published(server.port)
        await until(lambda: len(receiver.requests) == 1, "the first attempt")
        await caught_up(primary, standby)
        await standby.stop()
        answered.set()

        async def owed() -> bool:
            rows = await primary.execute("SELECT number FROM delivery WHERE reason = 'failed'")
            return [row[0] for row in rows] == [2]

        await until(owed, "the failed attempt to be on record")
        receiver.answer = receiver.confirm
        await primary.kill()
        await standby.start()
        await standby.promote()
        await until(lambda: event in receiver.confirmed, "the event to be delivered from the log")


async def test_without_the_synchronous_standby_nothing_is_accepted(
    clusters: Clusters, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither where the wait for it is cut short, nor as what was committed here alone is found by the second try."""
    monkeypatch.setattr("posthouse.bootstrap.PUBLISH_STATEMENT_SECONDS_MAX", 0.5)
    monkeypatch.setattr("posthouse.bootstrap.PUBLISH_ANSWER_SECONDS_MAX", 10.0)
    primary, standby = await clusters.pair(synchronous=True)
    with pytest.raises(StoreUnavailable, match="none of the hosts takes writes"):
        await connect(dsn_of(standby, standby))
    async with serving(dsn_of(primary, standby)) as server:
        await prepare(server.port, receiver)
        await standby.stop()
        reply = await ask(server.port, "POST", EVENTS, EVENT)
        assert (reply.status, reply.body["code"]) == (503, "store_unavailable")
        asking = asyncio.create_task(ask(server.port, "POST", EVENTS, EVENT))
        cancelled = 0
        while not asking.done():
            rows = await primary.execute(
                "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
            )
            cancelled += len(rows)
            await asyncio.sleep(0.05)
        assert cancelled > 0
        assert (await asking).status == 503
        stored = await primary.execute("SELECT count(*) FROM event WHERE type = 'order.created'")
        assert stored[0][0] == 2, "they are committed here, and nobody was told so"
        await standby.start()
        event = await published(server.port, patiently=True)
        await until(lambda: event in receiver.confirmed)
        assert await series(server.port, "publish_failed_events_total") >= 2


async def test_locks_that_somebody_holds_stop_what_needs_them_and_no_more(
    clusters: Clusters, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("posthouse.settle.journal.UNWRITTEN_RESULTS_MAX", 100)
    database = clusters.server()
    await database.start()
    async with under_load(receiver, database) as (server, load):
        journal = server._engine.journal
        async with locking(database, "event"):
            await load.is_refused()
            await until(lambda: server._publisher.failing_since is not None, "the first append to fail")
            ready = await ask(server.port, "GET", "/readyz")
            assert (ready.status, [one["code"] for one in ready.body["warnings"]]) == (200, ["publishing_fails"])
        await load.goes_on()
        assert (await ask(server.port, "GET", "/readyz")).body["warnings"] == []
        async with locking(database, "attempt"):
            await until(lambda: not journal.has_room, "the journal to be full")
            await load.goes_on()
            assert journal.unwritten <= 100 + LANE_CONCURRENCY, "what is in flight as it is full ends"
        await until(lambda: journal.has_room, "the journal to be written")
        await load.goes_on()
    assert load.slowest < ANSWERED_WITHIN_SECONDS


async def test_a_server_that_hangs_keeps_nobody_waiting(clusters: Clusters, receiver: Receiver) -> None:
    database = clusters.server()
    await database.start()
    async with under_load(receiver, database, publishers=30, pending_events_max=20) as (server, load):
        database.signal_all(signal.SIGSTOP)
        await load.is_refused(60)
        assert await series(server.port, "publish_pending_events") <= 20
        await asyncio.sleep(LOAD_SECONDS)
        database.signal_all(signal.SIGCONT)
        await load.goes_on()
    assert load.slowest < ANSWERED_WITHIN_SECONDS


async def test_no_connections_are_left(clusters: Clusters, receiver: Receiver) -> None:
    database = clusters.server()
    await database.start(max_connections="14", superuser_reserved_connections="0", max_wal_senders="0")
    async with holding(database) as held, under_load(receiver, database) as (server, load):
        await held.take_all()
        await load.is_refused()
        await until_told(server.port, "the database has no connection left")
        with pytest.raises(StoreUnavailable, match="raise its max_connections"):
            async with serving(database.dsn):
                pytest.fail("it started without a database")
        await asyncio.sleep(LOAD_SECONDS)
        await held.release()
        await load.goes_on()


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of its own, of 256 MB."""
    folder = Path(tempfile.mkdtemp(prefix="posthouse-fault-", dir="/tmp"))
    mount = ["mount", "-t", "tmpfs", "-o", "size=256m,mode=0755", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        folder.rmdir()
        pytest.skip("a full disk: mounting a tmpfs is refused here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
        folder.rmdir()


async def test_a_full_disk_is_waited_out(small_disk: Path, receiver: Receiver) -> None:
    with capture_logs() as logs:
        async with serving(None, data_dir=str(small_disk / "data"), payload_bytes_max=2 * 1024 * 1024) as server:
            await prepare(server.port, receiver)
            load = Load(server.port, body={"type": "order.created", "data": os.urandom(400_000).hex()})
            async with load.running():
                await load.goes_on(3)
                ballast = small_disk / "ballast"
                with ballast.open("wb", buffering=0) as file, suppress(OSError):
                    while True:
                        file.write(bytes(64 * 1024))
                await load.is_refused()
                await until_told(server.port, "the disk of the database is full", data=os.urandom(400_000).hex())
                await asyncio.sleep(LOAD_SECONDS)
                ballast.unlink()
                await load.goes_on(3)
            load.check()
            await all_delivered(load, receiver)
            assert (await call(server.port, "GET", "/v1/apps/acme/deliveries"))["data"] == []
            failed = (await call(server.port, "GET", "/v1/apps/acme/attempts?outcome=failed"))["data"]
            assert failed == []
    deaths = [entry for entry in logs if entry["event"] == "postgres" and "has died" in entry["told"]]
    assert len(deaths) < 10, "that is a crash loop"


async def until_told(port: int, why: str, *, data: object = None) -> None:
    """Publish until that is refused for this reason."""

    async def told() -> bool:
        reply = await ask(port, "POST", "/v1/apps/acme/events", {"type": "order.created", "data": data})
        return reply.status == 503 and reply.body["detail"].startswith(why)

    await until(told, f"it to be said: {why}")


@asynccontextmanager
async def locking(database: Postgres, table: str) -> AsyncIterator[None]:
    """Somebody holds a lock on a table that goes with nothing."""
    connection = await asyncpg.connect(database.dsn)
    try:
        async with connection.transaction():
            await connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            yield
    finally:
        await connection.close()


class Held:
    """Connections that somebody else has."""

    def __init__(self, database: Postgres) -> None:
        self._database = database
        self._connections: list[asyncpg.Connection[asyncpg.Record]] = []

    async def take_one(self) -> None:
        self._connections.append(await asyncpg.connect(self._database.dsn))

    async def take_all(self) -> None:
        """End those of the server, until it has none and there are none left."""
        async with asyncio.timeout(30):
            while True:
                with suppress(asyncpg.TooManyConnectionsError):
                    while True:
                        await self.take_one()
                ended = await self._connections[0].fetch(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'posthouse'"
                )
                if not ended:
                    return

    async def release(self) -> None:
        for connection in self._connections:
            await connection.close()
        self._connections.clear()


@asynccontextmanager
async def holding(database: Postgres) -> AsyncIterator[Held]:
    held = Held(database)
    await held.take_one()
    try:
        yield held
    finally:
        await held.release()


async def published(port: int, *, patiently: bool = False) -> str:
    """An event that was accepted; patiently: as a client that comes again after a 503 would have it."""
    while True:
        reply = await ask(port, "POST", EVENTS, EVENT)
        if reply.status == 202:
            return str(reply.body["id"])
        assert patiently, reply
        assert reply.status == 503, reply
        await asyncio.sleep(0.05)


async def following(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A live stream."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request("GET", "/v1/stream"))
    assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
    return reader, writer


async def only_endpoint(port: int) -> str:
    (endpoint,) = (await call(port, "GET", "/v1/apps/acme/endpoints"))["data"]
    return f"/v1/apps/acme/endpoints/{endpoint['id']}"


async def caught_up(primary: Postgres, standby: Postgres) -> None:
    """Until the standby has all that was written so far."""
    (row,) = await primary.execute("SELECT pg_current_wal_lsn()::text")

    async def replayed() -> bool:
        return bool((await standby.execute("SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn", row[0]))[0][0])

    await until(replayed, "the standby to catch up")


def alarms(logs: list[Any]) -> list[Any]:
    return [entry for entry in logs if entry["event"] == "tail.log_rewound" and entry["log_level"] == "critical"]
