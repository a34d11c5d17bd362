"""The tail: hands each owned partition's events to the dispatcher in the order of `seq`, each once per epoch.

Events published in this process arrive by `offer` and save a read; what is not in hand is read from the log. Losing every
offer changes latency, never the outcome. Wake-ups are offers, `nudge`s and the poll of the heads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final, NamedTuple

import structlog

from posthouse.domain.errors import LogRewound, PosthouseError
from posthouse.domain.event import Event
from posthouse.domain.ids import EventId
from posthouse.domain.limits import (
    CROWD_ENDPOINTS_MIN,
    OFFERED_BYTES_MAX,
    OFFERED_EVENTS_MAX,
    TAIL_READ_BYTES_MAX,
    TAIL_READ_EVENTS_MAX,
)
from posthouse.ports.clock import Clock
from posthouse.ports.log import EventLog, Head
from posthouse.ports.store import Claim
from posthouse.settle.progress import Progress

log = structlog.get_logger()

POLL_SECONDS: Final = 0.1
# Who is offered so many events between two polls hears of nearly everything anyway, and leaves out the next few of them: four
# busy processes ask as much as one then.
BUSY_EVENTS: Final = 100
BUSY_POLLS: Final = 4
READ_SLACK_SECONDS: Final = 3_600.0
READS_AT_ONCE: Final = 8


class _End(NamedTuple):
    """How far a log was known to reach: the event at that position, where it was seen, and when the last one that was seen was
    appended."""

    seq: int
    id: EventId | None
    at: float


class _Tail:
    """One partition. `position` is the last `seq` handed on; while `busy`, a task is reading and offers are set aside. `left`
    is how far the log reached when the partition was ours before, until it was compared with the log of now. `nudged`: somebody
    said that there is more since the log was last read; `cut`: that read may have ended at its limits."""

    __slots__ = (
        "at", "busy", "cut", "epoch", "last_id", "left", "nudged", "offered", "partition", "position", "seen_head", "suspect"
    )  # fmt: skip

    def __init__(self, claim: Claim, left: _End | None) -> None:
        self.left = left
        self.partition = claim.partition
        self.epoch = claim.epoch
        self.position = claim.cursor.seq
        self.at = claim.cursor.at
        self.last_id: EventId | None = None
        self.offered: dict[int, Event] = {}
        self.seen_head = claim.cursor.seq
        self.busy = False
        self.cut = False
        self.nudged = False
        self.suspect = False

    @property
    def end(self) -> _End:
        """How far the log is known to reach, or was before the partition was taken."""
        if self.left is not None:
            return self.left
        offered = max(self.offered, default=0)
        if offered > self.position:
            return _End(
                max(offered, self.seen_head), self.offered[offered].id if offered >= self.seen_head else None, self.at
            )
        if self.seen_head > self.position:
            return _End(self.seen_head, None, self.at)
        return _End(self.position, self.last_id, self.at)


class Tails:
    """The tails of all owned partitions.

    `ready` says whether an event can be dispatched without waiting (its app's configuration is here); `prepare` makes a run
    of events ready; `dispatch` hands one on. `rewound` is called for partitions whose log is not the one that was read;
    `ended` with each task that ended.
    """

    def __init__(
        self,
        event_log: EventLog,
        clock: Clock,
        progress: Progress,
        *,
        ready: Callable[[Event], bool],
        prepare: Callable[[Sequence[Event]], Awaitable[None]],
        dispatch: Callable[[Event, int], None],
        has_room: Callable[[], bool],
        rewound: Callable[[Collection[int]], Awaitable[None]],
        heads_seen: Callable[[dict[int, Head]], None],
        ended: Callable[[asyncio.Task[None]], None],
    ) -> None:
        self._log = event_log
        self._clock = clock
        self._progress = progress
        self._ready = ready
        self._prepare = prepare
        self._dispatch = dispatch
        self._gate = has_room
        self._rewound = rewound
        self._heads_seen = heads_seen
        self._ended = ended
        self._tails: dict[int, _Tail] = {}
        self._left: dict[int, _End] = {}  # how far the logs of partitions reached that were ours
        self.rewinds = 0  # logs that were found to have lost their end
        self.alarmed: Callable[[int, float], None] = lambda partition, last_seen_at: None
        """Told of each of them, and when the newest event that was known of it had been appended."""
        self._offered_events = 0
        self._offered_bytes = 0
        self._heard = 0  # events that were offered since the last poll
        self._tasks: set[asyncio.Task[None]] = set()
        self._reads = asyncio.Semaphore(READS_AT_ONCE)
        self._room = asyncio.Event()
        self._crowds = asyncio.Lock()
        self._closed = False

    def take(self, claim: Claim) -> None:
        self._tails[claim.partition] = _Tail(claim, self._left.pop(claim.partition, None))

    def drop(self, partitions: Collection[int]) -> None:
        for partition in partitions:
            tail = self._tails.pop(partition, None)
            if tail is not None:
                tail.left = self._left[partition] = tail.end
                for seq in list(tail.offered):
                    self._take_offered(tail, seq)

    def offer(self, events: Sequence[Event]) -> None:
        """Events just appended by this process, whoever owns their partitions. Never waits."""
        self._heard += len(events)
        for event in events:
            tail = self._tails.get(event.partition)
            if tail is None:
                continue
            if event.seq <= tail.position:
                # It was read from the log before. Or else the log lost its end and goes on from there.
                if event.seq == tail.position and tail.last_id not in (None, event.id):
                    tail.suspect = True
                    self._catch_up(tail)
                continue
            if (
                not tail.busy
                and not tail.suspect
                and event.seq == tail.position + 1
                and len(event.audience) < CROWD_ENDPOINTS_MIN
                and self.has_room
                and self._ready(event)
            ):
                self._hand_on(tail, event)
                continue
            size = event.size
            if self._offered_events < OFFERED_EVENTS_MAX and self._offered_bytes + size <= OFFERED_BYTES_MAX:
                if event.seq not in tail.offered:
                    self._offered_events += 1
                    self._offered_bytes += size
                    tail.offered[event.seq] = event
            else:
                tail.seen_head = max(tail.seen_head, event.seq)  # it is read from the log later
            self._catch_up(tail)

    def position(self, partition: int) -> int:
        """The last `seq` of a partition that was handed on; 0 for one that is not ours."""
        tail = self._tails.get(partition)
        return 0 if tail is None else tail.position

    def nudge(self, partitions: Sequence[int]) -> None:
        """Somebody says that there is something new in these partitions."""
        for partition in partitions:
            tail = self._tails.get(partition)
            if tail is not None:
                tail.nudged = True
                self._catch_up(tail)

    def suspect_all(self) -> None:
        """A connection was lost: the database behind it may be another one now. Check before going on."""
        for tail in self._tails.values():
            tail.suspect = True

    @property
    def has_room(self) -> bool:
        """Whether another event may be dispatched: by what is outstanding, and by what the journal has to write."""
        return self._progress.has_room and self._gate()

    def roomier(self) -> None:
        """There may be room again."""
        self._room.set()

    async def close(self) -> None:
        """Hand on nothing more."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _hand_on(self, tail: _Tail, event: Event) -> None:
        tail.position = event.seq
        tail.at = event.created_at
        tail.last_id = event.id
        if tail.offered:
            self._take_offered(tail, event.seq)
        self._dispatch(event, tail.epoch)

    def _take_offered(self, tail: _Tail, seq: int) -> None:
        event = tail.offered.pop(seq, None)
        if event is not None:
            self._offered_events -= 1
            self._offered_bytes -= event.size

    # Polling

    async def run(self) -> None:
        """Poll the heads until cancelled: whatever wake-up was lost, nothing waits much longer than this."""
        left_out = 0
        while True:
            await self._clock.sleep(POLL_SECONDS)
            self._room.set()
            if self._heard >= BUSY_EVENTS * (left_out + 1) and left_out < BUSY_POLLS:
                left_out += 1
                continue
            self._heard = left_out = 0
            try:
                await self.poll()
            except PosthouseError as error:
                log.warning("tail.poll_failed", error=str(error))
                self.suspect_all()
                await self._clock.sleep(POLL_SECONDS * 5)

    async def poll(self) -> None:
        before = {partition: tail.position for partition, tail in self._tails.items()}
        if not before:
            return
        heads = dict(await self._log.heads(list(before)))
        self._heads_seen(heads)
        for partition, head in heads.items():
            tail = self._tails.get(partition)
            if tail is None or tail.busy:
                continue
            # A head seen twice ahead of us: the first time, our own publisher may be about to offer it.
            behind = tail.position < tail.seen_head
            tail.seen_head = max(head.seq, tail.seen_head)
            if head.seq < before[partition]:
                tail.suspect = True
            if behind or tail.suspect:
                self._catch_up(tail)

    # Catching up

    def _catch_up(self, tail: _Tail) -> None:
        if tail.busy or self._closed:
            return
        tail.busy = True
        task = asyncio.get_running_loop().create_task(self._follow(tail), name=f"tail {tail.partition}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(self._ended)

    def _is_ours(self, tail: _Tail) -> bool:
        return self._tails.get(tail.partition) is tail

    async def _follow(self, tail: _Tail) -> None:
        try:
            if tail.left is not None:
                await self._compare(tail, tail.left)
            if tail.suspect:
                await self._verify(tail)
            while self._is_ours(tail) and await self._advance(tail):
                pass
        except LogRewound as error:
            ours = self._is_ours(tail)
            if ours:
                self.drop([tail.partition])
            if tail.left is not None and self._left.get(tail.partition) is tail.left:
                # Nobody has it to compare any more. Were it taken anew meanwhile, its next tail would, and tell of it.
                del self._left[tail.partition]
                self._alarm(tail.partition, tail.left.at, error)
            if ours:
                await self._rewound([tail.partition])
        except PosthouseError as error:
            log.warning("tail.failed", partition=tail.partition, error=str(error))
            tail.suspect = True  # the poll tries again
        finally:
            tail.busy = False
        if tail.position + 1 in tail.offered and not tail.suspect:
            self._catch_up(tail)

    async def _advance(self, tail: _Tail) -> bool:
        """Hand on what follows, from the offers or else from the log; whether there may be more. What was read up to the end of
        the log is not read once more to see that: a nudge, an offer or the poll says so."""
        events = _in_hand(tail)
        if events:
            await self._hand_on_all(tail, events)
            return _is_behind(tail)
        # What is read stays within the turn: no more than a few reads' worth of payloads waits for room.
        async with self._reads:
            tail.nudged = False
            events = await self._read(tail)
            tail.cut = len(events) >= TAIL_READ_EVENTS_MAX or sum(e.size for e in events) >= TAIL_READ_BYTES_MAX
            await self._hand_on_all(tail, events)
            return _is_behind(tail) if events else tail.nudged

    async def _hand_on_all(self, tail: _Tail, events: Sequence[Event]) -> None:
        if events and self._is_ours(tail):
            await self._prepare(events)
        for event in events:
            await self._until_room()
            if len(event.audience) >= CROWD_ENDPOINTS_MIN:
                # One in a turn of the loop, over all partitions: such an event comes to all of them at once.
                async with self._crowds:
                    await self._clock.sleep(0)
            # Of an event for very many apps some may have left the cache as others were loaded.
            if self._is_ours(tail) and not self._ready(event):
                await self._prepare([event])
            if not self._is_ours(tail):
                return
            self._hand_on(tail, event)

    async def _until_room(self) -> None:
        while not self.has_room:
            self._room.clear()
            await self._room.wait()

    async def _read(self, tail: _Tail) -> list[Event]:
        events = await self._log.read(tail.partition, tail.position, since=tail.at - READ_SLACK_SECONDS)
        if not events and tail.seen_head > tail.position:
            # The head says that there is more: look everywhere before calling it a gap.
            events = await self._log.read(tail.partition, tail.position, since=None)
            if not events:
                head = (await self._log.heads([tail.partition])).get(tail.partition)
                if head is not None and head.seq > tail.position:
                    raise LogRewound(f"event {tail.position + 1} of partition {tail.partition} is missing from the log")
                tail.seen_head = tail.position
        return events

    async def _verify(self, tail: _Tail) -> None:
        """Whether the log still holds what was read from it. Raises LogRewound."""
        tail.suspect = False  # from here on; a connection lost meanwhile makes it suspect again
        try:
            await self._require(tail.partition, _End(tail.position, tail.last_id, tail.at))
        except PosthouseError:
            tail.suspect = True
            raise

    async def _compare(self, tail: _Tail, left: _End) -> None:
        """Whether the log of a partition that is ours again reaches as far as before. Where it does not, that is told; there is
        nothing to give up: all of it was derived from what is there now."""
        try:
            await self._require(tail.partition, left)
        except LogRewound as error:
            if not self._is_ours(tail):
                raise
            self._alarm(tail.partition, left.at, error)
        tail.left = None

    def _alarm(self, partition: int, last_seen_at: float, error: LogRewound) -> None:
        self.rewinds += 1
        log.critical("tail.log_rewound", partition=partition, error=str(error))
        self.alarmed(partition, last_seen_at)

    async def _require(self, partition: int, end: _End) -> None:
        """Raises LogRewound where the log does not reach so far, or another event is there."""
        head = (await self._log.heads([partition])).get(partition)
        if head is None or head.seq < end.seq:
            found = "nowhere" if head is None else head.seq
            raise LogRewound(f"partition {partition} ends at {found}, and {end.seq} was read from it")
        if end.id is not None:
            event_id = await self._log.event_at(partition, end.seq, since=end.at - READ_SLACK_SECONDS)
            # None: the event is past retention; a log that was rewound would end before it, or hold another there.
            if event_id not in (None, end.id):
                raise LogRewound(f"event {end.seq} of partition {partition} is not the one that was read")


def _is_behind(tail: _Tail) -> bool:
    """Whether the log is known, or said, to reach further than what was handed on."""
    return tail.nudged or tail.cut or bool(tail.offered) or tail.seen_head > tail.position


def _in_hand(tail: _Tail) -> list[Event]:
    """What was offered and follows the position without a gap."""
    events: list[Event] = []
    while (event := tail.offered.get(tail.position + 1 + len(events))) is not None:
        events.append(event)
    return events
