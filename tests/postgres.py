"""PostgreSQL for tests: one embedded server a session, and as many migrated databases with days as wanted, each in some 20 ms.

`tests/conftest.py` takes the fixtures with `pytest_plugins = ["tests.postgres"]`.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from tests.folders import FAST

from posthouse.adapters.postgres import postmaster
from posthouse.adapters.postgres.database import Database
from posthouse.adapters.postgres.days import ensure_days
from posthouse.adapters.postgres.embedded import EmbeddedPostgres
from posthouse.adapters.postgres.migrate import migrate
from posthouse.adapters.system.datadir import LOCK_FILE, DataDir
from posthouse.domain.errors import SetupError

_PREFIX: Final = "posthouse-tests-"
_TEMPLATE: Final = "migrated"


class PostgresServer:
    """The session's server. Databases are made from a template that is migrated once, when the first one is wanted."""

    def __init__(self, embedded: EmbeddedPostgres) -> None:
        self.embedded = embedded
        self._has_template = False
        self._making = threading.Lock()

    async def fresh_database(self) -> str:
        """The DSN of a new, migrated and empty database, with the days that whoever serves would make."""
        await asyncio.to_thread(self._make_template)
        return await self._create(f"test_{secrets.token_hex(6)}", _TEMPLATE)

    async def bare_database(self) -> str:
        """The DSN of a new database without any schema."""
        return await self._create(f"test_{secrets.token_hex(6)}", "template1")

    async def drop_database(self, dsn: str) -> None:
        """Drop a database, whoever is still connected to it."""
        await self._administer(f'DROP DATABASE IF EXISTS "{urlsplit(dsn).path[1:]}" WITH (FORCE)')

    def _make_template(self) -> None:
        # In a thread with a loop of its own: several tasks, and one loop after another, may want the first database.
        with self._making:
            if not self._has_template:
                asyncio.run(self._migrate_template())
                self._has_template = True

    async def _migrate_template(self) -> None:
        dsn = await self._create(_TEMPLATE, "template1")
        await migrate(dsn)
        database = Database(dsn, size=1)
        await database.open()
        try:
            await ensure_days(database, now=time.time())
        finally:
            await database.close()

    async def _create(self, name: str, template: str) -> str:
        # Its files are copied: to write each of its pages to the log takes five times as long.
        await self._administer(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY')
        return urlunsplit(urlsplit(self.embedded.dsn)._replace(path=f"/{name}"))

    async def _administer(self, statement: str) -> None:
        connection = await asyncpg.connect(self.embedded.dsn, database="postgres")
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


_current: PostgresServer | None = None


async def fresh_database() -> str:
    """`PostgresServer.fresh_database` of the session's server; the test has asked for the fixture `postgres_server`."""
    assert _current is not None, "ask for the fixture postgres_server"
    return await _current.fresh_database()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A server for the whole session."""
    global _current
    _sweep()
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=FAST))
    try:
        with DataDir.hold(folder):
            embedded = EmbeddedPostgres(folder, durable=False, shared_buffers_mb=64, max_connections=100)
            asyncio.run(embedded.start())
            try:
                _current = PostgresServer(embedded)
                yield _current
            finally:
                _current = None
                asyncio.run(embedded.stop())
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def database(postgres_server: PostgresServer) -> AsyncIterator[str]:
    """The DSN of a migrated database for one test."""
    dsn = await postgres_server.fresh_database()
    yield dsn
    await postgres_server.drop_database(dsn)


def _sweep() -> None:
    """Clear away what a killed test session left behind: its lock is free, while that of a running one is not."""
    for folder in Path(FAST).glob(f"{_PREFIX}*"):
        with suppress(SetupError, FileNotFoundError):
            if folder.lstat().st_uid == os.geteuid() and (folder / LOCK_FILE).exists():
                with DataDir.hold(folder):
                    end_server(folder)
                    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that PostgreSQL's account can reach, too; the server of a `data` in it is ended."""
    with tempfile.TemporaryDirectory(prefix="posthouse-test-", dir=FAST, ignore_cleanup_errors=True) as name:
        os.chmod(name, 0o755)
        try:
            yield Path(name)
        finally:
            end_server(Path(name) / "data")


def end_server(data_dir: Path) -> None:
    """End the server of a data directory at once, whoever started it, if there is one. For clearing up after a test."""
    found = postmaster.running(data_dir / "postgres")
    if found is not None:
        with suppress(ProcessLookupError):
            os.kill(found.pid, signal.SIGQUIT)
