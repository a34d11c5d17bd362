"""A warm interpreter, in which commands begin: each is a process of its own, forked from one that has imported everything.

`begin` is what tests call. The process that it keeps (`python -m tests.warm`, one for each process of tests) listens on a
socket; a request brings a command's arguments, environment and folder, and its three streams.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import random
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any, Final, NoReturn

ROOT: Final = Path(__file__).parents[1]
REQUEST_BYTES_MAX: Final = 1 << 20
_LENGTH: Final = 8


def begin(
    words: Sequence[str], environment: Mapping[str, str], streams: Sequence[IO[Any]], folder: Path | None = None
) -> Command:
    """Begin `posthouse WORDS` in a folder (else in ours) with this environment, and these as its standard input, output and
    error."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.connect(_address())
    place = os.getcwd() if folder is None else os.fspath(folder)
    request = json.dumps({"words": list(words), "environment": dict(environment), "folder": place}).encode()
    socket.send_fds(connection, [request], [stream.fileno() for stream in streams])
    return Command(connection, int(connection.recv(_LENGTH)))


class Command:
    """A command that was begun; what of `subprocess.Popen` is wanted of one."""

    def __init__(self, connection: socket.socket, pid: int) -> None:
        self._connection = connection
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self._ended(0.0)

    def wait(self, seconds: float) -> int:
        """Its exit code. Raises TimeoutExpired."""
        code = self._ended(seconds)
        if code is None:
            raise subprocess.TimeoutExpired("posthouse", seconds)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _ended(self, seconds: float) -> int | None:
        if self.returncode is None:
            self._connection.settimeout(seconds)
            try:
                self.returncode = int(self._connection.recv(_LENGTH))
            except (TimeoutError, BlockingIOError):
                return None
            self._connection.close()
        return self.returncode


@cache
def _address() -> bytes:
    """Where the warm interpreter listens; it is started with the first command, and ends with this process."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listening.bind(b"")  # an abstract address, which the kernel chooses
    listening.listen(64)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.warm", str(listening.fileno())],
        cwd=ROOT,
        stdin=subprocess.PIPE,  # whose end tells it to end
        pass_fds=[listening.fileno()],
    )
    atexit.register(process.wait)
    atexit.register(process.kill)
    address: bytes = listening.getsockname()
    listening.close()
    return address


# The warm interpreter


def serve(listening: socket.socket) -> NoReturn:
    """Fork whatever is asked for."""
    import posthouse.bootstrap
    import posthouse.cli
    from posthouse.cli.main import main

    for module in pkgutil.walk_packages(posthouse.cli.__path__, "posthouse.cli."):
        importlib.import_module(module.name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.collect()
    gc.freeze()  # what is shared stays shared
    while True:
        connection, _ = listening.accept()
        if os.fork() == 0:
            listening.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            if _keep(connection):
                _end(main)
            os._exit(0)
        connection.close()


def _end(main: Callable[[], object]) -> NoReturn:
    """Run a command to its end, with the exit code that the interpreter would give it, but without taking all apart."""
    code: object = 1
    try:
        main()
    except SystemExit as error:
        code = error.code
        if code is not None and not isinstance(code, int):
            print(code, file=sys.stderr)
            code = 1
    except BaseException:
        traceback.print_exc()
    try:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except (OSError, ValueError):
        code = code or 120  # as the interpreter says that what was written went nowhere
    os._exit(0 if code is None else int(str(code)))


def _keep(connection: socket.socket) -> bool:
    """Whether this is the command now; otherwise it was, and has ended."""
    message, descriptors, _, _ = socket.recv_fds(connection, REQUEST_BYTES_MAX, 3)
    request = json.loads(message)
    pid = os.fork()
    if pid == 0:
        connection.close()
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
            os.close(descriptor)
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        time.tzset()
        sys.path[0] = request["folder"]
        sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
        random.seed()
        sys.argv[1:] = request["words"]
        return True
    for descriptor in descriptors:
        os.close(descriptor)
    connection.send(b"%d" % pid)
    _, status = os.waitpid(pid, 0)
    connection.send(b"%d" % os.waitstatus_to_exitcode(status))
    return False


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
