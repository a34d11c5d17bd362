"""Replays: past events that are sent to an endpoint again, as a job. Pure; what a job may become is one total table.

    pending ──begun──► running ──everything was tried──► finished
       ▲  └──paused──┐    │
       └──resumed── paused ◄┘          any of these ──► cancelled, or failed where the endpoint is gone

Replays of one endpoint go one after the other, in the order in which they were asked for; a paused one keeps its place.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from posthouse.domain.delivery import AttemptOutcome
from posthouse.domain.endpoint import EndpointConfig
from posthouse.domain.ids import AppId, EndpointId, EventId, JobId
from posthouse.domain.routing import matches_channels, matches_type


class Select(StrEnum):
    """Which of the events of a span are sent again. What is owed already is left alone by all of them."""

    FAILED = "failed"  # whose last attempt here gave up
    ALL = "all"  # that the endpoint matches, or was tried with
    MISSING = "missing"  # that the endpoint matches, and was never tried with


class ReplayState(StrEnum):
    """How far a replay is."""

    PENDING = "pending"  # not begun, or about to go on
    RUNNING = "running"
    PAUSED = "paused"
    FINISHED = "finished"  # everything that it selected was tried
    CANCELLED = "cancelled"
    FAILED = "failed"

    @property
    def live(self) -> bool:
        """Whether it has not ended."""
        return self in LIVE


LIVE: Final = frozenset({ReplayState.PENDING, ReplayState.RUNNING, ReplayState.PAUSED})


class Turn(StrEnum):
    """What moves a replay."""

    BEGIN = "begin"
    FINISH = "finish"
    FAIL = "fail"
    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"


_PENDING, _RUNNING, _PAUSED = ReplayState.PENDING, ReplayState.RUNNING, ReplayState.PAUSED
_FINISHED, _CANCELLED, _FAILED = ReplayState.FINISHED, ReplayState.CANCELLED, ReplayState.FAILED

TRANSITIONS: Final[dict[tuple[ReplayState, Turn], ReplayState | None]] = {
    (_PENDING, Turn.BEGIN): _RUNNING,
    (_PENDING, Turn.FINISH): None,
    (_PENDING, Turn.FAIL): _FAILED,
    (_PENDING, Turn.PAUSE): _PAUSED,
    (_PENDING, Turn.RESUME): _PENDING,
    (_PENDING, Turn.CANCEL): _CANCELLED,
    (_RUNNING, Turn.BEGIN): _RUNNING,
    (_RUNNING, Turn.FINISH): _FINISHED,
    (_RUNNING, Turn.FAIL): _FAILED,
    (_RUNNING, Turn.PAUSE): _PAUSED,
    (_RUNNING, Turn.RESUME): _RUNNING,
    (_RUNNING, Turn.CANCEL): _CANCELLED,
    (_PAUSED, Turn.BEGIN): None,
    (_PAUSED, Turn.FINISH): None,
    (_PAUSED, Turn.FAIL): _FAILED,
    (_PAUSED, Turn.PAUSE): _PAUSED,
    (_PAUSED, Turn.RESUME): _PENDING,
    (_PAUSED, Turn.CANCEL): _CANCELLED,
    (_FINISHED, Turn.BEGIN): None,
    (_FINISHED, Turn.FINISH): _FINISHED,
    (_FINISHED, Turn.FAIL): None,
    (_FINISHED, Turn.PAUSE): None,
    (_FINISHED, Turn.RESUME): None,
    (_FINISHED, Turn.CANCEL): None,
    (_CANCELLED, Turn.BEGIN): None,
    (_CANCELLED, Turn.FINISH): None,
    (_CANCELLED, Turn.FAIL): None,
    (_CANCELLED, Turn.PAUSE): None,
    (_CANCELLED, Turn.RESUME): None,
    (_CANCELLED, Turn.CANCEL): _CANCELLED,
    (_FAILED, Turn.BEGIN): None,
    (_FAILED, Turn.FINISH): None,
    (_FAILED, Turn.FAIL): _FAILED,
    (_FAILED, Turn.PAUSE): None,
    (_FAILED, Turn.RESUME): None,
    (_FAILED, Turn.CANCEL): None,
}
"""None: not from there."""

ENDPOINT_GONE: Final = "endpoint_deleted"
ENDPOINT_DISABLED: Final = "endpoint_disabled"
BEHIND_ANOTHER: Final = "behind_another"


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be sent again: of the events of an app whose id bears a time from `since` on and before `until` (unix
    seconds), and whose type matches one of `types` (empty: any), those that `select` says, to this endpoint."""

    partition: int
    app_id: AppId
    endpoint_id: EndpointId
    select: Select
    since: float
    until: float
    types: tuple[str, ...] = ()


class Bounds(msgspec.Struct, frozen=True, gc=False):
    """The positions of the log between which a span of time lies: after `first`, up to `last`."""

    first: int
    last: int


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """A replay, as it is stored. Times are unix seconds."""

    id: JobId
    wanted: Wanted
    state: ReplayState
    bounds: Bounds | None = None  # fixed as it begins
    position: int = 0  # everything up to it was looked at
    scanned: int = 0  # events of the app that were looked at
    selected: int = 0
    untried: int = 0  # of the selected: not yet tried, or taken back
    reason: str | None = None
    created_at: float = 0.0
    updated_at: float = 0.0
    finished_at: float | None = None

    @property
    def exhausted(self) -> bool:
        """Whether everything was looked at."""
        return self.bounds is not None and self.position >= self.bounds.last

    @property
    def sent(self) -> int:
        """How many of the selected were tried at least once."""
        return max(self.selected - self.untried, 0)

    @property
    def total(self) -> int | None:
        """How many it will have selected in the end, as far as one can tell from what was looked at so far."""
        if self.bounds is None:
            return None
        if self.exhausted:
            return self.selected
        done = self.position - self.bounds.first
        return round(self.selected * (self.bounds.last - self.bounds.first) / done) if done > 0 else None


class Candidate(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An event of the span, and what became of it at the endpoint. `permitted`: the app may have it now."""

    event_id: EventId
    seq: int
    type: str
    key: str | None
    channels: tuple[str, ...]
    payload_bytes: int
    permitted: bool
    last: AttemptOutcome | None  # None: it was never tried here
    owed: bool


def is_wanted(candidate: Candidate, wanted: Wanted, config: EndpointConfig) -> bool:
    """Whether a replay sends this event again to an endpoint that is configured so."""
    if candidate.owed or not candidate.permitted or not matches_type(wanted.types, candidate.type):
        return False
    match wanted.select:
        case Select.FAILED:
            return candidate.last is AttemptOutcome.GAVE_UP
        case Select.MISSING:
            return candidate.last is None and _matches(candidate, config)
        case Select.ALL:
            return candidate.last is not None or _matches(candidate, config)


def _matches(candidate: Candidate, config: EndpointConfig) -> bool:
    return matches_type(config.events, candidate.type) and matches_channels(config.channels, candidate.channels)
