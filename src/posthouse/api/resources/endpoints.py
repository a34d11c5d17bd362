"""/v1/apps/{app}/endpoints, and /v1/endpoints: those of all apps"""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from posthouse.api.caller import SPOKEN, Caller
from posthouse.api.etags import Conditional, etag_of, tagged
from posthouse.api.late_routes import late_router
from posthouse.api.models.common import Instant
from posthouse.api.models.endpoint import (
    EndpointAnswer,
    EndpointCreate,
    EndpointCreated,
    EndpointPage,
    EndpointPatch,
    EndpointPut,
)
from posthouse.api.models.endpoint_history import RevisionAnswer, RevisionPage, StatsAnswer
from posthouse.api.models.secret import Rotate, Rotated, SecretAnswer
from posthouse.api.models.trials import PreviewAnswer, PreviewRun, TrialAnswer, TrialRun
from posthouse.api.models.verification import VerificationAnswer
from posthouse.api.pages import Cursors, PageQuery
from posthouse.domain.errors import Invalid
from posthouse.domain.limits import FIND_LENGTH_MAX, OVERLAP_SECONDS, STATS_SECONDS
from posthouse.manage.deliveries import Deliveries
from posthouse.manage.endpoint_secrets import EndpointSecrets
from posthouse.manage.endpoints import Endpoints, Written
from posthouse.manage.preview import Other, Previews
from posthouse.manage.trial import Trials
from posthouse.manage.verification import Verifications
from posthouse.ports.clock import Clock
from posthouse.ports.directory import EndpointFilter, StoredEndpoint, Waiting

ALL_SCOPE: Final = "all-endpoints"
_REVISION_BYTES: Final = 8
_NEWEST_REVISION: Final = 2**31 - 1


class EndpointsQuery(PageQuery):
    """Which endpoints."""

    enabled: Annotated[bool | None, Field(description="Those that are enabled, or are not.")] = None
    state: Annotated[
        Waiting | None,
        Field(description="Those that are paused, whose circuit is not closed, or that did not pass their handshake."),
    ] = None
    search: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=FIND_LENGTH_MAX,
            description="The one with this id, and those whose uid or URL (with or without its scheme) begins so. Over all "
            "apps, this comes as one page: the newest of the first thousand.",
            examples=["hooks.example.com"],
        ),
    ] = None

    @property
    def which(self) -> EndpointFilter:
        return EndpointFilter(enabled=self.enabled, waiting=self.state, text=self.search)


class AllEndpointsQuery(EndpointsQuery):
    """Which endpoints of which app."""

    app: Annotated[str | None, Field(description="Of this app: id or uid.")] = None


class StatsQuery(BaseModel):
    """Which time: by default the last 24 hours."""

    model_config = ConfigDict(extra="forbid")

    since: Instant | None = None
    until: Instant | None = None


