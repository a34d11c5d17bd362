"""The journey floor: the least that any program of this stack would do for what Posthouse does with an event.

It accepts a publish request, stores the event in a group commit, answers 202 after it, signs the body as Standard Webhooks
wants it, sends it over a kept connection, reads the answer and stores one row of an attempt, in a group commit too. Python,
uvloop, httptools, asyncpg and PostgreSQL as in Posthouse, with the same settings of the database, the collector and the
group commits: events gather while the commit before theirs is under way, attempts for 20 ms.

And nothing else: one app, one target, no queue that outlives the process, no routing, no retries, no timeouts, no limits, no
leases, nothing that could be looked up later but by its id. Flat, in one file; whatever goes wrong ends it. It is what a
measurement compares to, and no example of how to do it.
"""

from __future__ import annotations

import asyncio
import binascii
import hmac
import os
import ssl
import time
from collections import deque
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple, cast

import asyncpg
import httptools
import msgspec
import uvloop

from posthouse.adapters.postgres.embedded import EmbeddedPostgres
from posthouse.adapters.system.collector import calm_collector
from posthouse.domain.limits import JOURNAL_LINGER_SECONDS

SECRET: Final = b"k" * 32
SENDERS_MAX: Final = 64
TABLES: Final = (
    "CREATE TABLE event (id uuid PRIMARY KEY, type text, payload bytea, created_at timestamptz DEFAULT now());"
    "CREATE TABLE attempt (event_id uuid PRIMARY KEY, status smallint, started_at float8, total_us int)"
)
EVENTS: Final = "INSERT INTO event (id, type, payload) SELECT * FROM unnest($1::uuid[], $2::text[], $3::bytea[])"
ATTEMPTS: Final = "INSERT INTO attempt SELECT * FROM unnest($1::uuid[], $2::int2[], $3::float8[], $4::int4[])"


class Aim(NamedTuple):
    """Where to send, and the bearer token of whoever may publish; over TLS where there is a certificate authority (PEM)."""

    port: int
    key: str
    ca_file: Path | None = None


class Commits(NamedTuple):
    """What was stored so far, and in how many commits."""

    events: int
    event_commits: int
    attempts: int
    attempt_commits: int


class _Body(msgspec.Struct):
    """What a publisher sends."""

    type: str
    data: msgspec.Raw


class _Event(msgspec.Struct):
    """One on its journey."""

    id: bytes
    type: str
    body: bytes
    door: _Door


_parse = msgspec.json.Decoder(_Body).decode


class _Floor:
    """All of it that is shared."""

    def __init__(self, events: asyncpg.Connection, attempts: asyncpg.Connection) -> None:
        self.loop = asyncio.get_running_loop()
        self.token = b""
        self.aim: Aim
        self.tls: ssl.SSLContext | None = None
        self.state = hmac.new(SECRET, digestmod="sha256")
        self.count = 0
        self.events: list[_Event] = []
        self.attempts: list[tuple[bytes, int, float, int]] = []
        self.unsent: deque[_Event] = deque()
        self.idle: list[_Sender] = []
        self.senders = 0
        self.event_commits = self.attempt_commits = self.stored_attempts = 0
        self.gathered = asyncio.Event()
        self.answered = asyncio.Event()
        self.tasks = [
            self.loop.create_task(self.store_events(events)),
            self.loop.create_task(self.store_attempts(attempts)),
        ]
        for task in self.tasks:
            task.add_done_callback(_end)

    async def store_events(self, connection: asyncpg.Connection) -> None:
        statement = await connection.prepare(EVENTS)
        while True:
            await self.gathered.wait()
            self.gathered.clear()
            group, self.events = self.events, []
            await statement.fetch([e.id for e in group], [e.type for e in group], [e.body for e in group])
            self.event_commits += 1
            for event in group:
                event.door.accepted(event)
                self.send(event)

    async def store_attempts(self, connection: asyncpg.Connection) -> None:
        statement = await connection.prepare(ATTEMPTS)
        while True:
            await self.answered.wait()
            await asyncio.sleep(JOURNAL_LINGER_SECONDS)
            self.answered.clear()
            group, self.attempts = self.attempts, []
            await statement.fetch(*map(list, zip(*group, strict=True)))
            self.attempt_commits += 1
            self.stored_attempts += len(group)

    def send(self, event: _Event) -> None:
        if self.idle:
            self.idle.pop().send(event)
            return
        self.unsent.append(event)
        if self.senders < SENDERS_MAX:
            self.senders += 1
            self.tasks.append(self.loop.create_task(self.connect()))

    async def connect(self) -> None:
        await self.loop.create_connection(lambda: _Sender(self), "127.0.0.1", self.aim.port, ssl=self.tls)


