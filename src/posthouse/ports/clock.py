"""Time, chance and new ids: arguments everywhere else, so that a test owns them."""

from __future__ import annotations

import asyncio
from typing import Protocol


class Clock(Protocol):
    """Some clocks and a die.

    `now` is unix seconds anchored to the database's clock. `boot` is monotonic seconds that go on while the machine
    sleeps: leases and waits are counted on it.
    """

    def now(self) -> float: ...

    def boot(self) -> float: ...

    def cpu(self) -> float:
        """Seconds for which the calling thread has computed."""
        ...

    def new_id(self) -> bytes:
        """A UUIDv7 at `now`, greater than every earlier one of this process."""
        ...

    def ids_after(self, newest: bytes) -> None:
        """Every id from now on is greater than this one too (which is at most a little ahead of `now`; else it is ignored)."""
        ...

    def draw(self) -> float:
        """Uniform in [0, 1)."""
        ...

    async def sleep(self, seconds: float) -> None: ...


async def set_or_over(event: asyncio.Event, seconds: float | None) -> None:
    """Until the event is set, or so many seconds are over; None: until it is set."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