def routes(
    endpoints: Endpoints,
    endpoint_secrets: EndpointSecrets,
    deliveries: Deliveries,
    trials: Trials,
    previews: Previews,
    verifications: Verifications,
    cursors: Cursors,
    clock: Clock,
) -> APIRouter:
    router = late_router(prefix="/v1/apps/{app}/endpoints", tags=["endpoints"])

    def created(written: Written) -> EndpointCreated:
        assert written.secret is not None, "it was made"
        return EndpointCreated.with_secret(written.endpoint, written.secret, written.made.shown)

    @router.post("", status_code=201)
    async def create_endpoint(caller: Caller, app: str, body: EndpointCreate, response: Response) -> EndpointCreated:
        """Make an endpoint. The answer holds its signing secret."""
        made = await endpoints.create(caller, app, body.change(), body.secret, body.keys)
        response.headers["ETag"] = etag_of(
            EndpointAnswer.of(made.endpoint)
        )  # of what a GET answers: without the secret
        return created(made)

    @router.get("")
    async def list_endpoints(caller: Caller, app: str, query: Annotated[EndpointsQuery, Query()]) -> EndpointPage:
        """Endpoints of an app, newest first."""
        scope = f"endpoints/{app}"
        before = cursors.before(scope, query)
        rows = await endpoints.page(caller, app, before=before, limit=query.limit + 1, which=query.which)
        return _page(cursors, scope, rows, query)

    @router.get("/{endpoint}", response_model=EndpointAnswer)
    async def get_endpoint(
        caller: Caller, app: str, endpoint: str, conditions: Conditional, response: Response
    ) -> EndpointAnswer | Response:
        """One endpoint, by its id or uid."""
        return conditions.answer(response, EndpointAnswer.of(await endpoints.get(caller, app, endpoint)))

    @router.put(
        "/{endpoint}",
        response_model=EndpointAnswer,
        responses={201: {"description": "It was made; this is its signing secret.", "model": EndpointCreated}},
    )
    async def put_endpoint(
        caller: Caller, app: str, endpoint: str, body: EndpointPut, conditions: Conditional, response: Response
    ) -> EndpointAnswer | Response:
        """Make the endpoint with this uid (201), or replace it as a whole: what is left out takes its default, and its
        secrets and keys stay (200)."""
        written = await endpoints.put(
            caller, app, endpoint, body.change(), body.secret, body.keys, check=conditions.on(EndpointAnswer.of)
        )
        answer = EndpointAnswer.of(written.endpoint)
        if written.secret is None:
            return tagged(response, answer)
        return Response(
            created(written).model_dump_json(),
            status_code=201,
            headers={"ETag": etag_of(answer)},
            media_type="application/json",
        )

    @router.patch("/{endpoint}")
    async def change_endpoint(
        caller: Caller, app: str, endpoint: str, body: EndpointPatch, conditions: Conditional, response: Response
    ) -> EndpointAnswer:
        """Change an endpoint. `enabled: true` brings one back that was disabled."""
        changed = await endpoints.change(caller, app, endpoint, body.change(), check=conditions.on(EndpointAnswer.of))
        return tagged(response, EndpointAnswer.of(changed))

    @router.delete("/{endpoint}", status_code=204, response_class=Response)
    async def delete_endpoint(caller: Caller, app: str, endpoint: str, conditions: Conditional) -> None:
        """Delete an endpoint. What it is owed is cancelled."""
        await endpoints.delete(caller, app, endpoint, check=conditions.on(EndpointAnswer.of))

    @router.get("/{endpoint}/revisions")
    async def list_revisions(
        caller: Caller, app: str, endpoint: str, query: Annotated[PageQuery, Query()]
    ) -> RevisionPage:
        """What its requests were made with, newest first. An attempt names its revision."""
        scope = f"revisions/{app}/{endpoint}"
        before = _NEWEST_REVISION
        if query.cursor is not None:
            before = int.from_bytes(cursors.open(scope, query.cursor), "big")
        rows = await endpoints.revisions(caller, app, endpoint, before=before, limit=query.limit + 1)
        return RevisionPage(
            data=[RevisionAnswer.of(row) for row in rows[: query.limit]],
            next=cursors.next(scope, rows, query, lambda row: row.revision.to_bytes(_REVISION_BYTES, "big")),
        )

    @router.get("/{endpoint}/secret")
    async def get_secret(caller: Caller, app: str, endpoint: str) -> SecretAnswer:
        """The signing secret. That it was looked at is on record."""
        return SecretAnswer.of(await endpoint_secrets.reveal(caller, app, endpoint))

    @router.post("/{endpoint}/secret/rotate")
    async def rotate_secret(caller: Caller, app: str, endpoint: str, body: Rotate | None = None) -> Rotated:
        """A new signing secret. Until the overlap ends, requests carry the signatures of the old ones too."""
        wanted = body or Rotate()
        overlap = OVERLAP_SECONDS if wanted.overlap_seconds is None else wanted.overlap_seconds
        secret, expires_at = await endpoint_secrets.rotate(
            caller, app, endpoint, secret=wanted.secret, overlap_seconds=overlap
        )
        return Rotated.of(secret, expires_at)

    @router.post("/{endpoint}/pause")
    async def pause_endpoint(caller: Caller, app: str, endpoint: str, response: Response) -> EndpointAnswer:
        """Hold deliveries back; they are kept."""
        return tagged(response, EndpointAnswer.of(await endpoints.pause(caller, app, endpoint, paused=True)))

    @router.post("/{endpoint}/resume")
    async def resume_endpoint(caller: Caller, app: str, endpoint: str, response: Response) -> EndpointAnswer:
        """Let deliveries go on."""
        return tagged(response, EndpointAnswer.of(await endpoints.pause(caller, app, endpoint, paused=False)))

    @router.post("/{endpoint}/test")
    async def test_endpoint(caller: Caller, app: str, endpoint: str, body: TrialRun) -> TrialAnswer:
        """Send it one signed event now, enabled or not, and see what it answers. Nothing is stored or tried again."""
        return TrialAnswer.of(await trials.run(caller, app, endpoint, type=body.type, data=body.json_data()))

    @router.post("/{endpoint}/verify")
    async def verify_endpoint(caller: Caller, app: str, endpoint: str) -> VerificationAnswer:
        """Make its handshake now, from its first step on, and see what it comes to. One that takes long is answered as it is so
        far, and goes on by itself."""
        return VerificationAnswer.of(await verifications.run(caller, app, endpoint))

    @router.post("/{endpoint}/preview", dependencies=[SPOKEN])
    async def preview_endpoint(caller: Caller, app: str, endpoint: str, body: PreviewRun) -> PreviewAnswer:
        """Show the request that an event would be to it, and whether it would hear of it; with `changes`, as if it were
        changed so. Nothing is sent or stored."""
        sample = body.sample()
        other = None
        if body.changes is not None:
            try:
                other = Other(*await endpoints.changed(caller, app, endpoint, body.changes.change()))
            except Invalid as error:
                error.path = f"changes.{error.path}" if error.path else "changes"
                raise
        if sample is None:
            assert body.event is not None
            return PreviewAnswer.of(await previews.of_stored(caller, app, endpoint, body.event, other=other))
        return PreviewAnswer.of(await previews.of_sample(caller, app, endpoint, sample, other=other))

    @router.get("/{endpoint}/stats")
    async def get_stats(caller: Caller, app: str, endpoint: str, query: Annotated[StatsQuery, Query()]) -> StatsAnswer:
        """What became of its attempts in a span of time, and what it is owed now."""
        until = clock.now() if query.until is None else query.until.timestamp()
        since = until - STATS_SECONDS if query.since is None else query.since.timestamp()
        stats = await deliveries.stats(caller, app, endpoint, since=since, until=until)
        return StatsAnswer.of(stats, since=since, until=until)

    return router


def platform_routes(endpoints: Endpoints, cursors: Cursors) -> APIRouter:
    """Over all apps."""
    router = late_router(prefix="/v1/endpoints", tags=["endpoints"])

    @router.get("")
    async def list_all_endpoints(caller: Caller, query: Annotated[AllEndpointsQuery, Query()]) -> EndpointPage:
        """Endpoints of all apps, newest first."""
        before = cursors.before(ALL_SCOPE, query)
        rows = await endpoints.page_of_all(
            caller, app=query.app, before=before, limit=query.limit + 1, which=query.which
        )
        if query.app is None and query.search is not None:
            return EndpointPage(data=[EndpointAnswer.of(row) for row in rows[: query.limit]], next=None)
        return _page(cursors, ALL_SCOPE, rows, query)

    return router


def _page(cursors: Cursors, scope: str, rows: list[StoredEndpoint], query: PageQuery) -> EndpointPage:
    return EndpointPage(
        data=[EndpointAnswer.of(row) for row in rows[: query.limit]],
        next=cursors.next(scope, rows, query, lambda row: row.id),
    )
