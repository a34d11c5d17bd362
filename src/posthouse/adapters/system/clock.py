"""The machine's clocks, anchored to the database's."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Final

from posthouse.domain.ids import uuid7

_RANDOM_BITS: Final = 74
_BOOT: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC) if hasattr(time, "CLOCK_MONOTONIC") else None
# Ids of one millisecond count up from a random start: their order is the order in which they were made.
_START_BITS: Final = _RANDOM_BITS - 8
_STEP_BITS: Final = 40


class SystemClock:
    """`ports.clock.Clock` on this machine. `anchor` sets how far the database's clock is from ours."""

    def __init__(self) -> None:
        self._offset = 0.0
        self._last_ms = 0
        self._last_random = 0
        self._draws = secrets.SystemRandom()

    def now(self) -> float:
        return time.time() + self._offset

    def boot(self) -> float:
        return time.monotonic() if _BOOT is None else time.clock_gettime(_BOOT)

    def new_id(self) -> bytes:
        unix_ms = int(self.now() * 1000)
        if unix_ms > self._last_ms:
            self._last_ms = unix_ms
            self._last_random = secrets.randbits(_START_BITS)
        else:
            self._last_random += 1 + secrets.randbits(_STEP_BITS)
        return uuid7(self._last_ms, self._last_random)

    def draw(self) -> float:
        return self._draws.random()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def anchor(self, database_time: float, *, asked_at: float, answered_at: float) -> float:
        """Take over the database's time, told somewhere between two readings of our own `time.time()`; the offset."""
        self._offset = database_time - (asked_at + answered_at) / 2
        return self._offset
