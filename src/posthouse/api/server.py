"""uvicorn, as a part of a process that has more to end than its connections."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn


class Server(uvicorn.Server):
    """uvicorn, but signals are the process's own: it would end the process before the rest of it has."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
