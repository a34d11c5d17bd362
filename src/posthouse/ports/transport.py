"""The transport: bytes to a target and its answer back."""

from __future__ import annotations

from typing import Protocol

from posthouse.domain.exchange import Request, Result


class Transport(Protocol):
    async def send(self, request: Request) -> Result:
        """Make one request. Whatever the target does ends in an `Answer` or a `Failure` within its timeouts.

        Raises only for our own faults (no file descriptor left, a bug): they never cost the target an attempt.
        """
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...
