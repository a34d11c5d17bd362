"""Requests that may take too long to be written where others wait."""

from __future__ import annotations

from typing import Final, Protocol

from posthouse.domain.exchange import Request
from posthouse.wire.spoken import Order


class Writer(Protocol):
    async def write(self, order: Order) -> Request:
        """The request, which was written elsewhere.

        Raises Unsendable where it cannot be, or takes more time or memory than there is for one; Overloaded where nobody could
        write it for now, through no fault of the event's.
        """
        ...


class WrittenHere:
    """`Writer` where there is nobody else: it takes as long as it takes."""

    async def write(self, order: Order) -> Request:
        return order.written()


WRITTEN_HERE: Final = WrittenHere()
