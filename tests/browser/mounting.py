"""A proxy that has a platform below a prefix, as `location /hooks/ { proxy_pass http://posthouse/; }` does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.targets import Peer, RawTarget, target


@asynccontextmanager
async def mounted(port: int, prefix: str) -> AsyncIterator[tuple[str, RawTarget]]:
    """Where the server at this port is below the prefix ("/hooks"), which it never hears of; and the proxy, whose connections
    may be broken."""

    async def script(peer: Peer) -> None:
        request = await peer.request()
        method, path, rest = request.split(b" ", 2)
        if not path.startswith(prefix.encode() + b"/"):
            await peer.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return peer.end()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            head, blank, body = rest.partition(b"\r\n\r\n")
            lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
            lines.append(b"Connection: close")  # one request a connection: the answer ends where it closes
            stripped = path[len(prefix) :]
            writer.write(b" ".join([method, stripped, b"\r\n".join(lines)]) + blank + body)
            with suppress(OSError):
                while some := await reader.read(65_536):
                    await peer.send(some)
        finally:
            writer.close()
            peer.end()

    async with target(script) as served:
        yield f"http://127.0.0.1:{served.port}{prefix}", served
