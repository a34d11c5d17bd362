"""The runner of a source: read, publish, acknowledge; again and again."""

from __future__ import annotations

import asyncio

import structlog

from posthouse.domain.errors import PosthouseError
from posthouse.domain.limits import TRIGGER_AGAIN_SECONDS, TRIGGER_LOOK_SECONDS, TRIGGER_READ_EVENTS_MAX
from posthouse.intake.observed import ObservedEvents
from posthouse.ports.clock import Clock, set_or_over
from posthouse.ports.triggers import Source

log = structlog.get_logger()


class Runner:
    """Publishes what one source sees, until closed. Each source has a runner of its own: one that fails holds up no other.

    What is read at once goes to the log in its order and in one commit, mostly; one that is refused holds up no other.
    """

    def __init__(self, source: Source, door: ObservedEvents, clock: Clock) -> None:
        self._source = source
        self._door = door
        self._clock = clock
        self._woken = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    def wake(self) -> None:
        """There may be something new."""
        self._woken.set()

    async def close(self) -> None:
        """Finish the round under way, and begin no other."""
        self._closing = True
        self.wake()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        while not self._closing:
            self._woken.clear()
            try:
                seconds = await self.round()
            except PosthouseError as error:
                log.warning("trigger.failed", kind=self._source.kind, error=str(error))
                seconds = TRIGGER_AGAIN_SECONDS
            except Exception:
                log.exception("trigger.failed", kind=self._source.kind)
                seconds = TRIGGER_AGAIN_SECONDS
            if seconds > 0 and not self._closing:
                await set_or_over(self._woken, min(seconds, TRIGGER_LOOK_SECONDS))

    async def round(self) -> float:
        """One reading, published and acknowledged; after how many seconds the next one is due. Raises what the source does."""
        reading = await self._source.read(limit=TRIGGER_READ_EVENTS_MAX)
        if not reading.sightings:
            return reading.wait_seconds
        verdicts = await asyncio.gather(*(self._door.judged(sighting.draft) for sighting in reading.sightings))
        await self._source.acknowledge(list(zip(reading.sightings, verdicts, strict=True)))
        return reading.wait_seconds
