"""Operational events: what Posthouse itself tells its operators, through webhooks like any other.

They are published in one reserved app, in which operators make endpoints as in every app; nobody else publishes there. Of that
app's own endpoints nothing is told: a broken one would tell of itself for ever.

What an attempt caused is a follow-up recorded with it (`follow_ups`), and published once by whoever owns the partition. What
had no attempt goes through the ordinary publisher (`draft_of_news`).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from posthouse.domain.delivery import Attempt, Effect, EffectKind
from posthouse.domain.event import Draft
from posthouse.domain.ids import (
    APP,
    ATTEMPT,
    ENDPOINT,
    EVENT,
    AppId,
    AttemptId,
    EndpointId,
    EventId,
    effect_id,
    format_id,
)

OPERATIONS_APP: Final = AppId(bytes.fromhex("00000000000070008000000000000001"))
"""The reserved app (migrations/0008_operations.sql makes it, in partition 0)."""

OPERATIONS_UID: Final = "operations"
OPERATIONS_NAME: Final = "Posthouse operations"
RESERVED: Final = "reserved_app"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_encode: Final = msgspec.json.Encoder().encode

AppRef = Annotated[str, Meta(description="The app's id.")]
EndpointRef = Annotated[str, Meta(description="The endpoint's id.")]
At = Annotated[datetime, Meta(description="When it happened.")]


class EndpointDisabled(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint was disabled by Posthouse. What it is owed waits until somebody enables it again."""

    app: AppRef
    endpoint: EndpointRef
    reason: Annotated[
        str,
        Meta(
            description="`gone`: the target answered 410. `failing_for_days`: it has confirmed nothing for days. `by_answer`: "
            "a response rule of the endpoint, or the answer itself, says so."
        ),
    ]
    at: At


