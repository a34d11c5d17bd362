"""How much apps store, on PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence

from posthouse.adapters.postgres.database import Database
from posthouse.adapters.postgres.queries import Queries
from posthouse.domain.ids import AppId
from posthouse.ports.usage import Counted, Stretch

SQL = Queries("usage.sql")


class PostgresUsage:
    """`ports.usage.Usage` on PostgreSQL; the database's `statement_seconds` bounds every read."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def bounded_apps(self, *, after: bytes, limit: int) -> list[tuple[AppId, int]]:
        rows = await self._database.fetch(SQL.bounded_apps, after, limit)
        return [(AppId(row["id"]), row["partition"]) for row in rows]

    async def count(self, stretches: Sequence[Stretch], *, events_max: int) -> list[Counted]:
        columns = [[getattr(stretch, name) for stretch in stretches] for name in Stretch.__struct_fields__]
        async with self._database.transaction() as connection:
            await connection.execute(SQL.walk_in_order)
            rows = await connection.fetch(SQL.count_stored, *columns, events_max)
        return [Counted(**row) for row in rows]
