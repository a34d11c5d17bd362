"""The catalogue of event types on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import asyncpg
import msgspec

from posthouse.adapters.postgres.changes import searchable, write_audit
from posthouse.adapters.postgres.configuration import Configuration, bump_shared, encode, one
from posthouse.adapters.postgres.database import Connection
from posthouse.adapters.postgres.queries import Queries
from posthouse.domain.access import Principal
from posthouse.domain.errors import Conflict
from posthouse.domain.event_type import Visibility, covering_patterns
from posthouse.domain.ids import AppId, EndpointId, EventId
from posthouse.domain.limits import EVENT_TYPE_VERSIONS_MAX
from posthouse.ports.directory import SYSTEM, Audit
from posthouse.ports.event_types import EventType, EventTypeVersion, Subscriber

SQL = Queries("event_types.sql")


class PostgresEventTypes(Configuration):
    """`ports.event_types.EventTypeStore`, and the part of `ports.catalogue.Catalogue` that changes it."""

    async def event_types(
        self,
        viewer: Principal | None,
        *,
        after: str,
        limit: int,
        archived: bool,
        visibility: Visibility | None,
        search: str | None,
        now: float,
    ) -> list[EventType]:
        if search is not None and "\0" in search:
            return []
        wanted = None if visibility is None else visibility.value
        looked_for = None if search is None else search.lower()
        rows = await self._database.fetch(
            SQL.event_types, after, limit, archived, wanted, *_sight(viewer), now, looked_for
        )
        return [_event_type(row) for row in rows]

    async def get_event_type(self, viewer: Principal | None, name: str, *, now: float) -> EventType | None:
        row = await self._database.fetchrow(SQL.event_type, searchable(name))
        if row is None:
            return None
        found = _event_type(row)
        if found.visibility is Visibility.PUBLIC or (viewer is not None and viewer.admin):
            return found
        if found.visibility is Visibility.PRIVATE or viewer is None:
            return None
        return found if await self._database.fetchval(SQL.covered_type, viewer.app_id, name, now) else None

    async def create_event_type(self, entry: EventType, audit: Audit) -> EventType:
        async with self._database.transaction() as connection:
            await bump_shared(connection)
            if not await _create(connection, entry):
                raise Conflict(f"there is an event type {entry.name} already", code="event_type_exists")
            await write_audit(connection, audit)
            return _event_type(await one(connection, SQL.event_type, entry.name))

    async def add_event_type(self, name: str) -> None:
        async with self._database.transaction() as connection:
            await bump_shared(connection)
            if await _create(connection, EventType(name=name)):
                await write_audit(connection, Audit(SYSTEM, "event_type.created", name, {"by": "publishing"}))

    async def change_event_type(
        self, name: str, change: Callable[[EventType], EventType], audit: Audit
    ) -> EventType | None:
        async with self._database.transaction() as connection:
            await bump_shared(connection)
            row = await connection.fetchrow(SQL.event_type_locked, searchable(name))
            return None if row is None else await _change(connection, _event_type(row), change, audit)

    async def put_event_type(
        self, name: str, change: Callable[[EventType | None], EventType], *, made: Audit, replaced: Audit
    ) -> tuple[EventType, bool]:
        async with self._database.transaction() as connection:
            await bump_shared(connection)  # whoever else makes one waits
            row = await connection.fetchrow(SQL.event_type_locked, searchable(name))
            if row is not None:
                return await _change(connection, _event_type(row), change, replaced), False
            await _create(connection, change(None))
            await write_audit(connection, made)
            return _event_type(await one(connection, SQL.event_type, name)), True

    async def event_type_versions(self, name: str, *, before: int, limit: int) -> list[EventTypeVersion]:
        rows = await self._database.fetch(SQL.versions, searchable(name), before, limit)
        return [EventTypeVersion(**_decoded(row)) for row in rows]

    async def kept_versions(
        self, viewer: Principal, wanted: Mapping[str, int], *, now: float
    ) -> dict[str, tuple[int, bool]]:
        rows = await self._database.fetch(SQL.kept_versions, list(wanted), list(wanted.values()), *_sight(viewer), now)
        return {row["name"]: (row["version"], row["kept"]) for row in rows}

    # What documents are made of

    async def catalogue_version(self) -> int:
        return int(await self._database.fetchval(SQL.shared_version))

    async def visible_event_types(self, viewer: Principal | None, *, limit: int, now: float) -> list[str]:
        return [row["name"] for row in await self._database.fetch(SQL.visible_names, limit, *_sight(viewer), now)]

    async def described_event_types(self, names: Sequence[str], *, bytes_max: int) -> list[EventType]:
        rows = await self._database.fetch(SQL.described, list(names), bytes_max)
        return [_event_type(row) for row in rows]

    # What is shown of payloads

    async def redactions(self, names: Collection[str]) -> dict[str, tuple[str, ...]]:
        rows = await self._database.fetch(SQL.redactions, [searchable(name) for name in names])
        return {row["name"]: tuple(row["redact"]) for row in rows}

    # Whom a change concerns

    async def subscribers(self, name: str, *, limit: int, counted_max: int) -> tuple[list[Subscriber], int]:
        rows = await self._database.read(SQL.subscribers, list(covering_patterns(name)), limit, counted_max)
        found = [
            Subscriber(
                id=EndpointId(row["id"]),
                app_id=AppId(row["app_id"]),
                app_uid=row["app_uid"],
                uid=row["uid"],
                url=row["url"],
            )
            for row in rows
        ]
        return found, rows[0]["total"] if rows else 0

    async def recent_payloads(
        self, name: str, *, searched_max: int, limit: int, bytes_max: int
    ) -> list[tuple[EventId, bytes]]:
        rows = await self._database.read(SQL.recent, searchable(name), searched_max, limit, bytes_max)
        return [(EventId(row["id"]), row["payload"]) for row in rows]


async def _create(connection: Connection, entry: EventType) -> bool:
    """Whether the name was free."""
    made = await connection.fetch(
        SQL.create_event_type,
        entry.name,
        entry.description,
        entry.schema,
        encode(entry.examples).decode(),
        entry.visibility.value,
        entry.redact,
    )
    if made:
        await connection.execute(SQL.keep_version, entry.name)
    return bool(made)


async def _change(
    connection: Connection, old: EventType, change: Callable[[EventType], EventType], audit: Audit
) -> EventType:
    """Of a row that is locked."""
    new = change(old)
    if new == old:
        return old
    if new.version != old.version:
        await connection.execute(SQL.keep_version, old.name)  # a process of an older release may have made it without
        if new.version > EVENT_TYPE_VERSIONS_MAX:
            await connection.execute(SQL.forget_versions, old.name, new.version - EVENT_TYPE_VERSIONS_MAX)
    await connection.execute(
        SQL.update_event_type,
        old.name,
        new.description,
        new.schema,
        encode(new.examples).decode(),
        new.version,
        new.archived_at,
        new.visibility.value,
        new.redact,
    )
    await connection.execute(SQL.keep_version, old.name)
    await write_audit(connection, audit)
    return _event_type(await one(connection, SQL.event_type, old.name))


def _sight(viewer: Principal | None) -> tuple[bool, AppId | None]:
    """Whether the viewer sees everything, and which app it is."""
    return (False, None) if viewer is None else (viewer.admin, viewer.app_id)


def _event_type(row: asyncpg.Record) -> EventType:
    fields = _decoded(row)
    fields.pop("bytes", None)
    fields["visibility"] = Visibility(row["visibility"])
    fields["redact"] = tuple(row["redact"])
    return EventType(**fields)


def _decoded(row: asyncpg.Record) -> dict[str, Any]:
    return {**row, "examples": tuple(msgspec.json.decode(row["examples"]))}
