"""A small HTTP proxy on loopback: it makes tunnels (CONNECT), and remembers what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

MADE = b"HTTP/1.1 200 Connection established\r\n\r\n"


class HttpProxy:
    """`asked` are the heads of its requests, `sources` the addresses that they came from. With `says`, it answers that and
    makes no tunnel; with `hangs`, it answers nothing."""

    def __init__(self, *, says: bytes | None = None, hangs: bool = False) -> None:
        self.port = 0
        self.asked: list[bytes] = []
        self.sources: list[str] = []
        self.says = says
        self.hangs = hangs

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(head)
        self.sources.append(writer.get_extra_info("peername")[0])
        if self.hangs:
            await reader.read()
            return
        if self.says is not None:
            writer.write(self.says)
            await writer.drain()
            return
        host, _, port = head.split(b" ")[1].decode().rpartition(":")
        to_reader, to_writer = await asyncio.open_connection(host.strip("[]"), int(port))
        writer.write(MADE)
        try:
            await asyncio.gather(_copy(reader, to_writer), _copy(to_reader, writer))
        finally:
            to_writer.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


@asynccontextmanager
async def http_proxy(*, says: bytes | None = None, hangs: bool = False) -> AsyncIterator[HttpProxy]:
    proxy = HttpProxy(says=says, hangs=hangs)
    tasks: set[asyncio.Task[None]] = set()
    close: list[Callable[[], None]] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        close.append(writer.transport.abort)
        task = asyncio.create_task(proxy.serve(reader, writer))
        tasks.add(task)
        with suppress(EOFError, OSError, asyncio.CancelledError):
            await task
        writer.transport.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for abort in close:
            abort()
        await asyncio.sleep(0)
        await server.wait_closed()
