"""The time limits of what is waited for before a connection is there: DNS, TCP, proxy, TLS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import monotonic


def _nobody() -> None: ...


class Waits:
    """Time limits that can be ended early, all at once, and that grow by what a standstill of this process took.

    They are timers of asyncio: a new connection costs a hundred times more than its timers do. `begun` is called as a
    limit begins, so that somebody notices a standstill while anything is waited for.
    """

    def __init__(self, begun: Callable[[], None] = _nobody) -> None:
        self.stood = 0.0
        """Seconds that this process is known to have stood still."""
        self._begun = begun
        self._limits: set[asyncio.Timeout] = set()

    @property
    def pending(self) -> int:
        """How many limits run."""
        return len(self._limits)

    def now(self) -> float:
        """Monotonic seconds, without those of standstills: a deadline on this clock is not missed by one."""
        return monotonic() - self.stood

    def given_back(self, since: float) -> float:
        """When something that began at `since` on this clock would have begun, in monotonic seconds, had it been held up by no
        standstill; not later than now."""
        return min(since + self.stood, monotonic())

    def microseconds(self, since: float) -> int:
        """How long ago that was, on this clock: nothing, where all since then counts as a standstill's."""
        return max(int((self.now() - since) * 1_000_000), 0)

    @asynccontextmanager
    async def within(self, seconds: float) -> AsyncIterator[None]:
        """A time limit; TimeoutError ends what runs under it."""
        self._begun()
        async with asyncio.timeout(seconds) as limit:
            self._limits.add(limit)
            try:
                yield
            finally:
                self._limits.discard(limit)

    def stood_still(self, seconds: float) -> None:
        """Give back the time of a standstill to all that is waited for."""
        self.stood += seconds
        for limit in self._limits:
            when = limit.when()
            if when is not None and not limit.expired():
                limit.reschedule(when + seconds)

    def hurry(self) -> None:
        """Let the time of everything under way be over."""
        now = asyncio.get_running_loop().time()
        for limit in self._limits:
            if not limit.expired():
                limit.reschedule(now)
