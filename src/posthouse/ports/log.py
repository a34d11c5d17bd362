"""The log: partitioned, append-only, durable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from posthouse.domain.event import Draft, Event
from posthouse.domain.ids import AppId, EventId


class Appended(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Durable at `(partition, seq)`."""

    partition: int
    seq: int
    config_version: int
    created_at: float


class Placed(msgspec.Struct, frozen=True, gc=False):
    """One of the partitions in which a platform event is durable, and the apps there that it is for."""

    partition: int
    seq: int
    config_version: int
    audience: tuple[AppId, ...]


class Announced(msgspec.Struct, frozen=True):
    """A platform event, durable in each partition of its audience; with an audience of none, in one partition all the same."""

    created_at: float
    places: tuple[Placed, ...]

    @property
    def apps(self) -> int:
        """How many apps it is for."""
        return sum(len(place.audience) for place in self.places)


class Repeated(msgspec.Struct, frozen=True, gc=False):
    """The idempotency key was used within 24 hours: this is the event it made, and the fingerprint it came with."""

    event_id: EventId
    fingerprint: bytes
    created_at: float


class AppMissing(msgspec.Struct, frozen=True, gc=False):
    """There is no such app (any more), or not under the uid that the draft names."""


AppendResult = Appended | Announced | Repeated | AppMissing


class Head(msgspec.Struct, frozen=True, gc=False):
    """Where a partition stands: last `seq`, configuration version, and the outside writers' counter."""

    seq: int
    config_version: int
    poke: int


class EventLog(Protocol):
    async def append(self, drafts: Sequence[Draft]) -> list[AppendResult]:
        """Append all of them in one durable commit, those of an app in their order; one result each, in order.

        A draft without an app is for every app that a grant covers at the moment of the call; its type's visibility must not
        be private, or it is for none. Idempotent by event id: appending again what a doubtful commit holds answers as the
        first time. Two drafts of one call never share an idempotency key of an app (or of no app).

        Raises: InDoubt (call again with the same drafts), StoreUnavailable (nothing was written; also for ids more than five
        minutes off the database's clock), StoreRejected (some draft's data are refused, nothing was written), TooLarge (the
        drafts are for more than AUDIENCE_APPS_MAX apps together, nothing was written).
        """
        ...

    async def read(self, partition: int, after: int, *, since: float | None) -> list[Event]:
        """The events with `seq > after`, in order and without a gap, up to a bounded number and size.

        `since` (unix seconds) promises that none of them was created before it, so that old days are not searched; None
        searches all. An empty list means there is none (yet).
        """
        ...

    async def heads(self, partitions: Sequence[int]) -> Mapping[int, Head]: ...

    async def event_at(self, partition: int, seq: int, *, since: float | None) -> EventId | None:
        """Which event is at a position: how a tail notices that the log was rewound under it. None: none is (yet), or the one
        that was is older than retention."""
        ...
