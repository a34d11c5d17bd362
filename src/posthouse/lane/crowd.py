"""What others must not wait for: an event for very many endpoints, and rows, of which there may be millions."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable

from posthouse.domain.ids import EndpointId
from posthouse.domain.limits import CROWD_STARTS_MAX
from posthouse.lane.budget import Budget
from posthouse.lane.lane import Lane


class Crowd:
    """Lanes that wait to start such a delivery, oldest first: a few are started in each turn of the event loop, and from one
    half of the sockets, so that what comes singly passes between them."""

    def __init__(self, budget: Budget, start: Callable[[Lane], None]) -> None:
        self._budget = budget
        self._start = start
        self._lanes: OrderedDict[EndpointId, Lane] = OrderedDict()
        self._left = CROWD_STARTS_MAX  # in this turn
        self._turning = False

    def add(self, lane: Lane) -> None:
        """Its turn will come."""
        self._lanes[lane.endpoint.id] = lane
        self.pump_soon()

    def remove(self, endpoint_id: EndpointId) -> None:
        self._lanes.pop(endpoint_id, None)

    def admits(self, lane: Lane) -> bool:
        """Whether one may start now; otherwise the lane's turn will come."""
        if self._left > 0 and not self._budget.half_full:
            self._left -= 1
            self._next_turn()
            return True
        self.add(lane)
        return False

    def pump_soon(self) -> None:
        """Start some in the next turn of the loop, if there are any and room for them."""
        if self._lanes and not self._budget.half_full:
            self._next_turn()

    def _next_turn(self) -> None:
        if not self._turning:
            self._turning = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._turning = False
        self._left = CROWD_STARTS_MAX
        for _ in range(min(CROWD_STARTS_MAX, len(self._lanes))):
            if self._left <= 0 or self._budget.half_full:
                break  # whoever ends a request comes here again
            _, lane = self._lanes.popitem(last=False)
            self._start(lane)
        self.pump_soon()
