"""When a failed delivery is tried again."""

from __future__ import annotations

from typing import Final

import msgspec

from posthouse.domain.limits import RETRY_AFTER_SECONDS_MAX

# Standard Webhooks, "Deliverability and reliability": spread over about three days.
DEFAULT_SCHEDULE: Final = (5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 50400.0, 72000.0, 86400.0)
ATTEMPTS_MAX: Final = 100


class Retry(msgspec.Struct, frozen=True, gc=False):
    """A retry policy: the delay in seconds before each further attempt, and how far chance may move it.

    `by_type` are those of events whose type matches a pattern, the nearest pattern first.
    """

    schedule: tuple[float, ...] = DEFAULT_SCHEDULE
    jitter: float = 0.1  # 0.1: up to 10 % earlier or later
    by_type: tuple[tuple[str, Retry], ...] = ()

    def of(self, event_type: str) -> Retry:
        """The policy for events of a type: of the first pattern that matches it, else this one."""
        for pattern, retry in self.by_type:
            if pattern == event_type or (pattern.endswith("*") and event_type.startswith(pattern[:-1])):
                return retry
        return self

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


class Exponential(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """`base · factorⁿ` seconds, at most `max`; `attempts` counts the first one too."""

    base: float = 5.0
    factor: float = 2.0
    max: float = 3600.0
    attempts: int = 10

    def schedule(self) -> tuple[float, ...]:
        """The delays written out: one fewer than the attempts."""
        delays = []
        delay = self.base
        for _ in range(self.attempts - 1):
            delays.append(min(delay, self.max))
            delay = min(delay * self.factor, self.max)
        return tuple(delays)


class Delays(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """A list of delays, or an exponential; neither: the default."""

    schedule: tuple[float, ...] | None = None
    exponential: Exponential | None = None

    def written_out(self) -> tuple[float, ...]:
        if self.schedule is not None:
            return self.schedule
        return DEFAULT_SCHEDULE if self.exponential is None else self.exponential.schedule()


class RetrySettings(Delays, frozen=True, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """A retry policy as an endpoint is configured with it. `by_type` are delays by patterns of event types, as those of
    `events`: an exact name goes before the beginnings that match, of these the longest, and `*` comes last. The order in which
    they are written says nothing."""

    jitter: float = 0.1
    by_type: dict[str, Delays] = {}

    def policy(self) -> Retry:
        by_type = [
            (pattern, Retry(self.by_type[pattern].written_out(), self.jitter))
            for pattern in sorted(self.by_type, key=_nearness)
        ]
        return Retry(self.written_out(), self.jitter, tuple(by_type))


def _nearness(pattern: str) -> tuple[bool, int, str]:
    """Sorts exact names before beginnings, and these with the longest first; the same ones always in the same order."""
    return pattern.endswith("*"), -len(pattern), pattern
