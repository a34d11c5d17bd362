"""Several processes on one PostgreSQL: partitions move while events flow, and what one does the others learn in time."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs
from tests.fakes import until
from tests.integration.test_engine import ID, Process, World, a_world
from tests.serving import ask, call, serving
from tests.targets import OK, Peer, RawTarget, target

from posthouse import bootstrap
from posthouse.dispatch import tail
from posthouse.domain.ids import EVENT, EventId, format_id


async def confirming(peer: Peer) -> None:
    while True:
        await peer.request()
        await peer.send(OK)


# Moves under load


class Arrivals:
    """A target that notes when each event arrived."""

    def __init__(self) -> None:
        self.ids: list[bytes] = []
        self.at: list[float] = []

    async def __call__(self, peer: Peer) -> None:
        while True:
            found = ID.search(await peer.request())
            assert found is not None
            self.ids.append(found[1])
            self.at.append(time.monotonic())
            await peer.send(OK)

    def longest_gap(self, since: float) -> float:
        times = [since, *(at for at in self.at if at >= since)]
        return max(late - early for early, late in pairwise(times))


class Flow:
    """Events of one app, published one after another all the time, by whichever process is there."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.ids: list[EventId] = []
        self.via: Process
        self._over = asyncio.Event()

    async def run(self) -> None:
        while not self._over.is_set():
            self.ids += await self.world.publish(self.via)
            await asyncio.sleep(0.002)  # some hundreds a second

    def end(self) -> None:
        self._over.set()


def spread(world: World) -> list[int]:
    return sorted(len(process.engine.ownership.epochs) for process in world.processes)


async def owner_of(world: World) -> bytes | None:
    (row,) = await world.fetch("SELECT owner FROM partition WHERE id = 0")
    owner: bytes | None = row["owner"]
    return owner


async def test_partitions_move_under_load_within_a_second_in_order_and_without_loss(database: str) -> None:
    arrivals = Arrivals()
    async with a_world(database, arrivals, ordering="endpoint") as world:
        first = await world.process()
        flow = Flow(world)
        flow.via = first
        publishing = asyncio.create_task(flow.run())
        await until(lambda: len(arrivals.ids) > 20)
        since = time.monotonic()
        moves = 0
        for _ in range(3):
            second = await world.process()
            await until(lambda: spread(world) == [2, 2], "an even spread")
            moves += await owner_of(world) == second.owner
            count = len(arrivals.ids)
            await until(lambda count=count: len(arrivals.ids) > count + 20)  # type: ignore[misc]
            world.processes.remove(second)
            await second.stop()
            await until(lambda: spread(world) == [4])
        assert moves == 3, "the partition that is watched has moved each time, and back"
        gap = arrivals.longest_gap(since)
        flow.end()
        await publishing
        await until(world.quiet)
        assert arrivals.ids == [format_id(EVENT, event_id).encode() for event_id in flow.ids], "each once, in order"
        assert gap < 1.0, "a hand-over within a second"


async def test_a_killed_process_s_partitions_are_taken_at_once_and_spread_evenly(database: str) -> None:
    arrivals = Arrivals()
    async with a_world(database, arrivals, ordering="endpoint") as world:
        processes = [await world.process() for _ in range(3)]
        await until(lambda: spread(world) == [1, 1, 2], "an even spread")
        owner = await owner_of(world)
        victim = next(process for process in processes if process.owner == owner)
        flow = Flow(world)
        flow.via = next(process for process in processes if process is not victim)
        publishing = asyncio.create_task(flow.run())
        await until(lambda: len(arrivals.ids) > 50)
        world.processes.remove(victim)
        await victim.kill()
        killed_at, count = time.monotonic(), len(arrivals.ids)
        await until(lambda: len(arrivals.ids) > count + 50)
        await until(lambda: spread(world) == [2, 2], "an even spread of what is left")
        gap = arrivals.longest_gap(killed_at)
        flow.end()
        await publishing
        await until(world.quiet)
        wanted = [format_id(EVENT, event_id).encode() for event_id in flow.ids]
        assert set(arrivals.ids) == set(wanted), "nothing is lost"
        firsts = list(dict.fromkeys(arrivals.ids))
        assert firsts == wanted, "what is repeated is repeated in order"
        assert gap < 5.0, "long before the lease of ten seconds ends"


# What one process does, the others learn in time


