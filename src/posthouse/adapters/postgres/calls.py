"""The calls of handlers that wait, on PostgreSQL."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

import msgspec

from posthouse.adapters.postgres.database import Database
from posthouse.adapters.postgres.inspect import owe_again, resend_facts
from posthouse.adapters.postgres.log import event_of
from posthouse.adapters.postgres.queries import Queries
from posthouse.adapters.postgres.rows import effect_columns, effect_of, turn
from posthouse.adapters.postgres.store import SQL as STORE
from posthouse.domain.calling import CalledApp, CalledEndpoint, read_call
from posthouse.domain.delivery import Effect
from posthouse.domain.endpoint import EndpointConfig
from posthouse.domain.ids import APP, ENDPOINT, AppId, format_id
from posthouse.ports.calls import CallFacts, PendingCall, Recorded
from posthouse.ports.inspect import Where

SQL = Queries("calls.sql")

_config: Final = msgspec.json.Decoder(EndpointConfig)


class PostgresCalls:
    """`ports.calls.CallBook` on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def due(self, partitions: Collection[int], *, limit: int) -> list[PendingCall]:
        rows = await self._database.fetch(SQL.due_calls, list(partitions), limit)
        return [PendingCall(effect_of(row), row["tries"], row["due_at"]) for row in rows]

    async def counted(self, partitions: Collection[int]) -> dict[int, int]:
        return {row[0]: row[1] for row in await self._database.fetch(SQL.count_calls, list(partitions))}

    async def facts(self, call: Effect) -> CallFacts | None:
        event_id = read_call(call.data or b"{}").event_id
        row = await self._database.fetchrow(SQL.call_facts, event_id, call.partition, call.endpoint_id)
        if row is None:
            return None
        config = _config.decode(row["config"])
        return CallFacts(
            event=event_of(row),
            app_id=AppId(row["called_app"]),
            app=CalledApp(id=format_id(APP, row["called_app"]), uid=row["app_uid"], name=row["app_name"]),
            endpoint=CalledEndpoint(
                id=format_id(ENDPOINT, call.endpoint_id),
                url=config.url,
                uid=row["endpoint_uid"],
                description=config.description,
                metadata=msgspec.json.decode(row["metadata"]),
            ),
        )

    async def done(
        self,
        owner: bytes,
        epoch: int,
        call: Effect,
        follow_ups: Sequence[Effect],
        *,
        resend_at: float | None,
        now: float,
    ) -> Recorded:
        event_id = read_call(call.data or b"{}").event_id
        async with self._database.transaction() as connection:
            if not await connection.fetch(STORE.lock_owned, call.partition, epoch, owner):
                return Recorded.NOT_OURS
            where = facts = None
            if resend_at is not None:
                app_id = await connection.fetchval(SQL.app_of_endpoint, call.endpoint_id)
                where = None if app_id is None else Where(AppId(app_id), call.partition)
                facts = None if where is None else await resend_facts(connection, where, call.endpoint_id, event_id)
                if facts is not None and facts["enabled"] and not facts["dispatched"]:
                    return Recorded.NOT_YET
            if not await connection.fetch(SQL.call_done, call.partition, call.id):
                return Recorded.GONE
            if follow_ups:
                columns = turn([effect_columns(effect) for effect in follow_ups], 6)
                await connection.execute(SQL.record_effects, *columns)
            if resend_at is not None and where is not None and facts is not None and facts["enabled"]:
                await owe_again(connection, where, call.endpoint_id, event_id, facts, due_at=resend_at, now=now)
                await connection.execute(STORE.poke, call.partition)
        return Recorded.DONE

    async def again(self, owner: bytes, epoch: int, call: Effect, *, tries: int, due_at: float) -> Recorded:
        async with self._database.transaction() as connection:
            if not await connection.fetch(STORE.lock_owned, call.partition, epoch, owner):
                return Recorded.NOT_OURS
            found = await connection.fetch(SQL.call_again, call.partition, call.id, tries, due_at)
        return Recorded.DONE if found else Recorded.GONE
