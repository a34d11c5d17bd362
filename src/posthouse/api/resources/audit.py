"""/v1/audit"""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query
from pydantic import Field

from posthouse.api.caller import Caller
from posthouse.api.late_routes import late_router
from posthouse.api.models.audit import AuditAnswer, AuditPage
from posthouse.api.pages import Cursors, SpanQuery
from posthouse.manage.audit import LATEST, AuditTrail

SCOPE: Final = "audit"
_HALF: Final = 8  # bytes: a position is two numbers of so many


class AuditListQuery(SpanQuery):
    """Which entries."""

    actor: Annotated[str | None, Field(description="Done with this API key (its id), or by system.")] = None
    action: Annotated[
        str | None, Field(description="An action, or all of a kind.", examples=["endpoint.created", "endpoint."])
    ] = None
    object: Annotated[str | None, Field(description="Done to this: an id, or the name of an event type.")] = None


def routes(trail: AuditTrail, cursors: Cursors) -> APIRouter:
    router = late_router(prefix="/v1/audit", tags=["audit"])

    @router.get("")
    async def list_audit(caller: Caller, query: Annotated[AuditListQuery, Query()]) -> AuditPage:
        """Who changed what, and who looked at which secret; newest first."""
        before = LATEST
        if query.cursor is not None:
            position = cursors.open(SCOPE, query.cursor)
            before = (int.from_bytes(position[:_HALF], "big"), int.from_bytes(position[_HALF:], "big"))
        rows = await trail.page(
            caller,
            before=before,
            since=query.since_seconds,
            until=query.until_seconds,
            actor=query.actor,
            action=query.action,
            object=query.object,
            limit=query.limit + 1,
        )
        return AuditPage(
            data=[AuditAnswer.of(row) for row in rows[: query.limit]],
            next=cursors.next(
                SCOPE, rows, query, lambda row: row.at_us.to_bytes(_HALF, "big") + row.id.to_bytes(_HALF, "big")
            ),
        )

    return router
