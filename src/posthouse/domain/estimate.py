"""When an owed delivery will be made: the cost model that the benchmark fits, `y = (a·x + b) / c`.

`a` is what one request takes, `c` how many run at once, `b` what begins and ends a drain: seconds to drain `x` deliveries.
It holds while the target's time is what costs. Past saturation (`c` over `a` more requests a second than this installation
sends) the queue is served at the installation's pace, and the estimate is too early: docs/internals/benchmarks.md.
"""

from __future__ import annotations

from typing import Final

import msgspec

from posthouse.domain.limits import LANE_CONCURRENCY

DRAIN_OVERHEAD_SECONDS: Final = 0.25
"""`b`, as `make bench` fits it (`fits.drain.b`): the change is noticed, the first page is read, the last result is written."""

ATTEMPT_SECONDS_DEFAULT: Final = 0.2
"""`a` of an endpoint that was not spoken to lately."""

PACE_MINUTES: Final = 15
"""The mean is taken over so many of the last minutes in which there were attempts."""

PACE_SECONDS_MAX: Final = 86_400.0
"""Minutes longer ago tell nothing about now."""


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How fast an endpoint takes what it is owed: its concurrency, its rate limit (requests a second, None: none), and its
    attempts of late with their summed duration.

    `open` is false where nothing is sent: it is paused, disabled, unverified or deleted, or its circuit is not closed.
    `held_until` (unix seconds) is how long the target asked to be left alone.
    """

    open: bool
    concurrency: int = LANE_CONCURRENCY
    per_second: float | None = None
    held_until: float | None = None
    attempts: int = 0
    total_us: int = 0

    @property
    def attempt_seconds(self) -> float:
        """The mean duration of an attempt; a default where there was none."""
        return self.total_us / self.attempts / 1e6 if self.attempts else ATTEMPT_SECONDS_DEFAULT

    def drain_seconds(self, deliveries: int) -> float:
        """Seconds to drain so many owed deliveries, all of them due: by the model, or by the rate where that is slower."""
        seconds = drain_seconds(deliveries, attempt_seconds=self.attempt_seconds, concurrency=self.concurrency)
        return seconds if self.per_second is None else max(seconds, deliveries / self.per_second)


def drain_seconds(
    deliveries: int, *, attempt_seconds: float, concurrency: int, overhead_seconds: float = DRAIN_OVERHEAD_SECONDS
) -> float:
    """Seconds to drain so many owed deliveries of one endpoint, all of them due: `(a·x + b) / c`."""
    return (attempt_seconds * deliveries + overhead_seconds) / concurrency


def eta_seconds(
    pace: Pace, *, position: int | None, due_at: float | None, now: float, in_flight: bool = False
) -> float | None:
    """Seconds until an owed delivery is made, if everything goes on as of late.

    `position` is how many of its endpoint's rows are due before it. Those drain while it waits for its time, so the longer
    of the two counts. One that is `in_flight` is being made now; its `due_at` says when it would have to be made again.
    None where there is no saying: nothing is sent to the endpoint, the delivery waits for another (`due_at` is None), or
    more are ahead of it than are counted (`position` is None).
    """
    if in_flight:
        return 0.0
    if not pace.open or position is None or due_at is None:
        return None
    quiet = 0.0 if pace.held_until is None else max(pace.held_until - now, 0.0)
    return max(quiet + pace.drain_seconds(position), due_at - now + pace.drain_seconds(0))
