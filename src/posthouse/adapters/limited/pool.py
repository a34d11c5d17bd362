"""A few limited processes, and who waits for one of them."""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Final

import msgspec
import structlog

from posthouse.adapters.limited.frames import Done, Trouble, Troubled
from posthouse.adapters.limited.worker import Made, Worker
from posthouse.domain.restart import restart_delay

log = structlog.get_logger()

START_SECONDS_MAX: Final = 30.0
OWNER_SHARE: Final = 4  # of all that waits, one owner's may be a quarter


class PoolLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What a pool and each call may take. Times are wall time, and the deadline of a call counts from when a process has it."""

    workers: int
    memory_bytes: int  # of one process, beyond what it takes by itself; 0: as much as there is
    seconds: float  # for one call
    reply_bytes: int
    waiting_calls: int
    waiting_bytes: int
    waiting_seconds: float  # until a call is begun
    idle_seconds: float = 60.0  # after which a process is ended


class Why(StrEnum):
    """Why a call has no reply."""

    BUSY = "busy"  # too much waits, or it waited too long: it was not begun
    UNAVAILABLE = "unavailable"  # the pool is closed: it was not begun
    TOO_LONG = "too_long"
    MEMORY = "memory"
    TOO_LARGE = "too_large"  # its reply
    RAISED = "raised"  # the worker's code raised; it goes on
    DIED = "died"  # the process ended, and it is not known of what

    @property
    def begun(self) -> bool:
        """Whether a process had it: then something of it may have been done."""
        return self not in (Why.BUSY, Why.UNAVAILABLE)


class Reply(msgspec.Struct, frozen=True):
    data: bytes


class NoReply(msgspec.Struct, frozen=True):
    """`detail` is for a person."""

    why: Why
    detail: str


Outcome = Reply | NoReply


class _Call:
    __slots__ = ("done", "expiry", "owner", "request", "seconds")

    def __init__(self, owner: str, request: bytes, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self.owner, self.request, self.seconds = owner, request, seconds
        self.done: asyncio.Future[Outcome] = loop.create_future()
        self.expiry: asyncio.TimerHandle | None = None


class Pool:
    """Asks limited processes, one call each at a time, and of one owner one call at a time over all of them.

    Processes are started as there is something to do, up to `workers`, and ended when they were idle for a while. A call that
    exceeds a limit takes its process with it, and nothing else. Who waits is bounded: beyond it, calls are refused at once;
    owners take turns. The processes end with ours, have none of our files, and of our environment only what they are given.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str] = (),
        *,
        limits: PoolLimits,
        environment: Mapping[str, str] | None = None,
        niceness: int = 5,
        quiet: bool = True,
        said: Callable[[int, str], None] | None = None,
    ) -> None:
        """`module` is the main of the processes: it calls `serve`, whose `prepare` gets `arguments`. `environment` is all that
        they have of one. `quiet`: what they write once they are ready goes nowhere, else to our standard error; `said`, if
        there is one, is told each line, with the id of its process."""
        self.limits = limits
        self._made = Made(
            module,
            arguments,
            environment or {},
            limits.memory_bytes,
            limits.reply_bytes,
            niceness=niceness,
            quiet=quiet and said is None,
            said=said,
        )
        self._waiting: dict[str, deque[_Call]] = {}
        self._turns: OrderedDict[str, None] = OrderedDict()  # owners that wait, and of whom nothing runs
        self._running: set[str] = set()
        self._waiting_calls = 0
        self._waiting_bytes = 0
        self._idle: list[asyncio.Future[None]] = []
        self._woken = 0  # of those that were idle, who have not looked yet
        self._starting = 0
        self._workers: dict[asyncio.Task[None], Worker | None] = {}
        self._failures = 0  # of processes in a row, to start or to stay
        self._start_later: asyncio.TimerHandle | None = None
        self._closed = False
        self.calls = 0
        self.refused = 0
        self.ended = 0  # processes that a call took with it

    @property
    def waiting(self) -> int:
        """Calls that no process has yet."""
        return self._waiting_calls

    @property
    def running(self) -> int:
        """Calls that a process has."""
        return len(self._running)

    @property
    def failures(self) -> int:
        """Processes in a row that did not start, or did not stay though nothing was asked of them."""
        return self._failures

    @property
    def processes(self) -> int:
        """Processes, also those that are just starting or ending."""
        return len(self._workers)

    async def call(self, owner: str, request: bytes, *, seconds: float | None = None) -> Outcome:
        """The reply to a request, or why there is none. `seconds`: a shorter deadline than the pool's own.

        A caller that is cancelled takes back what was not begun; what was is finished for nobody.
        """
        self.calls += 1
        refused = self._refusal(owner, len(request))
        if refused is not None:
            self.refused += 1
            return refused
        call = _Call(owner, request, min(seconds or self.limits.seconds, self.limits.seconds))
        self._queue(call)
        self._see_to_workers()
        try:
            return await call.done
        finally:
            self._take_back(call)

    def _refusal(self, owner: str, size: int) -> NoReply | None:
        limits = self.limits
        if self._closed:
            return NoReply(Why.UNAVAILABLE, "the limited processes are shut down")
        if self._waiting_calls >= limits.waiting_calls or self._waiting_bytes + size > limits.waiting_bytes:
            return NoReply(Why.BUSY, "too much waits for the limited processes")
        own = self._waiting.get(owner)
        if own is not None and (
            len(own) >= max(limits.waiting_calls // OWNER_SHARE, 1)
            or sum(len(call.request) for call in own) + size > limits.waiting_bytes // OWNER_SHARE
        ):
            return NoReply(Why.BUSY, "too much of the same owner waits for the limited processes")
        return None

    # Who waits

    def _queue(self, call: _Call) -> None:
        self._waiting.setdefault(call.owner, deque()).append(call)
        self._waiting_calls += 1
        self._waiting_bytes += len(call.request)
        if call.owner not in self._running:
            self._turns.setdefault(call.owner)
        loop = asyncio.get_running_loop()
        call.expiry = loop.call_later(self.limits.waiting_seconds, self._expire, call)

    def _take(self) -> _Call | None:
        """The first call of the owner whose turn it is; from now on it runs."""
        while self._turns:
            owner = next(iter(self._turns))
            call = self._waiting[owner][0]
            self._leave(call)
            if not call.done.done():  # its caller is still there
                self._turns.pop(owner, None)
                self._running.add(owner)
                return call
        return None

    def _leave(self, call: _Call) -> None:
        """It waits no longer."""
        own = self._waiting[call.owner]
        own.remove(call)
        if not own:
            del self._waiting[call.owner]
            self._turns.pop(call.owner, None)
        self._waiting_calls -= 1
        self._waiting_bytes -= len(call.request)
        if call.expiry is not None:
            call.expiry.cancel()
            call.expiry = None

    def _take_back(self, call: _Call) -> None:
        if call.expiry is not None:
            self._leave(call)

    def _expire(self, call: _Call) -> None:
        self._leave(call)
        self.refused += 1
        seconds = self.limits.waiting_seconds
        _answer(call, NoReply(Why.BUSY, f"no limited process was free within {seconds:g} s"))

    def _ran(self, call: _Call) -> None:
        self._running.discard(call.owner)
        if call.owner in self._waiting:
            self._turns.setdefault(call.owner)

    # Processes

    def _see_to_workers(self) -> None:
        """Let somebody take what waits: who is idle, or a new process, unless the last ones failed a moment ago."""
        wanted = len(self._turns) - self._woken - self._starting
        while self._idle and wanted > 0:
            self._idle.pop().set_result(None)
            self._woken += 1
            wanted -= 1
        if self._start_later is not None or self._closed:
            return
        for _ in range(min(wanted, self.limits.workers - len(self._workers))):
            self._starting += 1
            self._workers[asyncio.get_running_loop().create_task(self._work())] = None

    async def _work(self) -> None:
        """A process, from its start to its end."""
        task = asyncio.current_task()
        assert task is not None
        try:
            worker = self._workers[task] = Worker(self._made)
        except OSError as error:
            self._starting -= 1
            self._failed("limited.not_started", reason=str(error))
            self._over(task)
            return
        call: _Call | None = None
        why: NoReply | None = None
        try:
            try:
                ready = await worker.ready(seconds=START_SECONDS_MAX)
            finally:
                self._starting -= 1
            if not ready:
                self._failed("limited.not_ready")
                return
            while (call := await self._next(worker)) is not None:
                why = await self._run(worker, call)
                if why is not None:
                    break
                self._ran(call)
                call = None
        finally:
            status = await worker.end()
            if call is not None:
                self.ended += 1
                _answer(call, self._reason(why, status))
                self._ran(call)
            self._over(task)

    def _over(self, task: asyncio.Task[None]) -> None:
        del self._workers[task]
        self._see_to_workers()

    async def _next(self, worker: Worker) -> _Call | None:
        """The next call. None: the process is to end, or has."""
        deadline = asyncio.get_running_loop().time() + self.limits.idle_seconds
        while not self._closed:
            if worker.gone.done():
                self._failed("limited.died")
                return None
            call = self._take()
            if call is not None:
                return call
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                return None
            woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._idle.append(woken)
            await asyncio.wait({woken, worker.gone}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if woken.done():
                self._woken -= 1
            else:
                self._idle.remove(woken)
        return None

    async def _run(self, worker: Worker, call: _Call) -> NoReply | None:
        """Answer the call, and None; or what it did to the process, which is to end."""
        said = await worker.ask(call.request, seconds=call.seconds)
        if said is not None:
            self._failures = 0
        match said:
            case Done(reply):
                _answer(call, Reply(reply))
                return None
            case Troubled(Trouble.TOO_LARGE, _):
                _answer(call, NoReply(Why.TOO_LARGE, f"the reply is over {self.limits.reply_bytes} bytes"))
                return None
            case Troubled(Trouble.RAISED, detail):
                _answer(call, NoReply(Why.RAISED, detail))
                return None
            case Troubled(Trouble.MEMORY, _):
                mebibytes = self.limits.memory_bytes // (1024 * 1024)
                return NoReply(Why.MEMORY, f"it needs more than {mebibytes} MiB of memory")
            case _ if not worker.gone.done():
                return NoReply(Why.TOO_LONG, f"it was not done within {call.seconds:g} s")
            case _:
                return NoReply(Why.DIED, "")

    def _reason(self, why: NoReply | None, status: str) -> NoReply:
        if self._closed:
            return NoReply(Why.DIED, "the limited processes are shut down")
        if why is not None and why.why is not Why.DIED:
            return why
        return NoReply(Why.DIED, f"its process ended ({status})")

    def _failed(self, told: str, **facts: str) -> None:
        """A process did not start, or did not stay though nothing was asked of it: the next one has to wait."""
        if self._closed:
            return
        log.warning(told, module=self._made.module, **facts)
        self._failures += 1
        if self._start_later is None:
            delay = restart_delay(self._failures, draw=random.random())  # noqa: S311 - spreads, and guards nothing
            self._start_later = asyncio.get_running_loop().call_later(delay, self._start_again)

    def _start_again(self) -> None:
        self._start_later = None
        self._see_to_workers()

    async def close(self) -> None:
        """Kill the processes. Whoever waits is told so."""
        self._closed = True
        if self._start_later is not None:
            self._start_later.cancel()
            self._start_later = None
        for call in [call for own in self._waiting.values() for call in own]:
            self._leave(call)
            _answer(call, NoReply(Why.UNAVAILABLE, "the limited processes are shut down"))
        for woken in self._idle:
            woken.set_result(None)
            self._woken += 1
        self._idle.clear()
        for worker in self._workers.values():
            if worker is not None:
                worker.kill()
        await asyncio.gather(*self._workers, return_exceptions=True)


def _answer(call: _Call, outcome: Outcome) -> None:
    if not call.done.done():
        call.done.set_result(outcome)
