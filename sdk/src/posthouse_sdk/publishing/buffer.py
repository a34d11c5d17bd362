"""What waits to be sent in the background: bounded, in order for each app, in batches. Pure, and not thread-safe by itself.

An app's events (and the platform's, which are for no app by name) are a line of their own: one that the server holds back, by
its quota, holds up no other. Of the line at the front, what is sent is taken away, and put back where it was if it has to be
tried again; so a batch is made anew each time, and whoever holds the buffer can go on with what another began.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, Generic, NamedTuple, TypeVar

from posthouse_sdk.publishing.errors import PublishError
from posthouse_sdk.publishing.event import Event, Receipt
from posthouse_sdk.publishing.exchange import (
    Accepted,
    Again,
    Call,
    Refused,
    Server,
    Verdict,
    given_up,
    one,
    pause,
    several,
)

H = TypeVar("H")

EVENT_BYTES: Final = 400
"""What an event in memory takes beside its body, about."""

_OF_A_TYPE: Final = ("event_type_not_found", "event_type_archived")
_OF_AN_EVENT: Final = (400, 413, 415, 422)


class Entry(NamedTuple, Generic[H]):
    """An event that waits, since when, and whom to tell."""

    event: Event
    handle: H
    since: float

    @property
    def size(self) -> int:
        return len(self.event.body) + EVENT_BYTES


class Settled(NamedTuple, Generic[H]):
    """What became of an event."""

    entry: Entry[H]
    outcome: Receipt | PublishError


class _Line(Generic[H]):
    """The events of one destination."""

    __slots__ = ("in_doubt", "most", "not_before", "tries", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[Entry[H]] = deque()
        self.not_before = 0.0
        self.tries = 0
        self.in_doubt = False
        self.most: int | None = None  # events in one batch, while one that is refused is looked for


class Batch(NamedTuple, Generic[H]):
    """Events under way: settle it with the verdict."""

    app: str | None
    entries: Sequence[Entry[H]]
    call: Call


class Buffer(Generic[H]):
    """Events that wait, at most `events_max` and `bytes_max`; in batches of at most `batch_events` and `batch_bytes`. One that
    could not be sent for `keep_seconds` is given up."""

    def __init__(
        self,
        *,
        events_max: int,
        bytes_max: int,
        batch_events: int,
        batch_bytes: int,
        keep_seconds: float,
        server: Server | None = None,
    ) -> None:
        self._events_max = events_max
        self._bytes_max = bytes_max
        self._batch_events = batch_events
        self._batch_bytes = batch_bytes
        self._keep_seconds = keep_seconds
        self._server = server
        self._lines: dict[str | None, _Line[H]] = {}
        self._not_before = 0.0
        self._tries = 0
        self._hurried = False
        self.events = 0
        """How many wait or are under way."""
        self.bytes = 0

    def has_room(self, event: Event) -> bool:
        """Whether it may be added. An event larger than all of the buffer may, where it is alone."""
        size = len(event.body) + EVENT_BYTES
        return self.events == 0 or (self.events < self._events_max and self.bytes + size <= self._bytes_max)

    def add(self, event: Event, handle: H, *, now: float) -> None:
        entry = Entry(event, handle, now)
        line = self._lines.get(event.app)
        if line is None:
            line = self._lines[event.app] = _Line()
        line.waiting.append(entry)
        self.events += 1
        self.bytes += entry.size

    def take(self, *, now: float) -> Batch[H] | float | None:
        """What is to be sent now; or how many seconds from now something is; or None, where nothing waits."""
        soonest: float | None = None
        for app, line in self._lines.items():
            if not line.waiting:
                continue
            at = max(line.not_before, self._not_before)
            if at <= now:
                # The next time, others come first.
                del self._lines[app]
                self._lines[app] = line
                return self._batch(app, line)
            soonest = at if soonest is None else min(soonest, at)
        return None if soonest is None else soonest - now

    def _batch(self, app: str | None, line: _Line[H]) -> Batch[H]:
        entries = [line.waiting.popleft()]
        first = entries[0].event
        if not first.is_json or not line.waiting:
            return Batch(app, entries, one(first))
        size, keys = len(first.body), {first.idempotency_key}
        most = min(line.most or self._batch_events, self._batch_events)
        while line.waiting and len(entries) < most:
            event = line.waiting[0].event
            size += len(event.body) + 1
            # A key that is there twice is refused within one batch, and in two it is what it says: the same event.
            if not event.is_json or size > self._batch_bytes or event.idempotency_key in keys:
                break
            keys.add(event.idempotency_key)
            entries.append(line.waiting.popleft())
        if len(entries) == 1:
            return Batch(app, entries, one(first))
        return Batch(app, entries, several(app, [entry.event for entry in entries]))

    def settle(self, batch: Batch[H], verdict: Verdict, *, now: float, draw: float) -> list[Settled[H]]:
        """What is settled by the answer to a batch; the rest waits again, in its place."""
        line = self._lines[batch.app]
        match verdict:
            case Accepted(receipts):
                self._good(line)
                settled = [Settled(entry, receipt) for entry, receipt in zip(batch.entries, receipts, strict=True)]
                line.most = None if line.most is None else min(line.most * 2, self._batch_events)
            case Refused():
                self._good(line)
                settled = self._refused(line, batch, verdict)
            case Again():
                settled = self._again(line, batch, verdict, now=now, draw=draw)
        for entry, _ in settled:
            self.events -= 1
            self.bytes -= entry.size
        if not line.waiting and line.not_before <= now:
            del self._lines[batch.app]
        return settled

    def give_up(self, reason: str) -> list[Settled[H]]:
        """Everything that waits, as failed."""
        settled = [
            Settled(entry, given_up(reason, server=self._server, tries=line.tries, in_doubt=line.in_doubt))
            for line in self._lines.values()
            for entry in line.waiting
        ]
        self.forget()
        return settled

    def handles(self, under_way: Batch[H] | None) -> list[H]:
        """Whom to tell, of all that wait and of what is under way."""
        entries = [entry for line in self._lines.values() for entry in line.waiting]
        return [entry.handle for entry in (*(() if under_way is None else under_way.entries), *entries)]

    def forget(self) -> None:
        """Drop everything: it is somebody else's."""
        self._lines.clear()
        self.events = self.bytes = 0

    def put_back(self, batch: Batch[H]) -> None:
        """A batch of which nobody will know what became of it: it is sent again, with the same keys."""
        line = self._lines[batch.app]
        line.waiting.extendleft(reversed(batch.entries))
        line.in_doubt = True

    def hurry(self) -> None:
        """Try at once what waits for its next try, and from now on without the pauses that the server asks for: there is no
        later."""
        self._hurried = True
        self._not_before = 0.0
        for line in self._lines.values():
            line.not_before = 0.0

    def _good(self, line: _Line[H]) -> None:
        self._tries = line.tries = 0
        self._not_before = line.not_before = 0.0
        line.in_doubt = False

    def _refused(self, line: _Line[H], batch: Batch[H], verdict: Refused) -> list[Settled[H]]:
        """All of it, where it is about all; the one at fault, where it was named; else it is looked for by halves."""
        entries, error = batch.entries, verdict.error
        of_a_type = error.code in _OF_A_TYPE
        some = error.status in _OF_AN_EVENT or (of_a_type and len({entry.event.type for entry in entries}) > 1)
        if len(entries) == 1 or not some:
            return [Settled(entry, error) for entry in entries]
        if verdict.at is not None and verdict.at < len(entries):
            rest = [*entries[: verdict.at], *entries[verdict.at + 1 :]]
            line.waiting.extendleft(reversed(rest))
            return [Settled(entries[verdict.at], error)]
        line.waiting.extendleft(reversed(entries))
        line.most = len(entries) // 2
        return []

    def _again(self, line: _Line[H], batch: Batch[H], verdict: Again, *, now: float, draw: float) -> list[Settled[H]]:
        line.in_doubt |= verdict.in_doubt
        line.waiting.extendleft(reversed(batch.entries))
        after = 0.0 if self._hurried else verdict.after
        if verdict.everywhere:
            self._tries += 1
            wait = 0.0 if verdict.reused and self._tries == 1 else pause(self._tries, after, draw=draw)
            self._not_before = now + wait
        line.tries += 1
        if not verdict.everywhere:
            wait = pause(line.tries, after, draw=draw)
            line.not_before = now + wait
        old: list[Entry[H]] = []
        while line.waiting and line.waiting[0].since + self._keep_seconds <= now + wait:
            old.append(line.waiting.popleft())
        error = given_up(verdict.reason, server=self._server, tries=line.tries, in_doubt=line.in_doubt)
        return [Settled(entry, error) for entry in old]