@asynccontextmanager
async def pair(dsn: str, *, roles: tuple[str, str] = ("all", "all")) -> AsyncIterator[list[bootstrap.Posthouse]]:
    """Two servers on one database, their partitions spread."""
    async with AsyncExitStack() as stack:
        common: dict[str, Any] = {"partitions": 4, "master_key": "00" * 32}
        servers = [await stack.enter_async_context(serving(dsn, role=role, **common)) for role in roles]
        owning = [server for server, role in zip(servers, roles, strict=True) if role != "api"]
        await until(lambda: {len(s._engine.ownership.epochs) for s in owning} == {4 // len(owning)}, "an even spread")
        yield servers


async def make_app(port: int, uid: str, served: RawTarget) -> None:
    await call(port, "POST", "/v1/apps", {"uid": uid, "name": uid})
    await call(port, "POST", f"/v1/apps/{uid}/endpoints", {"url": f"http://127.0.0.1:{served.port}/", "uid": "hook"})


async def owner_index(dsn: str, servers: list[bootstrap.Posthouse], uid: str) -> int:
    connection = await asyncpg.connect(dsn)
    try:
        partition = await connection.fetchval("SELECT partition FROM app WHERE uid = $1", uid)
    finally:
        await connection.close()
    return next(n for n, server in enumerate(servers) if partition in server._engine.ownership.epochs)


async def everything_dispatched(dsn: str) -> bool:
    connection = await asyncpg.connect(dsn)
    try:
        behind = await connection.fetchval(
            "SELECT count(*) FROM partition p JOIN log_head h ON h.partition = p.id WHERE p.cursor < h.seq"
        )
        return bool(behind == 0)
    finally:
        await connection.close()


def received(served: RawTarget) -> Counter[str]:
    return Counter(found[1].decode() for request in served.requests if (found := ID.search(request)))


async def test_publishing_on_a_process_that_does_not_own_the_partition_wakes_the_owner(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "POLL_SECONDS", 3600.0)  # nothing is found by looking
    async with target(confirming) as served, pair(database) as servers:
        await call(servers[0].port, "POST", "/v1/event-types", {"name": "order.created"})
        published = []
        owners = set()
        for number in range(8):
            await make_app(servers[0].port, f"app{number}", served)
            owner = await owner_index(database, servers, f"app{number}")
            owners.add(owner)
            other = servers[1 - owner]
            event = await call(
                other.port, "POST", f"/v1/apps/app{number}/events", {"type": "order.created", "data": {}}
            )
            published.append(event["id"])
        assert owners == {0, 1}
        await until(lambda: received(served) == Counter(published), "every event to arrive by word of mouth")


async def test_a_change_made_through_one_process_holds_for_the_next_event_of_any(database: str) -> None:
    async with target(confirming) as served, pair(database) as servers:
        one, two = (server.port for server in servers)
        owners: set[int] = set()
        for number in range(20):
            if number >= 4 and owners == {0, 1}:
                break  # chance decides in whose partition an app is
            uid = f"app{number}"
            await call(one, "POST", "/v1/event-types", {"name": f"order.type{number}"})
            await make_app(one, uid, served)
            owners.add(await owner_index(database, servers, uid))
            first, second = (one, two) if number % 2 else (two, one)
            events = {"type": f"order.type{number}", "data": {}}
            wanted = await call(first, "POST", f"/v1/apps/{uid}/events", events)
            await until(lambda wanted=wanted: wanted["id"] in received(served))  # type: ignore[misc]
            path = f"/v1/apps/{uid}/endpoints/hook"
            await call(first, "PATCH", path, {"events": ["nothing.of.this"]})
            unwanted = await call(second, "POST", f"/v1/apps/{uid}/events", events)
            await until(lambda: everything_dispatched(database))  # an event may be routed by what is newer than it
            await call(second, "PATCH", path, {"events": []})
            again = await call(first, "POST", f"/v1/apps/{uid}/events", events)
            await until(lambda again=again: again["id"] in received(served))  # type: ignore[misc]
            assert unwanted["id"] not in received(served)
        assert owners == {0, 1}


# Roles


async def test_roles_divide_the_work(database: str) -> None:
    async with target(confirming) as served, pair(database, roles=("api", "worker")) as (api, worker):
        await call(api.port, "POST", "/v1/event-types", {"name": "order.created"})
        await make_app(api.port, "acme", served)
        event = await call(api.port, "POST", "/v1/apps/acme/events", {"type": "order.created", "data": {}})
        await until(lambda: received(served) == {event["id"]: 1})
        assert not api._engine.ownership.epochs
        assert len(worker._engine.ownership.epochs) == 4
        for server in (api, worker):
            for path in ("/healthz", "/readyz", "/metrics"):
                assert (await ask(server.port, "GET", path, key=None)).status == 200
        for method, path in (("GET", "/v1/apps"), ("POST", "/v1/events"), ("GET", "/openapi.json")):
            refused = await ask(worker.port, method, path, {})
            assert (refused.status, refused.body["code"]) == (404, "route_not_found")
            assert "role worker" in refused.body["detail"]
        metrics = (await ask(worker.port, "GET", "/metrics", key=None)).body.decode()
        assert re.search(r"^posthouse_partitions_owned 4\.0$", metrics, re.M)
        assert re.search(r"^posthouse_processes_live 1\.0$", metrics, re.M), (
            "a process that only answers does not count"
        )

        connection = api._session._connection
        assert connection is not None
        connection.terminate()
        refused = await ask(api.port, "GET", "/readyz", key=None)
        assert (refused.status, json.dumps(refused.body).count("database")) == (503, 1)

        async def back() -> bool:
            return (await ask(api.port, "GET", "/readyz", key=None)).status == 200

        await until(back, "its session to be back")


async def test_another_number_of_partitions_than_the_installed_one_is_told(database: str) -> None:
    with capture_logs() as logs:
        async with serving(database, partitions=4):
            pass
        async with serving(database, partitions=4):
            pass
        assert [one for one in logs if one["event"] == "partitions.as_installed"] == []
        async with serving(database, partitions=8):
            pass
    (told,) = [one for one in logs if one["event"] == "partitions.as_installed"]
    assert (told["installed"], told["asked_for"]) == (4, 8)


async def test_a_database_with_too_few_connections_is_told_at_once(database: str) -> None:
    connection = await asyncpg.connect(database)
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(f'ALTER DATABASE "{name}" CONNECTION LIMIT 24')  # which the role of the tests may exceed
    await connection.close()
    with capture_logs() as logs:
        async with serving(database):
            pass
    (told,) = [one for one in logs if one["event"] == "database.few_connections"]
    assert (told["most"], told["needed"]) == (24, 25)
