"""The pool of limited processes: what a call does to its process, and what it does to nobody else."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from tests.limited_worker import NEVER_READY

from posthouse.adapters.limited.pool import NoReply, Outcome, Pool, PoolLimits, Reply, Why

MODULE = "tests.limited_worker"
LIMITS = PoolLimits(
    workers=2,
    memory_bytes=64 * 1024 * 1024,
    seconds=100.0,
    reply_bytes=1_000,
    waiting_calls=8,
    waiting_bytes=10_000,
    waiting_seconds=30.0,
)


def limits(**changes: Any) -> PoolLimits:
    return msgspec.structs.replace(LIMITS, **changes)


@asynccontextmanager
async def pool(*arguments: str, **changes: Any) -> AsyncIterator[Pool]:
    made = Pool(MODULE, arguments, limits=limits(**changes), environment={"LANG": "C.UTF-8"})
    try:
        yield made
    finally:
        await made.close()
        assert (made.processes, made.waiting, made.running) == (0, 0, 0)


async def ask(asked: Pool, what: str, number: float = 0, *, owner: str = "a", seconds: float | None = None) -> Outcome:
    return await asked.call(owner, msgspec.json.encode((what, number)), seconds=seconds)


async def pid(asked: Pool, *, owner: str = "a") -> int:
    outcome = await ask(asked, "pid", owner=owner)
    assert isinstance(outcome, Reply)
    return int(outcome.data)


async def until(fact: Any) -> None:
    async with asyncio.timeout(30):
        while not fact():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def alive(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{number}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"


async def test_one_process_answers_one_call_after_another() -> None:
    async with pool() as asked:
        assert asked.processes == 0, "none is started before there is something to do"
        assert await pid(asked) == await pid(asked)
        assert asked.processes == 1


@pytest.mark.parametrize("what", ["sleep", "spin"])
async def test_at_its_deadline_a_process_is_killed_and_another_one_takes_over(what: str) -> None:
    async with pool() as asked:
        before = await pid(asked)
        outcome = await ask(asked, what, 1e9, seconds=0.2)
        assert outcome == NoReply(Why.TOO_LONG, "it was not done within 0.2 s")
        assert not alive(before)
        assert await pid(asked) != before
        assert asked.ended == 1


async def test_memory_is_limited_beyond_what_the_process_takes_by_itself() -> None:
    async with pool() as asked:
        assert await ask(asked, "memory", 32 * 1024 * 1024) == Reply(b"33554432")
        assert await ask(asked, "memory", 1e9) == NoReply(Why.MEMORY, "it needs more than 64 MiB of memory")
        assert await ask(asked, "memory", 32 * 1024 * 1024) == Reply(b"33554432")


async def test_a_reply_that_is_too_large_and_an_error_leave_the_process_as_it_is() -> None:
    async with pool() as asked:
        before = await pid(asked)
        assert await ask(asked, "reply", 1_000) == Reply(bytes(1_000))
        assert await ask(asked, "reply", 1_001) == NoReply(Why.TOO_LARGE, "the reply is over 1000 bytes")
        assert await ask(asked, "raise") == NoReply(Why.RAISED, "ValueError"), "only its name"
        assert await ask(asked, "exit", 3) == NoReply(Why.RAISED, "SystemExit")
        assert await pid(asked) == before


@pytest.mark.parametrize(("what", "status"), [("die", "SIGSEGV"), ("garbage", "SIGKILL")])
async def test_a_process_that_dies_or_talks_nonsense_costs_its_own_call_only(what: str, status: str) -> None:
    async with pool() as asked:
        died, beside = await asyncio.gather(ask(asked, what), pid(asked, owner="b"))
        assert died == NoReply(Why.DIED, f"its process ended ({status})")
        assert beside
        assert await ask(asked, "sleep") == Reply(b"done")


async def test_one_owner_never_has_more_than_one_process() -> None:
    async with pool() as asked:
        held = asyncio.ensure_future(ask(asked, "sleep", 15))
        await until(lambda: asked.running == 1)
        queued = asyncio.ensure_future(ask(asked, "pid"))
        assert await pid(asked, owner="b"), "another one gets by"
        assert not queued.done()
        assert asked.running == 1
        held.cancel()
        queued.cancel()
        await asyncio.gather(held, queued, return_exceptions=True)
        assert asked.waiting == 0, "what was not begun is taken back"


async def test_owners_take_turns() -> None:
    async with pool(workers=1, waiting_calls=40) as asked:
        order = []

        async def one(owner: str) -> None:
            await ask(asked, "pid", owner=owner)
            order.append(owner)

        await asyncio.gather(*[one(owner) for owner in "aaaaaaabc"])
        assert order.index("b") <= 2
        assert order.index("c") <= 3
        assert len(order) == 9


async def test_what_waits_is_bounded_by_number_and_by_bytes_and_for_each_owner() -> None:
    async with pool(workers=1) as asked:
        held = asyncio.ensure_future(ask(asked, "sleep", 15, owner="held"))
        await until(lambda: asked.running == 1)
        waiting = [asyncio.ensure_future(ask(asked, "pid", owner=owner)) for owner in "aabbccdd"]
        await until(lambda: asked.waiting == 8)
        full = NoReply(Why.BUSY, "too much waits for the limited processes")
        assert await ask(asked, "pid", owner="e") == full
        waiting.pop().cancel()
        await until(lambda: asked.waiting == 7)
        assert await ask(asked, "pid", owner="a") == NoReply(
            Why.BUSY, "too much of the same owner waits for the limited processes"
        )
        assert await asked.call("e", bytes(10_000)) == full
        assert asked.refused == 3
        assert not Why.BUSY.begun
        for task in (held, *waiting):
            task.cancel()
        await asyncio.gather(held, *waiting, return_exceptions=True)


async def test_who_waits_too_long_is_told_so() -> None:
    async with pool(workers=1, waiting_seconds=2.0) as asked:
        while not isinstance(await ask(asked, "pid"), Reply):
            pass  # it starts; on a busy machine that takes longer than a call waits
        held = asyncio.ensure_future(ask(asked, "sleep", 60, owner="held"))
        await until(lambda: asked.running == 1)
        assert await ask(asked, "pid") == NoReply(Why.BUSY, "no limited process was free within 2 s")
        held.cancel()


async def test_idle_processes_are_ended() -> None:
    async with pool(idle_seconds=0.1) as asked:
        before = await pid(asked)
        await until(lambda: asked.processes == 0)
        assert not alive(before)
        assert await pid(asked)


async def test_a_process_that_dies_while_idle_is_noticed_and_replaced() -> None:
    async with pool() as asked:
        before = await pid(asked)
        os.kill(before, signal.SIGKILL)
        await until(lambda: asked.processes == 0)
        assert await pid(asked) != before


async def test_processes_that_do_not_start_are_not_started_at_once_again() -> None:
    async with pool(NEVER_READY, waiting_seconds=0.4) as asked:
        outcome = await ask(asked, "pid")
        assert outcome == NoReply(Why.BUSY, "no limited process was free within 0.4 s")


async def test_a_pool_that_closes_ends_what_runs_and_what_waits() -> None:
    async with pool(workers=1) as asked:
        held = asyncio.ensure_future(ask(asked, "sleep", 15))
        await until(lambda: asked.running == 1)
        waits = asyncio.ensure_future(ask(asked, "pid", owner="b"))
        await until(lambda: asked.waiting == 1)
        await asked.close()
        assert await held == NoReply(Why.DIED, "the limited processes are shut down")
        assert await waits == await ask(asked, "pid") == NoReply(Why.UNAVAILABLE, "the limited processes are shut down")


async def test_a_process_has_nothing_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTHOUSE_MASTER_KEY", "secret")
    with socket.socket() as opened:
        opened.set_inheritable(True)
        async with pool() as asked:
            environment = await ask(asked, "environment")
            files = await ask(asked, "files")
    assert isinstance(environment, Reply)
    assert set(msgspec.json.decode(environment.data)) - {"LC_CTYPE"} == {"LANG", "PYTHONPATH"}
    assert isinstance(files, Reply)
    assert len(msgspec.json.decode(files.data)) == 1, "the connection to us, and nothing else"


PARENT = """
import asyncio
from tests.unit.adapters.limited.test_pool import LIMITS, MODULE, Pool, ask, pid

async def main():
    asked = Pool(MODULE, limits=LIMITS)
    print(await pid(asked), await pid(asked, owner="b"), flush=True)
    await ask(asked, "spin", 1e12)

asyncio.run(main())
"""


async def test_no_process_outlives_its_parent() -> None:
    parent = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", PARENT],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [*sys.path, os.getcwd()]))},
    )
    assert parent.stdout is not None
    with parent, parent.stdout:
        workers = [int(number) for number in (await asyncio.to_thread(parent.stdout.readline)).split()]
        assert len(workers) == 2
        parent.kill()
    await until(lambda: not any(map(alive, workers)))
