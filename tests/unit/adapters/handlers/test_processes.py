"""Handlers in their processes: what these have and have not, and that what they print is told, line by line and bounded."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog
from tests.fakes import until
from tests.unit.adapters.handlers.test_worker import call_for

from posthouse.adapters.handlers.processes import HandlerProcesses
from posthouse.adapters.limited.lines import Lines
from posthouse.domain.action import Notify
from posthouse.domain.calling import CallFailed, Done, FailedBecause, Unavailable
from posthouse.domain.limits import CALL_LINE_LENGTH_MAX, CALL_LINES_PER_SECOND_MAX

HOOKS = """
import asyncio, os, sys, threading
import posthouse

loops = set()

@posthouse.on_callback("say.*")
async def say(callback):
    loops.add(id(asyncio.get_running_loop()))
    what = callback.event.type
    if what == "say.loops":
        return posthouse.Notify(f"{len(loops)} {os.getpid()}")
    if what == "say.lines":
        print("to stdout")
        print("to stderr", file=sys.stderr)
        os.system("echo of a child")
    if what == "say.input":
        return posthouse.Notify(repr(sys.stdin.read()))
    if what == "say.environment":
        return posthouse.Notify(" ".join(sorted(os.environ)))
    if what == "say.exit":
        os._exit(9)
"""


@asynccontextmanager
async def handling(folder: Path, **more: object) -> AsyncIterator[HandlerProcesses]:
    (folder / "hooks.py").write_text(HOOKS)
    environment = {"PATH": os.environ["PATH"], "SHOP": "1"}
    handlers = HandlerProcesses(["hooks"], processes=1, seconds=5.0, environment=environment)
    try:
        await handlers.start()
        yield handlers
    finally:
        await handlers.close()


async def said(handlers: HandlerProcesses, what: str) -> str:
    done = await handlers.call(call_for(f"say.{what}"))
    assert isinstance(done, Done)
    (notify,) = done.actions
    assert isinstance(notify, Notify)
    return notify.message


async def test_a_process_is_kept_and_replaced_where_it_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with structlog.testing.capture_logs() as logs:
        async with handling(tmp_path) as handlers:
            assert (handlers.patterns, handlers.at_once) == (("say.*",), 1)
            first = await said(handlers, "loops")
            assert first == await said(handlers, "loops"), "the same process, and the same event loop"
            assert first.startswith("1 ")
            assert await said(handlers, "input") == "''"
            assert set((await said(handlers, "environment")).split()) <= {"PATH", "SHOP", "PYTHONPATH", "LC_CTYPE"}
            assert await handlers.call(call_for("say.lines")) == Done((), 1)
            failed = await handlers.call(call_for("say.exit"))
            assert failed == CallFailed(FailedBecause.DIED, "its process ended (ended with 9)")
            assert await said(handlers, "loops") != first
        lines = [each["line"] for each in logs if each["event"] == "callback.said"]
        assert sorted(lines) == ["of a child", "to stderr", "to stdout"]
        assert isinstance(await handlers.call(call_for("say.loops")), Unavailable)


class Pipe:
    def __init__(self) -> None:
        reading, self.writing = os.pipe()
        self.told: list[str] = []
        self.lines = Lines(reading, self.told.append)


async def test_lines_are_told_whole_and_long_ones_in_pieces() -> None:
    pipe = Pipe()
    os.write(pipe.writing, b"one\ntw")
    await until(lambda: pipe.told == ["one"])
    os.write(pipe.writing, b"o\n" + b"x" * (CALL_LINE_LENGTH_MAX + 5) + b"\n\xff\nlast words")
    await until(lambda: len(pipe.told) == 5)
    assert pipe.told[1:] == ["two", "x" * CALL_LINE_LENGTH_MAX, "xxxxx", "\ufffd"]
    os.close(pipe.writing)
    await until(lambda: pipe.told[-1] == "last words")
    pipe.lines.close()


async def test_who_prints_too_much_waits() -> None:
    pipe = Pipe()
    written = 0

    def write() -> None:
        nonlocal written
        for _ in range(20):
            written += os.write(pipe.writing, b"a line\n" * 1_000)

    writing = asyncio.get_running_loop().run_in_executor(None, write)
    await until(lambda: len(pipe.told) >= CALL_LINES_PER_SECOND_MAX)
    for _ in range(50):
        await asyncio.sleep(0)
    assert len(pipe.told) < 2 * CALL_LINES_PER_SECOND_MAX + 3_000, "what one read brought beyond it, and no more"
    assert not writing.done()
    pipe.lines.close()
    with pytest.raises(BrokenPipeError):
        await writing
    os.close(pipe.writing)
