"""The machine's clocks, anchored to the database's."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from functools import partial
from random import Random
from struct import Struct
from typing import Final

from posthouse.domain.ids import ID_BYTES, unix_ms_of, uuid7
from posthouse.domain.limits import IDS_AHEAD_SECONDS_MAX

_BOOT: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC) if hasattr(time, "CLOCK_MONOTONIC") else None
# Ids of one millisecond count up from a random start: their order is the order in which they were made.
_STEP_BITS: Final = 40
# The system is asked for randomness by the page: a call for each id would cost more than the id.
_RANDOM: Final = Struct("=512Q")
# The part of an id that counts up (RFC 9562: rand_b). Beyond it, the next millisecond begins.
_COUNTED: Final = (1 << 62) - 1


class SystemClock:
    """`ports.clock.Clock` on this machine. `anchor` sets how far the database's clock is from ours."""

    # No method: it is asked six times for each delivery.
    boot: Final = staticmethod(time.monotonic if _BOOT is None else partial(time.clock_gettime, _BOOT))

    cpu: Final = staticmethod(time.thread_time)

    def __init__(self) -> None:
        self._offset = 0.0
        self._last_ms = 0
        self._last = 0  # the last id, as a number
        self._last_max = 0  # the highest of its millisecond that differs from it in what counts only
        self._stock: Iterator[int] = iter(())
        self._draws = Random(os.urandom(32))  # noqa: S311 - spreads retries in time, and guards nothing

    def now(self) -> float:
        return time.time() + self._offset

    def new_id(self) -> bytes:
        # Flat: it is asked for twice for each event.
        unix_ms = int((time.time() + self._offset) * 1000)
        if unix_ms <= self._last_ms:
            step = next(self._stock, None)
            if step is None:
                step = self._random()
            number = self._last + 1 + (step >> 64 - _STEP_BITS)
            if number <= self._last_max:
                self._last = number
                return number.to_bytes(ID_BYTES, "big")
            unix_ms = self._last_ms + 1
        return self._begin(unix_ms)

    def ids_after(self, newest: bytes) -> None:
        unix_ms = unix_ms_of(newest)
        if self._last_ms <= unix_ms < (self.now() + IDS_AHEAD_SECONDS_MAX) * 1000:
            self._begin(unix_ms + 1)

    def _begin(self, unix_ms: int) -> bytes:
        """The first id of a millisecond."""
        first = uuid7(unix_ms, self._random())
        self._last_ms = unix_ms
        self._last = int.from_bytes(first, "big")
        self._last_max = self._last | _COUNTED
        return first

    def _random(self) -> int:
        """64 fresh bits of the system's randomness, used once."""
        bits = next(self._stock, None)
        if bits is None:
            self._stock = iter(_RANDOM.unpack(os.urandom(_RANDOM.size)))
            bits = next(self._stock)
        return bits

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
