"""Targets that mean no good, in a process of their own: each has a path, and the path says what it does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Final

import uvloop

Writer = asyncio.StreamWriter


async def _hang(_: Writer) -> None:
    await asyncio.sleep(60)


async def _drip(writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.5)


async def _endless_headers(writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"x-more: " + b"y" * 1000 + b"\r\n")
        await writer.drain()


async def _endless_body(writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1000\r\n" + b"z" * 4096 + b"\r\n")
        await writer.drain()


async def _close(_: Writer) -> None:
    return


async def _garbage(writer: Writer) -> None:
    writer.write(b"\x00\xff not HTTP at all \r\n\r\n" * 10)
    await writer.drain()


async def _fail(writer: Writer) -> None:
    writer.write(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n")
    await writer.drain()


async def _redirect(writer: Writer) -> None:
    writer.write(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n")
    await writer.drain()


BEHAVIOURS: Final[dict[str, Callable[[Writer], Awaitable[None]]]] = {
    "hang": _hang,
    "drip": _drip,
    "endless-headers": _endless_headers,
    "endless-body": _endless_body,
    "close": _close,
    "garbage": _garbage,
    "fail": _fail,
    "redirect": _redirect,
}


async def _serve_one(reader: asyncio.StreamReader, writer: Writer) -> None:
    # The sender went, which uvloop tells as a RuntimeError too; or the benchmark ends, in whatever it was doing.
    gone = (OSError, RuntimeError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)
    with suppress(*gone, asyncio.CancelledError):
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split(b" ", 2)[1].decode().strip("/")
        await BEHAVIOURS[path](writer)
    writer.close()


async def _serve(pipe: Connection) -> None:
    server = await asyncio.start_server(_serve_one, "127.0.0.1", 0, backlog=2048)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_reader(pipe.fileno(), stopped.set)
    pipe.send(server.sockets[0].getsockname()[1])
    await stopped.wait()


def run(pipe: Connection) -> None:
    """Serve until anything is said."""
    uvloop.run(_serve(pipe))
