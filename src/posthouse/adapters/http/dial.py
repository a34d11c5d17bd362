"""New connections: TCP to a pinned address, then TLS, each within its limit."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import Final

import msgspec

from posthouse.adapters.http.connection import Connection, Keeper, PoolKey
from posthouse.adapters.http.reasons import errno_text, is_ours, tls_text
from posthouse.domain.exchange import Fault

# An address that swallows packets leaves time for the next one, but gets at least this much of what there is.
CONNECT_SECONDS_MIN: Final = 1.0


class Dialled(msgspec.Struct, frozen=True):
    connection: Connection
    connect_us: int
    tls_us: int | None


class NotDialled(msgspec.Struct, frozen=True):
    fault: Fault
    detail: str
    address: str
    connect_us: int | None = None
    tls_us: int | None = None


class Dialler:
    """Opens connections, and can drop every dial under way at once.

    Time limits here are timers of asyncio: a new connection costs a hundred times more than its timers do.
    """

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._limits: set[asyncio.Timeout] = set()

    @asynccontextmanager
    async def within(self, seconds: float) -> AsyncIterator[None]:
        """A time limit that `hurry` ends early; TimeoutError ends what runs under it."""
        async with asyncio.timeout(seconds) as limit:
            self._limits.add(limit)
            try:
                yield
            finally:
                self._limits.discard(limit)

    def hurry(self) -> None:
        """Let the time of everything under way be over."""
        now = asyncio.get_running_loop().time()
        for limit in self._limits:
            if not limit.expired():
                limit.reschedule(now)

    async def dial(
        self,
        keys: list[PoolKey],
        context: ssl.SSLContext | None,
        server_name: str,
        *,
        connect_seconds: float,
        deadline: float,
    ) -> Dialled | NotDialled:
        """Connect to the first of these keys' addresses that accepts; a TLS handshake is tried with that one only.

        `connect_seconds` bounds TCP over all addresses together, and TLS; `deadline` bounds both. Raises OSError for
        what is our own fault.
        """
        started = monotonic()
        tcp_deadline = min(started + connect_seconds, deadline)
        failed = NotDialled(Fault.CONNECT_FAILED, "no address to connect to", "")
        for position, key in enumerate(keys):
            left = tcp_deadline - monotonic()
            if left <= 0 and position:
                break
            share = max(left / (len(keys) - position), min(left, CONNECT_SECONDS_MIN))
            sock = await self._connect(key, share)
            connect_us = _microseconds(started)
            if isinstance(sock, NotDialled):
                failed = NotDialled(sock.fault, sock.detail, sock.address, connect_us)
                continue
            tls_started = monotonic()
            connection = await self._open(sock, key, context, server_name, min(connect_seconds, deadline - tls_started))
            tls_us = None if context is None else _microseconds(tls_started)
            if isinstance(connection, NotDialled):
                return NotDialled(connection.fault, connection.detail, connection.address, connect_us, tls_us)
            return Dialled(connection, connect_us, tls_us)
        return failed

    async def _connect(self, key: PoolKey, seconds: float) -> socket.socket | NotDialled:
        family = socket.AF_INET6 if ":" in key.address else socket.AF_INET
        where = f"[{key.address}]:{key.port}" if family == socket.AF_INET6 else f"{key.address}:{key.port}"
        sock: socket.socket | None = None
        try:
            sock = socket.socket(family, socket.SOCK_STREAM)
            sock.setblocking(False)
            async with self.within(seconds):
                await asyncio.get_running_loop().sock_connect(sock, (key.address, key.port))
        except TimeoutError as error:
            _close(sock)
            waited = f"connection to {where} not accepted within {seconds:.3g} s"
            detail = waited if error.errno is None else f"cannot connect to {where}: {errno_text(error)}"
            return NotDialled(Fault.CONNECT_TIMEOUT, detail, key.address)
        except OSError as error:
            _close(sock)
            if is_ours(error, family):
                raise
            if isinstance(error, ConnectionRefusedError):
                return NotDialled(Fault.CONNECT_FAILED, f"connection refused by {where}", key.address)
            return NotDialled(Fault.CONNECT_FAILED, f"cannot connect to {where}: {errno_text(error)}", key.address)
        except BaseException:
            _close(sock)
            raise
        return sock

    async def _open(
        self, sock: socket.socket, key: PoolKey, context: ssl.SSLContext | None, server_name: str, seconds: float
    ) -> Connection | NotDialled:
        """Put our protocol on a connected socket, which it owns from here on."""
        loop = asyncio.get_running_loop()
        connection = Connection(key, loop, self._keeper)
        try:
            async with self.within(seconds):
                await loop.create_connection(
                    lambda: connection, sock=sock, ssl=context, server_hostname=server_name if context else None
                )
        except TimeoutError:
            connection.abort()
            return NotDialled(Fault.TLS_TIMEOUT, f"no TLS handshake within {seconds:.3g} s", key.address)
        except OSError as error:
            connection.abort()
            if is_ours(error, sock.family):
                raise
            if context is None:
                return NotDialled(Fault.CONNECT_FAILED, f"cannot connect: {errno_text(error)}", key.address)
            return NotDialled(Fault.TLS_FAILED, f"TLS failed: {tls_text(error)}", key.address)
        except BaseException:
            connection.abort()
            raise
        return connection


def _close(sock: socket.socket | None) -> None:
    if sock is not None:
        sock.close()


def _microseconds(since: float) -> int:
    return int((monotonic() - since) * 1_000_000)
