"""Where the partitions end, looked up by one poller for all streams of a process, while there are any."""

from __future__ import annotations

import asyncio

import structlog

from posthouse.domain.errors import PosthouseError
from posthouse.domain.ids import AttemptId
from posthouse.domain.limits import STREAM_FAILED_SECONDS, STREAM_HINT_SECONDS, STREAM_POLL_SECONDS
from posthouse.ports.clock import Clock, set_or_over
from posthouse.ports.stream import Ends, StreamSource

log = structlog.get_logger()


class Lookout:
    """`ends` is what was seen last, `at` (unix seconds) a moment before that. `news` is set, and replaced, at each change.

    `over` is set for good by `end`: whoever follows has to stop.
    """

    def __init__(self, source: StreamSource, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._hinted = asyncio.Event()
        self.ends = Ends({}, {}, AttemptId(b""))
        self.at = 0.0
        self.news = asyncio.Event()
        self.over = asyncio.Event()
        self.turn = 0  # how often the log turned out to be another one

    def restart(self) -> None:
        """The store's history is another one: positions that streams hold may be beyond its end. They end; a client that comes
        again with such a position is told."""
        self.turn += 1
        self._tell()

    async def look(self) -> tuple[Ends, float]:
        """Where the partitions end now, and when it was asked for. Raises StoreUnavailable."""
        at = self._clock.now()
        ends = await self._source.ends(since=at)
        if at > self.at:
            changed = ends != self.ends
            self.ends, self.at = ends, at
            if changed:
                self._tell()
        return ends, at

    def hint(self) -> None:
        """Something was written: look soon. Never waits; losing it changes latency only."""
        self._hinted.set()

    def begin(self) -> None:
        """Look from now on."""
        if self._task is None and not self.over.is_set():
            self._task = asyncio.create_task(self._run())
            self._task.add_done_callback(self._died)

    def pause(self) -> None:
        """Nobody follows: look no more, until `begin`."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def end(self) -> None:
        """Everybody has to stop, now."""
        self.over.set()
        self._tell()

    async def close(self) -> None:
        """`end`, and wait until nobody looks any more."""
        self.end()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        well = True
        while True:
            self._hinted.clear()
            pause = STREAM_POLL_SECONDS
            try:
                await self.look()
            except PosthouseError as error:
                if well:
                    log.warning("streams.look_failed", error=str(error))
                well, pause = False, STREAM_FAILED_SECONDS
            else:
                well = True
            await self._clock.sleep(STREAM_HINT_SECONDS)
            await set_or_over(self._hinted, pause - STREAM_HINT_SECONDS)

    def _tell(self) -> None:
        news, self.news = self.news, asyncio.Event()
        news.set()

    def _died(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            # Without it those who follow would wait for ever; their clients can go to another server.
            log.critical("streams.lookout_died", exc_info=error)
            self.end()
