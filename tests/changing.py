"""For tests of change capture: a PostgreSQL whose log has row changes, its databases, and a platform that keeps it all."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import msgspec
import psycopg
import pytest
from tests.folders import FAST

from posthouse.adapters.postgres.embedded import EmbeddedPostgres
from posthouse.adapters.sources.changes.kind import ChangesKind
from posthouse.adapters.sources.changes.source import ChangesSource
from posthouse.adapters.system.datadir import DataDir
from posthouse.domain.errors import PosthouseError
from posthouse.ports.sources import Observation, Reading, Source, Spec

PATIENCE_SECONDS: Final = 60
KIND: Final = ChangesKind()


class Published:
    """What a platform has of a trigger: each observation once, by its key, in order; and the rows that follow from it."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self.keys: set[str] = set()
        self.repeated = 0
        self.backwards = 0  # a snapshot's row that is not as the changes before have left it
        self.rows: dict[str, dict[str, dict[str, Any]]] = {}

    def take(self, observation: Observation) -> None:
        assert 0 < len(observation.key) <= 128
        assert observation.key.isprintable()
        if observation.key in self.keys:
            self.repeated += 1
            return
        self.keys.add(observation.key)
        seen = msgspec.json.decode(observation.seen)
        self.seen.append(seen)
        rows = self.rows.setdefault(f"{seen['schema']}.{seen['table']}", {})
        key = repr(seen["key"])
        match seen["op"]:
            case "truncate":
                rows.clear()
            case "delete":
                rows.pop(key, None)
            case "snapshot":
                self.backwards += key in rows and rows[key] != seen["new"]
                rows[key] = seen["new"]
            case _:
                if seen["old"] is not None:
                    names = (seen["key"] or {}).keys()
                    rows.pop(repr({name: seen["old"][name] for name in names}), None)
                rows[key] = seen["new"]

    def ops(self, *names: str) -> list[tuple[Any, ...]]:
        """The operation and these members of `row`, of everything."""
        return [(one["op"], *((one["row"] or {}).get(name) for name in names)) for one in self.seen]


class Database:
    """A database that is watched. `dsn` is a superuser's."""

    def __init__(self, dsn: str, connection: psycopg.AsyncConnection) -> None:
        self.dsn = dsn
        self._connection = connection
        self._specs: list[Spec] = []

    async def run(self, *statements: str) -> None:
        for statement in statements:
            await self._connection.execute(statement.encode())

    async def ask(self, question: str, *parameters: Any) -> list[tuple[Any, ...]]:
        cursor = await self._connection.execute(question.encode(), parameters or None)
        return await cursor.fetchall()

    async def value(self, question: str, *parameters: Any) -> Any:
        return (await self.ask(question, *parameters))[0][0]

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[psycopg.AsyncConnection]:
        """On a connection of its own."""
        async with await psycopg.AsyncConnection.connect(self.dsn) as connection, connection.transaction():
            yield connection

    def spec(self, *tables: str, trigger: str | None = None, **settings: Any) -> Spec:
        """A trigger of these tables; what is made for it is removed after the test."""
        given = {"dsn": self.dsn, "tables": list(tables), **settings}
        made = Spec(id=trigger or f"trg_{secrets.token_hex(8)}", name="a test", settings=KIND.check(given))
        self._specs.append(made)
        return made

    async def installed(self, *tables: str, **settings: Any) -> Spec:
        spec = self.spec(*tables, **settings)
        await KIND.install(spec)
        return spec

    async def slot(self, spec: Spec, column: str) -> Any:
        found = await self.ask(
            f"SELECT {column} FROM pg_replication_slots WHERE slot_name = %s", f"posthouse_{spec.id}"
        )
        return found[0][0] if found else None

    async def clear(self) -> None:
        for spec in self._specs:
            with suppress(PosthouseError):
                await KIND.remove(spec)


