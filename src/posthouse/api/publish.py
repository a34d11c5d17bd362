"""The publish routes, as bare ASGI in front of the framework: on the hot path it would cost more than all our own work.

POST /v1/apps/{app}/events          one event           -> 202 {"id", "type", "created_at"}
POST /v1/apps/{app}/events/batch    JSON array / NDJSON -> 202 {"data": [...]}, all or nothing
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final, Protocol
from urllib.parse import parse_qs

import structlog

from posthouse.api.gate import App, Receive, Scope, Send
from posthouse.api.problems import problem_bytes
from posthouse.domain.access import Principal
from posthouse.domain.errors import Conflict, Forbidden, Invalid, NotFound, PosthouseError, TooLarge, Unauthorised
from posthouse.domain.event import JSON_CONTENT, Draft
from posthouse.domain.ids import EVENT, EventId, format_id
from posthouse.domain.limits import BATCH_BYTES_MAX, BODY_READ_SECONDS, PAYLOAD_BYTES_MAX
from posthouse.intake.catalogue import CatalogueCache
from posthouse.intake.parse import (
    EventBody,
    attributes_json,
    check_idempotency_key,
    check_type,
    parse_batch,
    parse_event,
    parse_lines,
)
from posthouse.intake.publisher import Publisher
from posthouse.ports.catalogue import AppEntry
from posthouse.ports.clock import Clock
from posthouse.ports.log import Appended, AppendResult, AppMissing, Repeated
from posthouse.wire.headers import is_content_type
from posthouse.wire.standard import timestamp

log = structlog.get_logger()

PREFIX: Final = "/v1/apps/"
LINES_CONTENT: Final = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl"})
_ACCEPTED_HEADERS: Final = (b"content-type", b"application/json")


class Authenticator(Protocol):
    def cached(self, token: str) -> Principal | None: ...

    async def authenticate(self, token: str) -> Principal: ...


class PublishRoutes:
    """Serves the publish routes and hands every other request to `next_app`."""

    def __init__(
        self,
        next_app: App,
        *,
        authenticator: Authenticator,
        catalogue: CatalogueCache,
        publisher: Publisher,
        clock: Clock,
        payload_bytes_max: int = PAYLOAD_BYTES_MAX,
        batch_bytes_max: int = BATCH_BYTES_MAX,
        body_seconds: float = BODY_READ_SECONDS,
    ) -> None:
        self._next = next_app
        self._authenticator = authenticator
        self._catalogue = catalogue
        self._publisher = publisher
        self._clock = clock
        self._payload_bytes_max = payload_bytes_max
        self._batch_bytes_max = batch_bytes_max
        self._uploads = _Uploads(body_seconds)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            path: str = scope["path"]
            if path.startswith(PREFIX):
                if path.endswith("/events"):
                    reference = path[len(PREFIX) : -len("/events")]
                    if reference and "/" not in reference:
                        await self._answer(scope, receive, send, reference, batch=False)
                        return
                elif path.endswith("/events/batch"):
                    reference = path[len(PREFIX) : -len("/events/batch")]
                    if reference and "/" not in reference:
                        await self._answer(scope, receive, send, reference, batch=True)
                        return
        await self._next(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, reference: str, *, batch: bool) -> None:
        try:
            status, headers, body = 202, [_ACCEPTED_HEADERS], await self._publish(scope, receive, reference, batch)
        except PosthouseError as error:
            status, headers, body = problem_bytes(error)
        except _Disconnected:
            return
        except Exception as error:
            log.exception("publish.failed")
            status, headers, body = problem_bytes(error)
        headers.append((b"content-length", b"%d" % len(body)))
        if status in (408, 413):
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _publish(self, scope: Scope, receive: Receive, reference: str, batch: bool) -> bytes:
        token = content_type = idempotency_key = None
        length = -1
        for name, value in scope["headers"]:
            if name == b"authorization":
                token = value
            elif name == b"content-type":
                content_type = value
            elif name == b"idempotency-key":
                idempotency_key = value
            elif name == b"content-length":
                length = int(value)
        principal = await self._principal(token)
        app = await self._app(principal, reference)
        most = self._batch_bytes_max if batch else self._payload_bytes_max
        if length > most:
            raise TooLarge(f"the body has {length} bytes; at most {most} are accepted")
        self._publisher.admit(max(length, 0))
        body = await self._uploads.read(receive, most)
        key = None
        if idempotency_key is not None:
            key = idempotency_key.decode("latin-1")
            check_idempotency_key(key)
        kind = JSON_CONTENT if content_type is None else content_type.decode("latin-1").strip()
        essence = kind.partition(";")[0].strip().lower()
        if batch:
            events = parse_lines(body) if essence in LINES_CONTENT else parse_batch(_json_only(body, essence))
            drafts = await self._drafts(app, reference, events, body, key, batch=True)
            return _batch_answer(drafts, await self._submit(reference, app, drafts))
        if essence == JSON_CONTENT:
            drafts = await self._drafts(app, reference, [parse_event(body)], body, key, batch=False)
        else:
            drafts = [await self._raw(app, reference, scope, body, kind, key)]
        (result,) = await self._submit(reference, app, drafts)
        return _event_answer(drafts[0], result)

    async def _principal(self, header: bytes | None) -> Principal:
        if header is None or header[:7].lower() != b"bearer ":
            raise Unauthorised("send an API key: Authorization: Bearer <key>")
        token = header[7:].strip().decode("latin-1")
        return self._authenticator.cached(token) or await self._authenticator.authenticate(token)

    async def _app(self, principal: Principal, reference: str) -> AppEntry:
        app = await self._catalogue.app(reference)
        if not principal.may_see(app.id):
            raise NotFound(f"there is no app {reference[:80]!r}", code="app_not_found")
        if not principal.admin:
            raise Forbidden("this key belongs to one app; publishing needs a key of scope admin")
        return app

    async def _drafts(
        self, app: AppEntry, reference: str, events: Sequence[EventBody], body: bytes, key: str | None, *, batch: bool
    ) -> list[Draft]:
        fingerprint = b"" if key is None else sha256(body).digest()
        drafts = []
        for index, event in enumerate(events):
            payload = bytes(event.data)
            await self._catalogue.check(event.type, payload, path=f"[{index}].data" if batch else "data")
            drafts.append(
                Draft(
                    id=EventId(self._clock.new_id()),
                    app_id=app.id,
                    app_uid=app.uid if reference == app.uid else None,
                    type=event.type,
                    payload=payload,
                    subject=event.subject,
                    key=event.key,
                    channels=event.channels,
                    attributes=attributes_json(event.attributes),
                    expires_at=None if event.expires_at is None else event.expires_at.timestamp(),
                    idempotency_key=key if key is None or not batch else f"{key}\x1f{index}",
                    fingerprint=fingerprint,
                )
            )
        return drafts

    async def _raw(
        self, app: AppEntry, reference: str, scope: Scope, body: bytes, content_type: str, key: str | None
    ) -> Draft:
        """Any other content type: the body is the payload, and the query says what it is."""
        query = parse_qs(scope["query_string"].decode("latin-1"))
        if "type" not in query:
            raise Invalid(
                f"a body of {content_type} is sent as it is; say what it is with ?type=…, or send application/json",
                path="?type",
                code="type_missing",
            )
        if not is_content_type(content_type):
            raise Invalid("this is not a content type that could be sent on", path="Content-Type")
        event_type = query["type"][0]
        check_type(event_type, path="?type")
        await self._catalogue.check(event_type, None, path="")
        return Draft(
            id=EventId(self._clock.new_id()),
            app_id=app.id,
            app_uid=app.uid if reference == app.uid else None,
            type=event_type,
            payload=body,
            content_type=content_type,
            idempotency_key=key,
            fingerprint=b"" if key is None else sha256(body).digest(),
        )

    async def _submit(self, reference: str, app: AppEntry, drafts: Sequence[Draft]) -> list[AppendResult]:
        results = await self._publisher.submit(app.partition, drafts)
        for draft, result in zip(drafts, results, strict=True):
            if isinstance(result, AppMissing):
                self._catalogue.forget_app(reference)
                raise NotFound(f"there is no app {reference[:80]!r}", code="app_not_found")
            if isinstance(result, Repeated) and result.fingerprint != draft.fingerprint:
                raise Invalid(
                    "this Idempotency-Key was used with another body within the last 24 hours; use a new key",
                    path="Idempotency-Key",
                    code="idempotency_key_reused",
                )
        return results


class _Disconnected(Exception):
    """The client went away before its body was complete: nothing was accepted."""


class _Uploads:
    """Ends the reading of bodies that come too slowly. One timer looks at all of them now and then: `asyncio.timeout` for
    each would cost a tenth of the whole request."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._deadlines: dict[asyncio.Task[Any], float] = {}
        self._overdue: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def read(self, receive: Receive, most: int) -> bytes:
        """The whole body. Raises TooLarge, Invalid (it came too slowly), _Disconnected."""
        task = asyncio.current_task()
        assert task is not None
        loop = asyncio.get_running_loop()
        self._deadlines[task] = loop.time() + self._seconds
        if self._timer is None:
            self._timer = loop.call_later(self._seconds / 4, self._look)
        try:
            return await _body(receive, most)
        except asyncio.CancelledError:
            if task not in self._overdue or task.uncancel() > 0:
                raise
            raise Invalid(f"the body did not arrive within {self._seconds:g} seconds", code="body_timeout") from None
        finally:
            del self._deadlines[task]
            self._overdue.discard(task)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for task, deadline in self._deadlines.items():
            if deadline <= now and task not in self._overdue:
                self._overdue.add(task)
                task.cancel()
        self._timer = loop.call_later(self._seconds / 4, self._look) if self._deadlines else None


