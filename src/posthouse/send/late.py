"""Answers of requests that outlived our ownership."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from posthouse.domain.delivery import Delivery, DeliveryKey, Fate
from posthouse.domain.errors import StoreUnavailable
from posthouse.ports.store import LateResult, Store

log = structlog.get_logger()


class LateAnswers:
    """Puts on record what is not ours to record any more, under the name by which its rows say that we are sending."""

    def __init__(self, store: Store, owner: bytes) -> None:
        self._store = store
        self._owner = owner
        self.settling: set[DeliveryKey] = set()
        """Deliveries whose request has ended, while what came of it is on its way into the store."""

    async def settle(
        self, load: Sequence[Delivery], fates: Sequence[Fate], late: list[LateResult], now: float
    ) -> Sequence[Delivery]:
        """Put it on record; which of these are ours again by then, and were adopted."""
        epochs = [delivery.epoch for delivery in load]
        keys = [delivery.key for delivery in load]
        self.settling.update(keys)
        try:
            await self._store.settle_late(late, sender=self._owner, now=now)
        except StoreUnavailable as error:
            log.warning("sender.late_answer_lost", error=str(error))  # the rows fall due: repeats, no loss
        finally:
            self.settling.difference_update(keys)
        return [
            delivery
            for delivery, epoch, fate in zip(load, epochs, fates, strict=True)
            if delivery.epoch != epoch and fate is not Fate.AGAIN
        ]