class EndpointRecovered(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint that had been failing confirmed a delivery again."""

    app: AppRef
    endpoint: EndpointRef
    failing_since: Annotated[datetime, Meta(description="Since when it had confirmed nothing.")]
    at: At


class DeliveryExhausted(msgspec.Struct, frozen=True, kw_only=True):
    """The last attempt of a delivery failed: it is given up, and can be sent again."""

    app: AppRef
    endpoint: EndpointRef
    event: Annotated[str, Meta(description="The id of the event that was not delivered.")]
    type: Annotated[str, Meta(description="The type of that event.")]
    attempt: Annotated[str, Meta(description="The id of the last attempt.")]
    attempts: Annotated[int, Meta(description="How many attempts there were.")]
    reason: Annotated[str, Meta(description="Why the last one failed.")]
    status: Annotated[int | None, Meta(description="What the target answered; null where it did not answer.")]
    at: At


class CircuitOpened(msgspec.Struct, frozen=True, kw_only=True):
    """So many requests to an endpoint failed that nothing but single probes is sent for a while."""

    app: AppRef
    endpoint: EndpointRef
    probe_at: Annotated[datetime, Meta(description="When the next probe is sent.")]
    at: At


class CircuitClosed(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint whose circuit was open takes requests again."""

    app: AppRef
    endpoint: EndpointRef
    opened_at: Annotated[datetime, Meta(description="When the circuit had opened.")]
    at: At


class ReplayFinished(msgspec.Struct, frozen=True, kw_only=True):
    """A replay came to its end."""

    app: AppRef
    endpoint: EndpointRef
    replay: Annotated[str, Meta(description="The replay's id.")]
    state: Annotated[str, Meta(description="How it ended, as the replay itself shows it.")]
    deliveries: Annotated[int, Meta(description="How many deliveries it asked for.")]
    at: At


class QuotaReached(msgspec.Struct, frozen=True, kw_only=True):
    """An app was refused something because of a quota, or owed too much. Told once an hour for an app and a quota."""

    app: AppRef
    quota: Annotated[
        str,
        Meta(
            description="`quota_publish_rate`, `quota_endpoints`, `quota_stored_bytes` (the code it was refused with), or "
            "`owed_per_endpoint`: the oldest of what one of its endpoints was owed was given up."
        ),
    ]
    limit: Annotated[float, Meta(description="The quota: events a second, endpoints, or bytes.")]
    at: At


class LogRewound(msgspec.Struct, frozen=True, kw_only=True):
    """The log has lost its end: a standby was promoted that did not have everything. Events that were accepted are gone."""

    app: Annotated[None, Meta(description="Null: it is about the whole installation.")] = None
    partitions: Annotated[list[int], Meta(description="The partitions of which events are missing.")]
    last_seen_at: Annotated[
        datetime,
        Meta(
            description="When the newest event that had been read of them was published; the events around it may be gone."
        ),
    ]
    at: At


class ScheduleFailing(msgspec.Struct, frozen=True, kw_only=True):
    """The event of a schedule was refused, after those before it were published. It is tried again, less and less often."""

    app: Annotated[
        str | None, Meta(description="The id of the app that its events are for; null where they are the platform's.")
    ]
    schedule: Annotated[str, Meta(description="The schedule's uid; its id where it has none.")]
    type: Annotated[str, Meta(description="The type of its events.")]
    scheduled_at: Annotated[datetime, Meta(description="When the event was due.")]
    code: Annotated[str, Meta(description="Why it was refused, as a request to publish it would have been.")]
    reason: Annotated[str, Meta(description="The same in words.")]
    at: At


class TriggerFailing(msgspec.Struct, frozen=True, kw_only=True):
    """A trigger has failed several times in a row, or stopped since it set aside so much: what happens where it watches is not
    published. It is tried again by itself. Told once until it has recovered."""

    app: Annotated[
        str | None, Meta(description="The id of the app that its events are for; null where they are the platform's.")
    ]
    trigger: Annotated[str, Meta(description="The trigger's uid; its id where it has none.")]
    kind: Annotated[str, Meta(description="What it watches: `table`, `changes`, …")]
    code: Annotated[str, Meta(description="Why, in a word: `source_unavailable`, `slot_taken`, …")]
    reason: Annotated[str, Meta(description="Why, and what to do.")]
    failing_since: At
    at: At


class CallbackNotified(msgspec.Struct, frozen=True, kw_only=True):
    """A response rule of an endpoint, or a callback handler, asked for the operators to be told of an answer (`notify`)."""

    app: AppRef
    endpoint: EndpointRef
    event: Annotated[str, Meta(description="The id of the event that was answered.")]
    type: Annotated[str, Meta(description="The type of that event.")]
    attempt: Annotated[str, Meta(description="The id of the attempt with the answer.")]
    message: Annotated[str, Meta(description="What the rule says; empty where it says nothing.")]
    at: At


class CallbackFailed(msgspec.Struct, frozen=True, kw_only=True):
    """Something that an answer should make happen could not be done, and will not be. What became of the delivery does not
    depend on it. Told once an hour for an endpoint and an action."""

    app: AppRef
    endpoint: EndpointRef
    event: Annotated[str, Meta(description="The id of the event that was answered.")]
    action: Annotated[str, Meta(description="What could not be done: `emit`, `forward`, `set`, …")]
    reason: Annotated[str, Meta(description="Why.")]
    at: At


class ChainStopped(msgspec.Struct, frozen=True, kw_only=True):
    """Events that answers ask for were not published, since they may be a loop. Told once an hour for an app and a reason."""

    app: AppRef
    reason: Annotated[
        str,
        Meta(
            description="`depth`: one event would have caused the next for too long. `budget`: answers asked for too many "
            "events of the app in one minute."
        ),
    ]
    limit: Annotated[int, Meta(description="Events that may follow from each other, or that a minute may have.")]
    endpoint: EndpointRef
    event: Annotated[str, Meta(description="The id of the event whose answer asked for one more.")]
    at: At


class EndpointVerified(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint that had not passed its handshake has. What it is owed is sent now."""

    app: AppRef
    endpoint: EndpointRef
    at: At


class EndpointVerificationFailed(msgspec.Struct, frozen=True, kw_only=True):
    """The handshake of an endpoint came to nothing for the last time. What it is owed waits until somebody asks for the
    handshake again, or the endpoint is changed."""

    app: AppRef
    endpoint: EndpointRef
    reason: Annotated[
        str,
        Meta(
            description="Why, as the endpoint's `verification` says: `no_answer`, `wrong_status`, …; `lapsed`: it had been "
            "verified, and was not again in time."
        ),
    ]
    at: At


Payload = (
    EndpointDisabled
    | EndpointVerified
    | EndpointVerificationFailed
    | EndpointRecovered
    | DeliveryExhausted
    | CircuitOpened
    | CircuitClosed
    | ReplayFinished
    | QuotaReached
    | ScheduleFailing
    | TriggerFailing
    | LogRewound
    | CallbackNotified
    | CallbackFailed
    | ChainStopped
)

TYPES: Final[dict[str, type[Payload]]] = {
    "endpoint.disabled": EndpointDisabled,
    "endpoint.recovered": EndpointRecovered,
    "endpoint.verified": EndpointVerified,
    "endpoint.verification_failed": EndpointVerificationFailed,
    "delivery.exhausted": DeliveryExhausted,
    "circuit.opened": CircuitOpened,
    "circuit.closed": CircuitClosed,
    "replay.finished": ReplayFinished,
    "quota.reached": QuotaReached,
    "schedule.failing": ScheduleFailing,
    "trigger.failing": TriggerFailing,
    "log.rewound": LogRewound,
    "callback.notified": CallbackNotified,
    "callback.failed": CallbackFailed,
    "chain.stopped": ChainStopped,
}
"""Every operational event's type, and what its data are."""

_NAMES: Final = {payload: name for name, payload in TYPES.items()}


class News(msgspec.Struct, frozen=True):
    """Something to tell the operators: about which app (None: about none), perhaps about which of its endpoints, and the
    event's type and data."""

    app_id: AppId | None
    endpoint_id: EndpointId | None
    type: str
    data: bytes

    @property
    def key(self) -> str:
        """What is told of one endpoint is in order, for a target that asks for order by key; else of one app, or one kind."""
        if self.endpoint_id is not None:
            return format_id(ENDPOINT, self.endpoint_id)
        return self.type if self.app_id is None else format_id(APP, self.app_id)


# What there is to tell. Times are unix seconds.


def endpoint_disabled(app_id: AppId, endpoint_id: EndpointId, *, reason: str, at: float) -> News:
    return _news(app_id, endpoint_id, EndpointDisabled(**_who(app_id, endpoint_id), reason=reason, at=_time(at)))


def endpoint_recovered(app_id: AppId, endpoint_id: EndpointId, *, failing_since: float, at: float) -> News:
    return _news(
        app_id,
        endpoint_id,
        EndpointRecovered(**_who(app_id, endpoint_id), failing_since=_time(failing_since), at=_time(at)),
    )


def endpoint_verified(app_id: AppId, endpoint_id: EndpointId, *, at: float) -> News:
    return _news(app_id, endpoint_id, EndpointVerified(**_who(app_id, endpoint_id), at=_time(at)))


def endpoint_verification_failed(app_id: AppId, endpoint_id: EndpointId, *, reason: str, at: float) -> News:
    return _news(
        app_id,
        endpoint_id,
        EndpointVerificationFailed(**_who(app_id, endpoint_id), reason=reason, at=_time(at)),
    )


def delivery_exhausted(attempt: Attempt, event_type: str, *, at: float) -> News:
    """Of the last attempt of a delivery that was not confirmed."""
    return _news(
        attempt.app_id,
        attempt.endpoint_id,
        DeliveryExhausted(
            **_who(attempt.app_id, attempt.endpoint_id),
            event=format_id(EVENT, attempt.event_id),
            type=event_type,
            attempt=format_id(ATTEMPT, attempt.id),
            attempts=attempt.number,
            reason=attempt.reason,
            status=attempt.status,
            at=_time(at),
        ),
    )


def circuit_opened(app_id: AppId, endpoint_id: EndpointId, *, probe_at: float, at: float) -> News:
    return _news(
        app_id, endpoint_id, CircuitOpened(**_who(app_id, endpoint_id), probe_at=_time(probe_at), at=_time(at))
    )


def circuit_closed(app_id: AppId, endpoint_id: EndpointId, *, opened_at: float, at: float) -> News:
    return _news(
        app_id, endpoint_id, CircuitClosed(**_who(app_id, endpoint_id), opened_at=_time(opened_at), at=_time(at))
    )


def replay_finished(
    app_id: AppId, endpoint_id: EndpointId, *, replay: str, state: str, deliveries: int, at: float
) -> News:
    """`replay` is its id as text."""
    return _news(
        app_id,
        endpoint_id,
        ReplayFinished(**_who(app_id, endpoint_id), replay=replay, state=state, deliveries=deliveries, at=_time(at)),
    )


def quota_reached(app_id: AppId, *, quota: str, limit: float, at: float) -> News:
    return _news(app_id, None, QuotaReached(app=format_id(APP, app_id), quota=quota, limit=limit, at=_time(at)))


def schedule_failing(
    app_id: AppId | None, *, schedule: str, event_type: str, scheduled_at: float, code: str, reason: str, at: float
) -> News:
    """`schedule` is what it is called by."""
    return _news(
        app_id,
        None,
        ScheduleFailing(
            app=None if app_id is None else format_id(APP, app_id),
            schedule=schedule,
            type=event_type,
            scheduled_at=_time(scheduled_at),
            code=code,
            reason=reason,
            at=_time(at),
        ),
    )


def trigger_failing(
    app_id: AppId | None, *, trigger: str, kind: str, code: str, reason: str, failing_since: float, at: float
) -> News:
    """`trigger` is what it is called by."""
    return _news(
        app_id,
        None,
        TriggerFailing(
            app=None if app_id is None else format_id(APP, app_id),
            trigger=trigger,
            kind=kind,
            code=code,
            reason=reason,
            failing_since=_time(failing_since),
            at=_time(at),
        ),
    )


def log_rewound(partitions: Iterable[int], *, last_seen_at: float, at: float) -> News:
    return _news(None, None, LogRewound(partitions=sorted(partitions), last_seen_at=_time(last_seen_at), at=_time(at)))


def callback_notified(
    app_id: AppId,
    endpoint_id: EndpointId,
    *,
    event: EventId,
    event_type: str,
    attempt: AttemptId,
    message: str,
    at: float,
) -> News:
    return _news(
        app_id,
        endpoint_id,
        CallbackNotified(
            **_who(app_id, endpoint_id),
            event=format_id(EVENT, event),
            type=event_type,
            attempt=format_id(ATTEMPT, attempt),
            message=message,
            at=_time(at),
        ),
    )


def callback_failed(
    app_id: AppId, endpoint_id: EndpointId, *, event: EventId, action: str, reason: str, at: float
) -> News:
    return _news(
        app_id,
        endpoint_id,
        CallbackFailed(
            **_who(app_id, endpoint_id),
            event=format_id(EVENT, event),
            action=action,
            reason=reason,
            at=_time(at),
        ),
    )


def chain_stopped(
    app_id: AppId, endpoint_id: EndpointId, *, event: EventId, reason: str, limit: int, at: float
) -> News:
    return _news(
        app_id,
        None,
        ChainStopped(
            **_who(app_id, endpoint_id), event=format_id(EVENT, event), reason=reason, limit=limit, at=_time(at)
        ),
    )


# How it is told


def is_told(app_id: AppId | None) -> bool:
    """Whether operators are told of what happens to an app: of every one but their own."""
    return app_id != OPERATIONS_APP


def follow_ups(attempt: Attempt, news: Iterable[News], *, first: int = 1) -> tuple[Effect, ...]:
    """What an attempt causes to be told, as effects to be recorded with it; none for the operators' own app.

    `first` is the ordinal of the first: an attempt's effects are numbered, and 0 is the one that disables its endpoint.
    """
    if not is_told(attempt.app_id):
        return ()
    return tuple(
        emit(attempt.id, ordinal, attempt.partition, attempt.endpoint_id, one.type, one.data)
        for ordinal, one in enumerate(news, first)
    )


def emit(
    attempt_id: AttemptId, ordinal: int, partition: int, endpoint_id: EndpointId, event_type: str, data: bytes
) -> Effect:
    """The follow-up that publishes an operational event."""
    return Effect(
        id=AttemptId(effect_id(attempt_id, ordinal)),
        partition=partition,
        endpoint_id=endpoint_id,
        kind=EffectKind.EMIT,
        reason=event_type,
        data=data,
    )


def draft_of(effect: Effect, event_id: EventId) -> Draft:
    """The event that an `emit` effect publishes. Whether it does is decided by the effect, once: the id may be any."""
    return Draft(
        id=event_id,
        app_id=OPERATIONS_APP,
        type=effect.reason,
        payload=effect.data or b"null",
        key=format_id(ENDPOINT, effect.endpoint_id),
    )


def draft_of_news(news: News, event_id: EventId, *, once: str) -> Draft:
    """The event for what no attempt caused; `once` is its idempotency key."""
    return Draft(
        id=event_id,
        app_id=OPERATIONS_APP,
        type=news.type,
        payload=news.data,
        key=news.key,
        idempotency_key=once,
    )


def _who(app_id: AppId, endpoint_id: EndpointId) -> dict[str, str]:
    return {"app": format_id(APP, app_id), "endpoint": format_id(ENDPOINT, endpoint_id)}


def _news(app_id: AppId | None, endpoint_id: EndpointId | None, payload: Payload) -> News:
    return News(app_id, endpoint_id, _NAMES[type(payload)], _encode(payload))


def _time(at: float) -> datetime:
    """To the millisecond, cut."""
    return _EPOCH + int(at * 1000 + 1e-3) * _MILLISECOND
