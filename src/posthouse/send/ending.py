"""Whether a delivery that is about to be sent is still to be sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from posthouse.domain.delivery import Delivery, DeliveryClass
from posthouse.domain.endpoint import Endpoint
from posthouse.domain.errors import NotOwner
from posthouse.domain.expression import Failed
from posthouse.domain.filters import OnFilterError
from posthouse.domain.matching import has_filters
from posthouse.ports.expressions import Expressions
from posthouse.ports.store import Store
from posthouse.send.filters import passes
from posthouse.send.owing import expiry
from posthouse.settle.journal import Journal

EXPIRED: Final = "expired"
REVOKED: Final = "revoked"
FILTERED: Final = "filtered"
FILTER_FAILED: Final = "filter_failed"


class Over(NamedTuple):
    """Why a delivery is given up without a request."""

    reason: str
    words: str | None = None


class Ending:
    """`may_write` says whether the leases hold."""

    def __init__(self, store: Store, journal: Journal, may_write: Callable[[], bool], expressions: Expressions) -> None:
        self._store = store
        self._journal = journal
        self._may_write = may_write
        self._expressions = expressions

    async def over(self, delivery: Delivery, endpoint: Endpoint, now: float) -> Over | None:
        """Why it is not sent any more; None: it is. Raises StoreUnavailable, NotOwner."""
        event = delivery.event
        if delivery.kind is DeliveryClass.LIVE:
            expires_at = expiry(event, endpoint)
            if expires_at is not None and expires_at <= now:
                return Over(EXPIRED)
        if event.app_id is None and not await self._permitted(delivery, endpoint, now):
            return Over(REVOKED)
        return await self._filtered(delivery, endpoint) if delivery.replayed else None

    async def reasons(self, load: Sequence[Delivery], endpoint: Endpoint, now: float) -> list[Over | None]:
        """Of each of these, as `over` says."""
        return [await self.over(delivery, endpoint, now) for delivery in load]

    async def _filtered(self, delivery: Delivery, endpoint: Endpoint) -> Over | None:
        """Why what a replay asks for is not sent, by the endpoint's filters as they are now: it may be an event that they never
        let pass. Raises NotOwner where it took so long to find out that the partition may be another's."""
        if not has_filters(endpoint):
            return None
        verdict = await passes(self._expressions, endpoint, delivery.event)
        if not (self._may_write() and self._journal.owns(delivery)):
            raise NotOwner("the partition was lost while it was looked up whether an event passes a filter")
        if isinstance(verdict, Failed):
            if endpoint.on_filter_error is OnFilterError.SKIP:
                return Over(FILTER_FAILED, verdict.told)
        elif not verdict:
            return Over(FILTERED)
        delivery.replayed = False
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
