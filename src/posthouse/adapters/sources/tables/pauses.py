"""How long to wait until the next look at a table of changes, where nobody says that there is something."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

GROWTH: Final = 1.5
BUSY_CHANGES_PER_SECOND: Final = 100
BUSY_SECONDS: Final = 1.0


class Pauses:
    """Pauses grow from the shortest to the longest while nothing comes, and begin anew as something does. `now` is a monotonic
    clock, in seconds."""

    def __init__(self, now: Callable[[], float], shortest_seconds: float, longest_seconds: float) -> None:
        self._now = now
        self._shortest = shortest_seconds
        self._longest = longest_seconds
        self._next = shortest_seconds
        self._counted = 0
        self._counted_since = 0.0
        self._busy_until = 0.0

    def came(self, changes: int) -> None:
        """So many were read, perhaps none."""
        now = self._now()
        if now - self._counted_since > 1.0:
            self._counted, self._counted_since = 0, now
        self._counted += changes
        if changes:
            self._next = self._shortest
            if self._counted >= BUSY_CHANGES_PER_SECOND:
                self._busy_until = now + BUSY_SECONDS

    @property
    def is_busy(self) -> bool:
        """Whether so many came lately that it is better to look than to be told."""
        return self._now() < self._busy_until

    def next(self) -> float:
        """Seconds until the next look."""
        pause = self._shortest if self.is_busy else self._next
        self._next = min(self._next * GROWTH, self._longest)
        return pause
