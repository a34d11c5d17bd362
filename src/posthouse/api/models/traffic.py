"""Events, attempts and deliveries."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from pydantic import Field

from posthouse.api.models.common import (
    Answer,
    Body,
    Time,
    optional_time,
    time_of,
)
from posthouse.api.models.exchange import (
    RequestAnswer,
    ResponseAnswer,
    SignedAnswer,
    TimingsAnswer,
    request_answer,
    response_answer,
    timings_of,
)
from posthouse.api.models.reaction import ReactionAnswer
from posthouse.domain.event import JSON_CONTENT, Event
from posthouse.domain.ids import APP, ATTEMPT, ENDPOINT, EVENT, format_id
from posthouse.domain.limits import OWED_COUNTED_MAX, ROUTES_SHOWN_MAX
from posthouse.manage.requests import RequestView, Signed
from posthouse.ports.inspect import (
    AttemptFacts,
    AttemptRecord,
    EventFacts,
    OwedFacts,
    OwedReasons,
    Route,
    Routes,
)

DeliveryClass = Literal["live", "replay"]


class EventAnswer(Answer):
    """An event, without its data."""

    id: Annotated[str, Field(examples=["evt_06b1v8k3m5x7q2n9r4t6w8y0aa"])]
    app: Annotated[str | None, Field(description="Id of the app it was addressed to; null: to whom grants cover.")]
    type: str
    subject: str | None
    key: str | None
    source: str | None
    channels: list[str]
    attributes: dict[str, str]
    content_type: str
    payload_bytes: int
    created_at: Time
    expires_at: Time | None
    cause: Annotated[str | None, Field(description="Id of the event whose answer asked for this one.")]
    depth: Annotated[int, Field(description="How many events follow from each other up to this one.")]

    @classmethod
    def of(cls, event: EventFacts) -> EventAnswer:
        return cls(
            id=format_id(EVENT, event.id),
            app=None if event.app_id is None else format_id(APP, event.app_id),
            type=event.type,
            subject=event.subject,
            key=event.key,
            source=event.source,
            channels=list(event.channels),
            attributes={} if event.attributes is None else msgspec.json.decode(event.attributes),
            content_type=event.content_type,
            payload_bytes=event.payload_bytes,
            created_at=time_of(event.created_at),
            expires_at=optional_time(event.expires_at),
            cause=None if event.cause is None else format_id(EVENT, event.cause),
            depth=event.depth,
        )


class RouteAnswer(Answer):
    """An endpoint that the event went to, and how far it has come."""

    app: str
    endpoint: str
    state: Literal["delivered", "owed", "in_progress", "gave_up"]
    attempts: Annotated[int, Field(description="Number of the last one.")]
    reason: Annotated[str, Field(description="Why it waits, or how the last attempt ended.", examples=["confirmed"])]
    due_at: Time | None

    @classmethod
    def of(cls, route: Route) -> RouteAnswer:
        return cls(
            app=format_id(APP, route.app_id),
            endpoint=format_id(ENDPOINT, route.endpoint_id),
            state=route.state.value,
            attempts=route.attempts,
            reason=route.reason,
            due_at=optional_time(route.due_at),
        )


class EventDetail(EventAnswer):
    """An event with its data (as they were published where they are JSON, else in base64) and the ways it took."""

    data: Any = None
    data_base64: str | None = None
    routes: Annotated[
        list[RouteAnswer],
        Field(description=f"By endpoint, the first {ROUTES_SHOWN_MAX}; its attempts are at …/attempts."),
    ]
    pending: Annotated[bool, Field(description="Some of its deliveries have not begun: there will be more routes.")]


def event_detail(facts: EventFacts, event: Event, routes: Routes) -> bytes:
    """An `EventDetail` as JSON. The data stay as they were published, byte for byte: no number loses a digit."""
    fields: dict[str, Any] = EventAnswer.of(facts).model_dump()
    fields |= {"routes": [RouteAnswer.of(route).model_dump() for route in routes.taken], "pending": routes.pending}
    if event.content_type == JSON_CONTENT:
        fields |= {"data": msgspec.Raw(event.payload), "data_base64": None}
    else:
        fields |= {"data": None, "data_base64": event.payload}
    return msgspec.json.encode(fields)


class EventPage(Answer):
    """Events, newest first."""

    data: list[EventAnswer]
    next: str | None


class AttemptAnswer(Answer):
    """One request and what came of it, or a delivery that was given up without one (then `sent` is false)."""

    id: Annotated[str, Field(examples=["att_06b1v8k3m5x7q2n9r4t6w8y0aa"])]
    app: Annotated[str, Field(description="Id of the endpoint's app.")]
    event: str
    type: Annotated[str | None, Field(description="Of the event; null once retention dropped it.")]
    endpoint: str
    attempt: Annotated[int, Field(description="From 1.")]
    class_: Annotated[DeliveryClass, Field(alias="class")]
    outcome: Annotated[
        Literal["delivered", "failed", "gave_up"], Field(description="After failed, another attempt follows.")
    ]
    reason: Annotated[str, Field(examples=["confirmed", "http_status", "first_byte_timeout"])]
    sent: bool
    status: int | None
    url: str
    revision: Annotated[int, Field(description="Of the endpoint, with which the request was made.")]
    address: str
    started_at: Time
    timings: TimingsAnswer
    error: str | None
    reaction: Annotated[ReactionAnswer | None, Field(description="null where the answer meets no response rule.")]

    @classmethod
    def of(cls, facts: AttemptFacts) -> AttemptAnswer:
        return cls(**_attempt_fields(facts))


class AttemptDetail(AttemptAnswer):
    """An attempt with its request and its answer. The request is null once retention dropped the event."""

    request: RequestAnswer | None
    signed: Annotated[
        list[SignedAnswer] | None,
        Field(
            description="What was signed of it, by each signer. null where that cannot be made again: without a request, and "
            "of an endpoint that takes events in batches."
        ),
    ]
    response: ResponseAnswer | None

    @classmethod
    def with_exchange(
        cls, record: AttemptRecord, request: RequestView | None, signed: tuple[Signed, ...] | None
    ) -> AttemptDetail:
        return cls(
            **_attempt_fields(record.facts),
            request=request_answer(request),
            signed=None if signed is None or request is None else [SignedAnswer.of(one) for one in signed],
            response=response_answer(record.facts.status, record.response_headers, record.response_body),
        )


class AttemptPage(Answer):
    """Attempts, newest first."""

    data: list[AttemptAnswer]
    next: str | None


class DeliveryAnswer(Answer):
    """A delivery that is owed and waits in the store."""

    app: Annotated[str | None, Field(description="Id of the endpoint's app.")]
    event: str
    type: Annotated[str | None, Field(description="Of the event; null once retention dropped it.")]
    endpoint: str
    attempt: Annotated[int, Field(description="The one to be made next, from 1.")]
    class_: Annotated[DeliveryClass, Field(alias="class")]
    due_at: Annotated[Time | None, Field(description="null: after another one that it waits for.")]
    reason: Annotated[str, Field(description="Why it waits.", examples=["failed", "paused", "resent"])]
    expires_at: Time | None
    eta_seconds: Annotated[
        float | None,
        Field(
            description="An estimate of the seconds until it is made, from the endpoint's recent attempts, its concurrency and "
            "what is due before it. null where there is no saying: the endpoint is paused, disabled or unverified, the "
            "delivery waits for another, or too many are ahead of it to be counted."
        ),
    ]

    @classmethod
    def of(cls, owed: OwedFacts) -> DeliveryAnswer:
        return cls(
            app=None if owed.app_id is None else format_id(APP, owed.app_id),
            event=format_id(EVENT, owed.event_id),
            type=owed.type,
            endpoint=format_id(ENDPOINT, owed.endpoint_id),
            attempt=owed.number,
            class_="replay" if owed.kind == "replay" else "live",
            due_at=optional_time(owed.due_at),
            reason=owed.reason,
            expires_at=optional_time(owed.expires_at),
            eta_seconds=None if owed.eta_seconds is None else round(owed.eta_seconds, 3),
        )


class DeliveryPage(Answer):
    """What is owed, by event, newest first."""

    data: list[DeliveryAnswer]
    next: str | None


class ReasonAnswer(Answer):
    """How many deliveries wait for a reason."""

    reason: Annotated[str, Field(examples=["failed", "paused"])]
    owed: int
    next_due_at: Annotated[Time | None, Field(description="null where none of them has a time of its own.")]


class ReasonsAnswer(Answer):
    """Why deliveries wait, the most frequent reason first."""

    data: list[ReasonAnswer]
    truncated: Annotated[
        bool,
        Field(description=f"More than {OWED_COUNTED_MAX} are owed: so many were counted, and each figure is a least."),
    ]

    @classmethod
    def of(cls, found: OwedReasons) -> ReasonsAnswer:
        return cls(
            data=[
                ReasonAnswer(reason=one.reason, owed=one.owed, next_due_at=optional_time(one.next_due_at))
                for one in found.reasons
            ],
            truncated=found.truncated,
        )


class Resend(Body):
    """Which event to send to which endpoint again."""

    event: Annotated[str, Field(description="Id of the event.")]
    endpoint: Annotated[str, Field(description="Id or uid of the endpoint.")]


class Cancel(Body):
    """Which event is not to be sent to which endpoint any more."""

    event: Annotated[str, Field(description="Id of the event.")]
    endpoint: Annotated[str, Field(description="Id or uid of the endpoint.")]


def _attempt_fields(facts: AttemptFacts) -> dict[str, Any]:
    timings = facts.timings
    return {
        "id": format_id(ATTEMPT, facts.id),
        "app": format_id(APP, facts.app_id),
        "event": format_id(EVENT, facts.event_id),
        "type": facts.type,
        "endpoint": format_id(ENDPOINT, facts.endpoint_id),
        "attempt": facts.number,
        "class_": facts.kind,
        "outcome": facts.outcome,
        "reason": facts.reason,
        "sent": facts.sent,
        "status": facts.status,
        "url": facts.url,
        "revision": facts.revision,
        "address": facts.address,
        "started_at": time_of(facts.started_at),
        "timings": timings_of(timings),
        "error": facts.error,
        "reaction": None if facts.reaction is None else ReactionAnswer.of(facts.reaction),
    }
