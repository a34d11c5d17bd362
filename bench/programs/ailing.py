"""Targets that are ill as targets are, in a process of their own: each path has a behaviour, which nothing cures.

Connections are kept, bodies are read to their end and forgotten, so that what is measured is what they do to others.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from multiprocessing.connection import Connection
from typing import Final, cast

import uvloop

from bench.programs.target import told

HANG_SECONDS: Final = 30.0
DRIP_SECONDS: Final = 1.0

HANG: Final = "hang"  # answers after half a minute
FAIL: Final = "fail"  # answers 500 at once
DRIP: Final = "drip"  # answers 200 at once, with a body that comes a byte a second and never ends

_LENGTH: Final = b"content-length:"
_OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
_FAILED: Final = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
_DRIPPING: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"


class Seen:
    """Requests by behaviour, and how many were open at most, of all together."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.open = 0
        self.open_max = 0


class AilingProtocol(asyncio.Protocol):
    """One connection, of one request at a time."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        self._head = b""
        self._missing = 0  # bytes of the body
        self._path = ""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._missing:
            self._missing -= len(data)
        else:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self._head[:end].lower()
            at = head.find(_LENGTH) + len(_LENGTH)
            stop = head.find(b"\r", at)
            self._missing = int(head[at : stop if stop > 0 else None]) - (len(self._head) - end - 4)
            self._path = head.split(b" ", 2)[1].decode().strip("/")
            self._head = b""
        if self._missing == 0:
            self._behave()

    def _behave(self) -> None:
        self._seen.requests[self._path] += 1
        if self._path == FAIL:
            self._transport.write(_FAILED)
            return
        self._seen.open += 1
        self._seen.open_max = max(self._seen.open_max, self._seen.open)
        if self._path == HANG:
            self._timer = asyncio.get_running_loop().call_later(HANG_SECONDS, self._answer)
        else:
            self._transport.write(_DRIPPING)
            self._drip()

    def _answer(self) -> None:
        self._timer = None
        self._seen.open -= 1
        self._transport.write(_OK)

    def _drip(self) -> None:
        self._transport.write(b"x")
        self._timer = asyncio.get_running_loop().call_later(DRIP_SECONDS, self._drip)

    def connection_lost(self, _: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._seen.open -= 1


def run(pipe: Connection) -> None:
    """Serve until told to stop. Says its port; answers `("seen",)` with the requests by behaviour and the most at a time."""
    uvloop.run(_serve(pipe))


async def _serve(pipe: Connection) -> None:
    loop = asyncio.get_running_loop()
    seen = Seen()
    server = await loop.create_server(lambda: AilingProtocol(seen), "127.0.0.1", 0, backlog=2048)
    stopped = asyncio.Event()

    def command() -> None:
        os.set_blocking(pipe.fileno(), True)
        if told(pipe)[0] == "seen":
            pipe.send((dict(seen.requests), seen.open_max))
        else:
            stopped.set()

    loop.add_reader(pipe.fileno(), command)
    pipe.send(server.sockets[0].getsockname()[1])
    await stopped.wait()
    server.close()
