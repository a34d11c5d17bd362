"""A target that costs as little as one in Python can: it counts, times and answers 200."""

from __future__ import annotations

import asyncio
import os
import time
from array import array
from multiprocessing.connection import Connection
from typing import Final, cast

import uvloop

ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
LENGTH: Final = b"content-length:"


class Received:
    """What arrived: how often each number, and how long after it was published."""

    def __init__(self) -> None:
        self.reset(0)

    def reset(self, numbers: int) -> None:
        self.counts = bytearray(numbers)
        self.latencies_us = array("I")
        self.total = 0
        self.last_at = 0.0

    def note(self, body: bytes) -> None:
        at = body.find(b'"n":"')
        number = int(body[at + 5 : at + 13])
        sent_ns = int(body[at + 20 : at + 39])
        now_ns = time.time_ns()
        if number < len(self.counts) and self.counts[number] < 255:
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
            self._transport.write(ANSWER)
        self._buffer = buffer


def run(pipe: Connection) -> None:
    """Serve until told to stop. Says its port; answers `("reset", n)` and `("report",)`."""
    uvloop.run(_serve(pipe))


async def _serve(pipe: Connection) -> None:
    loop = asyncio.get_running_loop()
    received = Received()
    server = await loop.create_server(lambda: TargetProtocol(received), "127.0.0.1", 0, backlog=2048)
    stopped = asyncio.Event()

    def command() -> None:
        os.set_blocking(pipe.fileno(), True)  # the loop wants it otherwise, and a report is larger than the pipe holds
        message = pipe.recv()
        if message[0] == "reset":
            received.reset(message[1])
            pipe.send(None)
        elif message[0] == "count":
            pipe.send(received.total)
        elif message[0] == "report":
            pipe.send((bytes(received.counts), received.latencies_us.tobytes(), received.total, received.last_at))
        else:
            stopped.set()

    loop.add_reader(pipe.fileno(), command)
    pipe.send(server.sockets[0].getsockname()[1])
    await stopped.wait()
    server.close()
