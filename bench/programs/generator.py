"""A publisher that costs as little as one in Python can: raw requests on kept connections."""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Final, NamedTuple, cast

import uvloop

FILLER: Final = b"x" * 276
EVENT: Final = b'{"type":"bench.event","data":{"n":"%04d%08d","t":"%019d","f":"' + FILLER + b'"}}'
"""Of a run, a number in it, and the nanosecond at which it was published: what the target reads."""


class Load(NamedTuple):
    """`events` in all, to `apps` in turn, over `connections` that are made before; or, with a `subject`, to whom grants cover.

    At `rate` a second, evenly; or, where that is 0, as fast as they are answered.
    """

    port: int
    key: str
    run: int
    apps: Sequence[str]
    events: int
    connections: int
    rate: float = 0.0
    batch: int = 1
    subject: str = ""


class Published(NamedTuple):
    """How it went: unix seconds, what was refused with one example, and how long each request took, in microseconds."""

    started: float
    ended: float
    refused: int
    refusal: str
    answered_us: bytes  # array("I")


class _Publisher(asyncio.Protocol):
    """One connection: sends a request, and the next when it is answered, or when it is due.

    In a paced run an event counts from when it was due where the answer before it came too late for that (else slow answers
    would hide themselves), and from when it was sent where it is this program's timer that was late.
    """

    def __init__(self, load: Load, index: int, answered_us: array[int], done: asyncio.Future[None]) -> None:
        self._load = load
        self._index = index
        self._numbers = range(index, load.events, load.connections)
        self._answered_us = answered_us
        self._done = done
        self._buffer = b""
        self.refused = 0
        self.refusal = ""
        whom = "" if load.subject else f"/apps/{load.apps[index % len(load.apps)]}"
        suffix = "/batch" if load.batch > 1 else ""
        self._event = (
            EVENT.replace(b'"data"', b'"subject":"%b","data"' % load.subject.encode()) if load.subject else EVENT
        )
        self._head = (
            f"POST /v1{whom}/events{suffix} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {load.key}\r\n"
            "Content-Type: application/json\r\nContent-Length: "
        ).encode()
        self._every = load.connections / load.rate if load.rate else 0.0
        self._due = 0.0
        self._sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def begin(self, at: float) -> None:
        """All connections are there: publish. In a paced run they take turns from this moment (monotonic seconds) on."""
        self._due = at + self._index / self._load.rate - self._every if self._every else 0.0
        self._next()

    def _next(self) -> None:
        if not self._numbers:
            self._transport.close()
            if not self._done.done():
                self._done.set_result(None)
        elif self._every:
            self._due += self._every
            late = time.monotonic() - self._due
            if late < 0:
                asyncio.get_running_loop().call_later(-late, self._send, 0.0)
            else:
                self._send(late)
        else:
            self._send(0.0)

    def _send(self, late: float) -> None:
        numbers, self._numbers = self._numbers[: self._load.batch], self._numbers[self._load.batch :]
        at = time.time_ns() - int(late * 1e9)
        bodies = [self._event % (self._load.run, number, at) for number in numbers]
        body = bodies[0] if self._load.batch == 1 else b"[%b]" % b",".join(bodies)
        self._sent = time.perf_counter() - late
        self._transport.write(b"%b%d\r\n\r\n%b" % (self._head, len(body), body))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end].lower()
        at = head.find(b"content-length:") + 15
        length = int(head[at:].split(b"\r", 1)[0])
        if len(self._buffer) < end + 4 + length:
            return
        self._answered_us.append(int((time.perf_counter() - self._sent) * 1e6))
        if not self._buffer.startswith(b"HTTP/1.1 202"):
            self.refused += 1
            self.refusal = self._buffer[: end + 4 + length].decode("latin-1")
        self._buffer = self._buffer[end + 4 + length :]
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(exc or ConnectionError("the server closed the connection"))


def run(pipe: Connection) -> None:
    """Run each `Load` that comes, and answer what was `Published`."""
    while (load := pipe.recv()) is not None:
        pipe.send(uvloop.run(_publish(load)))


async def _publish(load: Load) -> Published:
    loop = asyncio.get_running_loop()
    answered_us = array("I")
    publishers, waits = [], []
    for index in range(load.connections):
        done: asyncio.Future[None] = loop.create_future()
        publisher = _Publisher(load, index, answered_us, done)
        await loop.create_connection(lambda p=publisher: p, "127.0.0.1", load.port)  # type: ignore[misc]
        publishers.append(publisher)
        waits.append(done)
    started, at = time.time(), time.monotonic()
    for publisher in publishers:
        publisher.begin(at)
    await asyncio.gather(*waits)
    refusal = next((p.refusal for p in publishers if p.refused), "")
    return Published(started, time.time(), sum(p.refused for p in publishers), refusal, answered_us.tobytes())
