"""The configuration on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Final

import asyncpg
import msgspec

from posthouse.adapters.postgres.changes import searchable, taken, write_audit
from posthouse.adapters.postgres.database import Connection, Database
from posthouse.adapters.postgres.queries import Queries
from posthouse.domain.access import Principal
from posthouse.domain.endpoint import EndpointConfig, Secret
from posthouse.domain.errors import Conflict, StoreUnavailable
from posthouse.domain.ids import APP, ENDPOINT, AppId, EndpointId, parse_id
from posthouse.ports.catalogue import AppEntry, EventTypeEntry
from posthouse.ports.directory import ApiKey, App, Audit, EventType, Sealer, StoredEndpoint, StoredSecret

SQL = Queries("directory.sql")

_FIRST_VERSION: Final = 1
_encode: Final = msgspec.json.Encoder().encode
_config: Final = msgspec.json.Decoder(EndpointConfig)


class PostgresDirectory:
    """`ports.directory.Directory` and `ports.catalogue.Catalogue` on PostgreSQL."""

    def __init__(self, database: Database, sealer: Sealer) -> None:
        self._database = database
        self._sealer = sealer
        self._partitions: int | None = None

    async def installation_id(self) -> bytes:
        return bytes((await self._installation())["id"])

    async def _installation(self) -> asyncpg.Record:
        row = await self._database.fetchrow(SQL.installation)
        if row is None:
            raise StoreUnavailable("the installation was not made yet")
        return row

    @asynccontextmanager
    async def _writing(self, *, unique: str) -> AsyncIterator[Connection]:
        """A transaction that raises Conflict where something unique is taken."""
        with taken(unique):
            async with self._database.transaction() as connection:
                yield connection

    # What intake asks (`ports.catalogue`)

    async def find_app(self, reference: str) -> AppEntry | None:
        row = await self._database.fetchrow(SQL.find_app, *_names(APP, reference))
        return None if row is None else AppEntry(AppId(row["id"]), row["partition"], row["uid"])

    async def event_type(self, name: str) -> EventTypeEntry | None:
        row = await self._database.fetchrow(SQL.event_type_entry, searchable(name))
        return None if row is None else EventTypeEntry(name, row["schema"], row["archived"])

    async def add_event_type(self, name: str) -> None:
        async with self._database.transaction() as connection:
            await connection.execute(SQL.bump_shared)
            if await connection.fetch(SQL.create_event_type, name, "", None, "[]"):
                await write_audit(connection, Audit("system", "event_type.created", name, {"by": "publishing"}))

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
            await connection.execute(SQL.bump_shared)
            examples = _encode(entry.examples).decode()
            if not await connection.fetch(SQL.create_event_type, entry.name, entry.description, entry.schema, examples):
                raise Conflict(f"there is an event type {entry.name} already", code="event_type_exists")
            await write_audit(connection, audit)
            return _event_type(await _one(connection, SQL.event_type, entry.name))

    async def change_event_type(
        self, name: str, change: Callable[[EventType], EventType], audit: Audit
    ) -> EventType | None:
        async with self._database.transaction() as connection:
            await connection.execute(SQL.bump_shared)
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
                _encode(new.examples).decode(),
                new.version,
                new.archived_at,
            )
            await write_audit(connection, audit)
            return _event_type(await _one(connection, SQL.event_type, name))

    # Apps

    async def apps(self, *, before: bytes, limit: int) -> list[App]:
        return [_app(row) for row in await self._database.fetch(SQL.apps, before, limit)]

    async def get_app(self, reference: str) -> App | None:
        row = await self._database.fetchrow(SQL.app, *_names(APP, reference))
        return None if row is None else _app(row)

    async def create_app(self, app: App, audit: Audit) -> App:
        if self._partitions is None:
            self._partitions = (await self._installation())["partitions"]
        metadata = _encode(app.metadata).decode()
        async with self._writing(unique="uid") as connection:
            partition = int.from_bytes(sha256(app.id).digest()[:8], "big") % self._partitions
            await connection.execute(SQL.create_app, app.id, partition, app.uid, app.name, metadata)
            await write_audit(connection, audit)
            return _app(await _one(connection, SQL.app, app.id, None))

    async def change_app(self, app_id: AppId, change: Callable[[App], App], audit: Audit) -> App | None:
        async with self._writing(unique="uid") as connection:
            await connection.fetch(SQL.bump_app, app_id)
            row = await connection.fetchrow(SQL.app, app_id, None)
            if row is None:
                return None
            old = _app(row)
            new = change(old)
            if new == old:
                return old
            await connection.execute(SQL.update_app, app_id, new.uid, new.name, _encode(new.metadata).decode())
            await write_audit(connection, audit)
            return _app(await _one(connection, SQL.app, app_id, None))

    async def delete_app(self, app_id: AppId, audit: Audit) -> bool:
        async with self._database.transaction() as connection:
            await connection.fetch(SQL.lock_app_endpoints, app_id)
            await connection.fetch(SQL.bump_app, app_id)
            if not await connection.fetch(SQL.delete_app, app_id):
                return False
            endpoints = await connection.fetch(SQL.delete_app_endpoints, app_id)
            await connection.execute(SQL.drop_secrets, [row["id"] for row in endpoints])
            await connection.execute(SQL.revoke_app_keys, app_id)
            await connection.execute(SQL.drop_app_grants, app_id)
            await connection.execute(SQL.bump_shared)
            await write_audit(connection, audit)
        return True

    # Endpoints

    async def endpoints(self, app_id: AppId, *, before: bytes, limit: int) -> list[StoredEndpoint]:
        return [_endpoint(row) for row in await self._database.fetch(SQL.endpoints, app_id, before, limit)]

    async def get_endpoint(self, app_id: AppId, reference: str) -> StoredEndpoint | None:
        row = await self._database.fetchrow(SQL.endpoint, app_id, *_names(ENDPOINT, reference))
        return None if row is None else _endpoint(row)

    async def create_endpoint(
        self, endpoint: StoredEndpoint, secret: Secret, audit: Audit, *, endpoints_max: int
    ) -> StoredEndpoint | None:
        async with self._writing(unique="uid") as connection:
            await connection.fetch(SQL.bump_app, endpoint.app_id)
            app = await connection.fetchrow(SQL.count_endpoints, endpoint.app_id)
            if app is None or not app["there"]:
                return None
            if app["endpoints"] >= endpoints_max:
                raise Conflict(f"the app has {endpoints_max} endpoints, which is the most", code="too_many_endpoints")
            await connection.execute(
                SQL.create_endpoint,
                endpoint.id,
                endpoint.app_id,
                endpoint.uid,
                _encode(endpoint.config).decode(),
                _encode(endpoint.metadata).decode(),
                endpoint.enabled,
                endpoint.disabled_reason,
                endpoint.disabled_at,
                endpoint.paused,
            )
            await self._add_secret(connection, endpoint.id, secret, _FIRST_VERSION)
            await write_audit(connection, audit)
            return _endpoint(await _one(connection, SQL.endpoint, endpoint.app_id, endpoint.id, None))

    async def change_endpoint(
        self, app_id: AppId, endpoint_id: EndpointId, change: Callable[[StoredEndpoint], StoredEndpoint], audit: Audit
    ) -> StoredEndpoint | None:
        async with self._writing(unique="uid") as connection:
            row = await connection.fetchrow(SQL.endpoint_locked, app_id, endpoint_id)
            if row is None:
                return None
            old = _endpoint(row)
            new = change(old)
            if new == old:
                return old
            config = _encode(new.config).decode()
            await connection.execute(
                SQL.update_endpoint,
                endpoint_id,
                new.uid,
                new.revision,
                config,
                _encode(new.metadata).decode(),
                new.enabled,
                new.disabled_reason,
                new.disabled_at,
                new.paused,
            )
            if new.revision != old.revision:
                await connection.execute(SQL.add_revision, endpoint_id, new.revision, config)
            if new.enabled and not old.enabled:
                await connection.execute(SQL.forget_health, endpoint_id)
            await connection.fetch(SQL.bump_app, app_id)
            await write_audit(connection, audit)
            return _endpoint(await _one(connection, SQL.endpoint, app_id, endpoint_id, None))

    async def delete_endpoint(self, app_id: AppId, endpoint_id: EndpointId, audit: Audit) -> bool:
        async with self._database.transaction() as connection:
            if not await connection.fetch(SQL.endpoint_locked, app_id, endpoint_id):
                return False
            await connection.execute(SQL.delete_endpoint, endpoint_id)
            await connection.execute(SQL.drop_secrets, [endpoint_id])
            await connection.execute(SQL.forget_health, endpoint_id)
            await connection.fetch(SQL.bump_app, app_id)
            await write_audit(connection, audit)
        return True

    # Secrets

    async def secrets(
        self, app_id: AppId, endpoint_id: EndpointId, *, now: float, audit: Audit
    ) -> list[StoredSecret] | None:
        async with self._database.transaction() as connection:
            if not await connection.fetch(SQL.endpoint, app_id, endpoint_id, None):
                return None
            await write_audit(connection, audit)
            return self._open(await connection.fetch(SQL.secrets, endpoint_id, now))

    async def rotate_secret(
        self,
        app_id: AppId,
        endpoint_id: EndpointId,
        secret: Secret,
        *,
        check: Callable[[Sequence[StoredSecret]], None],
        now: float,
        expires_at: float,
        audit: Audit,
    ) -> bool:
        async with self._database.transaction() as connection:
            if not await connection.fetch(SQL.endpoint_locked, app_id, endpoint_id):
                return False
            live = self._open(await connection.fetch(SQL.secrets, endpoint_id, now))
            check(live)
            newest = max((known.version for known in live), default=_FIRST_VERSION - 1)
            await connection.execute(SQL.expire_secrets, endpoint_id, expires_at)
            await connection.execute(SQL.drop_expired_secrets, endpoint_id, now)
            await self._add_secret(connection, endpoint_id, secret, newest + 1)
            await connection.fetch(SQL.bump_app, app_id)
            await write_audit(connection, audit)
        return True

    async def _add_secret(self, connection: Connection, owner: bytes, secret: Secret, version: int) -> None:
        sealed = self._sealer.seal(secret.key, owner, secret.kind, version)
        await connection.execute(SQL.add_secret, owner, secret.kind, version, sealed)

    def _open(self, rows: list[asyncpg.Record]) -> list[StoredSecret]:
        return [
            StoredSecret(
                Secret(row["kind"], self._sealer.open(row["ciphertext"], row["owner_id"], row["kind"], row["version"])),
                row["version"],
                row["created_at"],
                row["expires_at"],
            )
            for row in rows
        ]

    # API keys

    async def keys(self, *, before: bytes, limit: int) -> list[ApiKey]:
        return [_key(row) for row in await self._database.fetch(SQL.keys, before, limit)]

    async def principal(self, key_hash: bytes) -> Principal | None:
        row = await self._database.fetchrow(SQL.principal, key_hash)
        if row is None:
            return None
        return Principal(row["id"], None if row["app_id"] is None else AppId(row["app_id"]), row["name"])

    async def create_key(self, key: ApiKey, key_hash: bytes, audit: Audit) -> ApiKey | None:
        async with self._writing(unique="key") as connection:
            created_at = await connection.fetchval(SQL.create_key, key.id, key_hash, key.hint, key.name, key.app_id)
            if created_at is None:
                return None
            await connection.execute(SQL.bump_shared)
            await write_audit(connection, audit)
            return msgspec.structs.replace(key, created_at=created_at)

    async def create_first_key(self, key: ApiKey, key_hash: bytes, audit: Audit) -> bool:
        async with self._writing(unique="key") as connection:
            await connection.execute(SQL.bump_shared)
            if await connection.fetchval(SQL.admin_keys):
                return False
            await connection.fetch(SQL.create_key, key.id, key_hash, key.hint, key.name, None)
            await write_audit(connection, audit)
        return True

    async def revoke_key(self, key_id: bytes, audit: Audit) -> ApiKey | None:
        async with self._database.transaction() as connection:
            await connection.execute(SQL.bump_shared)
            row = await connection.fetchrow(SQL.key_locked, key_id)
            if row is None:
                return None
            if row["app_id"] is None and await connection.fetchval(SQL.admin_keys) == 1:
                raise Conflict(
                    "this is the last key of an administrator; make another one first", code="last_admin_key"
                )
            revoked_at = await connection.fetchval(SQL.revoke_key, key_id)
            await write_audit(connection, audit)
            return msgspec.structs.replace(_key(row), revoked_at=revoked_at)


async def _one(connection: Connection, query: str, *arguments: object) -> asyncpg.Record:
    row = await connection.fetchrow(query, *arguments)
    assert row is not None, "a row that this transaction wrote"
    return row


def _names(prefix: str, reference: str) -> tuple[bytes | None, str]:
    """What a reference may be: an id, or a uid."""
    return parse_id(prefix, reference), searchable(reference)


def _event_type(row: asyncpg.Record) -> EventType:
    return EventType(**{**row, "examples": tuple(msgspec.json.decode(row["examples"]))})


def _app(row: asyncpg.Record) -> App:
    return App(**{**row, "metadata": msgspec.json.decode(row["metadata"])})


def _endpoint(row: asyncpg.Record) -> StoredEndpoint:
    decoded = {"config": _config.decode(row["config"]), "metadata": msgspec.json.decode(row["metadata"])}
    return StoredEndpoint(**{**row, **decoded})


def _key(row: asyncpg.Record) -> ApiKey:
    return ApiKey(**row)
