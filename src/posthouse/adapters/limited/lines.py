"""What a process writes, line by line, no faster than it is to be read."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from posthouse.domain.limits import CALL_LINE_LENGTH_MAX, CALL_LINES_PER_SECOND_MAX

CHUNK_BYTES: Final = 16 * 1024


class Lines:
    """Reads the end of a pipe, and tells each line. A longer line than CALL_LINE_LENGTH_MAX is told in pieces. Whoever writes
    more than CALL_LINES_PER_SECOND_MAX of them waits, once the pipe is full, until they were told."""

    def __init__(self, pipe: int, tell: Callable[[str], None]) -> None:
        """`pipe` is closed at its end, or by `close`."""
        self._pipe = pipe
        self._tell = tell
        self._rest = b""
        self._told = 0  # in this second
        self._loop = asyncio.get_running_loop()
        self._later: asyncio.TimerHandle | None = None
        os.set_blocking(pipe, False)
        self._loop.add_reader(pipe, self._read)

    def _read(self) -> None:
        if self._told >= CALL_LINES_PER_SECOND_MAX:
            self._loop.remove_reader(self._pipe)
            self._later = self._loop.call_later(1.0, self._go_on)
            return
        try:
            chunk = os.read(self._pipe, CHUNK_BYTES)
        except BlockingIOError:
            return
        if not chunk:
            self.close()
            return
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            self._say(line)
        while len(self._rest) > CALL_LINE_LENGTH_MAX:
            self._say(self._rest[:CALL_LINE_LENGTH_MAX])
            self._rest = self._rest[CALL_LINE_LENGTH_MAX:]

    def _say(self, line: bytes) -> None:
        pieces = [line[at : at + CALL_LINE_LENGTH_MAX] for at in range(0, len(line), CALL_LINE_LENGTH_MAX)]
        for piece in pieces:
            self._told += 1
            self._tell(piece.decode("utf-8", "replace"))

    def _go_on(self) -> None:
        self._later = None
        self._told = 0
        self._loop.add_reader(self._pipe, self._read)

    def close(self) -> None:
        """Tell what is there yet, and read no more."""
        if self._pipe < 0:
            return
        pipe, self._pipe = self._pipe, -1
        if self._later is not None:
            self._later.cancel()
        self._loop.remove_reader(pipe)
        with suppress(BlockingIOError):
            self._rest += os.read(pipe, CHUNK_BYTES)  # of a process that has ended: its last words
        os.close(pipe)
        for line in self._rest.split(b"\n"):
            self._say(line)
        self._rest = b""
