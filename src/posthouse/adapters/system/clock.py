"""The machine's clocks, anchored to the database's."""

from __future__ import annotations

import asyncio
import os
import time
from random import Random
from typing import Final

from posthouse.domain.ids import unix_ms_of, uuid7
from posthouse.domain.limits import IDS_AHEAD_SECONDS_MAX

_BOOT: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC) if hasattr(time, "CLOCK_MONOTONIC") else None
# Ids of one millisecond count up from a random start: their order is the order in which they were made.
_START_BYTES: Final = 8
_STEP_BYTES: Final = 5
_STOCK_BYTES: Final = (
    4096  # the system is asked for randomness by the page: a call for each id would cost more than the id
)


class SystemClock:
    """`ports.clock.Clock` on this machine. `anchor` sets how far the database's clock is from ours."""

    def __init__(self) -> None:
        self._offset = 0.0
        self._last_ms = 0
        self._last_random = 0
        self._stock = b""
        self._used = 0
        self._draws = Random(os.urandom(32))  # noqa: S311 - spreads retries in time, and guards nothing

    def now(self) -> float:
        return time.time() + self._offset

    def boot(self) -> float:
        return time.monotonic() if _BOOT is None else time.clock_gettime(_BOOT)

    def new_id(self) -> bytes:
        unix_ms = int(self.now() * 1000)
        if unix_ms > self._last_ms:
            self._last_ms = unix_ms
            self._last_random = int.from_bytes(self._random(_START_BYTES), "big")
        else:
            self._last_random += 1 + int.from_bytes(self._random(_STEP_BYTES), "big")
        return uuid7(self._last_ms, self._last_random)

    def ids_after(self, newest: bytes) -> None:
        unix_ms = unix_ms_of(newest)
        if self._last_ms <= unix_ms < (self.now() + IDS_AHEAD_SECONDS_MAX) * 1000:
            self._last_ms = unix_ms + 1
            self._last_random = int.from_bytes(self._random(_START_BYTES), "big")

    def _random(self, size: int) -> bytes:
        """Fresh bytes of the system's randomness, each used once."""
        if self._used + size > len(self._stock):
            self._stock = os.urandom(_STOCK_BYTES)
            self._used = 0
        taken = self._stock[self._used : self._used + size]
        self._used += size
        return taken

    def draw(self) -> float:
        return self._draws.random()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def anchor(self, database_time: float, *, asked_at: float, answered_at: float) -> float:
        """Take over the database's time, told somewhere between two readings of our own `time.time()`; the offset.

        It moves only as far as what was told contradicts it: an answer that was long on its way (a slow connection, a process
        that was stopped meanwhile) says little, and the middle of so long a time may be seconds off.
        """
        self._offset = min(max(self._offset, database_time - answered_at), database_time - asked_at)
        return self._offset
