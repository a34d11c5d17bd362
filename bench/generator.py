"""A publisher that costs as little as one in Python can: raw requests on kept connections."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import NamedTuple, cast

import uvloop

FILLER = "x" * 280


class Load(NamedTuple):
    """`events` in all, to `apps` in turn, over `connections`; at `rate` a second, or as fast as they are answered (0)."""

    port: int
    key: str
    apps: Sequence[str]
    events: int
    connections: int
    rate: float = 0.0
    batch: int = 1


class _Publisher(asyncio.Protocol):
    """One connection: sends a request, and the next when it is answered."""

    def __init__(self, load: Load, numbers: range, done: asyncio.Future[None]) -> None:
        self._load = load
        self._numbers = iter(numbers)
        self._done = done
        self._buffer = b""
        self.refused = 0
        self.refusal = ""
        app = load.apps[numbers.start % len(load.apps)]
        suffix = "/batch" if load.batch > 1 else ""
        self._head = (
            f"POST /v1/apps/{app}/events{suffix} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {load.key}\r\n"
            "Content-Type: application/json\r\nContent-Length: "
        ).encode()
        self._due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._due = time.monotonic()
        self._next()

    def _next(self) -> None:
        rate = self._load.rate
        if rate:
            self._due += self._load.connections / rate
            delay = self._due - time.monotonic()
            if delay > 0.0005:
                asyncio.get_running_loop().call_later(delay, self._send)
                return
        self._send()

    def _send(self) -> None:
        bodies = []
        for number in self._numbers:
            bodies.append(
                b'{"type":"bench.event","data":{"n":"%08d","t":"%019d","f":"%b"}}'
                % (number, time.time_ns(), FILLER.encode())
            )
            if len(bodies) == self._load.batch:
                break
        if not bodies:
            self._transport.close()
            if not self._done.done():
                self._done.set_result(None)
            return
        body = bodies[0] if self._load.batch == 1 else b"[%b]" % b",".join(bodies)
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
        if not self._buffer.startswith(b"HTTP/1.1 202"):
            self.refused += 1
            self.refusal = self._buffer[: end + 4 + length].decode("latin-1")
        self._buffer = self._buffer[end + 4 + length :]
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(exc or ConnectionError("the server closed the connection"))


def run(pipe: Connection) -> None:
    """Run each `Load` that comes, and answer (started at, ended at, refused, one refusal, CPU seconds)."""
    while (load := pipe.recv()) is not None:
        pipe.send(uvloop.run(_publish(load)))


async def _publish(load: Load) -> tuple[float, float, int, str, float]:
    loop = asyncio.get_running_loop()
    started, cpu = time.time(), time.process_time()
    publishers, waits = [], []
    for index in range(load.connections):
        done: asyncio.Future[None] = loop.create_future()
        publisher = _Publisher(load, range(index, load.events, load.connections), done)
        await loop.create_connection(lambda p=publisher: p, "127.0.0.1", load.port)  # type: ignore[misc]
        publishers.append(publisher)
        waits.append(done)
    await asyncio.gather(*waits)
    refusal = next((p.refusal for p in publishers if p.refused), "")
    return started, time.time(), sum(p.refused for p in publishers), refusal, time.process_time() - cpu
