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

ABORT: Final = "posthouse.abort"
LINGER_SECONDS: Final = 0.1  # between the last accepted connection and the end of idle ones
FIRST_REQUEST_SECONDS: Final = 1.0  # that a connection which has brought nothing yet gets besides


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

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.server_state = State()

    def part(self) -> None:
        """From now on every answer says that it is its connection's last: clients go elsewhere by themselves."""
        assert isinstance(self.server_state, State)
        self.server_state.parting = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, but what has arrived already is answered, on connections that seem idle too."""
        self.part()
        await asyncio.sleep(0)  # a turn of the loop accepts who is waiting at the door
        await asyncio.sleep(0)
        for server in self.servers:
            server.close()
        for sock in sockets or ():
            sock.close()  # whoever knocks from here on is refused, rather than let in and left standing
        if self.server_state.connections:
            await asyncio.sleep(LINGER_SECONDS)
            until = asyncio.get_running_loop().time() + FIRST_REQUEST_SECONDS
            while any(c.scope is None for c in self.server_state.connections if isinstance(c, Connection)):
                if asyncio.get_running_loop().time() > until:
                    break
                await asyncio.sleep(LINGER_SECONDS / 5)
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
