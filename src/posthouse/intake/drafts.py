"""From a request to publish to the events it asks for: every form in which they may come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Final, TypeVar

import msgspec

from posthouse.domain.cloudevent import CloudEvent, draft_fields, idempotency_of
from posthouse.domain.errors import Invalid
from posthouse.domain.event import JSON_CONTENT, Draft
from posthouse.domain.ids import AppId, EventId
from posthouse.domain.limits import JSON_AT_ONCE_BYTES_MAX
from posthouse.intake.catalogue import CatalogueCache
from posthouse.intake.cloudevents import (
    BATCH_CONTENT,
    UNSUPPORTED,
    mode_of,
    parse_binary,
    parse_structured,
    parse_structured_batch,
)
from posthouse.intake.parse import (
    EventBody,
    attributes_json,
    check_subject,
    check_type,
    parse_batch,
    parse_event,
    parse_lines,
)
from posthouse.ports.clock import Clock
from posthouse.wire.headers import is_content_type

T = TypeVar("T")

LINES_CONTENT: Final = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl"})


class Request(msgspec.Struct, frozen=True):
    """A request to publish one event or a `batch`. Without `app_id` its events are the platform's; `app_uid` is there where
    the app was named by it.

    `headers` are all of the request's, their names in lower case; `query` its parameters, each with its first value.
    """

    app_id: AppId | None
    app_uid: str | None
    batch: bool
    content_type: str
    body: bytes
    idempotency_key: str | None = None
    headers: Sequence[tuple[bytes, bytes]] = ()
    query: Mapping[str, str] = {}


class Turns:
    """Who takes long lets others have their turn in between."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = JSON_AT_ONCE_BYTES_MAX

    async def took(self, size: int) -> None:
        """So many bytes more are looked at."""
        self._left -= size
        if self._left < 0:
            self._left = JSON_AT_ONCE_BYTES_MAX - size
            await asyncio.sleep(0)


async def in_turns(events: Iterator[T], size_of: Callable[[T], int]) -> list[T]:
    """All of them."""
    found: list[T] = []
    turns = Turns()
    for event in events:
        found.append(event)
        await turns.took(size_of(event))
    return found


