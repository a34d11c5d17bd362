"""The schedules of the reference model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from posthouse.adapters.memory.database import MemoryDatabase, ScheduleState
from posthouse.domain.errors import Conflict
from posthouse.domain.ids import SCHEDULE, AppId, EventId, ScheduleId, parse_id
from posthouse.domain.schedule import Schedule, begun, changed, plan, settled, wakes_at
from posthouse.domain.verdict import Verdict
from posthouse.ports.directory import Audit
from posthouse.ports.schedules import Claim, Claims


class MemorySchedules:
    """`ports.schedules.ScheduleBook` and `ports.schedules.ScheduleQueue` in memory."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def page(self, *, app_id: AppId | None, before: bytes, limit: int) -> list[Schedule]:
        await self._database.reading("schedules")
        found = [s.schedule for s in self._database.schedules.values()]
        mine = [s for s in found if s.id < before and (app_id is None or s.app_id == app_id)]
        return sorted(mine, key=lambda schedule: schedule.id, reverse=True)[:limit]

    async def get(self, reference: str) -> Schedule | None:
        await self._database.reading("schedule")
        raw = parse_id(SCHEDULE, reference)
        for state in self._database.schedules.values():
            if state.schedule.uid == reference or state.schedule.id == raw:
                return state.schedule
        return None

    async def create(self, schedule: Schedule, audit: Audit, *, schedules_max: int) -> Schedule | None:
        async with self._database.transaction("create_schedule") as transaction:
            await transaction.commits()
            if not self._app_is_there(schedule.app_id):
                return None
            if len(self._database.schedules) >= schedules_max:
                raise Conflict(
                    f"there are {schedules_max} schedules, which is the most; delete one that is over",
                    code="too_many_schedules",
                )
            self._check_uid(schedule)
            now = self._database.clock()
            made = msgspec.structs.replace(begun(schedule, now=now), created_at=now, updated_at=now)
            self._database.schedules[made.id] = ScheduleState(made, wakes_at(made.progress))
            return made

    async def change(
        self, schedule_id: ScheduleId, change: Callable[[Schedule], Schedule], audit: Audit
    ) -> Schedule | None:
        async with self._database.transaction("change_schedule") as transaction:
            await transaction.commits()
            state = self._database.schedules.get(schedule_id)
            if state is None:
                return None
            old, now = state.schedule, self._database.clock()
            new = change(old)
            if not self._app_is_there(new.app_id):
                return None
            if new == old:
                return old
            self._check_uid(new)
            new = msgspec.structs.replace(changed(old, new, now=now), updated_at=now)
            self._database.schedules[schedule_id] = ScheduleState(new, wakes_at(new.progress))
            return new

    async def delete(
        self, schedule_id: ScheduleId, audit: Audit, *, check: Callable[[Schedule], None] | None = None
    ) -> bool:
        async with self._database.transaction("delete_schedule") as transaction:
            await transaction.commits()
            state = self._database.schedules.get(schedule_id)
            if state is None:
                return False
            if check is not None:
                check(state.schedule)
            del self._database.schedules[schedule_id]
            return True

    async def claim(self, new_id: Callable[[], bytes], *, limit: int, lease_seconds: float) -> Claims:
        async with self._database.transaction("claim_schedules") as transaction:
            await transaction.commits()
            now = self._database.clock()
            waking = sorted(
                ((state.wake_at, state) for state in self._database.schedules.values() if state.wake_at is not None),
                key=lambda pair: pair[0],
            )
            due = [state for wake_at, state in waking if wake_at <= now][:limit]
            if not due:
                return Claims(now, (), 0, waking[0][0] if waking else None)
            claims, skips = [], 0
            for state in due:
                before = state.schedule.progress
                published = before.pending_event is not None and before.pending_event in self._database.positions
                turned = plan(state.schedule, now=now, published=published, event_id=EventId(new_id()))
                skips += turned.progress.skipped_until != before.skipped_until
                state.schedule = msgspec.structs.replace(state.schedule, progress=turned.progress)
                state.wake_at = wakes_at(turned.progress) if turned.fire is None else now + lease_seconds
                if turned.fire is not None and turned.progress.pending_event is not None:
                    claims.append(Claim(state.schedule, turned.fire, turned.progress.pending_event))
            return Claims(now, tuple(claims), skips, now)

    async def settle(self, results: Sequence[tuple[Claim, Verdict]], *, again_seconds: float) -> None:
        async with self._database.transaction("settle_schedules") as transaction:
            await transaction.commits()
            now = self._database.clock()
            for claim, verdict in results:
                state = self._database.schedules.get(claim.schedule.id)
                if state is not None and state.schedule.progress.pending_event == claim.event_id:
                    state.schedule, state.wake_at = settled(
                        state.schedule, claim.occurrence, verdict, now=now, again_seconds=again_seconds
                    )

    def _app_is_there(self, app_id: AppId | None) -> bool:
        if app_id is None:
            return True
        app = self._database.apps.get(app_id)
        return app is not None and not app.deleted

    def _check_uid(self, schedule: Schedule) -> None:
        others = (s.schedule for s in self._database.schedules.values() if s.schedule.id != schedule.id)
        if schedule.uid is not None and any(other.uid == schedule.uid for other in others):
            raise Conflict("this uid is taken by another one", code="uid_taken")
