"""Replays: the owner of a partition carries out what is asked of it there, a step at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from posthouse.domain.errors import PosthouseError, StoreUnavailable
from posthouse.domain.limits import REPLAY_OUTSTANDING_ROWS_MAX, REPLAY_STEP_EVENTS_MAX, REPLAYS_READ_MAX
from posthouse.domain.replay import ENDPOINT_DISABLED, ENDPOINT_GONE, Replay, ReplayState, Turn, is_wanted
from posthouse.ports.clock import Clock, set_or_over
from posthouse.ports.jobs import Hold, Jobs, Work

log = structlog.get_logger()

IDLE_SECONDS: Final = 1.0  # between two looks for replays, where nobody wakes us
WAIT_SECONDS: Final = 0.25  # where there are some, and all of them wait
STEP_SECONDS: Final = 0.02  # between steps: live traffic goes first

_NONE: Final = bytes(16)


class Replays:
    """Takes the replays of owned partitions through their steps, each a transaction of its own under the partition's row.

    A step looks at a stretch of the log and owes what is wanted of it, at most so much that the endpoint's line stays short;
    all that it knows is in the job's row, so whoever owns the partition next goes on from there. `epochs` are the partitions
    that are owned, and change as they come and go. `finished` hears of each that came to its end (not of one that was
    cancelled), after that was written: a process that dies in between does not say so again.
    """

    def __init__(
        self,
        jobs: Jobs,
        clock: Clock,
        *,
        owner: bytes,
        epochs: Mapping[int, int],
        finished: Callable[[Replay], None] | None = None,
    ) -> None:
        self._jobs = jobs
        self._clock = clock
        self._owner = owner
        self._epochs = epochs
        self.finished = finished or (lambda _: None)
        self._after = _NONE
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """There may be another replay, or one that may go on."""
        self._woken.set()

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            self._woken.clear()
            try:
                seconds = await self.round()
            except StoreUnavailable as error:
                log.warning("replays.failed", error=str(error))
                seconds = IDLE_SECONDS
            if seconds == STEP_SECONDS:
                await self._clock.sleep(seconds)
            else:
                await set_or_over(self._woken, seconds)

    async def round(self) -> float:
        """One step of each replay, of at most so many at once; how long to wait for the next. Raises StoreUnavailable."""
        epochs = dict(self._epochs)
        if not epochs:
            return IDLE_SECONDS
        begun_after, self._after = self._after, _NONE
        found = await self._jobs.live(epochs, after=begun_after, limit=REPLAYS_READ_MAX)
        if len(found) == REPLAYS_READ_MAX:
            self._after = found[-1].replay.id
        moved = False
        for work in found:
            try:
                moved |= await self._step(work, epochs[work.replay.wanted.partition])
            except StoreUnavailable:
                raise
            except PosthouseError as error:
                log.warning("replay.step_failed", replay=work.replay.id.hex(), error=str(error))
        if moved or self._after != _NONE or begun_after != _NONE:
            return STEP_SECONDS
        return WAIT_SECONDS if found else IDLE_SECONDS

    async def _step(self, work: Work, epoch: int) -> bool:
        """Whether there is more to be done at once."""
        replay, hold = work.replay, Hold(self._owner, epoch)
        if work.config is None:
            self._ended(await self._jobs.settle(hold, replay, Turn.FAIL, reason=ENDPOINT_GONE))
            return False
        if not work.enabled:
            # Whoever enables it again decides whether this is still wanted.
            await self._jobs.settle(hold, replay, Turn.PAUSE, reason=ENDPOINT_DISABLED)
            return False
        if replay.state is ReplayState.PENDING or replay.bounds is None:
            bounds = replay.bounds or await self._jobs.bounds(replay.wanted)
            return await self._jobs.begin(hold, replay, bounds) is not None
        if replay.exhausted:
            if work.outstanding == 0:
                self._ended(await self._jobs.settle(hold, replay, Turn.FINISH))
            return False
        return await self._advance(work, hold, replay.bounds.last)

    async def _advance(self, work: Work, hold: Hold, last: int) -> bool:
        replay, config = work.replay, work.config
        assert config is not None
        until = min(last, work.cursor)
        if replay.position >= until or work.outstanding > REPLAY_OUTSTANDING_ROWS_MAX // 2:
            return False
        scan = await self._jobs.scan(replay.wanted, after=replay.position, until=until, limit=REPLAY_STEP_EVENTS_MAX)
        chosen = [candidate for candidate in scan.candidates if is_wanted(candidate, replay.wanted, config)]
        room = REPLAY_OUTSTANDING_ROWS_MAX - work.outstanding
        position = scan.reached
        if len(chosen) > room:
            chosen = chosen[:room]
            position = chosen[-1].seq
        scanned = sum(candidate.seq <= position for candidate in scan.candidates)
        written = await self._jobs.advance(
            hold, work, chosen, scanned=scanned, position=position, now=self._clock.now()
        )
        return written is not None

    def _ended(self, replay: Replay | None) -> None:
        if replay is not None:
            log.info("replay.ended", replay=replay.id.hex(), state=replay.state.value, selected=replay.selected)
            self.finished(replay)
