"""/v1/replays, /v1/apps/{app}/replays: past events sent to an endpoint again"""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from posthouse.api.caller import Caller
from posthouse.api.late_routes import late_router
from posthouse.api.models.replay import ReplayAnswer, ReplayCount, ReplayCreate, ReplayPage
from posthouse.api.pages import Cursors, PageQuery
from posthouse.domain.access import Principal
from posthouse.domain.replay import Turn
from posthouse.manage.replays import Replays

OF_APP: Final = "/v1/apps/{app}/replays"


class CreateQuery(BaseModel):
    """Whether to do it."""

    model_config = ConfigDict(extra="forbid")

    dry_run: Annotated[bool, Field(description="Change nothing; say how many events it would be (200).")] = False


class AllReplaysQuery(PageQuery):
    """Which replays, of all."""

    app: Annotated[str | None, Field(description="Of this app: id or uid.")] = None


async def page_of(
    replays: Replays, cursors: Cursors, caller: Principal, app: str | None, query: PageQuery
) -> ReplayPage:
    scope = f"replays/{app}"
    rows = await replays.page(caller, app, before=cursors.before(scope, query), limit=query.limit + 1)
    return ReplayPage(
        data=[ReplayAnswer.of(row) for row in rows[: query.limit]],
        next=cursors.next(scope, rows, query, lambda row: row.replay.id),
    )


def routes(replays: Replays, cursors: Cursors) -> APIRouter:
    router = late_router(tags=["replays"])

    @router.get("/v1/replays")
    async def list_all_replays(caller: Caller, query: Annotated[AllReplaysQuery, Query()]) -> ReplayPage:
        """Replays of all apps that the key may see, newest first; those that ended for as long as the log is kept."""
        return await page_of(replays, cursors, caller, query.app, query)

    @router.post(
        OF_APP,
        status_code=202,
        response_model=ReplayAnswer,
        responses={200: {"description": "A dry run: how many events it would be.", "model": ReplayCount}},
    )
    async def create_replay(
        caller: Caller, app: str, body: ReplayCreate, query: Annotated[CreateQuery, Query()]
    ) -> ReplayAnswer | Response:
        """Send events of a span of time to an endpoint again, in the background. Replays of one endpoint go one after the
        other."""
        if query.dry_run:
            counted = ReplayCount.of(await replays.count(caller, app, body.fields()))
            return Response(counted.model_dump_json(), media_type="application/json")
        return ReplayAnswer.of(await replays.create(caller, app, body.fields()))

    @router.get(OF_APP)
    async def list_replays(caller: Caller, app: str, query: Annotated[PageQuery, Query()]) -> ReplayPage:
        """Replays of an app, newest first; those that ended for as long as the log is kept."""
        return await page_of(replays, cursors, caller, app, query)

    @router.get(f"{OF_APP}/{{replay}}")
    async def get_replay(caller: Caller, app: str, replay: str) -> ReplayAnswer:
        """One replay, and how far it is."""
        return ReplayAnswer.of(await replays.get(caller, app, replay))

    @router.post(f"{OF_APP}/{{replay}}/pause")
    async def pause_replay(caller: Caller, app: str, replay: str) -> ReplayAnswer:
        """Put nothing more in. What it has put in already, a few hundred at most, is still sent."""
        return ReplayAnswer.of(await replays.turn(caller, app, replay, Turn.PAUSE))

    @router.post(f"{OF_APP}/{{replay}}/resume")
    async def resume_replay(caller: Caller, app: str, replay: str) -> ReplayAnswer:
        """Go on where it was."""
        return ReplayAnswer.of(await replays.turn(caller, app, replay, Turn.RESUME))

    @router.post(f"{OF_APP}/{{replay}}/cancel")
    async def cancel_replay(caller: Caller, app: str, replay: str) -> ReplayAnswer:
        """End it, and take back what was not tried yet. What is just being sent is not called back."""
        return ReplayAnswer.of(await replays.turn(caller, app, replay, Turn.CANCEL))

    return router
