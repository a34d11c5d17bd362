"""`/in/{source}`: other systems' webhooks, as bare ASGI in front of everything else. It takes no API key: what the source signs
is what lets it in.

    2xx  it is in the log, or on record     401  nobody vouches for it      404  there is no such source
    405  another method                     413  431  too much of it        429  503  not now, with Retry-After
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import Any, Final

import structlog

from posthouse.api.arriving import Arriving, Disconnected, Receive, Room
from posthouse.api.deadlines import Deadlines
from posthouse.api.gate import App, Scope, Send
from posthouse.api.problems import problem_bytes
from posthouse.api.texts.accepted import language_of
from posthouse.domain.errors import Invalid, NotFound, PosthouseError, StoreUnavailable, TooLarge
from posthouse.domain.ids import REQUEST, format_id
from posthouse.domain.inbound import PATH, Answer
from posthouse.domain.limits import (
    BODY_READ_SECONDS,
    INBOUND_BODY_SECONDS,
    INBOUND_BYTES_MAX,
    INBOUND_HEADER_BYTES_MAX,
    INBOUND_HEADERS_MAX,
    PUBLISH_ANSWER_SECONDS_MAX,
)
from posthouse.trigger.entrances import SOURCE_NOT_FOUND, Entrance
from posthouse.trigger.gateway import Gateway, Unverified
from posthouse.wire.inbound_seen import InboundRequest

log = structlog.get_logger()

Headers = list[tuple[bytes, bytes]]

_REFUSALS: Final[dict[int, PosthouseError]] = {
    400: Invalid("this request cannot be read as what its source sends", code="malformed_request"),
    401: Invalid("the signature of this request is missing, or does not fit", code="not_verified"),
    413: TooLarge("the body is too large once it is unpacked"),
    415: Invalid("of compressed bodies only gzip is read here", code="unsupported_encoding"),
}
"""What is said of a request that was not verified, by the status: the same whatever is wrong with it."""


class InboundRoutes:
    """Answers requests below `/in/`, and hands every other one to `next_app`."""

    def __init__(
        self,
        next_app: App,
        gateway: Gateway,
        *,
        body_seconds: float = BODY_READ_SECONDS,
        answer_seconds: float = PUBLISH_ANSWER_SECONDS_MAX,
    ) -> None:
        self._next = next_app
        self._gateway = gateway
        self._room = Room(INBOUND_BYTES_MAX)
        self._deadlines = Deadlines(min(body_seconds, INBOUND_BODY_SECONDS), answer_seconds)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(PATH):
            await self._next(scope, receive, send)
            return
        task = self._deadlines.begin()
        with Arriving(receive, self._room) as reading:
            try:
                status, headers, body = await self._answer(task, scope, reading)
            except asyncio.CancelledError:
                if not self._deadlines.was_overdue(task):
                    raise
                log.warning("inbound.unanswered")
                status, headers, body = _problem(StoreUnavailable("the database does not answer"), scope)
            except Disconnected:
                return
            except Exception as error:  # noqa: BLE001 - it is told, and logged where it is ours
                status, headers, body = _problem(error, scope)
            finally:
                self._deadlines.end(task)
        headers.append((b"content-length", b"%d" % len(body)))
        if not reading.complete:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, task: asyncio.Task[Any], scope: Scope, reading: Arriving) -> tuple[int, Headers, bytes]:
        reference = scope["path"][len(PATH) :]
        if not reference or "/" in reference:
            raise NotFound("there is no such source", code=SOURCE_NOT_FOUND)
        if _too_much(scope):
            raise Invalid("the headers of this request are too many, or too large", code="headers_too_large")
        entrance = await self._gateway.find(reference)
        if scope["method"] not in entrance.inlet.methods:
            error = Invalid("this source is not answered with this method", code="method_not_allowed")
            status, headers, body = _problem(error, scope)
            headers.append((b"allow", ", ".join(entrance.inlet.methods).encode()))
            return status, headers, body
        with ExitStack() as stack:
            stack.enter_context(entrance.admitted())
            request = await self._request(task, scope, reading, entrance)
            try:
                return _sent(await self._gateway.take(entrance, request))
            except Unverified as refusal:
                status, headers, body = _problem(_REFUSALS[refusal.status], scope)
                if status == 401:
                    headers.append((b"www-authenticate", b"Signature"))  # RFC 9110, section 11.6.1
                return status, headers, body

    async def _request(
        self, task: asyncio.Task[Any], scope: Scope, reading: Arriving, entrance: Entrance
    ) -> InboundRequest:
        """The whole request. Raises TooLarge, Invalid (it came too slowly), Overloaded, Disconnected."""
        most = entrance.inlet.bytes_max
        headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
        length = next((value for name, value in headers if name == "content-length"), "0")
        if not length.isdecimal() or int(length[:19]) > most:
            raise TooLarge(f"the body has over {most} bytes, which is the most that is accepted here")
        body = await self._deadlines.read(task, reading, most)
        client = scope.get("client")
        return InboundRequest(
            id=format_id(REQUEST, self._gateway.clock.new_id()),
            at=self._gateway.clock.now(),
            method=scope["method"],
            path=(scope.get("raw_path") or scope["path"].encode()).decode("latin-1"),
            query=scope["query_string"].decode("latin-1"),
            headers=headers,
            body=body,
            remote=client[0] if client else None,
        )


def _too_much(scope: Scope) -> bool:
    headers = scope["headers"]
    size = len(scope.get("raw_path") or b"") + len(scope["query_string"])
    return (
        len(headers) > INBOUND_HEADERS_MAX
        or size + sum(len(name) + len(value) for name, value in headers) > INBOUND_HEADER_BYTES_MAX
    )


def _sent(answer: Answer) -> tuple[int, Headers, bytes]:
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    return answer.status, headers, answer.body


def _problem(error: Exception, scope: Scope) -> tuple[int, Headers, bytes]:
    if not isinstance(error, PosthouseError):
        log.exception("inbound.failed")
    return problem_bytes(error, language_of(scope["headers"]))
