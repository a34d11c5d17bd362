"""The engine over PostgreSQL and a real transport: processes that die, hand over, or only seem dead, and lost connections."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncpg
from tests.fakes import PATIENCE_SECONDS, FakeTelemetry, until
from tests.installed import Installed, installed
from tests.making import new_app, new_endpoint
from tests.targets import OK, Peer, RawTarget, target

from posthouse.adapters.http.guard import GuardPolicy
from posthouse.adapters.http.transport import HttpTransport
from posthouse.adapters.postgres.session import ProcessSession
from posthouse.adapters.system.clock import SystemClock
from posthouse.dispatch.engine import Engine
from posthouse.domain.errors import PosthouseError
from posthouse.domain.event import Draft, Event
from posthouse.domain.ids import EVENT, AppId, EndpointId, EventId, format_id
from posthouse.intake.publisher import Publisher
from posthouse.ports.log import Appended

PARTITIONS = 4
ID = re.compile(rb"webhook-id: (\S+)")


class Process:
    """What one process of Posthouse is to the engine: its connections, its session, a transport, engine and publisher."""

    def __init__(self, postgres: Installed, session_database: Installed) -> None:
        self.clock = SystemClock()
        self.owner = self.clock.new_id()
        self.transport = HttpTransport(GuardPolicy(allow_loopback=True))
        self.session = ProcessSession(postgres.dsn, postgres.reading, owner=self.owner)
        self.engine = Engine(
            event_log=postgres.log,
            store=postgres.store,
            transport=self.transport,
            clock=self.clock,
            telemetry=FakeTelemetry(),
            owner=self.owner,
            exclusive=False,
            dead=self.session.dead,
            changed=self.session.announce,
        )
        self.session.tell(
            appended=self.engine.tails.nudge, lost=self.engine.suspend, changed=self.engine.ownership.wake
        )
        self.publisher = Publisher(postgres.log, self.clock, FakeTelemetry(), appended=self.appended)
        self.tasks: list[asyncio.Task[None]] = []

    def appended(self, events: list[Event]) -> None:
        self.session.notify(self.engine.offer(events))

    async def start(self) -> None:
        await self.session.start()
        self.tasks.append(asyncio.create_task(self.session.run()))
        await self.engine.start()

    async def stop(self) -> None:
        """A planned end, as `posthouse serve` does it."""
        await self.publisher.close()
        await self.engine.stop(seconds=5.0)
        await self.end()

    async def kill(self) -> None:
        """As kill -9: nothing is handed over, and the connections close."""
        engine = self.engine
        engine._stopping = True
        engine.tails._closed = True
        for tasks in (engine._tasks, engine.tails._tasks, engine.lanes._workers, engine._chores):
            mine = list(tasks)
            for task in mine:
                task.cancel()
            await asyncio.gather(*mine, return_exceptions=True)
        await self.end()

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.session.close()
        await self.transport.close()


class World:
    """One app with one endpoint at a target, and the processes that serve it."""

    def __init__(self, postgres: Installed, served: RawTarget, stack: AsyncExitStack) -> None:
        self.postgres = postgres
        self.served = served
        self.stack = stack
        self.app_id = new_app()
        self.endpoint_id = new_endpoint()
        self.processes: list[Process] = []

    async def configure(self, **config: Any) -> None:
        made = {
            "url": f"http://127.0.0.1:{self.served.port}/",
            "retry": {"schedule": [0.2] * 20, "jitter": 0.0},
        } | config
        await self.put_app(self.app_id, self.endpoint_id, made, partition=0)

    async def put_app(self, app_id: AppId, endpoint_id: EndpointId, config: dict[str, Any], *, partition: int) -> None:
        run = self.postgres.reading.execute
        await run("INSERT INTO app (id, partition, config_version) VALUES ($1, $2, 1)", app_id, partition)
        await run(
            "INSERT INTO endpoint (id, app_id, config) VALUES ($1, $2, $3)", endpoint_id, app_id, json.dumps(config)
        )

    async def process(self) -> Process:
        """One more process, with connections of its own."""
        own = await self.stack.enter_async_context(installed(self.postgres.dsn, partitions=PARTITIONS))
        process = Process(own, own)
        self.stack.push_async_callback(process.end)
        await process.start()
        self.processes.append(process)
        return process

    async def pair(self) -> tuple[Process, Process]:
        """Two processes with half of the partitions each; the first owns the app's."""
        pair = await self.process(), await self.process()
        await until(lambda: all(len(process.engine.ownership.epochs) == PARTITIONS // 2 for process in pair))
        return pair if 0 in pair[0].engine.ownership.epochs else pair[::-1]

    async def publish(self, process: Process, count: int = 1) -> list[EventId]:
        drafts = [
            Draft(id=EventId(process.clock.new_id()), app_id=self.app_id, type="order.created", payload=b"{}")
            for _ in range(count)
        ]
        results = await process.publisher.submit(0, drafts)
        assert all(isinstance(result, Appended) for result in results)
        return [draft.id for draft in drafts]

    async def fetch(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        return await self.postgres.reading.fetch(query, *arguments)

    async def attempts(self) -> list[tuple[bytes, int, str, str]]:
        rows = await self.fetch("SELECT event_id, number, outcome, reason FROM attempt ORDER BY seq, number, id")
        return [(row["event_id"], row["number"], row["outcome"], row["reason"]) for row in rows]

    async def reasons(self) -> list[str]:
        return [row["reason"] for row in await self.fetch("SELECT reason FROM delivery ORDER BY seq")]

    async def quiet(self) -> bool:
        (row,) = await self.fetch(
            "SELECT (SELECT count(*) FROM delivery) AS owed, count(*) FILTER (WHERE cursor < seq) AS behind "
            "FROM partition p JOIN log_head h ON h.partition = p.id"
        )
        return bool(row["owed"] == 0 and row["behind"] == 0)

    def received(self) -> Counter[bytes]:
        return Counter(found[1] for request in self.served.requests if (found := ID.search(request)))


def times(*counted: tuple[list[EventId], int]) -> dict[bytes, int]:
    return {format_id(EVENT, event_id).encode(): count for ids, count in counted for event_id in ids}


@asynccontextmanager
async def a_world(database: str, script: Callable[[Peer], Awaitable[None]], **config: Any) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        served = await stack.enter_async_context(target(script))
        postgres = await stack.enter_async_context(installed(database, partitions=PARTITIONS))
        world = World(postgres, served, stack)
        await world.configure(**config)
        yield world


def answering(*statuses: int) -> Callable[[Peer], Awaitable[None]]:
    """A target that gives these answers over all its connections, the last one for ever."""
    left = list(statuses)

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            status = left.pop(0) if len(left) > 1 else left[0]
            await peer.send(b"HTTP/1.1 %d So\r\nContent-Length: 2\r\n\r\nok" % status)

    return script


def waiting(gate: asyncio.Event) -> Callable[[Peer], Awaitable[None]]:
    """A target that hangs until the gate opens."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await gate.wait()
            await peer.send(OK)

    return script


async def test_success_costs_one_attempt_and_failure_is_tried_again(database: str) -> None:
    async with a_world(database, answering(503, 200)) as world:
        process = await world.process()
        failed = await world.publish(process)
        await until(world.quiet)
        done = await world.publish(process, 20)
        await until(world.quiet)
        assert world.received() == times((failed, 2), (done, 1))
        assert [(n, o, r) for _, n, o, r in await world.attempts()][:3] == [
            (1, "failed", "http_status"),
            (2, "delivered", "confirmed"),
            (1, "delivered", "confirmed"),
        ]
        assert await world.fetch("SELECT 1 FROM endpoint_health WHERE failing_since IS NULL")
        await process.stop()


async def test_a_restart_after_a_crash_sends_only_what_has_no_terminal_attempt(database: str) -> None:
    gate = asyncio.Event()
    gate.set()
    async with a_world(database, waiting(gate)) as world:
        first = await world.process()
        done = await world.publish(first, 30)
        await until(world.quiet)
        gate.clear()
        undone = await world.publish(first, 10)
        await until(lambda: len(world.served.requests) == 40)
        await first.kill()
        gate.set()
        second = await world.process()
        await until(world.quiet)
        assert world.received() == times((done, 1), (undone, 2))
        assert Counter(o for _, _, o, _ in await world.attempts()) == {"delivered": 40}
        await second.stop()


async def test_a_successor_sends_rows_in_flight_of_the_dead_at_once(database: str) -> None:
    gate = asyncio.Event()
    async with a_world(database, waiting(gate)) as world:
        first, second = await world.pair()
        ids = await world.publish(first, 3)

        async def marked() -> bool:
            return await world.reasons() == ["in_flight"] * 3

        await until(marked)
        assert [row["cursor"] for row in await world.fetch("SELECT cursor FROM partition WHERE id = 0")] == [3]
        await first.kill()
        gate.set()
        await until(world.quiet, seconds=5.0)
        assert len(second.engine.ownership.epochs) == PARTITIONS, "before the leases end"
        assert world.received() == times((ids, 2))
        await second.stop()


async def test_a_planned_hand_over_repeats_nothing(database: str) -> None:
    gate = asyncio.Event()
    async with a_world(database, waiting(gate)) as world:
        first, second = await world.pair()
        ids = await world.publish(first, 40)
        await until(lambda: len(world.served.requests) == 16)
        stopping = asyncio.create_task(first.stop())
        await until(lambda: len(second.engine.ownership.epochs) == PARTITIONS, seconds=2.0)
        ids += await world.publish(second, 5)
        gate.set()
        await stopping
        await until(world.quiet)
        assert world.received() == times((ids, 1))
        await second.stop()


async def test_a_zombie_settles_the_row_it_had_marked_and_nothing_else(database: str) -> None:
    gate = asyncio.Event()
    async with a_world(database, waiting(gate)) as world:
        zombie = await world.process()
        (marked,) = await world.publish(zombie)

        async def passed() -> bool:
            return await world.reasons() == ["in_flight"]

        await until(passed)
        (fresh,) = await world.publish(zombie)
        await until(lambda: len(world.served.requests) == 2)
        # Another owner, without its knowing; the mark stays, as after a planned hand-over.
        stranger = zombie.clock.new_id()
        session = ProcessSession(database, world.postgres.reading, owner=stranger)
        await session.start()
        world.stack.push_async_callback(session.close)
        await world.postgres.reading.execute(
            "UPDATE partition SET owner = $1, epoch = epoch + 1, lease_until = clock_timestamp() + interval '1 hour'",
            stranger,
        )
        await until(lambda: zombie.engine.ownership.epochs == {})
        gate.set()

        async def settled() -> bool:
            return await world.attempts() == [(marked, 1, "delivered", "confirmed")]

        await until(settled)
        assert await world.reasons() == []
        sent = len(world.served.requests)
        await world.publish(zombie, 3)
        for _ in range(2):  # a head that is seen twice ahead would be followed
            await zombie.engine.tails.poll()
        assert len(world.served.requests) == sent
        (row,) = await world.fetch("SELECT cursor, owner FROM partition WHERE id = 0")
        assert (row["cursor"], row["owner"]) == (1, stranger), "the second event is its successor's to derive"
        assert fresh != marked
        await zombie.kill()


async def test_a_lost_session_stops_sends_and_comes_back(database: str) -> None:
    async with a_world(database, answering(200)) as world:
        process = await world.process()
        await world.postgres.reading.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        await until(lambda: not process.engine.ownership.valid)
        await until(lambda: process.engine.ownership.valid)
        ids = await world.publish(process, 3)
        await until(world.quiet)
        assert world.received() == times((ids, 1))
        await process.stop()


async def test_a_journal_that_loses_its_connections_loses_and_repeats_nothing(database: str) -> None:
    async with a_world(database, answering(200)) as world:
        process = await world.process()
        ids: list[EventId] = []

        async def ended() -> bool:
            return bool(
                await world.fetch(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                    "AND pid <> pg_backend_pid() AND query LIKE '%FROM journal_numbered(%'"
                )
            )

        for _ in range(8):
            ids += await world.publish(process, 40)
            await until(ended, "a connection of the journal to be ended")
        await until(world.quiet)
        assert world.received() == times((ids, 1)), "the process lived: nothing is sent twice"
        attempts = await world.attempts()
        assert Counter(event_id for event_id, *_ in attempts) == dict.fromkeys(ids, 1), "and nothing recorded twice"
        await process.stop()


async def test_every_accepted_event_is_in_the_log_once_whatever_becomes_of_its_commit(database: str) -> None:
    """The publishing backends are ended all the time, so that commits are often in doubt."""
    async with a_world(database, answering(200)) as world:
        process = await world.process()
        accepted: list[EventId] = []
        refused = 0
        stop = asyncio.Event()

        async def publishing() -> None:
            nonlocal refused
            while not stop.is_set():
                try:
                    accepted.extend(await world.publish(process, 5))
                except PosthouseError:
                    refused += 1

        publishers = [asyncio.create_task(publishing()) for _ in range(4)]
        ended = 0
        async with asyncio.timeout(PATIENCE_SECONDS):
            while ended < 10:
                await asyncio.sleep(0.005)  # publishing goes on; which backend is at it, only the database knows
                rows = await world.fetch(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                    "AND pid <> pg_backend_pid() AND state = 'active' AND query LIKE '%publish%($1%'"
                )
                ended += len(rows)
        stop.set()
        await asyncio.gather(*publishers)
        assert ended > 0
        await until(world.quiet)
        stored = Counter(row["id"] for row in await world.fetch("SELECT id FROM event"))
        assert set(stored.values()) == {1}
        assert set(accepted) <= set(stored)
        (head,) = await world.fetch("SELECT seq FROM log_head WHERE partition = 0")
        assert sum(stored.values()) == head["seq"], "no gap"
        assert {format_id(EVENT, event_id).encode() for event_id in accepted} <= set(world.received())
        assert refused == 0, "each doubt was resolved"
        await process.stop()


async def test_a_hundred_lanes_in_every_partition_are_each_served(database: str) -> None:
    async with a_world(database, answering(200)) as world:
        process = await world.process()
        apps = [(new_app(), new_endpoint(), n % PARTITIONS) for n in range(100)]
        for app_id, endpoint_id, partition in apps:
            await world.put_app(
                app_id, endpoint_id, {"url": f"http://127.0.0.1:{world.served.port}/"}, partition=partition
            )
        submitted = []
        for app_id, _, partition in apps * 3:
            made = Draft(id=EventId(process.clock.new_id()), app_id=app_id, type="order.created", payload=b"{}")
            submitted.append(process.publisher.submit(partition, [made]))
        await asyncio.gather(*submitted)
        await until(world.quiet)
        assert Counter(world.received().values()) == {1: 300}
        await process.stop()
