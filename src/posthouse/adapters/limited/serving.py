"""The worker's side: a process that answers one call after another within its limits, and outlives nobody."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from posthouse.adapters.limited.frames import (
    LENGTH_BYTES,
    Asked,
    Done,
    Ready,
    Said,
    Told,
    Trouble,
    Troubled,
    decode_asked,
    frame,
    length_of,
)

Answer = Callable[[bytes], bytes]
"""What a worker does: a request in, a reply out. What it raises is told by its name, and the worker goes on."""

DEADLINE_SLACK_SECONDS: Final = 1.0  # after a call's deadline, until a worker that nobody ended ends itself

_PR_SET_PDEATHSIG: Final = 1


def serve(prepare: Callable[[Sequence[str]], Answer]) -> None:
    """Be a worker: the main of a module that a `Pool` starts. Returns as the pool lets go.

    `prepare` is given the arguments of the pool's own choice, and gives what answers each call; it is not under the limit for
    memory yet: that counts what is asked for from then on.
    """
    told = msgspec.json.decode(sys.argv[1], type=Told)
    _outlive_nobody(told.parent)
    with suppress(OSError):
        os.nice(told.niceness)
    with suppress(OSError):  # whoever must go where the machine has no memory left, it shall be this one
        Path("/proc/self/oom_score_adj").write_text("1000", "ascii")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    connection = socket.socket(fileno=told.socket)
    connection.set_inheritable(False)
    answer = prepare(sys.argv[2:])
    if told.quiet:
        _write_to_nobody()
    if told.memory_bytes:
        _limit_memory(told.memory_bytes)
    _say(connection, Ready())
    while True:
        asked = _hear(connection)
        if asked is None:
            return
        # The signal's own action ends the process, also in the middle of code that is not Python's.
        signal.setitimer(signal.ITIMER_REAL, asked.seconds + DEADLINE_SLACK_SECONDS)
        said = _done(answer, asked.request, told.reply_bytes)
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        _say(connection, said)


def _done(answer: Answer, request: bytes, reply_bytes: int) -> Said:
    try:
        reply = answer(request)
    except MemoryError:
        return Troubled(Trouble.MEMORY, "")
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it is, the worker goes on, and the pool is told
        return Troubled(Trouble.RAISED, type(error).__name__)
    if len(reply) > reply_bytes:
        return Troubled(Trouble.TOO_LARGE, "")
    return Done(reply)


def _outlive_nobody(parent: int) -> None:
    """End when `parent` ends, also in the middle of a call. Where the system cannot do that, the end of the connection, and of
    the call's time, do it later."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before that
        os._exit(0)


def _write_to_nobody() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(nowhere, number)
    os.close(nowhere)


def _limit_memory(memory_bytes: int) -> None:
    """So much beyond what the process has now. What counts is what it may write to; macOS counts nothing of the kind, and
    there only time is limited."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text("ascii", "replace").splitlines():
            if line.startswith("VmData:"):
                limit = int(line.split()[1]) * 1024 + memory_bytes
                resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _say(connection: socket.socket, said: Said) -> None:
    try:
        connection.sendall(frame(said))
    except OSError:
        sys.exit(0)


def _hear(connection: socket.socket) -> Asked | None:
    """The next call; None where the pool has let go."""
    head = _read(connection, LENGTH_BYTES)
    body = None if head is None else _read(connection, length_of(head))
    return None if body is None else decode_asked(body)


def _read(connection: socket.socket, count: int) -> bytes | None:
    into = bytearray(count)
    view, filled = memoryview(into), 0
    while filled < count:
        try:
            more = connection.recv_into(view[filled:])
        except OSError:
            return None
        if not more:
            return None
        filled += more
    return bytes(into)
