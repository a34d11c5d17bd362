"""The transport: bytes to a target and its answer back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from posthouse.domain.exchange import Request, Result


class Transport(Protocol):
    async def send(
        self, request: Request, *, may_write: Callable[[], bool] | None = None, once: bool = False, anew: bool = False
    ) -> Result:
        """Make one request. Whatever the target does ends in an `Answer` or a `Failure` within its timeouts.

        `may_write` is asked once more right before the first byte is written, however long it took to get a connection.
        `once`: write it no second time. Else that is done where a kept connection ended without a byte of an answer; with
        `once` that is a `Failure` that says `stale`. `anew`: over a new connection, whichever are kept.

        Raises only for our own faults (no file descriptor left, a bug, NotOwner where `may_write` said no): they never cost
        the target an attempt.
        """
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...
