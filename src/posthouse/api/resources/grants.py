"""/v1/apps/{app}/grants and /v1/grants"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import Field

from posthouse.api.caller import Caller
from posthouse.api.late_routes import late_router
from posthouse.api.models.grant import GrantAnswer, GrantCreate, GrantPage, GrantPut
from posthouse.api.pages import Cursors, PageQuery
from posthouse.domain.access import Principal
from posthouse.domain.limits import NAME_LENGTH_MAX
from posthouse.manage.grants import GrantBook


class GrantsQuery(PageQuery):
    """Which grants."""

    type: Annotated[
        str | None, Field(min_length=1, max_length=NAME_LENGTH_MAX, description="That cover this event type.")
    ] = None
    subject: Annotated[
        str | None, Field(min_length=1, max_length=2 * NAME_LENGTH_MAX, description="That cover this subject.")
    ] = None


def routes(grants: GrantBook, cursors: Cursors) -> APIRouter:
    router = late_router(tags=["grants"])

    async def page(caller: Principal, app: str | None, query: GrantsQuery) -> GrantPage:
        scope = f"grants/{app or ''}"
        rows = await grants.page(
            caller,
            app,
            before=cursors.before(scope, query),
            limit=query.limit + 1,
            event_type=query.type,
            subject=query.subject,
        )
        return GrantPage(
            data=[GrantAnswer.of(row) for row in rows[: query.limit]],
            next=cursors.next(scope, rows, query, lambda row: row.id),
        )

    @router.get("/v1/grants")
    async def list_all_grants(caller: Caller, query: Annotated[GrantsQuery, Query()]) -> GrantPage:
        """Grants of all apps that the key may see, newest first: who hears of this type, or of this subject."""
        return await page(caller, None, query)

    @router.post("/v1/apps/{app}/grants", status_code=201)
    async def create_grant(caller: Caller, app: str, body: GrantCreate) -> GrantAnswer:
        """Let an app hear of these types of events about these subjects, from the next event on."""
        return GrantAnswer.of(await grants.create(caller, app, body.fields(body.uid)))

    @router.get("/v1/apps/{app}/grants")
    async def list_grants(caller: Caller, app: str, query: Annotated[GrantsQuery, Query()]) -> GrantPage:
        """Grants of an app, newest first."""
        return await page(caller, app, query)

    @router.get("/v1/apps/{app}/grants/{grant}")
    async def get_grant(caller: Caller, app: str, grant: str) -> GrantAnswer:
        """One grant, by its id or uid."""
        return GrantAnswer.of(await grants.get(caller, app, grant))

    @router.put("/v1/apps/{app}/grants/{grant}", responses={201: {"model": GrantAnswer, "description": "It was made."}})
    async def put_grant(caller: Caller, app: str, grant: str, body: GrantPut, response: Response) -> GrantAnswer:
        """Put these fields in place of those of the grant with this id or uid; with a new uid, make it."""
        row, made = await grants.put(caller, app, grant, body.fields())
        response.status_code = 201 if made else 200
        return GrantAnswer.of(row)

    @router.delete("/v1/apps/{app}/grants/{grant}", status_code=204, response_class=Response)
    async def delete_grant(caller: Caller, app: str, grant: str) -> None:
        """Take a grant away. Events that no other grant covers and that were not yet sent are given up, as `revoked`."""
        await grants.delete(caller, app, grant)

    return router
