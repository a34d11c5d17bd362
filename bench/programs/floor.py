"""The floor: what the same work costs with nothing around it, a bare sender loop and a bare array insert.

It signs nothing, retries nothing and remembers nothing. Posthouse's cost is told as a multiple of it, since machines
differ, and a shared one wanders. On the same PostgreSQL, one of its own, the append to Posthouse's log is timed alone.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple, cast

import asyncpg
import uvloop

from bench.processes import postgres_cpu
from bench.programs.generator import EVENT
from posthouse.adapters.postgres import migrate
from posthouse.adapters.postgres.database import Database
from posthouse.adapters.postgres.days import ensure_days
from posthouse.adapters.postgres.embedded import EmbeddedPostgres
from posthouse.adapters.postgres.log import PostgresLog
from posthouse.adapters.system.clock import SystemClock
from posthouse.domain.event import Draft
from posthouse.domain.ids import AppId, EventId
from posthouse.domain.limits import PARTITIONS
from posthouse.ports.log import Appended

BATCH: Final = 200
CONNECTIONS: Final = 32


class Send(NamedTuple):
    """So many bare requests to a target. The answer: (began at, CPU seconds)."""

    port: int
    run: int
    requests: int


class Insert(NamedTuple):
    """So many rows in arrays of 200, a commit each. The answer: CPU seconds (of ours, of PostgreSQL)."""

    rows: int


class Append(NamedTuple):
    """Batches of events to Posthouse's log, one after the other. The answer: the seconds that each one took."""

    sizes: Sequence[int]


class _Sender(asyncio.Protocol):
    def __init__(self, run: int, numbers: range, done: asyncio.Future[None]) -> None:
        self._run = run
        self._numbers = iter(numbers)
        self._done = done

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.data_received(b"")

    def data_received(self, data: bytes) -> None:
        number = next(self._numbers, None)
        if number is None:
            self._transport.close()
            self._done.set_result(None)
            return
        body = EVENT % (self._run, number, time.time_ns())
        self._transport.write(b"POST / HTTP/1.1\r\nHost: bench\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


async def _send(wanted: Send) -> tuple[float, float]:
    loop = asyncio.get_running_loop()
    started, cpu = time.time(), time.process_time()
    waits = []
    for index in range(CONNECTIONS):
        done: asyncio.Future[None] = loop.create_future()
        numbers = range(index, wanted.requests, CONNECTIONS)
        sender = _Sender(wanted.run, numbers, done)
        await loop.create_connection(lambda s=sender: s, "127.0.0.1", wanted.port)  # type: ignore[misc]
        waits.append(done)
    await asyncio.gather(*waits)
    return started, time.process_time() - cpu


class _Store:
    """A PostgreSQL with a bare table, and with Posthouse's log beside it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, folder: Path) -> None:
        self._loop = loop
        self._postgres = EmbeddedPostgres(folder)
        self._clock = SystemClock()
        self._next = 0
        loop.run_until_complete(self._start())

    async def _start(self) -> None:
        dsn = await self._postgres.start()
        await migrate.migrate(dsn)
        self._connection = await asyncpg.connect(dsn)
        await self._connection.execute("CREATE TABLE floor (id bigint PRIMARY KEY, payload bytea)")
        self._database = Database(dsn, size=2)
        await self._database.open()
        await self._database.execute("SELECT install($1)", PARTITIONS)
        await ensure_days(self._database, now=time.time(), ahead=1)
        self._app = AppId(self._clock.new_id())
        await self._database.execute("INSERT INTO app (id, partition, config_version) VALUES ($1, 0, 1)", self._app)
        self._log = PostgresLog(self._database, self._database)

    def insert(self, wanted: Insert) -> tuple[float, float]:
        return self._loop.run_until_complete(self._insert(wanted))

    async def _insert(self, wanted: Insert) -> tuple[float, float]:
        assert self._postgres.pid is not None
        cpu, postgres = time.process_time(), postgres_cpu(self._postgres.pid)
        first, self._next = self._next, self._next + wanted.rows
        for start in range(first, self._next, BATCH):
            numbers = list(range(start, min(start + BATCH, self._next)))
            await self._connection.execute(
                "INSERT INTO floor SELECT * FROM unnest($1::bigint[], $2::bytea[])",
                numbers,
                [EVENT % (0, n % 10**8, 0) for n in numbers],
            )
        return time.process_time() - cpu, postgres_cpu(self._postgres.pid) - postgres

    def append(self, wanted: Append) -> list[float]:
        return self._loop.run_until_complete(self._append(wanted))

    async def _append(self, wanted: Append) -> list[float]:
        took = []
        for size in wanted.sizes:
            drafts = [
                Draft(
                    id=EventId(self._clock.new_id()),
                    app_id=self._app,
                    type="bench.event",
                    payload=EVENT % (0, number, 0),
                )
                for number in range(size)
            ]
            started = time.perf_counter()
            results = await self._log.append(drafts)
            took.append(time.perf_counter() - started)
            assert all(isinstance(result, Appended) for result in results)
        return took

    def stop(self) -> None:
        self._loop.run_until_complete(self._stop())

    async def _stop(self) -> None:
        await self._connection.close()
        await self._database.close()
        await self._postgres.stop()


@contextmanager
def _store() -> Iterator[_Store]:
    with TemporaryDirectory(prefix="posthouse-floor-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)
        loop = uvloop.new_event_loop()
        store = _Store(loop, Path(folder) / "data")
        try:
            yield store
        finally:
            store.stop()
            loop.close()


def run(pipe: Connection) -> None:
    """Do what comes (`Send`, `Insert`, `Append`), and answer what it cost. Says that it is ready."""
    with _store() as store:
        pipe.send(None)
        while (wanted := pipe.recv()) is not None:
            match wanted:
                case Send():
                    pipe.send(uvloop.run(_send(wanted)))
                case Insert():
                    pipe.send(store.insert(wanted))
                case Append():
                    pipe.send(store.append(wanted))
                case _:
                    raise ValueError(wanted)
    pipe.send(None)
