"""/v1/event-types"""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import Field

from posthouse.api.caller import Caller
from posthouse.api.models.directory import EventTypeAnswer, EventTypeCreate, EventTypePage, EventTypePatch
from posthouse.api.pages import Cursors, PageQuery
from posthouse.manage.catalogue import EventTypes

SCOPE: Final = "event-types"


class EventTypesQuery(PageQuery):
    """Which event types."""

    archived: Annotated[bool, Field(description="With those that are archived.")] = False


def routes(event_types: EventTypes, cursors: Cursors) -> APIRouter:
    router = APIRouter(prefix="/v1/event-types", tags=["event types"])

    @router.post("", status_code=201)
    async def create_event_type(caller: Caller, body: EventTypeCreate) -> EventTypeAnswer:
        """Make an event type."""
        return EventTypeAnswer.of(await event_types.create(caller, body.name, body.change()))

    @router.get("")
    async def list_event_types(caller: Caller, query: Annotated[EventTypesQuery, Query()]) -> EventTypePage:
        """Event types, by name."""
        after = "" if query.cursor is None else cursors.open(SCOPE, query.cursor).decode("utf-8")
        rows = await event_types.page(after=after, limit=query.limit + 1, archived=query.archived)
        return EventTypePage(
            data=[EventTypeAnswer.of(row) for row in rows[: query.limit]],
            next=cursors.next(SCOPE, rows, query, lambda row: row.name.encode()),
        )

    @router.get("/{name}")
    async def get_event_type(caller: Caller, name: str) -> EventTypeAnswer:
        """One event type."""
        return EventTypeAnswer.of(await event_types.get(name))

    @router.patch("/{name}")
    async def change_event_type(caller: Caller, name: str, body: EventTypePatch) -> EventTypeAnswer:
        """Change an event type. Events that were accepted are not checked again."""
        return EventTypeAnswer.of(await event_types.change(caller, name, body.change()))

    @router.delete("/{name}", status_code=204, response_class=Response)
    async def archive_event_type(caller: Caller, name: str) -> None:
        """Archive an event type: nothing more of it is accepted, and what was is delivered."""
        await event_types.archive(caller, name)

    return router
