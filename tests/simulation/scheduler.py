"""Virtual time, and an order of things that a seed decides.

The loop's clock stands still while anything can run, and otherwise jumps to the next timer. What is ready at the same moment
runs in an order drawn from the seed: whatever the engine relies on must not be the order in which tasks happen to wake. What
belongs to a `Machine` runs only while that machine does: one that is stalled catches up afterwards, one that is dead never runs
again.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import random
import signal
from collections import deque
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final

TURNS_NOW_MAX: Final = 20_000  # of the loop, in one moment
TURNS_MAX: Final = 2_000_000  # in one history, which takes some 25,000
CPU_SECONDS_MAX: Final = 120.0  # of one history, which takes one or two

_machine: contextvars.ContextVar[Machine | None] = contextvars.ContextVar("machine", default=None)


class Machine:
    """Where one process runs."""

    def __init__(self) -> None:
        self.dead = False
        self.stalled = False
        self.parked: list[asyncio.Handle] = []
        self.buried: list[asyncio.Handle] = []  # kept: a task that is freed runs its `finally`, and the dead do nothing
        self._context = contextvars.copy_context()
        self._context.run(_machine.set, self)

    def run(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Begin a task of this process; all that it begins is the process's, too."""
        return asyncio.get_running_loop().create_task(work, context=self._context.copy())

    def stall(self) -> None:
        """Stop, with everything as it is."""
        self.stalled = True

    def resume(self) -> None:
        """Go on, with all that should have happened meanwhile happening now."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimLoop)
        self.stalled = False
        parked, self.parked = self.parked, []
        loop.run_soon(parked)


def elsewhere(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Begin a task of no machine: in the database, or at a target. It goes on whatever becomes of who asked for it."""
    context = contextvars.copy_context()
    context.run(_machine.set, None)
    return asyncio.get_running_loop().create_task(work, context=context)


def heard(task: asyncio.Task[Any]) -> None:
    """For a task whose asker may be gone: how it ended is nobody's concern."""
    if not task.cancelled():
        task.exception()


class Endless(KeyboardInterrupt):
    """Something never gives back the loop. Of those exceptions that asyncio lets through a task."""


@contextmanager
def bounded(cpu_seconds: float = CPU_SECONDS_MAX) -> Iterator[None]:
    """What takes more of this process's own time, however busy the machine is, raises Endless. In the main thread only."""

    def end(*_: object) -> None:
        raise Endless(f"something takes more than {cpu_seconds:g} s of the processor, and does not wait for anything")

    before = signal.signal(signal.SIGVTALRM, end)
    signal.setitimer(signal.ITIMER_VIRTUAL, cpu_seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
        signal.signal(signal.SIGVTALRM, before)


class SimTask(asyncio.Task[Any]):
    """A set of tasks is ordered by their numbers, and not by where in memory they happen to be."""

    def __init__(self, work: Coroutine[Any, Any, Any], number: int, **options: Any) -> None:
        self._number = number
        super().__init__(work, **options)

    def __hash__(self) -> int:
        return self._number


class SimLoop(asyncio.BaseEventLoop):
    """An event loop without a selector: nothing in it waits for the world outside. `order` draws the order of what is ready;
    without it, that is first come, first served. `turns` counts how often it went round."""

    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]
    _stopping: bool
    _timer_cancelled_count: int

    def __init__(self, order: random.Random | None = None) -> None:
        super().__init__()
        self._order = order
        self._seconds = 0.0
        self._turns_now = 0  # in this moment
        self._tasks = 0
        self.turns = 0

    def create_task(self, coro: Any, *, name: Any = None, context: Any = None) -> SimTask:
        self._tasks += 1
        return SimTask(coro, self._tasks, loop=self, name=name, context=context)

    def time(self) -> float:
        return self._seconds

    def run_soon(self, handles: list[asyncio.Handle]) -> None:
        """What was kept back may run."""
        self._ready.extend(handles)

    def _run_once(self) -> None:
        ready, timers = self._ready, self._scheduled
        while timers and (
            timers[0]._cancelled or (not ready and not self._stopping) or timers[0].when() <= self._seconds
        ):
            timer = heapq.heappop(timers)
            timer._scheduled = False  # type: ignore[attr-defined]
            if timer._cancelled:
                self._timer_cancelled_count -= 1
                continue
            if timer.when() > self._seconds:
                self._seconds = timer.when()
                self._turns_now = 0
            ready.append(timer)
        if not ready and not self._stopping:
            raise RuntimeError("every task waits for another: nothing will ever happen again")
        self.turns += 1
        self._turns_now += 1
        if self._turns_now > TURNS_NOW_MAX:
            raise RuntimeError("something goes round and round, and time does not pass")
        if self.turns > TURNS_MAX:
            raise RuntimeError("there is no end of what is to be done")
        turn = list(ready)
        ready.clear()
        if self._order is not None and len(turn) > 1:
            self._order.shuffle(turn)
        for handle in turn:
            if handle._cancelled:
                continue
            machine = handle._context.get(_machine)  # type: ignore[attr-defined]
            if machine is None:
                handle._run()
            elif machine.dead:
                machine.buried.append(handle)
            elif machine.stalled:
                machine.parked.append(handle)
            else:
                handle._run()

    def _process_events(self, event_list: object) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody calls from another thread."""
