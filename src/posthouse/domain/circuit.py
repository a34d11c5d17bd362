"""The circuit of a target URL: after too many failures nothing is sent but a probe now and then. Pure; one total table.

    closed ──too many failures──► open ──a probe is due──► half open ──enough confirmed──► closed
                                   ▲                          │
                                   └──────────any failure─────┘

Open, it lets nothing pass until a probe is due; each probe that fails makes the next one wait longer. Half open, it lets one
request pass, and one more at a time for each that was confirmed, so that a target that comes back is not run over.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec


class CircuitState(StrEnum):
    """What a circuit lets pass."""

    CLOSED = "closed"  # everything
    OPEN = "open"  # nothing, until a probe is due
    HALF_OPEN = "half_open"  # a probe, and then a few more


class Sign(StrEnum):
    """What moves a circuit."""

    TRIPPED = "tripped"  # of the last requests too many failed
    PROBED = "probed"  # a request was let pass although the circuit is open
    FAILED = "failed"  # a request that began in this state failed
    RECOVERED = "recovered"  # enough requests in a row were confirmed


# Each request asks four times, too: to look a member up in its class takes Python 3.11 three times as long.
_CLOSED, _OPEN, _HALF = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN

TRANSITIONS: Final[dict[tuple[CircuitState, Sign], CircuitState]] = {
    (_CLOSED, Sign.TRIPPED): _OPEN,
    (_CLOSED, Sign.PROBED): _CLOSED,
    (_CLOSED, Sign.FAILED): _CLOSED,
    (_CLOSED, Sign.RECOVERED): _CLOSED,
    (_OPEN, Sign.TRIPPED): _OPEN,
    (_OPEN, Sign.PROBED): _HALF,
    (_OPEN, Sign.FAILED): _OPEN,
    (_OPEN, Sign.RECOVERED): _OPEN,
    (_HALF, Sign.TRIPPED): _OPEN,
    (_HALF, Sign.PROBED): _HALF,
    (_HALF, Sign.FAILED): _OPEN,
    (_HALF, Sign.RECOVERED): _CLOSED,
}


class CircuitPolicy(msgspec.Struct, frozen=True, gc=False):
    """When a circuit opens, and how it is tried again."""

    failure_ratio: float = 0.5  # of the requests in the window
    requests_min: int = 10  # in the window, before the ratio means anything
    window_seconds: float = 30.0
    probe_seconds: float = 5.0  # until the first probe
    probe_factor: float = 2.0
    probe_seconds_max: float = 300.0
    recovery_requests: int = 5  # confirmed in a row while half open


DEFAULT_POLICY: Final = CircuitPolicy()


class Health(msgspec.Struct, frozen=True, gc=False):
    """How an endpoint has been doing, as it is stored and shown. Times are unix seconds."""

    failing_since: float | None = None  # it has confirmed nothing since then
    circuit: CircuitState = CircuitState.CLOSED
    opened_at: float | None = None  # since when its circuit is not closed
    probe_at: float | None = None  # open: when it is tried next
    trips: int = 0  # how often in a row it opened: the next interval
    held_until: float | None = None  # the target asked for this long (Retry-After)


HEALTHY: Final = Health()

_BUCKETS: Final = 2


class Circuit:
    """The circuit of one URL, in its owner's memory.

    Ask `admits`, tell `began`, and give what `began` answered to `ended`: what began in an earlier state moves nothing.
    """

    __slots__ = ("_bucket_at", "_confirmed", "_counts", "_generation", "_policy", "_running", "_span", "opened_at",
                 "probe_at", "state", "trips")  # fmt: skip

    def __init__(self, policy: CircuitPolicy, health: Health = HEALTHY) -> None:
        self._policy = policy
        self._span = policy.window_seconds / _BUCKETS
        # Half open on record: its owner died with the probe under way, and its successor tries again.
        self.state = CircuitState.CLOSED if health.circuit is CircuitState.CLOSED else CircuitState.OPEN
        self.opened_at = health.opened_at
        self.probe_at = health.probe_at or 0.0
        self.trips = health.trips
        self._generation = 0
        self._running = 0  # since the circuit is half open
        self._confirmed = 0
        self._counts = [0, 0, 0, 0]  # requests and failures: of this half of the window, of the one before
        self._bucket_at = 0.0

    @property
    def closed(self) -> bool:
        return self.state is _CLOSED

    def admits(self, now: float) -> bool:
        """Whether a request may begin."""
        if self.state is _CLOSED:
            return True
        if self.state is _OPEN:
            return now >= self.probe_at
        return self._running <= self._confirmed

    def began(self, now: float) -> int:
        """A request begins, which `admits` allowed; the token for `ended`."""
        if self.state is _OPEN:
            self._move(Sign.PROBED, now)
        if self.state is _HALF:
            self._running += 1
        return self._generation

    def ended(self, token: int, *, failed: bool | None, now: float) -> bool:
        """A request ended: `failed` says whether the target is to blame for anything, None where it says nothing about the
        target (it was not sent after all). Whether the circuit moved."""
        if token != self._generation:
            return False
        before = self.state
        if before is _HALF:
            self._running -= 1
            if failed:
                self._move(Sign.FAILED, now)
            elif failed is not None:
                self._confirmed += 1
                if self._confirmed >= self._policy.recovery_requests:
                    self._move(Sign.RECOVERED, now)
        elif before is _CLOSED and failed is not None and self._count(failed, now):
            self._move(Sign.TRIPPED, now)
        return self.state is not before

    def _count(self, failed: bool, now: float) -> bool:
        """Count a request of a closed circuit; whether too many have failed."""
        policy, counts = self._policy, self._counts
        span = self._span
        if now >= self._bucket_at + span:
            stale = now >= self._bucket_at + 2 * span
            self._counts = counts = [0, 0, 0, 0] if stale else [0, 0, counts[0], counts[1]]
            self._bucket_at = now if stale else self._bucket_at + span
        counts[0] += 1
        counts[1] += failed
        requests, failures = counts[0] + counts[2], counts[1] + counts[3]
        return failed and requests >= policy.requests_min and failures >= policy.failure_ratio * requests

    def _move(self, sign: Sign, now: float) -> None:
        before, self.state = self.state, TRANSITIONS[self.state, sign]
        if self.state is before:
            return
        self._generation += 1
        self._running = 0
        self._confirmed = 0
        if self.state is CircuitState.OPEN:
            policy = self._policy
            wait = min(policy.probe_seconds * policy.probe_factor ** min(self.trips, 64), policy.probe_seconds_max)
            self.trips += 1
            self.probe_at = now + wait
            if self.opened_at is None:
                self.opened_at = now
        elif self.state is CircuitState.CLOSED:
            self.trips = 0
            self.probe_at = 0.0
            self.opened_at = None
            self._counts = [0, 0, 0, 0]
