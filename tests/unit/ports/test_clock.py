"""Waiting for something, or for a while."""

from __future__ import annotations

import asyncio

import pytest
from tests.fakes import virtual_time

from posthouse.ports.clock import set_or_over


@virtual_time
async def test_waits_until_the_event_is_set_or_the_time_is_over() -> None:
    loop, event = asyncio.get_running_loop(), asyncio.Event()
    await set_or_over(event, 2.0)
    assert (loop.time(), event.is_set()) == (2.0, False)
    loop.call_later(3.0, event.set)
    await set_or_over(event, 60.0)
    assert loop.time() == 5.0
    await set_or_over(event, 0.0)
    event.clear()
    loop.call_later(100.0, event.set)
    await set_or_over(event, None)
    assert loop.time() == 105.0


@virtual_time
async def test_who_is_cancelled_as_the_event_is_set_is_cancelled() -> None:
    for cancelled_first in (False, True):
        event = asyncio.Event()
        waiting = asyncio.create_task(set_or_over(event, 60.0))
        await asyncio.sleep(1.0)
        if cancelled_first:
            waiting.cancel()
        event.set()
        if not cancelled_first:
            waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
