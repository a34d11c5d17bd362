"""When a failed delivery is tried again."""

from __future__ import annotations

from typing import Final

import msgspec

from posthouse.domain.limits import RETRY_AFTER_SECONDS_MAX

# Standard Webhooks, "Deliverability and reliability": spread over about three days.
DEFAULT_SCHEDULE: Final = (5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 50400.0, 72000.0, 86400.0)
ATTEMPTS_MAX: Final = 100


class Retry(msgspec.Struct, frozen=True, gc=False):
    """A retry policy: the delay in seconds before each further attempt, and how far chance may move it."""

    schedule: tuple[float, ...] = DEFAULT_SCHEDULE
    jitter: float = 0.1  # 0.1: up to 10 % earlier or later

    @classmethod
    def exponential(
        cls, *, base: float, factor: float, maximum: float, attempts: int, jitter: float = 0.1
    ) -> Retry:
        """`base · factorⁿ` seconds, at most `maximum`; `attempts` counts the first one too."""
        delays = []
        delay = base
        for _ in range(attempts - 1):
            delays.append(min(delay, maximum))
            delay = min(delay * factor, maximum)
        return cls(tuple(delays), jitter)

    def delay(self, number: int, *, draw: float, floor: float | None = None) -> float | None:
        """Seconds until the attempt after attempt `number` (from 1); None when there is none left.

        `draw` is uniform in [0, 1). `floor` is what the target asked for (`Retry-After`), clamped to a day: we may wait
        longer than asked, never less.
        """
        if number > len(self.schedule):
            return None
        delay = self.schedule[number - 1] * (1 + self.jitter * (2 * draw - 1))
        if floor is not None:
            delay = max(delay, min(floor, RETRY_AFTER_SECONDS_MAX))
        return delay
