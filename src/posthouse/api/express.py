"""uvicorn's connection, with a way past ASGI for what is published one small event at a time.

Where a POST to a publish route has come in one piece, `express` may take it: it is told of the URL, the headers and the body,
and answers by a call. All else, and whatever it does not take, goes uvicorn's own way, as if nothing had been.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any, ClassVar, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

Headers = Sequence[tuple[bytes, bytes]]
Answer = Callable[[int, Headers, bytes], None]
Express = Callable[[bytes, Headers, bytes, Answer], bool]
"""(URL, headers, body, answer): whether it takes the request; then it calls `answer` (status, headers, body) once, later."""

ABORT: Final = "posthouse.abort"
_STATUS_LINES: Final = {
    int(status): b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode()) for status in HTTPStatus
}  # RFC 9112, section 4


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
    """uvicorn's, and three things more.

    What `express` takes (above). When the server is about to end, each answer is its connection's last. And a scope holds
    what cuts its connection off: ASGI has no word for it, and closing waits until the client has read what was sent: one that
    does not read would keep its connection, and this process from ending. The extension's `now` does it.
    """

    express: ClassVar[Express | None] = None
    cycle: Any
    headers: list[tuple[bytes, bytes]]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._extensions: dict[str, dict[object, object]] = {ABORT: {"now": transport.abort}}
        self._held = False  # its head is here; uvicorn has not been told of it
        self._body = b""
        self._usual: Headers = ()
        self._usual_lines = b""
        self.silent = True  # it has brought nothing yet

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._held and not self.transport.is_closing():
            # The rest of the body is still to come.
            self._hand_over()

    def on_message_begin(self) -> None:
        self.silent = False
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_headers_complete(self) -> None:
        self._body = b""
        self._held = (
            type(self).express is not None
            and self.url.endswith(b"/events")
            and self.parser.get_method() == b"POST"
            and (self.cycle is None or self.cycle.response_complete)
            and not self.expect_100_continue
            and not self.flow.write_paused
            and not self.parser.should_upgrade()
        )
        if not self._held:
            self._begin()

    def on_body(self, body: bytes) -> None:
        if self._held:
            self._body = self._body + body if self._body else body
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._held:
            express = type(self).express
            assert express is not None
            taken = _Taken(
                self._keeps_alive and self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
            )
            if express(self.url, self.headers, self._body, partial(self._answer, taken)):
                self._held = False
                self.cycle = taken
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
        usual = self.server_state.default_headers
        if usual is not self._usual:  # another list with each second
            self._usual, self._usual_lines = usual, _lines(usual)
        close = b"" if taken.keep_alive else b"connection: close\r\n"
        self.transport.write(
            b"%b%b%b%bcontent-length: %d\r\n\r\n%b"
            % (
                _STATUS_LINES[status],
                self._usual_lines,
                _lines(headers),
                close,
                len(body),
                body,
            )
        )
        if not taken.keep_alive:
            self.transport.close()
        self.on_response_complete()


def _lines(headers: Headers) -> bytes:
    return b"".join([b"%b: %b\r\n" % header for header in headers])


def expressing(express: Express | None) -> type[Connection]:
    """Connections of which `express` takes what it may."""
    return type("ExpressConnection", (Connection,), {"express": express and staticmethod(express)})


def abort(scope: Any) -> None:
    """Cut off the connection of a request; what was sent and not taken is thrown away."""
    extension = scope.get("extensions", {}).get(ABORT)
    if extension is not None:
        extension["now"]()
