"""The lookout: it looks while somebody follows, and no longer, whatever comes in the same turn."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from tests.fakes import FakeClock, virtual_time

from posthouse.domain.ids import AttemptId
from posthouse.domain.limits import STREAM_HINT_SECONDS, STREAM_POLL_SECONDS
from posthouse.manage.stream_ends import Lookout
from posthouse.ports.stream import Ends, StreamSource

WAITING_SECONDS = (STREAM_HINT_SECONDS + STREAM_POLL_SECONDS) / 2
"""After a look, it waits for a hint by then."""


class Source:
    """Only `ends` of `StreamSource`: nothing ever comes."""

    def __init__(self) -> None:
        self.looks = 0

    async def ends(self, **_: Any) -> Ends:
        self.looks += 1
        return Ends({}, {}, AttemptId(b""))


def looking() -> tuple[Lookout, Source]:
    source = Source()
    lookout = Lookout(cast("StreamSource", source), FakeClock())
    lookout.begin()
    return lookout, source


@virtual_time
async def test_a_hint_is_followed_before_the_time_to_look() -> None:
    lookout, source = looking()
    await asyncio.sleep(WAITING_SECONDS)
    assert source.looks == 1
    lookout.hint()
    await asyncio.sleep(0.001)
    assert source.looks == 2
    await lookout.close()


@virtual_time
async def test_nobody_looks_after_a_pause_that_comes_with_a_hint() -> None:
    lookout, source = looking()
    await asyncio.sleep(WAITING_SECONDS)
    lookout.hint()
    lookout.pause()
    await asyncio.sleep(60)
    assert source.looks == 1
    assert asyncio.all_tasks() == {asyncio.current_task()}
    lookout.begin()
    await asyncio.sleep(0.001)
    assert source.looks == 2
    await lookout.close()


@virtual_time
async def test_a_close_that_comes_with_a_hint_ends() -> None:
    lookout, _ = looking()
    await asyncio.sleep(WAITING_SECONDS)
    lookout.hint()
    async with asyncio.timeout(60):
        await lookout.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}
