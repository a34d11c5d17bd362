"""Bodies on their way in: read whole, and what all of them together may take of a process's memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Self

from posthouse.domain.errors import Overloaded, TooLarge

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]


class Disconnected(Exception):
    """The client went away before its body was complete: nothing was done."""


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

    def __init__(self, receive: Receive, room: Room) -> None:
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

    async def whole(self, most: int, *, over: Callable[[int], TooLarge]) -> bytes:
        """All of the body. Raises Overloaded, Disconnected, and what `over` makes of a body of more than so many bytes."""
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await self()
            if message["type"] == "http.disconnect":
                raise Disconnected
            chunk: bytes = message.get("body", b"")
            size += len(chunk)
            if size > most:
                raise over(most)
            if not message.get("more_body"):
                return b"".join([*chunks, chunk]) if chunks else chunk
            chunks.append(chunk)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._room.give_back(self._taken)
        self._taken = 0
