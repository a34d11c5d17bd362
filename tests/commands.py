"""The commands, as a person runs them: real processes."""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import re
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, Any, NamedTuple

import pytest
from tests.folders import FAST
from tests.postgres import end_server
from tests.warm import Command, begin

from posthouse.adapters.postgres.embedded import EmbeddedPostgres
from posthouse.adapters.postgres.migrate import migrate
from posthouse.adapters.system.datadir import DataDir

COMMAND = [sys.executable, "-m", "posthouse.cli.main"]
PATIENCE_SECONDS = 60


def environment(**more: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("POSTHOUSE_")}
    ours = {"LC_ALL": "C.UTF-8", "NO_COLOR": "1", "COLUMNS": "160", "POSTHOUSE_DRAIN_SECONDS": "0"}
    return clean | ours | more


def run(*words: str, given: str | None = None, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, in a process of its own (tests/warm.py). `given` is its standard input."""
    return run_in(None, *words, given=given, **more)


def run_in(folder: Path | None, *words: str, given: str | None = None, **more: str) -> subprocess.CompletedProcess[str]:
    """The same in a folder."""
    with ExitStack() as stack:
        streams = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(3)]
        streams[0].write((given or "").encode())
        streams[0].seek(0)
        command = begin(words, environment(**more), streams, folder)
        stack.callback(command.kill)
        code = command.wait(PATIENCE_SECONDS)
        said = []
        for stream in streams[1:]:
            stream.seek(0)
            said.append(stream.read().decode().replace("\r\n", "\n"))
    return subprocess.CompletedProcess(words, code, *said)


def rows(told: subprocess.CompletedProcess[str], code: int = 0) -> list[dict[str, Any]]:
    """The lines of JSON of a command that ended with this code."""
    assert told.returncode == code, told.stdout + told.stderr
    return [json.loads(line) for line in told.stdout.splitlines()]


def on_terminal(words: Sequence[str], more: Mapping[str, str], *, width: int = 80) -> tuple[int, str]:
    """Run a command on a terminal of this width: its exit code, and what it showed (both streams)."""
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    clean = {name: value for name, value in environment(**more).items() if name != "COLUMNS"} | {"TERM": "xterm"}
    process = subprocess.Popen([*COMMAND, *words], env=clean, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = b""
    try:
        while True:
            try:
                text = os.read(ours, 65536)
            except OSError:  # Linux: the other side is closed
                break
            if not text:
                break
            said += text
        return process.wait(PATIENCE_SECONDS), said.decode().replace("\r\n", "\n")
    finally:
        os.close(ours)
        process.kill()
        process.wait()


class Running:
    """A command that goes on, and what it says."""

    def __init__(self, process: Command, streams: Sequence[IO[bytes]]) -> None:
        self.process = process
        self.said = ""
        self._lines = selectors.DefaultSelector()
        for stream in streams:
            os.set_blocking(stream.fileno(), False)
            self._lines.register(stream, selectors.EVENT_READ)

    def until(self, pattern: str) -> re.Match[str]:
        """Read until it has said this, on either stream."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (found := re.search(pattern, self.said)) is None:
            if time.monotonic() > deadline:
                pytest.fail(f"never said {pattern!r}, but: {self.said}")
            for key, _ in self._lines.select(timeout=0.2):
                text = os.read(key.fd, 65536).decode()
                if not text:
                    self._lines.unregister(key.fileobj)
                self.said += text
            if not self._lines.get_map():
                pytest.fail(f"ended without {pattern!r}, but with: {self.said}")
        return found

    def rest(self) -> str:
        """Read until it has ended: all that it said."""
        while self._lines.get_map():
            for key, _ in self._lines.select():
                text = os.read(key.fd, 65536).decode()
                if not text:
                    self._lines.unregister(key.fileobj)
                self.said += text
        self.process.wait(PATIENCE_SECONDS)
        return self.said


@contextmanager
def running(*words: str, **more: str) -> Iterator[Running]:
    """A command that goes on, in a process of its own (tests/warm.py)."""
    with ExitStack() as stack:
        given = stack.enter_context(Path(os.devnull).open("rb"))
        pipes = [os.pipe() for _ in range(2)]
        heard = [stack.enter_context(open(reading, "rb")) for reading, _ in pipes]
        with ExitStack() as theirs:
            said = [theirs.enter_context(open(writing, "wb")) for _, writing in pipes]
            process = begin(words, environment(**more), [given, *said])
        stack.callback(process.kill)
        stack.callback(_end, process)
        yield Running(process, heard)


def _end(process: Command) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(PATIENCE_SECONDS)


class Served(NamedTuple):
    """A server that `posthouse serve` started; `reach` is the environment in which commands find it."""

    data: Path
    port: str
    reach: dict[str, str]


@cache
def _made_before() -> Path:
    """A data directory with a migrated database that is stopped, for others to be copied from."""
    folder = Path(tempfile.mkdtemp(prefix="posthouse-served-", dir=FAST))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)

    async def make() -> None:
        with DataDir.hold(folder / "data"):
            postgres = EmbeddedPostgres(folder / "data", durable=False)
            try:
                await migrate(await postgres.start())
            finally:
                await postgres.stop()

    asyncio.run(make())
    return folder / "data"


@contextmanager
def served(*flags: str) -> Iterator[Served]:
    """A server with an embedded database of its own, in a folder that PostgreSQL's account can reach. Its first start finds a
    cluster there: making one is for the tests of that."""
    with tempfile.TemporaryDirectory(prefix="posthouse-served-", dir=FAST, ignore_cleanup_errors=True) as name:
        os.chmod(name, 0o755)
        data = Path(name) / "data"
        subprocess.run(["/bin/cp", "-a", _made_before(), data], check=True)
        try:
            with running("serve", "--port", "0", "--data-dir", str(data), *flags) as server:
                key = server.until(r"(ph_\S+)\n")[1]
                port = server.until(r"listens on http://127\.0\.0\.1:(\d+);")[1]
                yield Served(data, port, {"POSTHOUSE_URL": f"http://127.0.0.1:{port}", "POSTHOUSE_KEY": key})
        finally:
            end_server(data)