class Trigger:
    """A trigger at work, as a runner does it: position first, then the acknowledgement."""

    def __init__(self, spec: Spec, published: Published | None = None) -> None:
        self.spec = spec
        self.published = published or Published()
        self.position: str | None = None
        self.readings: list[Reading] = []
        self._source: Source | None = None

    @property
    def source(self) -> ChangesSource:
        assert isinstance(self._source, ChangesSource)
        return self._source

    async def open(self) -> None:
        self._source = KIND.source(self.spec)
        await self._source.open(self.position)

    async def close(self) -> None:
        if self._source is not None:
            await self._source.close()
            self._source = None

    async def reopen(self) -> None:
        await self.close()
        await self.open()

    async def read(self, *, limit: int = 500, wait_seconds: float = 0.05) -> Reading:
        """One reading, published, and its position on record; not acknowledged."""
        reading = await self.source.read(limit=limit, wait_seconds=wait_seconds)
        for observation in reading.observations:
            self.published.take(observation)
        if reading.position is not None:
            assert len(reading.position) <= 4_000
            self.position = reading.position
        if reading.observations:
            self.readings.append(reading)
        return reading

    async def round(self, *, limit: int = 500) -> Reading:
        reading = await self.read(limit=limit)
        await self.source.acknowledge(reading)
        return reading

    async def caught_up(self, *, limit: int = 500) -> Published:
        """Go on until everything that is in the database's log by now is published, and the rows of a snapshot."""
        _, transactions, catalog = self.source._opened()
        end = (await catalog.ask("SELECT pg_current_wal_flush_lsn()::text"))[0][0]
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                reading = await self.round(limit=limit)
                if reading.position is None and transactions.snapshot is None and self.source.reached(end):
                    return self.published


@pytest.fixture(scope="session")
def logical_server() -> Iterator[EmbeddedPostgres]:
    folder = Path(tempfile.mkdtemp(prefix="posthouse-tests-", dir=FAST))
    settings = {"wal_level": "logical", "max_replication_slots": "20", "max_wal_senders": "20"}
    try:
        with DataDir.hold(folder):
            server = EmbeddedPostgres(folder, durable=False, shared_buffers_mb=32, settings=settings)
            asyncio.run(server.start())
            try:
                yield server
            finally:
                asyncio.run(server.stop())
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def watched(logical_server: EmbeddedPostgres) -> AsyncIterator[Database]:
    """A new database, empty."""
    name = f"watched_{secrets.token_hex(6)}"
    async with await psycopg.AsyncConnection.connect(logical_server.dsn, autocommit=True) as administrator:
        await administrator.execute(f'CREATE DATABASE "{name}" STRATEGY FILE_COPY'.encode())
        dsn = urlunsplit(urlsplit(logical_server.dsn)._replace(path=f"/{name}"))
        try:
            async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
                database = Database(dsn, connection)
                try:
                    yield database
                finally:
                    await database.clear()
        finally:
            await administrator.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


Begin = Callable[[Spec], Awaitable[Trigger]]


@pytest.fixture
async def working() -> AsyncIterator[list[Trigger]]:
    """Triggers that are closed after the test, before what is made for them is removed."""
    made: list[Trigger] = []
    yield made
    for trigger in made:
        await trigger.close()


@pytest.fixture
def begin(working: list[Trigger]) -> Begin:
    """Opens a trigger that is installed."""

    async def begin(spec: Spec) -> Trigger:
        trigger = Trigger(spec)
        working.append(trigger)
        await trigger.open()
        return trigger

    return begin


@pytest.fixture
def watched_dsn(logical_server: EmbeddedPostgres) -> Iterator[str]:
    """The DSN of a new database, for a test that brings its own event loop."""
    name = f"watched_{secrets.token_hex(6)}"
    with psycopg.connect(logical_server.dsn, autocommit=True) as administrator:
        administrator.execute(f'CREATE DATABASE "{name}" STRATEGY FILE_COPY'.encode())
        yield urlunsplit(urlsplit(logical_server.dsn)._replace(path=f"/{name}"))
        administrator.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())
