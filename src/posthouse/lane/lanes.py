"""All lanes of a process, and the decision which of them may start a request now."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import structlog

from posthouse.domain.delivery import Delivery, OwedReason
from posthouse.domain.endpoint import Endpoint
from posthouse.domain.ids import EndpointId
from posthouse.domain.limits import LANE_SECONDS_MAX, LANES_IDLE_MAX
from posthouse.lane.budget import Budget
from posthouse.lane.lane import Lane
from posthouse.send.peer import Peer

log = structlog.get_logger()

Send = Callable[[Peer, Delivery], Awaitable[None]]
Spill = Callable[[Delivery, OwedReason], None]

PROMPT_STALLED_MAX: Final = 64  # lanes looked at when one request ends; the rest at the next sweep


class Lanes:
    """Offers deliveries to their lanes and keeps each lane sending while it may.

    A lane runs as many workers as it has requests in flight; a worker takes the next delivery of its lane when it is done
    with one, so that a busy lane costs no task an event. `may_start` is asked before every send (the lease holds, the
    journal has room). What a lane cannot hold, or has held for two seconds, is spilled to a row.
    """

    def __init__(
        self,
        budget: Budget,
        *,
        send: Send,
        may_start: Callable[[], bool],
        spill: Spill,
        mark_in_flight: Callable[[Lane, Delivery], None],
        drained: Callable[[EndpointId], None],
    ) -> None:
        self._budget = budget
        self._send = send
        self._may_start = may_start
        self._spill = spill
        self._mark_in_flight = mark_in_flight
        self._drained = drained
        self._lanes: dict[EndpointId, Lane] = {}
        self._active: dict[EndpointId, Lane] = {}  # with something waiting or in flight
        self._stalled: dict[EndpointId, Lane] = {}  # refused by the budget or the gate, oldest first
        self._workers: set[asyncio.Task[None]] = set()

    # Offering

    def lane(self, endpoint: Endpoint) -> Lane:
        """The lane of an endpoint, made where there is none, in the endpoint's newest form."""
        lane = self._lanes.get(endpoint.id)
        if lane is None:
            if len(self._lanes) >= LANES_IDLE_MAX:
                self._evict()
            lane = self._lanes[endpoint.id] = Lane(endpoint)
        elif lane.peer.endpoint is not endpoint:
            self._configure(lane, endpoint)
        return lane

    def offer(self, endpoint: Endpoint, delivery: Delivery) -> None:
        """A fresh delivery: it waits in its lane, or is spilled where that is closed or full."""
        lane = self._lanes.get(endpoint.id)
        if lane is None or lane.peer.endpoint is not endpoint:
            lane = self.lane(endpoint)
        if lane.closed:
            self._spill(delivery, _closed_reason(lane))
        elif lane.has_fresh_room:
            lane.fresh.append(delivery)
            self._start(lane)
        else:
            self._spill(delivery, OwedReason.LANE_FULL)

    def page_in(self, endpoint: Endpoint, deliveries: Iterable[Delivery]) -> None:
        """Rows that are due; the caller asked `room` before."""
        lane = self.lane(endpoint)
        lane.paged.extend(deliveries)
        if lane.closed:
            self.close(lane)
        else:
            self._start(lane)

    def room(self, endpoint: Endpoint) -> int:
        """How many rows the endpoint's lane would take now."""
        return self.lane(endpoint).paged_room

    # Starting

    def _start(self, lane: Lane) -> None:
        endpoint_id = lane.endpoint.id
        self._active[endpoint_id] = lane
        while (delivery := self._take(lane)) is not None:
            task = asyncio.get_running_loop().create_task(self._work(lane, delivery))
            self._workers.add(task)
            task.add_done_callback(self._workers.discard)

    def _take(self, lane: Lane) -> Delivery | None:
        size = lane.next_size()
        if size is None:
            return None
        if not self._may_start() or not self._budget.admits(
            size, lane_sockets=len(lane.in_flight), lane_bytes=lane.bytes_in_flight, lanes=len(self._active)
        ):
            self._stalled[lane.endpoint.id] = lane
            return None
        self._budget.take(size)
        return lane.take()

    async def _work(self, lane: Lane, delivery: Delivery) -> None:
        current: Delivery | None = delivery
        while current is not None:
            try:
                await self._send(lane.peer, current)
            except Exception:
                # Ours, not the target's: no attempt is spent, and the delivery is owed a little later.
                log.exception("lane.send_failed", endpoint=lane.endpoint.id.hex())
                self._spill(current, OwedReason.OUR_FAULT)
            finally:
                lane.finished(current)
                self._budget.give_back(len(current.event.payload))
            current = self._take(lane)
            if self._stalled:
                self._restart_stalled(PROMPT_STALLED_MAX)
        if lane.paged_room:
            self._drained(lane.endpoint.id)
        if not lane.waiting and not lane.in_flight:
            self._active.pop(lane.endpoint.id, None)

    def resume(self) -> None:
        """The gate opened: let every lane that was refused try again."""
        self._restart_stalled(len(self._stalled))

    def _restart_stalled(self, most: int) -> None:
        for _ in range(min(most, len(self._stalled))):
            if not self._may_start():
                return
            endpoint_id = next(iter(self._stalled))
            lane = self._stalled.pop(endpoint_id)
            self._start(lane)
            if endpoint_id in self._stalled:
                return

    # Leaving memory

    def sweep(self, boot: float) -> None:
        """Spill what has waited for two seconds, and let the cursor pass requests that have run for as long."""
        oldest = boot - LANE_SECONDS_MAX
        for lane in list(self._active.values()):
            while lane.fresh and lane.fresh[0].offered_at <= oldest:
                self._spill(lane.fresh.popleft(), OwedReason.WAITED)
            for delivery in lane.in_flight.values():
                if delivery.fresh and delivery.offered_at <= oldest:
                    self._mark_in_flight(lane, delivery)
            if not lane.waiting and not lane.in_flight:
                self._active.pop(lane.endpoint.id, None)
        self._restart_stalled(len(self._stalled))

    def disable(self, endpoint_id: EndpointId) -> None:
        """The target ended it: start nothing more, before the configuration says so too."""
        lane = self._lanes.get(endpoint_id)
        if lane is not None:
            self.close(lane)

    def close(self, lane: Lane) -> None:
        """Stop a lane at once: what waits in it becomes rows."""
        lane.closed = True
        reason = _closed_reason(lane)
        while lane.fresh:
            self._spill(lane.fresh.popleft(), reason)
        while lane.paged:
            self._spill(lane.paged.popleft(), reason)

    def configure(self, endpoints: Iterable[Endpoint]) -> None:
        """Endpoints as they are now; lanes that exist follow."""
        for endpoint in endpoints:
            lane = self._lanes.get(endpoint.id)
            if lane is not None:
                self._configure(lane, endpoint)

    def _configure(self, lane: Lane, endpoint: Endpoint) -> None:
        lane.configure(endpoint)
        if lane.closed:
            self.close(lane)
        else:
            self._start(lane)
            self._drained(endpoint.id)

    def drop(self, partition: int) -> None:
        """A partition is no longer ours: forget what waits; what is in flight ends by itself."""
        for endpoint_id, lane in list(self._lanes.items()):
            if lane.endpoint.partition == partition:
                lane.fresh.clear()
                lane.paged.clear()
                self._stalled.pop(endpoint_id, None)
                if not lane.in_flight:
                    self._active.pop(endpoint_id, None)
                    del self._lanes[endpoint_id]

    def mark_all_in_flight(self) -> None:
        """Before a planned hand-over: every request that still runs gets its row."""
        for lane in self._active.values():
            for delivery in lane.in_flight.values():
                self._mark_in_flight(lane, delivery)

    async def finish(self, seconds: float) -> None:
        """Wait a while for the requests under way, then abandon the rest."""
        if self._workers:
            await asyncio.wait(list(self._workers), timeout=seconds)
        for task in list(self._workers):
            task.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    def _evict(self) -> None:
        for endpoint_id in list(self._lanes):
            if endpoint_id not in self._active:
                del self._lanes[endpoint_id]
                if len(self._lanes) < LANES_IDLE_MAX * 9 // 10:
                    return

    # For metrics

    @property
    def in_flight(self) -> int:
        return self._budget.sockets

    @property
    def waiting(self) -> int:
        return sum(lane.waiting for lane in self._active.values())

    def __len__(self) -> int:
        return len(self._lanes)


def _closed_reason(lane: Lane) -> OwedReason:
    return OwedReason.PAUSED if lane.endpoint.enabled and lane.endpoint.paused else OwedReason.DISABLED
