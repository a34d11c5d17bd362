"""A target that costs as little as one in Python can: it counts, times and answers.

The status is 202, as a publisher expects it: so the publisher can also be pointed straight at the target, and what both
do with nothing between them is seen.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import time
from array import array
from multiprocessing.connection import Connection
from typing import Any, Final, cast

import uvloop

ANSWER: Final = "HTTP/1.1 202 Accepted\r\nDate: %a, %d %b %Y %H:%M:%S GMT\r\nContent-Length: 0\r\n\r\n"
LENGTH: Final = b"content-length:"


class Received:
    """What arrived in one run: how often each number, and how long after it was published.

    Every event bears the number of its run. One of another run is late: it counts as a repeat, not for this run.
    """

    def __init__(self) -> None:
        self.late = 0
        self.connections = 0
        self._answers_at = 0
        self._answer = b""
        self.reset(0, 0, 0.0)

    def reset(self, run: int, numbers: int, delay_seconds: float) -> None:
        self.run = run
        self.counts = bytearray(numbers)
        self.latencies_us = array("I")
        self.total = 0
        self.last_at = 0.0
        self.answered = 0
        self.answered_at = 0.0
        self.delay_seconds = delay_seconds

    def answer(self) -> bytes:
        """With the date, as servers give it (RFC 9110, section 6.6.1): another one each second."""
        second = int(time.time())
        if second != self._answers_at:
            self._answers_at = second
            self._answer = time.strftime(ANSWER, time.gmtime(second)).encode()
        return self._answer

    def note(self, body: bytes) -> None:
        at = body.find(b'"n":"')
        if int(body[at + 5 : at + 9]) != self.run:
            self.late += 1
            return
        number = int(body[at + 9 : at + 17])
        sent_ns = int(body[at + 24 : at + 43])
        now_ns = time.time_ns()
        if self.counts[number] < 255:
            self.counts[number] += 1
        self.latencies_us.append(max(0, (now_ns - sent_ns) // 1000))
        self.total += 1
        self.last_at = now_ns / 1e9


class TargetProtocol(asyncio.Protocol):
    def __init__(self, received: Received) -> None:
        self._received = received
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._received.connections += 1

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        while True:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                break
            head = buffer[:end].lower()
            at = head.find(LENGTH) + len(LENGTH)
            stop = head.find(b"\r", at)
            length = int(head[at : stop if stop > 0 else None])
            if len(buffer) < end + 4 + length:
                break
            self._received.note(buffer[end + 4 : end + 4 + length])
            buffer = buffer[end + 4 + length :]
            if self._received.delay_seconds:
                asyncio.get_running_loop().call_later(self._received.delay_seconds, self._answer)
            else:
                self._transport.write(self._received.answer())
        self._buffer = buffer

    def _answer(self) -> None:
        self._transport.write(self._received.answer())
        self._received.answered += 1
        self._received.answered_at = time.time()


def told(pipe: Connection) -> Any:
    """What comes over a pipe that is readable; to stop, where the benchmark is gone (it was killed)."""
    try:
        return pipe.recv()
    except EOFError:
        return ("stop",)


def run(pipe: Connection) -> None:
    """Serve until told to stop. Says its port; answers `("reset", run, numbers, delay)`, `("count",)`, `("report",)`, and with
    the number of connections that were ever made `("connections",)`."""
    uvloop.run(_serve(pipe, dead=False))


def run_dead(pipe: Connection) -> None:
    """The same, but whoever connects is refused until it is told to `("recover",)`."""
    uvloop.run(_serve(pipe, dead=True))


def run_https(pipe: Connection) -> None:
    """The same over TLS. Before it says its port, it is told the file of its key and certificate (PEM)."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(pipe.recv())
    uvloop.run(_serve(pipe, dead=False, tls=tls))


async def _serve(pipe: Connection, *, dead: bool, tls: ssl.SSLContext | None = None) -> None:
    loop = asyncio.get_running_loop()
    received = Received()
    bound = socket.socket()  # its port is ours, and as long as nobody listens whoever connects is refused
    bound.bind(("127.0.0.1", 0))
    server = await loop.create_server(
        lambda: TargetProtocol(received), sock=bound, ssl=tls, backlog=2048, start_serving=not dead
    )
    stopped = asyncio.Event()
    tasks: list[asyncio.Task[None]] = []

    def command() -> None:
        os.set_blocking(pipe.fileno(), True)  # the loop wants it otherwise, and a report is larger than the pipe holds
        message = told(pipe)
        if message[0] == "reset":
            received.reset(*message[1:])
            pipe.send(None)
        elif message[0] == "count":
            pipe.send(received.answered if received.delay_seconds else received.total)
        elif message[0] == "report":
            last_at = received.answered_at if received.delay_seconds else received.last_at
            counts, latencies = bytes(received.counts), received.latencies_us.tobytes()
            pipe.send((counts, latencies, received.total, last_at, received.late))
        elif message[0] == "connections":
            pipe.send(received.connections)
        elif message[0] == "recover":
            tasks.append(loop.create_task(server.start_serving()))
        else:
            stopped.set()

    loop.add_reader(pipe.fileno(), command)
    pipe.send(bound.getsockname()[1])
    await stopped.wait()
    server.close()
