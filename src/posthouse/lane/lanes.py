"""All lanes of a process, and the decision which of them may start a request now."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import Final

import structlog

from posthouse.domain.circuit import DEFAULT_POLICY, CircuitPolicy
from posthouse.domain.delivery import Delivery, Fate, OwedReason
from posthouse.domain.endpoint import Endpoint, Throttle
from posthouse.domain.ids import AppId, EndpointId
from posthouse.domain.limits import LANE_FRESH_BUSY_MAX, LANE_SECONDS_MAX, PAGED_BYTES_MAX, PRESSED_STARTS_MAX
from posthouse.lane.budget import Budget
from posthouse.lane.crowd import Crowd, RowPace
from posthouse.lane.faults import FaultLog
from posthouse.lane.lane import Lane, Load, load_bytes
from posthouse.lane.registry import Registry
from posthouse.lane.stalled import Stalled
from posthouse.ports.clock import Clock
from posthouse.send.peer import Peer
from posthouse.send.told import Told

log = structlog.get_logger()

Send = Callable[[Peer, Load], Awaitable[Told]]
Spill = Callable[[Delivery, Endpoint, OwedReason], None]

RESTING_MAX: Final = 256  # workers that wait for their next request: beyond so many, one that is done ends
PROMPT_STALLED_MAX: Final = 16  # lanes looked at when one request ends; the rest at the next sweep


class Lanes:
    """Offers deliveries to their lanes and keeps each lane sending while it may.

    A lane has as many workers as it has requests in flight; a worker takes the next load of its lane when it is done
    with one, and rests when there is none, so that events cost no tasks. `may_start` is asked before every send (the lease
    holds, the journal has room). A lane that must wait (for its rate, its circuit, its target's `Retry-After`, or more events
    for a batch) has one timer.

    What a lane cannot hold, or has held for two seconds, is spilled to a row, the latter while `may_spill` (the journal has
    room); a row that cannot be sent now is left in the store (`release`). `drained` is told when a lane may have room for
    rows, `mark_in_flight` of each request that the cursor is to pass, and `hand_over` of each that is under way as its
    partition is given away. `owned_since` says since when (boot clock) a partition is ours, `owes` whether an endpoint has rows
    at all; `made` is told each new lane, and `learn` each that is in use and does not know which of its lines have rows.

    While somebody waits for what they publish to be stored (`pressed`), live deliveries start a few in each turn of the event
    loop, so that these are answered between them. Where the loop has no time to spare (`busy`), it is not for its target that
    a lane fills: it holds more then.
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
        hand_over: Callable[[Lane, Delivery], None],
        drained: Callable[[EndpointId], None],
        owned_since: Callable[[int], float] = lambda partition: -math.inf,
        owes: Callable[[EndpointId], bool] = lambda endpoint_id: False,
        made: Callable[[Lane], None] = lambda lane: None,
        learn: Callable[[Lane], None] = lambda lane: None,
        circuits: CircuitPolicy = DEFAULT_POLICY,
        pressed: Callable[[], bool] = lambda: False,
        busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self._budget = budget
        self._clock = clock
        self._send = send
        self._may_start = may_start
        self._may_spill = may_spill
        self._spill_row = spill
        self._release = release
        self._mark_in_flight = mark_in_flight
        self._hand_over = hand_over
        self._drained = drained
        self._owned_since = owned_since
        self._owes = owes
        self._made = made
        self._learn = learn
        self._circuits = circuits
        self._pressed = pressed
        self._busy = busy
        self._lanes = Registry(lambda lane: lane.id not in self._active and lane.forgettable(clock.boot()))
        self._active: dict[EndpointId, Lane] = {}  # with something waiting or in flight
        self._stalled = Stalled(budget, may_start, self.start)
        self._crowd = Crowd(budget, clock, self.start)
        self._pace = RowPace()
        self._rows = Crowd(budget, clock, self.start, self._pace)
        # From all sockets: of this budget nothing is taken, and the shared one is asked as ever.
        self._singles = Crowd(Budget(), clock, self.start, starts_max=PRESSED_STARTS_MAX)
        self._workers: set[asyncio.Task[None]] = set()
        self._resting: list[asyncio.Future[tuple[Lane, Load]]] = []
        self._ending = False
        self._faults = FaultLog()
        self._leaving: set[int] = set()  # partitions of which nothing is started any more
        self.paged_bytes = 0  # payloads of rows that wait in lanes

    # Offering

    def lane(self, endpoint: Endpoint) -> Lane:
        """The lane of an endpoint, made where there is none, in the endpoint's newest form."""
        lane = self._lanes.get(endpoint.id)
        if lane is None:
            lane = Lane(
                endpoint,
                self._circuits,
                boot=self._owned_since(endpoint.partition),
                all_owed=endpoint.ordered and self._owes(endpoint.id),
            )
            if (rate := endpoint.throttle) is not None and (seconds := rate.until - self._clock.now()) > 0:
                lane.slow_down(rate.per_second, seconds, self._clock.boot())
            self._lanes.add(lane)
            self._made(lane)
        elif lane.peer.endpoint is not endpoint:
            self._configure(lane, endpoint)
        return lane

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
        elif lane.has_fresh_room or (lane.queue.fresh < LANE_FRESH_BUSY_MAX and self._busy()):
            lane.queue.add(delivery)
            if crowd:
                self._active[endpoint.id] = lane
                self._crowd.add(lane)
            else:
                self.start(lane)
        else:
            self._spill(lane, delivery, OwedReason.LANE_FULL)

    def room(self, endpoint: Endpoint) -> int:
        """How many rows the endpoint's lane would take now.

        Where rows that wait fill half of their memory, only lanes that could send one at once get any.
        """
        if not endpoint.taking:
            return 0
        lane = self.lane(endpoint)
        now = self._clock.now()
        room = lane.paged_room(now)
        if room <= 0 and not lane.peer.calm:
            lane.wake_in(self._woken, lane.peer.wait(now))  # whatever woke it before may have come a moment too early
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
            self.start(lane)

    # Starting

    def start(self, lane: Lane) -> None:
        """Let the lane send what it may."""
        if lane.queue.empty:
            return
        self._active[lane.id] = lane
        while (load := self._take(lane)) is not None:
            self._give(lane, load)

    def _give(self, lane: Lane, load: Load) -> None:
        """Have a worker make this request: one that rests, or a new one."""
        while self._resting:
            worker = self._resting.pop()
            if not worker.done():
                worker.set_result((lane, load))
                return
        task = asyncio.get_running_loop().create_task(self._work(lane, load))
        self._workers.add(task)
        task.add_done_callback(self._workers.discard)

    def _take(self, lane: Lane) -> Load | None:
        if lane.closed or lane.queue.empty or lane.requests >= lane.concurrency.limit:
            return None
        first = lane.queue.first()
        if first is None:
            return None
        peer = lane.peer
        if lane.bucket is not None or not peer.calm or peer.endpoint.batch is not None:
            wait = lane.wait(self._clock.boot(), self._clock.now())
            if wait > 0:
                lane.wake_in(self._woken, wait)
                return None
        if self._leaving and lane.partition in self._leaving:
            return None
        if first.row and not self._rows.admits(lane):
            first = lane.queue.fresh_first()
            if first is None:
                return None
        if not first.row and self._pressed() and not self._singles.admits(lane):
            return None
        size = lane.next_size(first)
        if not self._may_start() or not self._budget.admits(
            size, lane_sockets=lane.requests, lane_bytes=lane.bytes_in_flight
        ):
            self._stalled.add(lane)
            return None
        paged = lane.queue.paged_bytes
        load = lane.take()
        self._pace.live += not load[0].row
        self.paged_bytes -= paged - lane.queue.paged_bytes
        self._budget.take(load_bytes(load))
        return load

    def _woken(self, lane: Lane) -> None:
        lane.timer = None
        if self._lanes.get(lane.id) is not lane:
            return
        self.start(lane)
        if not lane.closed:
            self._drained(lane.id)

    async def _work(self, lane: Lane, load: Load) -> None:
        """Make requests: of this lane until it has no more, then of whatever lane there is."""
        while True:
            await self._send_on(lane, load)
            load = []  # what rests holds no payload
            if self._ending or len(self._resting) >= RESTING_MAX:
                return
            more: asyncio.Future[tuple[Lane, Load]] = asyncio.get_running_loop().create_future()
            self._resting.append(more)
            lane, load = await more

    async def _send_on(self, lane: Lane, load: Load) -> None:
        current: Load | None = load
        while current is not None:
            started_at = self._clock.boot()
            running = lane.requests
            told: Told | None = None
            try:
                told = await self._send(lane.peer, current)
            except Exception as error:  # noqa: BLE001 - it is logged, though not each time
                self._faults.tell(error, lane.id)
            finally:
                lane.ended(current)
                self._budget.give_back(load_bytes(current))
            if told is None:
                # Ours, not the target's: no attempt is spent, and the deliveries are owed a little later.
                for delivery in current:
                    self._spill_row(delivery, lane.endpoint, OwedReason.OUR_FAULT)
                told = Told([Fate.OWED] * len(current))
            else:
                for delivery in told.adopted:
                    self._spill(lane, delivery, OwedReason.WAITED)  # its row, as it is by now, says what is to be done
                lane.note(told, running, started_at, self._clock.boot())
                if not lane.calm:
                    self._quieten(lane)
            again, behind = lane.settle(current, told.fates)
            if again:
                self.paged_bytes += sum([len(delivery.event.payload) for delivery in again if delivery.row])
            if behind:
                self._leave(lane, behind, OwedReason.BEHIND)
            if again and lane.closed:
                self.close(lane)  # it goes nowhere from here
            elif again and lane.partition in self._leaving:
                self._leave_marked(lane)
            # Before the next one is taken: a lane that never runs dry has room for rows too.
            if lane.paged_room(0.0 if lane.peer.calm else self._clock.now()):
                self._drained(lane.id)
            current = self._take(lane)
            if self._stalled.lanes:
                self._stalled.restart(PROMPT_STALLED_MAX)
            self._crowd.pump_soon()
            self._rows.pump_soon()
            if current is not None and lane.concurrency.limit > lane.requests and not lane.queue.empty:
                self.start(lane)  # it may have more at once than before
        if lane.in_flight or not lane.queue.empty:
            return
        self._active.pop(lane.id, None)
        if lane.ours:
            lane.adrift = False
        else:
            self._lanes.remove(lane)  # its partition may be another owner's: what it knows grows old

    def _quieten(self, lane: Lane) -> None:
        """Nothing is sent for a while: what waits need not wait in memory."""
        wait = lane.peer.wait(self._clock.now())
        if wait in (0.0, math.inf):
            return
        if wait > LANE_SECONDS_MAX:
            self._leave(lane, lane.queue.clear(), lane.peer.quiet_reason)
        lane.wake_in(self._woken, wait)

    def resume(self) -> None:
        """The gate opened: let every lane that was refused try again."""
        self._stalled.restart(len(self._stalled))

    # Leaving memory

    def _spill(self, lane: Lane, delivery: Delivery, reason: OwedReason) -> None:
        """A delivery that waits nowhere any more: it becomes a row, or its row is left alone until it is due again. One that
        was to go to another URL has a row that says that its request runs: that is written anew."""
        if delivery.row and not delivery.marked:
            self._release(delivery)
        else:
            if delivery.line:
                lane.owe_line(delivery.line)
            self._spill_row(delivery, lane.endpoint, reason)

    def _leave(self, lane: Lane, deliveries: Sequence[Delivery], reason: OwedReason) -> None:
        """These were taken out of the lane's queue. Of a line all but the first wait for it, wherever they are. Where rows
        leave there is room for others, or for them again."""
        lines: set[int] = set()
        rows = False
        for delivery in deliveries:
            if delivery.row:
                self.paged_bytes -= len(delivery.event.payload)
                rows = True
            behind = delivery.line and (delivery.line in lines or lane.queue.has(delivery.line))
            lines.add(delivery.line)
            self._spill(lane, delivery, OwedReason.BEHIND if behind else reason)
        if rows and not lane.closed:
            self._drained(lane.id)

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
                        lane.owe_line(delivery.line)
                    self._mark_in_flight(lane, delivery)
            if lane.all_owed and lane.learning is None and lane.endpoint.ordered:
                self._learn(lane)
            if lane.queue.empty and not lane.in_flight:
                self._active.pop(lane.id, None)
        self.resume()

    def disable(self, endpoint_id: EndpointId) -> None:
        """The target ended it: start nothing more, before the configuration says so too."""
        lane = self._lanes.get(endpoint_id)
        if lane is not None:
            self.close(lane)

    def slow_down(self, endpoint_id: EndpointId, throttle: Throttle) -> bool:
        """At most this rate, as long as it says. Whether that is news to the endpoint's lane; one that is made later knows it
        from the store."""
        lane = self._lanes.get(endpoint_id)
        seconds = throttle.until - self._clock.now()
        return lane is not None and seconds > 0 and lane.slow_down(throttle.per_second, seconds, self._clock.boot())

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
            elif endpoint.taking:
                self._drained(endpoint.id)

    def _configure(self, lane: Lane, endpoint: Endpoint) -> None:
        if endpoint.ordered and not lane.endpoint.ordered and not lane.owed_lines:
            lane.all_owed = self._owes(endpoint.id)
        lane.configure(endpoint, self._clock.boot())
        lane.calm = lane.peer.calm
        if lane.closed:
            self.close(lane)
        else:
            self.start(lane)
            self._drained(endpoint.id)

    def keep_only(self, app_ids: Collection[AppId], endpoint_ids: Collection[EndpointId]) -> None:
        """These are all the endpoints that the apps have: the lanes of others stop."""
        for lane in self._lanes.of_apps(app_ids):
            if lane.id not in endpoint_ids:
                self.close(lane)

    def line_emptied(self, endpoint_id: EndpointId, line: int) -> None:
        """No row of this line is left, written or not: what is fresh of it need not become one."""
        lane = self._lanes.get(endpoint_id)
        if lane is not None:
            lane.owed_lines.discard(line)

    def taken(self, partitions: Collection[int]) -> None:
        """Partitions are ours again: what their lanes knew of others' doing is old."""
        for lane in self._lanes:
            if lane.adrift and lane.partition in partitions:
                lane.taken(
                    self._owned_since(lane.partition),
                    all_owed=lane.endpoint.ordered and self._owes(lane.id),
                )

    def drop(self, partitions: Collection[int]) -> None:
        """Partitions are no longer ours: forget what waits; what is in flight ends by itself."""
        self._leaving.difference_update(partitions)
        for lane in self._lanes:
            if lane.partition not in partitions:
                continue
            endpoint_id = lane.id
            self.paged_bytes -= lane.queue.paged_bytes
            lane.queue.clear()
            self._stalled.remove(endpoint_id)
            self._crowd.remove(endpoint_id)
            self._rows.remove(endpoint_id)
            self._singles.remove(endpoint_id)
            if lane.in_flight:
                lane.adrift = True
                lane.ours = False
            else:
                self._active.pop(endpoint_id, None)
                self._lanes.remove(lane)

    def leave(self, partitions: Collection[int]) -> None:
        """Before these are handed over: start nothing more of them, and let rows say which requests run, and no others. `drop`
        ends it."""
        self._leaving.update(partitions)
        for lane in [lane for lane in self._active.values() if lane.partition in partitions]:
            for delivery in lane.in_flight.values():
                self._hand_over(lane, delivery)
            self._leave_marked(lane)

    def _leave_marked(self, lane: Lane) -> None:
        """What was to go again does so from its new owner, who would wait for the end of a request that nobody makes."""
        for waiting in lane.queue.marked():
            self._leave(lane, waiting, OwedReason.WAITED)

    def paced(self, partitions: Collection[int]) -> list[Delivery]:
        """What is under way of these to endpoints with a rate."""
        lanes = [lane for lane in self._active.values() if lane.partition in partitions]
        return [delivery for lane in lanes if lane.bucket is not None for delivery in lane.in_flight.values()]

    async def finish(self, seconds: float) -> None:
        """Wait a while for the requests under way, then abandon the rest."""
        self._ending = True
        for resting in self._resting:
            resting.cancel()
        if self._workers:
            await asyncio.wait(list(self._workers), timeout=seconds)
        for worker in list(self._workers):
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        for lane in self._lanes:
            lane.wake_never()

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
