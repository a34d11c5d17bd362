"""Events that answers ask for: how many may follow from each other, and how many of an app there may be."""

from __future__ import annotations

from collections import Counter
from typing import Final, Protocol

from posthouse.domain.ids import AppId, EndpointId, EventId
from posthouse.domain.limits import CHAIN_DEPTH_MAX, CHAINED_PER_MINUTE_MAX
from posthouse.ports.clock import Clock

DEPTH: Final = "depth"
BUDGET: Final = "budget"

MINUTE_SECONDS: Final = 60.0


class Troubled(Protocol):
    """Told of what answers ask for and do not get. It never raises, and returns at once."""

    def chain_stopped(self, app_id: AppId, endpoint_id: EndpointId, event: EventId, *, reason: str, limit: int) -> None:
        """An event was not published, since it may be of a loop."""
        ...

    def callback_failed(
        self, app_id: AppId, endpoint_id: EndpointId, event: EventId, *, action: str, reason: str
    ) -> None:
        """Something else could not be done."""
        ...


class Silent:
    """Tells nobody."""

    def chain_stopped(self, app_id: AppId, endpoint_id: EndpointId, event: EventId, *, reason: str, limit: int) -> None:
        pass

    def callback_failed(
        self, app_id: AppId, endpoint_id: EndpointId, event: EventId, *, action: str, reason: str
    ) -> None:
        pass


class Chains:
    """Stops what may be a loop, before it is recorded: A makes B and B makes A, an answer is forwarded to its own endpoint, an
    event makes one at each of many endpoints.

    An app is in one partition, whose owner decides alone: what it counts of a minute is all there was, but for what an owner
    before it counted.
    """

    def __init__(
        self, clock: Clock, *, depth_max: int = CHAIN_DEPTH_MAX, per_minute_max: int = CHAINED_PER_MINUTE_MAX
    ) -> None:
        self._clock = clock
        self._depth_max = depth_max
        self._per_minute_max = per_minute_max
        self._minute = 0
        self._counted: Counter[AppId] = Counter()  # in this minute
        self.stopped = 0
        self.troubled: Troubled = Silent()

    def stops(self, app_id: AppId, endpoint_id: EndpointId, event: EventId, depth: int) -> str | None:
        """Count one more event, at this depth, that an answer to `event` asks for; why it must not be published, None where it
        may."""
        if depth > self._depth_max:
            reason, limit = DEPTH, self._depth_max
        else:
            minute = int(self._clock.boot() // MINUTE_SECONDS)
            if minute != self._minute:
                self._minute = minute
                self._counted.clear()
            if self._counted[app_id] < self._per_minute_max:
                self._counted[app_id] += 1
                return None
            reason, limit = BUDGET, self._per_minute_max
        self.stopped += 1
        self.troubled.chain_stopped(app_id, endpoint_id, event, reason=reason, limit=limit)
        return reason
