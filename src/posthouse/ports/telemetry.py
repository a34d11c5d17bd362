"""What the engine tells of itself. Every call is on the hot path: an adapter counts, and does nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from posthouse.domain.cache_use import CacheFacts
from posthouse.domain.trigger import TriggerFacts


class Telemetry(Protocol):
    def published(self, count: int, size: int) -> None:
        """Events are in the log for good; `size` is the sum of their payloads in bytes."""
        ...

    def publish_batch(self, events: int, seconds: float) -> None:
        """One append to the log, of one or more requests together, took this long."""
        ...

    def attempt(self, outcome: str, reason: str, kind: str, duration_seconds: float) -> None:
        """A delivery was attempted, or given up without a request (then the duration is 0)."""
        ...

    def delivered_after(self, seconds: float) -> None:
        """A target confirmed an event this long after it was published."""
        ...

    def journal_batch(self, results: int, seconds: float) -> None:
        """One journal transaction took this long."""
        ...

    def schedule_fired(self, late_seconds: float) -> None:
        """A schedule's event was published, for an occurrence that was due so long before it was taken."""
        ...

    def watch(self, name: str, read: Callable[[], float | None]) -> None:
        """Read a gauge, or a counter kept elsewhere, whenever it is asked for. None, or an exception: not known just now.

        Raises ValueError for a name that the adapter does not know: a gauge is described where it is shown.
        """
        ...

    def watch_triggers(self, read: Callable[[], Iterable[TriggerFacts]]) -> None:
        """Read how the triggers go that this process works on, whenever it is asked for."""
        ...

    def watch_cache(self, name: str, read: Callable[[], CacheFacts]) -> None:
        """Read what a cache holds and how it is used whenever it is asked for, as `watch` does."""
        ...
