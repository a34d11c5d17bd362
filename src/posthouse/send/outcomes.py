"""What came of attempts: it goes on record, and to who must hear of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from posthouse.domain.callback import CONFIRMED, Confirm, Decision, Disable, RetryAt, decide
from posthouse.domain.delivery import Attempt, AttemptOutcome, Delivery, Effect, Fate, HealthTurn, Owed, OwedReason
from posthouse.domain.endpoint import Endpoint, OnExhausted
from posthouse.domain.event import Event
from posthouse.domain.exchange import NO_TIMINGS, Answer, Failure, Fault
from posthouse.domain.ids import AttemptId
from posthouse.domain.order import UNORDERED
from posthouse.ports.clock import Clock
from posthouse.ports.store import LateResult, Store
from posthouse.ports.telemetry import Telemetry
from posthouse.send.aftermath import follow
from posthouse.send.late import LateAnswers
from posthouse.send.owing import outcome_of, owed_after, owed_row
from posthouse.send.peer import Peer
from posthouse.send.reactions import Reactions
from posthouse.send.record import Made, attempt_of, left_over
from posthouse.send.told import Told
from posthouse.settle.journal import Journal
from posthouse.wire.batch import results_of

CANCELLED: Final = "cancelled"
BEHIND: Final = "behind"
REFUSED: Final = "refused"

# Looked up once: a member of an enumeration is found by Python code (in 3.11).
_SETTLED: Final = Fate.SETTLED
_OWED: Final = Fate.OWED
_CONFIRMED: Final = Confirm()
_PLAIN: Final = (Confirm, RetryAt)  # decisions that make nothing else happen


class Outcomes:
    """Puts on record what came of deliveries, with what answers make happen (`reactions`). `disabled` is told at once when a
    target ended its endpoint."""

    def __init__(
        self,
        journal: Journal,
        store: Store,
        clock: Clock,
        telemetry: Telemetry,
        reactions: Reactions,
        *,
        owner: bytes,
        disabled: Callable[[Peer], None],
    ) -> None:
        self.reactions = reactions
        self.late = LateAnswers(store, owner)
        self._journal = journal
        self._clock = clock
        self._telemetry = telemetry
        self._disabled = disabled

    def settle(
        self, peer: Peer, load: Sequence[Delivery], made: Made, health: HealthTurn | None, late: list[LateResult]
    ) -> Sequence[Fate]:
        """Record what a request brought to each of its deliveries. What is not ours to record any more is added to `late`,
        which is to be settled next."""
        if made.request_id is None:
            return (self._settle(peer, load[0], made, None, health, late),)
        body = made.read.body if isinstance(made.read, Answer) and made.reason == CONFIRMED else b""
        results = results_of(200, body, [delivery.event.id for delivery in load])
        behind: set[int] = set()
        fates = []
        for delivery, told in zip(load, results, strict=True):
            refused = None if told.confirmed else REFUSED
            if refused is None and delivery.line in behind:
                refused = BEHIND  # of an ordered line, what follows one that is sent again is sent again, too
            fate = self._settle(peer, delivery, made, refused, health, late, told.reason or None)
            health = None
            if made.reacting is not None:
                made = msgspec.structs.replace(made, reacting=made.reacting.repeated)
            if fate is Fate.OWED and delivery.line:
                behind.add(delivery.line)
            fates.append(fate)
        return fates

    def repeat(self, load: Sequence[Delivery], endpoint: Endpoint, made: Made, health: HealthTurn | None) -> None:
        """Record a request whose deliveries go again at once: to another URL, with another token, over another connection."""
        reacting = made.reacting
        for delivery in load:
            attempt = self._recorded(delivery, endpoint, AttemptOutcome.FAILED, made.reason, made)
            effects: tuple[Effect, ...] = ()
            if reacting is not None and not delivery.renewed:  # an answer to a token says nothing of the event
                attempt, effects = self.reactions.record(reacting, attempt, endpoint, delivery.event, made.ended_at)
                reacting = reacting.repeated
            self._journal.note(delivery, attempt, health=health, effects=effects)
            self._tell(attempt, delivery, made.ended_at)

    async def without(self, peer: Peer, load: Sequence[Delivery], bad: dict[int, str], made: Made) -> Told:
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
        adopted = await self.late.settle(load, fates, late, made.ended_at) if late else ()
        return Told(fates, adopted=adopted)

    def give_up_some(
        self, load: Sequence[Delivery], endpoint: Endpoint, why: Sequence[tuple[str, str | None] | None]
    ) -> Told:
        """Give those up for which there is a reason; the others go again at once, without them."""
        for delivery, over in zip(load, why, strict=True):
            if over is not None:
                self.give_up(delivery, endpoint, *over)
        goes_on = [over is None and self._journal.owns(delivery) for delivery, over in zip(load, why, strict=True)]
        return Told([Fate.AGAIN if goes else Fate.SETTLED for goes in goes_on])

    def abandon(self, owed: Owed, event: Event | None, endpoint: Endpoint | None, *, epoch: int, reason: str) -> None:
        """Settle a row that can never be sent: its event was dropped (then it has no app on record), or its endpoint."""
        self.give_up(*left_over(owed, event, endpoint, epoch=epoch), reason)

    def give_up(self, delivery: Delivery, endpoint: Endpoint, reason: str, words: str | None = None) -> None:
        """Settle a delivery without a request: expired, cancelled, …; `words` say more than the reason."""
        attempt = self._recorded(delivery, endpoint, AttemptOutcome.GAVE_UP, reason, None, words)
        self._journal.record(delivery, attempt, None)
        self._telemetry.attempt(AttemptOutcome.GAVE_UP.value, reason, delivery.kind.value, 0.0)

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
