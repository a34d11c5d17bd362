"""In front of the framework: who asks, before anything is read; then the body, bounded in size and time, and strictly JSON.

So a stranger costs no more than a look at a header, and what reaches the framework is well-formed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import structlog

from posthouse.api.arriving import Arriving, Disconnected, Message, Receive, Room
from posthouse.api.credentials import (
    PAGE_HEADERS,
    Authenticator,
    Credential,
    Credentials,
    SessionCookie,
    credential_of,
)
from posthouse.api.json_body import check_json
from posthouse.api.problems import problem_bytes
from posthouse.api.texts.accepted import Language, language_of
from posthouse.domain.access import Page, Principal
from posthouse.domain.errors import Forbidden, Invalid, PosthouseError, TooLarge
from posthouse.domain.handshake import CONFIRM_PATH
from posthouse.domain.limits import BODIES_BYTES_MAX, BODY_READ_SECONDS, SIGN_IN_BODY_BYTES_MAX
from posthouse.manage.access import not_only_publishing

log = structlog.get_logger()

Scope = dict[str, Any]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

PROTECTED: Final = "/v1/"
WITHOUT_KEY: Final = frozenset({"/v1/asyncapi.json"})
"""What answers a request without a key, too; one with a key must be known."""
SIGN_IN: Final = ("POST", "/v1/session")
"""What answers without a key because it takes one in its body."""
PRINCIPAL: Final = "posthouse.principal"
CREDENTIAL: Final = "posthouse.credential"
BODY_BYTES_MAX: Final = 1024 * 1024
NO_PAGES: Final[Mapping[Page, SessionCookie]] = MappingProxyType({})
_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
_AS_SAID: Final = (b"x-content-type-options", b"nosniff")
_KEPT_NOWHERE: Final = (b"cache-control", b"no-store")


class Asker(NamedTuple):
    """Who asks, and how to find out again while the request lasts: `still` raises Unauthorised once it is over."""

    credential: Credential
    still: Callable[[Credential], Awaitable[Principal]]


class Gate:
    """Hands on what may pass; the scope then holds the principal of a request under /v1/, and who it was found out from.

    Nobody signs in to a page that has no cookie. What somebody is told who is signed in is kept in no cache:
    there is no `Authorization` header by which caches would know that it is private (RFC 9111, section 3.5).
    """

    def __init__(
        self,
        next_app: App,
        authenticator: Authenticator,
        *,
        cookies: Mapping[Page, SessionCookie] = NO_PAGES,
        body_bytes_max: int = BODY_BYTES_MAX,
        body_seconds: float = BODY_READ_SECONDS,
        bodies_bytes_max: int = BODIES_BYTES_MAX,
    ) -> None:
        self._next = next_app
        self._credentials = Credentials(authenticator, cookies)
        self._sign_in = SIGN_IN if cookies else None
        self._body_bytes_max = body_bytes_max
        self._body_seconds = body_seconds
        self._room = Room(bodies_bytes_max)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._next(scope, receive, send)
            return
        answering = _Answering(send)
        try:
            headers = _single(scope["headers"])
            confirming = scope["path"].startswith(CONFIRM_PATH)  # nothing else of it counts, key and body neither
            signing_in = (scope["method"], scope["path"]) == self._sign_in
            if scope["path"].startswith(PROTECTED) and not confirming:
                credential = credential_of(scope["headers"])
                scope[CREDENTIAL] = Asker(credential, self._credentials.principal)
                if signing_in:
                    _check_page(credential)
                stranger = signing_in or (scope["path"] in WITHOUT_KEY and not self._credentials.given(credential))
                principal = scope[PRINCIPAL] = None if stranger else await self._credentials.principal(credential)
                if principal is not None:
                    not_only_publishing(principal)  # those routes are in front of this one
                answering.private = signing_in or (principal is not None and principal.session is not None)
            if scope["method"] in _WITH_BODY and not confirming:
                body = await self._body(
                    headers, receive, SIGN_IN_BODY_BYTES_MAX if signing_in else self._body_bytes_max
                )
                check_json(body, headers.get(b"content-type"), headers.get(b"content-encoding"))
                receive = _replay(body, receive)
            await self._next(scope, receive, answering)
        except Disconnected:
            return
        except PosthouseError as error:
            await _refuse(answering, error, language_of(scope["headers"]))
        except Exception as error:
            # The framework has answered it, or nobody could: it is logged here in any case.
            log.exception("api.failed", method=scope["method"], path=scope["path"])
            await _refuse(answering, error, language_of(scope["headers"]))

    async def _body(self, headers: dict[bytes, bytes], receive: Receive, most: int) -> bytes:
        length = headers.get(b"content-length", b"0")
        if not length.isdigit():
            raise Invalid("Content-Length is not a number", code="malformed_request")
        if len(length) > 18 or int(length) > most:
            raise _too_large(most)
        try:
            with Arriving(receive, self._room) as arriving:
                async with asyncio.timeout(self._body_seconds):
                    return await arriving.whole(most, over=_too_large)
        except TimeoutError:
            raise Invalid("the body did not arrive in time", code="body_timeout") from None


class _Answering:
    """`send`, and whether the answer has begun. What we answer is what we say it is, whatever a browser makes of its bytes;
    nobody keeps it where it is `private`."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = False
        self.private = False

    async def __call__(self, message: Message) -> None:
        if not self.begun:
            self.begun = True
            headers = [*message["headers"], _AS_SAID]
            if self.private and not any(name == b"cache-control" for name, _ in headers):
                headers.append(_KEPT_NOWHERE)
            message = message | {"headers": headers}
        await self._send(message)


async def _refuse(answering: _Answering, error: Exception, language: Language) -> None:
    if answering.begun:
        return
    status, headers, body = problem_bytes(error, language)
    headers.append((b"content-length", b"%d" % len(body)))
    if status in (408, 413):
        headers.append((b"connection", b"close"))
    await answering({"type": "http.response.start", "status": status, "headers": headers})
    await answering({"type": "http.response.body", "body": body})


def _check_page(credential: Credential) -> None:
    """Raises Forbidden for what no page of ours can have sent: no other one shall sign anybody in, not even its own author."""
    if credential.page is None:
        raise Forbidden(
            "signing in is for the console and the portal, whose requests have the header "
            f"{PAGE_HEADERS['console']}: 1 or {PAGE_HEADERS['portal']}: 1; a program sends its key as Authorization: "
            "Bearer <key>",
            code="not_the_console",
        )


def _single(headers: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """The headers that decide something here. Raises Invalid where one of them comes twice."""
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in (b"authorization", b"content-type", b"content-length", b"content-encoding"):
            if name in found:
                raise Invalid(f"the header {name.decode()} is there twice", code="malformed_request")
            found[name] = value
    return found


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that tells of a body read before."""
    told = False

    async def replay() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _too_large(most: int) -> TooLarge:
    return TooLarge(f"the body has over {most} bytes, which is the most that is accepted here")
