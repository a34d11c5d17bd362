"""What was published, tried and is owed, as people look at it; and sending one delivery again, or not at all.

Lists are newest first, from below a position: an id, or for what is owed an event and an endpoint. Times are unix seconds.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import StrEnum
from typing import Generic, Protocol, TypeVar

import msgspec

from posthouse.domain.delivery import AttemptOutcome, OwedReason
from posthouse.domain.endpoint import EndpointConfig
from posthouse.domain.estimate import Pace
from posthouse.domain.event import Event
from posthouse.domain.exchange import Timings
from posthouse.domain.ids import AppId, AttemptId, EndpointId, EventId
from posthouse.ports.directory import Audit


class Where(msgspec.Struct, frozen=True):
    """An app, and the partition that holds everything of it."""

    app_id: AppId
    partition: int


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """A page of ids: below `before`, at or above `since`, at most `limit`. `newest`: the first one of its list."""

    before: bytes
    since: bytes
    limit: int
    newest: bool = True


Row = TypeVar("Row")


class Found(msgspec.Struct, Generic[Row], frozen=True):
    """Rows of a list. `reached`: there are fewer than asked for because the search ended there for now; it goes on below that
    position."""

    rows: list[Row]
    reached: bytes | None = None


class EventFacts(msgspec.Struct, frozen=True, kw_only=True):
    """An event without its payload. Without an app it is the platform's, for whom its grants name."""

    id: EventId
    app_id: AppId | None
    type: str
    subject: str | None
    key: str | None
    source: str | None
    channels: tuple[str, ...]
    attributes: bytes | None
    content_type: str
    payload_bytes: int
    created_at: float
    expires_at: float | None
    cause: EventId | None = None  # the event whose answer asked for this one
    depth: int = 0


