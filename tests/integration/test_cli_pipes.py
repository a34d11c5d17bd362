"""Commands whose output nobody reads to its end, as before `| head -1`: they end without a word, with the code of SIGPIPE."""

from __future__ import annotations

import os
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.commands import COMMAND, PATIENCE_SECONDS, Running, Served, environment, run, served

READER_GONE = 141


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with served() as found:
        assert run("event-types", "create", "order.created", **found.reach).returncode == 0
        assert run("trigger", "order.created", "--data", "{}", **found.reach).returncode == 0
        yield found


@contextmanager
def begun(*words: str, **more: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command whose standard output is a pipe that nobody reads. Not in a warm interpreter: how one ends is looked at."""
    reading, writing = os.pipe()
    os.close(reading)
    command = subprocess.Popen([*COMMAND, *words], env=environment(**more), stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    with command:
        try:
            yield command
        finally:
            command.kill()


def ended(command: subprocess.Popen[bytes]) -> tuple[int, str]:
    """Its exit code, and what it said on standard error since."""
    _, said = command.communicate(timeout=PATIENCE_SECONDS)
    return command.returncode, said.decode()


@pytest.mark.parametrize(
    "words",
    [
        ("events", "list", "--all"),
        ("event-types", "get", "order.created"),
        ("export",),
        ("completion", "bash"),
        ("--help",),
        ("events", "--help"),
    ],
)
def test_what_ends_by_itself(server: Served, words: tuple[str, ...]) -> None:
    with begun(*words, **server.reach) as command:
        assert ended(command) == (READER_GONE, "")


def test_many_lines_of_which_the_first_is_read() -> None:
    with subprocess.Popen(
        [*COMMAND, "completion", "bash"], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as command:
        assert command.stdout is not None
        assert command.stderr is not None
        assert command.stdout.readline()
        command.stdout.close()
        assert command.stderr.read() == b""
        assert command.wait(PATIENCE_SECONDS) == READER_GONE


def test_a_refusal_has_its_own_exit_code_all_the_same(server: Served) -> None:
    with begun("events", "get", "evt_none", **server.reach) as command:
        code, said = ended(command)
    assert (code, "posthouse:" in said) == (4, True)


def heard(command: subprocess.Popen[bytes], pattern: str) -> re.Match[str]:
    """Wait until it has said this on standard error."""
    assert command.stderr is not None
    found = Running(command, [command.stderr]).until(pattern)  # type: ignore[arg-type]
    os.set_blocking(command.stderr.fileno(), True)
    return found


def test_a_stream(server: Served) -> None:
    with begun("tail", **server.reach) as command:
        heard(command, "connected\n")
        assert run("trigger", "order.created", "--data", "{}", **server.reach).returncode == 0
        assert ended(command) == (READER_GONE, "")


def test_a_target() -> None:
    with begun("listen", "--port", "0") as command:
        url = heard(command, r"listening on (\S+);.*\n")[1]
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(urllib.request.Request(url, data=b"{}"), timeout=PATIENCE_SECONDS)
        refused.value.close()
        assert refused.value.code == 503, "nobody saw it: it may come again"
        assert ended(command) == (READER_GONE, "")


def test_a_disk_that_is_full_is_told(server: Served) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with open("/dev/full", "wb") as full:
        told = subprocess.run(
            [*COMMAND, "events", "list"],
            env=environment(**server.reach),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=PATIENCE_SECONDS,
        )
    assert told.returncode == 1
    assert told.stderr == "posthouse: cannot write the output: No space left on device\n"
