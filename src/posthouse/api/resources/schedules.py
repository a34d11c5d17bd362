"""/v1/schedules"""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import Field

from posthouse.api.caller import SPOKEN, Caller
from posthouse.api.etags import Conditional, tagged
from posthouse.api.late_routes import late_router
from posthouse.api.models.schedule import (
    NextAnswer,
    NextQuery,
    RunAnswer,
    ScheduleAnswer,
    ScheduleFields,
    SchedulePage,
    SchedulePatch,
)
from posthouse.api.pages import Cursors, PageQuery
from posthouse.manage.schedules import Schedules

SCOPE: Final = "schedules"


class SchedulesQuery(PageQuery):
    """Which schedules."""

    app: Annotated[str | None, Field(description="Whose events are for this app alone: id or uid.")] = None


def routes(schedules: Schedules, cursors: Cursors) -> APIRouter:
    router = late_router(prefix="/v1/schedules", tags=["schedules"], dependencies=[SPOKEN])

    @router.post("", status_code=201)
    async def create_schedule(caller: Caller, body: ScheduleFields, response: Response) -> ScheduleAnswer:
        """Let an event be published at certain times, from now on."""
        return tagged(response, ScheduleAnswer.of(await schedules.create(caller, body.change())))

    @router.get("")
    async def list_schedules(caller: Caller, query: Annotated[SchedulesQuery, Query()]) -> SchedulePage:
        """Schedules, newest first."""
        scope = f"{SCOPE}/{query.app or ''}"
        rows = await schedules.page(caller, query.app, before=cursors.before(scope, query), limit=query.limit + 1)
        return SchedulePage(
            data=[ScheduleAnswer.of(row) for row in rows[: query.limit]],
            next=cursors.next(scope, rows, query, lambda row: row.id),
        )

    @router.get("/{schedule}", response_model=ScheduleAnswer)
    async def get_schedule(
        caller: Caller, schedule: str, conditions: Conditional, response: Response
    ) -> ScheduleAnswer | Response:
        """One schedule, by its id or uid: when it is due next, what it fired last, and why it does not where it fails."""
        return conditions.answer(response, ScheduleAnswer.of(await schedules.get(caller, schedule)))

    @router.put("/{schedule}", responses={201: {"description": "It was made.", "model": ScheduleAnswer}})
    async def put_schedule(
        caller: Caller, schedule: str, body: ScheduleFields, conditions: Conditional, response: Response
    ) -> ScheduleAnswer:
        """Make the schedule with this uid (201), or replace it as a whole: what is left out takes its default (200)."""
        stored, made = await schedules.put(caller, schedule, body.change(), check=conditions.on(ScheduleAnswer.of))
        response.status_code = 201 if made else 200
        return tagged(response, ScheduleAnswer.of(stored))

    @router.patch("/{schedule}")
    async def change_schedule(
        caller: Caller, schedule: str, body: SchedulePatch, conditions: Conditional, response: Response
    ) -> ScheduleAnswer:
        """Change a schedule. Other times count from now on; what was refused is tried again at once."""
        changed = await schedules.change(caller, schedule, body.change(), check=conditions.on(ScheduleAnswer.of))
        return tagged(response, ScheduleAnswer.of(changed))

    @router.delete("/{schedule}", status_code=204, response_class=Response)
    async def delete_schedule(caller: Caller, schedule: str, conditions: Conditional) -> None:
        """Delete a schedule. What it has published stays."""
        await schedules.delete(caller, schedule, check=conditions.on(ScheduleAnswer.of))

    @router.post("/{schedule}/pause")
    async def pause_schedule(caller: Caller, schedule: str, response: Response) -> ScheduleAnswer:
        """Let it rest: nothing is published until it is resumed, nor made up for afterwards."""
        return tagged(response, ScheduleAnswer.of(await schedules.pause(caller, schedule, enabled=False)))

    @router.post("/{schedule}/resume")
    async def resume_schedule(caller: Caller, schedule: str, response: Response) -> ScheduleAnswer:
        """Let it go on, from now."""
        return tagged(response, ScheduleAnswer.of(await schedules.pause(caller, schedule, enabled=True)))

    @router.get("/{schedule}/next")
    async def preview_schedule(caller: Caller, schedule: str, query: Annotated[NextQuery, Query()]) -> NextAnswer:
        """Its next occurrences, whether or not it is enabled."""
        after = None if query.after is None else query.after.timestamp()
        return NextAnswer.of(await schedules.preview(caller, schedule, count=query.count, after=after))

    @router.post("/{schedule}/run", status_code=202)
    async def run_schedule(caller: Caller, schedule: str) -> RunAnswer:
        """Publish its event now, beside its occurrences, whether or not it is enabled."""
        return RunAnswer.of(*await schedules.run(caller, schedule))

    return router
