"""A target on this machine for tests of whatever sends: it verifies, keeps what came, and misbehaves when told to.

    with Target(secret) as target:
        ...  # make something send to target.url
        event, = target.wait_for(1)

    async with Target(secret) as target:
        event, = await target.await_for(1)

It is a real HTTP server in threads of its own, on the standard library.
"""

from __future__ import annotations

import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, TypeVar

from posthouse_sdk.errors import VerificationError
from posthouse_sdk.received import ReceivedEvent
from posthouse_sdk.testing.requests import SECRET
from posthouse_sdk.webhook import Webhook

BODY_BYTES_MAX: Final = 16 * 1024 * 1024
REQUESTS_MAX: Final = 100_000
IDLE_SECONDS: Final = 30.0
WAIT_SECONDS: Final = 10.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request as it came. `events` are what it brought, none where it is not verified: `error` tells why.

    `status` is what it was answered, None where it was not. Names of headers are in lower case.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    events: tuple[ReceivedEvent[Any], ...]
    error: VerificationError | None
    status: int | None

    @property
    def confirmed(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class _Reply:
    """`hangs`: nothing is answered before `release`. `drops`: the connection is closed without an answer."""

    status: int = 204
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    hangs: bool = False
    drops: bool = False


class Target:
    """Answers 204 to what is signed with one of the secrets, and 401 to anything else; what it is told to do goes first.

    `secrets=None` takes requests unverified: their bodies are kept and give no events. The last REQUESTS_MAX requests are kept.

    Raises: SecretError; OSError where the port is taken.
    """

    def __init__(self, secrets: str | Sequence[str] | None = SECRET, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._webhook: Final = None if secrets is None else Webhook(secrets)
        self._changed: Final = threading.Condition()
        self._arrivals: Final[deque[Arrival]] = deque(maxlen=REQUESTS_MAX)
        self._next: Final[deque[_Reply]] = deque()
        self._always = _Reply()
        self._hanging = 0
        self._let_go: Final = threading.Event()
        self._server: Final = _Server((host, port), self)
        self._thread: Final = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        """Where it is, with the path `/`; every path and method will do."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}/"

    # What came

    @property
    def requests(self) -> list[Arrival]:
        """All requests, in the order in which they were taken in."""
        with self._changed:
            return list(self._arrivals)

    @property
    def events(self) -> list[ReceivedEvent[Any]]:
        """The events of the requests that were confirmed, in their order; one that came twice is there twice."""
        return [event for arrival in self.requests if arrival.confirmed for event in arrival.events]

    def wait_for(self, count: int, *, timeout: float = WAIT_SECONDS) -> list[ReceivedEvent[Any]]:
        """The first `count` confirmed events, as soon as they are there.

        Raises: AssertionError after `timeout` seconds, which tells what there is instead.
        """
        return self._wait(lambda: self.events, count, timeout, "confirmed events")

    def wait_for_requests(self, count: int, *, timeout: float = WAIT_SECONDS) -> list[Arrival]:
        """The first `count` requests, whatever was answered; one that hangs counts from its release.

        Raises: AssertionError after `timeout` seconds.
        """
        return self._wait(lambda: self.requests, count, timeout, "requests")

    async def await_for(self, count: int, *, timeout: float = WAIT_SECONDS) -> list[ReceivedEvent[Any]]:
        """`wait_for`, on an event loop."""
        import asyncio

        return await asyncio.to_thread(self.wait_for, count, timeout=timeout)

    async def await_for_requests(self, count: int, *, timeout: float = WAIT_SECONDS) -> list[Arrival]:
        """`wait_for_requests`, on an event loop."""
        import asyncio

        return await asyncio.to_thread(self.wait_for_requests, count, timeout=timeout)

    def wait_until_hanging(self, count: int = 1, *, timeout: float = WAIT_SECONDS) -> None:
        """Until `count` requests wait for their release at once.

        Raises: AssertionError after `timeout` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._hanging >= count, timeout):
                raise AssertionError(f"waited {timeout:g} s for {count} requests that hang; there are {self._hanging}")

    def clear(self) -> None:
        """Forget what came."""
        with self._changed:
            self._arrivals.clear()

    # What it shall do: with the next `times` requests, or with all from now on (`times=None`)

    def answer(
        self, status: int, body: bytes = b"", headers: Sequence[tuple[str, str]] = (), *, times: int | None = 1
    ) -> None:
        """Answer so, whether the request is verified or not."""
        self._tell(_Reply(status, body, tuple(headers)), times)

    def fail(self, status: int = 500, *, retry_after: int | None = None, times: int | None = 1) -> None:
        """Answer with a status that is no confirmation."""
        headers = () if retry_after is None else (("Retry-After", str(retry_after)),)
        self._tell(_Reply(status, b"told to fail\n", headers), times)

    def redirect(self, to: str, status: int = 307, *, times: int | None = 1) -> None:
        """Answer with a redirect."""
        self._tell(_Reply(status, b"", (("Location", to),)), times)

    def hang(self, *, times: int | None = 1) -> None:
        """Read the request and answer nothing, until `release`; then as usual."""
        self._let_go.clear()
        self._tell(_Reply(hangs=True), times)

    def release(self) -> None:
        """Let go of the requests that hang."""
        self._let_go.set()

    def drop(self, *, times: int | None = 1) -> None:
        """Read the request and close the connection."""
        self._tell(_Reply(drops=True), times)

    def heal(self) -> None:
        """From now on do nothing but verify; let go of what hangs."""
        with self._changed:
            self._next.clear()
            self._always = _Reply()
        self.release()

    # While the block lasts

    def start(self) -> Target:
        self._thread.start()
        return self

    def stop(self) -> None:
        """Answers no more; what hangs is let go."""
        self.release()
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.end()

    def __enter__(self) -> Target:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def __aenter__(self) -> Target:
        return self.start()

    async def __aexit__(self, *_: object) -> None:
        import asyncio

        await asyncio.to_thread(self.stop)

    def _tell(self, reply: _Reply, times: int | None) -> None:
        with self._changed:
            if times is None:
                self._always = reply
            else:
                self._next.extend([reply] * times)

    def _wait(self, found: Callable[[], list[T]], count: int, timeout: float, what: str) -> list[T]:
        with self._changed:
            if not self._changed.wait_for(lambda: len(found()) >= count, timeout):
                told = "; ".join(
                    f"{each.method} {each.path} {each.status}" + (f" ({each.error})" if each.error else "")
                    for each in list(self._arrivals)[-5:]
                )
                raise AssertionError(
                    f"waited {timeout:g} s for {count} {what}; there are {len(found())}; the last requests: {told or 'none'}"
                )
            return found()[:count]

    def take(self, method: str, path: str, headers: dict[str, str], body: bytes) -> _Reply:
        """For the server: what to answer to a request, which is on record when it is answered."""
        with self._changed:
            told = self._next.popleft() if self._next else self._always
        if told.hangs:
            self._hang()
        events, error = self._verified(body, headers)
        reply = told
        if told.hangs or told == _Reply():
            reply = _Reply() if error is None else _Reply(401, f"{error}\n".encode())
        status = None if reply.drops else reply.status
        with self._changed:
            self._arrivals.append(Arrival(method, path, headers, body, events, error, status))
            self._changed.notify_all()
        return reply

    def _hang(self) -> None:
        with self._changed:
            self._hanging += 1
            self._changed.notify_all()
        self._let_go.wait()
        with self._changed:
            self._hanging -= 1

    def _verified(
        self, body: bytes, headers: dict[str, str]
    ) -> tuple[tuple[ReceivedEvent[Any], ...], VerificationError | None]:
        if self._webhook is None:
            return (), None
        try:
            return tuple(self._webhook.unwrap_all(body, headers)), None
        except VerificationError as error:
            return (), error


class _Server(ThreadingHTTPServer):
    """Ends the connections that are open, so that no thread outlives the target."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], target: Target) -> None:
        self.target: Final = target
        self._open: Final[set[socket.socket]] = set()
        self._lock: Final = threading.Lock()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A sender that goes away is what tests are about, and nothing to print."""

    def end(self) -> None:
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
    server: _Server

    def _respond(self) -> None:
        body = self._body()
        if body is None:
            self.close_connection = True
            return
        headers: dict[str, str] = {}
        for name, value in self.headers.items():
            headers[name.lower()] = f"{headers[name.lower()]}, {value}" if name.lower() in headers else value
        reply = self.server.target.take(self.command, self.path, headers, body)
        if reply.drops:
            self.close_connection = True
            return
        self.send_response(reply.status)
        for name, value in reply.headers:
            self.send_header(name, value)
        if reply.status >= 200 and reply.status not in (204, 304):
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD" and reply.status not in (204, 304):
            self.wfile.write(reply.body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _respond  # noqa: N815

    def _body(self) -> bytes | None:
        """The whole body; None where the sender went away, or sends more than is taken."""
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            return self._chunks()
        length = int(self.headers.get("Content-Length") or 0)
        if length > BODY_BYTES_MAX:
            self.send_error(413)
            return None
        body = self.rfile.read(length)
        return body if len(body) == length else None

    def _chunks(self) -> bytes | None:
        body = b""
        while size := int(self.rfile.readline(1024).partition(b";")[0], 16):
            if len(body) + size > BODY_BYTES_MAX:
                self.send_error(413)
                return None
            body += self.rfile.read(size)
            self.rfile.readline(16)
        while self.rfile.readline(1024).strip():
            pass  # trailers
        return body

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is printed."""
