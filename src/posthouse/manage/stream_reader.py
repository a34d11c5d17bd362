"""One live stream: what is beyond its position, a batch at a time, and only as its client takes it.

Between the store and the client there is no queue: a slow client falls behind, and catches up from the store.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from operator import itemgetter
from typing import Final, NamedTuple, TypeVar

import msgspec
import structlog

from posthouse.domain.errors import Invalid, StoreUnavailable
from posthouse.domain.event import JSON_CONTENT
from posthouse.domain.ids import AttemptId, EventId
from posthouse.domain.limits import (
    STREAM_BATCH_ROWS_MAX,
    STREAM_EXAMINED_ROWS_MAX,
    STREAM_FAILED_SECONDS,
    STREAM_ID_MESSAGES_MAX,
    STREAM_KEY_SECONDS,
    STREAM_PAGE_ROWS_MAX,
    STREAM_PAYLOAD_BYTES_MAX,
    STREAM_REMEMBERED_EVENTS_MAX,
)
from posthouse.domain.position import Position
from posthouse.domain.redaction import redacted_payload
from posthouse.manage.stream_ends import Lookout
from posthouse.ports.clock import Clock, set_or_over
from posthouse.ports.stream import AttemptRow, Ends, EventRow, StreamSource, Wanted

log = structlog.get_logger()

T = TypeVar("T")

POSITION_PATH: Final = "Last-Event-ID"


class Ended(Exception):
    """The stream is over: the server stops, its key was revoked, or the store does not answer."""


class Message(NamedTuple):
    """A row, and an event's payload where it was asked for. Some messages have the position after them; so has the last one
    of a batch."""

    row: EventRow | AttemptRow
    payload: bytes | None
    position: Position | None


class Batch(NamedTuple):
    """Rows in the order in which they are told, from a position to another one."""

    events: Sequence[EventRow]
    attempts: Sequence[AttemptRow]
    before: Position
    after: Position


class Stream:
    """`next` gives batches, `messages` what a batch tells; `position` is after the last batch, or further where nothing more
    was wanted.

    Both raise `Ended`, and Invalid `position_expired` where retention was faster than the client. `may_go_on` says whether
    the client's key still holds; `redactions` what is masked of the payloads of some event types; `lasts` whether everything
    after a position is kept. Whoever opened the stream calls `release` in the end.
    """

    def __init__(
        self,
        lookout: Lookout,
        source: StreamSource,
        clock: Clock,
        position: Position,
        *,
        wanted: Wanted,
        data: bool,
        redactions: Callable[[Collection[str]], Awaitable[Mapping[str, tuple[str, ...]]]],
        may_go_on: Callable[[], Awaitable[bool]],
        lasts: Callable[[Position], bool],
        release: Callable[[], None],
    ) -> None:
        self.position = position
        self.release = release
        self._lookout = lookout
        self._source = source
        self._clock = clock
        self._wanted = wanted
        self._examined = STREAM_PAGE_ROWS_MAX if wanted == Wanted() else STREAM_EXAMINED_ROWS_MAX
        self._data = data
        self._redactions = redactions
        self._may_go_on = may_go_on
        self._lasts = lasts
        self._asked_at = clock.boot()
        self._log_turn = lookout.turn
        self._turn = 0
        self._told = OrderedDict[EventId, None]()

    async def next(self, *, seconds: float) -> Batch | None:
        """The next rows, as soon as there are some; None after `seconds` without."""
        until = self._clock.boot() + seconds
        while True:
            await self._check()
            news = self._lookout.news
            pause = STREAM_KEY_SECONDS
            try:
                batch = await self._read()
            except StoreUnavailable as error:
                log.info("stream.read_failed", error=str(error))
                batch, pause = None, STREAM_FAILED_SECONDS
            if batch is not None and (batch.events or batch.attempts):
                return batch
            left = until - self._clock.boot()
            if left <= 0:
                return None
            if batch is None:
                await set_or_over(news, min(pause, left))

    async def messages(self, batch: Batch) -> AsyncIterator[Message]:
        """What a batch tells. Payloads are fetched a megabyte at a time, as they are taken."""
        way = _Way(batch)
        for events in _portions(batch.events, STREAM_PAYLOAD_BYTES_MAX):
            payloads = await self._payloads(events) if self._data else {}
            for event in events:
                yield Message(event, payloads.get(event.facts.id), way.after(event))
        for attempt in batch.attempts:
            yield Message(attempt, None, way.after(attempt))

    async def _check(self) -> None:
        """Raises Ended where the stream must not go on."""
        if self._lookout.over.is_set() or self._lookout.turn != self._log_turn:
            raise Ended
        now = self._clock.boot()
        if now - self._asked_at >= STREAM_KEY_SECONDS:
            self._asked_at = now
            with suppress(StoreUnavailable):
                if not await self._may_go_on():
                    raise Ended

    async def _payloads(self, events: Sequence[EventRow]) -> Mapping[EventId, bytes]:
        try:
            payloads = await self._source.payloads(events)
            rules = await self._redactions({event.facts.type for event in events})
        except StoreUnavailable as error:
            # The client comes again, and begins with this batch.
            log.info("stream.read_failed", error=str(error))
            raise Ended from error
        if any(event.facts.id not in payloads for event in events):
            raise expired()
        if not rules:
            return payloads
        return {
            event.facts.id: redacted_payload(
                payloads[event.facts.id],
                rules.get(event.facts.type, ()),
                is_json=event.facts.content_type == JSON_CONTENT,
            )
            for event in events
        }

    async def _read(self) -> Batch | None:
        """Some of the rows after the position, which then is after them. None: there are none."""
        ends, at, position = self._lookout.ends, self._lookout.at, self.position
        spans = self._some(_spans(position, ends, self._examined))
        after = self._some(_after(position, ends))
        if not spans and not after:
            if at > position.at:
                self.position = msgspec.structs.replace(position, at=at)
            return None
        if not self._lasts(position):
            raise expired()
        events: Sequence[EventRow] = ()
        attempts: Sequence[AttemptRow] = ()
        if spans:
            events, read = await self._read_events(spans, position.at)
            position = msgspec.structs.replace(position, events={**(position.events or {}), **read})
        if after:
            page = await self._source.attempts(after, self._wanted, since=position.at, limit=_limit(after))
            attempts = page.rows
            reached = {partition: page.read.get(partition, ends.attempts[partition]) for partition in after}
            position = msgspec.structs.replace(position, attempts={**(position.attempts or {}), **reached})
        # Only now: had one of the reads failed, none would have happened.
        before, self.position = self.position, position
        self._turn += STREAM_BATCH_ROWS_MAX
        return Batch(_in_order(self._new(events)), sorted(attempts, key=_attempt_id), before, position)

    async def _read_events(
        self, spans: Mapping[int, tuple[int, int]], at: float
    ) -> tuple[Sequence[EventRow], Mapping[int, int]]:
        limit = _limit(spans)
        page = await self._source.events(spans, self._wanted, since=at, limit=limit)
        if page.missing:
            # Unexplained: before anything is said to be gone, every day is searched.
            page = await self._source.events(spans, self._wanted, since=None, limit=limit)
            if page.missing:
                raise expired()
        return page.rows, page.read

    def _some(self, found: Mapping[int, T]) -> Mapping[int, T]:
        """As many partitions as are read at once; the others have their turn later."""
        if len(found) <= STREAM_BATCH_ROWS_MAX:
            return found
        order = list(found)
        first = self._turn % len(order)
        return {partition: found[partition] for partition in (order[first:] + order[:first])[:STREAM_BATCH_ROWS_MAX]}

    def _new(self, events: Sequence[EventRow]) -> list[EventRow]:
        """The events, without the copies that a platform's event has in each partition it concerns."""
        new = []
        for event in events:
            if event.facts.app_id is None:
                if event.facts.id in self._told:
                    continue
                self._told[event.facts.id] = None
                if len(self._told) > STREAM_REMEMBERED_EVENTS_MAX:
                    self._told.popitem(last=False)
            new.append(event)
        return new


