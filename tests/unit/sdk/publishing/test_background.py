"""The background: nothing is lost without a word, whatever fills up, ends or forks."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.answering import CUT, DROP, HANG, Answering, answering, problem

from posthouse_sdk import (
    AsyncPosthouse,
    BufferFullError,
    Event,
    Failure,
    Handle,
    InvalidEventError,
    NotFoundError,
    Posthouse,
    UnavailableError,
)
from posthouse_sdk.publishing import exchange
from posthouse_sdk.publishing.connections import Connections
from posthouse_sdk.publishing.streams import Streams

PATIENCE_SECONDS = 30


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "BACKOFF_SECONDS", 0.02)


def gate() -> tuple[threading.Event, Callable[[object], int]]:
    """A step that answers only once it is opened."""
    opened = threading.Event()

    def step(_: object) -> int:
        assert opened.wait(PATIENCE_SECONDS)
        return 202

    return opened, step


# Sending


def test_events_are_sent_in_batches_and_in_order() -> None:
    opened, step = gate()
    with answering(step, 202) as server, Posthouse(server.url, "k", batch_events=50) as hub:
        handles = [hub.on_event("a", {"n": 0})]
        server.wait_for(1)
        handles += [hub.on_event("a", {"n": n}) for n in range(1, 120)]
        assert hub.stats.waiting == 120
        opened.set()
        assert hub.flush()
        assert [event["data"]["n"] for event in server.events] == list(range(120))
        assert [len(asked.events) for asked in server.asked] == [1, 50, 50, 19]
        assert all(handle.result(0).type == "a" for handle in handles)
        assert hub.stats == (0, 0, 120, 0, 0)


async def test_events_are_sent_by_a_task_in_batches_and_in_order() -> None:
    opened, step = gate()
    with answering(step, 202) as server:
        async with AsyncPosthouse(server.url, "k", batch_events=50) as hub:
            handles = [hub.on_event("a", {"n": 0})]
            await asyncio.to_thread(server.wait_for, 1)
            handles += [hub.on_event("a", {"n": n}) for n in range(1, 120)]
            opened.set()
            assert [(await handle).type for handle in handles] == ["a"] * 120
            assert [event["data"]["n"] for event in server.events] == list(range(120))
            assert [len(asked.events) for asked in server.asked] == [1, 50, 50, 19]
            assert hub.stats == (0, 0, 120, 0, 0)


def test_what_fails_for_a_while_is_sent_once_it_does_not() -> None:
    faults = (DROP, CUT, problem(503, "overloaded", retry_after="0"), 502)
    with answering(*faults, 202) as server, Posthouse(server.url, "k") as hub:
        assert hub.on_event("a", 1).result(PATIENCE_SECONDS).type == "a"
        assert len({key for asked in server.asked for key in asked.keys}) == 1
        assert len(server.asked) == 5


async def test_what_fails_for_a_while_is_sent_by_a_task_once_it_does_not() -> None:
    faults = (DROP, CUT, problem(503, "overloaded", retry_after="0"), 502)
    with answering(*faults, 202) as server:
        async with AsyncPosthouse(server.url, "k") as hub:
            assert (await hub.on_event("a", 1)).type == "a"
            assert len({key for asked in server.asked for key in asked.keys}) == 1


def refusing(asked: Any) -> Any:
    """A server that has the type `known` only, and a schema that wants `n`."""
    for index, event in enumerate(asked.events):
        place = f"[{index}]." if asked.path.endswith("/batch") else ""
        if event["type"] != "known":
            return problem(404, "event_type_not_found", f"there is no event type {event['type']}")
        if "n" not in event["data"]:
            return problem(422, "schema_mismatch", "n is missing", path=f"{place}data")
    return 202


def test_what_is_refused_takes_nothing_else_with_it(caplog: pytest.LogCaptureFixture) -> None:
    opened, step = gate()
    failures: list[Failure] = []
    with answering(step, refusing) as server, Posthouse(server.url, "k", on_failed=failures.append) as hub:
        hub.on_event("known", {"n": 0})
        server.wait_for(1)
        good = [hub.on_event("known", {"n": n}) for n in range(5)]
        bad = hub.on_event("known", {})
        unknown = hub.on_event("unknown", {"n": 1}, subject="shop:42")
        good += [hub.on_event("known", {"n": n}) for n in range(5, 9)]
        opened.set()
        assert hub.flush()
        assert all(handle.result(0) for handle in good)
        with pytest.raises(InvalidEventError, match="n is missing"):
            bad.result(0)
        with pytest.raises(NotFoundError, match="there is no event type unknown"):
            unknown.result(0)
    assert {(failure.type, failure.event.subject if failure.event else "") for failure in failures} == {
        ("known", None), ("unknown", "shop:42"),
    }  # fmt: skip
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert any(text.startswith("1 not published: unknown: there is no event type unknown") for text in told)


def test_an_on_failed_that_raises_is_logged_and_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def on_failed(failure: Failure) -> None:
        raise RuntimeError("oh")

    with answering(refusing) as server, Posthouse(server.url, "k", on_failed=on_failed) as hub:
        handle = hub.on_event("unknown", 1)
        assert isinstance(handle.exception(PATIENCE_SECONDS), NotFoundError)
        assert hub.on_event("known", {"n": 1}).result(PATIENCE_SECONDS)
    assert "on_failed raised" in caplog.text


def test_on_failed_may_publish() -> None:
    told: list[Handle] = []
    with answering(refusing) as server:
        hub = Posthouse(server.url, "k", on_failed=lambda failure: told.append(hub.on_event("known", {"n": 1})))
        assert hub.on_event("unknown", 1).exception(PATIENCE_SECONDS)
        assert told[0].result(PATIENCE_SECONDS)
        hub.close()


def test_what_cannot_be_sent_for_long_is_given_up() -> None:
    with answering(503) as server, Posthouse(server.url, "k", keep_seconds=0.3) as hub:
        with pytest.raises(UnavailableError, match="it may be published"):
            hub.on_event("a", 1).result(PATIENCE_SECONDS)
        assert hub.stats.failed == 1


def test_a_fault_of_our_own_stops_nothing(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    faults = iter([ZeroDivisionError("oh")])
    plain = Connections.exchange

    def faulty(self: Connections, call: Any, *, timeout: float) -> Any:
        for fault in faults:
            raise fault
        return plain(self, call, timeout=timeout)

    monkeypatch.setattr(Connections, "exchange", faulty)
    with answering() as server, Posthouse(server.url, "k") as hub:
        assert hub.on_event("a", 1).result(PATIENCE_SECONDS)
    assert "sending failed in an unexpected way" in caplog.text


async def test_a_fault_of_our_own_stops_nothing_on_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    faults = iter([ZeroDivisionError("oh")])
    plain = Streams.exchange

    async def faulty(self: Streams, call: Any, *, timeout: float) -> Any:
        for fault in faults:
            raise fault
        return await plain(self, call, timeout=timeout)

    monkeypatch.setattr(Streams, "exchange", faulty)
    with answering() as server:
        async with AsyncPosthouse(server.url, "k") as hub:
            assert await hub.on_event("a", 1)


def test_a_handle_cannot_be_cancelled() -> None:
    with answering() as server, Posthouse(server.url, "k") as hub:
        handle = hub.on_event("a", 1)
        assert not handle.cancel()
        assert handle.result(PATIENCE_SECONDS)


async def test_who_stops_waiting_does_not_stop_the_event() -> None:
    opened, step = gate()
    with answering(step) as server:
        async with AsyncPosthouse(server.url, "k") as hub:
            handle = hub.on_event("a", 1)

            async def wait() -> None:
                await handle

            waiting = asyncio.create_task(wait())
            await asyncio.to_thread(server.wait_for, 1)
            waiting.cancel()
            await asyncio.wait([waiting])
            opened.set()
            assert (await handle).type == "a"


async def test_a_hub_of_threads_may_be_awaited() -> None:
    with answering() as server, Posthouse(server.url, "k") as hub:
        assert (await hub.on_event("a", 1)).type == "a"


# The limit


def full(server: Answering, **options: Any) -> Posthouse:
    """A hub with a buffer of two events, which are there: one under way, one waiting."""
    hub = Posthouse(server.url, "k", buffer_events=2, **options)
    hub.on_event("a", 0)
    server.wait_for(1)
    hub.on_event("a", 1)
    return hub


def test_a_full_buffer_raises() -> None:
    opened, step = gate()
    with answering(step) as server, full(server, when_full="raise") as hub:
        with pytest.raises(BufferFullError, match="2 events wait"):
            hub.on_event("a", 2)
        opened.set()
        assert hub.flush()
        assert [event["data"] for event in server.events] == [0, 1]


def test_a_full_buffer_drops_counts_and_tells(caplog: pytest.LogCaptureFixture) -> None:
    opened, step = gate()
    failures: list[Failure] = []
    with answering(step) as server, full(server, when_full="drop", on_failed=failures.append) as hub:
        handles = [hub.on_event("b", n) for n in range(3)]
        assert all(isinstance(handle.exception(0), BufferFullError) for handle in handles)
        assert (hub.stats.dropped, [failure.type for failure in failures]) == (3, ["b"] * 3)
        opened.set()
    assert [event["data"] for event in server.events] == [0, 1]
    assert caplog.text.count("dropped an event") == 1, "not once for each"


def test_a_full_buffer_blocks_until_there_is_room() -> None:
    opened, step = gate()
    with answering(step) as server, full(server, block_seconds=PATIENCE_SECONDS) as hub:
        blocked = threading.Thread(target=hub.on_event, args=("a", 2))
        blocked.start()
        opened.set()
        blocked.join(PATIENCE_SECONDS)
        assert not blocked.is_alive()
        assert hub.flush()
        assert [event["data"] for event in server.events] == [0, 1, 2]


def test_a_full_buffer_does_not_block_for_ever() -> None:
    opened, step = gate()
    with answering(step) as server, full(server, block_seconds=0.05) as hub:
        with pytest.raises(BufferFullError):
            hub.on_event("a", 2)
        opened.set()


def test_bytes_are_bounded_too() -> None:
    opened, step = gate()
    with answering(step) as server, Posthouse(server.url, "k", buffer_bytes=10_000, when_full="raise") as hub:
        hub.on_event("a", "x" * 5_000)
        with pytest.raises(BufferFullError):
            hub.on_event("a", "x" * 5_000)
        opened.set()


async def test_a_full_buffer_of_a_loop_raises_or_drops() -> None:
    opened, step = gate()
    with answering(step) as server:
        async with (
            AsyncPosthouse(server.url, "k", buffer_events=1) as raises,
            AsyncPosthouse(server.url, "k", buffer_events=1, when_full="drop") as drops,
        ):
            raises.on_event("a", 1)
            with pytest.raises(BufferFullError):
                raises.on_event("a", 2)
            drops.on_event("a", 1)
            assert isinstance(drops.on_event("a", 2).exception(0), BufferFullError)
            opened.set()


# The end


def test_closing_sends_what_waits_and_tells_what_it_cannot() -> None:
    failures: list[Failure] = []
    with answering(202, HANG) as server:
        hub = Posthouse(server.url, "k", on_failed=failures.append)
        first = hub.on_event("a", 1)
        assert first.result(PATIENCE_SECONDS)
        under_way = hub.on_event("a", 2)
        server.wait_for(2)
        waits = hub.on_event("a", 3)
        assert not hub.flush(0.05)
        hub.close(timeout=0.1)
        for handle in (under_way, waits):
            error = handle.exception(0)
            assert isinstance(error, UnavailableError)
            assert error.in_doubt
            assert "the hub was closed" in str(error)
        assert len(failures) == 2


def test_closing_does_not_wait_for_the_next_try() -> None:
    with answering(problem(503, "overloaded", retry_after="600"), 202) as server:
        hub = Posthouse(server.url, "k")
        handle = hub.on_event("a", 1)
        server.wait_for(1)
        while hub._background._under_way is not None:
            pass
        hub.close(timeout=PATIENCE_SECONDS)
        assert handle.result(0)


async def test_closing_a_hub_of_a_loop() -> None:
    with answering(HANG) as server:
        hub = AsyncPosthouse(server.url, "k")
        handle = hub.on_event("a", 1)
        await asyncio.to_thread(server.wait_for, 1)
        assert not await hub.flush(0.05)
        await hub.close(timeout=0.1)
        assert isinstance(handle.exception(0), UnavailableError)


def test_the_next_loop_sends_what_one_left_behind() -> None:
    with answering(HANG, 202) as server:
        hub = AsyncPosthouse(server.url, "k")

        async def leave() -> Handle:
            handle = hub.on_event("a", 1)
            await asyncio.to_thread(server.wait_for, 1)
            return handle

        handle = asyncio.run(leave())

        async def go_on() -> None:
            hub.on_event("a", 2)
            await hub.close()

        asyncio.run(go_on())
        assert handle.result(0)
        keys = [key for asked in server.asked for key in asked.keys]
        assert len(keys) == 3
        assert keys[0] == keys[1], "the same event, with the same key"


def test_without_a_loop_it_says_so() -> None:
    with pytest.raises(RuntimeError, match="needs a running event loop; `Posthouse` does without"):
        AsyncPosthouse("http://127.0.0.1:9", "k").on_event("a", 1)


async def test_other_threads_may_hand_events_to_a_loop() -> None:
    with answering() as server:
        async with AsyncPosthouse(server.url, "k") as hub:
            handle = await asyncio.to_thread(hub.on_event, "a", 1)
            assert (await handle).type == "a"


def child(server: Answering, program: str, *, code: int = 0) -> str:
    """Run a program in a process of its own; what it said."""
    environment = os.environ | {"POSTHOUSE_URL": server.url, "POSTHOUSE_API_KEY": "k"}
    told = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS * 2
    )
    assert told.returncode == code, told.stderr
    return told.stdout + told.stderr


def numbers(server: Answering) -> list[Any]:
    return [event["data"] for event in server.events]


def test_a_process_that_exits_sends_what_waits() -> None:
    with answering(problem(503, "overloaded", retry_after="600"), 202) as server:
        child(
            server, "from posthouse_sdk import Posthouse\nhub = Posthouse()\nfor n in range(50): hub.on_event('a', n)"
        )
        assert sorted(set(numbers(server))) == list(range(50))


def test_a_process_that_exits_by_an_error_sends_what_waits() -> None:
    with answering() as server:
        child(server, "from posthouse_sdk import Posthouse\nPosthouse().on_event('a', 1)\nraise SystemExit(3)", code=3)
        assert numbers(server) == [1]


def test_an_exit_takes_no_longer_than_it_may_and_tells_what_was_not_sent() -> None:
    program = (
        "from posthouse_sdk import Posthouse\n"
        "hub = Posthouse(exit_seconds=0.2, on_failed=lambda failure: print('FAILED', failure.type, failure.event.data))\n"
        "hub.on_event('a', 7)"
    )
    with answering(HANG) as server:
        told = child(server, program)
    assert "FAILED a 7" in told
    assert "1 not published: a: not taken" in told, "and without any logging set up"


def test_a_loop_that_ended_early_sends_what_waits_at_exit() -> None:
    program = (
        "import asyncio\nfrom posthouse_sdk import AsyncPosthouse\nhub = AsyncPosthouse()\n"
        "async def main():\n    for n in range(5): hub.on_event('a', n)\nasyncio.run(main())"
    )
    with answering() as server:
        child(server, program)
        assert sorted(set(numbers(server))) == list(range(5))


FORGOTTEN = """
import asyncio, gc, os, sys, weakref
from posthouse_sdk import AsyncPosthouse
async def main():
    hub = AsyncPosthouse()
    hub.on_event("a", 1)
    return weakref.ref(hub._background)
