"""Inbound triggers on PostgreSQL, as whoever answers their senders needs them."""

from __future__ import annotations

from collections.abc import Sequence

from posthouse.adapters.postgres.database import Database
from posthouse.adapters.postgres.queries import Queries
from posthouse.adapters.postgres.rows import turn
from posthouse.adapters.postgres.triggers import PostgresTriggers, insert_refusals, recount
from posthouse.domain.ids import TRIGGER, TriggerId, format_id
from posthouse.domain.inbound import KIND, LOOKED_AT_ONLY
from posthouse.domain.limits import TRIGGERS_MAX
from posthouse.domain.trigger import Trigger
from posthouse.ports.inbound import Listed, Tally
from posthouse.ports.sealing import Sealer
from posthouse.ports.triggers import Refusal

SQL = Queries("inbound.sql")


class PostgresInbound:
    """`ports.inbound.InboundBook` on PostgreSQL."""

    def __init__(self, database: Database, sealer: Sealer) -> None:
        self._database = database
        self._triggers = PostgresTriggers(database, sealer)

    async def listed(self) -> list[Listed]:
        rows = await self._database.fetch(SQL.listed, KIND, TRIGGERS_MAX)
        return [
            Listed(TriggerId(row["id"]), row["uid"], row["version"], row["enabled"], row["starting"], row["set_aside"])
            for row in rows
        ]

    async def get(self, trigger_id: TriggerId) -> Trigger | None:
        found = await self._triggers.get(format_id(TRIGGER, trigger_id))
        return found if found is not None and found.config.kind == KIND else None

    async def keep(self, trigger_id: TriggerId, refusal: Refusal, *, kept_max: int) -> bool:
        async with self._database.transaction() as connection:
            if await connection.fetchval(SQL.lock, trigger_id) is None:
                return False
            if await recount(connection, trigger_id) >= kept_max:
                key = refusal.observation.key.encode("utf-8", "surrogatepass")
                if await connection.fetchval(SQL.is_kept, trigger_id, key) is None:
                    return False
            await insert_refusals(connection, trigger_id, [refusal])
            await recount(connection, trigger_id)
        return True

    async def add(self, tallies: Sequence[Tally], *, now: float, unverified_max: int) -> None:
        rows = [
            (t.id, t.published, t.repeated, t.left_out, t.unverified, t.published_at, t.error_code, t.error)
            for t in tallies
        ]
        async with self._database.transaction() as connection:
            there = {row["id"] for row in await connection.fetch(SQL.lock_several, [t.id for t in tallies])}
            await connection.execute(SQL.add, *turn(rows, 8), now)
            for tally in tallies:
                if tally.newest and tally.id in there:
                    await insert_refusals(connection, tally.id, tally.newest)
                    await connection.execute(SQL.drop_unverified, tally.id, list(LOOKED_AT_ONLY), unverified_max)

    async def activate(self, *, now: float) -> None:
        await self._database.execute(SQL.activate, KIND, now)
