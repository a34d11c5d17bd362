"""Targets that misbehave on purpose: a server on loopback whose every connection runs a script."""

from __future__ import annotations

import asyncio
import functools
import inspect
import socket
import ssl
import struct
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import pytest
import uvloop

GONE_SECONDS: Final = 30.0
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Peer:
    """One connection, seen from the target."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number  # 1 is the target's first connection
        self.requests: list[bytes] = []
        self.gone = asyncio.Event()  # the sender has closed
        self._reader = reader
        self._writer = writer

    @property
    def certificate(self) -> bytes | None:
        """The client certificate that came with the connection, as DER."""
        secured = self._writer.get_extra_info("ssl_object")
        found: bytes | None = secured.getpeercert(binary_form=True)
        return found

    @property
    def address(self) -> str:
        """Where the connection came from."""
        came_from: str = self._writer.get_extra_info("peername")[0]
        return came_from

    async def request(self) -> bytes:
        """Read a whole request. Raises EOFError when the sender closes instead."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        request = head + await self._reader.readexactly(length)
        self.requests.append(request)
        return request

    async def send(self, data: bytes) -> None:
        """Raises OSError when the sender has gone (uvloop would raise RuntimeError for a closed transport)."""
        if self._writer.is_closing():
            raise ConnectionResetError("the sender has closed")
        self._writer.write(data)
        await self._writer.drain()

    async def until_gone(self) -> None:
        """Read and throw away until the sender closes."""
        while await self._reader.read(65536):
            pass

    def end(self) -> None:
        """Half-close: the end of what we send."""
        self._writer.write_eof()

    def close(self) -> None:
        self._writer.transport.abort()

    def reset(self) -> None:
        """Close with RST."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


Script = Callable[[Peer], Awaitable[None]]


class RawTarget:
    """What happened at a target: its port and its connections, in order."""

    def __init__(self) -> None:
        self.port = 0
        self.peers: list[Peer] = []
        self.called = asyncio.Condition()

    @property
    def requests(self) -> list[bytes]:
        return [request for peer in self.peers for request in peer.requests]

    async def connections(self, count: int) -> None:
        """Wait until so many connections were made."""
        async with self.called:
            await self.called.wait_for(lambda: len(self.peers) >= count)

    async def all_gone(self) -> None:
        """Wait until the sender has closed every connection; fails with those that are open still."""
        try:
            async with asyncio.timeout(GONE_SECONDS):
                for peer in self.peers:
                    await peer.gone.wait()
        except TimeoutError:
            still_open = [peer.number for peer in self.peers if not peer.gone.is_set()]
            raise AssertionError(
                f"after {GONE_SECONDS:g} s, of {len(self.peers)} connections these are still open: {still_open}"
            ) from None


@asynccontextmanager
async def target(script: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[RawTarget]:
    """Serve on 127.0.0.1. After its script, a connection stays open until the sender closes it."""
    served = RawTarget()
    tasks: set[asyncio.Task[None]] = set()
    writers: list[asyncio.StreamWriter] = []

    async def run(peer: Peer) -> None:
        with suppress(EOFError, OSError):
            await script(peer)
            await peer.until_gone()
        peer.gone.set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        peer = Peer(len(served.peers) + 1, reader, writer)
        async with served.called:
            served.peers.append(peer)
            served.called.notify_all()
        task = asyncio.create_task(run(peer))
        tasks.add(task)
        with suppress(asyncio.CancelledError):
            await task

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    served.port = server.sockets[0].getsockname()[1]
    try:
        yield served
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)
        await server.wait_closed()
        for result in results:
            if isinstance(result, Exception):
                raise result


@asynccontextmanager
async def strict_target(tls: ssl.SSLContext) -> AsyncIterator[RawTarget]:
    """A target in a thread of its own whose handshakes fail as they do at servers in C: it says why (an alert) before it
    closes, which servers of asyncio do not. A connection whose handshake succeeds is answered with OK, once."""
    served = RawTarget()

    def serve(raw: socket.socket) -> None:
        with tls.wrap_socket(raw, server_side=True, do_handshake_on_connect=False) as secured, suppress(OSError):
            try:
                secured.do_handshake()
            except ssl.SSLError:
                secured.shutdown(socket.SHUT_WR)
                while socket.socket.recv(secured, 65_536):
                    pass  # what is not read would make a reset of the end, and the alert would be lost
                return
            secured.recv(65_536)
            secured.sendall(OK)

    def accept(listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                serve(listening.accept()[0])

    with socket.create_server(("127.0.0.1", 0)) as listening:
        served.port = listening.getsockname()[1]
        thread = threading.Thread(target=accept, args=(listening,))
        thread.start()
        try:
            yield served
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            await asyncio.to_thread(thread.join)  # our loop may have connections to close meanwhile


async def answer_ok(peer: Peer) -> None:
    """The script of a good target: 200 to every request."""
    while True:
        await peer.request()
        await peer.send(OK)


def on_both_loops(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test on asyncio's own event loop and on uvloop."""

    @functools.wraps(test)
    def run(loop_factory: Callable[[], asyncio.AbstractEventLoop], **arguments: Any) -> None:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(test(**arguments))

    signature = inspect.signature(test)
    parameter = inspect.Parameter("loop_factory", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    run.__signature__ = signature.replace(parameters=[parameter, *signature.parameters.values()])  # type: ignore[attr-defined]
    loops = [asyncio.new_event_loop, uvloop.new_event_loop]
    parametrized: Callable[..., None] = pytest.mark.parametrize("loop_factory", loops, ids=["asyncio", "uvloop"])(run)
    return parametrized
