"""PostgreSQL with everything that the engine expects of it, for tests."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg

from posthouse.adapters.postgres.database import Database
from posthouse.adapters.postgres.days import ensure_days
from posthouse.adapters.postgres.log import PostgresLog
from posthouse.adapters.postgres.pools import POLLING_SETTINGS, READING_SETTINGS
from posthouse.adapters.postgres.store import PostgresStore
from posthouse.domain.limits import PARTITIONS


@dataclass(frozen=True)
class Installed:
    """An installed database with its days, and the adapters on it. Secrets are stored as they are."""

    dsn: str
    publishing: Database
    journalling: Database
    reading: Database
    log: PostgresLog
    store: PostgresStore
    at: float  # unix seconds: its days are those around it


async def without_days(dsn: str) -> str:
    """A database, after the days that it was made with are gone, for a test with days of its own."""
    connection = await asyncpg.connect(dsn)
    try:
        days = await connection.fetch(
            "SELECT inhrelid::regclass::text FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE relkind = 'r'"
        )
        await connection.execute(f"DROP TABLE {', '.join(day for (day,) in days)}")
    finally:
        await connection.close()
    return dsn


@asynccontextmanager
async def installed(dsn: str, *, partitions: int = PARTITIONS) -> AsyncIterator[Installed]:
    """Install a migrated database, and connect to it as a process of Posthouse does."""
    publishing, journalling = Database(dsn, size=8), Database(dsn, size=2)
    reading, polling = (
        Database(dsn, size=4, settings=READING_SETTINGS),
        Database(dsn, size=2, settings=POLLING_SETTINGS),
    )
    databases = (publishing, journalling, reading, polling)
    for database in databases:
        await database.open()
    try:
        await reading.execute("SELECT install($1)", partitions)
        now = time.time()
        await ensure_days(reading, now=now, ahead=1)
        log = PostgresLog(publishing, reading, polling=polling)
        store = PostgresStore(journalling, reading, lambda sealed, *_: sealed, polling=polling)
        yield Installed(dsn, publishing, journalling, reading, log, store, now)
    finally:
        for database in databases:
            await database.close()
