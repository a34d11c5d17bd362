"""The floor: what the same work costs with nothing around it, a bare sender loop and a bare array insert.

It signs nothing, retries nothing and remembers nothing. Posthouse's cost is told as a multiple of it, since machines
differ, and a shared one wanders.
"""

from __future__ import annotations

import asyncio
import os
import time
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import asyncpg
import uvloop

from bench.processes import postgres_cpu
from posthouse.adapters.postgres.embedded import EmbeddedPostgres

REQUESTS = 30_000
ROWS = 30_000
BATCH = 200
CONNECTIONS = 32
BODY = b'{"type":"bench.event","data":{"n":"%08d","t":"%019d","f":"' + b"x" * 280 + b'"}}'


class _Sender(asyncio.Protocol):
    def __init__(self, numbers: range, done: asyncio.Future[None]) -> None:
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
        body = BODY % (number, time.time_ns())
        self._transport.write(b"POST / HTTP/1.1\r\nHost: bench\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


async def _send(port: int) -> float:
    loop = asyncio.get_running_loop()
    cpu = time.process_time()
    waits = []
    for index in range(CONNECTIONS):
        done: asyncio.Future[None] = loop.create_future()
        numbers = range(index, REQUESTS, CONNECTIONS)
        await loop.create_connection(lambda n=numbers, d=done: _Sender(n, d), "127.0.0.1", port)  # type: ignore[misc]
        waits.append(done)
    await asyncio.gather(*waits)
    return (time.process_time() - cpu) / REQUESTS * 1e6


async def _insert(folder: Path) -> tuple[float, float]:
    postgres = EmbeddedPostgres(folder)
    dsn = await postgres.start()
    try:
        connection = await asyncpg.connect(dsn)
        await connection.execute("CREATE TABLE floor (id bigint PRIMARY KEY, payload bytea)")
        assert postgres.pid is not None
        cpu, pg = time.process_time(), postgres_cpu(postgres.pid)
        for start in range(0, ROWS, BATCH):
            numbers = list(range(start, start + BATCH))
            await connection.execute(
                "INSERT INTO floor SELECT * FROM unnest($1::bigint[], $2::bytea[])",
                numbers,
                [BODY % (n, 0) for n in numbers],
            )
        spent = time.process_time() - cpu, postgres_cpu(postgres.pid) - pg
        await connection.close()
        return spent[0] / ROWS * 1e6, spent[1] / ROWS * 1e6
    finally:
        await postgres.stop()


def run(pipe: Connection, target_port: int) -> None:
    """Answer (µs of CPU to send one, µs to insert one, µs of PostgreSQL's CPU to insert one)."""
    with TemporaryDirectory(prefix="posthouse-floor-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)
        sending = uvloop.run(_send(target_port))
        inserting, postgres = uvloop.run(_insert(Path(folder) / "data"))
    pipe.send((sending, inserting, postgres))
