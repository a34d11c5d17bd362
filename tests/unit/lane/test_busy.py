"""Whether the event loop has time to spare."""

from __future__ import annotations

import asyncio

from tests.fakes import FakeClock, virtual_time

from posthouse.lane.busy import BUSY_SHARE, LOOK_SECONDS, Busy


@virtual_time
async def test_a_loop_that_computes_nearly_all_the_time_is_busy() -> None:
    clock = FakeClock()
    busy = Busy(clock)
    assert not busy(), "nothing is known yet"
    for share, expected in ((BUSY_SHARE + 0.1, True), (BUSY_SHARE - 0.1, False), (1.0, True), (0.0, False)):
        await asyncio.sleep(1.01 * LOOK_SECONDS)
        clock.cpu_seconds += share * 1.01 * LOOK_SECONDS
        assert busy() is expected


@virtual_time
async def test_it_looks_now_and_then_only() -> None:
    clock = FakeClock()
    busy = Busy(clock)
    await asyncio.sleep(1.01 * LOOK_SECONDS)
    clock.cpu_seconds += 1.01 * LOOK_SECONDS
    assert busy()
    await asyncio.sleep(LOOK_SECONDS / 2)
    assert busy(), "as of a moment ago"
    await asyncio.sleep(1.01 * LOOK_SECONDS)
    assert not busy()
