"""All lanes of a process, and the decision which of them may start a request now."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import Final

import structlog

from posthouse.domain.circuit import DEFAULT_POLICY, CircuitPolicy
from posthouse.domain.delivery import Delivery, Fate, OwedReason
from posthouse.domain.endpoint import Endpoint
from posthouse.domain.ids import AppId, EndpointId
from posthouse.domain.limits import (
    CROWD_STARTS_MAX,
    LANE_LINES_OWED_MAX,
    LANE_SECONDS_MAX,
    LANES_IDLE_MAX,
    PAGED_BYTES_MAX,
)
from posthouse.lane.budget import Budget
from posthouse.lane.lane import Lane, Load
from posthouse.ports.clock import Clock
from posthouse.send.peer import Peer
from posthouse.send.sender import Told

log = structlog.get_logger()

Send = Callable[[Peer, Load], Awaitable[Told]]
Spill = Callable[[Delivery, Endpoint, OwedReason], None]

PROMPT_STALLED_MAX: Final = 16  # lanes looked at when one request ends; the rest at the next sweep
TELL_SECONDS: Final = 1.0
WAIT_SECONDS_MIN: Final = 0.001  # of a lane's timer


class Lanes:
    """Offers deliveries to their lanes and keeps each lane sending while it may.

    A lane runs as many workers as it has requests in flight; a worker takes the next load of its lane when it is done
    with one, so that a busy lane costs no task an event. `may_start` is asked before every send (the lease holds, the
    journal has room). The deliveries of an event for very many endpoints, a crowd, are started a few in each turn of the
    event loop and from one half of the sockets, so that others pass between them. A lane that must wait (for its rate, its
    circuit, its target's `Retry-After`, or more events for a batch) has one timer.

    What a lane cannot hold, or has held for two seconds, is spilled to a row, the latter while `may_spill` (the journal has
    room); a row that cannot be sent now is left in the store (`release`). `drained` is told when a lane may have room for
    rows. `owned_since` says since when (boot clock) a partition is ours, `owes` whether an endpoint has rows at all; `made` is
    told each new lane, and `learn` each that is in use and does not know which of its lines have rows.
    """

    def __init__(
        self,
        budget: Budget,
        clock: Clock,
        *,
        send: Send,
        may_start: Callable[[], bool],
        may_spill: Callable[[], bool],
        spill: Spill,
        release: Callable[[Delivery], None],
        mark_in_flight: Callable[[Lane, Delivery], None],
        drained: Callable[[EndpointId], None],
        owned_since: Callable[[int], float] = lambda partition: -math.inf,
        owes: Callable[[EndpointId], bool] = lambda endpoint_id: False,
        made: Callable[[Lane], None] = lambda lane: None,
        learn: Callable[[Lane], None] = lambda lane: None,
        circuits: CircuitPolicy = DEFAULT_POLICY,
    ) -> None:
        self._budget = budget
        self._clock = clock
        self._send = send
        self._may_start = may_start
        self._may_spill = may_spill
        self._spill_row = spill
        self._release = release
        self._mark_in_flight = mark_in_flight
        self._drained = drained
        self._owned_since = owned_since
        self._owes = owes
        self._made = made
        self._learn = learn
        self._circuits = circuits
        self._lanes: dict[EndpointId, Lane] = {}
        self._by_app: dict[AppId, set[EndpointId]] = {}
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
            lane = self._lanes[endpoint.id] = Lane(
                endpoint,
                self._circuits,
                boot=self._owned_since(endpoint.partition),
                all_owed=endpoint.ordered and self._owes(endpoint.id),
            )
            self._by_app.setdefault(endpoint.app_id, set()).add(endpoint.id)
            self._made(lane)
            if not lane.peer.calm:
                self._wake_in(lane, lane.peer.wait(self._clock.now()))
        elif lane.peer.endpoint is not endpoint:
            self._configure(lane, endpoint)
        return lane

    def look(self, lane: Lane) -> None:
        """The lane may start something earlier than it thought."""
        self._start(lane)

    def get(self, endpoint_id: EndpointId) -> Lane | None:
        """The lane of an endpoint, if it has one."""
        return self._lanes.get(endpoint_id)

    def offer(self, endpoint: Endpoint, delivery: Delivery, *, crowd: bool = False) -> None:
        """A fresh delivery, perhaps one of a crowd: it waits in its lane, or is spilled where that is closed or full, or where
        rows come before it."""
        lane = self._lanes.get(endpoint.id)
        if lane is None or lane.peer.endpoint is not endpoint:
            lane = self.lane(endpoint)
        if lane.adrift and lane.adopt(delivery):
            return
        if delivery.line and lane.joins_rows(delivery.line):
            self._active[endpoint.id] = lane
            self._spill(lane, delivery, OwedReason.BEHIND)
        elif lane.closed:
            self._spill(lane, delivery, lane.closed_reason)
        elif not lane.peer.calm and lane.peer.wait(self._clock.now()) not in (0.0, math.inf):
            self._spill(lane, delivery, lane.peer.quiet_reason)
        elif lane.has_fresh_room:
            lane.queue.add(delivery)
            if crowd:
                self._active[endpoint.id] = lane
                self._crowd.append(lane)
                self._pump_soon()
            else:
                self._start(lane)
        else:
            self._spill(lane, delivery, OwedReason.LANE_FULL)

    def room(self, endpoint: Endpoint) -> int:
        """How many rows the endpoint's lane would take now.

        Where rows that wait fill half of their memory, only lanes that could send one at once get any.
        """
        if endpoint.paused or not endpoint.enabled:
            return 0
        lane = self.lane(endpoint)
        room = lane.paged_room(self._clock.now())
        if self.paged_bytes >= PAGED_BYTES_MAX // 2:
            idle = max(lane.concurrency.limit - lane.requests, 0)
            room = 0 if lane.queue.paged else min(room, idle)
        return room

    def page_in(self, endpoint: Endpoint, deliveries: Iterable[Delivery]) -> None:
        """Rows that are due; the caller asked `room` before. Its `endpoint` may be older than the lane's by now."""
        lane = self._lanes.get(endpoint.id) or self.lane(endpoint)
        for delivery in deliveries:
            if not (lane.adrift and lane.adopt(delivery)):
                lane.queue.add(delivery)
                self.paged_bytes += len(delivery.event.payload)
        if lane.closed:
            self.close(lane)
        else:
            self._start(lane)

    # Starting

    def _start(self, lane: Lane) -> None:
        if not len(lane.queue):
            return
        self._active[lane.endpoint.id] = lane
        while (load := self._take(lane)) is not None:
            task = asyncio.get_running_loop().create_task(self._work(lane, load))
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

    def _take(self, lane: Lane) -> Load | None:
        if lane.closed or lane.requests >= lane.concurrency.limit:
            return None
        first = lane.queue.first()
        if first is None:
            return None
        if lane.bucket is not None or not lane.peer.calm or lane.endpoint.batch is not None:
            wait = lane.wait(self._clock.boot(), self._clock.now())
            if wait > 0:
                self._wake_in(lane, wait)
                return None
        size = lane.next_size(first)
        if not self._may_start() or not self._budget.admits(
            size, lane_sockets=lane.requests, lane_bytes=lane.bytes_in_flight
        ):
            self._stalled[lane.endpoint.id] = lane
            return None
        paged = lane.queue.paged_bytes
        load = lane.take()
        self.paged_bytes -= paged - lane.queue.paged_bytes
        self._budget.take(_size(load))
        return load

    def _wake_in(self, lane: Lane, seconds: float) -> None:
        """Look at the lane again then. It has one timer: the earliest."""
        if seconds == math.inf:
            return  # whoever ends a request looks at it
        loop = asyncio.get_running_loop()
        at = loop.time() + max(seconds, WAIT_SECONDS_MIN)
        if lane.timer is not None:
            if lane.timer.when() <= at:
                return
            lane.timer.cancel()
        lane.timer = loop.call_at(at, self._woken, lane)

    def _woken(self, lane: Lane) -> None:
        lane.timer = None
        if self._lanes.get(lane.endpoint.id) is not lane:
            return
        self._start(lane)
        if not lane.closed:
            self._drained(lane.endpoint.id)

    async def _work(self, lane: Lane, load: Load) -> None:
        current: Load | None = load
        while current is not None:
            started_at = self._clock.boot()
            running = lane.requests
            told: Told | None = None
            try:
                told = await self._send(lane.peer, current)
            except Exception as error:  # noqa: BLE001 - it is logged, though not each time
                self._tell(error, lane)
            finally:
                lane.ended(current)
                self._budget.give_back(_size(current))
            if told is None:
                # Ours, not the target's: no attempt is spent, and the deliveries are owed a little later.
                for delivery in current:
                    self._spill_row(delivery, lane.endpoint, OwedReason.OUR_FAULT)
                self._settle(lane, current, [Fate.OWED] * len(current))
            else:
                self._note(lane, told, running, started_at)
                self._settle(lane, current, told.fates)
            # Before the next one is taken: a lane that never runs dry has room for rows too.
            if lane.paged_room(0.0 if lane.peer.calm else self._clock.now()):
                self._drained(lane.endpoint.id)
            current = self._take(lane)
            if self._stalled:
                self._restart_stalled(PROMPT_STALLED_MAX)
            if self._crowd:
                self._pump_soon()
            if current is not None and lane.concurrency.limit > lane.requests and len(lane.queue):
                self._start(lane)  # it may have more at once than before
        if lane.in_flight or len(lane.queue):
            return
        self._active.pop(lane.endpoint.id, None)
        if lane.adrift:
            self._forget(lane)  # its partition may be another owner's: what it knows grows old

    def _note(self, lane: Lane, told: Told, running: int, started_at: float) -> None:
        """What a request told of the target's pace."""
        if told.seconds is None:
            if lane.bucket is not None:
                lane.bucket.give_back()
            return
        was_calm, lane.calm = lane.calm, lane.peer.calm
        if not lane.calm:
            self._quieten(lane)
        elif not was_calm:
            lane.concurrency.restart()
        lane.concurrency.answered(
            told.seconds,
            overloaded=told.overloaded,
            running=running,
            started_at=started_at,
            boot=self._clock.boot(),
        )

    def _quieten(self, lane: Lane) -> None:
        """Nothing is sent for a while: what waits need not wait in memory."""
        wait = lane.peer.wait(self._clock.now())
        if wait in (0.0, math.inf):
            return
        if wait > LANE_SECONDS_MAX:
            self._leave(lane, lane.queue.clear(), lane.peer.quiet_reason)
        self._wake_in(lane, wait)

    def _settle(self, lane: Lane, load: Load, fates: Sequence[Fate]) -> None:
        """Let the lines of a load go on, or leave memory where one of their deliveries is a row now."""
        again = [delivery for delivery, fate in zip(load, fates, strict=True) if fate is Fate.AGAIN]
        if again:
            self.paged_bytes += sum(len(d.event.payload) for d in again if d.row)
            lane.queue.back(again)
        seen = {delivery.line for delivery in again}
        for delivery, fate in zip(load, fates, strict=True):
            line = delivery.line
            if not line:
                continue
            if fate is Fate.OWED:
                lane.owe_line(line, LANE_LINES_OWED_MAX)
                if lane.queue.has(line):
                    self._leave(lane, lane.queue.leave(line), OwedReason.BEHIND)
            elif line not in seen and delivery is _last_of(load, line) and lane.queue.has(line):
                lane.queue.done(line)

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

    def _spill(self, lane: Lane, delivery: Delivery, reason: OwedReason) -> None:
        """A delivery that waits nowhere any more: it becomes a row, or its row is left alone until it is due again."""
        if delivery.row:
            self._release(delivery)
        else:
            if delivery.line:
                lane.owe_line(delivery.line, LANE_LINES_OWED_MAX)
            self._spill_row(delivery, lane.endpoint, reason)

    def _leave(self, lane: Lane, deliveries: Sequence[Delivery], reason: OwedReason) -> None:
        """These were taken out of the lane's queue. Of a line all but the first wait for it, wherever they are."""
        lines: set[int] = set()
        for delivery in deliveries:
            if delivery.row:
                self.paged_bytes -= len(delivery.event.payload)
            behind = delivery.line and (delivery.line in lines or lane.queue.has(delivery.line))
            lines.add(delivery.line)
            self._spill(lane, delivery, OwedReason.BEHIND if behind else reason)

    def sweep(self, boot: float) -> None:
        """Spill what has waited for two seconds, and let the cursor pass requests that have run for as long."""
        oldest = boot - LANE_SECONDS_MAX
        for lane in list(self._active.values()):
            if lane.queue.fresh:
                for waited in lane.queue.waited(oldest, self._may_spill):
                    self._leave(lane, waited, lane.waited_reason)
            for delivery in lane.in_flight.values():
                if delivery.fresh and delivery.offered_at <= oldest:
                    if delivery.line:
                        lane.owe_line(delivery.line, LANE_LINES_OWED_MAX)
                    self._mark_in_flight(lane, delivery)
            if lane.all_owed and lane.learning is None and lane.endpoint.ordered:
                self._learn(lane)
            if not len(lane.queue) and not lane.in_flight:
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
        self._leave(lane, lane.queue.clear(), lane.closed_reason)

    def configure(self, endpoints: Iterable[Endpoint]) -> None:
        """Endpoints as they are now; lanes that exist follow, and rows that waited for an open lane are paged."""
        for endpoint in endpoints:
            lane = self._lanes.get(endpoint.id)
            if lane is not None:
                self._configure(lane, endpoint)
            elif endpoint.enabled and not endpoint.paused:
                self._drained(endpoint.id)

    def _configure(self, lane: Lane, endpoint: Endpoint) -> None:
        if endpoint.ordered and not lane.endpoint.ordered and not lane.owed_lines:
            lane.all_owed = self._owes(endpoint.id)
        lane.configure(endpoint, self._clock.boot())
        lane.calm = lane.peer.calm
        if lane.closed:
            self.close(lane)
        else:
            self._start(lane)
            self._drained(endpoint.id)

    def keep_only(self, app_ids: Collection[AppId], endpoint_ids: Collection[EndpointId]) -> None:
        """These are all the endpoints that the apps have: the lanes of others stop."""
        for app_id in app_ids:
            for endpoint_id in self._by_app.get(app_id, ()):
                if endpoint_id not in endpoint_ids:
                    self.close(self._lanes[endpoint_id])

    def line_emptied(self, endpoint_id: EndpointId, line: int) -> None:
        """No row of this line is left, written or not: what is fresh of it need not become one."""
        lane = self._lanes.get(endpoint_id)
        if lane is not None:
            lane.owed_lines.discard(line)

    def taken(self, partitions: Collection[int]) -> None:
        """Partitions are ours again: what their lanes knew of others' doing is old."""
        for lane in self._lanes.values():
            if lane.adrift and lane.endpoint.partition in partitions:
                lane.taken(
                    self._owned_since(lane.endpoint.partition),
                    all_owed=lane.endpoint.ordered and self._owes(lane.endpoint.id),
                )

    def drop(self, partitions: Collection[int]) -> None:
        """Partitions are no longer ours: forget what waits; what is in flight ends by itself."""
        for endpoint_id, lane in list(self._lanes.items()):
            if lane.endpoint.partition not in partitions:
                continue
            self.paged_bytes -= lane.queue.paged_bytes
            lane.queue.clear()
            self._stalled.pop(endpoint_id, None)
            if lane.in_flight:
                lane.adrift = True
            else:
                self._active.pop(endpoint_id, None)
                self._forget(lane)

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
        for lane in self._lanes.values():
            if lane.timer is not None:
                lane.timer.cancel()

    def _forget(self, lane: Lane) -> None:
        endpoint = lane.endpoint
        if lane.timer is not None:
            lane.timer.cancel()
            lane.timer = None
        if self._lanes.get(endpoint.id) is lane:
            del self._lanes[endpoint.id]
            ids = self._by_app[endpoint.app_id]
            ids.discard(endpoint.id)
            if not ids:
                del self._by_app[endpoint.app_id]

    def _evict(self) -> None:
        """Let a tenth of the lanes go, if so many are idle and have nothing to remember."""
        enough = len(self._lanes) * 9 // 10
        boot = self._clock.boot()
        for endpoint_id, lane in list(self._lanes.items()):
            if len(self._lanes) <= enough:
                break
            if endpoint_id not in self._active and lane.forgettable(boot):
                self._forget(lane)
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
        return sum(len(lane.queue) for lane in self._active.values())

    def __len__(self) -> int:
        return len(self._lanes)


def _size(load: Load) -> int:
    return len(load[0].event.payload) if len(load) == 1 else sum([len(d.event.payload) for d in load])


def _last_of(load: Load, line: int) -> Delivery:
    return next(delivery for delivery in reversed(load) if delivery.line == line)
