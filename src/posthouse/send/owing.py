"""What an attempt leaves behind: how it counts, and the row that is still owed. Pure."""

from __future__ import annotations

import math
from typing import Final, assert_never

from posthouse.domain.callback import Block, Confirm, Decision, Disable, GiveUp, RetryAt
from posthouse.domain.delivery import AttemptOutcome, Delivery, DeliveryClass, Owed, OwedReason
from posthouse.domain.endpoint import Endpoint
from posthouse.domain.event import Event

# Looked up once: in 3.11 a member of an enumeration is found by Python code.
_DELIVERED: Final = AttemptOutcome.DELIVERED


def outcome_of(decision: Decision) -> AttemptOutcome:
    """How an attempt that was followed by this decision ended."""
    match decision:
        case Confirm():
            return _DELIVERED
        case RetryAt() | Block():
            return AttemptOutcome.FAILED
        case GiveUp() | Disable():
            return AttemptOutcome.GAVE_UP
        case _:
            assert_never(decision)


def expiry(event: Event, endpoint: Endpoint) -> float | None:
    """When a live delivery is not worth making any more (unix seconds): by the event, or by the endpoint."""
    if endpoint.max_age is None:
        return event.expires_at
    aged = event.created_at + endpoint.max_age
    return aged if event.expires_at is None else min(event.expires_at, aged)


def owed_after(delivery: Delivery, endpoint: Endpoint, decision: Decision) -> Owed | None:
    """The row that remains after an attempt; None where nothing is owed any more."""
    number = delivery.number + 1
    match decision:
        case RetryAt(at=at):
            return owed_row(delivery, endpoint, number=number, due_at=at, reason=OwedReason.FAILED)
        case Block():
            return owed_row(delivery, endpoint, number=number, due_at=math.inf, reason=OwedReason.BLOCKED)
        case _:
            return None


def owed_row(
    delivery: Delivery,
    endpoint: Endpoint,
    *,
    number: int,
    due_at: float,
    reason: OwedReason,
    sender: bytes | None = None,
) -> Owed:
    """A delivery as a row of `delivery`; where it expires before it would be due, it is looked at then."""
    event = delivery.event
    expires_at = expiry(event, endpoint) if delivery.kind is DeliveryClass.LIVE else None
    if expires_at is not None and sender is None and due_at != math.inf:
        due_at = min(due_at, expires_at)
    return Owed(
        partition=event.partition,
        endpoint_id=delivery.endpoint_id,
        event_id=event.id,
        seq=event.seq,
        number=number,
        due_at=due_at,
        reason=reason,
        kind=delivery.kind,
        line=delivery.line,
        sender=sender,
        expires_at=expires_at,
        payload_bytes=len(event.payload),
    )
