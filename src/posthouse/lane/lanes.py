"""All lanes of a process, and the decision which of them may start a request now."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Final

import structlog

from posthouse.domain.delivery import Delivery, OwedReason
from posthouse.domain.endpoint import Endpoint
from posthouse.domain.ids import AppId, EndpointId
from posthouse.domain.limits import CROWD_STARTS_MAX, LANE_SECONDS_MAX, LANES_IDLE_MAX, PAGED_BYTES_MAX
from posthouse.lane.budget import Budget
from posthouse.lane.lane import Lane
from posthouse.send.peer import Peer

log = structlog.get_logger()

Send = Callable[[Peer, Delivery], Awaitable[None]]
Spill = Callable[[Delivery, OwedReason], None]

PROMPT_STALLED_MAX: Final = 16  # lanes looked at when one request ends; the rest at the next sweep
TELL_SECONDS: Final = 1.0


class Lanes:
    """Offers deliveries to their lanes and keeps each lane sending while it may.

    A lane runs as many workers as it has requests in flight; a worker takes the next delivery of its lane when it is done
    with one, so that a busy lane costs no task an event. `may_start` is asked before every send (the lease holds, the
    journal has room). The deliveries of an event for very many endpoints, a crowd, are started a few in each turn of the
    event loop and from one half of the sockets, so that others pass between them. What a lane cannot hold, or has held for
    two seconds, is spilled to a row, the latter while `may_spill` (the journal has room). `drained` is told when a lane may
    have room for rows.
    """

    def __init__(
        self,
        budget: Budget,
        *,
        send: Send,
        may_start: Callable[[], bool],
        may_spill: Callable[[], bool],
        spill: Spill,
        mark_in_flight: Callable[[Lane, Delivery], None],
        drained: Callable[[EndpointId], None],
    ) -> None:
        self._budget = budget
        self._send = send
        self._may_start = may_start
        self._may_spill = may_spill
        self._spill = spill
        self._mark_in_flight = mark_in_flight
        self._drained = drained
        self._lanes: dict[EndpointId, Lane] = {}
        self._active: dict[EndpointId, Lane] = {}  # with something waiting or in flight
        self._stalled: OrderedDict[EndpointId, Lane] = OrderedDict()  # refused by the budget or the gate, oldest first
        self._crowd: deque[Lane] = deque()  # offered a delivery of a crowd, oldest first
        self._pumping = False
        self._workers: set[asyncio.Task[None]] = set()
        self._evict_at = LANES_IDLE_MAX
        self._tell_at = 0.0
        self._untold = 0
        self.paged_bytes = 0  # payloads of rows that wait in lanes

    # Offering

    def lane(self, endpoint: Endpoint) -> Lane:
        """The lane of an endpoint, made where there is none, in the endpoint's newest form."""
        lane = self._lanes.get(endpoint.id)
        if lane is None:
            if len(self._lanes) >= self._evict_at:
                self._evict()
            lane = self._lanes[endpoint.id] = Lane(endpoint)
        elif lane.peer.endpoint is not endpoint:
            self._configure(lane, endpoint)
        return lane

    def offer(self, endpoint: Endpoint, delivery: Delivery, *, crowd: bool = False) -> None:
        """A fresh delivery, perhaps one of a crowd: it waits in its lane, or is spilled where that is closed or full."""
        lane = self._lanes.get(endpoint.id)
        if lane is None or lane.peer.endpoint is not endpoint:
            lane = self.lane(endpoint)
        if lane.adrift and lane.adopt(delivery):
            return
        if lane.closed:
            self._spill(delivery, lane.closed_reason)
        elif lane.has_fresh_room:
            lane.fresh.append(delivery)
            if crowd:
                self._active[endpoint.id] = lane
                self._crowd.append(lane)
                self._pump_soon()
            else:
                self._start(lane)
        else:
            self._spill(delivery, OwedReason.LANE_FULL)

    def room(self, endpoint: Endpoint) -> int:
        """How many rows the endpoint's lane would take now.

        Where rows that wait fill half of their memory, only lanes that could send one at once get any.
        """
        if endpoint.paused or not endpoint.enabled:
            return 0
        lane = self.lane(endpoint)
        room = lane.paged_room
        if self.paged_bytes >= PAGED_BYTES_MAX // 2:
            idle = max(lane.endpoint.concurrency - len(lane.in_flight), 0)
            room = 0 if lane.paged else min(room, idle)
        return room

    def page_in(self, endpoint: Endpoint, deliveries: Iterable[Delivery]) -> None:
        """Rows that are due; the caller asked `room` before. Its `endpoint` may be older than the lane's by now."""
        lane = self._lanes.get(endpoint.id) or self.lane(endpoint)
        for delivery in deliveries:
            if not (lane.adrift and lane.adopt(delivery)):
                lane.paged.append(delivery)
                self.paged_bytes += len(delivery.event.payload)
        if lane.closed:
            self.close(lane)
        else:
            self._start(lane)

    # Starting

    def _start(self, lane: Lane) -> None:
        if not lane.waiting:
            return
        self._active[lane.endpoint.id] = lane
        while (delivery := self._take(lane)) is not None:
            task = asyncio.get_running_loop().create_task(self._work(lane, delivery))
            self._workers.add(task)
            task.add_done_callback(self._workers.discard)

    def _pump_soon(self) -> None:
        if not self._pumping and self._crowd and not self._budget.half_full:
            self._pumping = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        """Start a few lanes of a crowd, and come again in the next turn of the loop."""
        self._pumping = False
        for _ in range(min(CROWD_STARTS_MAX, len(self._crowd))):
            if self._budget.half_full:
                return  # whoever ends a request comes here again
            self._start(self._crowd.popleft())
        self._pump_soon()

    def _take(self, lane: Lane) -> Delivery | None:
        size = lane.next_size()
        if size is None:
            return None
        if not self._may_start() or not self._budget.admits(
            size, lane_sockets=len(lane.in_flight), lane_bytes=lane.bytes_in_flight
        ):
            self._stalled[lane.endpoint.id] = lane
            return None
        self._budget.take(size)
        delivery = lane.take()
        if not lane.took_fresh:
            self.paged_bytes -= size
        return delivery

    async def _work(self, lane: Lane, delivery: Delivery) -> None:
        current: Delivery | None = delivery
        while current is not None:
            try:
                await self._send(lane.peer, current)
            except Exception as error:  # noqa: BLE001 - it is logged, though not each time
                # Ours, not the target's: no attempt is spent, and the delivery is owed a little later.
                self._tell(error, lane)
                self._spill(current, OwedReason.OUR_FAULT)
            finally:
                lane.finished(current)
                self._budget.give_back(len(current.event.payload))
            # Before the next one is taken: a lane that never runs dry has room for rows too.
            if lane.paged_room:
                self._drained(lane.endpoint.id)
            current = self._take(lane)
            if self._stalled:
                self._restart_stalled(PROMPT_STALLED_MAX)
            if self._crowd:
                self._pump_soon()
        if lane.in_flight or lane.waiting:
            return
        self._active.pop(lane.endpoint.id, None)
        if lane.adrift:
            del self._lanes[lane.endpoint.id]  # its partition may be another owner's: what it knows grows old

    def _tell(self, error: Exception, lane: Lane) -> None:
        """Log a fault of ours, but not each of thousands a second (no file descriptor is left, say)."""
        now = asyncio.get_running_loop().time()
        if now >= self._tell_at:
            self._tell_at = now + TELL_SECONDS
            log.error("lane.send_failed", endpoint=lane.endpoint.id.hex(), untold=self._untold, exc_info=error)
            self._untold = 0
        else:
            self._untold += 1

    def resume(self) -> None:
        """The gate opened: let every lane that was refused try again."""
        self._restart_stalled(len(self._stalled))

    def _restart_stalled(self, most: int) -> None:
        """Let the lanes that were refused try again, in turn; one that is refused again goes to the end."""
        for _ in range(min(most, len(self._stalled))):
            if self._budget.full or not self._may_start():
                return
            _, lane = self._stalled.popitem(last=False)
            self._start(lane)

    # Leaving memory

    def sweep(self, boot: float) -> None:
        """Spill what has waited for two seconds, and let the cursor pass requests that have run for as long."""
        oldest = boot - LANE_SECONDS_MAX
        for lane in list(self._active.values()):
            while lane.fresh and lane.fresh[0].offered_at <= oldest and self._may_spill():
                self._spill(lane.fresh.popleft(), OwedReason.WAITED)
            for delivery in lane.in_flight.values():
                if delivery.fresh and delivery.offered_at <= oldest:
                    self._mark_in_flight(lane, delivery)
            if not lane.waiting and not lane.in_flight:
                self._active.pop(lane.endpoint.id, None)
        self.resume()

    def disable(self, endpoint_id: EndpointId) -> None:
        """The target ended it: start nothing more, before the configuration says so too."""
        lane = self._lanes.get(endpoint_id)
        if lane is not None:
            self.close(lane)

    def close(self, lane: Lane) -> None:
        """Stop a lane at once: what waits in it becomes rows."""
        lane.closed = True
        reason = lane.closed_reason
        while lane.fresh:
            self._spill(lane.fresh.popleft(), reason)
        while lane.paged:
            delivery = lane.paged.popleft()
            self.paged_bytes -= len(delivery.event.payload)
            self._spill(delivery, reason)

    def configure(self, endpoints: Iterable[Endpoint]) -> None:
        """Endpoints as they are now; lanes that exist follow, and rows that waited for an open lane are paged."""
        for endpoint in endpoints:
            lane = self._lanes.get(endpoint.id)
            if lane is not None:
                self._configure(lane, endpoint)
            elif endpoint.enabled and not endpoint.paused:
                self._drained(endpoint.id)

    def _configure(self, lane: Lane, endpoint: Endpoint) -> None:
        lane.configure(endpoint)
        if lane.closed:
            self.close(lane)
        else:
            self._start(lane)
            self._drained(endpoint.id)

    def keep_only(self, app_ids: Collection[AppId], endpoint_ids: Collection[EndpointId]) -> None:
        """These are all the endpoints that the apps have: the lanes of others stop."""
        for lane in self._lanes.values():
            if lane.endpoint.app_id in app_ids and lane.endpoint.id not in endpoint_ids:
                self.close(lane)

    def drop(self, partitions: Collection[int]) -> None:
        """Partitions are no longer ours: forget what waits; what is in flight ends by itself."""
        for endpoint_id, lane in list(self._lanes.items()):
            if lane.endpoint.partition not in partitions:
                continue
            lane.fresh.clear()
            self.paged_bytes -= sum(len(delivery.event.payload) for delivery in lane.paged)
            lane.paged.clear()
            self._stalled.pop(endpoint_id, None)
            if lane.in_flight:
                lane.adrift = True
            else:
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
        """Let a tenth of the lanes go, if so many are idle.

        One whose endpoint has confirmed since it was configured stays: a new lane would take it for failing still.
        """
        enough = len(self._lanes) * 9 // 10
        for endpoint_id, lane in list(self._lanes.items()):
            if len(self._lanes) <= enough:
                break
            recovered = lane.peer.failing_since is None and lane.endpoint.health.failing_since is not None
            if endpoint_id not in self._active and not recovered:
                del self._lanes[endpoint_id]
        # Where too few are idle, the next look is worth its cost only after as many more were made.
        self._evict_at = max(LANES_IDLE_MAX, len(self._lanes) * 11 // 10)

    # For metrics

    @property
    def in_flight(self) -> int:
        return self._budget.sockets

    @property
    def bytes_in_flight(self) -> int:
        return self._budget.bytes

    @property
    def waiting(self) -> int:
        return sum(lane.waiting for lane in self._active.values())

    def __len__(self) -> int:
        return len(self._lanes)
