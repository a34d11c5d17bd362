"""In front of the framework: who asks, before anything is read; then the body, bounded in size and time, and strictly JSON.

So a stranger costs no more than a look at a header, and what reaches the framework is well-formed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

import structlog

from posthouse.api.json_body import check_json
from posthouse.api.problems import problem_bytes
from posthouse.api.texts.accepted import Language, language_of
from posthouse.domain.access import Principal
from posthouse.domain.errors import Invalid, PosthouseError, TooLarge, Unauthorised
from posthouse.domain.handshake import CONFIRM_PATH
from posthouse.domain.limits import BODY_READ_SECONDS

log = structlog.get_logger()

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

PROTECTED: Final = "/v1/"
WITHOUT_KEY: Final = frozenset({"/v1/asyncapi.json"})
"""What answers a request without a key, too; one with a key must be known."""
PRINCIPAL: Final = "posthouse.principal"
BODY_BYTES_MAX: Final = 1024 * 1024
_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})


class Authenticator(Protocol):
    async def authenticate(self, token: str) -> Principal: ...


class Gate:
    """Hands on what may pass; the scope then holds the principal of a request under /v1/."""

    def __init__(
        self,
        next_app: App,
        authenticator: Authenticator,
        *,
        body_bytes_max: int = BODY_BYTES_MAX,
        body_seconds: float = BODY_READ_SECONDS,
    ) -> None:
        self._next = next_app
        self._authenticator = authenticator
        self._body_bytes_max = body_bytes_max
        self._body_seconds = body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._next(scope, receive, send)
            return
        answering = _Answering(send)
        try:
            headers = _single(scope["headers"])
            confirming = scope["path"].startswith(CONFIRM_PATH)  # nothing else of it counts, key and body neither
            if scope["path"].startswith(PROTECTED) and not confirming:
                stranger = scope["path"] in WITHOUT_KEY and b"authorization" not in headers
                scope[PRINCIPAL] = None if stranger else await self._principal(headers)
            if scope["method"] in _WITH_BODY and not confirming:
                body = await self._body(headers, receive)
                check_json(body, headers.get(b"content-type"), headers.get(b"content-encoding"))
                receive = _replay(body, receive)
            await self._next(scope, receive, answering)
        except _Disconnected:
            return
        except PosthouseError as error:
            await _refuse(answering, error, language_of(scope["headers"]))
        except Exception as error:
            # The framework has answered it, or nobody could: it is logged here in any case.
            log.exception("api.failed", method=scope["method"], path=scope["path"])
            await _refuse(answering, error, language_of(scope["headers"]))

    async def _principal(self, headers: dict[bytes, bytes]) -> Principal:
        scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer" or not token.strip():
            raise Unauthorised("send an API key: Authorization: Bearer <key>")
        return await self._authenticator.authenticate(token.strip().decode("latin-1"))

    async def _body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        most = self._body_bytes_max
        length = headers.get(b"content-length", b"0")
        if not length.isdigit():
            raise Invalid("Content-Length is not a number", code="malformed_request")
        if len(length) > 18 or int(length) > most:
            raise _too_large(most)
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _Disconnected
                    chunks.append(message.get("body", b""))
                    size += len(chunks[-1])
                    if size > most:
                        raise _too_large(most)
                    if not message.get("more_body"):
                        return b"".join(chunks)
        except TimeoutError:
            raise Invalid("the body did not arrive in time", code="body_timeout") from None


class _Disconnected(Exception):
    """The client went away before its request was complete: nothing was done."""


class _Answering:
    """`send`, and whether the answer has begun."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = False

    async def __call__(self, message: Message) -> None:
        self.begun = True
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
