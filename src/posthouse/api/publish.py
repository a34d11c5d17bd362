"""The publish routes, as bare ASGI in front of the framework: on the hot path it would cost more than all our own work.

POST /v1/events                     one event, for every app that a grant covers
POST /v1/apps/{app}/events          one event, for one app     -> 202 {"id", "type", "created_at"}, "apps": how many
POST …/events/batch                 JSON array / NDJSON        -> 202 {"data": [...]}, all or nothing
     also CloudEvents, in all three modes
POST …/events?dry_run=true          nothing is stored          -> 200 whom the event would reach, and why nobody else
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Protocol, assert_never
from urllib.parse import parse_qs

import structlog

from posthouse.api.arriving import Arriving, Disconnected, Receive, Room
from posthouse.api.credentials import Credentials, SessionCookie, credential_of
from posthouse.api.deadlines import Deadlines
from posthouse.api.express import EVENTS_END, Answer, Headers
from posthouse.api.gate import NO_PAGES, App, Scope, Send
from posthouse.api.json_body import refuse_encoded
from posthouse.api.problems import problem_bytes
from posthouse.api.texts.accepted import Language, language_of
from posthouse.domain.access import Page, Principal
from posthouse.domain.errors import (
    Conflict,
    Invalid,
    KeyReused,
    NotFound,
    PosthouseError,
    StoreUnavailable,
    TooLarge,
)
from posthouse.domain.event import JSON_CONTENT, Draft
from posthouse.domain.ids import EVENT, format_id
from posthouse.domain.limits import (
    BATCH_BYTES_MAX,
    BODY_READ_SECONDS,
    EVENT_BODIES_BYTES_MAX,
    PAYLOAD_BYTES_MAX,
    PUBLISH_ANSWER_SECONDS_MAX,
)
from posthouse.intake.catalogue import CatalogueCache
from posthouse.intake.cloudevents import is_batch
from posthouse.intake.drafts import Drafter, Request, essence_of
from posthouse.intake.parse import check_idempotency_key
from posthouse.intake.publisher import Publisher
from posthouse.intake.quotas import QuotaGate
from posthouse.manage.access import check_publishing, not_only_publishing, not_reserved
from posthouse.manage.authenticator import key_hash
from posthouse.ports.catalogue import AppEntry
from posthouse.ports.clock import Clock
from posthouse.ports.log import Announced, Appended, AppendResult, AppMissing, Repeated
from posthouse.wire.standard import timestamp

log = structlog.get_logger()

APPS_PREFIX: Final = "/v1/apps/"
PLATFORM_PATH: Final = "/v1/events"
BATCH_PATH: Final = "/v1/events/batch"
_PARAMETERS: Final = ("dry_run", "subject", "type")
ACCEPTED: Final = ((b"content-type", b"application/json"),)
PLATFORM_URL: Final = PLATFORM_PATH.encode()
APPS_URL: Final = APPS_PREFIX.encode()
_REFERENCE: Final = slice(len(APPS_PREFIX), -len(EVENTS_END))

Explain = Callable[[Draft, Language], Awaitable[bytes]]
"""Whom a draft would reach, as JSON."""


class Authenticator(Protocol):
    def known(self, hashed: bytes) -> Principal | None: ...

    def cached(self, token: str) -> Principal | None: ...

    async def authenticate(self, token: str) -> Principal: ...

    async def authenticate_session(self, token: str, page: Page) -> Principal: ...


class PublishRoutes:
    """Serves the publish routes and hands every other request to `next_app`."""

    def __init__(
        self,
        next_app: App,
        *,
        authenticator: Authenticator,
        catalogue: CatalogueCache,
        publisher: Publisher,
        explain: Explain,
        quotas: QuotaGate,
        clock: Clock,
        cookies: Mapping[Page, SessionCookie] = NO_PAGES,
        payload_bytes_max: int = PAYLOAD_BYTES_MAX,
        batch_bytes_max: int = BATCH_BYTES_MAX,
        body_seconds: float = BODY_READ_SECONDS,
        answer_seconds: float = PUBLISH_ANSWER_SECONDS_MAX,
    ) -> None:
        self._next = next_app
        self._authenticator = authenticator
        self._credentials = Credentials(authenticator, cookies)
        self._catalogue = catalogue
        self._drafter = Drafter(catalogue, clock)
        self._publisher = publisher
        self._explain = explain
        self._quotas = quotas
        self._payload_bytes_max = payload_bytes_max
        self._batch_bytes_max = batch_bytes_max
        self._deadlines = Deadlines(body_seconds, answer_seconds)
        self._room = Room(EVENT_BODIES_BYTES_MAX)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            path: str = scope["path"]
            if path.startswith(APPS_PREFIX):
                for end, batch in (("/events", False), ("/events/batch", True)):
                    if path.endswith(end):
                        reference = path[len(APPS_PREFIX) : -len(end)]
                        if reference and "/" not in reference:
                            await self._answer(scope, receive, send, reference, batch=batch)
                            return
            elif path in (PLATFORM_PATH, BATCH_PATH):
                await self._answer(scope, receive, send, None, batch=path == BATCH_PATH)
                return
        await self._next(scope, receive, send)

    def credential(self, headers: Headers) -> bytes | None:
        """What is kept of the key, where these headers are of a request in the commonest form: one JSON body."""
        token = None
        for name, value in headers:
            if name == b"authorization":
                if token is not None:
                    return None
                token = value
            elif name == b"content-type":
                if value != b"application/json":
                    return None
            elif name in (b"idempotency-key", b"content-encoding") or name.startswith(b"ce-"):
                return None
        if token is None or token[:7].lower() != b"bearer ":
            return None
        return key_hash(token[7:].strip().decode("latin-1"))

    def take(self, url: bytes, credential: bytes, headers: Headers, body: bytes, answer: Answer) -> bool:
        """Publish an event that came in one piece, in the commonest form, where nothing has to be looked up first: its key and
        its app are known. `answer` is called later. False where it is not so, or anything is wrong with it: then nothing was
        done, and the way through ASGI takes it, or says what is wrong.

        That way costs a task, a scope and a handful of messages: a fifth of an event's whole journey.
        """
        try:
            found = self._known(url, credential, body)
            if found is None:
                return False
            reference, partition, draft = found
            stored = self._publisher.enqueue(partition, [draft])
        except PosthouseError:
            return False
        except Exception:
            log.exception("publish.not_taken")  # ours: it must not end in the connection's parser
            return False
        self._deadlines.watch(stored)
        stored.add_done_callback(partial(self._express_answer, reference, draft, headers, answer))
        return True

    def _known(self, url: bytes, credential: bytes, body: bytes) -> tuple[str | None, int, Draft] | None:
        principal = self._authenticator.known(credential)
        if principal is None or len(body) > self._payload_bytes_max:
            return None
        if url == PLATFORM_URL:
            check_publishing(principal, None)
            draft = self._drafter.known(None, None, body)
            return None if draft is None else (None, 0, draft)
        reference = url[_REFERENCE].decode("latin-1")
        app = self._catalogue.known_app(reference)
        if app is None or not url.startswith(APPS_URL):
            return None
        check_publishing(principal, app.id)
        not_reserved(app.id)
        draft = self._drafter.known(app.id, reference if reference == app.uid else None, body)
        return None if draft is None else (reference, app.partition, draft)

    def _express_answer(
        self,
        reference: str | None,
        draft: Draft,
        headers: Headers,
        answer: Answer,
        stored: asyncio.Future[list[AppendResult]],
    ) -> None:
        self._deadlines.end(stored)
        try:
            (result,) = self._accepted(reference, [draft], stored.result())
            answer(202, ACCEPTED, _event_answer(draft, result))
        except asyncio.CancelledError:
            answer(*_problem(_unanswered(), headers))
        except Exception as error:  # noqa: BLE001 - it is told, and logged where it is ours
            answer(*_problem(error, headers))

    async def _answer(self, scope: Scope, receive: Receive, send: Send, reference: str | None, *, batch: bool) -> None:
        task = self._deadlines.begin()
        try:
            status, body = await self._publish(task, scope, receive, reference, batch)
            headers: Headers = ACCEPTED
        except asyncio.CancelledError:
            if not self._deadlines.was_overdue(task):
                raise
            status, headers, body = _problem(_unanswered(), scope["headers"])
        except Disconnected:
            return
        except Exception as error:  # noqa: BLE001 - it is told, and logged where it is ours
            status, headers, body = _problem(error, scope["headers"])
        finally:
            self._deadlines.end(task)
        headers = [*headers, (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _publish(
        self, task: asyncio.Task[Any], scope: Scope, receive: Receive, reference: str | None, batch: bool
    ) -> tuple[int, bytes]:
        token = content_type = idempotency_key = encoding = None
        length = -1
        for name, value in scope["headers"]:
            if name == b"authorization":
                if token is not None:
                    raise Invalid(f"the header {name.decode()} is there twice", code="malformed_request")
                token = value
            elif name == b"content-type":
                content_type = value  # the last one: who calls through a script with a usual one adds another
            elif name == b"content-encoding":
                encoding = value
            elif name == b"idempotency-key":
                idempotency_key = value
            elif name == b"content-length":
                length = int(value)
        kind = JSON_CONTENT if content_type is None else content_type.decode("latin-1").strip()
        batch = batch or is_batch(essence_of(kind))  # a batch of CloudEvents goes where one goes, too
        principal = await self._principal(token, scope["headers"])
        app = await self._app(principal, reference)
        refuse_encoded(encoding)
        most = self._batch_bytes_max if batch else self._payload_bytes_max
        if length > most:
            raise TooLarge(f"the body has {length} bytes; at most {most} are accepted")
        query = _query(scope)
        dry_run = _dry_run(query, batch=batch)
        if dry_run:
            not_only_publishing(principal)  # it tells who listens, and where
        else:
            self._publisher.admit(max(length, 0))
        with Arriving(receive, self._room) as arriving:
            body = await self._deadlines.read(task, arriving, most)
        key = None
        if idempotency_key is not None:
            key = idempotency_key.decode("latin-1")
            check_idempotency_key(key)
        drafts = await self._drafter.drafts(
            Request(
                app_id=None if app is None else app.id,
                app_uid=app.uid if app is not None and reference == app.uid else None,
                batch=batch,
                content_type=kind,
                body=body,
                idempotency_key=key,
                headers=scope["headers"],
                query=query,
            )
        )
        if dry_run:
            return 200, await self._explain(drafts[0], language_of(scope["headers"]))
        results = await self._submit(reference, app, drafts) if drafts else []
        return 202, _batch_answer(drafts, results) if batch else _event_answer(drafts[0], results[0])

    async def _principal(self, header: bytes | None, headers: Headers) -> Principal:
        if header is not None and header[:7].lower() == b"bearer ":
            known = self._authenticator.cached(header[7:].strip().decode("latin-1"))
            if known is not None:
                return known
        return await self._credentials.principal(credential_of(headers))

    async def relayed(self, reference: str | None, body: bytes) -> tuple[int, Headers, bytes]:
        """Publish a batch that this process found in an outbox of our own database: as a key of scope admin may, answered as
        a request would be."""
        try:
            app = None if reference is None else await self._catalogue.app(reference)
            if app is not None:
                not_reserved(app.id)
            uid = app.uid if app is not None and reference == app.uid else None
            request = Request(None if app is None else app.id, uid, True, JSON_CONTENT, body)
            drafts = await self._drafter.drafts(request)
            return 202, ACCEPTED, _batch_answer(drafts, await self._submit(reference, app, drafts))
        except Exception as error:  # noqa: BLE001 - it is told, and logged where it is ours
            return _problem(error, [])

    async def _app(self, principal: Principal, reference: str | None) -> AppEntry | None:
        if reference is None:
            check_publishing(principal, None)
            return None
        app = await self._catalogue.app(reference)
        if not principal.may_see(app.id):
            raise _app_not_found(reference)
        check_publishing(principal, app.id)
        not_reserved(app.id)
        return app

    async def _submit(self, reference: str | None, app: AppEntry | None, drafts: Sequence[Draft]) -> list[AppendResult]:
        if app is not None and app.quotas is not None:
            self._quotas.admit(app, events=len(drafts), size=sum(len(draft.payload) for draft in drafts))
        try:
            results = await self._publisher.submit(0 if app is None else app.partition, drafts)
        except KeyReused as error:
            raise _key_reused() from error
        return self._accepted(reference, drafts, results)

    def _accepted(
        self, reference: str | None, drafts: Sequence[Draft], results: list[AppendResult]
    ) -> list[AppendResult]:
        """What became of the drafts. Raises NotFound (their app is gone), Invalid (a key that was used otherwise)."""
        for draft, result in zip(drafts, results, strict=True):
            if isinstance(result, AppMissing):
                assert reference is not None, "a platform event is for whoever is there"
                self._catalogue.forget_app(reference)
                raise _app_not_found(reference)
            if isinstance(result, Repeated) and result.fingerprint != draft.fingerprint:
                raise _key_reused()
        return results


def _key_reused() -> Invalid:
    return Invalid(
        "this Idempotency-Key was used with another body within the last 24 hours; use a new key",
        path="Idempotency-Key",
        code="idempotency_key_reused",
    )


def _problem(error: Exception, headers: Headers) -> tuple[int, Headers, bytes]:
    """The answer for an error that was just met, in the language that these headers ask for."""
    if not isinstance(error, PosthouseError):
        log.exception("publish.failed")
    status, fields, body = problem_bytes(error, language_of(headers))
    if status in (408, 413):
        fields.append((b"connection", b"close"))
    return status, fields, body


def _unanswered() -> StoreUnavailable:
    log.warning("publish.unanswered")
    return StoreUnavailable("the database does not answer; what was sent may be stored nevertheless")


def _app_not_found(reference: str) -> NotFound:
    return NotFound(f"there is no app {reference[:80]!r}", code="app_not_found")


def _query(scope: Scope) -> Mapping[str, str]:
    raw = scope["query_string"]
    if not raw:
        return {}
    query = {name: values[0] for name, values in parse_qs(raw.decode("latin-1"), keep_blank_values=True).items()}
    for name in query:
        if name not in _PARAMETERS:
            raise Invalid(f"there is no such parameter here; there are {', '.join(_PARAMETERS)}", path=f"?{name[:80]}")
    return query


def _dry_run(query: Mapping[str, str], *, batch: bool) -> bool:
    asked = query.get("dry_run", "false")
    if asked not in ("true", "false"):
        raise Invalid("is true or false", path="?dry_run")
    if asked == "true" and batch:
        raise Invalid("explains one event; send one of the batch to …/events?dry_run=true", path="?dry_run")
    return asked == "true"


def _event_answer(draft: Draft, result: AppendResult) -> bytes:
    match result:
        case Appended(created_at=created_at):
            return _ANSWER % (format_id(EVENT, draft.id).encode(), draft.type.encode(), timestamp(created_at), b"")
        case Announced(created_at=created_at):
            apps = b',"apps":%d' % result.apps
            return _ANSWER % (format_id(EVENT, draft.id).encode(), draft.type.encode(), timestamp(created_at), apps)
        case Repeated(event_id=event_id, created_at=created_at):
            return _ANSWER % (format_id(EVENT, event_id).encode(), draft.type.encode(), timestamp(created_at), b"")
        case AppMissing():
            raise Conflict("the app disappeared")
        case _:
            assert_never(result)


_ANSWER: Final = b'{"id":"%b","type":"%b","created_at":"%b"%b}'


def _batch_answer(drafts: Sequence[Draft], results: Sequence[AppendResult]) -> bytes:
    return b'{"data":[%b]}' % b",".join(_event_answer(d, r) for d, r in zip(drafts, results, strict=True))
