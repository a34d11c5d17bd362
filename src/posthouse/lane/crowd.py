"""A crowd: the deliveries of an event for very many endpoints, which others must not wait for."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from posthouse.domain.limits import CROWD_STARTS_MAX
from posthouse.lane.budget import Budget
from posthouse.lane.lane import Lane


class Crowd:
    """Lanes that were offered one, oldest first: a few are started in each turn of the event loop, and from one half of the
    sockets, so that others pass between them."""

    def __init__(self, budget: Budget, start: Callable[[Lane], None]) -> None:
        self._budget = budget
        self._start = start
        self._lanes: deque[Lane] = deque()
        self._pumping = False

    def add(self, lane: Lane) -> None:
        self._lanes.append(lane)
        self.pump_soon()

    def pump_soon(self) -> None:
        """Start some in the next turn of the loop, if there are any and room for them."""
        if self._lanes and not self._pumping and not self._budget.half_full:
            self._pumping = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        self._pumping = False
        for _ in range(min(CROWD_STARTS_MAX, len(self._lanes))):
            if self._budget.half_full:
                return  # whoever ends a request comes here again
            self._start(self._lanes.popleft())
        self.pump_soon()
