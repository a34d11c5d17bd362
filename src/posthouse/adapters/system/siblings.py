"""Workers of one supervisor share a port, so a scrape meets any one of them: it answers for all.

Each listens on a Unix socket in the supervisor's private folder, and gives its series to whoever connects.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from posthouse.adapters.system.exposition import merged

ANSWER_SECONDS_MAX: Final = 1.0


@dataclass(frozen=True)
class WorkerPlace:
    """A worker's place among its siblings: its number and how many they are, the shared listening socket (an open file
    descriptor), and the folder in which they find each other."""

    number: int
    count: int
    socket: int
    folder: Path


class Siblings:
    """The series of all workers, from any of them. `own` gives this one's, and their content type."""

    def __init__(self, folder: Path, number: int, count: int, own: Callable[[], tuple[bytes, str]]) -> None:
        self._folder = folder
        self._number = number
        self._count = count
        self._own = own
        self._server: asyncio.Server

    async def start(self) -> None:
        path = self._path(self._number)
        path.unlink(missing_ok=True)  # of the worker before, which died
        self._server = await asyncio.start_unix_server(self._answer, path)

    async def close(self) -> None:
        self._server.close()

    async def render(self) -> tuple[bytes, str]:
        """As `PrometheusTelemetry.render`, of all; one that does not answer within a second is told as down."""
        own, content_type = self._own()
        others = [number for number in range(self._count) if number != self._number]
        answers = await asyncio.gather(*map(self._ask, others))
        return merged({self._number: own, **dict(zip(others, answers, strict=True))}), content_type

    async def _answer(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self._own()[0])
        writer.close()

    async def _ask(self, number: int) -> bytes | None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                reader, writer = await asyncio.open_unix_connection(self._path(number))
                try:
                    return await reader.read() or None
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return None

    def _path(self, number: int) -> Path:
        return self._folder / f"worker-{number}.sock"
