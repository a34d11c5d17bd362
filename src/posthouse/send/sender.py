"""One attempt of a delivery, from its bytes to its record."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final, assert_never

import msgspec
import structlog

from posthouse.domain.callback import (
    CONFIRMED,
    Confirm,
    Decision,
    Disable,
    RetryAt,
    classify,
    decide,
    held_until,
    is_down,
    is_overloaded,
)
from posthouse.domain.circuit import HEALTHY, Health
from posthouse.domain.delivery import (
    Attempt,
    AttemptOutcome,
    Delivery,
    DeliveryClass,
    Effect,
    Fate,
    HealthTurn,
    Owed,
    OwedReason,
)
from posthouse.domain.endpoint import Endpoint, OnExhausted
from posthouse.domain.errors import NotOwner, PosthouseError, StoreUnavailable
from posthouse.domain.event import Event
from posthouse.domain.exchange import NO_TIMINGS, Answer, Failure, Result
from posthouse.domain.ids import AppId, AttemptId
from posthouse.domain.redaction import REDACTED
from posthouse.ports.clock import Clock
from posthouse.ports.store import LateResult, Store
from posthouse.ports.telemetry import Telemetry
from posthouse.ports.transport import Transport
from posthouse.send.aftermath import follow
from posthouse.send.owing import expiry, outcome_of, owed_after, owed_row
from posthouse.send.peer import Peer
from posthouse.settle.journal import Journal
from posthouse.wire.answer import redacted_answer, stored_body, stored_headers
from posthouse.wire.batch import results_of

log = structlog.get_logger()

EXPIRED: Final = "expired"
CANCELLED: Final = "cancelled"
REVOKED: Final = "revoked"
BEHIND: Final = "behind"
REFUSED: Final = "refused"
NOBODY: Final = AppId(bytes(16))  # the app of a delivery whose event and endpoint are gone


class _Made(msgspec.Struct, frozen=True, gc=False):
    """A request that was made."""

    url: str
    result: Result
    request_id: bytes | None
    started_at: float
    ended_at: float
    before: Health  # of the endpoint, as the request began to end


class Told(msgspec.Struct, gc=False):
    """What a lane is told of a request: the fate of each of its deliveries, in order. `seconds` is how long the target took,
    None where nothing was asked of it."""

    fates: Sequence[Fate]
    seconds: float | None = None
    overloaded: bool = False


_SETTLED: Final = (Fate.SETTLED,)
_OWED: Final = (Fate.OWED,)


class Sender:
    """Makes attempts and records what came of them. `disabled` is told at once when a target ended it; `may_write` says
    whether what belongs to an ordered line may still be sent."""

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
        may_write: Callable[[], bool] = lambda: True,
    ) -> None:
        self._transport = transport
        self._journal = journal
        self._store = store
        self._clock = clock
        self._telemetry = telemetry
        self._owner = owner
        self._disabled = disabled
        self._may_write = may_write

    async def attempt(self, peer: Peer, load: Sequence[Delivery]) -> Told:
        """Send these in one request and record what came of it, or first give up those that are not to be sent any more. Raises
        only for faults of our own, and then nothing is recorded."""
        endpoint = peer.endpoint
        now = self._clock.now()
        if len(load) == 1:
            over = await self._over(load[0], endpoint, now)
            if over is not None:
                self.give_up(load[0], endpoint, over)
                return Told(_SETTLED)
        else:
            reasons = [await self._over(delivery, endpoint, now) for delivery in load]
            if any(reasons):
                fates = []
                for delivery, over in zip(load, reasons, strict=True):
                    if over is not None:
                        self.give_up(delivery, endpoint, over)
                    goes_on = over is None and self._journal.owns(delivery)
                    fates.append(Fate.AGAIN if goes_on else Fate.SETTLED)
                return Told(fates)
        if not peer.usable:
            raise PosthouseError("the endpoint was changed into one that cannot be spoken to")
        index = peer.choose(load[0], now, self._clock.draw())
        if index is None:
            # What could be spoken to when it was taken cannot any more: a circuit opened meanwhile.
            for delivery in load:
                row = owed_row(delivery, endpoint, number=delivery.number, due_at=now, reason=peer.quiet_reason)
                self._journal.owe(delivery, row)
            return Told([Fate.OWED] * len(load))
        return await self._request(peer, load, index, now)

    async def _request(self, peer: Peer, load: Sequence[Delivery], index: int, started_at: float) -> Told:
        endpoint, route, first = peer.endpoint, peer.routes[index], load[0]
        circuit, renderer = route.circuit, route.renderer
        assert renderer is not None, "such a route is not chosen"
        replay = first.kind is DeliveryClass.REPLAY
        request_id = None
        if endpoint.batch is None and len(load) == 1:
            request = renderer.render(first.event, now=started_at, replay=replay)
        else:
            request_id = self._clock.new_id()
            events = [delivery.event for delivery in load]
            request = renderer.render_batch(events, now=started_at, replay=replay, request_id=request_id)
        ordered = any(delivery.line for delivery in load)
        token = circuit.began(started_at)
        try:
            result = await self._transport.send(request, may_write=self._fence(load) if ordered else None)
        except BaseException:
            circuit.ended(token, failed=None, now=self._clock.now())
            raise
        now = self._clock.now()
        down = is_down(result)
        confirmed = classify(result) == CONFIRMED
        again = False
        if down and len(peer.routes) > 1:
            for delivery in load:
                delivery.tried |= 1 << index
            # Of a partition that was lost meanwhile nothing more is sent: its successor does.
            again = peer.choose(first, now, 0.0) is not None and all(map(self._journal.owns, load))
        before = HEALTHY if confirmed and peer.calm and peer.failing_since is None else peer.health
        turn = peer.ended(
            circuit,
            token,
            confirmed=None if again else confirmed,
            down=down,
            held_until=held_until(result, now=now),
            now=now,
        )
        made = _Made(route.url, result, request_id, started_at, now, before)
        if again:
            for delivery in load:
                attempt = self._record_of(delivery, endpoint, AttemptOutcome.FAILED, classify(result), made)
                self._journal.note(delivery, attempt, health=turn)
                self._tell(attempt, delivery, now)
            return Told([Fate.AGAIN] * len(load), result.timings.total_us / 1e6, is_overloaded(result))
        late: list[LateResult] = []
        if request_id is None:
            fate = self._settle(peer, first, made, None, turn, late)
            fates: Sequence[Fate] = _SETTLED if fate is Fate.SETTLED else _OWED
        else:
            body = result.body if isinstance(result, Answer) and confirmed else b""
            results = results_of(200, body, [delivery.event.id for delivery in load])
            behind: set[int] = set()
            fates = []
            for delivery, told in zip(load, results, strict=True):
                reason = None if told.confirmed else REFUSED
                if reason is None and delivery.line in behind:
                    reason = BEHIND  # of an ordered line, what follows one that is sent again is sent again, too
                fate = self._settle(peer, delivery, made, reason, turn, late, told.reason or None)
                turn = None
                if fate is Fate.OWED and delivery.line:
                    behind.add(delivery.line)
                fates.append(fate)
        if late:
            try:
                await self._store.settle_late(late, sender=self._owner, now=now)
            except StoreUnavailable as error:
                log.warning("sender.late_answer_lost", error=str(error))  # the rows fall due: repeats, no loss
        return Told(fates, result.timings.total_us / 1e6, is_overloaded(result))

    def _fence(self, load: Sequence[Delivery]) -> Callable[[], bool]:
        """Whether these may still be written: the leases hold, and their partition was not handed over meanwhile."""
        return lambda: self._may_write() and all(map(self._journal.owns, load))

    def _settle(
        self,
        peer: Peer,
        delivery: Delivery,
        made: _Made,
        refused: str | None,
        health: HealthTurn | None,
        late: list[LateResult],
        words: str | None = None,
    ) -> Fate:
        """Record what an attempt brought to a delivery; `refused` is why it is not delivered though the answer as a whole
        confirms, `words` what the target said of it. What is not ours to record any more is added to `late`."""
        endpoint, result, now = peer.endpoint, made.result, made.ended_at
        if refused is BEHIND:
            # Not its own doing: no attempt is spent, and its row waits for the one before it.
            decision: Decision = RetryAt(now, BEHIND)
            owed: Owed | None = owed_row(
                delivery, endpoint, number=delivery.number, due_at=math.inf, reason=OwedReason.BEHIND
            )
        else:
            decision = decide(
                result,
                endpoint.retry,
                number=delivery.number,
                failing_since=made.before.failing_since,
                now=now,
                draw=self._clock.draw(),
                blocks=endpoint.on_exhausted is OnExhausted.BLOCK and delivery.line != 0,
                reason=refused,
            )
            owed = owed_after(delivery, endpoint, decision)
        attempt = self._record_of(delivery, endpoint, outcome_of(decision), refused or classify(result), made, words)
        effects: tuple[Effect, ...] = ()
        if health is not None or not isinstance(decision, Confirm | RetryAt):
            effects = follow(attempt, delivery.event.type, decision, made.before, health, now)
        ours = self._journal.record(delivery, attempt, owed, effects=effects, health=health)
        self._tell(attempt, delivery, now)
        if isinstance(decision, Disable):
            self._disabled(peer)
        if not ours and delivery.row:
            # The partition moved on while the request ran. Its row, if it still says that we are sending, is ours to settle.
            late.append((attempt, owed))
        return Fate.SETTLED if owed is None else Fate.OWED

    def _tell(self, attempt: Attempt, delivery: Delivery, now: float) -> None:
        self._telemetry.attempt(
            attempt.outcome.value, attempt.reason, delivery.kind.value, attempt.timings.total_us / 1e6
        )
        if attempt.outcome is AttemptOutcome.DELIVERED:
            self._telemetry.delivered_after(now - delivery.event.created_at)

    async def _over(self, delivery: Delivery, endpoint: Endpoint, now: float) -> str | None:
        """Why it is not sent any more. Raises StoreUnavailable, NotOwner."""
        event = delivery.event
        if delivery.kind is DeliveryClass.LIVE:
            expires_at = expiry(event, endpoint)
            if expires_at is not None and expires_at <= now:
                return EXPIRED
        if event.app_id is None and not await self._permitted(delivery, endpoint, now):
            return REVOKED
        return None

    async def _permitted(self, delivery: Delivery, endpoint: Endpoint, now: float) -> bool:
        """Whether the endpoint's app may still have a platform event. Raises StoreUnavailable, and NotOwner where it took so
        long to find out that the partition may be another's."""
        event = delivery.event
        # What is sent again on request may be asked for a moment after a grant was taken away: that moment counts.
        if delivery.kind is DeliveryClass.LIVE and endpoint.grants.leaves(event, now=now):
            return True
        covered = await self._store.covered(endpoint.app_id, event.type, event.subject)
        if not (self._may_write() and self._journal.owns(delivery)):
            raise NotOwner("the partition was lost while it was looked up whether an event may be sent")
        return covered

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
        delivery = Delivery(
            event, epoch, owed.endpoint_id, owed.number, owed.kind, 0.0, fresh=False, row=True, line=owed.line
        )
        self.give_up(delivery, endpoint, reason)

    def give_up(self, delivery: Delivery, endpoint: Endpoint, reason: str) -> None:
        """Settle a delivery without a request: expired, cancelled, …"""
        attempt = self._record_of(delivery, endpoint, AttemptOutcome.GAVE_UP, reason, None)
        self._journal.record(delivery, attempt, None)
        self._telemetry.attempt(AttemptOutcome.GAVE_UP.value, reason, delivery.kind.value, 0.0)

    def _record_of(
        self,
        delivery: Delivery,
        endpoint: Endpoint,
        outcome: AttemptOutcome,
        reason: str,
        made: _Made | None,
        words: str | None = None,
    ) -> Attempt:
        """The record of an attempt; `made` is None for a delivery that was given up without a request."""
        event = delivery.event
        result = None if made is None else made.result
        headers: bytes | None = None
        body: bytes | None = None
        error = words
        match result:
            case None:
                pass
            case Answer():
                rules = endpoint.redact_answer
                kept = result if rules is None else redacted_answer(result, rules)
                if words is not None and rules is not None and rules.body:
                    error = REDACTED  # they are from the body
                headers = stored_headers(kept)
                body = stored_body(kept) or None
            case Failure():
                error = result.detail
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
            url=endpoint.url if made is None else made.url,
            started_at=self._clock.now() if made is None else made.started_at,
            sent=result is not None,
            status=None if result is None else result.status,
            address="" if result is None else result.address,
            timings=NO_TIMINGS if result is None else result.timings,
            response_headers=headers,
            response_body=body,
            error=error,
            request_id=None if made is None else made.request_id,
        )
