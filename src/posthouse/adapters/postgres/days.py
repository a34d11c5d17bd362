"""The day tables: partitions of the log, of what was tried, of keys and counters, made ahead and dropped when old.

A day is added as a plain table which is then attached, and removed by detaching it concurrently and dropping it: making
or dropping an attached one directly queues behind a single reader, and publishing behind that. There is no default.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection
from datetime import UTC, date, datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

import asyncpg
import structlog

from posthouse.adapters.postgres.database import Connection, Database, translated
from posthouse.adapters.postgres.queries import Queries
from posthouse.adapters.postgres.rows import ids_beside
from posthouse.adapters.postgres.store import SQL as STORE
from posthouse.domain.errors import InDoubt, StoreUnavailable
from posthouse.domain.ids import ID_BYTES, lower_bound
from posthouse.domain.limits import CLOCK_SKEW_SECONDS_MAX, DAYS_AHEAD, OUTSIDE_ROWS_MAX

SQL = Queries("days.sql")
log = structlog.get_logger()

BY_ID: Final = ("event", "attempt")
BY_TIME: Final = ("event_key", "rollup_minute", "traffic", "traffic_latency")
PARENTS: Final = BY_ID + BY_TIME
KEY_DAYS: Final = 3
"""Idempotency keys live for a day; the rest is for whoever looks into one later."""

STATISTICS: Final = "autovacuum_analyze_threshold = 1000, autovacuum_analyze_scale_factor = 1"
"""When PostgreSQL looks at what a day of the log, or of attempts, consists of: once it has doubled. How many rows there are it
knows from the table's size, and each look takes 0.2 s of its CPU: at every twentieth more they were a tenth of its work."""

LOCK_TRIES_MAX: Final = 5
LOCK_TIMEOUT: Final = "1s"

_MAKING: Final = 0x706F7374_64617901  # keys of advisory locks
_RETIRING: Final = 0x706F7374_64617902
_DAY: Final = re.compile(r"_(\d{4})(\d\d)(\d\d)\Z")


class _Day(NamedTuple):
    """A day table as the catalog has it."""

    parent: str
    name: str
    attached: bool
    detaching: bool

    @property
    def date(self) -> date:
        found = _DAY.search(self.name)
        assert found is not None
        return date(*map(int, found.groups()))


async def ensure_days(database: Database, *, now: float, ahead: int = DAYS_AHEAD) -> list[str]:
    """Make the tables of yesterday, today and `ahead` more days, where they are missing; which ones were.

    Safe in several processes at once, and after a crash at any point: a table made but not attached is attached.

    Raises: StoreUnavailable, also where somebody keeps a conflicting lock for long, or connections end again and again:
    call again.
    """
    today = _today(now)
    wanted = [today + timedelta(days=offset) for offset in range(-1, ahead + 1)]
    attached = {day.name for day in _days(await database.fetch(SQL.days, [*PARENTS])) if day.attached}
    made: list[str] = []
    for day in wanted:
        if any(_name(parent, day) not in attached for parent in PARENTS):
            made += await _insist(database, day)
    return made


def missing_days(attached: Collection[str], *, now: float, ahead: int = DAYS_AHEAD) -> dict[int, tuple[str, ...]]:
    """Which tables of today (0) and of `ahead` more days are not among these, by day."""
    missing = {}
    for offset in range(ahead + 1):
        day = _today(now) + timedelta(days=offset)
        names = tuple(name for parent in PARENTS if (name := _name(parent, day)) not in attached)
        if names:
            missing[offset] = names
    return missing


async def retire_days(database: Database, *, now: float, retention_days: int) -> list[str]:
    """Drop the days older than `retention_days`, and keys older than three days; which tables were dropped.

    A day of the log, or of attempts, goes only when every partition's cursor is past it; what is still owed of a day of
    the log is first given up as `expired`, on record. One process at a time does this: another one returns at once. A
    day that somebody has locked stays until the next run, and one whose detaching was interrupted is finished then.

    Raises: StoreUnavailable.
    """
    async with database.connection() as connection:
        with translated(writing=True):
            if not await connection.fetchval(SQL.days_try_lock, _RETIRING):
                return []
            try:
                await connection.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
                return await _retire(connection, now, retention_days)
            finally:
                if not connection.is_closed():
                    await connection.execute("RESET lock_timeout")
                    await connection.fetchval(SQL.days_unlock, _RETIRING)


# Making


async def _insist(database: Database, day: date) -> list[str]:
    for _ in range(LOCK_TRIES_MAX - 1):
        try:
            return await _make(database, day)
        except StoreUnavailable as error:
            # A connection that ended in between, as when this process was stopped for a while: what is there is looked at.
            if not isinstance(error, InDoubt) and not isinstance(error.__cause__, asyncpg.LockNotAvailableError):
                raise
            # Where it waited for a lock, others have their turn.
            await asyncio.sleep(0.1)
    return await _make(database, day)


