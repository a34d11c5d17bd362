"""Filters decide at once or in their turn: order, bounds, defaults, and who does not wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs
from tests.expressing import FAILED, FakeExpressions
from tests.fakes import until, virtual_time
from tests.making import config, grant
from tests.unit.dispatch.test_engine import APP, ONE, OTHER_APP, OUTCOMES, THREE, TWO, Process, World, started

from posthouse.dispatch import filtering
from posthouse.domain.endpoint import Ordering
from posthouse.domain.event import Draft
from posthouse.domain.expression import Facts
from posthouse.domain.filters import Dialect, OnFilterError
from posthouse.domain.ids import EventId
from posthouse.domain.limits import FILTERING_SECONDS_MAX
from posthouse.ports.log import Announced

EU: Callable[[Facts], object] = lambda facts: facts.event.key == "eu"  # noqa: E731 - a table of meanings


def a_world(*, heavy: tuple[str, ...] = (), gated: bool = False, **meanings: Callable[[Facts], object]) -> World:
    world = World()
    world.expressions = expressions = FakeExpressions({"eu": EU} | meanings, heavy=heavy)
    if gated:
        expressions.gate = asyncio.Event()
    return world


def fake(world: World) -> FakeExpressions:
    assert isinstance(world.expressions, FakeExpressions)
    return world.expressions


def release(world: World) -> None:
    gate = fake(world).gate
    assert gate is not None
    gate.set()


def delivered(world: World, endpoint_id: object) -> list[int]:
    """The events that an endpoint got, in the order in which it got them."""
    number = int.from_bytes(bytes(endpoint_id)[12:], "big")  # type: ignore[call-overload]
    positions = world.database.positions
    return [positions[sent.event_id][0][1] for sent in world.sent if sent.path == f"/{number}"]


async def publish(process: Process, *keys: str) -> None:
    for key in keys:
        await process.publish(key=key)


@virtual_time
async def test_quick_filters_are_asked_at_once_and_each_once() -> None:
    world = a_world(all=lambda _: True)
    world.endpoint(ONE, filter="eu")
    world.endpoint(TWO, filter="eu", filters=(Dialect(exact={"type": "order.created"}),))
    world.endpoint(THREE, filter="all", filters=(Dialect(cel="eu"),))
    async with started(world) as process:
        await publish(process, "eu", "us")
        await until(world.quiet)
    assert (delivered(world, ONE), delivered(world, TWO), delivered(world, THREE)) == ([1], [1], [1])
    assert fake(world).at_once_calls == [["eu", "all"], ["eu", "all"]]
    assert fake(world).evaluations == []
    assert len(world.database.attempts) == 3, "an event that does not match leaves nothing behind"


@virtual_time
async def test_dialects_need_no_expressions() -> None:
    world = a_world()
    world.endpoint(ONE, filters=(Dialect(not_=Dialect(exact={"key": "eu"})),))
    world.endpoint(TWO, filters=(Dialect(prefix={"type": "other"}), Dialect(cel="eu")), by_app=("filters",))
    async with started(world) as process:
        await publish(process, "eu", "us")
        await until(world.quiet)
    assert (delivered(world, ONE), delivered(world, TWO)) == ([2], [])
    assert fake(world).at_once_calls == fake(world).evaluations == []


@virtual_time
async def test_what_waits_holds_the_cursor_and_nobody_else() -> None:
    world = a_world(heavy=("eu",), gated=True, quick=EU)
    world.endpoint(ONE, filter="eu")
    world.endpoint(TWO)
    world.endpoint(THREE, filter="quick", by_app=("transform",))
    async with started(world) as process:
        await publish(process, "us", "eu", "us")
        await until(lambda: len(delivered(world, TWO)) == 3)
        assert (process.engine.filtering.events, process.engine.filtering.turns) == (3, 3)
        assert (delivered(world, ONE), world.cursor) == ([], 0)
        release(world)
        await until(world.quiet)
    assert delivered(world, ONE) == [2]
    assert (process.engine.filtering.events, process.engine.filtering.bytes, process.engine.filtering.turns) == (
        0,
        0,
        0,
    )
    assert not process.engine.configs.pinned
    assert process.engine.progress.deliveries == process.engine.progress.tracked == 0


@virtual_time
async def test_an_app_that_wrote_a_slow_filter_delays_no_other() -> None:
    world = a_world(gated=True)
    world.database.put_app(OTHER_APP, partition=0)
    world.endpoint(ONE, filter="eu", by_app=("filter",))
    world.database.put_endpoint(TWO, OTHER_APP, config("https://example.com/2", filter="eu"))
    async with started(world) as process:
        await publish(process, "eu")
        await process.publish(app_id=OTHER_APP, key="eu")
        await until(lambda: delivered(world, TWO) == [2], seconds=0.25)
        assert delivered(world, ONE) == []
        release(world)


@virtual_time
@pytest.mark.parametrize("ordering", [Ordering.ENDPOINT, Ordering.KEY, Ordering.NONE])
async def test_an_ordered_endpoint_gets_later_events_behind_one_that_waits(ordering: Ordering) -> None:
    world = a_world(heavy=("eu",), gated=True)
    world.endpoint(ONE, filter="eu", ordering=ordering)
    async with started(world) as process:
        await publish(process, "eu")
        await until(lambda: process.engine.filtering.turns == 1)
        fake(world).heavy.clear()
        await publish(process, "eu")  # this one is decided at once
        world.endpoint(ONE, ordering=ordering)
        await publish(process, "us")  # and this one has no filter in its way
        await until(lambda: world.cursor + process.engine.progress.tracked == 3)
        await asyncio.sleep(0.1)
        assert delivered(world, ONE) == ([2, 3] if ordering is Ordering.NONE else [])
        release(world)
        await until(world.quiet)
    assert delivered(world, ONE) == ([2, 3, 1] if ordering is Ordering.NONE else [1, 2, 3])


@virtual_time
@pytest.mark.parametrize("on_error", list(OnFilterError))
async def test_a_filter_without_a_value_counts_as_its_default(on_error: OnFilterError) -> None:
    world = a_world(heavy=("late",), broken=lambda _: FAILED, late=lambda _: FAILED)
    world.endpoint(ONE, filter="broken", on_filter_error=on_error)
    world.endpoint(TWO, filter="late", on_filter_error=on_error)
    async with started(world) as process:
        with capture_logs() as logs:
            await publish(process, *["eu"] * 20)
            await until(world.quiet)
        assert process.engine.filtering.failures == 40
    for endpoint_id in (ONE, TWO):
        if on_error is OnFilterError.DELIVER:
            assert delivered(world, endpoint_id) == list(range(1, 21))
        else:
            assert delivered(world, endpoint_id) == []
            assert world.outcomes(endpoint_id) == [(seq, OUTCOMES.GAVE_UP, "filter_failed") for seq in range(1, 21)]
    if on_error is OnFilterError.SKIP:
        assert {attempt.error for attempt in world.database.attempts.values()} == {"error: no such field"}
    told = [line for line in logs if line["event"] == "filter.failed"]
    assert len(told) == 1, "not each of thousands a second"


@virtual_time
async def test_an_event_does_not_wait_for_ever() -> None:
    world = a_world(heavy=("eu",), gated=True)
    world.endpoint(ONE, filter="eu")
    async with started(world) as process:
        await publish(process, "us", "us", "us")
        await asyncio.sleep(FILTERING_SECONDS_MAX - 0.1)
        assert delivered(world, ONE) == []
        await until(lambda: delivered(world, ONE) == [1, 2, 3], seconds=0.2)


@virtual_time
async def test_what_waits_is_bounded_and_the_oldest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filtering, "FILTERING_APP_EVENTS_MAX", 3)
    world = a_world(heavy=("eu",), gated=True)
    world.endpoint(ONE, filter="eu", ordering=Ordering.ENDPOINT)
    async with started(world) as process:
        await publish(process, *["us"] * 10)
        await until(lambda: delivered(world, ONE) == [1, 2, 3, 4, 5, 6, 7])
        assert process.engine.filtering.events == 3
        release(world)
        await until(world.quiet)
    assert delivered(world, ONE) == [1, 2, 3, 4, 5, 6, 7]


@virtual_time
@pytest.mark.parametrize("limit", ["FILTERING_EVENTS_MAX", "FILTERING_TURNS_MAX", "FILTERING_BYTES_MAX"])
async def test_where_too_much_waits_in_all_the_largest_app_gives_way(
    monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(filtering, limit, 4 * (len(b"{}") if limit.endswith("BYTES_MAX") else 1))
    world = a_world(heavy=("eu",), gated=True)
    world.database.put_app(OTHER_APP, partition=0)
    world.endpoint(ONE, filter="eu")
    world.database.put_endpoint(TWO, OTHER_APP, config("https://example.com/2", filter="eu"))
    async with started(world) as process:
        await process.publish(app_id=OTHER_APP, key="us")
        await publish(process, *["us"] * 10)
        await until(lambda: len(delivered(world, ONE)) == 7)
        assert delivered(world, TWO) == []
        release(world)
        await until(world.quiet)
    assert delivered(world, TWO) == []


@virtual_time
async def test_what_waits_goes_to_endpoints_as_they_are_by_then() -> None:
    world = a_world(heavy=("eu",), gated=True)
    for endpoint_id in (ONE, TWO, THREE):
        world.endpoint(endpoint_id, filter="eu")
    async with started(world) as process:
        await publish(process, "eu")
        await until(lambda: process.engine.filtering.turns == 1)
        world.database.delete_endpoint(TWO)
        world.endpoint(THREE, filter="eu", enabled=False)
        world.database.put_endpoint(ONE, APP, config("https://example.com/9", filter="never"))
        await until(lambda: process.engine.configs.known(APP).endpoint(TWO) is None)
        release(world)
        await until(world.quiet)
    assert [sent.path for sent in world.sent] == ["/9"]


@virtual_time
async def test_what_waited_as_a_process_died_is_routed_anew_but_for_what_is_on_record() -> None:
    world = a_world(heavy=("eu",), gated=True)
    world.endpoint(ONE, filter="eu")
    world.endpoint(TWO, filters=(Dialect(cel="eu"),), by_app=("filters",), on_filter_error=OnFilterError.SKIP)
    world.endpoint(THREE)
    first = Process(world)
    await first.engine.start()
    await publish(first, "eu", "us")
    await until(lambda: len(world.outcomes(THREE)) == 2)
    await first.kill()
    fake(world).gate = None
    async with started(world):
        await until(world.quiet, seconds=60.0)
    assert (delivered(world, ONE), delivered(world, TWO), delivered(world, THREE)) == ([1], [1], [1, 2])


@virtual_time
async def test_what_is_on_record_is_not_offered_again_when_its_filter_comes_back() -> None:
    world = a_world(heavy=("eu",), gated=True)
    world.endpoint(ONE, filter="eu")
    world.endpoint(TWO, filter="eu", by_app=("filter",))
    first = Process(world)
    await first.engine.start()
    fake(world).heavy.clear()
    await publish(first, "eu")  # ONE has it; TWO waits
    await until(lambda: len(world.outcomes(ONE)) == 1)
    await first.kill()
    fake(world).heavy.add("eu")
    fake(world).gate = None
    async with started(world):
        await until(world.quiet, seconds=60.0)
    assert (delivered(world, ONE), delivered(world, TWO)) == ([1], [1])


@virtual_time
async def test_a_hand_over_does_not_wait_for_filters() -> None:
    world = a_world(heavy=("eu",), gated=True)
    world.endpoint(ONE, filter="eu", ordering=Ordering.ENDPOINT)
    first = Process(world)
    await first.engine.start()
    await publish(first, "eu", "eu")
    await until(lambda: first.engine.filtering.turns == 2)
    began = asyncio.get_running_loop().time()
    await first.engine.stop(seconds=5.0)
    assert asyncio.get_running_loop().time() - began < 1.0
    assert (world.cursor, first.engine.filtering.turns) == (0, 0)
    fake(world).gate = None
    async with started(world):
        await until(world.quiet)
    assert delivered(world, ONE) == [1, 2]


@virtual_time
async def test_a_platform_event_asks_the_filters_of_all_its_apps_together() -> None:
    world = a_world(no=lambda _: False)
    world.database.put_app(OTHER_APP, partition=0)
    world.endpoint(ONE, filter="eu")
    world.database.put_endpoint(TWO, OTHER_APP, config("https://example.com/2", filter="eu"))
    world.database.put_endpoint(THREE, OTHER_APP, config("https://example.com/3", filter="no"))
    world.database.put_grant(grant(APP))
    world.database.put_grant(grant(OTHER_APP))
    async with started(world) as process:

        async def announce(key: str) -> None:
            made = Draft(id=EventId(process.clock.new_id()), type="order.created", payload=b"{}", key=key)
            (result,) = await process.publisher.submit(0, [made])
            assert isinstance(result, Announced)

        await announce("eu")
        await until(world.quiet)
        assert (delivered(world, ONE), delivered(world, TWO), delivered(world, THREE)) == ([1], [1], [])
        assert fake(world).at_once_calls == [["eu", "no"]]
        fake(world).heavy.add("no")
        fake(world).gate = asyncio.Event()
        await announce("eu")
        await until(lambda: len(delivered(world, ONE)) == 2, "the app whose filters are quick")
        assert fake(world).at_once_calls[1:] == [["eu", "no"], ["eu"], ["eu", "no"]]
        release(world)
        await until(world.quiet)
    assert (delivered(world, ONE), delivered(world, TWO), delivered(world, THREE)) == ([1, 2], [1, 2], [])
