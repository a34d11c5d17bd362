"""Writes what `settle.traffic` gathers, beside the journal: nothing waits for it, and what it cannot write is lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import structlog

from posthouse.domain.errors import PosthouseError
from posthouse.domain.ids import AppId, EndpointId
from posthouse.domain.limits import (
    TRAFFIC_ROWS_MAX,
    TRAFFIC_ROWS_PER_SECOND,
    TRAFFIC_SECONDS,
    TRAFFIC_SECONDS_MAX,
)
from posthouse.ports.clock import Clock
from posthouse.ports.traffic import TrafficBook
from posthouse.settle.traffic import Traffic

log = structlog.get_logger()

BACKLOGS_SECONDS: Final = 60.0


class TrafficWriter:
    """Writes every few seconds; where there is much, less often. `backlogs` tells what endpoints are owed."""

    def __init__(
        self,
        book: TrafficBook,
        traffic: Traffic,
        clock: Clock,
        *,
        backlogs: Callable[[], Mapping[EndpointId, tuple[int, AppId, int]]],
    ) -> None:
        self._book = book
        self._traffic = traffic
        self._clock = clock
        self._backlogs = backlogs
        self._backlogs_due = 0.0

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            rows = await self.write()
            await self._clock.sleep(min(max(TRAFFIC_SECONDS, rows / TRAFFIC_ROWS_PER_SECOND), TRAFFIC_SECONDS_MAX))

    async def write(self) -> int:
        """Write what there is; how many rows that were."""
        if self._clock.boot() >= self._backlogs_due:
            self._backlogs_due = self._clock.boot() + BACKLOGS_SECONDS
            self._traffic.owed_to(self._backlogs())
        counts = self._traffic.take()
        try:
            for start in range(0, len(counts), TRAFFIC_ROWS_MAX):
                await self._book.add(counts[start : start + TRAFFIC_ROWS_MAX])
        except PosthouseError as error:
            # It may have been written, and to add it again would count it twice.
            log.warning("traffic.lost", counts=len(counts), error=str(error))
        return len(counts)
