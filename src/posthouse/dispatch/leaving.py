"""What leaves a lane's memory: as a row, as a row that is left alone, or as a row of a request that still runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from posthouse.domain.delivery import Delivery, OwedReason
from posthouse.domain.endpoint import Endpoint
from posthouse.domain.limits import IN_FLIGHT_GRACE_SECONDS
from posthouse.lane.lane import Lane
from posthouse.ports.clock import Clock
from posthouse.send.owing import owed_row
from posthouse.settle.backlog import Backlog
from posthouse.settle.journal import Journal

OUR_FAULT_SECONDS: Final = 5.0


class Leaving:
    """Between lanes and the store, in both directions of which a lane knows nothing. `epochs` are the partitions owned."""

    def __init__(
        self, journal: Journal, backlog: Backlog, clock: Clock, *, owner: bytes, epochs: Mapping[int, int]
    ) -> None:
        self._journal = journal
        self._backlog = backlog
        self._clock = clock
        self._owner = owner
        self._epochs = epochs

    def spill(self, delivery: Delivery, endpoint: Endpoint, reason: OwedReason) -> None:
        """It becomes a row, without an attempt."""
        due_at = self._clock.now()
        if reason is OwedReason.OUR_FAULT:
            due_at += OUR_FAULT_SECONDS
        elif reason is OwedReason.BEHIND:
            due_at = math.inf
        row = owed_row(delivery, endpoint, number=delivery.number, due_at=due_at, reason=reason)
        self._journal.owe(delivery, row)

    def release(self, delivery: Delivery) -> None:
        """Its row stays as it is, and may be paged in again."""
        partition = delivery.event.partition
        if self._epochs.get(partition) == delivery.epoch:
            self._backlog.leave(partition, delivery.key)

    def mark_in_flight(self, lane: Lane, delivery: Delivery) -> None:
        """The cursor may pass it while its request runs."""
        endpoint = lane.endpoint
        due_at = self._clock.now() + endpoint.timeouts.total + IN_FLIGHT_GRACE_SECONDS
        row = owed_row(
            delivery,
            endpoint,
            number=delivery.number,
            due_at=due_at,
            reason=OwedReason.IN_FLIGHT,
            sender=self._owner,
        )
        self._journal.mark_in_flight(delivery, row)
