"""uvicorn's connection, with a way past ASGI for what is published one small event at a time.

Where a POST to a publish route has come in one piece, `express` may take it: it is told of the URL, the headers and the body,
and answers by a call. All else, and whatever it does not take, goes uvicorn's own way, as if nothing had been. Of what it
took it knows the head: the next request with the same is not parsed at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any, ClassVar, Final, Protocol

import httptools
import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from posthouse.api.known_head import KnownHead, known_head
from posthouse.domain.limits import CLIENT_FIRST_HEAD_SECONDS, CLIENT_HEAD_BYTES_MAX, CLIENTS_MAX

log = structlog.get_logger()

Headers = Sequence[tuple[bytes, bytes]]
Answer = Callable[[int, Headers, bytes], None]


class Express(Protocol):
    """Who may take requests."""

    def credential(self, headers: Headers) -> bytes | None:
        """What is to be kept of the key that came, where these headers are those of a request that may be taken."""
        ...

    def take(self, url: bytes, credential: bytes, headers: Headers, body: bytes, answer: Answer) -> bool:
        """Whether it takes the request; then it calls `answer` (status, headers, body) once, later."""
        ...


LESSONS_MAX: Final = 16  # whose heads keep changing is parsed each time
ABORT: Final = "posthouse.abort"
EVENTS_END: Final = b"/events"
TIMER_SECONDS: Final = 0.01  # timers may be so much too early
_STATUS_LINES: Final = {
    int(status): b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode()) for status in HTTPStatus
}  # RFC 9112, section 4
_VERSIONS: Final = ("1.1", "1.0")
_UPGRADES: Final = (b"upgrade", b"http2-settings")
_TOO_MANY: Final = b"%bretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % _STATUS_LINES[503]
_TOO_LARGE: Final = b"%bcontent-length: 0\r\nconnection: close\r\n\r\n" % _STATUS_LINES[431]


class State(ServerState):
    """uvicorn's, and whether the server is about to end."""

    def __init__(self) -> None:
        super().__init__()
        self.parting = False


class _Nobody:
    def set(self) -> None:
        """Nobody waits for more of the body: it is there."""


class _Taken:
    """A request that was taken, as uvicorn's protocol looks at one under way."""

    __slots__ = ("disconnected", "keep_alive", "response_complete")
    message_event: ClassVar = _Nobody()

    def __init__(self, keep_alive: bool) -> None:
        self.keep_alive = keep_alive
        self.disconnected = False
        self.response_complete = False


