"""/v1/traffic, /v1/attention and /v1/system: what went on over a time, what needs somebody, and the installation as a whole."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from posthouse.api.caller import Caller
from posthouse.api.late_routes import late_router
from posthouse.api.models.common import Instant
from posthouse.api.models.overview import (
    AppTrafficList,
    AttentionAnswer,
    EndpointTrafficList,
    SystemAnswer,
    TrafficAnswer,
)
from posthouse.api.models.system import Caution
from posthouse.api.problems import language_fields
from posthouse.api.texts.accepted import language_of
from posthouse.api.texts.reading import said
from posthouse.domain.limits import TRAFFIC_LISTED_MAX
from posthouse.manage.overview import Installation
from posthouse.manage.traffic import TrafficCharts
from posthouse.ports.clock import Clock
from posthouse.ports.traffic import Order

TRAFFIC_SECONDS: Final = 86_400.0
LISTED: Final = 20


class TrafficSpan(BaseModel):
    """Which time."""

    model_config = ConfigDict(extra="forbid")

    since: Annotated[Instant | None, Field(description="From this time on; by default a day before `until`.")] = None
    until: Annotated[Instant | None, Field(description="Before this time; by default now.")] = None

    def seconds(self, now: float) -> tuple[float, float]:
        until = now if self.until is None else self.until.timestamp()
        return until - TRAFFIC_SECONDS if self.since is None else self.since.timestamp(), until


class TrafficQuery(TrafficSpan):
    """What is asked for."""

    app: Annotated[str | None, Field(description="Of this app: id or uid.")] = None
    endpoint: Annotated[str | None, Field(description="Of this endpoint: id; with `app` also its uid.")] = None


class RowsQuery(TrafficSpan):
    """Which come first."""

    order: Annotated[
        Order,
        Field(description="`failed`: those of which most failed or was given up come first; `attempts`: the busiest."),
    ] = Order.FAILED
    limit: Annotated[int, Field(ge=1, le=TRAFFIC_LISTED_MAX, description="How many at most.")] = LISTED


class AppRowsQuery(RowsQuery):
    """Which apps."""

    app: Annotated[
        list[str],
        Field(
            description=f"These, by id or uid, at most {TRAFFIC_LISTED_MAX}, whether anything went on or not.",
            max_length=TRAFFIC_LISTED_MAX,
        ),
    ] = []


class EndpointRowsQuery(RowsQuery):
    """Which endpoints."""

    app: Annotated[str | None, Field(description="Of this app: id or uid.")] = None
    endpoint: Annotated[
        list[str],
        Field(
            description=(
                f"These, by id (with `app` also by uid), at most {TRAFFIC_LISTED_MAX}, whether anything went on or not."
            ),
            max_length=TRAFFIC_LISTED_MAX,
        ),
    ] = []


def routes(charts: TrafficCharts, installation: Installation, clock: Clock) -> APIRouter:
    router = late_router()

    @router.get("/v1/traffic", tags=["traffic"])
    async def get_traffic(caller: Caller, query: Annotated[TrafficQuery, Query()]) -> TrafficAnswer:
        """What went on over a time, at most 90 days: events published, attempts by outcome, what was owed, and how long
        requests took. The key of an app sees what is its own."""
        since, until = query.seconds(clock.now())
        return TrafficAnswer.of(
            await charts.chart(caller, since=since, until=until, app=query.app, endpoint=query.endpoint)
        )

    @router.get("/v1/traffic/endpoints", tags=["traffic"])
    async def list_traffic_of_endpoints(
        caller: Caller, query: Annotated[EndpointRowsQuery, Query()]
    ) -> EndpointTrafficList:
        """Endpoints with what went on over a time: those named, or those that come first. The key of an app sees its own."""
        since, until = query.seconds(clock.now())
        return EndpointTrafficList.of(
            await charts.endpoints(
                caller,
                since=since,
                until=until,
                app=query.app,
                endpoints=query.endpoint,
                order=query.order,
                limit=query.limit,
            )
        )

    @router.get("/v1/traffic/apps", tags=["traffic"])
    async def list_traffic_of_apps(caller: Caller, query: Annotated[AppRowsQuery, Query()]) -> AppTrafficList:
        """Apps with what went on over a time: those named, or those that come first. For admin keys."""
        since, until = query.seconds(clock.now())
        return AppTrafficList.of(
            await charts.apps(caller, since=since, until=until, apps=query.app, order=query.order, limit=query.limit)
        )

    @router.get("/v1/attention", tags=["system"])
    async def get_attention(caller: Caller) -> AttentionAnswer:
        """What needs somebody, at most 50 of each kind. For admin keys."""
        return AttentionAnswer.of(await installation.attention(caller))

    @router.get("/v1/system", tags=["system"])
    async def get_system(caller: Caller, request: Request, answer: Response) -> SystemAnswer:
        """The installation: processes, partitions with their owners, the database, settings that are no secret, and warnings.
        For admin keys."""
        facts = await installation.system(caller)
        language = language_of(request.scope["headers"])
        warnings = [Caution(code=code, detail=said(detail, language)) for code, detail in facts.warnings]
        if warnings:
            answer.headers.update(language_fields(language))
        return SystemAnswer.of(facts, warnings)

    return router