class AttemptFacts(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt on record. `type` is None where retention dropped its event."""

    id: AttemptId
    app_id: AppId
    event_id: EventId
    endpoint_id: EndpointId
    type: str | None
    number: int
    kind: str
    outcome: str
    reason: str
    sent: bool
    status: int | None
    revision: int
    url: str
    address: str
    started_at: float
    timings: Timings
    error: str | None
    reaction: str | None = None


class AttemptRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt with its answer, and what its request was made of (None where retention dropped the event)."""

    facts: AttemptFacts
    response_headers: bytes | None
    response_body: bytes | None
    event: Event | None
    config: EndpointConfig | None  # the endpoint as it was at that revision
    pinned_schemas: dict[str, str]  # and the schemas that it pinned, as far as they are kept


class OwedFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery that waits in the store. `due_at` is None for one that waits for another; `eta_seconds` where there is no
    saying, and before it was estimated."""

    app_id: AppId | None  # None: of an endpoint that was removed
    endpoint_id: EndpointId
    event_id: EventId
    type: str | None
    number: int
    kind: str
    due_at: float | None
    reason: str
    expires_at: float | None
    eta_seconds: float | None = None


class RouteState(StrEnum):
    """How far an event has come on its way to an endpoint."""

    DELIVERED = "delivered"
    OWED = "owed"
    IN_PROGRESS = "in_progress"
    GAVE_UP = "gave_up"


class ReasonCount(msgspec.Struct, frozen=True, kw_only=True):
    """How many wait for a reason. `next_due_at` is None where none of them has a time of its own."""

    reason: str
    owed: int
    next_due_at: float | None


class OwedReasons(msgspec.Struct, frozen=True, kw_only=True):
    """Why deliveries wait, the most frequent reason first; `truncated`: there are more than were counted."""

    reasons: tuple[ReasonCount, ...]
    truncated: bool


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint that an event went to. `reason` is why it waits, or how the last attempt ended."""

    app_id: AppId
    endpoint_id: EndpointId
    state: RouteState
    attempts: int
    reason: str
    due_at: float | None


class Routes(msgspec.Struct, frozen=True, kw_only=True):
    """The ways an event took, by endpoint; `pending` says that it was not dispatched everywhere yet."""

    taken: tuple[Route, ...]
    pending: bool


class EndpointStats(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an endpoint's attempts in a span of time, and what it is owed now (counted up to a bound)."""

    delivered: int
    failed: int
    gave_up: int
    total_us: int
    owed: int
    next_due_at: float | None


class Inspector(Protocol):
    """Of one app, or of all where there is no `where`; an app's events are those addressed to it, and those of the platform
    that it is in the audience of. Reads end within a bounded time: a list with a filter that nothing is in the order of is
    searched so far (`Found.reached`); any other that would take longer raises Invalid (code `query_too_broad`)."""

    async def events(
        self,
        where: Where | None,
        span: Span,
        *,
        type: str | None,
        subject: str | None,
        key: str | None = None,
        cause: EventId | None = None,
    ) -> Found[EventFacts]: ...

    async def event(self, where: Where | None, event_id: EventId) -> tuple[EventFacts, Event] | None: ...

    async def event_routes(self, where: Where | None, event_id: EventId, *, limit: int) -> Routes: ...

    async def event_attempts(self, where: Where | None, event_id: EventId, span: Span) -> list[AttemptFacts]: ...

    async def attempts(
        self,
        where: Where | None,
        span: Span,
        *,
        endpoint_id: EndpointId | None,
        outcome: AttemptOutcome | None,
        type: str | None,
    ) -> Found[AttemptFacts]: ...

    async def attempt(self, where: Where | None, attempt_id: AttemptId) -> AttemptRecord | None: ...

    async def owed(
        self,
        where: Where | None,
        *,
        before: tuple[bytes, bytes],
        limit: int,
        endpoint_id: EndpointId | None,
        reason: OwedReason | None = None,
        newest: bool = True,
    ) -> Found[OwedFacts]:
        """Below the position (event id, endpoint id). Without an app there is no filter by endpoint."""
        ...

    async def owed_reasons(
        self, where: Where | None, *, endpoint_id: EndpointId | None, counted_max: int
    ) -> OwedReasons:
        """Of `counted_max` rows at most. Without an app there is no filter by endpoint."""
        ...

    async def paces(
        self, endpoint_ids: Collection[EndpointId], *, since: float, minutes_max: int
    ) -> dict[EndpointId, Pace]:
        """How fast endpoints take what they are owed, by the last minutes since then in which there were attempts.

        An endpoint that was deleted is left out.
        """
        ...

    async def positions(self, rows: Sequence[OwedFacts], *, counted_max: int) -> list[int | None]:
        """For each owed row, how many rows of its endpoint are due before it.

        None where more than can be counted are: `counted_max` is shared by the endpoints of these rows.
        """
        ...

    async def stats(
        self, where: Where, endpoint_id: EndpointId, *, since: float, until: float, owed_max: int
    ) -> EndpointStats: ...

    async def resend(
        self, where: Where, endpoint_id: EndpointId, event_id: EventId, *, now: float, audit: Audit
    ) -> OwedFacts:
        """Owe a delivery again, from now; asking twice merges. What is owed afterwards. It is on record.

        Raises: NotFound for an event or endpoint that is not the app's, Conflict `in_progress` for an event that was not
        dispatched yet, Conflict `endpoint_disabled`.
        """
        ...

    async def cancel(
        self,
        where: Where,
        endpoint_id: EndpointId,
        event_id: EventId,
        *,
        attempt_id: AttemptId,
        now: float,
        audit: Audit,
    ) -> OwedFacts:
        """Give up what an endpoint is owed of an event; what it was owed. A terminal attempt says so, under an id that keeps
        the order in which attempts become visible (`ids.id_beside`), and the next of its line is due. It is on record.

        Its owner may have it in memory already, and send it all the same.

        Raises: NotFound for an event or endpoint that is not the app's, Conflict `in_progress` for an event that was not
        dispatched yet, Conflict `in_flight` while its request runs, Conflict `not_owed`.
        """
        ...
