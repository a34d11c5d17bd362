"""The installation as a whole, on PostgreSQL."""

from __future__ import annotations

import math
from typing import Final

import asyncpg

from posthouse.adapters.postgres.database import Database
from posthouse.adapters.postgres.queries import Queries
from posthouse.domain.endpoint import BY_HAND
from posthouse.domain.ids import unix_ms_of
from posthouse.domain.traffic import HOUR, MINUTE
from posthouse.ports.clock import Clock
from posthouse.ports.overview import Concern, DatabaseFacts, Kind, PartitionFacts, Presence, ServerFacts

SQL = Queries("overview.sql")

_TEN_MINUTES: Final = 10 * MINUTE


class PostgresOverview:
    """`ports.overview.Overview` and `ports.overview.Presences` on PostgreSQL."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def concerns(self, kind: Kind, *, limit: int, rows_min: int, counted_max: int) -> list[Concern]:
        match kind:
            case Kind.ENDPOINT_DISABLED:
                rows = await self._database.read(SQL.disabled, limit, counted_max, BY_HAND)
            case Kind.CIRCUIT_OPEN:
                rows = await self._database.read(SQL.circuits, limit, counted_max)
            case Kind.ENDPOINT_UNVERIFIED:
                rows = await self._database.read(SQL.unverified, limit, counted_max)
            case Kind.TRIGGER_FAILING:
                rows = await self._database.read(SQL.triggers, limit)
            case Kind.BACKLOG:
                now = self._clock.now()
                then = now - HOUR
                rows = await self._database.read(
                    SQL.backlogs, limit, counted_max, rows_min, now - 2 * _TEN_MINUTES, then - then % _TEN_MINUTES
                )
        return [_concern(kind, row) for row in rows]

    async def servers(self) -> list[ServerFacts]:
        return [ServerFacts(**row) for row in await self._database.read(SQL.servers)]

    async def partitions(self) -> list[PartitionFacts]:
        return [
            PartitionFacts(**{**row, "lease_until": _finite(row["lease_until"])})
            for row in await self._database.read(SQL.partitions)
        ]

    async def database(self) -> DatabaseFacts:
        (row,) = await self._database.read(SQL.database)
        return DatabaseFacts(**row)

    async def present(self, presence: Presence, *, kept_seconds: float) -> None:
        await self._database.execute(
            SQL.present,
            presence.id,
            presence.host,
            presence.pid,
            presence.role,
            presence.version,
            presence.started_at,
            kept_seconds,
        )

    async def absent(self, process: bytes) -> None:
        await self._database.execute(SQL.absent, process)


def _concern(kind: Kind, row: asyncpg.Record) -> Concern:
    found = dict(row)
    if kind is Kind.BACKLOG:
        oldest = found.pop("oldest")
        found["since"] = None if oldest is None else unix_ms_of(oldest) / 1000
    return Concern(kind=kind, **found)


def _finite(at: float | None) -> float | None:
    return at if at is not None and math.isfinite(at) else None