async def _make(database: Database, day: date) -> list[str]:
    made = []
    async with database.transaction() as connection:
        await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
        await connection.fetch(SQL.days_lock, _MAKING)
        # In a statement after the lock: what another process made meanwhile is seen.
        existing = {found.name: found for found in _days(await connection.fetch(SQL.days, [*PARENTS]))}
        for parent in PARENTS:
            name = _name(parent, day)
            found = existing.get(name)
            if found is not None and found.attached:
                continue
            if found is None:
                await connection.execute(
                    f"CREATE TABLE {name} (LIKE {parent} INCLUDING ALL)"
                    + (f" WITH ({STATISTICS})" if parent in BY_ID else "")
                )
            first, after = _bounds(parent, day)
            await connection.execute(
                f"ALTER TABLE {parent} ATTACH PARTITION {name} FOR VALUES FROM ('{first}') TO ('{after}')"
            )
            made.append(name)
    return made


# Retiring


async def _retire(connection: Connection, now: float, retention_days: int) -> list[str]:
    today = _today(now)
    oldest = await connection.fetchval(SQL.oldest_cursor)
    # The id of an event, and so its day, may be off the database's clock a little.
    passed = _today((now if oldest is None else oldest) - CLOCK_SKEW_SECONDS_MAX)
    kept = today - timedelta(days=retention_days)
    first_kept = {
        "event": min(kept, passed),
        "attempt": min(kept, passed),
        "event_key": today - timedelta(days=KEY_DAYS),
        "rollup_minute": kept,
        "traffic": kept,
        "traffic_latency": kept,
    }
    days = _days(await connection.fetch(SQL.days, list(first_kept)))
    # A parent refuses to detach anything while one of its days is half detached: those come first.
    old = sorted((d for d in days if d.date < first_kept[d.parent] or d.detaching), key=lambda d: not d.detaching)
    events_end = max((d.date for d in old if d.parent == "event"), default=None)
    if events_end is not None:
        await _expire(connection, lower_bound(_midnight_ms(events_end + timedelta(days=1))), now)
    return [day.name for day in old if await _drop(connection, day)]


async def _expire(connection: Connection, below: bytes, now: float) -> None:
    """Give up, on record, whatever is owed of events below an id, in chunks under the partition's lock."""
    for (partition,) in await connection.fetch(SQL.owed_before, below):
        after: tuple[bytes, bytes] | None = (bytes(ID_BYTES), bytes(ID_BYTES))
        while after is not None:
            async with connection.transaction():
                await connection.fetch(STORE.lock_partition, partition)
                newest = await connection.fetchval(STORE.newest_attempt, [partition])
                ids = ids_beside(newest, now=now, count=OUTSIDE_ROWS_MAX)
                expired = await connection.fetch(SQL.expire, partition, below, *after, ids, now)
            if expired:
                log.warning("days.expired", partition=partition, deliveries=len(expired))
            more = len(expired) == OUTSIDE_ROWS_MAX
            after = (expired[-1]["endpoint_id"], expired[-1]["event_id"]) if more else None


async def _drop(connection: Connection, day: _Day) -> bool:
    """Detach and drop a day; False where somebody's lock is in the way, until the next run."""
    try:
        if day.detaching:
            await connection.execute(f"ALTER TABLE {day.parent} DETACH PARTITION {day.name} FINALIZE")
        elif day.attached:
            await connection.execute(f"ALTER TABLE {day.parent} DETACH PARTITION {day.name} CONCURRENTLY")
        await connection.execute(f"DROP TABLE {day.name}")
    except (asyncpg.LockNotAvailableError, asyncpg.ObjectNotInPrerequisiteStateError) as error:
        log.warning("days.busy", table=day.name, error=str(error))
        return False
    return True


# Names and bounds


def _days(rows: list[asyncpg.Record]) -> list[_Day]:
    return [_Day(**row) for row in rows]


def _name(parent: str, day: date) -> str:
    return f"{parent}_{day:%Y%m%d}"


def _bounds(parent: str, day: date) -> tuple[str, str]:
    """The first value of a day and the first one after it, as SQL literals."""
    days = (day, day + timedelta(days=1))
    if parent in BY_ID:
        first, after = (str(UUID(bytes=lower_bound(_midnight_ms(d)))) for d in days)
    else:
        first, after = (f"{d} 00:00:00+00" for d in days)
    return first, after


def _today(now: float) -> date:
    return datetime.fromtimestamp(now, UTC).date()


def _midnight_ms(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000