async def _body(receive: Receive, most: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Disconnected
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > most:
            raise TooLarge(f"the body has over {most} bytes, which is the most that is accepted")
        if not message.get("more_body"):
            return b"".join([*chunks, chunk]) if chunks else chunk
        chunks.append(chunk)


def _json_only(body: bytes, essence: str) -> bytes:
    if essence != JSON_CONTENT:
        raise Invalid(
            f"a batch is a JSON array (application/json) or lines of JSON (application/x-ndjson), not {essence}",
            path="Content-Type",
            code="unsupported_media_type",
        )
    return body


def _event_answer(draft: Draft, result: AppendResult) -> bytes:
    return b'{"id":"%b","type":"%b","created_at":"%b"}' % _facts(draft, result)


def _batch_answer(drafts: Sequence[Draft], results: Sequence[AppendResult]) -> bytes:
    return b'{"data":[%b]}' % b",".join(_event_answer(d, r) for d, r in zip(drafts, results, strict=True))


def _facts(draft: Draft, result: AppendResult) -> tuple[bytes, bytes, bytes]:
    match result:
        case Appended(created_at=created_at):
            event_id = draft.id
        case Repeated(event_id=event_id, created_at=created_at):
            pass
        case AppMissing():
            raise Conflict("the app disappeared")
    return format_id(EVENT, event_id).encode(), draft.type.encode(), timestamp(created_at)
