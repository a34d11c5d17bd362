"""The background of a loop that is cancelled, stands still, or runs in a thread of its own as the process exits."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.answering import DROP, HANG, Answering, answering, problem
from tests.unit.sdk.publishing.test_background import PATIENCE_SECONDS, child, numbers

from posthouse_sdk import AsyncPosthouse, Handle
from posthouse_sdk.publishing.background import Background

CLOSE_SECONDS = 2.0
"""Long enough for what can be sent; whoever waits in vain has to say so."""


def after(seconds: float, then: Any = 202) -> Callable[[object], Any]:
    """A step that takes a while."""

    def step(_: object) -> Any:
        time.sleep(seconds)
        return then

    return step


@contextlib.contextmanager
def loop_in_a_thread() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def submit(hub: AsyncPosthouse) -> list[Handle]:
    return [hub.on_event("a", n) for n in range(3)]


# Cancelled


async def _cancelled(hub: AsyncPosthouse, server: Answering) -> Handle:
    """An event that is under way as the task that sends it is cancelled, as a loop does that ends; it does not know yet."""
    handle = hub.on_event("a", 1)
    await asyncio.to_thread(server.wait_for, 1)
    task = hub._background._task
    assert task is not None
    task.cancel()
    return handle


async def test_closing_does_not_wait_for_a_task_that_was_cancelled() -> None:
    with answering(HANG, 202) as server:
        hub = AsyncPosthouse(server.url, "k")
        handle = await _cancelled(hub, server)
        await hub.close(CLOSE_SECONDS)
        assert handle.result(0)
        assert numbers(server) == [1, 1]


async def test_whoever_waits_until_all_is_sent_does_not_wait_for_a_task_that_was_cancelled() -> None:
    with answering(HANG, 202) as server:
        async with AsyncPosthouse(server.url, "k") as hub:
            handle = await _cancelled(hub, server)
            assert await hub.flush(CLOSE_SECONDS)
            assert handle.result(0)


async def test_a_task_that_is_cancelled_while_somebody_closes_is_begun_anew() -> None:
    with answering(HANG, 202) as server:
        hub = AsyncPosthouse(server.url, "k")
        handle = hub.on_event("a", 1)
        await asyncio.to_thread(server.wait_for, 1)
        closing = asyncio.create_task(hub.close(CLOSE_SECONDS))
        await asyncio.sleep(0)
        assert hub._background._task is not None
        hub._background._task.cancel()
        await closing
        assert handle.result(0)


def test_a_program_whose_tasks_are_all_cancelled_sends_what_waits_and_ends() -> None:
    handles = []

    async def uses(hub: AsyncPosthouse) -> None:
        async with hub:
            handles.append(hub.on_event("a", 1))
            await asyncio.Event().wait()

    async def main(url: str) -> list[asyncio.Task[None]]:
        # Which of all tasks is cancelled first is up to chance: of several hubs some meet either.
        tasks = [asyncio.create_task(uses(AsyncPosthouse(url, "k", timeout=CLOSE_SECONDS))) for _ in range(8)]
        await asyncio.to_thread(server.wait_for, 8)
        return tasks

    with answering(*[HANG] * 8, 202) as server:
        asyncio.run(main(server.url))
        assert [handle.result(0).type for handle in handles] == ["a"] * 8


async def test_a_close_that_is_cancelled_leaves_the_rest_to_the_exit() -> None:
    with answering(HANG, 202) as server:
        hub = AsyncPosthouse(server.url, "k")
        handle = hub.on_event("a", 1)
        await asyncio.to_thread(server.wait_for, 1)
        closing = asyncio.create_task(hub.close(PATIENCE_SECONDS))
        await asyncio.sleep(0)
        closing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await closing
        task = hub._background._task
        assert task is not None
        assert task.done()
        assert not handle.done()
        await asyncio.to_thread(hub._background.at_exit)
        assert handle.result(0)


# Standing still


def test_a_loop_that_stands_still_is_not_waited_for() -> None:
    with answering() as server, contextlib.closing(asyncio.new_event_loop()) as still:
        hub = AsyncPosthouse(server.url, "k")

        async def submit() -> Handle:
            return hub.on_event("a", 1)

        handle = still.run_until_complete(submit())
        asyncio.run(hub.close(CLOSE_SECONDS))
        assert handle.result(0)
        still.run_until_complete(asyncio.wait(asyncio.all_tasks(still)))
        assert numbers(server) == [1], "and not once more, when it goes on"


def test_loops_that_run_by_turns_have_connections_of_their_own() -> None:
    opened = threading.Event()

    def first(_: object) -> int:
        assert opened.wait(PATIENCE_SECONDS)
        return 202

    with (
        answering(first, 202) as server,
        contextlib.closing(asyncio.new_event_loop()) as one,
        contextlib.closing(asyncio.new_event_loop()) as two,
    ):
        hub = AsyncPosthouse(server.url, "k")

        async def under_way() -> asyncio.Task[Any]:
            publishing = asyncio.create_task(hub.publish("a", 1))
            await asyncio.to_thread(server.wait_for, 1)
            return publishing

        async def ended(publishing: asyncio.Task[Any]) -> None:
            await publishing

        publishing = one.run_until_complete(under_way())
        two.run_until_complete(hub.publish("a", 2))
        opened.set()
        one.run_until_complete(ended(publishing))
        two.run_until_complete(hub.publish("a", 3))
        two.run_until_complete(hub.close())
        assert [asked.connection for asked in server.asked] == [1, 2, 2]


async def test_the_loop_of_another_thread_sends_while_it_runs() -> None:
    """And another one than sends may close the hub."""
    with answering(after(0.2), 202) as server, loop_in_a_thread() as loop:
        hub = AsyncPosthouse(server.url, "k", batch_events=1)
        handles = await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(submit(hub), loop))
        await hub.close(PATIENCE_SECONDS)
        assert [handle.result(0).type for handle in handles] == ["a"] * 3
        assert numbers(server) == [0, 1, 2]


# In a thread of its own, as the process exits

IN_A_THREAD = """
import asyncio, threading, time
from posthouse_sdk import AsyncPosthouse
loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, daemon=True).start()
async def make():
    hub = AsyncPosthouse(batch_events=1, exit_seconds=EXIT_SECONDS, on_failed=on_failed)
    await hub.__aenter__()
    return hub
