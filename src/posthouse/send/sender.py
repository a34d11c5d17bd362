"""One attempt of a delivery, from its bytes to its record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, assert_never

import structlog

from posthouse.domain.callback import Confirm, Decision, Disable, GiveUp, RetryAt, classify, decide
from posthouse.domain.delivery import (
    Attempt,
    AttemptOutcome,
    Delivery,
    DeliveryClass,
    Effect,
    EffectKind,
    Owed,
    OwedReason,
)
from posthouse.domain.endpoint import Endpoint
from posthouse.domain.errors import PosthouseError, StoreUnavailable
from posthouse.domain.event import Event
from posthouse.domain.exchange import NO_TIMINGS, Answer, Failure, Result
from posthouse.domain.ids import AppId, AttemptId
from posthouse.ports.clock import Clock
from posthouse.ports.store import Store
from posthouse.ports.telemetry import Telemetry
from posthouse.ports.transport import Transport
from posthouse.send.peer import Peer
from posthouse.settle.journal import Journal
from posthouse.wire.answer import stored_body, stored_headers

log = structlog.get_logger()

EXPIRED: Final = "expired"
CANCELLED: Final = "cancelled"
REVOKED: Final = "revoked"
NOBODY: Final = AppId(bytes(16))  # the app of a delivery whose event and endpoint are gone


class Sender:
    """Makes attempts and records what came of them. `disabled` is told at once when a target ended it."""

    def __init__(
        self,
        transport: Transport,
        journal: Journal,
        store: Store,
        clock: Clock,
        telemetry: Telemetry,
        *,
        owner: bytes,
        disabled: Callable[[Peer], None],
    ) -> None:
        self._transport = transport
        self._journal = journal
        self._store = store
        self._clock = clock
        self._telemetry = telemetry
        self._owner = owner
        self._disabled = disabled

    async def attempt(self, peer: Peer, delivery: Delivery) -> None:
        """Send once and record it. Raises only for faults of our own, and then nothing is recorded."""
        endpoint, event = peer.endpoint, delivery.event
        started_at = self._clock.now()
        if event.expires_at is not None and event.expires_at <= started_at and delivery.kind is DeliveryClass.LIVE:
            self.give_up(delivery, endpoint, EXPIRED)
            return
        if event.app_id is None and not await self._permitted(delivery, endpoint, started_at):
            self.give_up(delivery, endpoint, REVOKED)
            return
        renderer = peer.renderer
        if renderer is None:
            raise PosthouseError("the endpoint was changed into one that cannot be spoken to")
        request = renderer.render(event, now=started_at, replay=delivery.kind is DeliveryClass.REPLAY)
        result = await self._transport.send(request)
        now = self._clock.now()
        decision = decide(
            result,
            endpoint.retry,
            number=delivery.number,
            failing_since=peer.failing_since,
            now=now,
            draw=self._clock.draw(),
        )
        attempt = self._record_of(delivery, endpoint, outcome_of(decision), classify(result), started_at, result)
        owed = owed_after(delivery, decision)
        health = peer.answered(confirmed=isinstance(decision, Confirm), now=now)
        effect = None
        if isinstance(decision, Disable):
            effect = Effect(
                id=attempt.id,
                partition=event.partition,
                endpoint_id=endpoint.id,
                kind=EffectKind.DISABLE_ENDPOINT,
                reason=decision.reason,
            )
        ours = self._journal.record(delivery, attempt, owed, effect=effect, health=health)
        self._telemetry.attempt(
            attempt.outcome.value, attempt.reason, delivery.kind.value, attempt.timings.total_us / 1e6
        )
        if attempt.outcome is AttemptOutcome.DELIVERED:
            self._telemetry.delivered_after(now - event.created_at)
        if effect is not None:
            self._disabled(peer)
        if not ours and delivery.row:
            # The partition moved on while the request ran. Its row, if it still says that we are sending, is ours to settle.
            try:
                await self._store.settle_late(attempt, owed, sender=self._owner, now=now)
            except StoreUnavailable as error:
                log.warning("sender.late_answer_lost", error=str(error))  # the row falls due: a repeat, no loss

    async def _permitted(self, delivery: Delivery, endpoint: Endpoint, now: float) -> bool:
        """Whether the endpoint's app may still have a platform event. Raises StoreUnavailable."""
        event = delivery.event
        # What is sent again on request may be asked for a moment after a grant was taken away: that moment counts.
        if delivery.kind is DeliveryClass.LIVE and endpoint.grants.leaves(event, now=now):
            return True
        return await self._store.covered(endpoint.app_id, event.type, event.subject)

    def abandon(self, owed: Owed, event: Event | None, endpoint: Endpoint | None, *, epoch: int, reason: str) -> None:
        """Settle a row that can never be sent: its event was dropped (then it has no app on record), or its endpoint."""
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
        delivery = Delivery(event, epoch, owed.endpoint_id, owed.number, owed.kind, 0.0, fresh=False, row=True)
        self.give_up(delivery, endpoint, reason)

    def give_up(self, delivery: Delivery, endpoint: Endpoint, reason: str) -> None:
        """Settle a delivery without a request: expired, cancelled, …"""
        attempt = self._record_of(delivery, endpoint, AttemptOutcome.GAVE_UP, reason, self._clock.now(), None)
        self._journal.record(delivery, attempt, None)
        self._telemetry.attempt(AttemptOutcome.GAVE_UP.value, reason, delivery.kind.value, 0.0)

    def _record_of(
        self,
        delivery: Delivery,
        endpoint: Endpoint,
        outcome: AttemptOutcome,
        reason: str,
        started_at: float,
        result: Result | None,
    ) -> Attempt:
        """The record of an attempt; `result` is None for a delivery that was given up without a request."""
        event = delivery.event
        headers: bytes | None = None
        body: bytes | None = None
        error: str | None = None
        match result:
            case None:
                pass
            case Answer():
                headers = stored_headers(result)
                body = stored_body(result) or None
            case Failure(detail=error):
                pass
            case _:
                assert_never(result)
        return Attempt(
            id=AttemptId(self._clock.new_id()),
            partition=event.partition,
            app_id=endpoint.app_id,
            endpoint_id=endpoint.id,
            event_id=event.id,
            seq=event.seq,
            number=delivery.number,
            kind=delivery.kind,
            outcome=outcome,
            reason=reason,
            revision=endpoint.revision,
            url=endpoint.url,
            started_at=started_at,
            sent=result is not None,
            status=None if result is None else result.status,
            address="" if result is None else result.address,
            timings=NO_TIMINGS if result is None else result.timings,
            response_headers=headers,
            response_body=body,
            error=error,
        )


def outcome_of(decision: Decision) -> AttemptOutcome:
    """How an attempt that was followed by this decision ended."""
    match decision:
        case Confirm():
            return AttemptOutcome.DELIVERED
        case RetryAt():
            return AttemptOutcome.FAILED
        case GiveUp() | Disable():
            return AttemptOutcome.GAVE_UP
        case _:
            assert_never(decision)


def owed_after(delivery: Delivery, decision: Decision) -> Owed | None:
    """The row that remains after an attempt; None where nothing is owed any more."""
    if not isinstance(decision, RetryAt):
        return None
    return owed_row(delivery, number=delivery.number + 1, due_at=decision.at, reason=OwedReason.FAILED)


def owed_row(
    delivery: Delivery, *, number: int, due_at: float, reason: OwedReason, sender: bytes | None = None
) -> Owed:
    """A delivery as a row of `delivery`."""
    event: Event = delivery.event
    return Owed(
        partition=event.partition,
        endpoint_id=delivery.endpoint_id,
        event_id=event.id,
        seq=event.seq,
        number=number,
        due_at=due_at,
        reason=reason,
        kind=delivery.kind,
        sender=sender,
        expires_at=event.expires_at,
        payload_bytes=len(event.payload),
    )
