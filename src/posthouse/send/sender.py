"""One attempt of a delivery, from its bytes to its record."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

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
from posthouse.domain.circuit import HEALTHY
from posthouse.domain.delivery import (
    Attempt,
    AttemptOutcome,
    Delivery,
    DeliveryClass,
    DeliveryKey,
    Effect,
    Fate,
    HealthTurn,
    Owed,
    OwedReason,
)
from posthouse.domain.endpoint import Endpoint, OnExhausted
from posthouse.domain.errors import NotOwner, PosthouseError, StoreUnavailable
from posthouse.domain.event import Event
from posthouse.domain.exchange import NO_TIMINGS, Answer, Failure, Fault, Request, Result
from posthouse.domain.ids import AttemptId
from posthouse.domain.order import UNORDERED
from posthouse.ports.clock import Clock
from posthouse.ports.store import LateResult, Store
from posthouse.ports.telemetry import Telemetry
from posthouse.ports.transport import Transport
from posthouse.send.aftermath import follow
from posthouse.send.owing import expiry, outcome_of, owed_after, owed_row
from posthouse.send.peer import Peer
from posthouse.send.record import Made, attempt_of, left_over
from posthouse.send.tokens import Bearer, Tokens
from posthouse.settle.journal import Journal
from posthouse.wire.batch import results_of
from posthouse.wire.message import Unsendable
from posthouse.wire.renderer import AnyRenderer

log = structlog.get_logger()

EXPIRED: Final = "expired"
CANCELLED: Final = "cancelled"
REVOKED: Final = "revoked"
BEHIND: Final = "behind"
REFUSED: Final = "refused"
UNAUTHORIZED: Final = 401
TOTAL_SECONDS_MIN: Final = 0.001  # that are left to a request after its token


class Told(msgspec.Struct, gc=False):
    """What a lane is told of a request: the fate of each of its deliveries, in order. `seconds` is how long the target took,
    None where nothing was asked of it. `adopted` are those that the lane was given anew when their results were on their way
    already: what came of them is not recorded for who gave them."""

    fates: Sequence[Fate]
    seconds: float | None = None
    overloaded: bool = False
    adopted: Sequence[Delivery] = ()


# Looked up once: a member of an enumeration is found by Python code (in 3.11).
_SETTLED: Final = Fate.SETTLED
_OWED: Final = Fate.OWED
_CONFIRMED: Final = Confirm()


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
        self.tokens = Tokens(transport, clock)
        self.asking: set[DeliveryKey] = set()
        """Deliveries of whose request nothing is sent yet: it is looked up whether it may be."""

    async def attempt(self, peer: Peer, load: Sequence[Delivery]) -> Told:
        """Send these in one request and record what came of it, or first give up those that are not to be sent any more. Raises
        only for faults of our own, and then nothing is recorded."""
        endpoint = peer.endpoint
        now = self._clock.now()
        if len(load) == 1:
            event = load[0].event
            if event.app_id is not None and event.expires_at is None and endpoint.max_age is None:
                over = None  # nearly all: nothing to look at, and so nothing to wait for
            else:
                over = await self._over(load[0], endpoint, now, load)
            if over is not None:
                self.give_up(load[0], endpoint, over)
                return Told((_SETTLED,))
        else:
            reasons = [await self._over(delivery, endpoint, now, load) for delivery in load]
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
        request_id = None if endpoint.batch is None and len(load) == 1 else self._clock.new_id()
        ordered = first.line != UNORDERED if len(load) == 1 else any(delivery.line for delivery in load)
        fence = self._fence(load) if ordered else None
        bearer: Bearer | None = None
        token = circuit.began(started_at)
        try:
            if renderer.grant is not None:
                bearer = await self.tokens.bearer(renderer.grant, seconds=endpoint.timeouts.total)
            if isinstance(bearer, Failure):
                result: Result = bearer
            else:
                request = self._rendered(renderer, load, request_id, started_at, bearer)
                result = await self._transport.send(request, may_write=fence)
        except Unsendable as error:
            result = Failure(Fault.UNSENDABLE, str(error), NO_TIMINGS)
            bad = self._unsendable(renderer, load, started_at)
            if 0 < len(bad) < len(load):
                circuit.ended(token, failed=None, now=self._clock.now())
                made = Made(route.url, result, request_id, started_at, self._clock.now(), peer.health, classify(result))
                return await self._without(peer, load, bad, made)
        except BaseException:
            circuit.ended(token, failed=None, now=self._clock.now())
            raise
        now = self._clock.now()
        verdict = classify(result)
        confirmed = verdict == CONFIRMED  # such an answer has a status of 2xx, and says nothing else of the target
        down = not confirmed and is_down(result)
        overloaded = not confirmed and is_overloaded(result)
        again = False
        if bearer is not None and isinstance(result, Answer) and result.status == UNAUTHORIZED:
            again = self._renewed(renderer, bearer, load)
        elif down and len(peer.routes) > 1:
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
            held_until=None if confirmed else held_until(result, now=now),
            now=now,
        )
        made = Made(route.url, result, request_id, started_at, now, before, verdict)
        if again:
            for delivery in load:
                attempt = self._recorded(delivery, endpoint, AttemptOutcome.FAILED, verdict, made)
                self._journal.note(delivery, attempt, health=turn)
                self._tell(attempt, delivery, now)
            return Told([Fate.AGAIN] * len(load), result.timings.total_us / 1e6, overloaded)
        late: list[LateResult] = []
        if request_id is None:
            fate = self._settle(peer, first, made, None, turn, late)
            fates: Sequence[Fate] = (fate,)
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
        adopted = await self._settle_late(load, fates, late, now) if late else ()
        return Told(fates, result.timings.total_us / 1e6, overloaded, adopted)

    def _rendered(
        self, renderer: AnyRenderer, load: Sequence[Delivery], request_id: bytes | None, now: float, bearer: str | None
    ) -> Request:
        """Raises Unsendable. What had to wait for a token has so much less time for itself."""
        first = load[0]
        replay = first.kind is DeliveryClass.REPLAY
        if request_id is None:
            request = renderer.render(first.event, now=now, replay=replay, token=bearer)
        else:
            events = [delivery.event for delivery in load]
            request = renderer.render_batch(events, now=now, replay=replay, request_id=request_id, token=bearer)
        if bearer is None:
            return request
        timeouts = request.timeouts
        total = max(timeouts.total - (self._clock.now() - now), TOTAL_SECONDS_MIN)
        return msgspec.structs.replace(request, timeouts=msgspec.structs.replace(timeouts, total=total))

    def _renewed(self, renderer: AnyRenderer, bearer: Bearer, load: Sequence[Delivery]) -> bool:
        """Whether these go again at once, with another token: the target refused this one. Each attempt does so once."""
        grant = renderer.grant
        assert grant is not None, "it brought the token"
        assert isinstance(bearer, str), "there was an answer"
        if any(delivery.renewed for delivery in load) or not self.tokens.refused(grant, bearer):
            return False
        if not all(map(self._journal.owns, load)):
            return False
        for delivery in load:
            delivery.renewed = True
        return True

    def _unsendable(self, renderer: AnyRenderer, load: Sequence[Delivery], now: float) -> dict[int, str]:
        """Which of a batch cannot be written, by their place in it, and why."""
        bad: dict[int, str] = {}
        for place, delivery in enumerate(load if len(load) > 1 else ()):
            try:
                renderer.render_batch([delivery.event], now=now, replay=False, request_id=bytes(16))
            except Unsendable as error:
                bad[place] = str(error)
        return bad

    async def _without(self, peer: Peer, load: Sequence[Delivery], bad: dict[int, str], made: Made) -> Told:
        """Settle those of a batch that cannot be written; the others go again at once, but for those of the same lines, which
        become rows in their order. Nothing was asked of the target."""
        late: list[LateResult] = []
        lines = {load[place].line for place in bad} - {UNORDERED}
        fates = []
        for place, delivery in enumerate(load):
            if place in bad:
                failed = msgspec.structs.replace(made, result=Failure(Fault.UNSENDABLE, bad[place], NO_TIMINGS))
                fates.append(self._settle(peer, delivery, failed, None, None, late))
            elif delivery.line in lines:
                fates.append(self._settle(peer, delivery, made, BEHIND, None, late))
            else:
                fates.append(Fate.AGAIN if self._journal.owns(delivery) else Fate.SETTLED)
        adopted = await self._settle_late(load, fates, late, made.ended_at) if late else ()
        return Told(fates, adopted=adopted)

    async def _settle_late(
        self, load: Sequence[Delivery], fates: Sequence[Fate], late: list[LateResult], now: float
    ) -> Sequence[Delivery]:
        """Put on record what is not ours to record any more; which of these are ours again by then, and were adopted."""
        epochs = [delivery.epoch for delivery in load]
        try:
            await self._store.settle_late(late, sender=self._owner, now=now)
        except StoreUnavailable as error:
            log.warning("sender.late_answer_lost", error=str(error))  # the rows fall due: repeats, no loss
        return [
            delivery
            for delivery, epoch, fate in zip(load, epochs, fates, strict=True)
            if delivery.epoch != epoch and fate is not Fate.AGAIN
        ]

    def _fence(self, load: Sequence[Delivery]) -> Callable[[], bool]:
        """Whether these may still be written: the leases hold, and their partition was not handed over meanwhile."""
        return lambda: self._may_write() and all(map(self._journal.owns, load))

    def _settle(
        self,
        peer: Peer,
        delivery: Delivery,
        made: Made,
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
        elif refused is None and made.reason == CONFIRMED:
            decision, owed = _CONFIRMED, None
        else:
            decision = decide(
                result,
                endpoint.retry,
                number=delivery.number,
                failing_since=made.before.failing_since,
                now=now,
                draw=self._clock.draw(),
                blocks=endpoint.on_exhausted is OnExhausted.BLOCK and delivery.line != 0,
                reason=refused or made.reason,
            )
            owed = owed_after(delivery, endpoint, decision)
        attempt = self._recorded(delivery, endpoint, outcome_of(decision), refused or made.reason, made, words)
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
        return _SETTLED if owed is None else _OWED

    def _tell(self, attempt: Attempt, delivery: Delivery, now: float) -> None:
        self._telemetry.attempt(attempt.outcome, attempt.reason, delivery.kind, attempt.timings.total_us / 1e6)
        if attempt.reason == CONFIRMED:
            self._telemetry.delivered_after(now - delivery.event.created_at)

    async def _over(self, delivery: Delivery, endpoint: Endpoint, now: float, load: Sequence[Delivery]) -> str | None:
        """Why it, one of a load, is not sent any more. Raises StoreUnavailable, NotOwner."""
        event = delivery.event
        if delivery.kind is DeliveryClass.LIVE:
            expires_at = expiry(event, endpoint)
            if expires_at is not None and expires_at <= now:
                return EXPIRED
        if event.app_id is None and not await self._permitted(delivery, endpoint, now, load):
            return REVOKED
        return None

    async def _permitted(self, delivery: Delivery, endpoint: Endpoint, now: float, load: Sequence[Delivery]) -> bool:
        """Whether the endpoint's app may still have a platform event. Raises StoreUnavailable, and NotOwner where it took so
        long to find out that the partition may be another's."""
        event = delivery.event
        # What is sent again on request may be asked for a moment after a grant was taken away: that moment counts.
        if delivery.kind is DeliveryClass.LIVE and endpoint.grants.leaves(event, now=now):
            return True
        keys = [waiting.key for waiting in load]
        self.asking.update(keys)
        try:
            covered = await self._store.covered(endpoint.app_id, event.type, event.subject)
        finally:
            self.asking.difference_update(keys)
        if not (self._may_write() and self._journal.owns(delivery)):
            raise NotOwner("the partition was lost while it was looked up whether an event may be sent")
        return covered

    def abandon(self, owed: Owed, event: Event | None, endpoint: Endpoint | None, *, epoch: int, reason: str) -> None:
        """Settle a row that can never be sent: its event was dropped (then it has no app on record), or its endpoint."""
        self.give_up(*left_over(owed, event, endpoint, epoch=epoch), reason)

    def give_up(self, delivery: Delivery, endpoint: Endpoint, reason: str) -> None:
        """Settle a delivery without a request: expired, cancelled, …"""
        attempt = self._recorded(delivery, endpoint, AttemptOutcome.GAVE_UP, reason, None)
        self._journal.record(delivery, attempt, None)
        self._telemetry.attempt(AttemptOutcome.GAVE_UP.value, reason, delivery.kind.value, 0.0)

    def _recorded(
        self,
        delivery: Delivery,
        endpoint: Endpoint,
        outcome: AttemptOutcome,
        reason: str,
        made: Made | None,
        words: str | None = None,
    ) -> Attempt:
        id, now = AttemptId(self._clock.new_id()), self._clock.now() if made is None else made.started_at
        return attempt_of(id, delivery, endpoint, outcome, reason, made, words, now=now)
