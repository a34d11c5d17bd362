"""The runner of whatever is done again and again: a turn, a wait, the next turn."""

from __future__ import annotations

import asyncio
from typing import Protocol

import structlog

from posthouse.domain.errors import PosthouseError
from posthouse.domain.limits import TRIGGER_AGAIN_SECONDS, TRIGGER_LOOK_SECONDS
from posthouse.ports.clock import Clock, set_or_over

log = structlog.get_logger()


class Turns(Protocol):
    """Something that is done in turns."""

    @property
    def kind(self) -> str:
        """A word for logs."""
        ...

    async def turn(self) -> float:
        """One of them; after how many seconds the next one is due. Should it raise, the next one is due soon."""
        ...


class Runner:
    """Takes turns until closed. What publishes has a runner of its own each: one that fails holds up no other."""

    def __init__(self, turns: Turns, clock: Clock) -> None:
        self._turns = turns
        self._clock = clock
        self._woken = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    def wake(self) -> None:
        """There may be something new."""
        self._woken.set()

    async def close(self) -> None:
        """Finish the turn under way, and begin no other."""
        self._closing = True
        self.wake()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        while not self._closing:
            self._woken.clear()
            try:
                seconds = await self._turns.turn()
            except PosthouseError as error:
                log.warning("trigger.failed", kind=self._turns.kind, error=str(error))
                seconds = TRIGGER_AGAIN_SECONDS
            except Exception:
                log.exception("trigger.failed", kind=self._turns.kind)
                seconds = TRIGGER_AGAIN_SECONDS
            if seconds > 0 and not self._closing:
                await set_or_over(self._woken, min(seconds, TRIGGER_LOOK_SECONDS))
