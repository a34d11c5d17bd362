"""A lane: the deliveries of one endpoint that are in memory."""

from __future__ import annotations

from collections import deque

from posthouse.domain.delivery import Delivery, DeliveryKey, OwedReason
from posthouse.domain.endpoint import Endpoint
from posthouse.domain.limits import LANE_FRESH_MAX, LANE_PAGED_MAX
from posthouse.send.peer import Peer


class Lane:
    """Two bounded queues, served in turn: fresh deliveries from the log, and rows paged in from the backlog.

    A closed lane starts nothing: its endpoint is disabled, paused, or cannot be spoken to. `adrift`: among the requests in
    flight may be some that began before their partition was lost.
    """

    __slots__ = (
        "adrift",
        "bytes_in_flight",
        "closed",
        "fresh",
        "in_flight",
        "paged",
        "peer",
        "took_fresh",
    )

    def __init__(self, endpoint: Endpoint) -> None:
        self.peer = Peer(endpoint)
        self.closed = self._is_closed()
        self.fresh: deque[Delivery] = deque()
        self.paged: deque[Delivery] = deque()
        self.in_flight: dict[DeliveryKey, Delivery] = {}
        self.bytes_in_flight = 0
        self.took_fresh = False
        self.adrift = False

    @property
    def endpoint(self) -> Endpoint:
        return self.peer.endpoint

    def configure(self, endpoint: Endpoint) -> None:
        """Go on with another revision of the endpoint."""
        self.peer.configure(endpoint)
        self.closed = self._is_closed()

    def _is_closed(self) -> bool:
        return self.endpoint.paused or not self.endpoint.enabled or self.peer.renderer is None

    @property
    def closed_reason(self) -> OwedReason:
        """Why what is offered to the closed lane becomes a row."""
        if self.endpoint.enabled and self.peer.renderer is None:
            return OwedReason.OUR_FAULT
        return OwedReason.PAUSED if self.endpoint.enabled and self.endpoint.paused else OwedReason.DISABLED

    @property
    def waiting(self) -> int:
        return len(self.fresh) + len(self.paged)

    @property
    def has_fresh_room(self) -> bool:
        return len(self.fresh) < LANE_FRESH_MAX

    @property
    def paged_room(self) -> int:
        """How many rows may be paged in; none before half the room is free, so that a page is worth its query."""
        room = LANE_PAGED_MAX - len(self.paged)
        return room if room >= LANE_PAGED_MAX // 2 and not self.closed else 0

    def next_size(self) -> int | None:
        """Payload bytes of what `take` would return; None where it would return nothing."""
        if self.closed or len(self.in_flight) >= self.endpoint.concurrency:
            return None
        queue = self._next_queue()
        return len(queue[0].event.payload) if queue else None

    def take(self) -> Delivery:
        """The next delivery to send; only after `next_size` gave a size. Fresh ones and rows take turns."""
        queue = self._next_queue()
        self.took_fresh = queue is self.fresh
        delivery = queue.popleft()
        self.in_flight[(delivery.endpoint_id, delivery.event.id)] = delivery
        self.bytes_in_flight += len(delivery.event.payload)
        return delivery

    def finished(self, delivery: Delivery) -> None:
        del self.in_flight[(delivery.endpoint_id, delivery.event.id)]
        self.bytes_in_flight -= len(delivery.event.payload)

    def adopt(self, delivery: Delivery) -> bool:
        """Whether a request for this delivery still runs, from before its partition was lost and taken again.

        Then it is not sent a second time: that request speaks for it from now on.
        """
        running = self.in_flight.get(delivery.key)
        if running is None:
            return False
        running.epoch = delivery.epoch
        running.number = delivery.number
        running.fresh = delivery.fresh
        running.row = delivery.row
        return True

    def _next_queue(self) -> deque[Delivery]:
        if self.took_fresh and self.paged:
            return self.paged
        return self.fresh or self.paged
