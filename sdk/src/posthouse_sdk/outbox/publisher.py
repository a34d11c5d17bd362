"""How a relay brings a batch to the server."""

from __future__ import annotations

import asyncio
import http.client
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol
from urllib.parse import quote, urlsplit

from posthouse_sdk.outbox.answers import Answer, Unavailable, judge
from posthouse_sdk.outbox.errors import OutboxError

REQUESTS_MAX: Final = 8
ANSWER_SECONDS: Final = 30.0
ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024


class Publisher(Protocol):
    """Brings events to a log. Several requests may be under way at once."""

    async def publish(self, app: str | None, body: bytes) -> Answer:
        """Publish a JSON array of events, for this app or for whoever a grant covers."""

    async def close(self) -> None: ...


class HttpPublisher:
    """`Publisher` by HTTP, on connections that are kept, one for each of a few threads.

    Raises OutboxError for a URL that cannot be one.
    """

    def __init__(self, url: str, key: str, *, seconds: float = ANSWER_SECONDS) -> None:
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
            raise OutboxError(f"{url!r} is no URL of a server; give one such as https://posthouse.example.com")
        self._host, self._port, self._base = parts.hostname, port, parts.path.rstrip("/")
        self._security = ssl.create_default_context() if parts.scheme == "https" else None
        self._seconds = seconds
        self._headers = {
            "Authorization": f"Bearer {key}",
            "Content-Type": "application/json",
            "User-Agent": "posthouse-relay",
        }
        self._threads = ThreadPoolExecutor(REQUESTS_MAX, thread_name_prefix="posthouse-relay")
        self._own = threading.local()
        self._connections: set[http.client.HTTPConnection] = set()

    async def publish(self, app: str | None, body: bytes) -> Answer:
        path = "/v1/events/batch" if app is None else f"/v1/apps/{quote(app, safe='')}/events/batch"
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._post, path, body)

    async def close(self) -> None:
        for connection in tuple(self._connections):
            connection.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _post(self, path: str, body: bytes) -> Answer:
        for fresh in (False, True):
            kept = getattr(self._own, "connection", None)
            connection = kept or self._connect()
            self._own.connection = None
            try:
                connection.request("POST", self._base + path, body, self._headers)
                answer = connection.getresponse()
                told = answer.read(ANSWER_BYTES_MAX + 1)
                if answer.isclosed() and not answer.will_close:
                    self._own.connection = connection
                else:
                    self._forget(connection)
                headers = {name.lower(): value for name, value in answer.getheaders()}
                return judge(answer.status, headers, told)
            except (OSError, http.client.HTTPException) as error:
                self._forget(connection)
                # A kept connection may have been closed while it was idle; whatever came of it, the keys make it one event.
                if kept is None or fresh or isinstance(error, TimeoutError):
                    return Unavailable(f"{self._where} {_why(error)}")
        raise AssertionError("the second try returns")

    def _connect(self) -> http.client.HTTPConnection:
        if self._security is None:
            made = http.client.HTTPConnection(self._host, self._port, timeout=self._seconds)
        else:
            made = http.client.HTTPSConnection(self._host, self._port, timeout=self._seconds, context=self._security)
        self._connections.add(made)
        return made

    def _forget(self, connection: http.client.HTTPConnection) -> None:
        connection.close()
        self._connections.discard(connection)

    @property
    def _where(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"the server at {host}{'' if self._port is None else f':{self._port}'}"


def _why(error: Exception) -> str:
    match error:
        case TimeoutError():
            return "did not answer in time"
        case ConnectionRefusedError():
            return "does not accept connections: is it running? Check --url"
        case socket.gaierror():
            return "has a name that is not known: check --url"
        case ssl.SSLError():
            return f"has a certificate that is not trusted here: {error}"
        case OSError() if error.strerror:
            return f"cannot be reached: {error.strerror.lower()}"
        case _:
            return f"broke off ({type(error).__name__})"
