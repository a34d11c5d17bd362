"""The calls of handlers that are recorded and not made yet, in the store."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import StrEnum
from typing import Protocol

import msgspec

from posthouse.domain.calling import CalledApp, CalledEndpoint
from posthouse.domain.delivery import Effect
from posthouse.domain.event import Event
from posthouse.domain.ids import AppId


class PendingCall(msgspec.Struct, frozen=True):
    """A call that waits until `due_at` (unix seconds). `tries`: how often it has failed."""

    effect: Effect
    tries: int
    due_at: float


class CallFacts(msgspec.Struct, frozen=True):
    """What a handler is told of, as it is now."""

    event: Event
    app_id: AppId
    app: CalledApp
    endpoint: CalledEndpoint


class Recorded(StrEnum):
    """What became of putting a call's end on record."""

    DONE = "done"
    GONE = "gone"  # it is not there any more: it was recorded before, by us or another owner
    NOT_OURS = "not_ours"  # nor is its partition
    NOT_YET = "not_yet"  # the event that is to be sent again may still be on its first way


class CallBook(Protocol):
    async def due(self, partitions: Collection[int], *, limit: int) -> list[PendingCall]:
        """The calls of these partitions that are due first, whether now or later, in that order."""
        ...

    async def counted(self, partitions: Collection[int]) -> dict[int, int]:
        """How many calls of these partitions wait; those without any may be left out."""
        ...

    async def facts(self, call: Effect) -> CallFacts | None:
        """None where the event, the app or the endpoint is gone."""
        ...

    async def done(
        self,
        owner: bytes,
        epoch: int,
        call: Effect,
        follow_ups: Sequence[Effect],
        *,
        resend_at: float | None,
        now: float,
    ) -> Recorded:
        """Remove a call and record what it asks for, in one transaction (fenced): once, whoever asks how often.

        `resend_at`: its event is owed to its endpoint once more, and due then, unless either is gone or the endpoint is
        disabled. Raises InDoubt (ask again), StoreUnavailable, StoreRejected.
        """
        ...

    async def again(self, owner: bytes, epoch: int, call: Effect, *, tries: int, due_at: float) -> Recorded:
        """A call failed, and is to be made again (fenced). Raises InDoubt, StoreUnavailable."""
        ...
