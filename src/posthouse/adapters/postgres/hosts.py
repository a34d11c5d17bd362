"""Reaching PostgreSQL: any of the hosts that a DSN names, on a socket that notices that nobody is there any more."""

from __future__ import annotations

import socket
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg

from posthouse.domain.errors import StoreUnavailable
from posthouse.domain.limits import STORE_CONNECT_SECONDS, STORE_HOST_SECONDS, STORE_UNHEARD_SECONDS

if TYPE_CHECKING:
    RawConnection = asyncpg.Connection[asyncpg.Record]
else:
    RawConnection = Any

# What one host may fail with while another one serves.
_ELSEWHERE: Final = (asyncpg.PostgresError, asyncpg.InternalClientError, OSError, StoreUnavailable)
_KEEPALIVE_IDLE: Final = getattr(socket, "TCP_KEEPIDLE", getattr(socket, "TCP_KEEPALIVE", None))


class Check(Protocol):
    """What is asked of each new connection before anybody uses it. Raises what makes another host be tried."""

    async def __call__(self, connection: RawConnection) -> None: ...


class Hosts:
    """The hosts of a DSN. Each is given some seconds, beginning with the one that served last: one that is switched off,
    and answers nothing at all, must not use up the time of the next."""

    def __init__(self, dsn: str) -> None:
        self._dsns = one_by_one(dsn)
        self._served = 0

    async def connect(self, *, check: Check | None = None, **options: Any) -> RawConnection:
        """A connection to the first host that will do, all within `STORE_CONNECT_SECONDS`. Raises what the driver does, of
        the last host that was tried."""
        several = len(self._dsns) > 1
        seconds = min(STORE_HOST_SECONDS, STORE_CONNECT_SECONDS / len(self._dsns)) if several else STORE_CONNECT_SECONDS
        failure: Exception | None = None
        for turn in range(len(self._dsns)):
            place = (self._served + turn) % len(self._dsns)
            try:
                connection: RawConnection = await asyncpg.connect(self._dsns[place], timeout=seconds, **options)
                try:
                    watch_over(connection)
                    if check is not None:
                        await check(connection)
                except BaseException:
                    connection.terminate()
                    raise
            except _ELSEWHERE as error:
                failure = error
            else:
                self._served = place
                return connection
        assert failure is not None, "a DSN names a host"
        raise failure


def one_by_one(dsn: str) -> list[str]:
    """A DSN for each host that this one names, in its order. Of several, only one that takes writes will do
    (`target_session_attrs=read-write`), unless the DSN says something else."""
    parts = urlsplit(dsn)
    user, at, hosts = parts.netloc.rpartition("@")
    parameters = dict(parse_qsl(parts.query, keep_blank_values=True))
    if "," in hosts:
        each = [(f"{user}{at}{host}", parameters) for host in hosts.split(",")]
    elif "," in parameters.get("host", ""):
        names = parameters["host"].split(",")
        ports = parameters.get("port", "").split(",")
        ports = ports * len(names) if len(ports) == 1 else ports
        if len(ports) != len(names):
            return [dsn]  # the driver says what is wrong
        each = [
            (parts.netloc, {**parameters, "host": name, **({"port": port} if port else {})})
            for name, port in zip(names, ports, strict=True)
        ]
    else:
        return [dsn]
    return [
        urlunsplit(
            parts._replace(netloc=netloc, query=urlencode({"target_session_attrs": "read-write", **its}, safe="/"))
        )
        for netloc, its in each
    ]


def watch_over(connection: RawConnection) -> None:
    """Let the connection's socket notice within `STORE_UNHEARD_SECONDS` that the other machine is gone: a host that was
    switched off says nothing, and a statement would wait for it as long as its own limit allows."""
    sock = connection._transport.get_extra_info("socket")  # type: ignore[attr-defined]
    if sock is None or sock.family == getattr(socket, "AF_UNIX", None):
        return
    real = sock.dup()  # uvloop's has no options
    try:
        with suppress(OSError):  # a platform that does not know one of them does without
            real.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if _KEEPALIVE_IDLE is not None:
                real.setsockopt(socket.IPPROTO_TCP, _KEEPALIVE_IDLE, STORE_UNHEARD_SECONDS // 2)
                real.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
                real.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, STORE_UNHEARD_SECONDS // 2)
            if sys.platform == "linux":
                real.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STORE_UNHEARD_SECONDS * 1000)
    finally:
        real.close()
