"""Natural group commit: while one commit is under way the next batch gathers. Nobody waits when idle."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final, assert_never

import structlog

from posthouse.domain.errors import Conflict, InDoubt, Overloaded, StoreRejected, StoreUnavailable, TooLarge
from posthouse.domain.event import Draft, Event
from posthouse.domain.ids import AppId
from posthouse.domain.limits import (
    FLUSH_BYTES_MAX,
    FLUSH_EVENTS_MAX,
    HANDED_BYTES_MAX,
    PENDING_BYTES_MAX,
    PENDING_EVENTS_MAX,
    PRESSING_EVENTS,
    PUBLISH_CLASSES,
)
from posthouse.ports.clock import Clock
from posthouse.ports.handing import HandedResult, Handing
from posthouse.ports.log import Announced, Appended, AppendResult, AppMissing, EventLog, Placed, Repeated
from posthouse.ports.telemetry import Telemetry

log = structlog.get_logger()

DOUBT_SECONDS: Final = 10.0
GATHER_SECONDS: Final = 0.001
GATHER_SECONDS_MAX: Final = 0.02
GATHERED_EVENTS: Final = 100  # with so many a commit is worth it at once
CROWDED_EVENTS: Final = 32  # with fewer than so many in a commit nobody waits for its company but that one moment

Group = tuple[Sequence[Draft], "asyncio.Future[list[AppendResult]]", int]


class Publisher:
    """Appends drafts in groups that stand or fall together, one flush at a time in each class of partitions. Where another
    process nearby owns their partition they are handed to it, if that can be done, and appended here if no answer comes.

    `appended` is called after each commit with the events that are new, as soon as those who wait for them are woken. A
    caller that goes away does not cancel its group. What waits is bounded by events and by bytes; beyond it `submit` refuses.
    `sharing` says how many processes share the database, this one among them: where many events come, each commits the less
    often the more there are.
    """

    def __init__(
        self,
        event_log: EventLog,
        clock: Clock,
        telemetry: Telemetry,
        *,
        appended: Callable[[list[Event]], None],
        handing: Handing | None = None,
        sharing: Callable[[], int] = lambda: 1,
        classes: int = PUBLISH_CLASSES,
        pending_events_max: int = PENDING_EVENTS_MAX,
        pending_bytes_max: int = PENDING_BYTES_MAX,
    ) -> None:
        self._log = event_log
        self._clock = clock
        self._telemetry = telemetry
        self._appended = appended
        self._queues: list[deque[Group]] = [deque() for _ in range(classes)]
        self._flushing: list[asyncio.Task[None] | None] = [None] * classes
        self._keys: set[tuple[AppId | None, str]] = set()
        self._handing = handing
        self._sharing = sharing
        self._handed = 0  # groups of which no answer has come
        self._all_told = asyncio.Event()
        self._events_max = pending_events_max
        self._bytes_max = pending_bytes_max
        self._closed = False
        self.pending_events = 0
        self.pending_bytes = 0
        self.failed_events = 0
        self.failing_since: float | None = None
        """By the boot clock, where the last append failed: since when all did."""
        self.handed_events = 0
        self.handed_back_events = 0

    def pressed(self) -> bool:
        """Whether so many events wait to be stored that these have precedence over what is to be sent."""
        return self.pending_events > PRESSING_EVENTS

    def admit(self, size: int) -> None:
        """Raises Overloaded where a body of this size would not find room; asked before it is read."""
        if self._closed:
            raise Overloaded("this server is shutting down; try another one", retry_after=2)
        if self.pending_events >= self._events_max or self.pending_bytes + size > self._bytes_max:
            raise Overloaded("events come in faster than they can be stored; try again shortly", retry_after=1)

    async def submit(self, partition: int, drafts: Sequence[Draft]) -> list[AppendResult]:
        """Append the drafts, all of one partition or all without an app (then any), in one commit; durable when this returns.

        Raises Overloaded, Conflict (an idempotency key of theirs is just being used), StoreRejected, TooLarge (their audience
        is), StoreUnavailable (also where the commit's fate stayed unknown: it may have happened).
        """
        return await self.enqueue(partition, drafts)

    def enqueue(self, partition: int, drafts: Sequence[Draft]) -> asyncio.Future[list[AppendResult]]:
        """`submit`, without waiting: raises what can be known at once; the rest is the future's."""
        return self._admitted(partition, drafts, near=True)

    def take(self, partition: int, drafts: Sequence[Draft]) -> asyncio.Future[list[AppendResult]]:
        """As `enqueue`, for what was handed to this process: it is appended here."""
        return self._admitted(partition, drafts, near=False)

    def _admitted(self, partition: int, drafts: Sequence[Draft], *, near: bool) -> asyncio.Future[list[AppendResult]]:
        size = 0
        keys: list[tuple[AppId | None, str]] = []
        for draft in drafts:
            size += len(draft.payload)
            if draft.attributes is not None:
                size += len(draft.attributes)
            if draft.idempotency_key is not None:
                keys.append((draft.app_id, draft.idempotency_key))
        self.admit(size)
        if keys:
            if any(key in self._keys for key in keys):
                raise Conflict(
                    "a request with this Idempotency-Key is still in progress", code="idempotency_in_progress"
                )
            self._keys.update(keys)
        self.pending_events += len(drafts)
        self.pending_bytes += size
        future: asyncio.Future[list[AppendResult]] = asyncio.get_running_loop().create_future()
        group = (drafts, future, size)
        # Keys in use are known to one process, and the audience of an event without an app is of many partitions.
        handing = self._handing if near and not keys and size <= HANDED_BYTES_MAX else None
        if handing is not None and all(d.app_id is not None for d in drafts):
            self._handed += 1
            if handing.hand(partition, drafts, partial(self._told, partition, group)):
                return future
            self._handed -= 1
        self._append_here(partition, group)
        return future

    def _append_here(self, partition: int, group: Group) -> None:
        cls = partition % len(self._queues)
        self._queues[cls].append(group)
        if self._flushing[cls] is None:
            self._flushing[cls] = asyncio.get_running_loop().create_task(self._flush(cls))

    def _told(self, partition: int, group: Group, results: list[HandedResult] | None) -> None:
        """What was handed over is durable, or has to be appended here: whether it was appended there is not known then."""
        self._handed -= 1
        self.handed_events += len(group[0])
        if results is None:
            self.handed_back_events += len(group[0])
            self._append_here(partition, group)
        else:
            if not group[1].done():
                group[1].set_result([*results])
            self._leave([group])
        if not self._handed:
            self._all_told.set()

    async def close(self) -> None:
        """Admit nothing more, and wait for what was admitted."""
        self._closed = True
        while self._handed:
            self._all_told.clear()
            await self._all_told.wait()
        await asyncio.gather(*(task for task in self._flushing if task is not None))

    async def _flush(self, cls: int) -> None:
        queue = self._queues[cls]
        try:
            while queue:
                groups = _gather(queue)
                events = _events_in(groups)
                started = self._clock.boot()
                try:
                    await self._append(groups)
                except Exception as error:
                    # A fault of ours. Those who wait are told that it may have happened; those behind them have their turn.
                    log.exception("publish.failed", events=events)
                    _fail(groups, StoreUnavailable(f"the append failed: {error}"))
                finally:
                    self._leave(groups)
                if queue or events > PRESSING_EVENTS:
                    await self._gather_company(queue, events, self._clock.boot() - started)
        finally:
            self._flushing[cls] = None

    async def _gather_company(self, queue: deque[Group], events: int, seconds: float) -> None:
        """After a commit of so many events that took so long. Who was just answered may publish again, and a commit costs
        PostgreSQL the same for one event as for ten: so the next one is a moment away.

        Of many processes each has a part of the events, and would commit as often as one alone does. So where they come in
        crowds, and as long as more come, each lets the others have their turns: twice as long as its own took, for each.
        """
        crowded = max(events, _events_in(queue)) >= CROWDED_EVENTS
        processes = self._sharing() if crowded else 1
        turns = min(2 * processes * seconds, GATHER_SECONDS_MAX) if processes > 1 else 0.0
        until = self._clock.boot() + turns
        seen = -1
        while seen < (waiting := _events_in(queue)) < GATHERED_EVENTS:
            seen = waiting
            await self._clock.sleep(GATHER_SECONDS * processes)
            if self._clock.boot() >= until:
                return

    def _leave(self, groups: Sequence[Group]) -> None:
        for drafts, future, size in groups:
            self.pending_events -= len(drafts)
            self.pending_bytes -= size
            for draft in drafts:
                if draft.idempotency_key is not None:
                    self._keys.discard((draft.app_id, draft.idempotency_key))
            if not future.done():  # this task was cancelled
                future.set_exception(StoreUnavailable("the flush ended without an answer"))

    async def _append(self, groups: Sequence[Group]) -> None:
        drafts = [draft for group in groups for draft in group[0]]
        started = self._clock.boot()
        try:
            results = await self._insist(drafts)
        except (StoreRejected, TooLarge) as error:
            # One bad row never fails its neighbours: look for the group that holds it. Of audiences, fewer have fewer apps.
            if len(groups) == 1:
                _fail(groups, error)
            else:
                middle = len(groups) // 2
                await self._append(groups[:middle])
                await self._append(groups[middle:])
            return
        except StoreUnavailable as error:
            self.failed_events += len(drafts)
            if self.failing_since is None:
                self.failing_since = self._clock.boot()
                log.warning("publish.failing", events=len(drafts), error=str(error))
            _fail(groups, error)
            return
        if self.failing_since is not None:
            log.info("publish.works_again", after_seconds=round(self._clock.boot() - self.failing_since, 1))
            self.failing_since = None
        self._telemetry.publish_batch(len(drafts), self._clock.boot() - started)
        events: list[Event] = []
        for draft, result in zip(drafts, results, strict=True):
            events += events_of(draft, result)
        at = 0
        for group_drafts, future, _ in groups:
            if not future.done():
                future.set_result(results[at : at + len(group_drafts)])
            at += len(group_drafts)
        # After those who wait were woken: what there is to do for a flush of events would keep all of them.
        asyncio.get_running_loop().call_soon(self.hand_off, events)

    def hand_off(self, events: list[Event]) -> None:
        """Tell of events that are durable. Whatever becomes of it, their senders are answered, and the tail reads them."""
        try:
            self._telemetry.published(len(events), sum(len(event.payload) for event in events))
            self._appended(events)
        except Exception:
            log.exception("publish.hand_off_failed", events=len(events))

    async def _insist(self, drafts: Sequence[Draft]) -> list[AppendResult]:
        """Append; a commit in doubt is sent again, identical, until its fate is known or too long has passed."""
        until = self._clock.boot() + DOUBT_SECONDS
        delay = 0.05
        doubt = False
        while True:
            try:
                return await self._log.append(drafts)
            except StoreUnavailable as error:
                doubt = doubt or isinstance(error, InDoubt)
                if not doubt or self._clock.boot() >= until:
                    raise
                log.warning("publish.in_doubt", events=len(drafts), error=str(error))
                await self._clock.sleep(delay)
                delay = min(delay * 2, 1.0)


def _events_in(groups: Iterable[Group]) -> int:
    return sum([len(drafts) for drafts, _, _ in groups])


def _gather(queue: deque[Group]) -> list[Group]:
    """The groups of the next flush: at least one, and no more than a flush may hold."""
    groups = [queue.popleft()]
    events, size = len(groups[0][0]), groups[0][2]
    while queue:
        events += len(queue[0][0])
        size += queue[0][2]
        if events > FLUSH_EVENTS_MAX or size > FLUSH_BYTES_MAX:
            break
        groups.append(queue.popleft())
    return groups


def _fail(groups: Sequence[Group], error: Exception) -> None:
    for _, future, _ in groups:
        if not future.done():
            future.set_exception(error)


def events_of(draft: Draft, result: AppendResult) -> tuple[Event, ...]:
    """What was appended: one event, or one for each partition of a platform event's audience."""
    match result:
        case Appended():
            return (_event(draft, result, (), result.created_at),)
        case Announced(created_at, places):
            return tuple([_event(draft, place, place.audience, created_at) for place in places])
        case Repeated() | AppMissing():
            return ()
        case _:
            assert_never(result)


def _event(draft: Draft, at: Appended | Placed, audience: tuple[AppId, ...], created_at: float) -> Event:
    return Event(
        draft.id,
        at.partition,
        at.seq,
        draft.app_id,
        draft.type,
        draft.payload,
        draft.content_type,
        created_at,
        at.config_version,
        subject=draft.subject,
        key=draft.key,
        channels=draft.channels,
        expires_at=draft.expires_at,
        depth=draft.depth,
        audience=audience,
        only=draft.only,
        to_url=draft.to_url,
        source=draft.source,
        attributes=draft.attributes,
    )
