"""Lanes that may not start what they could: the budget or the gate refused them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from posthouse.domain.ids import EndpointId
from posthouse.lane.budget import Budget
from posthouse.lane.lane import Lane


class Stalled:
    """They try again in turn, the oldest first; one that is refused again goes to the end."""

    def __init__(self, budget: Budget, may_start: Callable[[], bool], start: Callable[[Lane], None]) -> None:
        self._budget = budget
        self._may_start = may_start
        self._start = start
        self.lanes: OrderedDict[EndpointId, Lane] = OrderedDict()
        """Those that wait."""

    def __len__(self) -> int:
        return len(self.lanes)

    def add(self, lane: Lane) -> None:
        self.lanes[lane.id] = lane

    def remove(self, endpoint_id: EndpointId) -> None:
        self.lanes.pop(endpoint_id, None)

    def restart(self, most: int) -> None:
        """Let so many try again, while there is any use."""
        for _ in range(min(most, len(self.lanes))):
            if self._budget.full or not self._may_start():
                return
            _, lane = self.lanes.popitem(last=False)
            self._start(lane)
