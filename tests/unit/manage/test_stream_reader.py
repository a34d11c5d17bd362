"""A stream of a client that goes: whatever comes in the same turn, it is over."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import cast

import pytest
from tests.fakes import FakeClock, virtual_time

from posthouse.domain.limits import STREAM_KEY_SECONDS
from posthouse.domain.position import Position
from posthouse.manage.stream_ends import Lookout
from posthouse.manage.stream_reader import Stream
from posthouse.ports.stream import StreamSource, Wanted


async def yes() -> bool:
    return True


async def unmasked(types: Collection[str]) -> Mapping[str, tuple[str, ...]]:
    return {}


@virtual_time
async def test_who_is_cancelled_as_there_is_news_is_cancelled() -> None:
    source, clock = cast("StreamSource", None), FakeClock()  # nothing is ever there to be read
    lookout = Lookout(source, clock)
    stream = Stream(
        lookout,
        source,
        clock,
        Position(events={}, attempts={}, at=0.0),
        wanted=Wanted(),
        data=True,
        redactions=unmasked,
        may_go_on=yes,
        lasts=lambda _: True,
        release=lambda: None,
    )
    waiting = asyncio.create_task(stream.next(seconds=60.0))
    await asyncio.sleep(STREAM_KEY_SECONDS / 2)  # it waits for news by then
    lookout.restart()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
