"""uvicorn, as a part of a process that has more to end than its connections."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import uvicorn

from posthouse.api import door
from posthouse.api.express import Connection, State

LINGER_SECONDS: Final = 0.2  # that handshakes under way get, once no new one begins
FIRST_REQUEST_SECONDS: Final = 1.0  # that a connection which has brought nothing yet gets from then on


class Server(uvicorn.Server):
    """uvicorn, but signals are the process's own: it would end the process before the rest of it has."""

    def __init__(self, config: uvicorn.Config, *, holds_door: bool = True) -> None:
        """`holds_door`: nobody else accepts on its sockets."""
        config.ws = "none"  # whatever is installed beside us, a request to upgrade is a request like any other
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
        return any(c.silent for c in self.server_state.connections if isinstance(c, Connection))

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def configured(app: Any, *, http: type[asyncio.Protocol], backlog: int) -> uvicorn.Config:
    """How uvicorn serves this application: with our own logs and none of its own, and nothing told of itself."""
    return uvicorn.Config(
        app,
        http=http,
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        date_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=10,
        backlog=backlog,
    )
