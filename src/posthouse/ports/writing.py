"""Requests that may take too long to be written where others wait."""

from __future__ import annotations

from typing import Final, Protocol

from posthouse.domain.event import Event
from posthouse.domain.exchange import Request
from posthouse.domain.ids import AppId
from posthouse.wire.payload_version import Pinning
from posthouse.wire.spoken import Order


class Writer(Protocol):
    async def write(self, order: Order) -> Request:
        """The request, which was written elsewhere.

        Raises Unsendable where it cannot be, or takes more time or memory than there is for one; Overloaded where nobody could
        write it for now, through no fault of the event's.
        """
        ...

    async def pin(self, pinning: Pinning, app_id: AppId) -> Event:
        """The event as the version knew it. Raises as `write`."""
        ...


class WrittenHere:
    """`Writer` where there is nobody else: it takes as long as it takes."""

    async def write(self, order: Order) -> Request:
        return order.written()

    async def pin(self, pinning: Pinning, app_id: AppId) -> Event:
        return pinning.pinned()


WRITTEN_HERE: Final = WrittenHere()
