"""Connections on an event loop, as `connections` has them for threads."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from posthouse_sdk.publishing.connections import IDLE_SECONDS_MAX, READ_BYTES, told
from posthouse_sdk.publishing.exchange import Call, Server, Verdict, judge, lost
from posthouse_sdk.publishing.http1 import Answer, AnswerReader, MalformedAnswer

if TYPE_CHECKING:
    from ssl import SSLContext

CONNECTIONS_MAX: Final = 32
_Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
CLOSE_SECONDS_MAX: Final = 1.0


class Streams:
    """Sends a request and reads its answer, on the loop that runs, over at most `CONNECTIONS_MAX` connections. Those of another
    loop are left behind."""

    def __init__(
        self, server: Server, api_key: str, agent: str, *, connect_timeout: float, context: SSLContext | None
    ) -> None:
        self._server = server
        self._api_key = api_key
        self._agent = agent
        self._connect_timeout = connect_timeout
        self._context = context
        self._loop: asyncio.AbstractEventLoop | None = None
        self._idle: list[tuple[_Stream, float]] = []
        self._turns = asyncio.Semaphore(CONNECTIONS_MAX)
        self._closed = False

    async def exchange(self, call: Call, *, timeout: float) -> Verdict:
        """One try of a call, which ends within `timeout` seconds. Never raises for what a network does."""
        request = call.request(self._server, self._api_key, self._agent)
        sent, kept, reader, stream = False, None, AnswerReader(), None
        self._bind()
        try:
            async with asyncio.timeout(timeout), self._turns:
                kept = self._taken()
                stream = kept or await self._connected()
                sent = True
                answer = await _spoken(stream, request, reader)
        except (OSError, MalformedAnswer) as error:  # a TimeoutError is an OSError
            if stream is not None:
                stream[1].transport.abort()
            reused = kept is not None and not reader.begun and not isinstance(error, TimeoutError)
            reason = "timed out" if isinstance(error, TimeoutError) else told(error)
            return lost(f"{'the connection was lost' if sent else 'no connection'}: {reason}", sent=sent, reused=reused)
        except BaseException:
            if stream is not None:
                stream[1].transport.abort()
            raise
        here = self._loop is asyncio.get_running_loop()  # another one may have taken its place meanwhile
        if here and answer.reusable and not self._closed and len(self._idle) < CONNECTIONS_MAX:
            self._idle.append((stream, time.monotonic()))
        else:
            stream[1].close()
        return judge(call, answer, now=time.time())

    async def close(self) -> None:
        """Close what is idle; what is in use is closed after it."""
        self._closed = True
        idle, self._idle = self._idle, []
        if self._loop is not asyncio.get_running_loop():
            return
        for (_, writer), _ in idle:
            writer.close()
        for (_, writer), _ in idle:
            try:
                async with asyncio.timeout(CLOSE_SECONDS_MAX):
                    await writer.wait_closed()
            except OSError:
                writer.transport.abort()

    def forked(self) -> None:
        """In a child process: the connections are the parent's."""
        self._idle = []
        self._loop = None

    def _bind(self) -> None:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._idle, self._turns = loop, [], asyncio.Semaphore(CONNECTIONS_MAX)

    def _taken(self) -> _Stream | None:
        now = time.monotonic()
        while self._idle:
            stream, since = self._idle.pop()
            reader, writer = stream
            if now - since < IDLE_SECONDS_MAX and not writer.is_closing() and not reader.at_eof():
                return stream
            writer.close()
        return None

    async def _connected(self) -> _Stream:
        server = self._server
        if server.secure and self._context is None:
            import ssl

            self._context = await asyncio.to_thread(ssl.create_default_context)
        context = self._context if server.secure else None
        async with asyncio.timeout(self._connect_timeout):
            return await asyncio.open_connection(server.host, server.port, ssl=context)


async def _spoken(stream: _Stream, request: bytes, reader: AnswerReader) -> Answer:
    source, sink = stream
    sink.write(request)
    await sink.drain()
    while reader.answer is None:
        data = await source.read(READ_BYTES)
        if data:
            reader.feed(data)
        else:
            reader.end()
    return reader.answer
