"""Server-sent events: how a message is written, and the response that sends them.

Source: WHATWG HTML, section 9.2 (https://html.spec.whatwg.org/multipage/server-sent-events.html).

The response is ours rather than `sse-starlette`'s: that one learns of a shutdown from uvicorn's signal handlers, which this
project replaces, through a flag that all servers of a process share and nothing resets; and where a client does not take what
it is sent, it raises, but leaves the connection to whenever the client reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, Final

import structlog
from starlette.responses import Response

from posthouse.api.arriving import Receive
from posthouse.api.express import abort
from posthouse.api.gate import Scope, Send
from posthouse.domain.limits import STREAM_CLOSE_SECONDS_MAX, STREAM_SEND_SECONDS_MAX

log = structlog.get_logger()

CONTENT: Final = "text/event-stream"
KEEP_ALIVE: Final = b": keep-alive\n"


def message(event: str, data: bytes, *, id: str | None = None) -> bytes:
    """A message. `data` holds no carriage return: a line of the protocol ends with one, and it would come out as another."""
    told = b"event: %b\ndata: %b\n" % (event.encode(), data.replace(b"\n", b"\ndata: "))
    return told + last_id(id) + b"\n" if id is not None else told + b"\n"


def last_id(id: str) -> bytes:
    """The line that says where a client resumes; in a message of its own it changes nothing else."""
    return b"id: %b\n" % id.encode()


class EventStream(Response):
    """Sends what `chunks` gives, each once the client has taken the one before.

    It ends, and the connection with it, when the chunks do or the client goes; at once when `over` is set, whatever the
    client does; and when it takes nothing for `send_seconds`. `release` is called in the end.
    """

    media_type = CONTENT

    def __init__(
        self,
        chunks: AsyncGenerator[bytes, None],
        *,
        over: asyncio.Event,
        release: Callable[[], None],
        send_seconds: float = STREAM_SEND_SECONDS_MAX,
    ) -> None:
        # Not the base's: it would hold a body, and tell its length.
        self.status_code = 200
        self.background = None
        self.init_headers({"cache-control": "no-store", "x-accel-buffering": "no", "connection": "close"})
        self._chunks = chunks
        self._over = over
        self._release = release
        self._send_seconds = send_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # type: ignore[override]
        sending = asyncio.create_task(self._send(send))
        gone = asyncio.create_task(_gone(receive))
        over = asyncio.create_task(self._over.wait())
        try:
            await asyncio.wait((sending, gone, over), return_when=asyncio.FIRST_COMPLETED)
            if over.done():
                # The chunks end by themselves, unless the client holds them up.
                await asyncio.wait(
                    (sending, gone), timeout=STREAM_CLOSE_SECONDS_MAX, return_when=asyncio.FIRST_COMPLETED
                )
            held_up = not sending.done() or isinstance(sending.exception(), _HeldUp)
            if held_up and not gone.done():
                abort(scope)
                await asyncio.wait((gone,), timeout=STREAM_CLOSE_SECONDS_MAX)
            elif sending.done():
                sending.result()
        finally:
            for task in (sending, gone, over):
                task.cancel()
            await asyncio.gather(sending, gone, over, return_exceptions=True)
            self._release()

    async def _send(self, send: Send) -> None:
        async with aclosing(self._chunks) as chunks:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async for chunk in chunks:
                await self._in_time(send, {"type": "http.response.body", "body": chunk, "more_body": True})
            await self._in_time(send, {"type": "http.response.body", "body": b"", "more_body": False})

    async def _in_time(self, send: Send, part: dict[str, Any]) -> None:
        try:
            async with asyncio.timeout(self._send_seconds):
                await send(part)
        except TimeoutError:
            log.info("stream.client_held_up", seconds=self._send_seconds)
            raise _HeldUp from None


class _HeldUp(Exception):
    """The client did not take what it was sent."""


async def _gone(receive: Receive) -> None:
    """Until the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
