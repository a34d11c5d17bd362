"""Whether a delivery that is about to be sent is still to be sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from posthouse.domain.delivery import Delivery, DeliveryClass
from posthouse.domain.endpoint import Endpoint
from posthouse.domain.errors import NotOwner
from posthouse.ports.store import Store
from posthouse.send.owing import expiry
from posthouse.settle.journal import Journal

EXPIRED: Final = "expired"
REVOKED: Final = "revoked"


class Ending:
    """`may_write` says whether the leases hold."""

    def __init__(self, store: Store, journal: Journal, may_write: Callable[[], bool]) -> None:
        self._store = store
        self._journal = journal
        self._may_write = may_write

    async def over(self, delivery: Delivery, endpoint: Endpoint, now: float) -> str | None:
        """Why it is not sent any more; None: it is. Raises StoreUnavailable, NotOwner."""
        event = delivery.event
        if delivery.kind is DeliveryClass.LIVE:
            expires_at = expiry(event, endpoint)
            if expires_at is not None and expires_at <= now:
                return EXPIRED
        if event.app_id is None and not await self._permitted(delivery, endpoint, now):
            return REVOKED
        return None

    async def _permitted(self, delivery: Delivery, endpoint: Endpoint, now: float) -> bool:
        """Whether the endpoint's app may still have a platform event. Raises StoreUnavailable, and NotOwner where it took so
        long to find out that the partition may be another's."""
        event = delivery.event
        # What is sent again on request may be asked for a moment after a grant was taken away: that moment counts.
        if delivery.kind is DeliveryClass.LIVE and endpoint.grants.leaves(event, now=now):
            return True
        covered = await self._store.covered(endpoint.app_id, event.type, event.subject)
        if not (self._may_write() and self._journal.owns(delivery)):
            raise NotOwner("the partition was lost while it was looked up whether an event may be sent")
        return covered
