"""What others must not wait for: an event for very many endpoints, rows, of which there may be millions, and whatever there is
to send, while somebody waits for what they publish to be stored."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from posthouse.domain.ids import EndpointId
from posthouse.domain.limits import CROWD_STARTS_MAX, ROWS_BESIDE_LIVE
from posthouse.lane.budget import Budget
from posthouse.lane.lane import Lane
from posthouse.ports.clock import Clock

LIVE_SECONDS: Final = 0.25  # while no live delivery started for so long, rows go as they can
TOKENS_MAX: Final = 4.0 * ROWS_BESIDE_LIVE  # a burst of live ones may be followed by one of rows
TURN_SECONDS: Final = 0.01  # one or two rows: more at once are felt by what is published meanwhile


class RowPace:
    """How many rows may start beside live deliveries: one for four of those, and at least ROWS_BESIDE_LIVE a second.

    What the rows of an outage cost is not only our time: each is a page read, a result written and a row removed, and what is
    published meanwhile shares the store's log with all that. `live` counts live starts; its holder adds to it.
    """

    __slots__ = ("_at", "_live_at", "_seen", "_tokens", "live")

    def __init__(self) -> None:
        self.live = 0
        self._seen = 0
        self._live_at = -math.inf
        self._at = 0.0
        self._tokens = 0.0

    def ready(self, boot: float) -> bool:
        """Whether a row may start now."""
        if self.live != self._seen:
            self._live_at = boot
        elif boot - self._live_at > LIVE_SECONDS:
            self._at = boot
            return True
        earned = max((boot - self._at) * ROWS_BESIDE_LIVE, 0.25 * (self.live - self._seen))
        self._tokens = min(self._tokens + earned, TOKENS_MAX)
        self._seen = self.live
        self._at = boot
        return self._tokens >= 1

    def take(self, boot: float) -> bool:
        """Whether a row may start now, which it then does."""
        if not self.ready(boot):
            return False
        self._tokens = max(self._tokens - 1, 0.0)
        return True


class Crowd:
    """Lanes that wait to start such a delivery, oldest first: a few are started in each turn of the event loop, and from one
    half of the sockets, so that what comes singly passes between them. With a `pace`, a turn waits for that, too; then, where
    one half of the sockets is taken, a lane may still have its share of the next quarter, so that rows do not wait for
    whatever hangs in the first half."""

    def __init__(
        self,
        budget: Budget,
        clock: Clock,
        start: Callable[[Lane], None],
        pace: RowPace | None = None,
        starts_max: int = CROWD_STARTS_MAX,
    ) -> None:
        self._budget = budget
        self._clock = clock
        self._start = start
        self._pace = pace
        self._lanes: OrderedDict[EndpointId, Lane] = OrderedDict()
        self._starts_max = starts_max
        self._left = starts_max  # in this turn
        self._turning = False
        self._in_turn = False  # one of those that wait starts what it may
        self._in_vain = False  # the last turn started nothing: those whose turn it was have their share

    def add(self, lane: Lane) -> None:
        """Its turn will come."""
        self._lanes[lane.id] = lane
        self.pump_soon()

    def remove(self, endpoint_id: EndpointId) -> None:
        self._lanes.pop(endpoint_id, None)

    def admits(self, lane: Lane) -> bool:
        """Whether one may start now; otherwise the lane's turn will come. A lane that has just ended a request does not
        overtake those that wait: it could go on like that for as long as it has any."""
        if (
            (self._lanes and not self._in_turn)
            or self._left <= 0
            or not self._budget.admits_row(lane_sockets=lane.requests)
            or not self._takes()
        ):
            self.add(lane)
            return False
        self._left -= 1
        self._next_turn()
        return True

    def pump_soon(self) -> None:
        """Start some in the next turn, if there are any and room for them."""
        if self._lanes and not self._full and not self._in_turn:
            self._next_turn()

    @property
    def _full(self) -> bool:
        return self._budget.half_full if self._pace is None else self._budget.full_for_rows

    def _takes(self) -> bool:
        return self._pace is None or self._pace.take(self._clock.boot())

    def _ready(self) -> bool:
        return self._pace is None or self._pace.ready(self._clock.boot())

    def _next_turn(self) -> None:
        if self._turning:
            return
        self._turning = True
        loop = asyncio.get_running_loop()
        if self._ready() and not (self._in_vain and self._budget.half_full):
            loop.call_soon(self._turn)
        else:
            loop.call_later(TURN_SECONDS, self._turn)

    def _turn(self) -> None:
        self._turning = False
        self._left = self._starts_max
        self._in_turn = True
        try:
            for _ in range(min(self._starts_max, len(self._lanes))):
                if self._left <= 0 or self._full or not self._ready():
                    break  # whoever ends a request comes here again, or the next turn does
                _, lane = self._lanes.popitem(last=False)
                self._start(lane)
        finally:
            self._in_turn = False
        self._in_vain = self._left == self._starts_max
        self.pump_soon()
