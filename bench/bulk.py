"""Apps and endpoints by the thousand, written into the database: through the API they would take minutes."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

from bench.server import Broken
from posthouse.adapters.postgres.database import Database
from posthouse.adapters.postgres.examine import embedded_dsn
from posthouse.adapters.system.keyring import Sealer, load_keyring
from posthouse.domain.ids import uuid7
from posthouse.ports.sealing import DataKey

STATEMENT_SECONDS: Final = 300
ROWS_A_STATEMENT: Final = 10_000


class NewEndpoint(NamedTuple):
    """An endpoint of the app with this uid; `events` are its patterns, none: all."""

    app: str
    url: str
    events: tuple[str, ...] = ()


class Bulk:
    """Writes what the API would, in statements of thousands of rows."""

    def __init__(self, database: Database, sealer: Sealer) -> None:
        self.database = database
        self._sealer = sealer
        self._data_keys: dict[str, DataKey] = {}

    async def apps(self, uids: Sequence[str]) -> list[bytes]:
        """Make apps, spread over the partitions in turn; their ids."""
        ids = new_ids(len(uids))
        await self.database.execute(
            "INSERT INTO app (id, uid, partition, config_version)"
            " SELECT i, u, n % (SELECT partitions FROM installation), 1"
            " FROM unnest($1::uuid[], $2::text[]) WITH ORDINALITY v (i, u, n)",
            ids,
            uids,
        )
        return ids

    async def endpoints(self, wanted: Sequence[NewEndpoint]) -> list[bytes]:
        """Make endpoints of apps that are there, each with a revision and a secret; their ids."""
        made: list[bytes] = []
        for start in range(0, len(wanted), ROWS_A_STATEMENT):
            made += await self._endpoints(wanted[start : start + ROWS_A_STATEMENT])
        return made

    async def _endpoints(self, wanted: Sequence[NewEndpoint]) -> list[bytes]:
        ids = new_ids(len(wanted))
        await self.database.execute(
            "WITH made AS (INSERT INTO endpoint (id, app_id, config)"
            " SELECT v.id, a.id, v.config::jsonb FROM unnest($1::uuid[], $2::text[], $3::text[]) v (id, uid, config)"
            " JOIN app a ON a.uid = v.uid AND a.deleted_at IS NULL RETURNING id, config)"
            " INSERT INTO endpoint_revision (endpoint_id, revision, config) SELECT id, 1, config FROM made",
            ids,
            [one.app for one in wanted],
            [json.dumps({"url": one.url, "events": one.events} if one.events else {"url": one.url}) for one in wanted],
        )
        await self._know_data_keys({one.app for one in wanted})
        keys = [self._data_keys[one.app] for one in wanted]
        await self.database.execute(
            "INSERT INTO secret (owner_id, kind, version, ciphertext, data_key)"
            " SELECT e, 'v1', 1, s, k FROM unnest($1::uuid[], $2::bytea[], $3::int[]) u (e, s, k)",
            ids,
            [
                self._sealer.seal(secrets.token_bytes(32), endpoint, "v1", 1, key)
                for endpoint, key in zip(ids, keys, strict=True)
            ],
            [key.version for key in keys],
        )
        return ids

    async def _know_data_keys(self, uids: set[str]) -> None:
        rows = await self.database.fetch(
            "SELECT a.uid, a.id, d.version, d.ciphertext FROM app a LEFT JOIN data_key d ON d.app_id = a.id"
            " WHERE a.uid = ANY ($1) AND a.deleted_at IS NULL ORDER BY d.version",
            list(uids - self._data_keys.keys()),
        )
        new = [self._sealer.new_data_key(row["id"], 1) for row in rows if row["version"] is None]
        await self.database.execute(
            "INSERT INTO data_key (app_id, version, ciphertext, made_with)"
            " SELECT a, 1, c, $3 FROM unnest($1::uuid[], $2::bytea[]) u (a, c)",
            [key.app_id for key in new],
            [key.sealed for key in new],
            self._sealer.sealing_id,
        )
        made = {key.app_id: key for key in new}
        for row in rows:
            known = made.get(row["id"]) or DataKey(row["id"], row["version"], row["ciphertext"])
            self._data_keys[row["uid"]] = known

    async def tidy(self, *tables: str) -> None:
        """Vacuum now: else the database would do so by itself while we measure, and it would count as work of the events."""
        for table in ("app", "endpoint", "endpoint_revision", "secret", *tables):
            await self.database.execute(f"VACUUM ANALYZE {table}")


def new_ids(count: int) -> list[bytes]:
    now = int(time.time() * 1000)
    return [uuid7(now, secrets.randbits(74)) for _ in range(count)]


def dsn_of(data: Path) -> str:
    """How to reach the database of a data directory, which runs."""
    dsn = embedded_dsn(data)
    if not isinstance(dsn, str):
        raise Broken(f"the database of the server cannot be reached: {dsn}")
    return dsn


@asynccontextmanager
async def writing(data: Path) -> AsyncIterator[Bulk]:
    """Into the database of a data directory, which runs."""
    database = Database(dsn_of(data), size=1, statement_seconds=STATEMENT_SECONDS)
    await database.open()
    try:
        yield Bulk(database, Sealer(load_keyring(data_dir=data, create=False)))
    finally:
        await database.close()
