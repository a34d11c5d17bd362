"""Replays as they are stored: asked for and steered from anywhere (`ReplayBook`), carried out by the owner of their
partition (`Jobs`)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

import msgspec

from posthouse.domain.endpoint import EndpointConfig
from posthouse.domain.ids import AppId, JobId
from posthouse.domain.replay import Bounds, Candidate, Replay, Turn, Wanted
from posthouse.ports.directory import Audit


class Hold(msgspec.Struct, frozen=True, gc=False):
    """Under what a step is written: nothing is unless this owner has the partition under this epoch."""

    owner: bytes
    epoch: int


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """A replay to get on with. `config` is None where its endpoint is gone; up to `cursor` everything was dispatched."""

    replay: Replay
    config: EndpointConfig | None
    enabled: bool
    cursor: int
    outstanding: int  # rows of it that nobody tried yet


class Scan(msgspec.Struct, frozen=True):
    """Events of the app in a stretch of the log, in its order, and the position up to which all of them are here."""

    candidates: tuple[Candidate, ...]
    reached: int


class Reads(Protocol):
    """What a dry run and a replay read of the log."""

    async def bounds(self, wanted: Wanted) -> Bounds:
        """The positions between which all events of the span lie, of those that are in the log now."""
        ...

    async def scan(self, wanted: Wanted, *, after: int, until: int, limit: int) -> Scan:
        """At most `limit` events in a bounded stretch after a position, of those that were dispatched."""
        ...


class Jobs(Reads, Protocol):
    """What the one who carries replays out needs. A write returns None where nothing was written: the partition is another
    owner's, or the replay is not at that position any more, or was stopped."""

    async def live(self, partitions: Collection[int], *, after: bytes, limit: int) -> list[Work]:
        """Replays to get on with, in the order of ids after one; of an endpoint only the one whose turn it is."""
        ...

    async def begin(self, hold: Hold, replay: Replay, bounds: Bounds) -> Replay | None: ...

    async def advance(
        self,
        hold: Hold,
        work: Work,
        chosen: Sequence[Candidate],
        *,
        scanned: int,
        position: int,
        now: float,
    ) -> Replay | None:
        """Owe the chosen ones that still are to be, due now, and move on to a position after `scanned` more events."""
        ...

    async def settle(self, hold: Hold, replay: Replay, turn: Turn, *, reason: str | None = None) -> Replay | None:
        """Finish it, if nothing is left untried; or let it fail, or pause it."""
        ...


class ReplayBook(Reads, Protocol):
    """What is asked of replays."""

    async def create(self, replay: Replay, audit: Audit, *, live_max: int) -> Replay:
        """Raises Conflict (code `too_many_replays`) where the app has as many that have not ended."""
        ...

    async def get(self, app_id: AppId, job_id: JobId) -> Replay | None: ...

    async def page(self, app_id: AppId | None, *, before: bytes, limit: int) -> list[Replay]:
        """Of an app, or of all; newest first, from below an id."""
        ...

    async def turn(self, replay: Replay, turn: Turn, audit: Audit, *, now: float) -> Replay | None:
        """Pause, resume or cancel it. Cancelled, what it has put in and nobody holds is taken back. None where it is not
        there any more. Raises Conflict (code `replay_ended`)."""
        ...
