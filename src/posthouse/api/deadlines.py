"""Publish requests that take too long: their body comes too slowly, or the store does not answer."""

from __future__ import annotations

import asyncio
from typing import Any

from posthouse.api.arriving import Arriving
from posthouse.domain.errors import Invalid, TooLarge


class Deadlines:
    """Ends requests that take too long: whose bodies come too slowly, or for which the store does not answer. One timer looks
    at all of them now and then: `asyncio.timeout` for each would cost a tenth of the whole request."""

    def __init__(self, body_seconds: float, answer_seconds: float) -> None:
        self._body_seconds = body_seconds
        self._answer_seconds = answer_seconds
        self._look_seconds = min(body_seconds / 4, answer_seconds / 4)
        self._deadlines: dict[asyncio.Future[Any], float] = {}  # tasks too, which are futures
        self._overdue: set[asyncio.Future[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> asyncio.Task[Any]:
        """This task's request begins; `end` it. Until its body is read, and again from then on, the store has to answer."""
        task = asyncio.current_task()
        assert task is not None
        self.watch(task)
        return task

    def watch(self, stored: asyncio.Future[Any]) -> None:
        """This is what a request waits for; it is cancelled where the store does not answer. `end` it."""
        loop = asyncio.get_running_loop()
        self._deadlines[stored] = loop.time() + self._answer_seconds
        if self._timer is None:
            self._timer = loop.call_later(self._look_seconds, self._look)

    def end(self, stored: asyncio.Future[Any]) -> None:
        del self._deadlines[stored]
        self._overdue.discard(stored)

    def was_overdue(self, task: asyncio.Task[Any]) -> bool:
        """Whether the cancellation that the task has just met was ours; then it is undone."""
        if task not in self._overdue:
            return False
        self._overdue.discard(task)
        return task.uncancel() == 0

    async def read(self, task: asyncio.Task[Any], arriving: Arriving, most: int) -> bytes:
        """The whole body. Raises TooLarge, Invalid (it came too slowly), Overloaded, Disconnected."""
        time = asyncio.get_running_loop().time
        self._deadlines[task] = time() + self._body_seconds
        try:
            return await arriving.whole(most, over=_too_large)
        except asyncio.CancelledError:
            if not self.was_overdue(task):
                raise
            raise Invalid(
                f"the body did not arrive within {self._body_seconds:g} seconds", code="body_timeout"
            ) from None
        finally:
            self._deadlines[task] = time() + self._answer_seconds

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for stored, deadline in self._deadlines.items():
            if deadline <= now and stored not in self._overdue:
                self._overdue.add(stored)
                stored.cancel()
        self._timer = loop.call_later(self._look_seconds, self._look) if self._deadlines else None


def _too_large(most: int) -> TooLarge:
    return TooLarge(f"the body has over {most} bytes, which is the most that is accepted")
