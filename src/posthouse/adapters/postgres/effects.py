"""What follows from attempts and answers, on PostgreSQL: done and removed in one transaction."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from posthouse.adapters.postgres.changes import write_audit
from posthouse.adapters.postgres.database import Database
from posthouse.adapters.postgres.queries import Queries
from posthouse.adapters.postgres.rows import effect_of, follow_up_row, turn
from posthouse.domain.chaining import merged, read_throttle, read_values
from posthouse.domain.delivery import Effect
from posthouse.domain.event import Draft
from posthouse.domain.ids import ENDPOINT, AppId, EndpointId, format_id, parse_id
from posthouse.ports.directory import SYSTEM, Audit
from posthouse.ports.log import Appended

SQL = Queries("store.sql")


class PostgresEffects:
    """That part of `ports.store.Store`."""

    def __init__(self, reading: Database) -> None:
        self._reading = reading

    async def effects(self, partitions: Collection[int], *, limit: int) -> list[Effect]:
        return [effect_of(row) for row in await self._reading.fetch(SQL.effects, list(partitions), limit)]

    async def disable_endpoint(self, effect: Effect) -> None:
        async with self._reading.transaction() as connection:
            if not await connection.fetch(SQL.effect_done, effect.partition, effect.id):
                return
            for row in await connection.fetch(SQL.disable_endpoint, effect.endpoint_id, effect.reason):
                await connection.fetch(SQL.bump_config, row["app_id"])
                thing = format_id(ENDPOINT, effect.endpoint_id)
                await write_audit(connection, Audit(SYSTEM, "endpoint.disabled", thing, {"reason": effect.reason}))

    async def publish_effects(self, effects: Sequence[Effect], drafts: Sequence[Draft]) -> list[Appended | None]:
        results: list[Appended | None] = [None] * len(effects)
        if not effects:
            return results
        rows = await self._reading.fetch(
            SQL.publish_effects,
            [follow_up_row(effect, draft) for effect, draft in zip(effects, drafts, strict=True)],
            writing=True,
        )
        for ord_, partition, seq, config_version, created_at in rows:
            results[ord_ - 1] = Appended(partition, seq, config_version, created_at)
        return results

    async def count_effects(self, partitions: Collection[int]) -> dict[int, int]:
        return {row[0]: row[1] for row in await self._reading.fetch(SQL.count_effects, list(partitions))}

    async def drop_effects(self, effects: Sequence[Effect]) -> None:
        columns = turn([(effect.partition, effect.id) for effect in effects], 2)
        await self._reading.fetch(SQL.effects_done, *columns, writing=True)

    async def merge_metadata(self, effects: Sequence[Effect]) -> list[Effect]:
        endpoint_id = effects[0].endpoint_id
        async with self._reading.transaction() as connection:
            # The endpoint first: two that do the same effects would else wait for each other.
            row = await connection.fetchrow(SQL.lock_metadata, endpoint_id)
            columns = turn([(effect.partition, effect.id) for effect in effects], 2)
            there = {gone[0] for gone in await connection.fetch(SQL.effects_done, *columns)}
            todo = [effect for effect in effects if effect.id in there]
            if row is None or not todo:
                return []
            before = msgspec.json.decode(row["metadata"])
            after, fits = merged(before, [read_values(effect.data or b"{}") for effect in todo])
            if after != before:
                await connection.execute(SQL.set_metadata, endpoint_id, msgspec.json.encode(after).decode())
        return [effect for effect, fit in zip(todo, fits, strict=True) if not fit]

    async def throttle_endpoint(self, effect: Effect) -> None:
        async with self._reading.transaction() as connection:
            if await connection.fetch(SQL.effect_done, effect.partition, effect.id):
                rate = read_throttle(effect.data or b"{}")
                await connection.execute(
                    SQL.throttle_endpoint, effect.partition, effect.endpoint_id, rate.per_second, rate.until
                )

    async def endpoint_named(self, app_id: AppId, reference: str) -> EndpointId | None:
        raw = await self._reading.fetchval(SQL.endpoint_named, app_id, parse_id(ENDPOINT, reference), reference)
        return None if raw is None else EndpointId(raw)
