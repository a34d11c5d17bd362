"""API keys on PostgreSQL."""

from __future__ import annotations

import asyncpg
import msgspec

from posthouse.adapters.postgres.changes import write_audit
from posthouse.adapters.postgres.configuration import Configuration, bump_shared
from posthouse.adapters.postgres.database import Connection
from posthouse.adapters.postgres.queries import Queries
from posthouse.domain.access import Principal, Scope
from posthouse.domain.errors import Conflict
from posthouse.domain.ids import AppId
from posthouse.ports.directory import ApiKey, Audit

SQL = Queries("keys.sql")


class PostgresKeys(Configuration):
    """The API keys of `ports.directory.Directory`."""

    async def keys(self, *, before: bytes, limit: int) -> list[ApiKey]:
        return [_key(row) for row in await self._database.fetch(SQL.keys, before, limit)]

    async def principal(self, key_hash: bytes) -> Principal | None:
        row = await self._database.fetchrow(SQL.principal, key_hash)
        if row is None:
            return None
        app_id = None if row["app_id"] is None else AppId(row["app_id"])
        return Principal(row["id"], Scope(row["scope"]), app_id, row["name"])

    async def create_key(self, key: ApiKey, key_hash: bytes, audit: Audit) -> ApiKey | None:
        async with self._writing(unique="key") as connection:
            created_at = await _create(connection, key, key_hash)
            if created_at is None:
                return None
            await bump_shared(connection)
            await write_audit(connection, audit)
            return msgspec.structs.replace(key, created_at=created_at)

    async def create_first_key(self, key: ApiKey, key_hash: bytes, audit: Audit) -> bool:
        async with self._writing(unique="key") as connection:
            await bump_shared(connection)
            if await connection.fetchval(SQL.admin_keys):
                return False
            await _create(connection, key, key_hash)
            await write_audit(connection, audit)
        return True

    async def revoke_key(self, key_id: bytes, audit: Audit) -> ApiKey | None:
        async with self._database.transaction() as connection:
            await bump_shared(connection)
            row = await connection.fetchrow(SQL.key_locked, key_id)
            if row is None:
                return None
            if row["scope"] == Scope.ADMIN and await connection.fetchval(SQL.admin_keys) == 1:
                raise Conflict(
                    "this is the last key of an administrator; make another one first", code="last_admin_key"
                )
            revoked_at = await connection.fetchval(SQL.revoke_key, key_id)
            await write_audit(connection, audit)
            return msgspec.structs.replace(_key(row), revoked_at=revoked_at)


async def _create(connection: Connection, key: ApiKey, key_hash: bytes) -> float | None:
    """When it was made; None where its app is gone."""
    created_at: float | None = await connection.fetchval(
        SQL.create_key, key.id, key_hash, key.hint, key.name, key.scope.value, key.app_id
    )
    return created_at


def _key(row: asyncpg.Record) -> ApiKey:
    return ApiKey(**{**row, "scope": Scope(row["scope"])})
