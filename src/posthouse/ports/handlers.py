"""Callback handlers in Python, in processes of their own."""

from __future__ import annotations

from typing import Protocol

from posthouse.domain.calling import Call, Called


class Handlers(Protocol):
    @property
    def patterns(self) -> tuple[str, ...]:
        """The event types that there is a handler for, as patterns."""
        ...

    @property
    def at_once(self) -> int:
        """How many calls run at the same time."""
        ...

    async def call(self, call: Call) -> Called:
        """Call every handler for the event, one after the other, and say what became of it. Cancelled, the handler's process is
        ended: nothing of the call goes on."""
        ...
