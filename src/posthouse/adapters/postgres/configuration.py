"""What every part of the configuration on PostgreSQL shares: its transactions, and how things are named."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import asyncpg
import msgspec

from posthouse.adapters.postgres.changes import SQL, searchable, taken
from posthouse.adapters.postgres.database import Connection, Database
from posthouse.domain.errors import StoreUnavailable
from posthouse.domain.ids import parse_id
from posthouse.ports.sealing import Sealer

encode: Final = msgspec.json.Encoder().encode


class Configuration:
    """A part of the configuration."""

    def __init__(self, database: Database, sealer: Sealer) -> None:
        self._database = database
        self._sealer = sealer
        self._partitions: int | None = None

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


async def bump_shared(connection: Connection) -> None:
    """What all partitions share changes: caches of it are told, and others who change it wait until this is over."""
    await connection.execute(SQL.bump_shared)


async def bump_app(connection: Connection, app_id: bytes) -> None:
    """The app's configuration changes: the owner of its partition is told. Locks the app."""
    await connection.fetch(SQL.bump_app, app_id)


async def one(connection: Connection, query: str, *arguments: object) -> asyncpg.Record:
    """A row that this transaction wrote."""
    row = await connection.fetchrow(query, *arguments)
    assert row is not None, "a row that this transaction wrote"
    return row


def names(prefix: str, reference: str) -> tuple[bytes | None, str]:
    """What a reference may be: an id, or a uid."""
    return parse_id(prefix, reference), searchable(reference)