left = asyncio.run(main())
gc.collect()
"""


def test_what_a_loop_left_is_sent_at_exit_though_nobody_remembers_the_hub() -> None:
    with answering() as server:
        child(server, FORGOTTEN)
        assert set(numbers(server)) == {1}


def test_a_fork_forgets_what_nobody_remembers() -> None:
    program = (
        "child = os.fork()\n"
        "if child == 0:\n    gc.collect()\n    assert left() is None\n    sys.exit(0)\n"
        "assert os.waitpid(child, 0)[1] == 0\nassert left() is not None\n"
    )
    with answering() as server:
        child(server, FORGOTTEN + program)
        assert len({key for asked in server.asked for key in asked.keys}) == 1


@pytest.mark.parametrize("step", [202, problem(404, "event_type_not_found"), HANG])
def test_a_hub_of_which_nothing_is_left_may_be_forgotten(step: Any) -> None:
    """Its event was published, or refused, or given up by `close`."""

    async def use(url: str) -> weakref.ref[object]:
        hub = AsyncPosthouse(url, "k")
        hub.on_event("a", 1)
        if step == HANG:
            await hub.close(0.05)
        else:
            assert await hub.flush()
            await hub._streams.close()
        return weakref.ref(hub._background)

    with answering(step) as server:
        left = asyncio.run(use(server.url))
        gc.collect()
        assert left() is None


def test_what_is_first_submitted_as_the_process_exits_is_sent() -> None:
    """By a handler of the application, in a hub that is there or that it makes."""
    program = (
        "import atexit\nfrom posthouse_sdk import Posthouse\nhub = Posthouse()\n"
        "atexit.register(lambda: hub.on_event('a', 1))\n"
        "atexit.register(lambda: Posthouse().on_event('a', 2))\n"
    )
    with answering() as server:
        child(server, program)
        assert sorted(numbers(server)) == [1, 2]


def test_a_hub_that_cannot_end_well_keeps_no_other_from_it() -> None:
    program = (
        "from posthouse_sdk import Posthouse\nhubs = [Posthouse() for _ in range(2)]\n"
        "class Faulty(type(hubs[0]._background)):\n    def at_exit(self): raise ZeroDivisionError\n"
        "faulty = Posthouse()\nfaulty._background.__class__ = Faulty\n"
        "for hub in hubs: hub.on_event('a', 1)\n"
    )
    with answering(problem(503, "overloaded", retry_after="600"), 202) as server:
        assert "ZeroDivisionError" in child(server, program)
        assert len({key for asked in server.asked for key in asked.keys}) == 2


FORKS = """
import os, sys
from posthouse_sdk import Posthouse
hub = Posthouse()
hub.publish("a", "before")
waits = hub.on_event("a", "parent")
child = os.fork()
if child == 0:
    hub.on_event("a", "child")
    assert hub.stats.waiting <= 1  # its own, if it is not on its way yet; not the parent's
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
waits.result(30)
"""


def test_a_fork_sends_its_own_and_nothing_twice() -> None:
    opened, step = gate()

    def slow(asked: Any) -> Any:
        """The parent's event is on its way while it forks."""
        if asked.events[0]["data"] == "parent":
            return step(asked)
        opened.set()
        return 202

    with answering(202, slow) as server:
        child(server, FORKS)
        assert sorted(numbers(server)) == ["before", "child", "parent"]
        of_child = next(asked for asked in server.asked if asked.events[0]["data"] == "child")
        assert of_child.connection not in {asked.connection for asked in server.asked if asked is not of_child}


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_child_of_multiprocessing_sends_what_waits(method: str, tmp_path: Any) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import multiprocessing\nfrom posthouse_sdk import Posthouse\nhub = Posthouse()\n"
        "def work(n): hub.on_event('a', n)\n"
        "if __name__ == '__main__':\n"
        f"    context = multiprocessing.get_context('{method}')\n"
        "    children = [context.Process(target=work, args=(n,)) for n in range(2)]\n"
        "    for child in children: child.start()\n"
        "    for child in children: child.join()\n"
        "    hub.on_event('a', 2)\n"
    )
    with answering() as server:
        child(server, f"import runpy; runpy.run_path({str(program)!r}, run_name='__main__')")
        assert sorted(numbers(server)) == [0, 1, 2]