def _end(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        asyncio.get_running_loop().call_exception_handler(
            {"message": "the journey floor is broken", "exception": error}
        )


class _Door(asyncio.Protocol):
    """One publisher's connection; it waits for its answer before it publishes again."""

    def __init__(self, floor: _Floor) -> None:
        self.floor = floor
        self.parser = httptools.HttpRequestParser(self)
        self.allowed = False
        self.body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"authorization":
            self.allowed = hmac.compare_digest(value, self.floor.token)

    def on_body(self, part: bytes) -> None:
        self.body = self.body + part if self.body else part

    def on_message_complete(self) -> None:
        if not self.allowed or self.parser.get_method() != b"POST":
            raise ValueError("this is no publish request")
        body, self.body, self.allowed = self.body, b"", False
        floor = self.floor
        floor.count += 1
        number = (time.time_ns() // 1_000_000 << 80) + (7 << 76) + floor.count
        floor.events.append(_Event(number.to_bytes(16, "big"), _parse(body).type, body, self))
        floor.gathered.set()

    def accepted(self, event: _Event) -> None:
        self.transport.write(
            b'HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 45\r\n\r\n{"id":"evt_%b"}'
            % event.id.hex().encode()
        )


class _Sender(asyncio.Protocol):
    """One connection to the target, kept; it has one request under way."""

    def __init__(self, floor: _Floor) -> None:
        self.floor = floor
        self.parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.next()

    def next(self) -> None:
        if self.floor.unsent:
            self.send(self.floor.unsent.popleft())
        else:
            self.floor.idle.append(self)

    def send(self, event: _Event) -> None:
        self.event = event
        self.started_at, self.started = time.time(), time.perf_counter()
        at = int(self.started_at)
        id = b"evt_" + event.id.hex().encode()
        state = self.floor.state.copy()
        state.update(b"%b.%d." % (id, at))
        state.update(event.body)
        self.transport.write(
            b"POST / HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: %d\r\nwebhook-id: %b\r\n"
            b"webhook-timestamp: %d\r\nwebhook-signature: v1,%b\r\n\r\n%b"
            % (len(event.body), id, at, binascii.b2a_base64(state.digest(), newline=False), event.body)
        )

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        floor, status = self.floor, self.parser.get_status_code()
        took = int((time.perf_counter() - self.started) * 1e6)
        floor.attempts.append((self.event.id, status, self.started_at, took))
        floor.answered.set()
        self.next()


async def _serve(pipe: Connection, folder: Path) -> None:
    loop = asyncio.get_running_loop()
    postgres = EmbeddedPostgres(folder / "data")
    dsn = await postgres.start()
    connections = [await asyncpg.connect(dsn) for _ in range(2)]
    await connections[0].execute(TABLES)
    for connection in connections:
        await connection.set_type_codec(
            "uuid", schema="pg_catalog", encoder=lambda raw: raw, decoder=bytes, format="binary"
        )
    floor = _Floor(*connections)
    ended = asyncio.Event()

    def broken(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        loop.default_exception_handler(context)
        ended.set()

    loop.set_exception_handler(broken)
    server = await loop.create_server(lambda: _Door(floor), "127.0.0.1", 0, backlog=2048)

    def command() -> None:
        os.set_blocking(pipe.fileno(), True)
        match pipe.recv():
            case Aim() as aim:
                floor.aim, floor.token = aim, f"Bearer {aim.key}".encode()
                floor.tls = ssl.create_default_context(cafile=aim.ca_file) if aim.ca_file else None
                pipe.send(None)
            case "commits":
                pipe.send(Commits(floor.count, floor.event_commits, floor.stored_attempts, floor.attempt_commits))
            case _:
                ended.set()

    loop.add_reader(pipe.fileno(), command)
    calm_collector()
    pipe.send((server.sockets[0].getsockname()[1], postgres.pid))
    await ended.wait()
    loop.remove_reader(pipe.fileno())
    for task in floor.tasks:
        task.cancel()
    await asyncio.gather(*floor.tasks, return_exceptions=True)
    for connection in connections:
        connection.terminate()
    await postgres.stop()


def run(pipe: Connection) -> None:
    """Says its port and its postmaster's process; is told its `Aim`, answers `"commits"`, and ends for anything else."""
    with TemporaryDirectory(prefix="posthouse-journey-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)
        uvloop.run(_serve(pipe, Path(folder)))
