"""Sealing anew on PostgreSQL.

Rows are locked in the order of all configuration: endpoints, then the app. The lock of an app is what keeps its newest data key
the newest: nobody seals with an older one, and an older one is removed only under it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from itertools import groupby

import asyncpg
import structlog

from posthouse.adapters.postgres.changes import write_audit
from posthouse.adapters.postgres.database import Connection, Database
from posthouse.adapters.postgres.sealed import SQL, add_data_key, data_key_of, newest_data_key
from posthouse.domain.errors import SetupError
from posthouse.domain.ids import ID_BYTES
from posthouse.domain.limits import REKEY_PAGE_MAX
from posthouse.ports.directory import SYSTEM, Audit
from posthouse.ports.sealing import Sealer
from posthouse.ports.vault import Remaining, Step
from posthouse.wire.sealing import DATA_KEY

log = structlog.get_logger()


class PostgresVault:
    """`ports.vault.Vault`."""

    def __init__(self, database: Database, sealer: Sealer, *, page_max: int = REKEY_PAGE_MAX) -> None:
        self._database = database
        self._sealer = sealer
        self._page_max = page_max
        self._first = bytes.fromhex(sealer.sealing_id)

    async def reseal_data_keys(self, after: bytes) -> Step:
        async with self._database.transaction() as connection:
            app, version = _from(after)[:ID_BYTES], int.from_bytes(after[ID_BYTES:], "big")
            rows = await connection.fetch(SQL.data_keys_to_reseal, app, version, self._first, self._page_max)
            done = failed = 0
            for row in rows:
                app_id, version, old = row["app_id"], row["version"], row["ciphertext"]
                try:
                    new = self._sealer.reseal(old, app_id, DATA_KEY, version)
                except SetupError as error:
                    failed += 1
                    _unreadable(error, app_id)
                    continue
                done += await connection.fetchval(SQL.reseal_data_key, app_id, version, old, new) is not None
        if len(rows) < self._page_max:
            return Step(done, failed, None)
        return Step(done, failed, rows[-1]["app_id"] + rows[-1]["version"].to_bytes(4, "big"))

    async def renew_data_keys(self, after: bytes) -> Step:
        rows = await self._database.fetch(SQL.apps_to_renew, _from(after), self._sealer.sealing_id, self._page_max)
        return await self._each_app([row["app_id"] for row in rows], self._renew)

    async def _renew(self, connection: Connection, app_id: bytes) -> int:
        newest = await connection.fetchrow(SQL.newest_made_with, app_id)
        if newest is None or newest["made_with"] == self._sealer.sealing_id:
            return 0
        await add_data_key(connection, self._sealer, app_id, newest["version"] + 1)
        return 1

    async def drop_data_keys(self, after: bytes) -> Step:
        rows = await self._database.fetch(SQL.apps_with_several, _from(after), self._page_max)
        return await self._each_app([row["app_id"] for row in rows], self._drop)

    async def _drop(self, connection: Connection, app_id: bytes) -> int:
        return len(await connection.fetch(SQL.drop_unused_data_keys, app_id))

    async def _each_app(self, apps: Sequence[bytes], work: Callable[[Connection, bytes], Awaitable[int]]) -> Step:
        """Each app in a transaction of its own that has locked it."""
        done = 0
        for app_id in apps:
            async with self._database.transaction() as connection:
                if await connection.fetch(SQL.lock_app, app_id):
                    done += await work(connection, app_id)
        return Step(done, 0, apps[-1] if len(apps) == self._page_max else None)

    async def reseal_secrets(self, after: bytes) -> Step:
        owners = await self._database.fetch(SQL.owners, _from(after), self._first, self._page_max)
        done = failed = 0
        by_app = sorted((row for row in owners if row["behind"]), key=lambda row: row["app_id"] or b"")
        for app_id, group in groupby(by_app, key=lambda row: row["app_id"]):
            ids = [row["owner_id"] for row in group]
            async with self._database.transaction() as connection:
                if app_id is None:
                    one, other = await self._reseal_directly(connection, ids)
                else:
                    one, other = await self._reseal_of_app(connection, app_id, ids)
            done += one
            failed += other
        return Step(done, failed, owners[-1]["owner_id"] if len(owners) == self._page_max else None)

    async def _reseal_of_app(
        self, connection: Connection, app_id: bytes, endpoints: Sequence[bytes]
    ) -> tuple[int, int]:
        await connection.fetch(SQL.lock_endpoints, endpoints)
        if not await connection.fetch(SQL.lock_app, app_id):
            return 0, 0
        data_key = await newest_data_key(connection, self._sealer, app_id)
        done = failed = 0
        for row in await connection.fetch(SQL.secrets_behind, endpoints, data_key.version):
            old, place = row["ciphertext"], (row["owner_id"], row["kind"], row["version"])
            try:
                plain = self._sealer.open(old, *place, data_key_of(old, app_id, row["data_key"]))
                new = self._sealer.seal(plain, *place, data_key)
            except SetupError as error:
                failed += 1
                _unreadable(error, app_id)
                continue
            statement = SQL.reseal_secret if row["name"] is None else SQL.reseal_key
            written = (row["owner_id"], row["name"] or row["kind"], row["version"], old, new, data_key.version)
            done += await connection.fetchval(statement, *written) is not None
        return done, failed

    async def _reseal_directly(self, connection: Connection, owners: Sequence[bytes]) -> tuple[int, int]:
        done = failed = 0
        rows: list[asyncpg.Record] = await connection.fetch(SQL.sealed_directly, owners)
        for row in rows:
            place = (row["owner_id"], row["kind"], row["version"])
            try:
                new = self._sealer.reseal(row["ciphertext"], *place)
            except SetupError as error:
                failed += 1
                _unreadable(error, row["owner_id"])
                continue
            done += await connection.fetchval(SQL.reseal_secret, *place, row["ciphertext"], new, None) is not None
        return done, failed

    async def remaining(self) -> Remaining:
        row = await self._database.fetchrow(SQL.remaining, self._first, self._sealer.sealing_id)
        assert row is not None, "it counts"
        return Remaining(**row)

    async def rekeyed(self, detail: dict[str, int]) -> None:
        async with self._database.transaction() as connection:
            await write_audit(connection, Audit(SYSTEM, "master_key.rekeyed", self._sealer.sealing_id, dict(detail)))


def _from(after: bytes) -> bytes:
    return after or bytes(ID_BYTES)


def _unreadable(error: SetupError, owner: bytes) -> None:
    log.error("secret.unreadable", owner=owner.hex(), error=str(error))
