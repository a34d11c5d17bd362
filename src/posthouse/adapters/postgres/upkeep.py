"""Upkeep on PostgreSQL."""

from __future__ import annotations

from posthouse.adapters.postgres import days
from posthouse.adapters.postgres.database import Database
from posthouse.adapters.postgres.queries import Queries
from posthouse.domain.ids import unix_ms_of
from posthouse.domain.limits import OUTSIDE_ROWS_MAX
from posthouse.ports.upkeep import Owed

SQL = Queries("session.sql")
GRANTS = Queries("grants.sql")
JOBS = Queries("jobs.sql")


class PostgresUpkeep:
    """`ports.upkeep.Upkeep` on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def install(self, partitions: int) -> int:
        """Make the partitions of a new installation; how many there are."""
        return int(await self._database.fetchval(SQL.install, partitions, writing=True))

    async def has_secrets(self) -> bool:
        """Whether anything in the store was sealed with the master key."""
        return bool(await self._database.fetchval(SQL.has_secrets))

    async def connections_max(self) -> int:
        """How many connections there may be to this database, those of others among them."""
        return int(await self._database.fetchval(SQL.connections_max))

    async def has_outbox(self) -> bool:
        """Whether there is an outbox in this database."""
        return bool(await self._database.fetchval(SQL.has_outbox))

    async def database_time(self) -> float:
        return float(await self._database.fetchval(SQL.database_time))

    async def ensure_days(self, now: float) -> list[str]:
        return await days.ensure_days(self._database, now=now)

    async def retire_days(self, now: float, *, retention_days: int) -> list[str]:
        return await days.retire_days(self._database, now=now, retention_days=retention_days)

    async def drop_grants(self, *, before: float) -> int:
        return len(await self._database.fetch(GRANTS.drop_expired, before, OUTSIDE_ROWS_MAX, writing=True))

    async def drop_jobs(self, *, before: float) -> int:
        return len(await self._database.fetch(JOBS.drop_ended, before, OUTSIDE_ROWS_MAX, writing=True))

    async def owed(self) -> Owed:
        rows = int(await self._database.fetchval(SQL.owed_estimate))
        oldest = await self._database.fetchval(SQL.oldest_owed) if rows else None
        return Owed(rows, None if oldest is None else unix_ms_of(oldest) / 1000)

    async def oldest_snapshot_seconds(self) -> float:
        return float(await self._database.fetchval(SQL.oldest_snapshot))
