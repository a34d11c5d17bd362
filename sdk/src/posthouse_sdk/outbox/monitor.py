"""What a relay tells of itself: `GET /metrics` for Prometheus, and `GET /healthz`: 200, or 503 with what is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

from posthouse_sdk.outbox.relay import Gauges, boot_clock

REQUEST_BYTES_MAX: Final = 8 * 1024
REQUEST_SECONDS_MAX: Final = 5.0

_SERIES: Final[tuple[tuple[str, str, str, Callable[[Gauges], float]], ...]] = (
    ("published_events_total", "counter", "Events that the server has, and the outbox no more.", lambda g: g.published),
    ("set_aside_events_total", "counter", "Events that the server refused for good.", lambda g: g.refused),
    ("failures_total", "counter", "Rounds that the server or the database ended.", lambda g: g.failures),
    ("working", "gauge", "1 where this relay works, 0 where it stands by.", lambda g: float(g.working)),
    ("held", "gauge", "Keys, apps and rows that wait for a later try.", lambda g: g.held),
    ("pending_events", "gauge", "Events in the outbox, counted up to 10,000.", lambda g: g.pending),
    ("dead_events", "gauge", "Events that are set aside, counted up to 10,000.", lambda g: g.dead),
    ("oldest_seconds", "gauge", "Age of the oldest event in the outbox.", lambda g: g.oldest_seconds),
    ("clock_skew_seconds", "gauge", "How far the server's clock is ahead of this machine's.", lambda g: g.skew_seconds),
    ("published_at_seconds", "gauge", "When the last event was published, in unix seconds.", lambda g: g.published_at),
)


def metrics(gauges: Gauges) -> str:
    """The gauges in Prometheus' text format."""
    lines = []
    for name, kind, text, value in _SERIES:
        full = f"posthouse_relay_{name}"
        lines += [f"# HELP {full} {text}", f"# TYPE {full} {kind}", f"{full} {value(gauges):g}"]
    return "\n".join(lines) + "\n"


@asynccontextmanager
async def monitored(gauges: Gauges, host: str, port: int) -> AsyncIterator[int]:
    """Answer on this port (0: any) meanwhile; which one it is. Raises OSError where it cannot be had."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(TimeoutError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
                async with asyncio.timeout(REQUEST_SECONDS_MAX):
                    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                    status, body = _answer(head.split(" ", 2)[1], gauges)
                    writer.write(
                        f"HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n"
                        f"Content-Length: {len(body)}\r\n\r\n".encode()
                        + body
                    )
                    await writer.drain()
        finally:
            writer.close()

    server = await asyncio.start_server(answer, host, port, limit=REQUEST_BYTES_MAX)
    async with server:
        yield server.sockets[0].getsockname()[1]


def _answer(target: str, gauges: Gauges) -> tuple[str, bytes]:
    match target.partition("?")[0]:
        case "/metrics":
            return "200 OK", metrics(gauges).encode()
        case "/healthz":
            wrong = gauges.why_unhealthy(boot_clock())
            if wrong is None:
                return "200 OK", f"{'works' if gauges.working else 'stands by'}\n".encode()
            return "503 Service Unavailable", f"{wrong}\n".encode()
        case _:
            return "404 Not Found", b"/metrics and /healthz are here\n"
