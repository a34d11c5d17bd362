"""/v1/session: signing in to the console and to the portal."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import APIRouter, Request
from fastapi.responses import Response

from posthouse.api.caller import Caller
from posthouse.api.credentials import SessionCookie
from posthouse.api.gate import CREDENTIAL, SIGN_IN, Asker
from posthouse.api.late_routes import late_router
from posthouse.api.models.common import time_of
from posthouse.api.models.session import LinkCreated, SessionAnswer, SignIn
from posthouse.api.reached import own_url
from posthouse.domain.access import Page, Principal
from posthouse.domain.errors import Invalid, NotFound
from posthouse.domain.ids import APP, format_id
from posthouse.domain.limits import SESSION_SECONDS
from posthouse.manage.apps import Apps
from posthouse.manage.portal import Portal
from posthouse.manage.sessions import Sessions
from posthouse.manage.signing_in import sign_in_url


def routes(
    sessions: Sessions,
    portal: Portal,
    apps: Apps,
    cookies: Mapping[Page, SessionCookie],
    platform_name: str,
) -> APIRouter:
    router = late_router(prefix=SIGN_IN[1], tags=["session"])

    async def answered(principal: Principal) -> SessionAnswer:
        app = None if principal.app_id is None else await apps.get(principal, format_id(APP, principal.app_id))
        return SessionAnswer.of(principal, app, platform_name)

    @router.post("", status_code=201)
    async def sign_in(request: Request, answer: Response, body: SignIn) -> SessionAnswer:
        """Sign in to the console, with an administrator's key or by a link that works once; or to the portal of an app, by a
        link.

        The answer sets a cookie, which counts only where `X-Posthouse-Console: 1`, or `X-Posthouse-Portal: 1`, stands beside
        it, as it did here, and no `Authorization` does. It stands for the key, in the portal for one of the app, until twelve
        hours are over, somebody signs out, or the key is revoked.
        """
        client = (request.client and request.client.host) or ""
        page = _page(request)
        cookie = cookies.get(page)
        if cookie is None:
            raise NotFound(f"the {page} is switched off here", code="route_not_found")
        match page, body:
            case "console", SignIn(key=str(key), code=None):
                principal, token = await sessions.sign_in(key, client=client)
            case "console", SignIn(key=None, code=str(code)):
                principal, token = await sessions.sign_in_by_link(code, client=client)
            case "portal", SignIn(key=None, code=str(code)):
                principal, token = await portal.sign_in(code, client=client)
            case "portal", _:
                raise Invalid("give the code of a link; no key signs in to the portal", path="code")
            case _:
                raise Invalid("give a key, or the code of a link, and not both", path="key")
        answer.headers["set-cookie"] = cookie.keep(token, _asker(request).credential.origin, seconds=SESSION_SECONDS)
        return await answered(principal)

    @router.get("")
    async def get_session(caller: Caller) -> SessionAnswer:
        """Who is signed in. 404 for an API key: nobody signed in with it here."""
        return await answered(caller)

    @router.delete("", status_code=204, response_class=Response)
    async def sign_out(request: Request, caller: Caller) -> Response:
        """Sign out. Other processes notice within ten seconds."""
        await (portal if caller.in_portal else sessions).sign_out(caller)
        dropped = cookies[_page(request)].drop(_asker(request).credential.origin)
        return Response(status_code=204, headers={"set-cookie": dropped})

    return router


def link_routes(sessions: Sessions, public_url: str) -> APIRouter:
    router = late_router(prefix=SIGN_IN[1], tags=["session"])

    @router.post("/links", status_code=201)
    async def create_session_link(request: Request, answer: Response, caller: Caller) -> LinkCreated:
        """Make a link that signs in to the console: it works once, within a day. It asks for an administrator's key; somebody
        who is signed in cannot make one."""
        code, expires_at = await sessions.create_link(caller)
        answer.headers["cache-control"] = "no-store"
        url = sign_in_url(public_url or own_url(request), "console", code)
        return LinkCreated(url=url, expires_at=time_of(expires_at))

    return router


def _asker(request: Request) -> Asker:
    asker: Asker = request.scope[CREDENTIAL]
    return asker


def _page(request: Request) -> Page:
    page = _asker(request).credential.page
    assert page is not None, "the gate lets nobody sign in from elsewhere, and nobody be signed in"
    return page
