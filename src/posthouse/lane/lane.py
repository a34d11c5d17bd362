"""A lane: the deliveries of one endpoint that are in memory, and when the next request may start."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection, Sequence
from typing import Final

from posthouse.domain.circuit import DEFAULT_POLICY, CircuitPolicy
from posthouse.domain.delivery import Delivery, DeliveryKey, Fate, OwedReason
from posthouse.domain.endpoint import Endpoint, RateLimit
from posthouse.domain.limits import LANE_FRESH_MAX, LANE_LINES_OWED_MAX, LANE_PAGED_MAX, THROTTLE_TURN_SECONDS
from posthouse.domain.order import UNORDERED
from posthouse.lane.order import Queue
from posthouse.lane.pace import Bucket, Concurrency
from posthouse.send.peer import Peer
from posthouse.send.told import Told

Load = list[Delivery]
"""What goes in one request: one delivery, or a batch."""

_NONE: Final[tuple[Load, Load]] = ([], [])
_AGAIN: Final = Fate.AGAIN  # looked up once
_WAIT_SECONDS_MIN: Final = 0.001  # of its timer
_ROOM_IN_BATCHES: Final = 2  # rows are paged in for so many requests ahead


class Lane:
    """What waits is in `queue`, what is under way in `in_flight`; `requests` counts the latter by request.

    A closed lane starts nothing: its endpoint is disabled, paused, unverified, or cannot be spoken to. `owed_lines` are
    the ordered lines that have rows in the store, or are about to: what is fresh joins them there; `all_owed` stands for all
    of them, until it is known which ones (`learning` then collects those that are added meanwhile). `adrift`: among the
    requests in flight may be some that began before their partition was lost; `ours`: whether it is ours now (again).
    """

    __slots__ = (
        "adrift",
        "all_owed",
        "bucket",
        "bytes_in_flight",
        "calm",
        "closed",
        "concurrency",
        "id",
        "in_flight",
        "learning",
        "ours",
        "owed_lines",
        "partition",
        "peer",
        "queue",
        "requests",
        "throttle",
        "timer",
    )

    def __init__(
        self,
        endpoint: Endpoint,
        circuits: CircuitPolicy = DEFAULT_POLICY,
        *,
        boot: float = -math.inf,
        all_owed: bool = False,
    ) -> None:
        """`boot`: since when (boot clock) nobody else can have sent anything for it."""
        self.id: Final = endpoint.id
        self.partition: Final = endpoint.partition
        self.peer = Peer(endpoint, circuits)
        self.closed = self._is_closed()
        self.calm = self.peer.calm  # as it was when a request last ended
        self.queue = Queue()
        self.in_flight: dict[DeliveryKey, Delivery] = {}
        self.bytes_in_flight = 0
        self.requests = 0
        self.concurrency = Concurrency(endpoint.concurrency)
        self.throttle: tuple[float, float] | None = None  # a rate, and until when (boot clock)
        self.bucket = None if (limit := endpoint.pace) is None else Bucket(limit, at=boot)
        self.owed_lines: set[int] = set()
        self.all_owed = all_owed
        self.learning: set[int] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.adrift = False
        self.ours = True

    @property
    def endpoint(self) -> Endpoint:
        return self.peer.endpoint

    def configure(self, endpoint: Endpoint, boot: float) -> None:
        """Go on with another revision of the endpoint."""
        if endpoint.pace != self.endpoint.pace or self.bucket is None:
            self._pace(endpoint, boot)
        if endpoint.concurrency != self.endpoint.concurrency:
            self.concurrency.configure(endpoint.concurrency)
        self.peer.configure(endpoint)
        self.closed = self._is_closed()

    def slow_down(self, per_second: float, seconds: float, boot: float) -> bool:
        """At most so many requests a second for so long, in place of what was said so before. Whether that is news."""
        until = boot + seconds
        known = self.throttle
        news = known is None or known[0] != per_second or abs(until - known[1]) > THROTTLE_TURN_SECONDS
        if news:
            self.throttle = (per_second, until)
            self._pace(self.endpoint, boot)
        return news

    def _pace(self, endpoint: Endpoint, boot: float) -> None:
        """Go by the lower of the rates that hold now."""
        limit = endpoint.pace
        if self.throttle is not None:
            per_second, until = self.throttle
            if until <= boot:
                self.throttle = None
            elif limit is None or per_second < limit.per_second:
                burst = RateLimit(per_second).capacity
                limit = RateLimit(per_second, burst if limit is None else min(burst, limit.capacity))
        if limit is None:
            self.bucket = None
        elif self.bucket is None:
            self.bucket = Bucket(limit, at=boot)
        else:
            self.bucket.configure(limit, boot)

    def taken(self, boot: float, *, all_owed: bool) -> None:
        """Its partition was lost and is ours again: others may have sent meanwhile, and left rows."""
        if (limit := self.endpoint.pace) is not None:
            self.bucket = Bucket(limit, at=boot)
            if self.throttle is not None:
                self._pace(self.endpoint, boot)
        self.owed_lines.clear()
        self.learning = None
        self.all_owed = all_owed
        self.ours = True
        self.closed = self._is_closed()

    def _is_closed(self) -> bool:
        return not (self.endpoint.taking and self.peer.usable)

    @property
    def closed_reason(self) -> OwedReason:
        """Why what is offered to the closed lane becomes a row."""
        endpoint = self.endpoint
        if not endpoint.enabled:
            return OwedReason.DISABLED
        if not self.peer.usable:
            return OwedReason.OUR_FAULT
        if endpoint.paused:
            return OwedReason.PAUSED
        return OwedReason.DISABLED if endpoint.verified else OwedReason.UNVERIFIED

    @property
    def waited_reason(self) -> OwedReason:
        """Why what has waited for too long did."""
        if not self.peer.calm:
            return self.peer.quiet_reason
        return OwedReason.WAITED if self.bucket is None else OwedReason.RATE_LIMITED

    @property
    def has_fresh_room(self) -> bool:
        return self.queue.fresh < LANE_FRESH_MAX

    def joins_rows(self, line: int) -> bool:
        """Whether a fresh delivery of this line must become a row, behind those that are there."""
        return line in self.owed_lines or self.all_owed

    def owe_line(self, line: int) -> None:
        """A row of this line is on its way into the store."""
        if self.learning is not None:
            self.learning.add(line)
        if not self.all_owed:
            self.owed_lines.add(line)
            if len(self.owed_lines) > LANE_LINES_OWED_MAX:
                self.owed_lines.clear()
                self.all_owed = True

    def know_lines(self, lines: Collection[int]) -> None:
        """These lines have rows, and those that were owed since `learning` began."""
        self.owed_lines.update(lines, self.learning or ())
        self.all_owed = False

    def paged_room(self, now: float) -> int:
        """How many rows may be paged in; none before half the room is free, so that a page is worth its query."""
        if self.closed:
            return 0
        if not self.peer.calm:
            # A probe takes one row; while the target is to be left alone none is taken.
            if self.peer.wait(now) > 0:
                return 0
            if self.peer.calm or not self.peer.works:
                return 0 if len(self.queue) else 1
        batch = self.endpoint.batch
        most = LANE_PAGED_MAX if batch is None else max(LANE_PAGED_MAX, _ROOM_IN_BATCHES * batch.max_events)
        room = most - self.queue.paged
        return room if room >= most // 2 else 0

    # Starting

    def wait(self, boot: float, now: float) -> float:
        """Seconds until the next request may start: 0 now, infinity when one under way has ended. Asked where something waits
        and `requests` is below `concurrency.limit`."""
        if not self.peer.calm:
            wait = self.peer.wait(now)
            if wait > 0:
                return wait
        if self.throttle is not None and self.throttle[1] <= boot:
            self._pace(self.endpoint, boot)
        if self.bucket is not None:
            wait = self.bucket.wait(boot)
            if wait > 0:
                return wait if self.throttle is None else min(wait, self.throttle[1] - boot)
        batch = self.endpoint.batch
        if batch is not None:
            queue = self.queue
            if not queue.paged and queue.fresh < batch.max_events and queue.fresh_bytes < batch.max_bytes:
                return queue.ready_since() + batch.max_wait_ms / 1000 - boot
        return 0.0

    def wake_in(self, woken: Callable[[Lane], None], seconds: float) -> None:
        """Have somebody look at it then. It has one timer: the earliest. Infinity: whoever ends a request looks at it."""
        if seconds == math.inf:
            return
        loop = asyncio.get_running_loop()
        wait = max(seconds, _WAIT_SECONDS_MIN)
        if self.timer is not None:
            if self.timer.when() <= loop.time() + wait:
                return
            self.timer.cancel()
        # Not `call_at`: what is due by then, as a moment was lost meanwhile, uvloop calls soon, without a timer to ask `when`.
        self.timer = loop.call_later(wait, woken, self)

    def wake_never(self) -> None:
        """Nobody needs to look at it any more."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def next_size(self, first: Delivery) -> int:
        """At most so many bytes of payloads go into the next request, which begins with this one."""
        size = len(first.event.payload)
        batch = self.endpoint.batch
        if batch is None:
            return size
        return max(size, min(batch.max_bytes, self.queue.fresh_bytes + self.queue.paged_bytes))

    def take(self) -> Load:
        """What goes into the next request, after `queue.first` gave its beginning."""
        first = self.queue.take()
        load = [first]
        if (batch := self.endpoint.batch) is not None and not first.tried and first.event.to_url is None:
            size = self.peer.frame_bytes() + self.peer.added_bytes(first.event)
            last = first
            left = self.peer.measured_bytes - len(first.event.payload)
            while len(load) < batch.max_events:
                following = self.queue.also(last)
                if following is None or following.kind is not first.kind or following.tried:
                    break
                if following.event.to_url is not None:
                    break  # it goes elsewhere
                left -= len(following.event.payload)
                if left < 0:
                    break
                size += self.peer.added_bytes(following.event)
                if size > batch.max_bytes:
                    break
                last = self.queue.take_also(last)
                load.append(last)
        if self.bucket is not None:
            self.bucket.take()
        self.requests += 1
        for delivery in load:
            self.in_flight[(delivery.endpoint_id, delivery.event.id)] = delivery
            self.bytes_in_flight += len(delivery.event.payload)
        return load

    def ended(self, load: Load) -> None:
        """The request with these has ended."""
        self.requests -= 1
        for delivery in load:
            del self.in_flight[(delivery.endpoint_id, delivery.event.id)]
            self.bytes_in_flight -= len(delivery.event.payload)

    def note(self, told: Told, running: int, started_at: float, boot: float) -> None:
        """What a request told of the target's pace: it began at `started_at` (boot clock) as the `running`-th."""
        if told.seconds is None:
            if self.bucket is not None:
                self.bucket.give_back(started_at, boot)
            return
        was_calm, self.calm = self.calm, self.peer.calm
        if self.calm and not was_calm:
            self.concurrency.restart()
        self.concurrency.answered(
            told.seconds, overloaded=told.overloaded, running=running, started_at=started_at, boot=boot
        )

    def settle(self, load: Load, fates: Sequence[Fate]) -> tuple[Load, Load]:
        """Let the lines of a load go on. What goes again, and is first in the queue; and what leaves the queue, since one
        before it in its line is a row now."""
        if len(load) == 1 and not load[0].line and fates[0] is not _AGAIN:
            return _NONE
        again = [delivery for delivery, fate in zip(load, fates, strict=True) if fate is Fate.AGAIN]
        if again:
            self.queue.back(again)
        behind: Load = []
        lines = {delivery.line for delivery in load} - {delivery.line for delivery in again}
        for line in lines - {UNORDERED}:
            if any(d.line == line and fate is Fate.OWED for d, fate in zip(load, fates, strict=True)):
                self.owe_line(line)
                if self.queue.has(line):
                    behind += self.queue.leave(line)
            elif self.queue.has(line):
                self.queue.done(line)
        return again, behind

    def adopt(self, delivery: Delivery) -> bool:
        """Whether a request for this delivery still runs, from before its partition was lost and taken again.

        Then it is not sent a second time: that request speaks for it from now on. One of an ordered line is sent again, after
        those before it: its line waits for the request to end.
        """
        running = self.in_flight.get(delivery.key)
        if running is None or (running.line and running.line == delivery.line):
            return False
        running.epoch = delivery.epoch
        running.number = delivery.number
        running.fresh = delivery.fresh
        running.row = delivery.row
        running.marked = delivery.marked
        return True

    def forgettable(self, boot: float) -> bool:
        """Whether a new lane would know all that this one does.

        One whose endpoint has confirmed since it was configured is not: a new lane would take it for failing still.
        """
        recovered = self.peer.failing_since is None and self.endpoint.health.failing_since is not None
        lines = self.owed_lines or self.all_owed or (self.throttle is not None and self.throttle[1] > boot)
        return not (recovered or lines) and self.peer.calm and (self.bucket is None or self.bucket.full(boot))


def load_bytes(load: Load) -> int:
    """The payloads that go in one request."""
    return len(load[0].event.payload) if len(load) == 1 else sum([len(d.event.payload) for d in load])
