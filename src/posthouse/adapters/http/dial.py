"""New connections: TCP to a pinned address, then TLS, each within its limit."""

from __future__ import annotations

import asyncio
import socket
import sys
from base64 import b64encode
from typing import Final

import msgspec

from posthouse.adapters.http.connection import Connection, Keeper, PoolKey
from posthouse.adapters.http.proxy import Refused, tunnel
from posthouse.adapters.http.reasons import errno_text, is_ours, tls_text
from posthouse.adapters.http.waits import Waits
from posthouse.adapters.http.ways import Way
from posthouse.domain.egress import PinOf
from posthouse.domain.errors import PosthouseError
from posthouse.domain.exchange import Fault
from posthouse.wire.certificates import digest_of

# An address that swallows packets leaves time for the next one, but gets at least this much of what there is.
CONNECT_SECONDS_MIN: Final = 1.0
# A port is chosen as we connect, so that all of them serve for every target (ip(7)); Python names it from 3.12 on.
_BIND_ADDRESS_NO_PORT: Final = 24


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
    """Opens connections, each step within its limit."""

    def __init__(self, keeper: Keeper, waits: Waits) -> None:
        self._keeper = keeper
        self._waits = waits

    async def dial(
        self,
        keys: list[PoolKey],
        way: Way,
        server_name: str,
        *,
        connect_seconds: float,
        deadline: float,
    ) -> Dialled | NotDialled:
        """Connect to the first of these keys' addresses that accepts; a TLS handshake is tried with that one only.

        `connect_seconds` bounds TCP over all addresses together, and TLS; `deadline`, on the clock of `waits`, bounds both.
        Raises OSError for what is our own fault.
        """
        started = self._waits.now()
        tcp_deadline = min(started + connect_seconds, deadline)
        failed = NotDialled(Fault.CONNECT_FAILED, "no address to connect to", "")
        for position, key in enumerate(keys):
            left = tcp_deadline - self._waits.now()
            if left <= 0 and position:
                break
            share = max(left / (len(keys) - position), min(left, CONNECT_SECONDS_MIN))
            sock = await self._connect(key, way, share)
            connect_us = self._waits.microseconds(started)
            if isinstance(sock, NotDialled):
                failed = NotDialled(sock.fault, sock.detail, sock.address, connect_us)
                continue
            tls_started = self._waits.now()
            connection = await self._open(sock, key, way, server_name, min(connect_seconds, deadline - tls_started))
            tls_us = None if way.context is None else self._waits.microseconds(tls_started)
            if isinstance(connection, NotDialled):
                return NotDialled(connection.fault, connection.detail, connection.address, connect_us, tls_us)
            return Dialled(connection, connect_us, tls_us)
        return failed

    async def _connect(self, key: PoolKey, way: Way, seconds: float) -> socket.socket | NotDialled:
        """A socket connected to a key's address, through the proxy where there is one."""
        if way.proxy is None:
            return await self._reach(key.address, key.port, way.source_address, seconds)
        deadline = self._waits.now() + seconds
        sock = await self._reach(way.proxy_address, way.proxy.port, way.source_address, seconds)
        if isinstance(sock, NotDialled):
            # Where the proxy is, is the operator's business alone.
            fault = Fault.PROXY_TIMEOUT if sock.fault is Fault.CONNECT_TIMEOUT else Fault.PROXY_FAILED
            return NotDialled(fault, f"the proxy {way.proxy.name!r} does not accept connections", key.address)
        try:
            async with self._waits.within(deadline - self._waits.now()):
                await tunnel(sock, way.proxy, key.address, key.port)
        except TimeoutError:
            _close(sock)
            detail = f"the proxy {way.proxy.name!r} made no connection within {seconds:.3g} s"
            return NotDialled(Fault.PROXY_TIMEOUT, detail, key.address)
        except (Refused, OSError) as error:
            _close(sock)
            if isinstance(error, OSError) and is_ours(error, sock.family):
                raise
            why = str(error) if isinstance(error, Refused) else errno_text(error)
            return NotDialled(Fault.PROXY_FAILED, f"the proxy {way.proxy.name!r}: {why}", key.address)
        except BaseException:
            _close(sock)
            raise
        return sock

    async def _reach(self, address: str, port: int, source: str, seconds: float) -> socket.socket | NotDialled:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        where = f"[{address}]:{port}" if family == socket.AF_INET6 else f"{address}:{port}"
        if source and (":" in source) is not (family == socket.AF_INET6):
            detail = f"{where} cannot be reached from {source}: one is IPv4 and the other IPv6"
            return NotDialled(Fault.CONNECT_FAILED, detail, address)
        sock: socket.socket | None = None
        try:
            sock = socket.socket(family, socket.SOCK_STREAM)
            sock.setblocking(False)
            if source:
                _bind(sock, source)
            async with self._waits.within(seconds):
                await asyncio.get_running_loop().sock_connect(sock, (address, port))
        except TimeoutError as error:
            _close(sock)
            waited = f"connection to {where} not accepted within {seconds:.3g} s"
            detail = waited if error.errno is None else f"cannot connect to {where}: {errno_text(error)}"
            return NotDialled(Fault.CONNECT_TIMEOUT, detail, address)
        except OSError as error:
            _close(sock)
            if is_ours(error, family):
                raise
            if isinstance(error, ConnectionRefusedError):
                return NotDialled(Fault.CONNECT_FAILED, f"connection refused by {where}", address)
            return NotDialled(Fault.CONNECT_FAILED, f"cannot connect to {where}: {errno_text(error)}", address)
        except BaseException:
            _close(sock)
            raise
        return sock

    async def _open(
        self, sock: socket.socket, key: PoolKey, way: Way, server_name: str, seconds: float
    ) -> Connection | NotDialled:
        """Put our protocol on a connected socket, which it owns from here on."""
        loop = asyncio.get_running_loop()
        connection = Connection(key, loop, self._keeper)
        context = way.context
        try:
            async with self._waits.within(seconds):
                transport, _ = await loop.create_connection(
                    lambda: connection, sock=sock, ssl=context, server_hostname=server_name if context else None
                )
        except TimeoutError:
            self._abandon(connection)
            return NotDialled(Fault.TLS_TIMEOUT, f"no TLS handshake within {seconds:.3g} s", key.address)
        except OSError as error:
            self._abandon(connection)
            if is_ours(error, sock.family):
                raise
            if context is None:
                return NotDialled(Fault.CONNECT_FAILED, f"cannot connect: {errno_text(error)}", key.address)
            return NotDialled(Fault.TLS_FAILED, f"TLS failed: {tls_text(error)}", key.address)
        except BaseException:
            self._abandon(connection)
            raise
        mismatch = _pin_mismatch(transport, way) if context is not None and way.pins else None
        if mismatch is not None:
            connection.abort()
            return NotDialled(Fault.TLS_PIN_MISMATCH, mismatch, key.address)
        return connection

    def _abandon(self, connection: Connection) -> None:
        """It may have been made in the very turn in which nobody waited any more: uvloop then never says that it is lost."""
        connection.abort()
        self._keeper.lost(connection)


def _pin_mismatch(transport: asyncio.BaseTransport, way: Way) -> str | None:
    """Why the target's certificate, which was verified, is none of the pinned ones."""
    certificate = transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
    try:
        if any(digest_of(certificate, of) == digest for of, digest in way.pins):
            return None
        is_now = b64encode(digest_of(certificate, PinOf.PUBLIC_KEY)).decode("ascii")
    except ValueError:
        return "the target's certificate cannot be read, so that no pin can be right"
    return f"none of the pins is of the target's certificate; the SHA-256 of its public key is {is_now}"


def _bind(sock: socket.socket, source: str) -> None:
    """Raises: PosthouseError where this machine cannot connect from there: our fault."""
    try:
        if sys.platform == "linux":
            sock.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
        sock.bind((source, 0))
    except OSError as error:
        raise PosthouseError(f"this machine cannot connect from {source}: {errno_text(error)}") from error


def _close(sock: socket.socket | None) -> None:
    if sock is not None:
        sock.close()
