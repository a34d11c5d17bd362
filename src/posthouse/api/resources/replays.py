"""/v1/apps/{app}/replays: past events sent to an endpoint again"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from posthouse.api.caller import Caller
from posthouse.api.models.replay import ReplayAnswer, ReplayCount, ReplayCreate, ReplayPage
from posthouse.api.pages import Cursors, PageQuery
from posthouse.domain.replay import Turn
from posthouse.manage.replays import Replays


class CreateQuery(BaseModel):
    """Whether to do it."""

    model_config = ConfigDict(extra="forbid")

    dry_run: Annotated[bool, Field(description="Change nothing; say how many events it would be (200).")] = False


def routes(replays: Replays, cursors: Cursors) -> APIRouter:
    router = APIRouter(prefix="/v1/apps/{app}/replays", tags=["replays"])

    @router.post(
        "",
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

    @router.get("")
    async def list_replays(caller: Caller, app: str, query: Annotated[PageQuery, Query()]) -> ReplayPage:
        """Replays of an app, newest first; those that ended for as long as the log is kept."""
        scope = f"replays/{app}"
        rows = await replays.page(caller, app, before=cursors.before(scope, query), limit=query.limit + 1)
        return ReplayPage(
            data=[ReplayAnswer.of(row) for row in rows[: query.limit]],
            next=cursors.next(scope, rows, query, lambda row: row.replay.id),
        )

    @router.get("/{replay}")
    async def get_replay(caller: Caller, app: str, replay: str) -> ReplayAnswer:
        """One replay, and how far it is."""
        return ReplayAnswer.of(await replays.get(caller, app, replay))

    @router.post("/{replay}/pause")
    async def pause_replay(caller: Caller, app: str, replay: str) -> ReplayAnswer:
        """Put nothing more in. What it has put in already, a few hundred at most, is still sent."""
        return ReplayAnswer.of(await replays.turn(caller, app, replay, Turn.PAUSE))

    @router.post("/{replay}/resume")
    async def resume_replay(caller: Caller, app: str, replay: str) -> ReplayAnswer:
        """Go on where it was."""
        return ReplayAnswer.of(await replays.turn(caller, app, replay, Turn.RESUME))

    @router.post("/{replay}/cancel")
    async def cancel_replay(caller: Caller, app: str, replay: str) -> ReplayAnswer:
        """End it, and take back what was not tried yet. What is just being sent is not called back."""
        return ReplayAnswer.of(await replays.turn(caller, app, replay, Turn.CANCEL))

    return router
