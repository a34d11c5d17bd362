"""/v1/apps"""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import Field

from posthouse.api.caller import Caller
from posthouse.api.etags import Conditional, tagged
from posthouse.api.late_routes import late_router
from posthouse.api.models.directory import AppAnswer, AppFields, AppPage
from posthouse.api.pages import Cursors, PageQuery
from posthouse.domain.limits import FIND_LENGTH_MAX
from posthouse.manage.apps import Apps

SCOPE: Final = "apps"


class AppsQuery(PageQuery):
    """Which apps."""

    search: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=FIND_LENGTH_MAX,
            description="The one with this id, and those whose uid or name (in any case) begins so. This comes as one page: "
            "the newest of the first thousand.",
            examples=["shop-"],
        ),
    ] = None


def routes(apps: Apps, cursors: Cursors) -> APIRouter:
    router = late_router(prefix="/v1/apps", tags=["apps"])

    @router.post("", status_code=201)
    async def create_app(caller: Caller, body: AppFields, response: Response) -> AppAnswer:
        """Make an app."""
        return tagged(response, AppAnswer.of(await apps.create(caller, body.change())))

    @router.get("")
    async def list_apps(caller: Caller, query: Annotated[AppsQuery, Query()]) -> AppPage:
        """Apps, newest first."""
        before = cursors.before(SCOPE, query)
        rows = await apps.page(caller, before=before, limit=query.limit + 1, text=query.search)
        return AppPage(
            data=[AppAnswer.of(row) for row in rows[: query.limit]],
            next=None if query.search is not None else cursors.next(SCOPE, rows, query, lambda row: row.id),
        )

    @router.get("/{app}", response_model=AppAnswer)
    async def get_app(caller: Caller, app: str, conditions: Conditional, response: Response) -> AppAnswer | Response:
        """One app, by its id or uid."""
        return conditions.answer(response, AppAnswer.of(await apps.get(caller, app)))

    @router.put("/{app}", responses={201: {"description": "It was made.", "model": AppAnswer}})
    async def put_app(
        caller: Caller, app: str, body: AppFields, conditions: Conditional, response: Response
    ) -> AppAnswer:
        """Make the app with this uid (201), or replace it as a whole: what is left out takes its default (200)."""
        stored, made = await apps.put(caller, app, body.change(), check=conditions.on(AppAnswer.of))
        response.status_code = 201 if made else 200
        return tagged(response, AppAnswer.of(stored))

    @router.patch("/{app}")
    async def change_app(
        caller: Caller, app: str, body: AppFields, conditions: Conditional, response: Response
    ) -> AppAnswer:
        """Change an app. null brings a field's default back."""
        changed = await apps.change(caller, app, body.change(), check=conditions.on(AppAnswer.of))
        return tagged(response, AppAnswer.of(changed))

    @router.delete("/{app}", status_code=204, response_class=Response)
    async def delete_app(caller: Caller, app: str, conditions: Conditional) -> None:
        """Delete an app with its endpoints, grants, schedules and keys. What it is owed is cancelled. It stays while triggers
        publish to it: 409."""
        await apps.delete(caller, app, check=conditions.on(AppAnswer.of))

    return router
