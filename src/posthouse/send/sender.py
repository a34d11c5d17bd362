"""One attempt of a delivery, from its bytes to its record."""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, TypeVar

import msgspec

from posthouse.domain.callback import (
    CONFIRMED,
    Confirm,
    Decision,
    Disable,
    RetryAt,
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
    DeliveryKey,
    Effect,
    Fate,
    HealthTurn,
    Owed,
    OwedReason,
)
from posthouse.domain.endpoint import Endpoint, OnExhausted
from posthouse.domain.errors import NotOwner, PosthouseError
from posthouse.domain.event import Event
from posthouse.domain.exchange import NO_TIMINGS, Answer, Failure, Fault, Result
from posthouse.domain.ids import AttemptId
from posthouse.domain.order import UNORDERED
from posthouse.ports.clock import Clock
from posthouse.ports.expressions import NO_EXPRESSIONS, Expressions
from posthouse.ports.store import LateResult, Store
from posthouse.ports.telemetry import Telemetry
from posthouse.ports.transport import Transport
from posthouse.send.aftermath import follow
from posthouse.send.ending import Ending
from posthouse.send.judge import Judge, Judgement, elsewhere, plainly
from posthouse.send.late import LateAnswers
from posthouse.send.owing import outcome_of, owed_after, owed_row
from posthouse.send.peer import ELSEWHERE, Peer
from posthouse.send.preparing import Prepared, Unready, prepare, unsendable
from posthouse.send.reactions import Reacting, Reactions
from posthouse.send.record import Made, attempt_of, left_over
from posthouse.send.rendering import rendered
from posthouse.send.tokens import Bearer, Tokens
from posthouse.send.told import Told, anew
from posthouse.settle.chains import Chains
from posthouse.settle.journal import Journal
from posthouse.wire.batch import results_of
from posthouse.wire.message import Unsendable
from posthouse.wire.renderer import AnyRenderer

T = TypeVar("T")

CANCELLED: Final = "cancelled"
BEHIND: Final = "behind"
REFUSED: Final = "refused"
UNAUTHORIZED: Final = 401


# Looked up once: a member of an enumeration is found by Python code (in 3.11).
_SETTLED: Final = Fate.SETTLED
_OWED: Final = Fate.OWED
_CONFIRMED: Final = Confirm()
_PLAIN: Final = (Confirm, RetryAt)  # decisions that make nothing else happen


