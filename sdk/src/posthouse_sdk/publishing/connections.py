"""Sockets for threads: a few connections kept open, each used by one request at a time."""

from __future__ import annotations

# `getaddrinfo` imports it at its first call, under the lock of imports: a child that is forked meanwhile would wait for that
# lock for ever.
import encodings.idna  # noqa: F401
import os
import select
import socket
import threading
import time
from typing import TYPE_CHECKING, Final

from posthouse_sdk.publishing.exchange import Again, Call, Server, Verdict, judge, lost
from posthouse_sdk.publishing.http1 import Answer, AnswerReader, MalformedAnswer

if TYPE_CHECKING:
    from ssl import SSLContext

IDLE_CONNECTIONS_MAX: Final = 8
IDLE_SECONDS_MAX: Final = 60.0
READ_BYTES: Final = 64 * 1024


class Connections:
    """Sends a request and reads its answer. Thread-safe; a child of `fork` begins with none."""

    def __init__(
        self, server: Server, api_key: str, agent: str, *, connect_timeout: float, context: SSLContext | None
    ) -> None:
        self._server = server
        self._api_key = api_key
        self._agent = agent
        self._connect_timeout = connect_timeout
        self._context = context
        self._lock = threading.Lock()
        self._idle: list[tuple[socket.socket, float]] = []
        self._closed = False

    def exchange(self, call: Call, *, timeout: float) -> Verdict:
        """One try of a call, which ends within `timeout` seconds. Never raises for what a network does."""
        answer = self.ask(call, timeout=timeout)
        return answer if isinstance(answer, Again) else judge(call, answer, now=time.time())

    def ask(self, call: Call, *, timeout: float) -> Answer | Again:
        """The same, with the answer as it came."""
        deadline = time.monotonic() + timeout
        request = call.request(self._server, self._api_key, self._agent)
        kept = self._taken()
        try:
            connection = kept or self._connected(deadline)
        except OSError as error:
            return lost(f"no connection: {told(error)}", sent=False)
        reader = AnswerReader()
        try:
            answer = _spoken(connection, request, reader, deadline)
        except (OSError, MalformedAnswer) as error:
            connection.close()
            reused = kept is not None and not reader.begun and not isinstance(error, TimeoutError)
            return lost(f"the connection was lost: {told(error)}", sent=True, reused=reused)
        except BaseException:
            connection.close()
            raise
        if answer.reusable:
            self._put_back(connection)
        else:
            connection.close()
        return answer

    def close(self) -> None:
        """Close what is idle; what is in use is closed after it."""
        self._closed = True
        with self._lock:
            idle, self._idle = self._idle, []
        for connection, _ in idle:
            connection.close()

    def __del__(self) -> None:
        for connection, _ in getattr(self, "_idle", ()):
            connection.close()

    def forked(self) -> None:
        """In a child process: the connections are the parent's."""
        self._lock = threading.Lock()
        idle, self._idle = self._idle, []
        for connection, _ in idle:
            connection.close()

    def _taken(self) -> socket.socket | None:
        now = time.monotonic()
        with self._lock:
            while self._idle:
                connection, since = self._idle.pop()
                if now - since < IDLE_SECONDS_MAX and not _ended(connection):
                    return connection
                connection.close()
        return None

    def _put_back(self, connection: socket.socket) -> None:
        with self._lock:
            if not self._closed and len(self._idle) < IDLE_CONNECTIONS_MAX:
                self._idle.append((connection, time.monotonic()))
                return
        connection.close()

    def _connected(self, deadline: float) -> socket.socket:
        left = min(self._connect_timeout, deadline - time.monotonic())
        connection = socket.create_connection((self._server.host, self._server.port), timeout=max(left, 0.001))
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._server.secure:
                connection = self.tls().wrap_socket(connection, server_hostname=self._server.host)
        except BaseException:
            connection.close()
            raise
        return connection

    def tls(self) -> SSLContext:
        """What TLS is spoken with: as given, or the machine's certificates."""
        if self._context is None:
            import ssl

            self._context = ssl.create_default_context()
        return self._context


def _spoken(connection: socket.socket, request: bytes, reader: AnswerReader, deadline: float) -> Answer:
    connection.settimeout(_left(deadline))
    connection.sendall(request)
    while reader.answer is None:
        connection.settimeout(_left(deadline))
        data = connection.recv(READ_BYTES)
        if data:
            reader.feed(data)
        else:
            reader.end()
    return reader.answer


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left


def _ended(connection: socket.socket) -> bool:
    """Whether the server closed an idle connection (or said something, which it must not)."""
    try:
        if hasattr(select, "poll"):
            poll = select.poll()
            poll.register(connection, select.POLLIN)
            return bool(poll.poll(0))
        return bool(select.select([connection], [], [], 0)[0])
    except (OSError, ValueError):
        return True


def told(error: BaseException) -> str:
    """What an error of a socket says, in words."""
    if isinstance(error, ConnectionError) and error.errno:
        return os.strerror(error.errno)  # whatever words were put around it
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