def on_failed(failure):
    time.sleep(0.3)
    print("failed", failure.event.data, flush=True)
def told(handle, n):
    if handle.exception() is None: print("published", n, flush=True)
hub = asyncio.run_coroutine_threadsafe(make(), loop).result()
def submit(n): hub.on_event("a", n).add_done_callback(lambda handle: told(handle, n))
for n in range(3): submit(n)
"""
UNDER_WAY = "while hub._background._under_way is None: time.sleep(0.001)\n"


def in_a_thread(server: Answering, program: str = "", *, exit_seconds: float = PATIENCE_SECONDS) -> list[str]:
    """What was said of each event."""
    said = child(server, IN_A_THREAD.replace("EXIT_SECONDS", str(exit_seconds)) + program)
    return [line for line in said.splitlines() if line.startswith(("published", "failed"))]


PUBLISHED = ["published 0", "published 1", "published 2"]


@pytest.mark.parametrize("seconds", [0.0, 0.5])
def test_at_the_exit_what_waits_is_sent_once_and_in_order(seconds: float) -> None:
    with answering(after(seconds)) as server:
        assert in_a_thread(server, UNDER_WAY) == PUBLISHED
        assert numbers(server) == [0, 1, 2]


def test_at_the_exit_what_the_loop_could_not_send_goes_out_again() -> None:
    with answering(after(0.3, DROP), 202) as server:
        assert in_a_thread(server, UNDER_WAY) == PUBLISHED
        assert numbers(server) == [0, 0, 1, 2]


def test_at_the_exit_what_was_refused_is_still_told_of() -> None:
    with answering(202, 202, after(0.3, problem(404, "event_type_not_found"))) as server:
        program = UNDER_WAY + "while hub._background.stats.published < 2: time.sleep(0.001)\n"
        assert in_a_thread(server, program) == [*PUBLISHED[:2], "failed 2"]


@pytest.mark.parametrize(
    "ends",
    [
        "loop.call_soon_threadsafe(time.sleep, 60)\n",  # it is stuck
        "loop.call_soon_threadsafe(loop.stop)\nwhile loop.is_running(): time.sleep(0.001)\n",
        "async def cancel(): hub._background._task.cancel()\nasyncio.run_coroutine_threadsafe(cancel(), loop).result()\n",
    ],
    ids=["stuck", "stopped", "cancelled"],
)
def test_at_the_exit_a_loop_that_sends_no_more_is_not_waited_for(ends: str) -> None:
    with answering(HANG, 202) as server:
        program = UNDER_WAY + "time.sleep(0.2)\n" + ends
        assert in_a_thread(server, program) == PUBLISHED
        assert numbers(server) == [0, 0, 1, 2], "the one that was under way once more, with the same key"
        assert server.asked[0].keys == server.asked[1].keys


def test_the_exit_does_not_hang_where_the_server_does() -> None:
    with answering(HANG) as server:
        assert in_a_thread(server, UNDER_WAY, exit_seconds=0.5) == ["failed 0", "failed 1", "failed 2"]
        assert numbers(server) == [0]


def test_one_batch_is_under_way_at_a_time() -> None:
    """Whoever exits while the loop sends takes nothing before that is settled."""
    with answering(after(0.3), 202) as server, loop_in_a_thread() as loop:
        hub = AsyncPosthouse(server.url, "k", batch_events=1)
        handles = asyncio.run_coroutine_threadsafe(submit(hub), loop).result(PATIENCE_SECONDS)
        server.wait_for(1)
        background: Background = hub._background
        background.at_exit()
        assert [handle.result(0).type for handle in handles] == ["a"] * 3
        assert numbers(server) == [0, 1, 2]
        assert hub.stats[:4] == (0, 0, 3, 0)
        asyncio.run_coroutine_threadsafe(hub.close(), loop).result(PATIENCE_SECONDS)
