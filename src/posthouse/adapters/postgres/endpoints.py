"""Endpoints and their secrets on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import asyncpg
import msgspec

from posthouse.adapters.postgres.apps import quotas_of
from posthouse.adapters.postgres.changes import searchable, write_audit
from posthouse.adapters.postgres.configuration import Configuration, bump_app, encode, names, one
from posthouse.adapters.postgres.database import Connection
from posthouse.adapters.postgres.queries import Queries
from posthouse.adapters.postgres.rows import health_of
from posthouse.adapters.postgres.sealed import FIRST_VERSION, data_key_of, key_kind, newest_data_key, opened_key
from posthouse.adapters.postgres.verifications import drop, renew, verification_of
from posthouse.domain.circuit import Health
from posthouse.domain.endpoint import BLANK, EndpointConfig, Secret
from posthouse.domain.errors import Conflict, Unreadable
from posthouse.domain.ids import ENDPOINT, AppId, EndpointId, parse_id
from posthouse.domain.limits import FIND_LENGTH_MAX, FOUND_ROWS_MAX
from posthouse.domain.named_keys import KeyVersion
from posthouse.domain.quota import UNLIMITED, check_endpoints
from posthouse.ports.directory import (
    EVERY_ENDPOINT,
    Audit,
    ChangeKeys,
    EndpointFilter,
    EndpointRevision,
    SecretsCheck,
    StoredEndpoint,
    StoredSecret,
    Waiting,
    keep_keys,
)
from posthouse.ports.sealing import DataKey

SQL = Queries("endpoints.sql")

_WAITING: Final = {
    Waiting.PAUSED: SQL.all_endpoints_paused,
    Waiting.CIRCUIT_OPEN: SQL.all_endpoints_circuit_open,
    Waiting.UNVERIFIED: SQL.all_endpoints_unverified,
}

_config: Final = msgspec.json.Decoder(EndpointConfig)


class PostgresEndpoints(Configuration):
    """The endpoints of `ports.directory.Directory`."""

    async def endpoints(
        self, app_id: AppId, *, before: bytes, limit: int, which: EndpointFilter = EVERY_ENDPOINT
    ) -> list[StoredEndpoint]:
        found = beginnings = None
        if which.text is not None:
            if not searchable(which.text):
                return []
            found, beginnings = parse_id(ENDPOINT, which.text), [which.text, *_urls(which.text)]
        arguments = app_id, before, which.enabled, limit, which.waiting, beginnings, found
        return [_endpoint(row) for row in await self._database.fetch(SQL.endpoints, *arguments)]

    async def all_endpoints(self, *, before: bytes, limit: int, which: EndpointFilter) -> list[StoredEndpoint]:
        text, waiting, enabled = which.text, which.waiting, which.enabled
        if text is not None:
            if not searchable(text):
                return []
            beginnings = [text], _urls(text)
            rows = await self._database.fetch(
                SQL.endpoints_found, parse_id(ENDPOINT, text), *beginnings, FOUND_ROWS_MAX, enabled, waiting, limit
            )
        elif waiting is not None:
            rows = await self._database.fetch(_WAITING[waiting], before, limit, enabled)
        elif enabled is None:
            rows = await self._database.fetch(SQL.all_endpoints, before, limit)
        else:
            rows = await self._database.fetch(SQL.all_endpoints_enabled, before, limit, enabled)
        return [_endpoint(row) for row in rows]

    async def get_endpoint(self, app_id: AppId, reference: str) -> StoredEndpoint | None:
        row = await self._database.fetchrow(SQL.endpoint, app_id, *names(ENDPOINT, reference))
        return None if row is None else _endpoint(row)

    async def create_endpoint(
        self,
        endpoint: StoredEndpoint,
        secret: Secret,
        audit: Audit,
        *,
        endpoints_max: int,
        change_keys: ChangeKeys = keep_keys,
    ) -> StoredEndpoint | None:
        async with self._writing(unique="uid") as connection:
            await bump_app(connection, endpoint.app_id)
            app = await connection.fetchrow(SQL.count_endpoints, endpoint.app_id, endpoint.uid)
            if app is None or not app["there"]:
                return None
            if app["taken"]:
                raise Conflict("this uid is taken by another one", code="uid_taken")
            check_endpoints(quotas_of(app["quotas"]) or UNLIMITED, app["endpoints"])
            if app["endpoints"] >= endpoints_max:
                raise Conflict(f"the app has {endpoints_max} endpoints, which is the most", code="too_many_endpoints")
            await connection.execute(
                SQL.create_endpoint,
                endpoint.id,
                endpoint.app_id,
                endpoint.uid,
                encode(endpoint.config).decode(),
                encode(endpoint.metadata).decode(),
                endpoint.enabled,
                endpoint.disabled_reason,
                endpoint.disabled_at,
                endpoint.paused,
            )
            data_key = await newest_data_key(connection, self._sealer, endpoint.app_id)
            await self._add_secret(connection, endpoint.id, secret, FIRST_VERSION, data_key)
            await self._write_keys(connection, endpoint.id, [], change_keys(endpoint.config, []), data_key)
            await renew(connection, endpoint.id, BLANK, endpoint.config)
            await write_audit(connection, audit)
            return _endpoint(await one(connection, SQL.endpoint, endpoint.app_id, endpoint.id, None))

    async def change_endpoint(
        self,
        app_id: AppId,
        endpoint_id: EndpointId,
        change: Callable[[StoredEndpoint], StoredEndpoint],
        audit: Audit,
        *,
        check_secrets: SecretsCheck | None = None,
        change_keys: ChangeKeys = keep_keys,
    ) -> StoredEndpoint | None:
        async with self._writing(unique="uid") as connection:
            row = await connection.fetchrow(SQL.endpoint_locked, app_id, endpoint_id)
            if row is None:
                return None
            old = _endpoint(row)
            new = change(old)
            if check_secrets is not None:
                check_secrets(self._open(await connection.fetch(SQL.all_secrets, endpoint_id)))
            keys = await self._open_keys(connection, endpoint_id)
            new_keys = change_keys(new.config, keys)
            if new == old and set(new_keys) == set(keys):
                return old
            # Before the row is written: whoever makes an endpoint holds the counter, and would wait for a uid that is written.
            await bump_app(connection, app_id)
            if set(new_keys) != set(keys):
                data_key = await newest_data_key(connection, self._sealer, app_id)
                await self._write_keys(connection, endpoint_id, keys, new_keys, data_key)
            config = encode(new.config).decode()
            await connection.execute(
                SQL.update_endpoint,
                endpoint_id,
                new.uid,
                new.revision,
                config,
                encode(new.metadata).decode(),
                new.enabled,
                new.disabled_reason,
                new.disabled_at,
                new.paused,
            )
            if new.revision != old.revision:
                await connection.execute(SQL.add_revision, endpoint_id, new.revision, config)
            if new.enabled and not old.enabled:
                await connection.execute(SQL.forget_health, endpoint_id)
            await renew(connection, endpoint_id, old.config, new.config, keys=set(new_keys) != set(keys))
            await write_audit(connection, audit)
            return _endpoint(await one(connection, SQL.endpoint, app_id, endpoint_id, None))

    async def delete_endpoint(
        self,
        app_id: AppId,
        endpoint_id: EndpointId,
        audit: Audit,
        *,
        check: Callable[[StoredEndpoint], None] | None = None,
    ) -> bool:
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(SQL.endpoint_locked, app_id, endpoint_id)
            if row is None:
                return False
            if check is not None:
                check(_endpoint(row))
            await connection.execute(SQL.delete_endpoint, endpoint_id)
            await connection.execute(SQL.drop_secrets, endpoint_id)
            await connection.execute(SQL.drop_keys, endpoint_id)
            await connection.execute(SQL.forget_health, endpoint_id)
            await bump_app(connection, app_id)
            await drop(connection, [endpoint_id])
            await write_audit(connection, audit)
        return True

    async def endpoint_revisions(
        self, app_id: AppId, endpoint_id: EndpointId, *, before: int, limit: int
    ) -> list[EndpointRevision]:
        rows = await self._database.fetch(SQL.revisions, app_id, endpoint_id, before, limit)
        return [_revision(row) for row in rows]

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
        check: SecretsCheck,
        now: float,
        expires_at: float,
        audit: Audit,
    ) -> bool:
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(SQL.endpoint_locked, app_id, endpoint_id)
            if row is None:
                return False
            rows = await connection.fetch(SQL.secrets, endpoint_id, now)
            check(self._open(rows, all_of_them=expires_at > now))  # those that end at once may be lost
            newest = max((known["version"] for known in rows), default=FIRST_VERSION - 1)
            await bump_app(connection, app_id)  # which locks the app: its data key stays the newest
            data_key = await newest_data_key(connection, self._sealer, app_id)
            await connection.execute(SQL.expire_secrets, endpoint_id, expires_at)
            await connection.execute(SQL.drop_expired_secrets, endpoint_id, now)
            await self._add_secret(connection, endpoint_id, secret, newest + 1, data_key)
            config = _endpoint(row).config
            await renew(connection, endpoint_id, config, config, keys=True)
            await write_audit(connection, audit)
        return True

    async def _add_secret(
        self, connection: Connection, owner: bytes, secret: Secret, version: int, data_key: DataKey
    ) -> None:
        sealed = self._sealer.seal(secret.key, owner, secret.kind, version, data_key)
        await connection.execute(SQL.add_secret, owner, secret.kind, version, sealed, data_key.version)

    def _open(self, rows: list[asyncpg.Record], *, all_of_them: bool = True) -> list[StoredSecret]:
        """Raises Unreadable where one does not open, or leaves it out."""
        found = []
        for row in rows:
            sealed, owner, kind, version = row["ciphertext"], row["owner_id"], row["kind"], row["version"]
            try:
                key = self._sealer.open(
                    sealed, owner, kind, version, data_key_of(sealed, row["app_id"], row["data_key"])
                )
            except Unreadable:
                if all_of_them:
                    raise
                continue
            found.append(StoredSecret(Secret(kind, key), version, row["created_at"], row["expires_at"]))
        return found

    # Named keys

    async def endpoint_keys(self, app_id: AppId, endpoint_id: EndpointId) -> list[KeyVersion] | None:
        if not await self._database.fetch(SQL.endpoint, app_id, endpoint_id, None):
            return None
        return [KeyVersion(**row) for row in await self._database.fetch(SQL.keys, endpoint_id)]

    async def change_endpoint_keys(
        self, app_id: AppId, endpoint_id: EndpointId, change: ChangeKeys, audit: Audit
    ) -> list[KeyVersion] | None:
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(SQL.endpoint_locked, app_id, endpoint_id)
            if row is None:
                return None
            old = await self._open_keys(connection, endpoint_id)
            config = _endpoint(row).config
            new = change(config, old)
            if set(new) != set(old):
                await bump_app(connection, app_id)
                data_key = await newest_data_key(connection, self._sealer, app_id)
                await self._write_keys(connection, endpoint_id, old, new, data_key)
                await renew(connection, endpoint_id, config, config, keys=True)
                await write_audit(connection, audit)
            return [KeyVersion(**row) for row in await connection.fetch(SQL.keys, endpoint_id)]

    async def _write_keys(
        self,
        connection: Connection,
        endpoint_id: EndpointId,
        old: Sequence[KeyVersion],
        new: Sequence[KeyVersion],
        data_key: DataKey,
    ) -> None:
        there = {(one.name, one.version): one for one in old}
        wanted = {(one.name, one.version): one for one in new}
        for name, version in there.keys() - wanted.keys():
            await connection.execute(SQL.drop_key, endpoint_id, name, version)
        for place, key in wanted.items():
            if place not in there:
                assert key.text is not None, "a new version is in the clear"
                sealed = self._sealer.seal(key.text.encode(), endpoint_id, key_kind(key.name), key.version, data_key)
                await connection.execute(SQL.add_key, endpoint_id, *place, sealed, data_key.version)
            elif key.expires_at != there[place].expires_at:
                await connection.execute(SQL.expire_key, endpoint_id, *place, key.expires_at)

    async def _open_keys(self, connection: Connection, endpoint_id: EndpointId) -> list[KeyVersion]:
        return [
            KeyVersion(
                row["name"],
                row["version"],
                opened_key(
                    self._sealer.open,
                    row["ciphertext"],
                    endpoint_id,
                    row["name"],
                    row["version"],
                    row["app_id"],
                    row["data_key"],
                ),
                row["created_at"],
                row["expires_at"],
            )
            for row in await connection.fetch(SQL.sealed_keys, endpoint_id)
        ]


def _urls(text: str) -> list[str]:
    """How a URL may begin that somebody looks for: its host is written in small letters, and its scheme often not at all."""
    whole = [text] if "://" in text else [f"https://{text}", f"http://{text}"]
    return list(dict.fromkeys(each[:FIND_LENGTH_MAX] for one in whole for each in (one, one.lower())))


def _endpoint(row: asyncpg.Record) -> StoredEndpoint:
    columns = {name: value for name, value in row.items() if name not in Health.__struct_fields__}
    columns["config"] = _config.decode(row["config"])
    columns["metadata"] = msgspec.json.decode(row["metadata"])
    columns["keys"] = tuple(row["keys"])
    columns["verification"] = verification_of(row["verification"])
    return StoredEndpoint(**columns, health=health_of(row))


def _revision(row: asyncpg.Record) -> EndpointRevision:
    return EndpointRevision(row["revision"], _config.decode(row["config"]), row["created_at"])
