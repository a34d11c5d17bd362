"""Schedules as they are stored: managed from anywhere (`ScheduleBook`), taken to be fired by whoever comes first
(`ScheduleQueue`). The store's clock decides what is due, and grants and ends the leases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from posthouse.domain.ids import AppId, EventId, ScheduleId
from posthouse.domain.schedule import Schedule
from posthouse.domain.verdict import Verdict
from posthouse.ports.directory import Audit


class ScheduleBook(Protocol):
    """A change is one transaction with its audit entry, as in `ports.directory`."""

    async def page(self, *, app_id: AppId | None, before: bytes, limit: int) -> list[Schedule]:
        """Newest first, from below an id; those of one app, or all."""
        ...

    async def get(self, reference: str) -> Schedule | None:
        """The schedule with this id or uid."""
        ...

    async def create(self, schedule: Schedule, audit: Audit, *, schedules_max: int) -> Schedule | None:
        """It begins now. None where its app is gone. Raises Conflict (codes `uid_taken`, `too_many_schedules`)."""
        ...

    async def change(
        self, schedule_id: ScheduleId, change: Callable[[Schedule], Schedule], audit: Audit
    ) -> Schedule | None:
        """None where it, or its new app, is gone. Raises Conflict (code `uid_taken`)."""
        ...

    async def delete(
        self, schedule_id: ScheduleId, audit: Audit, *, check: Callable[[Schedule], None] | None = None
    ) -> bool:
        """Whether it was there. `check` may object by raising."""
        ...


class Claim(msgspec.Struct, frozen=True):
    """A schedule that was taken to fire an occurrence, under an event id that is on record. Others leave it alone until its
    lease ends."""

    schedule: Schedule
    occurrence: int
    event_id: EventId


class Claims(msgspec.Struct, frozen=True):
    """What was taken at a time, how many stretches of missed occurrences were passed over, and when the next one is due: a time
    that has passed where there are more."""

    now: float
    taken: tuple[Claim, ...]
    skips: int
    next_at: float | None


class ScheduleQueue(Protocol):
    async def claim(self, new_id: Callable[[], bytes], *, limit: int, lease_seconds: float) -> Claims:
        """Take schedules that are due, as `domain.schedule.plan` says. One that is taken is nobody else's until its lease ends,
        or it is settled."""
        ...

    async def settle(self, results: Sequence[tuple[Claim, Verdict]], *, again_seconds: float) -> None:
        """Put on record what became of them. Of one that is another's meanwhile, or gone, nothing is."""
        ...
