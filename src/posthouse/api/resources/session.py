"""/v1/session: signing in to the console."""

from __future__ import annotations

import re
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import Response

from posthouse.api.caller import Caller
from posthouse.api.credentials import SessionCookie
from posthouse.api.gate import CREDENTIAL, SIGN_IN, Asker
from posthouse.api.late_routes import late_router
from posthouse.api.models.common import time_of
from posthouse.api.models.session import LinkCreated, SessionAnswer, SignIn
from posthouse.domain.errors import Invalid
from posthouse.domain.limits import SESSION_SECONDS
from posthouse.manage.sessions import Sessions, sign_in_url

_HOST: Final = re.compile(r"([A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?")


def routes(sessions: Sessions, cookie: SessionCookie, public_url: str) -> APIRouter:
    router = late_router(prefix=SIGN_IN[1], tags=["session"])

    @router.post("", status_code=201)
    async def sign_in(request: Request, answer: Response, body: SignIn) -> SessionAnswer:
        """Sign in to the console, with an administrator's key or by a link that works once.

        The answer sets a cookie, which counts only where `X-Posthouse-Console: 1` stands beside it and no `Authorization` does.
        It stands for the key until twelve hours are over, somebody signs out, or the key is revoked.
        """
        client = (request.client and request.client.host) or ""
        match body:
            case SignIn(key=str(key), code=None):
                principal, token = await sessions.sign_in(key, client=client)
            case SignIn(key=None, code=str(code)):
                principal, token = await sessions.sign_in_by_link(code, client=client)
            case _:
                raise Invalid("give a key, or the code of a link, and not both", path="key")
        answer.headers["set-cookie"] = cookie.keep(token, _origin(request), seconds=SESSION_SECONDS)
        return SessionAnswer.of(principal)

    @router.get("")
    async def get_session(caller: Caller) -> SessionAnswer:
        """Who is signed in. 404 for an API key: nobody signed in with it here."""
        return SessionAnswer.of(caller)

    @router.delete("", status_code=204, response_class=Response)
    async def sign_out(request: Request, caller: Caller) -> Response:
        """Sign out. Other processes notice within ten seconds."""
        await sessions.sign_out(caller)
        return Response(status_code=204, headers={"set-cookie": cookie.drop(_origin(request))})

    @router.post("/links", status_code=201)
    async def create_session_link(request: Request, answer: Response, caller: Caller) -> LinkCreated:
        """Make a link that signs in to the console: it works once, within a day. It asks for an administrator's key; somebody
        who is signed in cannot make one."""
        code, expires_at = await sessions.create_link(caller)
        answer.headers["cache-control"] = "no-store"
        return LinkCreated(url=sign_in_url(public_url or _own_url(request), code), expires_at=time_of(expires_at))

    return router


def _origin(request: Request) -> bytes | None:
    asker: Asker = request.scope[CREDENTIAL]
    return asker.credential.origin


def _own_url(request: Request) -> str:
    """Where whoever asks has reached us."""
    host = request.headers.get("host") or "{}:{}".format(*request.scope["server"])
    if not _HOST.fullmatch(host):
        raise Invalid("the header Host is no host", path="Host", code="malformed_request")
    return f"{request.scope['scheme']}://{host}"
