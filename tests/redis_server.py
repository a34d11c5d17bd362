"""A real Redis for tests, where Debian's `redis-server` is installed; where it is not, the tests that need it say so."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.folders import FAST

PATIENCE_SECONDS = 20


@pytest.fixture(scope="session")
def redis_socket() -> Iterator[str]:
    """The path of the socket of a server of this session, which keeps nothing on disk."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed: `make test-databases` installs it")
    with tempfile.TemporaryDirectory(prefix="posthouse-redis-", dir=FAST) as name:
        socket = Path(name) / "redis.sock"
        process = subprocess.Popen(
            [program, "--port", "0", "--unixsocket", str(socket), "--save", "", "--appendonly", "no", "--dir", name],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            _wait(process)
            yield str(socket)
        finally:
            process.terminate()
            process.communicate(timeout=PATIENCE_SECONDS)


def _wait(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    deadline = time.monotonic() + PATIENCE_SECONDS
    said = ""
    while time.monotonic() < deadline:
        line = process.stdout.readline()
        said += line
        if "eady to accept connections" in line:
            return
        if not line:
            break
    pytest.fail(f"redis-server did not start: {said}")