class _Way:
    """From the position before a batch to the one after it: where it is after each message, told for some of them.

    The rows of a partition are told in order, so that after any of them its partition is read up to there.
    """

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._left = len(batch.events) + len(batch.attempts)
        self._since = 0
        self._events = dict(batch.before.events or {})
        self._attempts = dict(batch.before.attempts or {})

    def after(self, row: EventRow | AttemptRow) -> Position | None:
        if isinstance(row, EventRow):
            self._events[row.partition] = row.seq
        else:
            self._attempts[row.partition] = row.facts.id
        self._left -= 1
        self._since += 1
        if not self._left:
            return self._batch.after
        if self._since < STREAM_ID_MESSAGES_MAX:
            return None
        self._since = 0
        before = self._batch.before
        return Position(
            events=None if before.events is None else dict(self._events),
            attempts=None if before.attempts is None else dict(self._attempts),
            at=before.at,
        )


def expired() -> Invalid:
    """What is said of a position after which something may be gone."""
    return Invalid(
        "this position is older than what is kept: what came after it may be gone. Begin without it, and look into the "
        "lists for what is still there",
        path=POSITION_PATH,
        code="position_expired",
    )


def _spans(position: Position, ends: Ends, examined: int) -> dict[int, tuple[int, int]]:
    """What is to be read of each partition that has more events than were read."""
    spans = {}
    for partition, seq in (position.events or {}).items():
        end = ends.events.get(partition, 0)
        if end > seq:
            spans[partition] = (seq, min(end, seq + examined))
    return spans


def _after(position: Position, ends: Ends) -> dict[int, AttemptId]:
    """The same of attempts."""
    newest = ends.attempts
    return {p: last for p, last in (position.attempts or {}).items() if newest.get(p, last) > last}


def _limit(partitions: Mapping[int, object]) -> int:
    """How many rows of each partition."""
    return max(1, min(STREAM_PAGE_ROWS_MAX, STREAM_BATCH_ROWS_MAX // len(partitions)))


def _in_order(events: Sequence[EventRow]) -> list[EventRow]:
    """By time, but those of a partition by their `seq`, whatever a clock did meanwhile."""
    latest: dict[int, float] = {}
    keys = []
    for event in events:
        latest[event.partition] = max(event.facts.created_at, latest.get(event.partition, 0.0))
        keys.append(latest[event.partition])
    return [event for _, event in sorted(zip(keys, events, strict=True), key=itemgetter(0))]


def _attempt_id(row: AttemptRow) -> bytes:
    return row.facts.id


def _portions(events: Sequence[EventRow], bytes_max: int) -> Iterator[Sequence[EventRow]]:
    """The events in runs of at most so many bytes of payload, each of one event at least."""
    run: list[EventRow] = []
    size = 0
    for event in events:
        if run and size + event.facts.payload_bytes > bytes_max:
            yield run
            run, size = [], 0
        run.append(event)
        size += event.facts.payload_bytes
    if run:
        yield run
