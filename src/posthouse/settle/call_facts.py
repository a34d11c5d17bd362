"""What the handlers are told of a call, and what comes of its end. Pure."""

from __future__ import annotations

from typing import Final

from posthouse.domain.calling import Call, CallData, CalledEvent, CallFailed
from posthouse.domain.chaining import Origin
from posthouse.domain.delivery import Effect
from posthouse.domain.event import JSON_CONTENT
from posthouse.domain.ids import EFFECT, EVENT, format_id
from posthouse.domain.operations import callback_failed, emit, is_told
from posthouse.ports.calls import CallFacts

FIRST_ORDINAL: Final = 512
"""Of what handlers ask for, counted from the call's own id."""


def call_of(effect: Effect, data: CallData, facts: CallFacts, tries: int) -> Call:
    """What the handlers' process is told."""
    event = facts.event
    return Call(
        id=format_id(EFFECT, effect.id),
        event=CalledEvent(
            id=format_id(EVENT, event.id),
            type=event.type,
            time=event.created_at,
            content_type=event.content_type,
            payload=event.payload,
            subject=event.subject,
            key=event.key,
        ),
        app=facts.app,
        endpoint=facts.endpoint,
        about=data,
        tries=tries,
    )


def origin_of_call(effect: Effect, data: CallData, facts: CallFacts, *, at: float) -> Origin:
    event = facts.event
    return Origin(
        id=effect.id,
        attempt=data.attempt_id,
        partition=effect.partition,
        app_id=facts.app_id,
        endpoint_id=effect.endpoint_id,
        event_id=event.id,
        event_type=event.type,
        subject=event.subject,
        key=event.key,
        depth=event.depth,
        payload=b"null",  # the handlers' process has put the answer where they left data out
        content_type=JSON_CONTENT,
        at=at,
    )


def news_of(effect: Effect, data: CallData, facts: CallFacts, failed: CallFailed, *, at: float) -> tuple[Effect, ...]:
    """The operational event for a call that is set aside; none for the operators' own app."""
    if not is_told(facts.app_id):
        return ()
    news = callback_failed(
        facts.app_id,
        effect.endpoint_id,
        event=data.event_id,
        action="call",
        reason=f"{failed.because.value}: {failed.detail}",
        at=at,
    )
    return (emit(effect.id, FIRST_ORDINAL, effect.partition, effect.endpoint_id, news.type, news.data),)