class Drafter:
    """Parses and validates; nothing is decided here that the log must decide."""

    def __init__(self, catalogue: CatalogueCache, clock: Clock) -> None:
        self._catalogue = catalogue
        self._clock = clock

    async def drafts(self, request: Request) -> list[Draft]:
        """The events of a request, one unless it is a batch. Raises Invalid, TooLarge, NotFound (an event type)."""
        essence = essence_of(request.content_type)
        match mode_of(essence, request.headers):
            case "structured":
                return await self._cloud_events(request, [parse_structured(_single(request, essence))])
            case "batch":
                events = parse_structured_batch(request.body)
                return await self._cloud_events(request, await in_turns(events, lambda event: len(event.payload)))
            case "binary":
                return await self._cloud_events(request, [parse_binary(request.headers, _single(request, essence))])
            case None:
                pass
        if request.batch:
            if essence != JSON_CONTENT and essence not in LINES_CONTENT:
                raise _no_batch(essence)
            bodies = (parse_batch if essence == JSON_CONTENT else parse_lines)(request.body)
            return await self._bodies(request, await in_turns(bodies, lambda event: len(event.data)))
        if essence == JSON_CONTENT:
            return await self._bodies(request, [parse_event(request.body)])
        return [await self._raw(request)]

    def known(self, app_id: AppId | None, app_uid: str | None, body: bytes) -> Draft | None:
        """The event of a plain JSON request; None where that cannot be said without looking something up, or where its schema
        refuses it. Raises Invalid."""
        event = parse_event(body)
        payload = bytes(event.data)
        if not self._catalogue.passes(event.type, payload):
            return None
        return self._draft(app_id, app_uid, event, payload)

    def _draft(
        self,
        app_id: AppId | None,
        app_uid: str | None,
        event: EventBody,
        payload: bytes,
        key: str | None = None,
        fingerprint: bytes = b"",
        *,
        together: bool = False,
    ) -> Draft:
        if event.idempotency_key is not None:
            # It goes with the event, whatever request brings it, and with whatever others.
            key, fingerprint = event.idempotency_key, sha256(msgspec.json.encode(event)).digest()
        return Draft(
            id=EventId(self._clock.new_id()),
            app_id=app_id,
            app_uid=app_uid,
            type=event.type,
            payload=payload,
            subject=event.subject,
            key=event.key,
            channels=event.channels,
            attributes=attributes_json(event.attributes),
            expires_at=None if event.expires_at is None else event.expires_at.timestamp(),
            idempotency_key=key,
            fingerprint=fingerprint,
            together=together,
        )

    async def _cloud_events(self, request: Request, events: Sequence[CloudEvent]) -> list[Draft]:
        drafts: list[Draft] = []
        seen: dict[str, int] = {}
        turns = Turns()
        for index, event in enumerate(events):
            place = f"[{index}]." if request.batch else ""
            await turns.took(len(event.payload))
            await self._catalogue.check(event.type, event.payload if event.is_json else None, path=f"{place}data")
            key, fingerprint = request.idempotency_key, b""
            if key is None:
                # Source and id make it the event that it is, whatever else of it may be written in another way.
                key = idempotency_of(event.source, event.id)
                if (first := seen.setdefault(key, index)) != index:
                    raise Invalid(f"has the source and the id of [{first}]: it is the same event", path=f"{place}id")
            else:
                fingerprint = sha256(request.body).digest()
                key = f"{key}\x1f{index}" if request.batch else key
            drafts.append(
                Draft(
                    id=EventId(self._clock.new_id()),
                    app_id=request.app_id,
                    app_uid=request.app_uid,
                    idempotency_key=key,
                    fingerprint=fingerprint,
                    together=request.batch,
                    **draft_fields(event),
                )
            )
        return drafts

    async def _bodies(self, request: Request, events: Sequence[EventBody]) -> list[Draft]:
        key, batch = request.idempotency_key, request.batch
        fingerprint = b"" if key is None else sha256(request.body).digest()
        drafts = []
        own: dict[str, int] = {}
        turns = Turns()
        for index, event in enumerate(events):
            payload = bytes(event.data)
            await turns.took(len(payload))
            if event.idempotency_key is not None and (first := own.setdefault(event.idempotency_key, index)) != index:
                raise Invalid(f"is that of [{first}], too", path=f"[{index}].idempotency_key")
            await self._catalogue.check(event.type, payload, path=f"[{index}].data" if batch else "data")
            from_header = key if key is None or not batch else f"{key}\x1f{index}"
            drafts.append(
                self._draft(request.app_id, request.app_uid, event, payload, from_header, fingerprint, together=batch)
            )
        return drafts

    async def _raw(self, request: Request) -> Draft:
        """Any other content type: the body is the payload, and the query says what it is."""
        if "type" not in request.query:
            raise Invalid(
                f"a body of {request.content_type} is sent as it is; say what it is with ?type=…, or send application/json",
                path="?type",
                code="type_missing",
            )
        if not is_content_type(request.content_type):
            raise Invalid("this is not a content type that could be sent on", path="Content-Type")
        event_type = request.query["type"]
        check_type(event_type, path="?type")
        subject = request.query.get("subject")
        if subject is not None:
            check_subject(subject, path="?subject")
        await self._catalogue.check(event_type, None, path="")
        return Draft(
            id=EventId(self._clock.new_id()),
            app_id=request.app_id,
            app_uid=request.app_uid,
            type=event_type,
            payload=request.body,
            content_type=request.content_type,
            subject=subject,
            idempotency_key=request.idempotency_key,
            fingerprint=b"" if request.idempotency_key is None else sha256(request.body).digest(),
        )


def essence_of(content_type: str) -> str:
    """A content type without its parameters, in lower case."""
    if content_type == JSON_CONTENT:
        return content_type
    return content_type.partition(";")[0].strip().lower()


def _single(request: Request, essence: str) -> bytes:
    """The body of a form that holds one event; a batch is not sent in it. Raises Invalid."""
    if request.batch:
        raise _no_batch(essence)
    return request.body


def _no_batch(essence: str) -> Invalid:
    return Invalid(
        f"a batch is a JSON array (application/json), lines of JSON (application/x-ndjson) or {BATCH_CONTENT}, not {essence}",
        path="Content-Type",
        code=UNSUPPORTED,
    )
