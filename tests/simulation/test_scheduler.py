"""What makes a history depend on its seed alone."""

from __future__ import annotations

import asyncio
import gc
import itertools
import random

import pytest
from tests.simulation import scheduler
from tests.simulation.history import undisturbed
from tests.simulation.scheduler import Endless, Machine, SimLoop, bounded


async def _wait() -> None:
    await asyncio.Event().wait()


def test_a_set_of_tasks_is_in_an_order_that_does_not_depend_on_where_they_are() -> None:
    async def order(gaps: random.Random) -> list[str]:
        kept, tasks = [], set()
        for n in range(20):
            kept.append([_wait() for _ in range(gaps.randrange(5))])
            tasks.add(asyncio.get_running_loop().create_task(_wait(), name=str(n)))
        for work in (work for works in kept for work in works):
            work.close()
        found = [task.get_name() for task in tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return found

    orders = []
    for seed in range(3):
        loop = SimLoop()
        orders.append(loop.run_until_complete(order(random.Random(seed))))
        loop.close()
    assert orders[0] == orders[1] == orders[2]


def test_the_dead_do_nothing_not_even_at_last() -> None:
    loop = SimLoop()
    done: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(1.0)
        finally:
            done.append("its end")

    async def lived() -> Machine:
        machine = Machine()
        machine.run(work())
        await asyncio.sleep(0.5)
        machine.dead = True
        await asyncio.sleep(1.0)
        gc.collect()
        return machine

    machine = loop.run_until_complete(lived())
    assert not done
    assert machine.buried
    loop.close()


def test_what_is_left_behind_is_freed_after_a_history_and_not_in_it() -> None:
    freed: list[str] = []

    class Left:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            freed.append("left")

    with undisturbed():
        Left()
        for _ in range(10_000):
            [[]].append([])
        assert not freed
    assert freed


async def _turn_forever(seconds: float) -> None:
    for _ in itertools.count():
        await asyncio.sleep(seconds)


async def _spin() -> None:
    while True:
        pass


@pytest.mark.parametrize(("seconds", "said"), [(0.0, "time does not pass"), (0.1, "no end of what is to be done")])
def test_what_never_ends_is_found_by_counting(monkeypatch: pytest.MonkeyPatch, seconds: float, said: str) -> None:
    monkeypatch.setattr(scheduler, "TURNS_NOW_MAX", 1_000)
    monkeypatch.setattr(scheduler, "TURNS_MAX", 5_000)
    loop = SimLoop()
    with pytest.raises(RuntimeError, match=said):
        loop.run_until_complete(_turn_forever(seconds))
    loop.close()


def test_what_never_gives_back_the_loop_is_ended() -> None:
    loop = SimLoop()
    with pytest.raises(Endless, match="of the processor"), bounded(cpu_seconds=0.1):
        loop.run_until_complete(_spin())
    loop.close()
