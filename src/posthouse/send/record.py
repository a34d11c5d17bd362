"""What goes on record of an attempt, with the masks that its endpoint asks for. Pure."""

from __future__ import annotations

from typing import Final, assert_never

import msgspec

from posthouse.domain.circuit import Health
from posthouse.domain.delivery import Attempt, AttemptOutcome, Delivery, Owed
from posthouse.domain.endpoint import Endpoint
from posthouse.domain.event import Event
from posthouse.domain.exchange import NO_TIMINGS, Answer, Failure, Fault, Result
from posthouse.domain.ids import AppId, AttemptId
from posthouse.domain.redaction import REDACTED
from posthouse.send.reactions import Reacting
from posthouse.wire.answer import redacted_answer, stored_body, stored_headers

NOBODY: Final = AppId(bytes(16))  # the app of a delivery whose event and endpoint are gone


class Made(msgspec.Struct, frozen=True, gc=False):
    """A request that was made, or could not be."""

    url: str
    result: Result
    request_id: bytes | None
    started_at: float
    ended_at: float
    before: Health  # of the endpoint, as the request began to end
    reason: str  # `confirmed`, or why it failed
    words: str | None = None  # more of that, in words of our own
    reacting: Reacting | None = None  # the response rule that the answer meets, and what it asks for
    read: Result | None = None  # as rules and handlers see it: opened, where it came encrypted


def attempt_of(
    id: AttemptId,
    delivery: Delivery,
    endpoint: Endpoint,
    outcome: AttemptOutcome,
    reason: str,
    made: Made | None,
    words: str | None = None,
    *,
    now: float,
) -> Attempt:
    """The record of an attempt that began `now`; `made` is None for a delivery that was given up without a request, and `words`
    are what the target said of this one of several."""
    event = delivery.event
    result = None if made is None else made.result
    headers: bytes | None = None
    body: bytes | None = None
    error = words if words is not None or made is None else made.words
    sent = True
    match result:
        case None:
            sent = False
        case Answer():
            rules = endpoint.redact_answer
            kept = result if rules is None else redacted_answer(result, rules)
            if words is not None and rules is not None and rules.body:
                error = REDACTED  # they are from the body
            headers = stored_headers(kept)
            body = stored_body(kept) or None
        case Failure():
            error = result.detail
            sent = result.fault is not Fault.UNSENDABLE
        case _:
            assert_never(result)
    # By position: a call with more than 15 keywords goes through a dictionary.
    return Attempt(
        id,
        event.partition,
        endpoint.app_id,
        endpoint.id,
        event.id,
        event.seq,
        delivery.number,
        delivery.kind,
        outcome,
        reason,
        endpoint.revision,
        endpoint.url if made is None else made.url,
        now,
        sent,
        None if result is None else result.status,
        "" if result is None else result.address,
        NO_TIMINGS if result is None else result.timings,
        headers,
        body,
        error,
        None if made is None else made.request_id,
    )


def left_over(owed: Owed, event: Event | None, endpoint: Endpoint | None, *, epoch: int) -> tuple[Delivery, Endpoint]:
    """A row whose event was dropped (then it has no app on record), or whose endpoint was: a delivery to be settled."""
    if event is None:
        event = Event(
            id=owed.event_id,
            partition=owed.partition,
            seq=owed.seq,
            app_id=NOBODY if endpoint is None else endpoint.app_id,
            type="",
            payload=b"",
            content_type="",
            created_at=0.0,
            config_version=0,
        )
    if endpoint is None:
        endpoint = Endpoint(
            id=owed.endpoint_id, app_id=event.app_id or NOBODY, partition=owed.partition, revision=0, url=""
        )
    delivery = Delivery(
        event, epoch, owed.endpoint_id, owed.number, owed.kind, 0.0, fresh=False, row=True, line=owed.line
    )
    return delivery, endpoint
