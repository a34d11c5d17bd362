"""One attempt of a delivery, from its bytes to its record."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, TypeVar

from posthouse.domain.callback import (
    CONFIRMED,
    held_until,
    is_down,
    is_overloaded,
)
from posthouse.domain.circuit import HEALTHY
from posthouse.domain.delivery import (
    Delivery,
    DeliveryKey,
    Fate,
)
from posthouse.domain.errors import NotOwner, PosthouseError
from posthouse.domain.exchange import NO_TIMINGS, Answer, Failure, Fault, Result
from posthouse.domain.order import UNORDERED
from posthouse.ports.clock import Clock
from posthouse.ports.expressions import NO_EXPRESSIONS, Expressions
from posthouse.ports.store import LateResult, Store
from posthouse.ports.transport import Transport
from posthouse.ports.writing import WRITTEN_HERE, Writer
from posthouse.send.ending import Ending
from posthouse.send.judge import Judge, Judgement, elsewhere, plainly
from posthouse.send.outcomes import Outcomes
from posthouse.send.owing import owed_row
from posthouse.send.peer import ELSEWHERE, Peer
from posthouse.send.preparing import Prepared, Unready, prepare, unsendable
from posthouse.send.reactions import Reacting
from posthouse.send.record import Made
from posthouse.send.rendering import order_of, rendered, written_at_once
from posthouse.send.tokens import Bearer, Tokens
from posthouse.send.told import Told, anew
from posthouse.settle.journal import Journal
from posthouse.wire.message import Unsendable
from posthouse.wire.renderer import AnyRenderer

T = TypeVar("T")

UNAUTHORIZED: Final = 401
_SETTLED: Final = Fate.SETTLED  # looked up once: a member of an enumeration is found by Python code (in 3.11)


class Sender:
    """Makes attempts, and has what came of them put on record. `may_write` says whether what belongs to an ordered line may
    still be sent."""

    def __init__(
        self,
        transport: Transport,
        outcomes: Outcomes,
        journal: Journal,
        store: Store,
        clock: Clock,
        *,
        may_write: Callable[[], bool] = lambda: True,
        expressions: Expressions = NO_EXPRESSIONS,
        writer: Writer = WRITTEN_HERE,
    ) -> None:
        self._transport = transport
        self._writer = writer
        self._outcomes = outcomes
        self._journal = journal
        self._clock = clock
        self._may_write = may_write
        self._expressions = expressions
        self._ending = Ending(store, journal, may_write, expressions)
        self._judge = Judge(expressions)
        self.tokens = Tokens(transport, clock)
        self.asking: set[DeliveryKey] = set()
        """Deliveries of whose request nothing is sent yet: it is looked up whether it may be, or what is sent."""

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
                self._outcomes.give_up(load[0], endpoint, *over)
                return Told((_SETTLED,))
        else:
            reasons = await self._asked(load, self._ending.reasons(load, endpoint, now))
            if any(reasons):
                return self._outcomes.give_up_some(load, endpoint, reasons)
        ready: Prepared | None = None
        if peer.transformation is not None and load[0].event.to_url is None:
            prepared = await self._asked(load, prepare(self._expressions, self._writer, peer, load))
            now = self._clock.now()
            if not self._may_send(load):
                raise NotOwner("the partition was lost while expressions were evaluated")
            if isinstance(prepared, Unready):
                return self._outcomes.give_up_some(load, endpoint, prepared.why)
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
                if renderer.at_once_bytes is None or written_at_once(renderer, [delivery.event for delivery in load]):
                    request = rendered(renderer, load, request_id, started_at, bearer, self._clock)
                else:
                    order = order_of(renderer, load, request_id, started_at, bearer)
                    request = await self._asked(load, self._writer.write(order))
                    if not self._may_send(load):
                        raise NotOwner("the partition was lost while a request was written")
                fresh = first.anew if len(load) == 1 else any(delivery.anew for delivery in load)
                result = await self._transport.send(request, may_write=fence, once=True, anew=fresh)
                stale = isinstance(result, Failure) and result.stale and anew(load, self._journal.owns)
                has_rules = endpoint.ack is not None or endpoint.on_response or opener is not None
                if has_rules and index is not ELSEWHERE and not stale:
                    read = result if opener is None else opener(result)
                    judgement = await self._judge.judge(endpoint, first.event, read, first.number)
                    reacting = await self._outcomes.reactions.prepare(judgement, endpoint, first, read)
        except Unsendable as error:
            result = Failure(Fault.UNSENDABLE, str(error), NO_TIMINGS)
            try:
                bad = {} if renderer is None else await unsendable(self._writer, renderer, load, started_at)
            except BaseException:
                circuit.ended(token, failed=None, now=self._clock.now())
                raise
            if 0 < len(bad) < len(load):
                circuit.ended(token, failed=None, now=self._clock.now())
                made = Made(url, result, request_id, started_at, self._clock.now(), peer.health, result.fault.value)
                return await self._outcomes.without(peer, load, bad, made)
        except BaseException:
            circuit.ended(token, failed=None, now=self._clock.now())
            raise
        now = self._clock.now()
        if read is None:
            read = result
        if judgement is None:
            judgement = plainly(result) if index is not ELSEWHERE else elsewhere(result)
            if judgement.rule is not None:
                reacting = self._outcomes.reactions.simple(judgement, endpoint, result)
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
            self._outcomes.repeat(load, endpoint, made, turn)
            return Told([Fate.AGAIN] * len(load), result.timings.total_us / 1e6, overloaded)
        late: list[LateResult] = []
        fates = self._outcomes.settle(peer, load, made, turn, late)
        adopted = await self._outcomes.late.settle(load, fates, late, now) if late else ()
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

    def _may_send(self, load: Sequence[Delivery]) -> bool:
        """Whether these may still be written: the leases hold, and their partition was not handed over meanwhile."""
        return self._may_write() and all(map(self._journal.owns, load))
