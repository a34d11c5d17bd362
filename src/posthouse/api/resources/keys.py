"""/v1/keys"""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query
from fastapi.responses import Response

from posthouse.api.caller import Caller
from posthouse.api.late_routes import late_router
from posthouse.api.models.directory import KeyAnswer, KeyCreate, KeyCreated, KeyPage
from posthouse.api.pages import Cursors, PageQuery
from posthouse.domain.errors import NotFound
from posthouse.domain.ids import KEY, parse_id
from posthouse.manage.access import admin_only
from posthouse.manage.keys import Keys

SCOPE: Final = "keys"


def routes(keys: Keys, cursors: Cursors) -> APIRouter:
    router = late_router(prefix="/v1/keys", tags=["keys"])

    @router.post("", status_code=201)
    async def create_key(caller: Caller, body: KeyCreate) -> KeyCreated:
        """Make an API key. The answer is the only place where it is ever told."""
        key, token = await keys.create(caller, name=body.name or "", scope=body.scope, app=body.app)
        return KeyCreated.with_key(key, token)

    @router.get("")
    async def list_keys(caller: Caller, query: Annotated[PageQuery, Query()]) -> KeyPage:
        """API keys that work, newest first."""
        rows = await keys.page(caller, before=cursors.before(SCOPE, query), limit=query.limit + 1)
        return KeyPage(
            data=[KeyAnswer.of(row) for row in rows[: query.limit]],
            next=cursors.next(SCOPE, rows, query, lambda row: row.id),
        )

    @router.delete("/{key}", status_code=204, response_class=Response)
    async def revoke_key(caller: Caller, key: str) -> None:
        """Revoke an API key. Other processes notice within ten seconds."""
        admin_only(caller)
        raw = parse_id(KEY, key)
        if raw is None:
            raise NotFound("there is no such key", code="key_not_found")
        await keys.revoke(caller, raw)

    return router
