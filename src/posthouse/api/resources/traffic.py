"""/v1/apps/{app}/events, /attempts and /deliveries: what was published, tried and is owed."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import Field

from posthouse.api.caller import Caller
from posthouse.api.models.traffic import (
    AttemptAnswer,
    AttemptDetail,
    AttemptPage,
    DeliveryAnswer,
    DeliveryPage,
    EventAnswer,
    EventDetail,
    EventPage,
    Resend,
    event_detail,
)
from posthouse.api.pages import Cursors, PageQuery, SpanQuery
from posthouse.domain.delivery import AttemptOutcome
from posthouse.domain.ids import ID_BYTES
from posthouse.manage.access import NEWEST
from posthouse.manage.deliveries import Deliveries, span
from posthouse.ports.inspect import AttemptFacts, Span

OfType = Annotated[str | None, Field(description="Of this event type.")]
OfEndpoint = Annotated[str | None, Field(description="Of this endpoint: id or uid.")]


class EventsQuery(SpanQuery):
    """Which events."""

    type: OfType = None


class AttemptsQuery(SpanQuery):
    """Which attempts."""

    endpoint: OfEndpoint = None
    outcome: Annotated[AttemptOutcome | None, Field(description="Of this outcome.")] = None
    type: OfType = None


class DeliveriesQuery(PageQuery):
    """Which deliveries."""

    endpoint: OfEndpoint = None


def routes(deliveries: Deliveries, cursors: Cursors) -> APIRouter:
    router = APIRouter(prefix="/v1/apps/{app}")

    def page_of(scope: str, query: SpanQuery) -> Span:
        return span(
            before=cursors.before(scope, query),
            since=query.since_seconds,
            until=query.until_seconds,
            limit=query.limit + 1,
        )

    def attempts_page(scope: str, rows: list[AttemptFacts], query: SpanQuery) -> AttemptPage:
        return AttemptPage(
            data=[AttemptAnswer.of(row) for row in rows[: query.limit]],
            next=cursors.next(scope, rows, query, lambda row: row.id),
        )

    @router.get("/events", tags=["events"])
    async def list_events(caller: Caller, app: str, query: Annotated[EventsQuery, Query()]) -> EventPage:
        """Events of an app, newest first, without their data."""
        scope = f"events/{app}"
        rows = await deliveries.events(caller, app, page_of(scope, query), type=query.type)
        return EventPage(
            data=[EventAnswer.of(row) for row in rows[: query.limit]],
            next=cursors.next(scope, rows, query, lambda row: row.id),
        )

    @router.get("/events/{event}", response_model=EventDetail, tags=["events"])
    async def get_event(caller: Caller, app: str, event: str) -> Response:
        """One event with its data, as they were published."""
        return Response(event_detail(*await deliveries.event(caller, app, event)), media_type="application/json")

    @router.get("/events/{event}/attempts", tags=["events"])
    async def list_event_attempts(
        caller: Caller, app: str, event: str, query: Annotated[SpanQuery, Query()]
    ) -> AttemptPage:
        """Attempts for one event, newest first."""
        scope = f"attempts/{app}/{event}"
        return attempts_page(scope, await deliveries.event_attempts(caller, app, event, page_of(scope, query)), query)

    @router.get("/attempts", tags=["attempts"])
    async def list_attempts(caller: Caller, app: str, query: Annotated[AttemptsQuery, Query()]) -> AttemptPage:
        """Attempts of an app, newest first."""
        scope = f"attempts/{app}"
        rows = await deliveries.attempts(
            caller,
            app,
            page_of(scope, query),
            endpoint=query.endpoint,
            outcome=query.outcome,
            type=query.type,
        )
        return attempts_page(scope, rows, query)

    @router.get("/attempts/{attempt}", tags=["attempts"])
    async def get_attempt(caller: Caller, app: str, attempt: str) -> AttemptDetail:
        """One attempt, with its request and its answer."""
        return AttemptDetail.with_exchange(*await deliveries.attempt(caller, app, attempt))

    @router.get("/deliveries", tags=["deliveries"])
    async def list_deliveries(caller: Caller, app: str, query: Annotated[DeliveriesQuery, Query()]) -> DeliveryPage:
        """What is owed and waits in the store, by event, newest first."""
        scope = f"deliveries/{app}"
        before = NEWEST + NEWEST if query.cursor is None else cursors.open(scope, query.cursor)
        rows = await deliveries.owed(
            caller,
            app,
            before=(before[:ID_BYTES], before[ID_BYTES:]),
            limit=query.limit + 1,
            endpoint=query.endpoint,
        )
        return DeliveryPage(
            data=[DeliveryAnswer.of(row) for row in rows[: query.limit]],
            next=cursors.next(scope, rows, query, lambda row: row.event_id + row.endpoint_id),
        )

    @router.post("/deliveries/resend", status_code=202, tags=["deliveries"])
    async def resend(caller: Caller, app: str, body: Resend) -> DeliveryAnswer:
        """Send an event to an endpoint again, whatever became of it before. Asking twice asks once."""
        return DeliveryAnswer.of(await deliveries.resend(caller, app, event=body.event, endpoint=body.endpoint))

    return router
