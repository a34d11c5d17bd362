"""uvicorn, as a part of a process that has more to end than its connections."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

ABORT: Final = "posthouse.abort"


class Connection(HttpToolsProtocol):
    """uvicorn's, and a scope through which an application can cut its connection off.

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


def abort(scope: Any) -> None:
    """Cut off the connection of a request; what was sent and not taken is thrown away."""
    extension = scope.get("extensions", {}).get(ABORT)
    if extension is not None:
        extension["now"]()


class Server(uvicorn.Server):
    """uvicorn, but signals are the process's own: it would end the process before the rest of it has."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
