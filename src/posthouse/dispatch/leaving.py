"""What leaves a lane's memory: as a row, as a row that is left alone, or as a row of a request that still runs."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping
from typing import Final

from posthouse.domain.delivery import Delivery, DeliveryKey, OwedReason
from posthouse.domain.endpoint import Endpoint
from posthouse.domain.limits import IN_FLIGHT_GRACE_SECONDS
from posthouse.lane.lane import Lane
from posthouse.ports.clock import Clock
from posthouse.send.owing import owed_row
from posthouse.settle.backlog import Backlog
from posthouse.settle.journal import Journal

OUR_FAULT_SECONDS: Final = 5.0
WITHDRAWN: Final = -1  # an epoch under which nothing is ours


class Leaving:
    """Between lanes and the store, in both directions of which a lane knows nothing. `epochs` are the partitions owned,
    `asking` what may be sent as soon as something was looked up, `settling` what was answered as its partition had moved on."""

    def __init__(
        self,
        journal: Journal,
        backlog: Backlog,
        clock: Clock,
        *,
        owner: bytes,
        epochs: Mapping[int, int],
        asking: Container[DeliveryKey],
        settling: Container[DeliveryKey],
    ) -> None:
        self._journal = journal
        self._backlog = backlog
        self._clock = clock
        self._owner = owner
        self._epochs = epochs
        self._asking = asking
        self._settling = settling

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

    def hand_over(self, lane: Lane, delivery: Delivery) -> None:
        """Its partition will be another's: what runs gets its row. A request that has not begun never does (who asks whether it
        may be sent finds that it is not ours): nobody needs to wait for its answer."""
        if delivery.key not in self._asking:
            self.mark_in_flight(lane, delivery)
        elif delivery.epoch != WITHDRAWN:
            self.spill(delivery, lane.endpoint, OwedReason.WAITED)
            delivery.epoch = WITHDRAWN

    def mark_in_flight(self, lane: Lane, delivery: Delivery) -> None:
        """The cursor may pass it while its request runs.

        Of a request that has ended nothing more comes: what is ours again as its late answer is put on record keeps the home
        that it has, or a row would stand for that request until it falls due."""
        if delivery.key in self._settling:
            return
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
