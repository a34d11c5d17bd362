"""The store as the engine sees it: who owns a partition, what is owed, what was tried.

Every write is fenced: it locks the partition's row and checks owner and epoch in the same transaction (engine protocol,
sections 3 to 5). A write under an old epoch changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import msgspec

from posthouse.domain.delivery import Attempt, Cursor, DeliveryKey, Effect, JournalBatch, Line, Owed, RowKey
from posthouse.domain.endpoint import AppConfig
from posthouse.domain.event import Draft, Event
from posthouse.domain.ids import AppId, AttemptId, EndpointId, EventId
from posthouse.ports.log import Appended


class Claim(msgspec.Struct, frozen=True, gc=False):
    """A partition taken. `previous` is the owner it was taken from; None after a planned hand-over, or at the first time. Then
    all that was sent in the last `on_record_seconds` is on record."""

    partition: int
    epoch: int
    cursor: Cursor
    previous: bytes | None
    on_record_seconds: float = math.inf


class Want(msgspec.Struct, frozen=True, gc=False):
    """A request for up to `limit` owed rows of one endpoint that are due, without those `held` in memory already.

    With the first of an ordered line come those behind it, in order. `every` asks for any row, due or not.
    """

    partition: int
    endpoint_id: EndpointId
    limit: int
    held: tuple[EventId, ...] = ()
    every: bool = False


class Page(msgspec.Struct, frozen=True):
    """Answer to a `Want`: due rows by due time, and when the next one after these is due (None: no further row).

    Rows that are due at the same time come in any order, but those of a line in that of their events. `next_due` may be
    early, when the next page is empty, and is never late; it is infinite where all that are left wait for others. A row
    without its event is of one that retention dropped: nothing can be delivered any more. Events come without their
    audience, which the row has settled.
    """

    rows: tuple[tuple[Owed, Event | None], ...]
    next_due: float | None


class Journalled(msgspec.Struct, frozen=True):
    """For which partitions a batch was written (the others are not ours any more), and what came of its lines: when the
    first row of each is due, infinity for one that is blocked, None for one that has no row left."""

    held: set[int]
    lines: Mapping[Line, float | None] = {}


LateResult = tuple[Attempt, Owed | None, tuple[Effect, ...]]
"""An attempt, and its row's new state: None where nothing is owed any more."""


