"""Grants on PostgreSQL."""

from __future__ import annotations

from typing import Any

import asyncpg
import msgspec

from posthouse.adapters.postgres.changes import searchable, taken, write_audit
from posthouse.adapters.postgres.database import Database
from posthouse.adapters.postgres.queries import Queries
from posthouse.domain.grant import Grant
from posthouse.domain.ids import GRANT, AppId, GrantId, parse_id
from posthouse.ports.directory import Audit

SQL = Queries("grants.sql")


class PostgresGrants:
    """`ports.grants.Grants` on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self, *, app_id: AppId | None, before: bytes, limit: int, event_type: str | None, subject: str | None
    ) -> list[Grant]:
        if subject is None:
            return [_grant(row) for row in await self._database.read(SQL.grants, app_id, before, limit, event_type)]
        rows = await self._database.read(SQL.grants_about, app_id, before, limit, event_type, searchable(subject))
        return [_grant(row) for row in rows]

    async def get(self, app_id: AppId, reference: str) -> Grant | None:
        row = await self._database.fetchrow(SQL.grant, app_id, parse_id(GRANT, reference), searchable(reference))
        return None if row is None else _grant(row)

    async def create(self, grant: Grant, audit: Audit) -> Grant | None:
        with taken("uid"):
            async with self._database.transaction() as connection:
                partition = await connection.fetchval(SQL.lock_app, grant.app_id)
                if partition is None:
                    return None
                created_at = await connection.fetchval(SQL.create_grant, *_columns(grant), partition)
                await write_audit(connection, audit)
        return msgspec.structs.replace(grant, created_at=created_at)

    async def replace(self, grant: Grant, audit: Audit, *, make: bool) -> tuple[Grant, bool] | None:
        row = await self._database.fetchrow(SQL.grant, grant.app_id, grant.id, grant.uid)
        known = None if row is None else _grant(row)
        if known is not None and known == _in_place_of(known, grant):
            return known, False
        async with self._database.transaction() as connection:
            # This keeps others off, so that of two who make it one comes second and replaces it.
            await connection.fetchval(SQL.bump_shrunk, grant.app_id)
            partition = await connection.fetchval(SQL.lock_app, grant.app_id)
            if partition is None:
                return None
            row = await connection.fetchrow(SQL.grant, grant.app_id, grant.id, grant.uid)
            if row is None:
                if not make:
                    return None
                created_at = await connection.fetchval(SQL.create_grant, *_columns(grant), partition)
                await write_audit(connection, audit)
                return msgspec.structs.replace(grant, created_at=created_at), True
            new = _in_place_of(_grant(row), grant)
            await connection.execute(SQL.drop_entries, new.id)
            await connection.execute(SQL.change_grant, new.id, new.types, new.subjects, new.expires_at, partition)
            await write_audit(connection, audit)
            return new, False

    async def delete(self, app_id: AppId, grant_id: GrantId, audit: Audit) -> bool:
        async with self._database.transaction() as connection:
            await connection.fetchval(SQL.bump_shrunk, app_id)
            if not await connection.fetch(SQL.delete_grant, grant_id, app_id):
                return False
            await write_audit(connection, audit)
        return True


def _in_place_of(old: Grant, new: Grant) -> Grant:
    return msgspec.structs.replace(new, id=old.id, created_at=old.created_at)


def _columns(grant: Grant) -> tuple[object, ...]:
    return grant.id, grant.app_id, grant.types, grant.subjects, grant.uid, grant.expires_at


def _grant(row: asyncpg.Record) -> Grant:
    fields: dict[str, Any] = dict(row)
    return Grant(**fields | {"types": tuple(row["types"]), "subjects": tuple(row["subjects"])})