def test_a_signal_that_ends_the_program_by_an_exception_sends_what_waits() -> None:
    program = (
        "import signal, sys, time\nfrom posthouse_sdk import Posthouse\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n"
        "Posthouse().on_event('a', 1)\nprint('ready', flush=True)\ntime.sleep(60)"
    )
    with answering(problem(503, "overloaded", retry_after="600"), 202) as server:
        environment = os.environ | {"POSTHOUSE_URL": server.url, "POSTHOUSE_API_KEY": "k"}
        with subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            server.wait_for(1)
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_SECONDS) == 0
        assert numbers(server) == [1, 1]


# Many at once


def test_many_threads() -> None:
    with answering() as server, Posthouse(server.url, "k", buffer_events=100, block_seconds=PATIENCE_SECONDS) as hub:
        threads = [
            threading.Thread(target=lambda place=place: [hub.on_event("a", [place, n]) for n in range(500)])
            for place in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_SECONDS)
        assert hub.flush()
        for place in range(6):
            assert [n for where, n in numbers(server) if where == place] == list(range(500))


async def test_events_and_their_batches_may_be_of_one_loop() -> None:
    with answering() as server:
        async with AsyncPosthouse(server.url, "k") as hub:
            calls: list[Awaitable[Any]] = [hub.publish("a", n) for n in range(20)]
            calls += [hub.on_event("a", n) for n in range(20)]
            calls += [hub.publish_many([Event("a", n) for n in range(20)])]
            await asyncio.gather(*calls)
        assert sorted(numbers(server)) == sorted(list(range(20)) * 3)
