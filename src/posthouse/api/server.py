"""uvicorn, as a part of a process that has more to end than its connections."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from posthouse.api import door

ABORT: Final = "posthouse.abort"
LINGER_SECONDS: Final = 0.2  # that handshakes under way get, once no new one begins
FIRST_REQUEST_SECONDS: Final = 1.0  # that a connection which has brought nothing yet gets from then on


class State(ServerState):
    """uvicorn's, and whether the server is about to end."""

    def __init__(self) -> None:
        super().__init__()
        self.parting = False


class Connection(HttpToolsProtocol):
    """uvicorn's, and two things more.

    When the server is about to end, each answer is its connection's last. And a scope holds what cuts its connection off:
    ASGI has no word for it, and closing waits until the client has read what was sent: one that does not read would keep its
    connection, and this process from ending. The extension's `now` does it.
    """

    _extensions: dict[str, dict[object, object]]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._extensions = {ABORT: {"now": transport.abort}}

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = self._extensions

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        if self.cycle is not None and isinstance(self.server_state, State) and self.server_state.parting:
            self.cycle.keep_alive = False


def abort(scope: Any) -> None:
    """Cut off the connection of a request; what was sent and not taken is thrown away."""
    extension = scope.get("extensions", {}).get(ABORT)
    if extension is not None:
        extension["now"]()


class Server(uvicorn.Server):
    """uvicorn, but signals are the process's own: it would end the process before the rest of it has."""

    def __init__(self, config: uvicorn.Config, *, holds_door: bool = True) -> None:
        """`holds_door`: nobody else accepts on its sockets."""
        super().__init__(config)
        self.server_state = State()
        self._holds_door = holds_door

    def part(self) -> None:
        """From now on every answer says that it is its connection's last: clients go elsewhere by themselves."""
        assert isinstance(self.server_state, State)
        self.server_state.parting = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, but after `part` what has arrived already is answered: on connections that nobody has accepted yet, and
        on those that seem idle."""
        if self._parting:
            if self._holds_door:
                for listening in sockets or ():
                    door.shut(listening)
            await asyncio.sleep(LINGER_SECONDS)
            for server in self.servers:
                server.close()
            for listening in sockets or ():
                listening.close()
            until = asyncio.get_running_loop().time() + FIRST_REQUEST_SECONDS
            while self._silent() and asyncio.get_running_loop().time() < until:  # noqa: ASYNC110 - once, in the end
                await asyncio.sleep(LINGER_SECONDS / 5)
        await super().shutdown(sockets)

    @property
    def _parting(self) -> bool:
        return isinstance(self.server_state, State) and self.server_state.parting

    def _silent(self) -> bool:
        """Whether there is a connection that has brought nothing yet."""
        return any(c.scope is None for c in self.server_state.connections if isinstance(c, Connection))

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
