"""From a request to publish to the events it asks for: every form in which they may come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Final

import msgspec

from posthouse.domain.errors import Invalid
from posthouse.domain.event import JSON_CONTENT, Draft
from posthouse.domain.ids import AppId, EventId
from posthouse.intake.catalogue import CatalogueCache
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

LINES_CONTENT: Final = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl"})
UNSUPPORTED: Final = "unsupported_media_type"


class Request(msgspec.Struct, frozen=True):
    """A request to publish. Without `app_id` its events are the platform's; `app_uid` is there where the app was named by it.

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


class Drafter:
    """Parses and validates; nothing is decided here that the log must decide."""

    def __init__(self, catalogue: CatalogueCache, clock: Clock) -> None:
        self._catalogue = catalogue
        self._clock = clock

    async def drafts(self, request: Request) -> list[Draft]:
        """The events of a request. Raises Invalid, TooLarge, NotFound (an event type)."""
        essence = request.content_type.partition(";")[0].strip().lower()
        if request.batch:
            if essence in LINES_CONTENT:
                return await self._bodies(request, parse_lines(request.body))
            if essence != JSON_CONTENT:
                raise Invalid(
                    f"a batch is a JSON array (application/json) or lines of JSON (application/x-ndjson), not {essence}",
                    path="Content-Type",
                    code=UNSUPPORTED,
                )
            return await self._bodies(request, parse_batch(request.body))
        if essence == JSON_CONTENT:
            return await self._bodies(request, [parse_event(request.body)])
        return [await self._raw(request)]

    async def _bodies(self, request: Request, events: Sequence[EventBody]) -> list[Draft]:
        key, batch = request.idempotency_key, request.batch
        fingerprint = b"" if key is None else sha256(request.body).digest()
        drafts = []
        for index, event in enumerate(events):
            payload = bytes(event.data)
            await self._catalogue.check(event.type, payload, path=f"[{index}].data" if batch else "data")
            drafts.append(
                Draft(
                    id=EventId(self._clock.new_id()),
                    app_id=request.app_id,
                    app_uid=request.app_uid,
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
