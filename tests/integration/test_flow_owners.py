"""What targets asked for holds whoever owns their lanes: over kill -9, hand-overs, and both one after the other."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from tests.commands import running
from tests.fakes import until
from tests.installed import installed
from tests.integration.test_delivery import APP, prepare
from tests.integration.test_engine import PARTITIONS, Process, World
from tests.receiving import JITTER_SECONDS, Received, Receiver, ok, receiving, status
from tests.serving import KEY, call

from posthouse.domain.event import Draft
from posthouse.domain.ids import EVENT, EventId, format_id
from posthouse.ports.log import Appended


@asynccontextmanager
async def a_world(database: str, **config: Any) -> AsyncIterator[tuple[World, Receiver]]:
    async with AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(receiving())
        postgres = await stack.enter_async_context(installed(database, partitions=PARTITIONS))
        world = World(postgres, receiver.served, stack)
        await world.configure(**config)
        yield world, receiver


async def publish(world: World, process: Process, count: int, keys: str = "") -> list[str]:
    drafts = [
        Draft(
            id=EventId(process.clock.new_id()),
            app_id=world.app_id,
            type="order.created",
            payload=b"{}",
            key=keys[n % len(keys)] if keys else None,
        )
        for n in range(count)
    ]
    results = await process.publisher.submit(0, drafts)
    assert all(isinstance(result, Appended) for result in results)
    return [format_id(EVENT, draft.id) for draft in drafts]


async def test_a_rate_holds_over_a_crash_and_a_hand_over(database: str) -> None:
    rate, burst = 30.0, 4
    async with a_world(database, rate_limit={"per_second": rate, "burst": burst}, concurrency=4) as (world, receiver):
        first, second = await world.process(), await world.process()
        ids = await publish(world, first, 90)
        await until(lambda: len(receiver.requests) >= 20)
        await first.kill()
        await until(lambda: len(receiver.requests) >= 45)
        third = await world.process()
        await second.stop()
        await until(lambda: set(ids) <= set(receiver.confirmed))
        await until(world.quiet)
        assert receiver.too_many(rate, burst) == []
        assert len(third.engine.ownership.epochs) == PARTITIONS
        await third.stop()


async def test_a_slow_rate_goes_on_after_a_hand_over(database: str) -> None:
    seconds = 1.5
    async with a_world(database, rate_limit={"per_second": 1 / seconds, "burst": 1}) as (world, receiver):
        first, second = await world.process(), await world.process()
        await publish(world, first, 1)
        await until(lambda: len(receiver.requests) == 1)
        await until(world.quiet)
        await publish(world, first, 2)
        await first.stop()
        await until(lambda: len(second.engine.ownership.epochs) == PARTITIONS)
        await until(lambda: len(receiver.requests) == 3)
        times = [request.at for request in receiver.requests]
        assert times[2] - times[1] >= seconds - JITTER_SECONDS
        assert seconds - JITTER_SECONDS <= times[1] - times[0] <= seconds + 1.2, "the last one counts, whoever sent it"
        await second.stop()


async def test_each_line_is_confirmed_in_order_over_crashes_and_hand_overs(database: str) -> None:
    draw = random.Random(11)

    async def answer(_: Received) -> bytes | None:
        await asyncio.sleep(draw.random() * 0.02)
        luck = draw.random()
        return None if luck < 0.05 else status(500) if luck < 0.2 else ok()

    retry = {"schedule": [0.05] * 80, "jitter": 0.0}
    async with a_world(database, ordering="key", concurrency=8, retry=retry) as (world, receiver):
        receiver.answer = answer
        lines: dict[str, list[str]] = {key: [] for key in "abc"}
        process = await world.process()
        for turn in range(4):
            other = await world.process()
            ids = await publish(world, process, 45, "abc")
            for place, key in enumerate("abc"):
                lines[key] += ids[place::3]
            enough = len(receiver.confirmed) + 15
            await until(lambda enough=enough: len(receiver.confirmed) >= enough)  # type: ignore[misc]
            if turn % 2:
                await process.stop()
            else:
                await process.kill()
            process = other
        await until(lambda: {event for line in lines.values() for event in line} <= set(receiver.confirmed))
        await until(world.quiet)
        for line in lines.values():
            assert receiver.out_of_order(line) == []
        await process.stop()


async def test_a_hand_over_repeats_nothing_of_a_batch_in_flight_and_keeps_its_line(database: str) -> None:
    gate = asyncio.Event()

    async def waiting(_: Received) -> bytes:
        await gate.wait()
        return ok()

    batch = {"max_events": 5, "max_wait_ms": 0}
    async with a_world(database, ordering="endpoint", batch=batch) as (world, receiver):
        receiver.answer = waiting
        first, second = await world.process(), await world.process()
        ids = await publish(world, first, 20)
        await until(lambda: len(receiver.requests) == 1)
        stopping = asyncio.create_task(first.stop())
        await until(lambda: len(second.engine.ownership.epochs) == PARTITIONS)
        assert len(receiver.requests) == 1, "its successor waits for the answer"
        gate.set()
        await stopping
        await until(world.quiet)
        assert receiver.received() == ids
        await second.stop()


@pytest.mark.timeout(120)
async def test_rate_and_order_hold_over_kill_9_of_the_server(database: str) -> None:
    """A real process, and nothing that it could do about it."""
    rate, burst = 40.0, 5
    more = {
        "POSTHOUSE_DATABASE_URL": database,
        "POSTHOUSE_ADMIN_KEY": KEY,
        "POSTHOUSE_MASTER_KEY": "00" * 32,
        "POSTHOUSE_ALLOWED_NETWORKS": "127.0.0.1/32",
    }

    async def begun(server: Any) -> int:
        found = await asyncio.to_thread(server.until, r"listens on http://127\.0\.0\.1:(\d+);")
        return int(found[1])

    async with receiving() as receiver:
        draw = random.Random(4)

        async def answer(_: Received) -> bytes:
            return status(500) if draw.random() < 0.1 else ok()

        receiver.answer = answer
        with running("serve", "--port", "0", **more) as server:
            port = await begun(server)
            await prepare(port)
            config = {
                "url": receiver.url(),
                "ordering": "key",
                "concurrency": 4,
                "retry": {"schedule": [0.05] * 60, "jitter": 0},
                "rate_limit": {"per_second": rate, "burst": burst},
            }
            await call(port, "POST", f"{APP}/endpoints", config)
            events = [{"type": "order.created", "data": n, "key": "abcd"[n % 4]} for n in range(100)]
            accepted = await call(port, "POST", f"{APP}/events/batch", events)
            ids = [each["id"] for each in accepted["data"]]
            await until(lambda: len(receiver.requests) >= 40)
            server.process.send_signal(signal.SIGKILL)
            server.process.wait(10)
        killed_at = len(receiver.requests)
        with running("serve", "--port", "0", **more) as server:
            await begun(server)
            await until(lambda: set(ids) <= set(receiver.confirmed))
    assert killed_at < len(receiver.requests)
    assert receiver.too_many(rate, burst) == []
    for place in range(4):
        assert receiver.out_of_order(ids[place::4]) == []
