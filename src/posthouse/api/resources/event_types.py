"""/v1/event-types"""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import Field

from posthouse.api.caller import SPOKEN, Caller
from posthouse.api.etags import Conditional, tagged
from posthouse.api.late_routes import late_router
from posthouse.api.models.event_types import (
    EventTypeAnswer,
    EventTypeCreate,
    EventTypePage,
    EventTypePatch,
    EventTypePut,
    EventTypeVersionAnswer,
    EventTypeVersionPage,
    SchemaCheckAnswer,
    SchemaToCheck,
    VisibilityName,
)
from posthouse.api.pages import Cursors, PageQuery
from posthouse.domain.errors import Invalid
from posthouse.domain.event_type import Visibility
from posthouse.manage.catalogue import NEWEST_VERSION, EventTypes

SCOPE: Final = "event-types"
VERSION_BYTES: Final = 4
SEARCH_LENGTH_MAX: Final = 200


class EventTypesQuery(PageQuery):
    """Which event types."""

    archived: Annotated[bool, Field(description="With those that are archived.")] = False
    visibility: VisibilityName | None = None
    search: Annotated[
        str | None,
        Field(max_length=SEARCH_LENGTH_MAX, description="Whose name or description has this in it, in whatever case."),
    ] = None


def routes(event_types: EventTypes, cursors: Cursors) -> APIRouter:
    router = late_router(prefix="/v1/event-types", tags=["event types"])

    @router.post("", status_code=201)
    async def create_event_type(caller: Caller, body: EventTypeCreate, response: Response) -> EventTypeAnswer:
        """Make an event type."""
        return tagged(response, EventTypeAnswer.of(await event_types.create(caller, body.name, body.change())))

    @router.get("")
    async def list_event_types(caller: Caller, query: Annotated[EventTypesQuery, Query()]) -> EventTypePage:
        """Event types, by name. An app's key sees those that are public, and those that a grant of its covers."""
        after = "" if query.cursor is None else cursors.open(SCOPE, query.cursor).decode("utf-8")
        rows = await event_types.page(
            caller,
            after=after,
            limit=query.limit + 1,
            archived=query.archived,
            visibility=None if query.visibility is None else Visibility(query.visibility),
            search=query.search or None,
        )
        return EventTypePage(
            data=[EventTypeAnswer.of(row) for row in rows[: query.limit]],
            next=cursors.next(SCOPE, rows, query, lambda row: row.name.encode()),
        )

    @router.get("/{name}", response_model=EventTypeAnswer)
    async def get_event_type(
        caller: Caller, name: str, conditions: Conditional, response: Response
    ) -> EventTypeAnswer | Response:
        """One event type."""
        return conditions.answer(response, EventTypeAnswer.of(await event_types.get(caller, name)))

    @router.put("/{name}", responses={201: {"description": "It was made.", "model": EventTypeAnswer}})
    async def put_event_type(
        caller: Caller, name: str, body: EventTypePut, conditions: Conditional, response: Response
    ) -> EventTypeAnswer:
        """Make the event type (201), or replace it as a whole: what is left out takes its default, and one that was archived
        is back (200). A schema that breaks receivers is set all the same; ask `/check` before."""
        if body.name is not None and body.name != name:
            raise Invalid(f"the path says {name[:80]!r}; a name cannot be changed", path="name")
        stored, made = await event_types.put(caller, name, body.change(), check=conditions.on(EventTypeAnswer.of))
        response.status_code = 201 if made else 200
        return tagged(response, EventTypeAnswer.of(stored))

    @router.patch("/{name}")
    async def change_event_type(
        caller: Caller, name: str, body: EventTypePatch, conditions: Conditional, response: Response
    ) -> EventTypeAnswer:
        """Change an event type. Events that were accepted are not checked again. A schema that breaks receivers is set all
        the same; ask `/check` before."""
        changed = await event_types.change(caller, name, body.change(), check=conditions.on(EventTypeAnswer.of))
        return tagged(response, EventTypeAnswer.of(changed))

    @router.delete("/{name}", status_code=204, response_class=Response)
    async def archive_event_type(caller: Caller, name: str, conditions: Conditional) -> None:
        """Archive an event type: nothing more of it is accepted, and what was is delivered."""
        await event_types.archive(caller, name, check=conditions.on(EventTypeAnswer.of))

    @router.get("/{name}/versions")
    async def list_event_type_versions(
        caller: Caller, name: str, query: Annotated[PageQuery, Query()]
    ) -> EventTypeVersionPage:
        """The versions of its schema, newest first."""
        scope = f"{SCOPE}/{name}/versions"
        before = NEWEST_VERSION if query.cursor is None else int.from_bytes(cursors.open(scope, query.cursor), "big")
        rows = await event_types.versions(caller, name, before=before, limit=query.limit + 1)
        return EventTypeVersionPage(
            data=[EventTypeVersionAnswer.of(row) for row in rows[: query.limit]],
            next=cursors.next(scope, rows, query, lambda row: row.version.to_bytes(VERSION_BYTES, "big")),
        )

    @router.post("/{name}/check", dependencies=[SPOKEN])
    async def check_event_type(caller: Caller, name: str, body: SchemaToCheck) -> SchemaCheckAnswer:
        """What giving it another schema would break, and whom. Nothing is changed."""
        return SchemaCheckAnswer.of(await event_types.check(caller, name, body.schema_))

    return router
