"""What the live stream reads: where the log and the record of attempts end, and what is beyond a position.

An event's place is `(partition, seq)`, an attempt's `(partition, id)`: within a partition, both are handed out in the order
in which they become visible. `since` (unix seconds) promises that nothing asked for came more than a day before it, so that
older days are not searched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from posthouse.domain.ids import AppId, AttemptId, EventId
from posthouse.ports.inspect import AttemptFacts, EventFacts


class Ends(msgspec.Struct, frozen=True):
    """Where each partition ends: the `seq` of its last event, and the id of its newest attempt where it had one lately.

    `before` is an id older than those, and than any that will come.
    """

    events: Mapping[int, int]
    attempts: Mapping[int, AttemptId]
    before: AttemptId


class Wanted(msgspec.Struct, frozen=True):
    """Which rows are wanted: of this app, or with it in their audience (None: of all); of these event types, as an endpoint
    names them (None: of all)."""

    app_id: AppId | None = None
    types: tuple[str, ...] | None = None


class EventRow(msgspec.Struct, frozen=True):
    """An event and its place. Without an app it is the platform's, and there once for each partition of its audience."""

    partition: int
    seq: int
    facts: EventFacts


class AttemptRow(msgspec.Struct, frozen=True):
    """An attempt and its partition."""

    partition: int
    facts: AttemptFacts


class EventPage(msgspec.Struct, frozen=True):
    """Wanted events, by partition in the order of `seq`; how far each partition was read; and the partitions whose next event
    is not where it should be (then nothing of them was read)."""

    rows: Sequence[EventRow]
    read: Mapping[int, int]
    missing: frozenset[int]


class AttemptPage(msgspec.Struct, frozen=True):
    """Wanted attempts, by partition in the order of their ids; and how far each partition was read."""

    rows: Sequence[AttemptRow]
    read: Mapping[int, AttemptId]


class StreamSource(Protocol):
    """Each read ends within a bounded time. Raises StoreUnavailable."""

    async def ends(self, *, since: float) -> Ends: ...

    async def events(
        self, spans: Mapping[int, tuple[int, int]], wanted: Wanted, *, since: float | None, limit: int
    ) -> EventPage:
        """Of each partition, at most `limit` events after the first number of its span and up to the second, which was
        seen in `ends`. `since` None searches all days."""
        ...

    async def attempts(
        self, after: Mapping[int, AttemptId], wanted: Wanted, *, since: float, limit: int
    ) -> AttemptPage:
        """Of each partition, at most `limit` attempts after an id."""
        ...

    async def payloads(self, events: Sequence[EventRow]) -> Mapping[EventId, bytes]:
        """The payloads of some events; one that retention dropped is not there."""
        ...