class Store(Protocol):
    async def partitions(self) -> int:
        """How many partitions this installation has (fixed when it was made)."""
        ...

    async def claim(
        self, owner: bytes, *, limit: int, lease_seconds: float, exclusive: bool, dead: Collection[bytes] = ()
    ) -> list[Claim]:
        """Take up to `limit` partitions that are free: released, expired by the database's clock, or of a `dead` owner, where
        that has not come back by then.

        `exclusive` takes any partition of anybody: only for a process that holds the data directory's lock.
        """
        ...

    async def renew(self, owner: bytes, epochs: Mapping[int, int], *, lease_seconds: float) -> set[int]:
        """Extend the leases that are still ours (even after their expiry, while nobody took them); which those are."""
        ...

    async def release(
        self, owner: bytes, epochs: Mapping[int, int], *, on_record: Mapping[int, float] | None = None
    ) -> None:
        """Planned hand-over: give the partitions up at once. `on_record`: of the last how many seconds all that was sent is on
        record; by default, of all time. (Of what was sent before a crash something may not be.)"""
        ...

    async def attend(self, owner: bytes, *, seconds: float) -> None:
        """Say that this process takes part in owning partitions, for so long by the database's clock; 0: no longer."""
        ...

    async def processes(self) -> dict[bytes, bool]:
        """Every process that takes part or owns a partition, and whether it takes part by the database's clock."""
        ...

    async def journal(self, batch: JournalBatch, *, now: float, lease_seconds: float) -> Journalled:
        """Write a batch in one transaction.

        Of each line that it changes the first row is due (at `now` if it was waiting for another, unless it is blocked), the
        others at infinity. It extends the leases of the partitions for which it was written. One that has a `number` is written
        at most once under its epochs, and not after a later one of its owner: in doubt, it is sent again as it was.
        An endpoint's health keeps the earliest time since which it fails, until it is confirmed.

        Raises: InDoubt, StoreUnavailable, StoreRejected.
        """
        ...

    async def newest_attempt(self, partitions: Collection[int]) -> AttemptId | None:
        """The greatest id of an attempt in these partitions. Call after `claim`.

        Within a partition, attempts become visible in the order of their ids: their owner gives them in order and writes them
        in order, and a new owner gives greater ones than this.
        """
        ...

    async def recorded(self, partition: int, *, after: Cursor, until: int) -> set[DeliveryKey]:
        """The keys of events with `after.seq < seq <= until` that have a row or a terminal attempt. Call after `claim`."""
        ...

    async def recover_in_flight(self, owner: bytes, epochs: Mapping[int, int], *, previous: bytes, now: float) -> None:
        """Rows of no line whose request ran in the dead process `previous` are due at `now` (fenced). Those of a line wait
        until the request cannot arrive any more."""
        ...

    async def settle_late(self, results: Sequence[LateResult], *, sender: bytes, now: float) -> bool:
        """The one write without ownership: the answer of a request that outlived our ownership settles its own rows, which
        are of one partition, together: none is sent by its new owner meanwhile.

        It applies to each that is still marked in flight for its attempt by `sender`. Whether it applied to any; then the
        partition's `poke` tells its owner. The effects of each are recorded with it. An attempt is stored under an id that
        keeps the order in which attempts become visible (`ids.id_beside`).
        """
        ...

    async def owed_endpoints(self, partitions: Collection[int]) -> list[tuple[int, EndpointId, float]]:
        """Each endpoint with rows in these partitions, and when its earliest row is due."""
        ...

    async def page(self, wants: Sequence[Want], *, now: float, bytes_max: int) -> list[Page]:
        """Due rows for many endpoints in one call, one page a want, in order. `bytes_max` bounds the payloads in total: wants
        take turns, a row each, until it is reached (at least one row is always returned where any is due)."""
        ...

    async def apps(self, app_ids: Collection[AppId]) -> list[AppConfig]:
        """The routing configuration of these apps, in one snapshot; an app that does not exist is left out."""
        ...

    async def changed_apps(self, partition: int, *, since_version: int) -> tuple[int, list[AppId]]:
        """The version of a partition's configuration, and the apps of it that changed between `since_version` and that."""
        ...

    async def covered(self, app_id: AppId, event_type: str, subject: str | None) -> bool:
        """Whether a live grant of the app covers an event of this type about this subject."""
        ...

    async def hasten_revoked(
        self, owner: bytes, epoch: int, partition: int, app_id: AppId, endpoint_id: EndpointId, *, now: float
    ) -> None:
        """What an endpoint is owed of platform events that no grant of its app covers any more is due at `now` (fenced)."""
        ...

    async def count_owed(self, partitions: Collection[int]) -> dict[EndpointId, int]:
        """How many rows each endpoint of these partitions is owed. It takes a while where they are many."""
        ...

    async def expire_oldest(
        self,
        owner: bytes,
        epoch: int,
        partition: int,
        endpoint_id: EndpointId,
        *,
        count: int,
        held: Collection[EventId],
        now: float,
        error: str,
    ) -> int:
        """Give up the oldest of what an endpoint is owed as `expired`, so many at most, without those that memory speaks for or
        that are under way (fenced); how many it was. `error` says why, on record."""
        ...

    async def last_sent(self, partition: int, endpoint_id: EndpointId) -> float | None:
        """When (unix seconds) an attempt of the endpoint that is on record last began, whichever ended last; None: none is.
        Infinity where a request of a former owner may still be under way."""
        ...

    async def in_flight(self, sender: bytes, rows: Collection[RowKey]) -> set[RowKey]:
        """Which of these rows say that a request of this process is under way."""
        ...

    async def owed_lines(self, partition: int, endpoint_id: EndpointId, *, limit: int) -> list[int]:
        """Ordered lines of an endpoint that have rows; at most so many."""
        ...

    async def endpoint_apps(self, endpoint_ids: Collection[EndpointId]) -> dict[EndpointId, AppId]:
        """The apps of endpoints; deleted endpoints are left out."""
        ...

    async def effects(self, partitions: Collection[int], *, limit: int) -> list[Effect]:
        """Recorded follow-ups that were not done yet, oldest first, without calls of handlers."""
        ...

    async def disable_endpoint(self, effect: Effect) -> None:
        """Do a `disable_endpoint` effect and remove it, in one transaction."""
        ...

    async def events(self, keys: Sequence[tuple[int, EventId]]) -> dict[tuple[int, EventId], Event]:
        """Events by partition and id, without their audience; those that retention dropped are left out."""
        ...

    async def publish_effects(self, effects: Sequence[Effect], drafts: Sequence[Draft]) -> list[Appended | None]:
        """Do `emit`, `publish` and `route` effects: append each one's draft and remove it, all in one transaction. The drafts
        are of any apps and have no idempotency key. None for an effect that was not there any more, whose draft is not
        appended, and for one whose app is gone, which is removed.

        Raises: InDoubt (ask again: what was committed is not there any more), StoreUnavailable (nothing was done; also for ids
        more than five minutes off the database's clock), StoreRejected.
        """
        ...

    async def count_effects(self, partitions: Collection[int]) -> dict[int, int]:
        """How many effects of these partitions are not done, without calls of handlers; those without any may be left out."""
        ...

    async def drop_effects(self, effects: Sequence[Effect]) -> None:
        """Remove these without doing them."""
        ...

    async def merge_metadata(self, effects: Sequence[Effect]) -> list[Effect]:
        """Do `set` effects of one endpoint, in order, and remove them, all in one transaction. Those for whose values there was
        no room: they are removed, too."""
        ...

    async def throttle_endpoint(self, effect: Effect) -> None:
        """Do a `throttle` effect and remove it, in one transaction: the rate is stored with the endpoint's health."""
        ...

    async def endpoint_named(self, app_id: AppId, reference: str) -> EndpointId | None:
        """The endpoint of the app with this id or uid."""
        ...
