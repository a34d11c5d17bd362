"""One limited process as its pool has it: started, asked, and ended."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

import msgspec

from posthouse.adapters.limited.frames import (
    FRAME_BYTES_SLACK,
    LENGTH_BYTES,
    Asked,
    Ready,
    Said,
    Told,
    decode_said,
    frame,
    length_of,
)
from posthouse.adapters.limited.lines import Lines


class Made(msgspec.Struct, frozen=True):
    """How a process is made: the module that is its main (it calls `serve`), the arguments for its `prepare`, all of its
    environment, and what it is told. `said` is told each line that it writes, with its process id; None: that goes to our
    standard error."""

    module: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    memory_bytes: int
    reply_bytes: int
    niceness: int
    quiet: bool
    said: Callable[[int, str], None] | None = None


class Worker(asyncio.Protocol):
    """A process, and the connection to it. `gone` is done as the connection ends, which is how its death is noticed.

    It says one frame for each that it is told (and one as it is ready). One that says anything else is killed.
    """

    def __init__(self, made: Made) -> None:
        self._made = made
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._said: asyncio.Future[Said] | None = None  # what it is to say next
        self._bytes = bytearray()
        self._transport: asyncio.Transport | None = None
        self._process, self._connection, written = _start(made)
        self._lines = None if made.said is None else Lines(written, partial(made.said, self._process.pid))

    async def ready(self, *, seconds: float) -> bool:
        """Whether it became ready within so many seconds."""
        loop = asyncio.get_running_loop()
        heard = self._said = loop.create_future()
        await loop.create_unix_connection(lambda: self, sock=self._connection)
        return isinstance(await self._hear(heard, seconds), Ready)

    async def ask(self, request: bytes, *, seconds: float) -> Said | None:
        """What it says to a request. None: nothing within so many seconds, or it is gone; then it is of no more use."""
        assert self._transport is not None
        heard: asyncio.Future[Said] = asyncio.get_running_loop().create_future()
        self._said = heard
        self._transport.write(frame(Asked(seconds, request)))
        return await self._hear(heard, seconds)

    async def _hear(self, heard: asyncio.Future[Said], seconds: float) -> Said | None:
        either: set[asyncio.Future[Any]] = {heard, self.gone}
        await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return heard.result() if heard.done() else None

    def kill(self) -> None:
        """End it at once."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGKILL)

    async def end(self) -> str:
        """End it at once, and wait until nothing of it is left: how it ended, for a person."""
        self.kill()
        if self._transport is None:
            self._connection.close()
        else:
            self._transport.abort()
        status = await asyncio.to_thread(self._process.wait)
        if self._lines is not None:
            self._lines.close()
        return _named(status)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._bytes += data
        if len(self._bytes) < LENGTH_BYTES:
            return
        length = length_of(bytes(self._bytes[:LENGTH_BYTES]))
        whole = LENGTH_BYTES + length
        if length > self._made.reply_bytes + FRAME_BYTES_SLACK or len(self._bytes) > whole:
            self.kill()
        elif len(self._bytes) == whole:
            self._take(bytes(self._bytes[LENGTH_BYTES:]))
            self._bytes.clear()

    def _take(self, body: bytes) -> None:
        try:
            said = decode_said(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self.kill()
            return
        expected, self._said = self._said, None
        if expected is None:
            self.kill()
        elif not expected.done():
            expected.set_result(said)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.gone.done():
            self.gone.set_result(None)


def _start(made: Made) -> tuple[subprocess.Popen[bytes], socket.socket, int]:
    """The process, our end of the connection, and the one of a pipe that it writes to, where what it writes is told. Raises
    OSError."""
    ours, theirs = socket.socketpair()
    reading, writing = os.pipe() if made.said is not None else (-1, -1)
    try:
        ours.setblocking(False)
        told = Told(
            theirs.fileno(), os.getpid(), made.memory_bytes, made.reply_bytes, niceness=made.niceness, quiet=made.quiet
        )
        # Here and not in a thread, though it takes a millisecond or two: the process ends with the thread that made it.
        process = subprocess.Popen(  # noqa: S603
            # It finds what we find, and nothing by where it stands.
            [sys.executable, "-P", "-m", made.module, msgspec.json.encode(told).decode(), *made.arguments],
            stdin=subprocess.DEVNULL,
            stdout=2 if made.said is None else writing,
            stderr=None if made.said is None else writing,
            env={**made.environment, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            pass_fds=(theirs.fileno(),),
            start_new_session=True,  # Ctrl-C at a terminal is for us
        )
    except BaseException:
        ours.close()
        if reading >= 0:
            os.close(reading)
        raise
    finally:
        theirs.close()
        if writing >= 0:
            os.close(writing)
    return process, ours, reading


def _named(status: int) -> str:
    if status >= 0:
        return f"ended with {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
