"""Bodies on their way in: what all of them together may take of a process's memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Self

from posthouse.domain.errors import Overloaded

Message = dict[str, Any]


class Room:
    """What bodies under way may take of this process's memory."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0

    def take(self, size: int) -> None:
        """Raises Overloaded; then nothing was taken."""
        if self._bytes + size > self._bytes_max:
            raise Overloaded("too much comes in at once; send it again in a moment")
        self._bytes += size

    def give_back(self, size: int) -> None:
        self._bytes -= size


class Arriving:
    """`receive`, which takes room for what comes until its `with` ends, and knows whether all of it came."""

    def __init__(self, receive: Callable[[], Awaitable[Message]], room: Room) -> None:
        self._receive = receive
        self._room = room
        self._taken = 0
        self.complete = False

    async def __call__(self) -> Message:
        """Raises Overloaded where there is no room."""
        message = await self._receive()
        size = len(message.get("body", b""))
        self._room.take(size)
        self._taken += size
        self.complete = message["type"] == "http.request" and not message.get("more_body")
        return message

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._room.give_back(self._taken)
        self._taken = 0
