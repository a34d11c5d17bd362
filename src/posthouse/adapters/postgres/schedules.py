"""Schedules on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import asyncpg
import msgspec

from posthouse.adapters.postgres.changes import Moved, in_turns, searchable, taken, write_audit
from posthouse.adapters.postgres.configuration import one
from posthouse.adapters.postgres.database import Connection, Database
from posthouse.adapters.postgres.queries import Queries
from posthouse.adapters.postgres.rows import turn
from posthouse.domain.errors import Conflict
from posthouse.domain.ids import SCHEDULE, AppId, EventId, ScheduleId, parse_id
from posthouse.domain.schedule import Progress, Schedule, ScheduleConfig, begun, changed, plan, settled, wakes_at
from posthouse.domain.verdict import Verdict
from posthouse.ports.directory import Audit
from posthouse.ports.schedules import Claim, Claims

SQL = Queries("schedules.sql")

_config: Final = msgspec.json.Decoder(ScheduleConfig)
_progress: Final = msgspec.json.Decoder(Progress)

TAKEN_SECONDS: Final = 0.1
"""Until it is worth looking again where all that is due is just being taken by others."""

_Move = tuple[bytes, str, bytes | None, float | None]


class PostgresSchedules:
    """`ports.schedules.ScheduleBook` and `ports.schedules.ScheduleQueue` on PostgreSQL."""

    def __init__(self, database: Database, *, polling: Database | None = None) -> None:
        self._database = database
        self._polling = polling or database

    # As they are managed

    async def page(self, *, app_id: AppId | None, before: bytes, limit: int) -> list[Schedule]:
        if app_id is None:
            rows = await self._database.read(SQL.schedules, before, limit)
        else:
            rows = await self._database.read(SQL.schedules_of_app, before, limit, app_id)
        return [_schedule(row) for row in rows]

    async def get(self, reference: str) -> Schedule | None:
        row = await self._database.fetchrow(SQL.schedule, parse_id(SCHEDULE, reference), searchable(reference))
        return None if row is None else _schedule(row)

    async def create(self, schedule: Schedule, audit: Audit, *, schedules_max: int) -> Schedule | None:
        with taken("uid"):
            async with self._database.transaction() as connection:
                if not await _app_is_there(connection, schedule.app_id):
                    return None
                await connection.execute(SQL.lock_all)
                there = await one(connection, SQL.count)
                if there["schedules"] >= schedules_max:
                    raise Conflict(
                        f"there are {schedules_max} schedules, which is the most; delete one that is over",
                        code="too_many_schedules",
                    )
                made = begun(schedule, now=there["now"])
                await connection.execute(SQL.create_schedule, *_columns(made))
                await write_audit(connection, audit)
                return _schedule(await one(connection, SQL.schedule, made.id, None))

    async def change(
        self, schedule_id: ScheduleId, change: Callable[[Schedule], Schedule], audit: Audit
    ) -> Schedule | None:
        return await in_turns(lambda: self._change(schedule_id, change, audit))

    async def _change(
        self, schedule_id: ScheduleId, change: Callable[[Schedule], Schedule], audit: Audit
    ) -> Schedule | None:
        with taken("uid"):
            async with self._database.transaction() as connection:
                before = await connection.fetchrow(SQL.schedule, schedule_id, None)
                if before is None:
                    return None
                # What it is about to become decides which app is locked before the schedule is.
                wanted = change(_schedule(before))
                if not await _app_is_there(connection, wanted.app_id):
                    return None
                row = await connection.fetchrow(SQL.schedule_locked, schedule_id)
                if row is None:
                    return None
                old = _schedule(row)
                new = change(old)
                if new == old:
                    return old
                if new.app_id != wanted.app_id:
                    raise Moved
                new = changed(old, new, now=row["now"])
                await connection.execute(SQL.update_schedule, *_columns(new))
                await write_audit(connection, audit)
                return _schedule(await one(connection, SQL.schedule, schedule_id, None))

    async def delete(
        self, schedule_id: ScheduleId, audit: Audit, *, check: Callable[[Schedule], None] | None = None
    ) -> bool:
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(SQL.schedule_locked, schedule_id)
            if row is None:
                return False
            if check is not None:
                check(_schedule(row))
            await connection.execute(SQL.delete_schedule, schedule_id)
            await write_audit(connection, audit)
        return True

    # As they are fired

    async def claim(self, new_id: Callable[[], bytes], *, limit: int, lease_seconds: float) -> Claims:
        look = await self._polling.fetchrow(SQL.look)
        assert look is not None, "it always answers one row"
        now, next_at = look["now"], look["next_at"]
        if next_at is None or next_at > now:
            return Claims(now, (), 0, next_at)
        claims: list[Claim] = []
        moves: list[_Move] = []
        skips = 0
        async with self._database.transaction() as connection:
            for row in await connection.fetch(SQL.due, now, limit):
                schedule = _schedule(row)
                turned = plan(schedule, now=now, published=row["published"], event_id=EventId(new_id()))
                skips += turned.progress.skipped_until != schedule.progress.skipped_until
                schedule = msgspec.structs.replace(schedule, progress=turned.progress)
                moves.append(_move(schedule, wakes_at(turned.progress) if turned.fire is None else now + lease_seconds))
                if turned.fire is not None and turned.progress.pending_event is not None:
                    claims.append(Claim(schedule, turned.fire, turned.progress.pending_event))
            if moves:
                await connection.execute(SQL.move, *turn(moves, 4))
        return Claims(now, tuple(claims), skips, now if moves else now + TAKEN_SECONDS)

    async def settle(self, results: Sequence[tuple[Claim, Verdict]], *, again_seconds: float) -> None:
        by_id = {claim.schedule.id: (claim, verdict) for claim, verdict in results}
        moves: list[_Move] = []
        async with self._database.transaction() as connection:
            for row in await connection.fetch(SQL.lock_taken, sorted(by_id)):
                claim, verdict = by_id[ScheduleId(row["id"])]
                schedule, now = _schedule(row), row["now"]
                if schedule.progress.pending_event == claim.event_id:
                    schedule, wake_at = settled(
                        schedule, claim.occurrence, verdict, now=now, again_seconds=again_seconds
                    )
                    moves.append(_move(schedule, wake_at))
            if moves:
                await connection.execute(SQL.move, *turn(moves, 4))


async def _app_is_there(connection: Connection, app_id: AppId | None) -> bool:
    return app_id is None or await connection.fetchval(SQL.lock_app, app_id) is not None


def _move(schedule: Schedule, wake_at: float | None) -> _Move:
    return schedule.id, _json(schedule.progress), schedule.progress.pending_event, wake_at


def _columns(schedule: Schedule) -> tuple[object, ...]:
    return (
        schedule.id,
        schedule.uid,
        schedule.app_id,
        schedule.name,
        _json(schedule.config),
        schedule.enabled,
        _json(schedule.progress),
        wakes_at(schedule.progress),
    )


def _json(value: msgspec.Struct) -> str:
    return msgspec.json.encode(value).decode()


def _schedule(row: asyncpg.Record) -> Schedule:
    app_id: Any = row["app_id"]
    return Schedule(
        id=ScheduleId(row["id"]),
        uid=row["uid"],
        app_id=None if app_id is None else AppId(app_id),
        name=row["name"],
        config=_config.decode(row["config"]),
        enabled=row["enabled"],
        progress=_progress.decode(row["progress"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
