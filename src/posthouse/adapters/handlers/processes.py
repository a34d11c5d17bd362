"""`ports.handlers.Handlers` over a few processes, which import the modules that hold the handlers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import structlog

from posthouse.adapters.handlers.speech import (
    Asking,
    Broken,
    Called,
    Failed,
    Loaded,
    Who,
    decode_reply,
    encode,
)
from posthouse.adapters.limited.pool import NoReply, Pool, PoolLimits, Reply, Why
from posthouse.domain.calling import Call, CallFailed, FailedBecause, Unavailable
from posthouse.domain.calling import Called as Outcome
from posthouse.domain.errors import SetupError
from posthouse.domain.limits import ACTIONS_BYTES_MAX, CALL_DETAIL_LENGTH_MAX

log = structlog.get_logger()

MODULE: Final = "posthouse.adapters.handlers.worker"
LOADED_SECONDS_MAX: Final = 30.0  # for the modules to be imported
LOOK_SECONDS: Final = 0.05
WAITING_SECONDS: Final = 60.0  # for a process, should one have to be started
IDLE_SECONDS: Final = 86_400.0
REPLY_BYTES_MAX: Final = ACTIONS_BYTES_MAX + 2 * CALL_DETAIL_LENGTH_MAX + 1024 * 1024

_BECAUSE: Final = {
    Why.TOO_LONG: FailedBecause.DEADLINE,
    Why.MEMORY: FailedBecause.DIED,
    Why.DIED: FailedBecause.DIED,
    Why.RAISED: FailedBecause.RAISED,
    Why.TOO_LARGE: FailedBecause.BAD_ACTION,
}


class HandlerProcesses:
    """Calls handlers, each in one of `processes` processes; one that exceeds `seconds`, or `memory_bytes` beyond what it takes
    by itself (0: no limit), is killed, and another one takes its place.

    They have this environment, the network and the file system, and none of our open files.
    """

    def __init__(
        self,
        modules: Sequence[str],
        *,
        processes: int,
        seconds: float,
        environment: Mapping[str, str],
        memory_bytes: int = 0,
    ) -> None:
        self._at_once = processes
        self._patterns: tuple[str, ...] = ()
        self._modules = tuple(modules)
        self._pool = Pool(
            MODULE,
            self._modules,
            limits=PoolLimits(
                workers=processes,
                memory_bytes=memory_bytes,
                seconds=max(seconds, LOADED_SECONDS_MAX),
                reply_bytes=REPLY_BYTES_MAX,
                waiting_calls=8 * processes,
                waiting_bytes=2**40,
                waiting_seconds=WAITING_SECONDS,
                idle_seconds=IDLE_SECONDS,
            ),
            environment=environment,
            niceness=0,
            said=_said,
        )
        self._seconds = seconds

    async def start(self) -> None:
        """Learn which handlers there are. Raises SetupError, saying which module cannot be used and why."""
        asked = asyncio.create_task(self._pool.call("who", encode(Who()), seconds=LOADED_SECONDS_MAX))
        while not asked.done():
            await asyncio.wait({asked}, timeout=LOOK_SECONDS)
            if self._pool.failures:
                asked.cancel()
                raise SetupError(f"callbacks: a process that imports {self._named} does not start, or ends at once")
        outcome = await asked
        if isinstance(outcome, NoReply):
            raise SetupError(f"callbacks: {self._named} cannot be loaded: {outcome.detail}")
        match decode_reply(outcome.data):
            case Loaded(patterns, names):
                self._patterns = patterns
                log.info("callbacks.loaded", handlers=list(names), patterns=list(patterns))
            case Broken(detail):
                raise SetupError(f"callbacks: {detail}")
            case _:
                raise SetupError("callbacks: a process of the handlers says something unexpected")

    @property
    def _named(self) -> str:
        return ", ".join(self._modules)

    @property
    def patterns(self) -> tuple[str, ...]:
        return self._patterns

    @property
    def at_once(self) -> int:
        return self._at_once

    @property
    def processes(self) -> int:
        """Processes that there are now."""
        return self._pool.processes

    async def call(self, call: Call) -> Outcome:
        outcome = await self._pool.call(call.id, encode(Asking(call)), seconds=self._seconds)
        match outcome:
            case Reply(data):
                return _outcome(data)
            case NoReply(why, detail) if why in _BECAUSE:
                return CallFailed(_BECAUSE[why], detail)
            case NoReply(_, detail):
                return Unavailable(detail)

    async def close(self) -> None:
        """End the processes, whatever they do."""
        await self._pool.close()


def _outcome(data: bytes) -> Outcome:
    try:
        match decode_reply(data):
            case Called(done):
                return done
            case Failed(failed):
                return failed
            case Broken(detail):
                return Unavailable(detail)
            case _:
                return CallFailed(FailedBecause.DIED, "the process said something else than what it was asked for")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return CallFailed(FailedBecause.BAD_ACTION, f"what the handlers returned cannot be read: {error}")


def _said(pid: int, line: str) -> None:
    """A handler has printed something."""
    log.info("callback.said", pid=pid, line=line)
