"""/v1/events, /attempts and /deliveries, of one app or of all: what was published, tried and is owed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from posthouse.api.caller import SPOKEN, Caller
from posthouse.api.late_routes import late_router
from posthouse.api.models.routing import ExplanationAnswer
from posthouse.api.models.traffic import (
    AttemptAnswer,
    AttemptDetail,
    AttemptPage,
    Cancel,
    DeliveryAnswer,
    DeliveryPage,
    EventAnswer,
    EventDetail,
    EventPage,
    ReasonsAnswer,
    Resend,
    event_detail,
)
from posthouse.api.pages import Cursors, PageQuery, SpanQuery
from posthouse.domain.access import Principal
from posthouse.domain.delivery import AttemptOutcome, OwedReason
from posthouse.domain.ids import ID_BYTES
from posthouse.domain.limits import NAME_LENGTH_MAX
from posthouse.manage.access import NEWEST
from posthouse.manage.deliveries import Deliveries, span
from posthouse.ports.inspect import AttemptFacts, Found, Row, Span

OfType = Annotated[str | None, Field(description="Of this event type.")]
OfEndpoint = Annotated[str | None, Field(description="Of this endpoint: id or uid.")]


OfApp = Annotated[str | None, Field(description="Of this app: id or uid.")]


class EventsQuery(SpanQuery):
    """Which events."""

    type: OfType = None
    subject: Annotated[
        str | None, Field(min_length=1, max_length=2 * NAME_LENGTH_MAX, description="About this subject.")
    ] = None
    key: Annotated[
        str | None, Field(min_length=1, max_length=2 * NAME_LENGTH_MAX, description="With exactly this key.")
    ] = None
    cause: Annotated[
        str | None,
        Field(max_length=NAME_LENGTH_MAX, description="That answers to this event asked for: its id."),
    ] = None


class AttemptsQuery(SpanQuery):
    """Which attempts."""

    endpoint: OfEndpoint = None
    outcome: Annotated[AttemptOutcome | None, Field(description="Of this outcome.")] = None
    type: OfType = None


class DeliveriesQuery(PageQuery):
    """Which deliveries."""

    endpoint: OfEndpoint = None
    reason: Annotated[
        OwedReason | None,
        Field(description="Waiting for this reason; `blocked` is the first of an ordered line that stands."),
    ] = None


class AllEventsQuery(EventsQuery):
    """Which events, of all."""

    app: OfApp = None


class AllAttemptsQuery(AttemptsQuery):
    """Which attempts, of all. An endpoint is looked for in its app, which must be named too."""

    app: OfApp = None


class AllDeliveriesQuery(DeliveriesQuery):
    """Which deliveries, of all. An endpoint is looked for in its app, which must be named too."""

    app: OfApp = None


class ReasonsQuery(BaseModel):
    """Of which deliveries. An endpoint is looked for in its app, which must be named too."""

    model_config = ConfigDict(extra="forbid")

    app: OfApp = None
    endpoint: OfEndpoint = None


class Pages:
    """The lists, of one app or of all."""

    def __init__(self, deliveries: Deliveries, cursors: Cursors) -> None:
        self._deliveries = deliveries
        self._cursors = cursors

    async def events(self, caller: Principal, app: str | None, query: EventsQuery) -> EventPage:
        scope = f"events/{app or ''}"
        found = await self._deliveries.events(
            caller,
            app,
            self._span(scope, query),
            type=query.type,
            subject=query.subject,
            key=query.key,
            cause=query.cause,
        )
        return EventPage(
            data=[EventAnswer.of(row) for row in found.rows[: query.limit]],
            next=self._next(scope, found, query, lambda row: row.id),
        )

    async def event_attempts(self, caller: Principal, app: str | None, event: str, query: SpanQuery) -> AttemptPage:
        scope = f"attempts/{app or ''}/{event}"
        rows = await self._deliveries.event_attempts(caller, app, event, self._span(scope, query))
        return self._attempts(scope, Found(rows), query)

    async def attempts(self, caller: Principal, app: str | None, query: AttemptsQuery) -> AttemptPage:
        scope = f"attempts/{app or ''}"
        found = await self._deliveries.attempts(
            caller,
            app,
            self._span(scope, query),
            endpoint=query.endpoint,
            outcome=query.outcome,
            type=query.type,
        )
        return self._attempts(scope, found, query)

    async def owed(self, caller: Principal, app: str | None, query: DeliveriesQuery) -> DeliveryPage:
        scope = f"deliveries/{app or ''}"
        before = NEWEST + NEWEST if query.cursor is None else self._cursors.open(scope, query.cursor)
        found = await self._deliveries.owed(
            caller,
            app,
            before=(before[:ID_BYTES], before[ID_BYTES:]),
            limit=query.limit + 1,
            endpoint=query.endpoint,
            reason=query.reason,
            newest=query.cursor is None,
        )
        return DeliveryPage(
            data=[DeliveryAnswer.of(row) for row in found.rows[: query.limit]],
            next=self._next(scope, found, query, lambda row: row.event_id + row.endpoint_id),
        )

    def _span(self, scope: str, query: SpanQuery) -> Span:
        return span(
            before=self._cursors.before(scope, query),
            since=query.since_seconds,
            until=query.until_seconds,
            limit=query.limit + 1,
            newest=query.cursor is None,
        )

    def _attempts(self, scope: str, found: Found[AttemptFacts], query: SpanQuery) -> AttemptPage:
        return AttemptPage(
            data=[AttemptAnswer.of(row) for row in found.rows[: query.limit]],
            next=self._next(scope, found, query, lambda row: row.id),
        )

    def _next(self, scope: str, found: Found[Row], query: PageQuery, position: Callable[[Row], bytes]) -> str | None:
        """The cursor after a page, which may be shorter than asked for where its search ended for now."""
        if found.reached is not None:
            return self._cursors.seal(scope, found.reached)
        return self._cursors.next(scope, found.rows, query, position)


def routes(deliveries: Deliveries, cursors: Cursors) -> APIRouter:
    router = late_router()
    pages = Pages(deliveries, cursors)

    @router.get("/v1/events", tags=["events"])
    async def list_all_events(caller: Caller, query: Annotated[AllEventsQuery, Query()]) -> EventPage:
        """Events of all that the key may see, newest first, without their data."""
        return await pages.events(caller, query.app, query)

    @router.get("/v1/events/{event}", response_model=EventDetail, tags=["events"])
    async def get_any_event(caller: Caller, event: str) -> Response:
        """One event, with its data and the ways it took."""
        return Response(event_detail(*await deliveries.event(caller, None, event)), media_type="application/json")

    @router.get("/v1/events/{event}/attempts", tags=["events"])
    async def list_any_event_attempts(caller: Caller, event: str, query: Annotated[SpanQuery, Query()]) -> AttemptPage:
        """Attempts for one event, newest first."""
        return await pages.event_attempts(caller, None, event, query)

    @router.get("/v1/events/{event}/explanation", tags=["events"], dependencies=[SPOKEN])
    async def explain_event(caller: Caller, event: str) -> ExplanationAnswer:
        """Whom the event would reach if it were published now, and why nobody else: with the endpoints, grants and filters of
        today. Of an event to whom grants cover, only for an administrator."""
        return ExplanationAnswer.of(await deliveries.explanation(caller, event))

    @router.get("/v1/attempts", tags=["attempts"])
    async def list_all_attempts(caller: Caller, query: Annotated[AllAttemptsQuery, Query()]) -> AttemptPage:
        """Attempts of all that the key may see, newest first."""
        return await pages.attempts(caller, query.app, query)

    @router.get("/v1/attempts/{attempt}", tags=["attempts"])
    async def get_any_attempt(caller: Caller, attempt: str) -> AttemptDetail:
        """One attempt, with its request and its answer."""
        return AttemptDetail.with_exchange(*await deliveries.attempt(caller, None, attempt))

    @router.get("/v1/deliveries", tags=["deliveries"])
    async def list_all_deliveries(caller: Caller, query: Annotated[AllDeliveriesQuery, Query()]) -> DeliveryPage:
        """What is owed to all that the key may see, by event, newest first."""
        return await pages.owed(caller, query.app, query)

    @router.get("/v1/deliveries/reasons", tags=["deliveries"])
    async def count_deliveries(caller: Caller, query: Annotated[ReasonsQuery, Query()]) -> ReasonsAnswer:
        """Why deliveries wait, and how many for each reason: counted up to a bound."""
        return ReasonsAnswer.of(await deliveries.owed_reasons(caller, query.app, endpoint=query.endpoint))

    @router.get("/v1/apps/{app}/events", tags=["events"])
    async def list_events(caller: Caller, app: str, query: Annotated[EventsQuery, Query()]) -> EventPage:
        """Events of an app, newest first, without their data."""
        return await pages.events(caller, app, query)

    @router.get("/v1/apps/{app}/events/{event}", response_model=EventDetail, tags=["events"])
    async def get_event(caller: Caller, app: str, event: str) -> Response:
        """One event with its data, as they were published, and the ways it took to this app."""
        return Response(event_detail(*await deliveries.event(caller, app, event)), media_type="application/json")

    @router.get("/v1/apps/{app}/events/{event}/attempts", tags=["events"])
    async def list_event_attempts(
        caller: Caller, app: str, event: str, query: Annotated[SpanQuery, Query()]
    ) -> AttemptPage:
        """Attempts for one event, newest first."""
        return await pages.event_attempts(caller, app, event, query)

    @router.get("/v1/apps/{app}/attempts", tags=["attempts"])
    async def list_attempts(caller: Caller, app: str, query: Annotated[AttemptsQuery, Query()]) -> AttemptPage:
        """Attempts of an app, newest first."""
        return await pages.attempts(caller, app, query)

    @router.get("/v1/apps/{app}/attempts/{attempt}", tags=["attempts"])
    async def get_attempt(caller: Caller, app: str, attempt: str) -> AttemptDetail:
        """One attempt, with its request and its answer."""
        return AttemptDetail.with_exchange(*await deliveries.attempt(caller, app, attempt))

    @router.get("/v1/apps/{app}/deliveries", tags=["deliveries"])
    async def list_deliveries(caller: Caller, app: str, query: Annotated[DeliveriesQuery, Query()]) -> DeliveryPage:
        """What is owed and waits in the store, by event, newest first."""
        return await pages.owed(caller, app, query)

    @router.post("/v1/apps/{app}/deliveries/resend", status_code=202, tags=["deliveries"])
    async def resend(caller: Caller, app: str, body: Resend) -> DeliveryAnswer:
        """Send an event to an endpoint again, whatever became of it before. Asking twice asks once."""
        return DeliveryAnswer.of(await deliveries.resend(caller, app, event=body.event, endpoint=body.endpoint))

    @router.post("/v1/apps/{app}/deliveries/cancel", tags=["deliveries"])
    async def cancel(caller: Caller, app: str, body: Cancel) -> DeliveryAnswer:
        """Do not send an event to an endpoint any more: what it was owed. An ordered line goes on with its next event, one
        that was blocked too. A request that the server is just about to make may still reach the target."""
        return DeliveryAnswer.of(await deliveries.cancel(caller, app, event=body.event, endpoint=body.endpoint))

    return router
