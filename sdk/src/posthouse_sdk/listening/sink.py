"""Where events wait between the answer they were observed in and the server's 202."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, Protocol, runtime_checkable

from posthouse_sdk.listening.gauges import Held
from posthouse_sdk.listening.misses import Miss
from posthouse_sdk.listening.observation import Occurrence

HOLD_SECONDS: Final = 0.25
CLOSE_SECONDS: Final = 5.0

Durable = Future[bool]
"""Done once an event is where a kill of the process leaves it: True. False: it was given up."""


@runtime_checkable
class Sink(Protocol):
    """Takes events at once and publishes them in its own time. Thread-safe, and safe over `fork`."""

    started: bool
    """Whether `start` was called, in this process."""

    @property
    def hold_seconds(self) -> float:
        """How long an answer is held, at most, until its event is durable."""

    def attach(self, tell: Callable[[Miss], None]) -> None:
        """Whom to tell of an event that was taken and is lost after all."""

    def start(self) -> None:
        """Begin to publish, what is left from an earlier process, too. Does nothing where it has begun; never blocks."""

    def put(self, occurrence: Occurrence) -> Durable | None:
        """Take an event. None: it will never be more durable than it is.

        Raises EventError where it is none, BufferFullError, ClosedError.
        """

    def held(self) -> Held:
        """What waits, and what became of the rest."""

    def close(self, timeout: float) -> None:
        """Publish what waits, for so many seconds at most, and end. `start` begins anew."""


def no_one(_: Miss) -> None:
    """Whom a sink tells before it is attached."""
