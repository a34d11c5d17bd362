"""Limits of what is waited for, and a process that stands still meanwhile."""

from __future__ import annotations

import asyncio
from time import monotonic

import pytest

from posthouse.adapters.http.waits import Waits


async def test_a_limit_ends_what_runs_under_it() -> None:
    waits = Waits()
    with pytest.raises(TimeoutError):
        async with waits.within(0.01):
            await asyncio.Event().wait()
    assert not waits.pending


async def test_a_standstill_extends_every_limit_by_what_it_took() -> None:
    waits = Waits()
    loop = asyncio.get_running_loop()
    began = loop.time()
    loop.call_soon(waits.stood_still, 0.2)
    with pytest.raises(TimeoutError):
        async with waits.within(0.05), waits.within(30.0):
            await asyncio.Event().wait()
    assert loop.time() - began >= 0.25


async def test_the_clock_leaves_out_what_a_standstill_took() -> None:
    waits = Waits()
    before = waits.now()
    waits.stood_still(1_000.0)
    assert before - 1_000.0 <= waits.now() < monotonic() - 999.0
    assert waits.microseconds(before) == 0, "of what began as it stood still there is no time left"


async def test_time_that_is_over_is_not_given_back() -> None:
    waits = Waits()

    async def too_late() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            waits.stood_still(30.0)

    with pytest.raises(TimeoutError):
        async with waits.within(0.0):
            await too_late()


async def test_hurried_all_limits_are_over() -> None:
    waits = Waits()
    asyncio.get_running_loop().call_soon(waits.hurry)
    with pytest.raises(TimeoutError):
        async with waits.within(30.0):
            await asyncio.Event().wait()


async def test_whoever_keeps_time_hears_that_a_limit_begins() -> None:
    heard: list[int] = []
    waits = Waits(lambda: heard.append(len(heard)))
    async with waits.within(1.0), waits.within(1.0):
        assert waits.pending == 2
    assert heard == [0, 1]
