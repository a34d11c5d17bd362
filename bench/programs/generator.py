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


UNCOUNTED: Final = 99_999_999
"""The number of an event that does not go to the target that counts."""


class Route(NamedTuple):
    """An app, and the type by which one of its endpoints is reached. `counted`: it is the target that counts which gets it."""

    app: str
    type: str
    counted: bool = True
    body_bytes: int = 0  # of the request; 0: about 350


class Load(NamedTuple):
    """`events` in all, to `apps` in turn, over `connections` that are made before; or, with a `subject`, to whom grants cover.
    Or each to the next of the `routes`, one at a time.

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
    routes: Sequence[Route] = ()


class Published(NamedTuple):
    """How it went: unix seconds, what was refused with one example, and how long each request took, in microseconds."""

    started: float
    ended: float
    refused: int
    refusal: str
    answered_us: bytes  # array("I")


class Turns:
    """The requests of a load with routes. What is counted is numbered apart from what is not, without gaps."""

    def __init__(self, load: Load) -> None:
        self._run = load.run
        self._length = len(load.routes)
        self._counted = sum(route.counted for route in load.routes)
        forms: dict[tuple[str, int], bytes] = {}
        self._turns: list[tuple[bytes, bytes, int]] = []  # a head, the form of a body, and which of the counted it is
        place = 0
        for route in load.routes:
            kind = (route.type, route.body_bytes)
            if kind not in forms:
                forms[kind] = _form(route)
            head = _head(f"/apps/{route.app}/events", load.key)
            self._turns.append((head, forms[kind], place if route.counted else -1))
            place += route.counted

    def request(self, index: int, at: int) -> bytes:
        """That of one event of the load, published at `at` (nanoseconds)."""
        cycle, turn = divmod(index, self._length)
        head, form, place = self._turns[turn]
        number = UNCOUNTED if place < 0 else cycle * self._counted + place
        body = form % (self._run, number, at)
        return b"%b%d\r\n\r\n%b" % (head, len(body), body)


def counted(events: int, routes: Sequence[Route]) -> int:
    """How many of so many events go to the target that counts."""
    if not routes:
        return events
    cycles, rest = divmod(events, len(routes))
    return cycles * sum(route.counted for route in routes) + sum(route.counted for route in routes[:rest])


def _form(route: Route) -> bytes:
    form = EVENT.replace(b"bench.event", route.type.encode())
    missing = route.body_bytes - len(form % (0, 0, 0))
    return form.replace(FILLER, FILLER + b"x" * missing) if missing > 0 else form


def _head(path: str, key: str) -> bytes:
    return (
        f"POST /v1{path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\n"
        "Content-Type: application/json\r\nContent-Length: "
    ).encode()


class _Publisher(asyncio.Protocol):
    """One connection: sends a request, and the next when it is answered, or when it is due.

    In a paced run an event counts from when it was due where the answer before it came too late for that (else slow answers
    would hide themselves), and from when it was sent where it is this program's timer that was late.
    """

    def __init__(
        self, load: Load, turns: Turns | None, index: int, answered_us: array[int], done: asyncio.Future[None]
    ) -> None:
        self._load = load
        self._index = index
        self._numbers = range(index, load.events, load.connections)
        self._answered_us = answered_us
        self._done = done
        self._buffer = b""
        self.refused = 0
        self.refusal = ""
        whom = "" if load.subject or turns else f"/apps/{load.apps[index % len(load.apps)]}"
        suffix = "/batch" if load.batch > 1 else ""
        self._event = (
            EVENT.replace(b'"data"', b'"subject":"%b","data"' % load.subject.encode()) if load.subject else EVENT
        )
        self._head = _head(f"{whom}/events{suffix}", load.key)
        self._turns = turns
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
        self._sent = time.perf_counter() - late
        if self._turns is not None:
            self._transport.write(self._turns.request(numbers[0], at))
            return
        bodies = [self._event % (self._load.run, number, at) for number in numbers]
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
    turns = Turns(load) if load.routes else None
    publishers, waits = [], []
    for index in range(load.connections):
        done: asyncio.Future[None] = loop.create_future()
        publisher = _Publisher(load, turns, index, answered_us, done)
        await loop.create_connection(lambda p=publisher: p, "127.0.0.1", load.port)  # type: ignore[misc]
        publishers.append(publisher)
        waits.append(done)
    started, at = time.time(), time.monotonic()
    for publisher in publishers:
        publisher.begin(at)
    await asyncio.gather(*waits)
    refusal = next((p.refusal for p in publishers if p.refused), "")
    return Published(started, time.time(), sum(p.refused for p in publishers), refusal, answered_us.tobytes())
