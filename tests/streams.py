"""A client of the live stream for tests: it reads server-sent events off a socket, and shows them as they came."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest
from tests.serving import KEY, PATIENCE_SECONDS, request


class Told(NamedTuple):
    """A block of the stream. `id` is None where it has none; `event` is empty for one without data."""

    event: str
    data: Any
    id: str | None
    comment: str


class Following:
    """An open stream. `status` and `headers` are those of the answer; `last_id` the last id that came."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.status = 0
        self.headers: dict[str, str] = {}
        self.last_id: str | None = None
        self.chunked = b""

    async def begin(self) -> None:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status, *lines = head.strip().split("\r\n")
        self.status = int(status.split(" ", 2)[1])
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}

    async def problem(self) -> Any:
        return json.loads(await self.reader.read())

    async def block(self) -> Told | None:
        """The next block; None at the end of the stream."""
        while b"\n\n" not in self.chunked:
            line = await self.reader.readline()
            if not line:
                return None
            size = int(line, 16)
            self.chunked += (await self.reader.readexactly(size + 2))[:-2]
            if size == 0:
                return None
        end = self.chunked.index(b"\n\n")
        raw, self.chunked = self.chunked[:end], self.chunked[end + 2 :]
        event, data, comment = "", [], ""
        found: str | None = None
        for told in raw.decode().split("\n"):
            name, _, value = told.partition(": ")
            match name:
                case "":
                    comment = value
                case "event":
                    event = value
                case "data":
                    data.append(value)
                case "id":
                    found = self.last_id = value
        return Told(event, json.loads("\n".join(data)) if data else None, found, comment)

    async def messages(self, count: int) -> list[Told]:
        """The next messages, so many of them."""
        found: list[Told] = []
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while len(found) < count:
                    block = await self.block()
                    assert block is not None, f"the stream ended after {found}"
                    if block.event:
                        found.append(block)
        except TimeoutError:
            pytest.fail(f"waited in vain for {count} messages; there were {found}")
        return found

    async def end(self) -> list[Told]:
        """Everything up to the end of the stream."""
        found = []
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (block := await self.block()) is not None:
                found.append(block)
        return found


@asynccontextmanager
async def following(
    port: int, *, key: str | None = KEY, last_id: str | None = None, small: bool = False, **query: Any
) -> AsyncIterator[Following]:
    """Open a stream; where it was opened, its first block has been read. A `small` client holds little that it has not read."""
    connection = socket.socket()
    if small:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=connection, limit=4096 if small else 2**20)
    try:
        path = "/v1/stream" + (f"?{urlencode(query)}" if query else "")
        headers = {} if last_id is None else {"Last-Event-ID": last_id}
        writer.write(request("GET", path, key=key, headers=headers))
        followed = Following(reader, writer)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await followed.begin()
            if followed.status == 200:
                first = await followed.block()
                assert first is not None
                assert first.id
        yield followed
    finally:
        writer.close()
