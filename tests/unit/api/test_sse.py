"""Server-sent events: how they are written, and how a stream of them ends, over real connections."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from posthouse.api.express import Connection
from posthouse.api.server import Server
from posthouse.api.sse import EventStream, last_id, message

REQUEST = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
PATIENCE_SECONDS = 20


def test_a_message_is_lines_and_an_empty_one() -> None:
    assert message("event", b'{"a":1}') == b'event: event\ndata: {"a":1}\n\n'
    assert message("event", b"{}", id="x") == b"event: event\ndata: {}\nid: x\n\n"
    assert last_id("x") == b"id: x\n"


def test_data_of_several_lines_stay_several_lines() -> None:
    assert message("event", b'{\n "a": 1\n}') == b'event: event\ndata: {\ndata:  "a": 1\ndata: }\n\n'


class Streaming:
    """A server whose every request is answered with a stream of `chunks`."""

    def __init__(self, chunks: Any, send_seconds: float) -> None:
        self.over = asyncio.Event()
        self.released = asyncio.Event()
        self.closed = asyncio.Event()
        self.port = 0
        self._chunks = chunks
        self._send_seconds = send_seconds

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        response = EventStream(
            self._watched(), over=self.over, release=self.released.set, send_seconds=self._send_seconds
        )
        await response(scope, receive, send)

    async def _watched(self) -> AsyncGenerator[bytes, None]:
        try:
            async for chunk in self._chunks(self):
                yield chunk
        finally:
            self.closed.set()


@asynccontextmanager
async def streaming(chunks: Any, *, send_seconds: float = 60) -> AsyncIterator[Streaming]:
    app = Streaming(chunks, send_seconds)
    listening = socket.create_server(("127.0.0.1", 0))
    app.port = listening.getsockname()[1]
    server = Server(uvicorn.Config(app, http=Connection, lifespan="off", log_config=None, access_log=False))
    task = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield app
    finally:
        server.should_exit = True
        await task


async def connect(port: int, *, buffer: int | None = None) -> socket.socket:
    connection = socket.socket()
    if buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    connection.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(connection, ("127.0.0.1", port))
    await loop.sock_sendall(connection, REQUEST)
    return connection


async def read_all(connection: socket.socket) -> bytes:
    loop = asyncio.get_running_loop()
    found = b""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while data := await loop.sock_recv(connection, 65536):
            found += data
    connection.close()
    return found


async def endless(app: Streaming) -> AsyncGenerator[bytes, None]:
    """Much more than any buffer holds; it ends by itself when the stream is over."""
    while not app.over.is_set():
        yield b"x" * 65536


async def quiet(app: Streaming) -> AsyncGenerator[bytes, None]:
    yield b": hello\n\n"
    await app.over.wait()


async def test_it_ends_with_its_chunks_and_closes_the_connection() -> None:
    async def two(_: Streaming) -> AsyncGenerator[bytes, None]:
        yield b": a\n\n"
        yield b": b\n\n"

    async with streaming(two) as app:
        answer = await read_all(await connect(app.port))
        await app.released.wait()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    lines = head.lower().split(b"\r\n")
    assert b"content-type: text/event-stream; charset=utf-8" in lines
    assert b"cache-control: no-store" in lines
    assert not [line for line in lines if line.startswith(b"content-length")]
    assert body == b"5\r\n: a\n\n\r\n5\r\n: b\n\n\r\n0\r\n\r\n"


async def test_it_ends_when_the_client_goes() -> None:
    async with streaming(quiet) as app:
        connection = await connect(app.port)
        await asyncio.get_running_loop().sock_recv(connection, 100)
        connection.close()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await app.closed.wait()
            await app.released.wait()


async def test_when_it_is_over_it_ends_cleanly_and_at_once() -> None:
    async with streaming(quiet) as app:
        connection = await connect(app.port)
        await asyncio.get_running_loop().sock_recv(connection, 100)
        began = time.monotonic()
        app.over.set()
        assert (await read_all(connection)).endswith(b"0\r\n\r\n")
        assert time.monotonic() - began < 2


@pytest.mark.parametrize("over", [True, False], ids=["over", "too slow"])
async def test_a_client_that_reads_nothing_is_cut_off(over: bool) -> None:
    """When the stream is over, or when it has read nothing for too long."""
    async with streaming(endless, send_seconds=60 if over else 0.3) as app:
        connection = await connect(app.port, buffer=4096)
        if over:
            await asyncio.sleep(0.3)  # until the buffers are full; were they not, the stream would end cleanly
            app.over.set()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await app.closed.wait()
            await app.released.wait()
        began = time.monotonic()
    # The server has ended already: nothing waits for the client to read.
    assert time.monotonic() - began < 3
    assert not (await read_all(connection)).endswith(b"0\r\n\r\n"), "it does not look as if it ended well"


async def test_a_client_that_reads_slowly_gets_everything() -> None:
    async def much(_: Streaming) -> AsyncGenerator[bytes, None]:
        for number in range(100):
            yield b"%05d" % number * 5000

    async with streaming(much, send_seconds=60) as app:
        connection = await connect(app.port, buffer=4096)
        loop = asyncio.get_running_loop()
        found = b""
        while data := await loop.sock_recv(connection, 65536):
            found += data
            await asyncio.sleep(0.001)
        connection.close()
    assert all(found.count(b"%05d" % number) >= 4990 for number in range(100))
    assert found.endswith(b"0\r\n\r\n")


async def test_what_goes_wrong_in_the_stream_is_not_hidden(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(_: Streaming) -> AsyncGenerator[bytes, None]:
        yield b": a\n\n"
        raise LookupError("a bug")

    async with streaming(broken) as app:
        answer = await read_all(await connect(app.port))
        await app.released.wait()
    assert not answer.endswith(b"0\r\n\r\n")
    assert "a bug" in caplog.text
