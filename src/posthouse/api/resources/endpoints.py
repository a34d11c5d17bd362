"""/v1/apps/{app}/endpoints"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import AwareDatetime, BaseModel, ConfigDict

from posthouse.api.caller import Caller
from posthouse.api.models.endpoint import (
    EndpointAnswer,
    EndpointCreate,
    EndpointCreated,
    EndpointPage,
    EndpointPatch,
    Rotate,
    Rotated,
    SecretAnswer,
    StatsAnswer,
)
from posthouse.api.pages import Cursors, PageQuery
from posthouse.domain.limits import OVERLAP_SECONDS, STATS_SECONDS
from posthouse.manage.deliveries import Deliveries
from posthouse.manage.endpoints import Endpoints
from posthouse.ports.clock import Clock


class StatsQuery(BaseModel):
    """Which time: by default the last 24 hours."""

    model_config = ConfigDict(extra="forbid")

    since: AwareDatetime | None = None
    until: AwareDatetime | None = None


def routes(endpoints: Endpoints, deliveries: Deliveries, cursors: Cursors, clock: Clock) -> APIRouter:
    router = APIRouter(prefix="/v1/apps/{app}/endpoints", tags=["endpoints"])

    @router.post("", status_code=201)
    async def create_endpoint(caller: Caller, app: str, body: EndpointCreate) -> EndpointCreated:
        """Make an endpoint. The answer holds its signing secret."""
        endpoint, secret = await endpoints.create(caller, app, body.change(), body.secret)
        return EndpointCreated.with_secret(endpoint, secret)

    @router.get("")
    async def list_endpoints(caller: Caller, app: str, query: Annotated[PageQuery, Query()]) -> EndpointPage:
        """Endpoints of an app, newest first."""
        scope = f"endpoints/{app}"
        rows = await endpoints.page(caller, app, before=cursors.before(scope, query), limit=query.limit + 1)
        return EndpointPage(
            data=[EndpointAnswer.of(row) for row in rows[: query.limit]],
            next=cursors.next(scope, rows, query, lambda row: row.id),
        )

    @router.get("/{endpoint}")
    async def get_endpoint(caller: Caller, app: str, endpoint: str) -> EndpointAnswer:
        """One endpoint, by its id or uid."""
        return EndpointAnswer.of(await endpoints.get(caller, app, endpoint))

    @router.patch("/{endpoint}")
    async def change_endpoint(caller: Caller, app: str, endpoint: str, body: EndpointPatch) -> EndpointAnswer:
        """Change an endpoint. `enabled: true` brings one back that was disabled."""
        return EndpointAnswer.of(await endpoints.change(caller, app, endpoint, body.change()))

    @router.delete("/{endpoint}", status_code=204, response_class=Response)
    async def delete_endpoint(caller: Caller, app: str, endpoint: str) -> None:
        """Delete an endpoint. What it is owed is cancelled."""
        await endpoints.delete(caller, app, endpoint)

    @router.get("/{endpoint}/secret")
    async def get_secret(caller: Caller, app: str, endpoint: str) -> SecretAnswer:
        """The signing secret. That it was looked at is on record."""
        return SecretAnswer.of(await endpoints.reveal_secrets(caller, app, endpoint))

    @router.post("/{endpoint}/secret/rotate")
    async def rotate_secret(caller: Caller, app: str, endpoint: str, body: Rotate | None = None) -> Rotated:
        """A new signing secret. Until the overlap ends, requests carry the signatures of the old ones too."""
        wanted = body or Rotate()
        overlap = OVERLAP_SECONDS if wanted.overlap_seconds is None else wanted.overlap_seconds
        secret, expires_at = await endpoints.rotate_secret(
            caller, app, endpoint, secret=wanted.secret, overlap_seconds=overlap
        )
        return Rotated.of(secret, expires_at)

    @router.post("/{endpoint}/pause")
    async def pause_endpoint(caller: Caller, app: str, endpoint: str) -> EndpointAnswer:
        """Hold deliveries back; they are kept."""
        return EndpointAnswer.of(await endpoints.pause(caller, app, endpoint, paused=True))

    @router.post("/{endpoint}/resume")
    async def resume_endpoint(caller: Caller, app: str, endpoint: str) -> EndpointAnswer:
        """Let deliveries go on."""
        return EndpointAnswer.of(await endpoints.pause(caller, app, endpoint, paused=False))

    @router.get("/{endpoint}/stats")
    async def get_stats(caller: Caller, app: str, endpoint: str, query: Annotated[StatsQuery, Query()]) -> StatsAnswer:
        """What became of its attempts in a span of time, and what it is owed now."""
        until = clock.now() if query.until is None else query.until.timestamp()
        since = until - STATS_SECONDS if query.since is None else query.since.timestamp()
        stats = await deliveries.stats(caller, app, endpoint, since=since, until=until)
        return StatsAnswer.of(stats, since=since, until=until)

    return router
