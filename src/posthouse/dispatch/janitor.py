"""Housekeeping: days ahead and past, the clock's anchor, what apps with a quota store, what is owed, snapshots, lateness."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from posthouse.domain.errors import PosthouseError
from posthouse.ports.clock import Clock
from posthouse.ports.upkeep import Owed, Upkeep

log = structlog.get_logger()

TICK_SECONDS: Final = 15.0
DAYS_SECONDS: Final = 600.0
DAY_SECONDS: Final = 86_400.0


class Janitor:
    """Does the rounds every 15 seconds; days every ten minutes. Whatever fails is logged and tried at the next round. `counted`
    is told how much is owed by all."""

    def __init__(
        self,
        upkeep: Upkeep,
        clock: Clock,
        *,
        retention_days: int,
        anchor: Callable[[], Awaitable[object]],
        measure: Callable[[], Awaitable[object]],
        present: Callable[[], Awaitable[object]],
        counted: Callable[[int], None],
    ) -> None:
        self._upkeep = upkeep
        self._clock = clock
        self._retention_days = retention_days
        self._anchor = anchor
        self._measure = measure
        self._present = present
        self._counted = counted
        self._days_due = 0.0
        self.owed = Owed(0, None)
        self.oldest_snapshot_seconds = 0.0
        self.late_seconds = 0.0  # how much later than asked for the last round began

    async def run(self) -> None:
        """Go round until cancelled."""
        while True:
            for name, work in (
                ("clock", self._anchor),
                ("owed", self._count),
                ("snapshot", self._snapshot),
                ("days", self._days),
                ("quotas", self._measure),
                ("presence", self._present),
            ):
                try:
                    await work()
                except PosthouseError as error:
                    log.warning("janitor.failed", work=name, error=str(error))
            due = self._clock.boot() + TICK_SECONDS
            await self._clock.sleep(TICK_SECONDS)
            self.late_seconds = max(self._clock.boot() - due, 0.0)

    async def _count(self) -> None:
        self.owed = await self._upkeep.owed()
        self._counted(self.owed.rows)

    async def _snapshot(self) -> None:
        self.oldest_snapshot_seconds = await self._upkeep.oldest_snapshot_seconds()

    async def _days(self) -> None:
        if self._clock.boot() < self._days_due:
            return
        now = self._clock.now()
        made = await self._upkeep.ensure_days(now)
        retired = await self._upkeep.retire_days(now, retention_days=self._retention_days)
        if made or retired:
            log.info("days.turned", made=made, retired=retired)
        # A grant that ended is kept as long as an event may be there that it covered.
        while dropped := await self._upkeep.drop_grants(before=now - (self._retention_days + 1) * DAY_SECONDS):
            log.info("grants.dropped", ended=dropped)
        while dropped := await self._upkeep.drop_jobs(before=now - self._retention_days * DAY_SECONDS):
            log.info("jobs.dropped", ended=dropped)
        self._days_due = self._clock.boot() + DAYS_SECONDS