class Connection(HttpToolsProtocol):
    """uvicorn's, and some things more.

    What `express` takes (above). When the server is about to end, each answer is its connection's last. And a scope holds
    what cuts its connection off: ASGI has no word for it, and closing waits until the client has read what was sent: one that
    does not read would keep its connection, and this process from ending. The extension's `now` does it.

    A head has a limit of size, and the first one of time. What comes behind a body in chunks (trailers) has that limit of size,
    too, and is no header (RFC 9110, section 6.5.1). And who asks to upgrade (curl and Java do, for HTTP/2) is answered as if it
    had not (RFC 9110, section 7.8): the parser passes over the body of such a request, and would take it for the next.
    """

    express: ClassVar[Express | None] = None
    clients_max: ClassVar[int] = CLIENTS_MAX
    loop: asyncio.AbstractEventLoop
    cycle: Any
    headers: list[tuple[bytes, bytes]]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._extensions: dict[str, dict[object, object]] = {ABORT: {"now": transport.abort}}
        self._held = False  # its head is here; uvicorn has not been told of it
        self._body = b""
        self._answered: tuple[int, Headers, Headers] | None = None  # as what the answer before began, and with that:
        self._start = b""
        self._rests_since = 0.0
        self._between = True  # the parser has seen whole requests only
        self._known: KnownHead | None = None
        self._lessons = LESSONS_MAX
        self._credential = b""  # of the request that was just parsed and taken
        self.silent = True  # it has brought nothing yet
        self._in_head = False
        self._in_fields = False  # a head, or what may be trailers: behind the head of a chunk, before its first byte
        self._fields_began = False  # in what is being read; what comes later of them is counted
        self._fields_bytes = 0
        self._first_head_due = self.loop.call_later(CLIENT_FIRST_HEAD_SECONDS, transport.close)
        if len(self.connections) > self.clients_max:
            log.warning("clients.too_many", most=self.clients_max)
            transport.write(_TOO_MANY)
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._first_head_due.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        between = self._between
        if between and self._known is not None and self._may_take and (found := self._known.read(data)) is not None:
            url, body = found
            if url.endswith(EVENTS_END) and self._take(url, self._known.credential, self._known.headers, body):
                return
        self._credential = b""
        self._read(data)
        if self._in_fields and not self._fields_began:
            self._fields_bytes += len(data)
            if self._fields_bytes > CLIENT_HEAD_BYTES_MAX and not self.transport.is_closing():
                self.transport.write(_TOO_LARGE)
                self.transport.close()
        self._fields_began = False
        if self._held and not self.transport.is_closing():
            # The rest of the body is still to come.
            self._hand_over()
        elif self._credential and between and self._between and self._lessons:
            self._lessons -= 1
            self._known = known_head(data, self.headers, self._credential)

    def _read(self, data: bytes) -> None:
        """uvicorn's `data_received`, but for requests to upgrade."""
        self._unset_keepalive_if_required()
        while data:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserError:
                self.logger.warning("Invalid HTTP request received.")
                self.send_400_response("Invalid HTTP request received.")
                return
            except httptools.HttpParserUpgrade as upgrade:
                (read,) = upgrade.args
                if self.parser.get_method() == b"CONNECT":
                    self.send_400_response("This is no proxy.")
                    return
                lines = _lines([header for header in self.headers if header[0] not in _UPGRADES])
                version = self.parser.get_http_version().encode()
                head = b"%b %b HTTP/%b\r\n%b\r\n" % (self.parser.get_method(), self.url, version, lines)
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
                data = head + data[read:]

    @property
    def _may_take(self) -> bool:
        """Whether a request that begins now could be answered as soon as it is there."""
        return (self.cycle is None or self.cycle.response_complete) and not self.flow.write_paused

    def _take(self, url: bytes, credential: bytes, headers: Headers, body: bytes, *, keep_alive: bool = True) -> bool:
        express = type(self).express
        assert express is not None
        taken = _Taken(keep_alive and self._keeps_alive)
        if not express.take(url, credential, headers, body, partial(self._answer, taken)):
            return False
        self.cycle = taken
        return True

    def on_message_begin(self) -> None:
        self.silent = self._between = False
        self._in_head = self._in_fields = self._fields_began = True
        self._fields_bytes = 0
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._first_head_due.cancel()
        self._in_head = self._in_fields = False
        version = self.parser.get_http_version()
        hosts = sum(name == b"host" for name, _ in self.headers)
        if version not in _VERSIONS or hosts > 1 or (hosts == 0 and version == "1.1"):
            # The parser passes it on as an error of its own.
            raise ValueError("no request of HTTP/1.1 (RFC 9112, section 3.2)")
        if self.parser.should_upgrade():
            return  # it begins once more, as if it had not asked
        self._body = b""
        self._held = (
            type(self).express is not None
            and self.url.endswith(EVENTS_END)
            and self.parser.get_method() == b"POST"
            and self._may_take
            and not self.expect_100_continue
        )
        if not self._held:
            self._begin()

    def on_chunk_header(self) -> None:
        self._in_fields = self._fields_began = True
        self._fields_bytes = 0

    def on_body(self, body: bytes) -> None:
        self._in_fields = False
        if self._held:
            self._body = self._body + body if self._body else body
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self._between = True
        self._in_fields = False
        if self._held:
            express = type(self).express
            assert express is not None
            credential = express.credential(self.headers)
            keep_alive = self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
            if credential is not None and self._take(
                self.url, credential, self.headers, self._body, keep_alive=keep_alive
            ):
                self._held = False
                self._credential = credential if keep_alive else b""
                return
            self._hand_over()
        super().on_message_complete()

    def _begin(self) -> None:
        """A request begins for uvicorn, too."""
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.headers, self.expect_100_continue = url, headers, expects
        self.scope["headers"] = headers
        self.scope["extensions"] = self._extensions
        super().on_headers_complete()
        if self.cycle is not None and not self._keeps_alive:
            self.cycle.keep_alive = False

    def _hand_over(self) -> None:
        """What was held goes uvicorn's way."""
        self._held = False
        self._begin()
        if self._body:
            super().on_body(self._body)

    @property
    def _keeps_alive(self) -> bool:
        return not (isinstance(self.server_state, State) and self.server_state.parting)

    def _answer(self, taken: _Taken, status: int, headers: Headers, body: bytes) -> None:
        taken.response_complete = True
        if self.transport.is_closing():
            return
        usual = self.server_state.default_headers  # another list with each second
        answered = self._answered
        if answered is None or answered[0] != status or answered[1] is not headers or answered[2] is not usual:
            self._answered = (status, headers, usual)
            self._start = b"%b%b%b" % (_STATUS_LINES[status], _lines(usual), _lines(headers))
        close = b"" if taken.keep_alive else b"connection: close\r\n"
        self.transport.write(b"%b%bcontent-length: %d\r\n\r\n%b" % (self._start, close, len(body), body))
        if not taken.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def on_response_complete(self) -> None:
        """As uvicorn's, but a connection rests between requests with one timer for many of them: it looks when the last was."""
        if self.pipeline or self.flow.read_paused or self.transport.is_closing():
            super().on_response_complete()
            return
        self.server_state.total_requests += 1
        self._rests_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def timeout_keep_alive_handler(self) -> None:
        self.timeout_keep_alive_task = None
        if self.cycle is not None and not self.cycle.response_complete:
            return  # it does not rest; its answer begins the time anew
        left = self._rests_since + self.timeout_keep_alive - self.loop.time()
        if left > TIMER_SECONDS:
            self.timeout_keep_alive_task = self.loop.call_later(left, self.timeout_keep_alive_handler)
        else:
            super().timeout_keep_alive_handler()


def _lines(headers: Headers) -> bytes:
    return b"".join([b"%b: %b\r\n" % header for header in headers])


def expressing(express: Express | None, *, clients_max: int = CLIENTS_MAX) -> type[Connection]:
    """Connections of which `express` takes what it may. Of more than so many at a time the next is answered with 503."""
    return type("ExpressConnection", (Connection,), {"express": express, "clients_max": clients_max})


def abort(scope: Any) -> None:
    """Cut off the connection of a request; what was sent and not taken is thrown away."""
    extension = scope.get("extensions", {}).get(ABORT)
    if extension is not None:
        extension["now"]()
