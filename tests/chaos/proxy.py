"""A TCP proxy that can be severed, and stalled: then it holds what it was given, and gives it on later."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from typing import Final, cast

_RESET: Final = struct.pack("ii", 1, 0)


class _Side(asyncio.Protocol):
    """One end of a connection: what it says goes to `other`."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._held: list[bytes] = []
        self.ended = False
        self._open = False
        self.stalled = proxy.stalled
        self.transport: asyncio.Transport
        self.other: _Side | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._open = True
        self._proxy.sides.add(self)
        if self.other is None:
            self._proxy.connect(self)
        else:
            self.other.give()

    def data_received(self, data: bytes) -> None:
        self._held.append(data)
        self.give()

    def eof_received(self) -> bool:
        self.ended = True
        self.give()
        return True  # `give` closes

    def connection_lost(self, _: Exception | None) -> None:
        self._proxy.sides.discard(self)
        self._open = False
        self.ended = True
        self.give()

    def pause_writing(self) -> None:
        if self.other is not None and self.other._open:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other._open:
            self.other.transport.resume_reading()

    def give(self) -> None:
        """Give on what was said, unless that must wait."""
        other = self.other
        if self.stalled or other is None or not hasattr(other, "transport"):
            return
        if self.ended and not self._proxy.late:
            self._held.clear()
        if other._open and self._held:
            other.transport.write(b"".join(self._held))
        self._held.clear()
        if self.ended:
            other.transport.close()
            self.transport.close()

    def reset(self) -> None:
        if not hasattr(self, "transport"):
            return
        sock = self.transport.get_extra_info("socket")
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()


class Proxy:
    """Stands before a port of this machine, or a Unix socket. With `late`, what was held of a side that is gone is given on
    all the same, as a network may do; otherwise it is lost."""

    def __init__(self, behind: int | str, *, late: bool) -> None:
        self._behind = behind
        self._connecting: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server
        self.late = late
        self.sides: set[_Side] = set()
        self.stalled = False
        self.refusing = False
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.get_running_loop().create_server(lambda: _Side(self), "127.0.0.1", 0, backlog=512)
        self.port = self._server.sockets[0].getsockname()[1]

    def connect(self, side: _Side) -> None:
        """A side came from in front: make the other one."""
        if self.refusing:
            side.reset()
            return
        side.other = other = _Side(self)
        other.other = side
        task = asyncio.get_running_loop().create_task(self._connect(side, other))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, side: _Side, other: _Side) -> None:
        loop = asyncio.get_running_loop()
        try:
            if isinstance(self._behind, int):
                await loop.create_connection(lambda: other, "127.0.0.1", self._behind)
            else:
                await loop.create_unix_connection(lambda: other, self._behind)
        except OSError:
            side.reset()

    def sever(self, share: float = 1.0, chance: random.Random | None = None) -> None:
        """Reset connections, on both sides: all, or some by chance. New ones too while `refusing`."""
        for side in list(self.sides):
            if chance is None or chance.random() < share:
                side.reset()

    def stall(self, share: float = 1.0, chance: random.Random | None = None) -> None:
        """Hold what is said on connections: on all, and on new ones; or on some that there are, by chance."""
        self.stalled = share >= 1.0
        for side in list(self.sides):
            side.stalled = chance is None or chance.random() < share

    def flow(self) -> None:
        """Give everything on, late as it is."""
        self.stalled = False
        held = {side for each in self.sides for side in (each, each.other) if side is not None}
        for side in held:
            side.stalled = False
        for side in list(self.sides):
            side.give()
            if side.other is not None:
                side.other.give()  # it may be gone already, and have left something

    async def close(self) -> None:
        self._server.close()
        for task in list(self._connecting):
            task.cancel()
        await asyncio.gather(*self._connecting, return_exceptions=True)
        self.sever()
        await asyncio.sleep(0)
