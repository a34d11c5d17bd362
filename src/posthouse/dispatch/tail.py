"""The tail: hands each owned partition's events to the dispatcher in the order of `seq`, each once per epoch.

Events published in this process arrive by `offer` and save a read; what is not in hand is read from the log. Losing every
offer changes latency, never the outcome. Wake-ups are offers, `nudge`s and the poll of the heads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog

from posthouse.domain.errors import LogRewound, StoreUnavailable
from posthouse.domain.event import Event
from posthouse.domain.ids import EventId
from posthouse.domain.limits import OUTSTANDING_BYTES_MAX, OUTSTANDING_EVENTS_MAX
from posthouse.ports.clock import Clock
from posthouse.ports.log import EventLog, Head
from posthouse.ports.store import Claim
from posthouse.settle.progress import Progress

log = structlog.get_logger()

POLL_SECONDS: Final = 0.1
OFFERED_EVENTS_MAX: Final = 2_000  # in all tails; an offer beyond it is read from the log later
READ_SLACK_SECONDS: Final = 3_600.0
READS_AT_ONCE: Final = 4


class _Tail:
    """One partition. `position` is the last `seq` handed on; while `busy`, a task is reading and offers are set aside."""

    __slots__ = ("at", "busy", "epoch", "last_id", "offered", "partition", "position", "seen_head", "suspect")

    def __init__(self, claim: Claim) -> None:
        self.partition = claim.partition
        self.epoch = claim.epoch
        self.position = claim.cursor.seq
        self.at = claim.cursor.at
        self.last_id: EventId | None = None
        self.offered: dict[int, Event] = {}
        self.seen_head = claim.cursor.seq
        self.busy = False
        self.suspect = False


class Tails:
    """The tails of all owned partitions.

    `ready` says whether an event can be dispatched without waiting (its app's configuration is here); `prepare` makes a run
    of events ready; `dispatch` hands one on. `rewound` is called for a partition whose log is not the one that was read.
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
        rewound: Callable[[int], Awaitable[None]],
        heads_seen: Callable[[dict[int, Head]], None],
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
        self._tails: dict[int, _Tail] = {}
        self._offered = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._reads = asyncio.Semaphore(READS_AT_ONCE)
        self._room = asyncio.Event()

    def take(self, claim: Claim) -> None:
        self._tails[claim.partition] = _Tail(claim)

    def drop(self, partition: int) -> None:
        tail = self._tails.pop(partition, None)
        if tail is not None:
            self._offered -= len(tail.offered)
            tail.offered.clear()

    def offer(self, events: Sequence[Event]) -> None:
        """Events just appended by this process, whoever owns their partitions. Never waits."""
        for event in events:
            tail = self._tails.get(event.partition)
            if tail is None or event.seq <= tail.position:
                continue
            if (
                not tail.busy
                and not tail.suspect
                and event.seq == tail.position + 1
                and self.has_room
                and self._ready(event)
            ):
                self._hand_on(tail, event)
                continue
            if self._offered < OFFERED_EVENTS_MAX and event.seq not in tail.offered:
                tail.offered[event.seq] = event
                self._offered += 1
            self._catch_up(tail)

    def nudge(self, partitions: Sequence[int]) -> None:
        """Somebody says that there is something new in these partitions."""
        for partition in partitions:
            tail = self._tails.get(partition)
            if tail is not None:
                self._catch_up(tail)

    def suspect_all(self) -> None:
        """A connection was lost: the database behind it may be another one now. Check before going on."""
        for tail in self._tails.values():
            tail.suspect = True

    @property
    def has_room(self) -> bool:
        """Whether another event may be dispatched, by count, by bytes, and by what the journal has to write."""
        progress = self._progress
        return (
            progress.events < OUTSTANDING_EVENTS_MAX and progress.payload_bytes < OUTSTANDING_BYTES_MAX and self._gate()
        )

    def roomier(self) -> None:
        """There may be room again."""
        self._room.set()

    def _hand_on(self, tail: _Tail, event: Event) -> None:
        tail.position = event.seq
        tail.at = event.created_at
        tail.last_id = event.id
        self._dispatch(event, tail.epoch)

    # Polling

    async def run(self) -> None:
        """Poll the heads until cancelled: whatever wake-up was lost, nothing waits much longer than this."""
        while True:
            await self._clock.sleep(POLL_SECONDS)
            self._room.set()
            try:
                await self.poll()
            except StoreUnavailable as error:
                log.warning("tail.store_unavailable", error=str(error))
                self.suspect_all()
                await self._clock.sleep(POLL_SECONDS * 5)

    async def poll(self) -> None:
        before = {partition: tail.position for partition, tail in self._tails.items()}
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
        if tail.busy:
            return
        tail.busy = True
        task = asyncio.get_running_loop().create_task(self._follow(tail))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow(self, tail: _Tail) -> None:
        try:
            if tail.suspect:
                await self._verify(tail)
            while self._tails.get(tail.partition) is tail:
                events = self._in_hand(tail)
                if not events:
                    async with self._reads:
                        events = await self._read(tail)
                    if not events:
                        break
                await self._prepare(events)
                for event in events:
                    while not self.has_room:
                        self._room.clear()
                        await self._room.wait()
                    if self._tails.get(tail.partition) is not tail:
                        return
                    if not self._ready(event):
                        await self._prepare([event])
                        if self._tails.get(tail.partition) is not tail:
                            return
                    self._hand_on(tail, event)
        except StoreUnavailable as error:
            log.warning("tail.store_unavailable", partition=tail.partition, error=str(error))
            tail.suspect = True
            tail.seen_head = max(tail.seen_head, tail.position + 1)  # the poll tries again
        except LogRewound as error:
            log.critical("tail.log_rewound", partition=tail.partition, error=str(error))
            await self._rewound(tail.partition)
        finally:
            tail.busy = False
            if tail.position + 1 in tail.offered and self._tails.get(tail.partition) is tail and not tail.suspect:
                self._catch_up(tail)

    def _in_hand(self, tail: _Tail) -> list[Event]:
        """What was offered and follows the position without a gap; what the position passed is dropped."""
        for seq in [s for s in tail.offered if s <= tail.position]:
            del tail.offered[seq]
            self._offered -= 1
        events: list[Event] = []
        while (event := tail.offered.pop(tail.position + 1 + len(events), None)) is not None:
            self._offered -= 1
            events.append(event)
        return events

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
        heads = await self._log.heads([tail.partition])
        head = heads.get(tail.partition)
        if head is None or head.seq < tail.position:
            end = "nowhere" if head is None else head.seq
            raise LogRewound(f"partition {tail.partition} ends at {end}, and {tail.position} was read from it")
        if tail.last_id is not None:
            found = await self._log.event_at(tail.partition, tail.position, since=tail.at - READ_SLACK_SECONDS)
            if found != tail.last_id:
                raise LogRewound(f"event {tail.position} of partition {tail.partition} is another one than was read")
        tail.suspect = False
