"""When what is owed will be made, as the API tells it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.integration.api_world import World, raw, world_over

from posthouse.domain.delivery import OwedReason, Rollup
from posthouse.domain.estimate import DRAIN_OVERHEAD_SECONDS
from posthouse.domain.event import Event
from posthouse.domain.ids import APP, ENDPOINT, EVENT, AppId, EndpointId, format_id
from posthouse.manage.access import NEWEST
from posthouse.ports.inspect import Where

APP_URL = "/v1/apps/shop"


@pytest.fixture
async def world(database: str) -> AsyncIterator[World]:
    async with world_over(database) as made:
        await made.app("shop")
        yield made


async def app_id(world: World) -> str:
    found: str = (await world.admin.get(APP_URL)).json()["id"]
    return found


def text(event: Event) -> str:
    return format_id(EVENT, event.id)


async def owed(world: World) -> list[Any]:
    """Everything that is owed, newest event first."""
    reply = await world.admin.get(f"{APP_URL}/deliveries?limit=250")
    assert reply.json()["next"] is None
    found: list[Any] = reply.json()["data"]
    return found


async def etas(world: World) -> list[float | None]:
    """Of everything that is owed, oldest event first."""
    return [row["eta_seconds"] for row in await owed(world)][::-1]


async def test_when_what_is_owed_will_be_made(world: World) -> None:
    app = await app_id(world)
    endpoint = await world.endpoint("shop", concurrency=4)
    single = await world.endpoint("shop", concurrency=1)
    events = await world.publish(app, *[b"1"] * 41)
    now = world.clock.now()
    # The last minutes with attempts count, however long ago within a day.
    minute = int(now // 60)
    for name, took_us, at in ((endpoint, 2_000_000, minute), (single, 500_000, minute - 100)):
        await world.journal(
            rollups=(
                Rollup(
                    partition=events[0].partition,
                    minute=at,
                    app_id=AppId(raw(APP, app)),
                    endpoint_id=EndpointId(raw(ENDPOINT, name)),
                    delivered=9,
                    gave_up=1,
                    total_us=10 * took_us,
                ),
            )
        )
    # The younger an event, the sooner it is due: the order of the list is not that of the queue.
    for number, event in enumerate(events[:-1]):
        await world.owe([event], endpoint, due_at=now - 10 - number)
        await world.owe([event], single, due_at=now - 10 - number)
    await world.owe([events[-1]], endpoint, due_at=now + 600)
    by_event = {(row["endpoint"], row["event"]): row["eta_seconds"] for row in await owed(world)}
    own = DRAIN_OVERHEAD_SECONDS
    for number, event in enumerate(events[:-1]):
        ahead = 39 - number
        assert by_event[endpoint, text(event)] == pytest.approx((2 * ahead + own) / 4, abs=0.01)
        assert by_event[single, text(event)] == pytest.approx(0.5 * ahead + own, abs=0.01)
    assert by_event[endpoint, text(events[-1])] == pytest.approx(600 + own / 4, abs=30)
    # The list of all apps estimates in the same way.
    everywhere = (await world.admin.get("/v1/deliveries?limit=250")).json()["data"]
    assert [row["eta_seconds"] for row in everywhere] == pytest.approx(
        [row["eta_seconds"] for row in await owed(world)], abs=10
    )


async def test_when_there_is_no_saying_when_what_is_owed_will_be_made(world: World) -> None:
    app = await app_id(world)
    endpoint = await world.endpoint("shop", uid="main")
    events = await world.publish(app, b"1", b"2", b"3")
    await world.owe(events[:2], endpoint, due_at=world.clock.now())
    await world.owe(events[2:], endpoint, due_at=2_000_000_000.0, reason=OwedReason.IN_FLIGHT, sender=b"s" * 16)
    first, second, running = await etas(world)
    assert first is not None
    assert second is not None
    assert running == 0.0, "its request runs: it is being made now"
    for paused in ({"enabled": False}, {"enabled": True}):
        assert (await world.admin.patch(f"{APP_URL}/endpoints/main", paused)).status == 200
        known = [eta is not None for eta in await etas(world)]
        assert known == [paused["enabled"], paused["enabled"], True]
    assert (await world.admin.post(f"{APP_URL}/endpoints/main/pause")).status == 200
    assert await etas(world) == [None, None, 0.0]
    assert (await world.admin.post(f"{APP_URL}/endpoints/main/resume")).status == 200
    # One that waits for another has no time of its own.
    await world.query("UPDATE delivery SET due_at = 'infinity' WHERE reason <> 'in_flight' RETURNING 1")
    assert await etas(world) == [None, None, 0.0]
    assert (await world.admin.delete(f"{APP_URL}/endpoints/main")).status == 204
    assert await etas(world) == [None, None, 0.0]


async def test_positions_are_counted_up_to_a_bound(world: World) -> None:
    app = await app_id(world)
    one, two = await world.endpoint("shop"), await world.endpoint("shop")
    events = await world.publish(app, *[b"1"] * 10)
    # All due at the same time: then older events are first.
    await world.owe(events, one, due_at=world.clock.now())
    await world.owe(events[:2], two, due_at=world.clock.now())
    where = Where(AppId(raw(APP, app)), events[0].partition)
    rows = (await world.inspector.owed(where, before=(NEWEST, NEWEST), limit=50, endpoint_id=None)).rows
    positions = await world.inspector.positions(rows, counted_max=100)
    order = {event.id: number for number, event in enumerate(events)}
    assert positions == [order[row.event_id] for row in rows]
    few = await world.inspector.positions(rows, counted_max=8)  # four of each endpoint
    assert few == [at if at < 4 else None for at in map(order.__getitem__, (row.event_id for row in rows))]