class Sender:
    """Makes attempts and records what came of them, with what answers make happen (`reactions`). `disabled` is told at once
    when a target ended it; `may_write` says whether what belongs to an ordered line may still be sent."""

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
        expressions: Expressions = NO_EXPRESSIONS,
        reactions: Reactions | None = None,
    ) -> None:
        self._transport = transport
        self._journal = journal
        self._store = store
        self._clock = clock
        self._telemetry = telemetry
        self._disabled = disabled
        self._may_write = may_write
        self._expressions = expressions
        self._late = LateAnswers(store, owner)
        self._ending = Ending(store, journal, may_write, expressions)
        self._judge = Judge(expressions)
        self.reactions = reactions or Reactions(expressions, Chains(clock))
        self.tokens = Tokens(transport, clock)
        self.asking: set[DeliveryKey] = set()
        """Deliveries of whose request nothing is sent yet: it is looked up whether it may be, or what is sent."""
        self.settling = self._late.settling

    async def attempt(self, peer: Peer, load: Sequence[Delivery]) -> Told:
        """Send these in one request and record what came of it, or first give up those that are not to be sent any more. Raises
        only for faults of our own, and then nothing is recorded."""
        endpoint = peer.endpoint
        now = self._clock.now()
        if len(load) == 1:
            event = load[0].event
            if (
                event.app_id is not None
                and event.expires_at is None
                and endpoint.max_age is None
                and not load[0].replayed
            ):
                over = None  # nearly all: nothing to look at, and so nothing to wait for
            else:
                over = await self._asked(load, self._ending.over(load[0], endpoint, now))
            if over is not None:
                self.give_up(load[0], endpoint, *over)
                return Told((_SETTLED,))
        else:
            reasons = await self._asked(load, self._ending.reasons(load, endpoint, now))
            if any(reasons):
                return self._but(load, endpoint, reasons)
        ready: Prepared | None = None
        if peer.transformation is not None and load[0].event.to_url is None:
            prepared = await self._asked(load, prepare(self._expressions, peer, load))
            now = self._clock.now()
            if not self._may_send(load):
                raise NotOwner("the partition was lost while expressions were evaluated")
            if isinstance(prepared, Unready):
                return self._but(load, endpoint, prepared.why)
            ready = prepared
        if not peer.usable:
            raise PosthouseError("the endpoint was changed into one that cannot be spoken to")
        index = peer.choose(load[0], now, self._clock.draw())
        if index is None:
            # What could be spoken to when it was taken cannot any more: a circuit opened meanwhile.
            for delivery in load:
                row = owed_row(delivery, endpoint, number=delivery.number, due_at=now, reason=peer.quiet_reason)
                self._journal.owe(delivery, row)
            return Told([Fate.OWED] * len(load))
        return await self._request(peer, load, index, now, ready)

    async def _asked(self, load: Sequence[Delivery], answer: Coroutine[Any, Any, T]) -> T:
        """Wait for what decides whether, or as what, these are sent; who waits for that finds out afterwards whether they are
        still ours."""
        keys = [delivery.key for delivery in load]
        self.asking.update(keys)
        try:
            return await answer
        finally:
            self.asking.difference_update(keys)

    async def _request(
        self, peer: Peer, load: Sequence[Delivery], index: int, started_at: float, ready: Prepared | None
    ) -> Told:
        endpoint, first = peer.endpoint, load[0]
        route = peer.routes[index] if index is not ELSEWHERE else peer.elsewhere(first.event)
        circuit, renderer, url = route.circuit, route.renderer, route.url
        if ready is not None:
            assert renderer is not None, "another route is not chosen"
            renderer, url = ready.by(renderer), ready.url or url
        request_id = None if endpoint.batch is None and len(load) == 1 else self._clock.new_id()
        ordered = first.line != UNORDERED if len(load) == 1 else any(delivery.line for delivery in load)
        fence = (lambda: self._may_send(load)) if ordered else None
        bearer: Bearer | None = None
        judgement: Judgement | None = None
        reacting: Reacting | None = None
        stale = False  # it went out on a kept connection that died, and goes again over a new one
        read: Result | None = None  # what its rules see, where that is not what came
        opener = peer.opener
        token = circuit.began(started_at)
        try:
            if renderer is None:
                raise Unsendable("the URL that this was forwarded to cannot be spoken to")
            if renderer.grant is not None:
                bearer = await self._asked(load, self.tokens.bearer(renderer.grant, seconds=endpoint.timeouts.total))
                if not self._may_send(load):
                    raise NotOwner("the partition was lost while a token was asked for")
            if isinstance(bearer, Failure):
                result: Result = bearer
            else:
                request = rendered(renderer, load, request_id, started_at, bearer, self._clock)
                fresh = first.anew if len(load) == 1 else any(delivery.anew for delivery in load)
                result = await self._transport.send(request, may_write=fence, once=True, anew=fresh)
                stale = isinstance(result, Failure) and result.stale and anew(load, self._journal.owns)
                has_rules = endpoint.ack is not None or endpoint.on_response or opener is not None
                if has_rules and index is not ELSEWHERE and not stale:
                    read = result if opener is None else opener(result)
                    judgement = await self._judge.judge(endpoint, first.event, read, first.number)
                    reacting = await self.reactions.prepare(judgement, endpoint, first, read)
        except Unsendable as error:
            result = Failure(Fault.UNSENDABLE, str(error), NO_TIMINGS)
            bad = {} if renderer is None else unsendable(renderer, load, started_at)
            if 0 < len(bad) < len(load):
                circuit.ended(token, failed=None, now=self._clock.now())
                made = Made(url, result, request_id, started_at, self._clock.now(), peer.health, result.fault.value)
                return await self._without(peer, load, bad, made)
        except BaseException:
            circuit.ended(token, failed=None, now=self._clock.now())
            raise
        now = self._clock.now()
        if read is None:
            read = result
        if judgement is None:
            judgement = plainly(result) if index is not ELSEWHERE else elsewhere(result)
            if judgement.rule is not None:
                reacting = self.reactions.simple(judgement, endpoint, result)
        confirmed = judgement.reason == CONFIRMED  # whatever its status, it says nothing else of the target
        down = not confirmed and is_down(result)
        overloaded = not confirmed and is_overloaded(result)
        again = stale
        if bearer is not None and not confirmed and isinstance(result, Answer) and result.status == UNAUTHORIZED:
            again = self._renewed(renderer, bearer, load)
        elif down and not stale and len(peer.routes) > 1 and not judgement.settled and index is not ELSEWHERE:
            for delivery in load:
                delivery.tried |= 1 << index
            # Of a partition that was lost meanwhile nothing more is sent: its successor does.
            again = peer.choose(first, now, 0.0) is not None and all(map(self._journal.owns, load))
        if index is ELSEWHERE or stale:  # which says nothing of the endpoint
            before, turn = HEALTHY, None
            circuit.ended(token, failed=None, now=now)
        else:
            before = HEALTHY if confirmed and peer.calm and peer.failing_since is None else peer.health
            turn = peer.ended(
                circuit,
                token,
                confirmed=None if again or judgement.ours else confirmed or (judgement.content and not down),
                down=down,
                held_until=None if confirmed else held_until(result, now=now),
                now=now,
            )
        verdict = judgement.reason
        made = Made(url, result, request_id, started_at, now, before, verdict, judgement.words, reacting, read)
        if again:
            for delivery in load:
                attempt = self._recorded(delivery, endpoint, AttemptOutcome.FAILED, verdict, made)
                effects: tuple[Effect, ...] = ()
                if reacting is not None and not delivery.renewed:  # an answer to a token says nothing of the event
                    attempt, effects = self.reactions.record(reacting, attempt, endpoint, delivery.event, now)
                    reacting = reacting.repeated
                self._journal.note(delivery, attempt, health=turn, effects=effects)
                self._tell(attempt, delivery, now)
            return Told([Fate.AGAIN] * len(load), result.timings.total_us / 1e6, overloaded)
        late: list[LateResult] = []
        if request_id is None:
            fate = self._settle(peer, first, made, None, turn, late)
            fates: Sequence[Fate] = (fate,)
        else:
            body = read.body if isinstance(read, Answer) and confirmed else b""
            results = results_of(200, body, [delivery.event.id for delivery in load])
            behind: set[int] = set()
            fates = []
            for delivery, told in zip(load, results, strict=True):
                reason = None if told.confirmed else REFUSED
                if reason is None and delivery.line in behind:
                    reason = BEHIND  # of an ordered line, what follows one that is sent again is sent again, too
                fate = self._settle(peer, delivery, made, reason, turn, late, told.reason or None)
                turn = None
                if made.reacting is not None:
                    made = msgspec.structs.replace(made, reacting=made.reacting.repeated)
                if fate is Fate.OWED and delivery.line:
                    behind.add(delivery.line)
                fates.append(fate)
        adopted = await self._late.settle(load, fates, late, now) if late else ()
        return Told(fates, result.timings.total_us / 1e6, overloaded, adopted)

    def _renewed(self, renderer: AnyRenderer | None, bearer: Bearer, load: Sequence[Delivery]) -> bool:
        """Whether these go again at once, with another token: the target refused this one. Each attempt does so once."""
        grant = None if renderer is None else renderer.grant
        assert grant is not None, "it brought the token"
        assert isinstance(bearer, str), "there was an answer"
        if any(delivery.renewed for delivery in load) or not self.tokens.refused(grant, bearer):
            return False
        if not all(map(self._journal.owns, load)):
            return False
        for delivery in load:
            delivery.renewed = True
        return True

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
        adopted = await self._late.settle(load, fates, late, made.ended_at) if late else ()
        return Told(fates, adopted=adopted)

    def _may_send(self, load: Sequence[Delivery]) -> bool:
        """Whether these may still be written: the leases hold, and their partition was not handed over meanwhile."""
        return self._may_write() and all(map(self._journal.owns, load))

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
            retry = endpoint.retry
            decision = decide(
                result,
                retry.of(delivery.event.type) if retry.by_type else retry,
                number=delivery.number,
                failing_since=made.before.failing_since,
                now=now,
                draw=self._clock.draw(),
                blocks=endpoint.on_exhausted is OnExhausted.BLOCK and delivery.line != 0,
                reason=refused or made.reason,
                rule=made.reacting.rule if made.reacting is not None and refused is None else None,
            )
            owed = owed_after(delivery, endpoint, decision)
        attempt = self._recorded(delivery, endpoint, outcome_of(decision), refused or made.reason, made, words)
        effects: tuple[Effect, ...] = ()
        if health is not None or not isinstance(decision, _PLAIN):
            effects = follow(attempt, delivery.event.type, decision, made.before, health, now)
        if made.reacting is not None and refused is not BEHIND:
            attempt, more = self.reactions.record(made.reacting, attempt, endpoint, delivery.event, now)
            effects += more
        if self.reactions.calls is not None and refused is not BEHIND:
            effects += self.reactions.calls.caused(attempt, endpoint, delivery.event, made.read or result, effects)
        ours = self._journal.record(delivery, attempt, owed, effects=effects, health=health)
        self._tell(attempt, delivery, now)
        if ours and isinstance(decision, Disable):  # else it is not on record: the endpoint goes on
            self._disabled(peer)
        if not ours and delivery.row:
            # The partition moved on while the request ran. Its row, if it still says that we are sending, is ours to settle.
            late.append((attempt, owed, effects))
        return _SETTLED if owed is None else _OWED

    def _tell(self, attempt: Attempt, delivery: Delivery, now: float) -> None:
        self._telemetry.attempt(attempt.outcome, attempt.reason, delivery.kind, attempt.timings.total_us / 1e6)
        if attempt.reason == CONFIRMED:
            self._telemetry.delivered_after(now - delivery.event.created_at)

    def abandon(self, owed: Owed, event: Event | None, endpoint: Endpoint | None, *, epoch: int, reason: str) -> None:
        """Settle a row that can never be sent: its event was dropped (then it has no app on record), or its endpoint."""
        self.give_up(*left_over(owed, event, endpoint, epoch=epoch), reason)

    def _but(self, load: Sequence[Delivery], endpoint: Endpoint, why: Sequence[tuple[str, str | None] | None]) -> Told:
        """Give those up for which there is a reason; the others go again at once, without them."""
        for delivery, over in zip(load, why, strict=True):
            if over is not None:
                self.give_up(delivery, endpoint, *over)
        goes_on = [over is None and self._journal.owns(delivery) for delivery, over in zip(load, why, strict=True)]
        return Told([Fate.AGAIN if goes else Fate.SETTLED for goes in goes_on])

    def give_up(self, delivery: Delivery, endpoint: Endpoint, reason: str, words: str | None = None) -> None:
        """Settle a delivery without a request: expired, cancelled, …; `words` say more than the reason."""
        attempt = self._recorded(delivery, endpoint, AttemptOutcome.GAVE_UP, reason, None, words)
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
