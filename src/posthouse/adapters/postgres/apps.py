"""Apps on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Final

import asyncpg
import msgspec

from posthouse.adapters.postgres.changes import searchable, write_audit
from posthouse.adapters.postgres.configuration import Configuration, bump_app, bump_shared, encode, names, one
from posthouse.adapters.postgres.queries import Queries
from posthouse.adapters.postgres.verifications import drop
from posthouse.domain.errors import Conflict
from posthouse.domain.ids import APP, TRIGGER, AppId, format_id, parse_id
from posthouse.domain.limits import FOUND_ROWS_MAX
from posthouse.domain.quota import UNLIMITED, Quotas
from posthouse.ports.directory import App, Audit

SQL = Queries("apps.sql")

NAMED_TRIGGERS: Final = 5
"""Where an app is not deleted because of its triggers, so many are named."""

_quotas: Final = msgspec.json.Decoder(Quotas)


class PostgresApps(Configuration):
    """The apps of `ports.directory.Directory`."""

    async def apps(self, *, before: bytes, limit: int) -> list[App]:
        return [_app(row) for row in await self._database.fetch(SQL.apps, before, limit)]

    async def find_apps(self, text: str, *, limit: int) -> list[App]:
        if not searchable(text):
            return []
        rows = await self._database.fetch(SQL.apps_found, parse_id(APP, text), text, FOUND_ROWS_MAX, limit)
        return [_app(row) for row in rows]

    async def get_app(self, reference: str) -> App | None:
        row = await self._database.fetchrow(SQL.app, *names(APP, reference))
        return None if row is None else _app(row)

    async def create_app(self, app: App, audit: Audit) -> App:
        if self._partitions is None:
            self._partitions = (await self._installation())["partitions"]
        async with self._writing(unique="uid") as connection:
            partition = int.from_bytes(sha256(app.id).digest()[:8], "big") % self._partitions
            await connection.execute(
                SQL.create_app, app.id, partition, app.uid, app.name, encode(app.metadata).decode(), _json(app.quotas)
            )
            await write_audit(connection, audit)
            return _app(await one(connection, SQL.app, app.id, None))

    async def change_app(self, app_id: AppId, change: Callable[[App], App], audit: Audit) -> App | None:
        async with self._writing(unique="uid") as connection:
            await bump_app(connection, app_id)
            row = await connection.fetchrow(SQL.app, app_id, None)
            if row is None:
                return None
            old = _app(row)
            new = change(old)
            if new == old:
                return old
            await connection.execute(
                SQL.update_app, app_id, new.uid, new.name, encode(new.metadata).decode(), _json(new.quotas)
            )
            if new.quotas != old.quotas:
                await bump_shared(connection)  # intake keeps them with the app
            await write_audit(connection, audit)
            return _app(await one(connection, SQL.app, app_id, None))

    async def delete_app(self, app_id: AppId, audit: Audit, *, check: Callable[[App], None] | None = None) -> bool:
        async with self._database.transaction() as connection:
            await connection.fetch(SQL.lock_app_endpoints, app_id)
            await bump_app(connection, app_id)
            row = await connection.fetchrow(SQL.app, app_id, None)
            if row is None:
                return False
            if check is not None:
                check(_app(row))
            # Each has left something in the database that it watches, or is at an address that others send to.
            triggers = await connection.fetch(SQL.app_triggers, app_id, NAMED_TRIGGERS + 1)
            if triggers:
                told = ", ".join(row["uid"] or format_id(TRIGGER, row["id"]) for row in triggers[:NAMED_TRIGGERS])
                told += ", …" if len(triggers) > NAMED_TRIGGERS else ""
                raise Conflict(
                    f"triggers publish to this app: {told}; delete them first, or let them publish to another app",
                    code="app_has_triggers",
                )
            await connection.execute(SQL.delete_app, app_id)
            endpoints = await connection.fetch(SQL.delete_app_endpoints, app_id)
            gone = [row["id"] for row in endpoints]
            await connection.execute(SQL.drop_app_secrets, gone)
            await connection.execute(SQL.drop_app_endpoint_keys, gone)
            await drop(connection, gone)
            await connection.execute(SQL.drop_data_keys, app_id)
            await connection.execute(SQL.revoke_app_keys, app_id)
            await connection.execute(SQL.drop_app_grants, app_id)
            await connection.execute(SQL.drop_app_schedules, app_id)
            await bump_shared(connection)
            await write_audit(connection, audit)
        return True


def quotas_of(stored: str | None) -> Quotas | None:
    """Quotas as they are stored; None where the app has none."""
    return None if stored is None else _quotas.decode(stored)


def _json(quotas: Quotas) -> str | None:
    return None if quotas == UNLIMITED else encode(quotas).decode()


def _app(row: asyncpg.Record) -> App:
    decoded = {"metadata": msgspec.json.decode(row["metadata"]), "quotas": quotas_of(row["quotas"]) or UNLIMITED}
    return App(**{**row, **decoded})
