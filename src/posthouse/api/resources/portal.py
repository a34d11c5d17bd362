"""/v1/apps/{app}/portal-links"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Request
from fastapi.responses import Response

from posthouse.api.caller import Caller
from posthouse.api.late_routes import late_router
from posthouse.api.models.common import time_of
from posthouse.api.models.session import NewPortalLink, PortalLink
from posthouse.api.reached import own_url
from posthouse.manage.portal import Portal
from posthouse.manage.signing_in import sign_in_url


def routes(portal: Portal, public_url: str) -> APIRouter:
    router = late_router(prefix="/v1/apps/{app}/portal-links", tags=["portal"])

    @router.post("", status_code=201)
    async def create_portal_link(
        request: Request,
        answer: Response,
        caller: Caller,
        app: str,
        body: Annotated[NewPortalLink | None, Body()] = None,
    ) -> PortalLink:
        """Make a link to the app's portal, on which whoever opens it looks after the app's endpoints, for twelve hours.

        It works once. Your developer page asks for one when somebody who may look after the app wants to go there, and
        redirects there. What is done in the portal is on record as of the key that the link was made with, and through the
        portal; revoking that key ends it.
        """
        wanted = body or NewPortalLink()
        code, expires_at = await portal.create_link(caller, app, seconds=wanted.seconds)
        answer.headers["cache-control"] = "no-store"
        url = sign_in_url(public_url or own_url(request), "portal", code)
        return PortalLink(url=url, expires_at=time_of(expires_at))

    return router
