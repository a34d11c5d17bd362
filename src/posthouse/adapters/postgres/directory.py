"""The configuration on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable

import asyncpg
import msgspec

from posthouse.adapters.postgres.apps import PostgresApps, quotas_of
from posthouse.adapters.postgres.audit import PostgresAudit
from posthouse.adapters.postgres.changes import SQL, searchable, write_audit
from posthouse.adapters.postgres.configuration import bump_shared, encode, names, one
from posthouse.adapters.postgres.endpoints import PostgresEndpoints
from posthouse.adapters.postgres.keys import PostgresKeys
from posthouse.domain.errors import Conflict
from posthouse.domain.ids import APP, AppId
from posthouse.ports.catalogue import AppEntry, EventTypeEntry
from posthouse.ports.directory import SYSTEM, Audit, EventType


class PostgresDirectory(PostgresApps, PostgresEndpoints, PostgresKeys, PostgresAudit):
    """`ports.directory.Directory` and `ports.catalogue.Catalogue` on PostgreSQL."""

    async def installation_id(self) -> bytes:
        return bytes((await self._installation())["id"])

    # What intake asks (`ports.catalogue`)

    async def find_app(self, reference: str) -> AppEntry | None:
        row = await self._database.fetchrow(SQL.find_app, *names(APP, reference))
        if row is None:
            return None
        return AppEntry(AppId(row["id"]), row["partition"], row["uid"], quotas_of(row["quotas"]))

    async def event_type(self, name: str) -> EventTypeEntry | None:
        row = await self._database.fetchrow(SQL.event_type_entry, searchable(name))
        return None if row is None else EventTypeEntry(name, row["schema"], row["archived"])

    async def add_event_type(self, name: str) -> None:
        async with self._database.transaction() as connection:
            await bump_shared(connection)
            if await connection.fetch(SQL.create_event_type, name, "", None, "[]"):
                await write_audit(connection, Audit(SYSTEM, "event_type.created", name, {"by": "publishing"}))

    async def version(self) -> int:
        return int(await self._database.fetchval(SQL.shared_version))

    # Event types

    async def event_types(self, *, after: str, limit: int, archived: bool) -> list[EventType]:
        return [_event_type(row) for row in await self._database.fetch(SQL.event_types, after, limit, archived)]

    async def get_event_type(self, name: str) -> EventType | None:
        row = await self._database.fetchrow(SQL.event_type, searchable(name))
        return None if row is None else _event_type(row)

    async def create_event_type(self, entry: EventType, audit: Audit) -> EventType:
        async with self._database.transaction() as connection:
            await bump_shared(connection)
            examples = encode(entry.examples).decode()
            if not await connection.fetch(SQL.create_event_type, entry.name, entry.description, entry.schema, examples):
                raise Conflict(f"there is an event type {entry.name} already", code="event_type_exists")
            await write_audit(connection, audit)
            return _event_type(await one(connection, SQL.event_type, entry.name))

    async def change_event_type(
        self, name: str, change: Callable[[EventType], EventType], audit: Audit
    ) -> EventType | None:
        async with self._database.transaction() as connection:
            await bump_shared(connection)
            row = await connection.fetchrow(SQL.event_type_locked, searchable(name))
            if row is None:
                return None
            old = _event_type(row)
            new = change(old)
            if new == old:
                return old
            await connection.execute(
                SQL.update_event_type,
                name,
                new.description,
                new.schema,
                encode(new.examples).decode(),
                new.version,
                new.archived_at,
            )
            await write_audit(connection, audit)
            return _event_type(await one(connection, SQL.event_type, name))


def _event_type(row: asyncpg.Record) -> EventType:
    return EventType(**{**row, "examples": tuple(msgspec.json.decode(row["examples"]))})
