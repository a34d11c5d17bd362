"""Calls of callback handlers that the journal recorded with the attempts that caused them.

A call is made at least once and its end is put on record once: what the handlers ask for and the removal of the call are one
transaction. Calls run beside each other and beside all other follow-ups, which never wait for them; they have no order.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any, Final, assert_never

import structlog

from posthouse.domain.action import AnyAction, Resend
from posthouse.domain.calling import (
    CallData,
    CallFailed,
    Done,
    FailedBecause,
    Patterns,
    Unavailable,
    again_after,
    call_effect,
    read_call,
)
from posthouse.domain.chaining import depth_of, effects_of
from posthouse.domain.delivery import Attempt, Effect, EffectKind
from posthouse.domain.endpoint import Endpoint
from posthouse.domain.errors import Invalid, PosthouseError, StoreRejected, StoreUnavailable
from posthouse.domain.event import Event
from posthouse.domain.exchange import Answer, Result
from posthouse.domain.ids import AttemptId
from posthouse.domain.limits import (
    CALL_UNAVAILABLE_SECONDS,
    CALLS_LOOK_SECONDS,
    CALLS_PENDING_MAX,
    CALLS_READ_MAX,
)
from posthouse.domain.operations import is_told
from posthouse.ports.calls import CallBook, CallFacts, PendingCall, Recorded
from posthouse.ports.clock import Clock
from posthouse.ports.handlers import Handlers
from posthouse.settle.call_facts import FIRST_ORDINAL, call_of, news_of, origin_of_call
from posthouse.settle.chains import Chains
from posthouse.wire.answer import redacted_answer

log = structlog.get_logger()

STORE_AGAIN_SECONDS: Final = 1.0
NOT_YET_SECONDS: Final = 0.25
OUR_FAULT_SECONDS: Final = 60.0
NO_HANDLER: Final = "no handler for this type"
TOO_MANY: Final = "too many calls wait"


class Calls:
    """Makes the calls of the partitions in `epochs`, the live map of those that are owned, `handlers.at_once` at a time.

    `recorded` is told of the follow-ups that are on record now. What was read and waits is bounded by CALLS_READ_MAX.
    """

    def __init__(
        self,
        book: CallBook,
        handlers: Handlers,
        clock: Clock,
        *,
        owner: bytes,
        epochs: Mapping[int, int],
        recorded: Callable[[Sequence[Effect]], object],
        chains: Chains,
        pending_max: int = CALLS_PENDING_MAX,
    ) -> None:
        self._book = book
        self._handlers = handlers
        self._clock = clock
        self._owner = owner
        self._epochs = epochs
        self._recorded = recorded
        self._chains = chains
        self._pending_max = pending_max
        self._wanted = Patterns(handlers.patterns)
        self._pending: Counter[int] = Counter()  # by partition; about so many
        self._read: deque[PendingCall] = deque()
        self._running: dict[AttemptId, asyncio.Task[None]] = {}
        self._look = asyncio.Event()
        self._ended = asyncio.Event()  # a call has: there is room for another one
        self._next_look = 0.0  # boot clock
        self._stopping = False
        self.made = 0
        self.failed = 0
        self.set_aside = 0
        self.left_out = 0

    # What is recorded

    def asked_for(self, attempt: Attempt, event: Event, answer: Answer) -> tuple[tuple[Effect, ...], str]:
        """The call that a response rule asks for, to be recorded with its attempt, and why there is none. `answer` is masked as
        it goes on record."""
        if not self._wanted(event.type):
            return (), NO_HANDLER
        if self._is_full(attempt):
            return (), TOO_MANY
        return (call_effect(attempt, event.type, answer),), ""

    def caused(
        self, attempt: Attempt, endpoint: Endpoint, event: Event, result: Result, others: Sequence[Effect]
    ) -> tuple[Effect, ...]:
        """The call to be recorded with an attempt: for each complete answer, and where a delivery is given up without one. None
        where there is no handler for the event; of the operators' own app; where it is among the `others` that are recorded
        already; or where so many wait that no more can."""
        if not self._wanted(event.type) or not is_told(attempt.app_id):
            return ()
        if any(other.kind is EffectKind.CALL for other in others):
            return ()
        answer = result if isinstance(result, Answer) else None
        if answer is None and not attempt.outcome.terminal:
            return ()
        if self._is_full(attempt):
            self.left_out += 1
            self._chains.troubled.callback_failed(
                attempt.app_id, attempt.endpoint_id, attempt.event_id, action="call", reason=TOO_MANY
            )
            return ()
        if answer is not None and endpoint.redact_answer is not None:
            answer = redacted_answer(answer, endpoint.redact_answer)
        return (call_effect(attempt, event.type, answer),)

    def _is_full(self, attempt: Attempt) -> bool:
        """Whether no more calls may be recorded there."""
        return self._pending[attempt.partition] >= self._pending_max

    def noted(self, effects: Sequence[Effect]) -> None:
        """The journal wrote these, calls among them."""
        mine = [effect.partition for effect in effects if effect.kind is EffectKind.CALL]
        if mine:
            self._pending.update(mine)
            self._look.set()

    async def take(self, partitions: Collection[int]) -> None:
        """These partitions were taken: look what waits there. Raises StoreUnavailable."""
        counted = await self._book.counted(partitions)
        for partition in self._epochs.keys() & set(partitions):  # others were lost meanwhile
            self._pending[partition] = counted.get(partition, 0)
        self._look.set()

    def drop(self, partitions: Collection[int]) -> None:
        """These are not ours any more. What runs goes on, but is not put on record: their new owner calls again."""
        for partition in partitions:
            self._pending.pop(partition, None)
        self._read = deque([call for call in self._read if call.effect.partition not in partitions])

    @property
    def pending(self) -> int:
        """How many are recorded and not done, in the partitions that are owned."""
        return self._pending.total()

    @property
    def running(self) -> int:
        return len(self._running)

    # Making them

    async def run(self) -> None:
        """Make what falls due until cancelled; then what runs is ended, and stays on record."""
        try:
            while True:
                await self._fill()
                self._start()
                await self._wait()
        finally:
            for task in self._running.values():
                task.cancel()
            await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def drain(self, seconds: float) -> None:
        """Start no more, and wait so long for what runs."""
        self._stopping = True
        if self._running:
            await asyncio.wait(set(self._running.values()), timeout=seconds)

    async def _fill(self) -> None:
        """Read what is due, when all that was read before has begun."""
        if self._read or self._stopping or not (self._look.is_set() or self._clock.boot() >= self._next_look):
            return
        self._look.clear()
        # What runs is due too, and is not looked for; its end may be on record by the time that this is answered.
        running = set(self._running)
        limit = CALLS_READ_MAX + len(running)
        try:
            found = await self._book.due(list(self._epochs), limit=limit) if self._epochs else []
        except StoreUnavailable as error:
            log.warning("callbacks.not_read", error=str(error))
            self._next_look = self._clock.boot() + STORE_AGAIN_SECONDS
            return
        now = self._clock.now()
        self._read.extend([call for call in found if call.due_at <= now and call.effect.id not in running])
        later = [call.due_at - now for call in found if call.due_at > now]
        self._next_look = self._clock.boot() + min([CALLS_LOOK_SECONDS, *later])
        if len(found) == limit and not later:
            self._look.set()

    def _start(self) -> None:
        while self._read and not self._stopping and len(self._running) < self._handlers.at_once:
            call = self._read.popleft()
            if call.effect.id in self._running or call.effect.partition not in self._epochs:
                continue
            task = asyncio.get_running_loop().create_task(self._make(call))
            self._running[call.effect.id] = task
            task.add_done_callback(lambda _, id=call.effect.id: self._over(id))  # type: ignore[misc]

    def _over(self, id: AttemptId) -> None:
        del self._running[id]
        self._ended.set()

    async def _wait(self) -> None:
        """Until there may be something to do."""
        self._ended.clear()
        room = len(self._running) < self._handlers.at_once
        if room and self._read and not self._stopping:
            return
        asked: list[Coroutine[Any, Any, object]] = [self._ended.wait()]
        if room and not self._stopping:
            asked += [self._look.wait(), self._clock.sleep(max(self._next_look - self._clock.boot(), 0.0))]
        waits = [asyncio.create_task(wait) for wait in asked]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _make(self, pending: PendingCall) -> None:
        """One call, and its end on record. Our own faults cost it no try; what is broken lets others go first."""
        effect = pending.effect
        epoch = self._epochs.get(effect.partition)
        if epoch is None:
            return
        try:
            await self._called(pending, epoch)
        except PosthouseError as error:
            log.warning("callback.not_recorded", error=str(error))
            await self._clock.sleep(STORE_AGAIN_SECONDS)
            self._look.set()
        except Exception:  # a fault in this code must stop neither the other calls nor everything else
            log.exception("callback.our_fault", type=effect.reason)
            due_at = self._clock.now() + OUR_FAULT_SECONDS
            await self._recording(
                lambda: self._book.again(self._owner, epoch, effect, tries=pending.tries, due_at=due_at)
            )

    async def _called(self, pending: PendingCall, epoch: int) -> None:
        effect = pending.effect
        facts = await self._book.facts(effect)
        if facts is None:
            await self._end(effect, epoch, ())
            return
        data = read_call(effect.data or b"{}")
        called = await self._handlers.call(call_of(effect, data, facts, pending.tries))
        match called:
            case Done(actions, handlers):
                self.made += 1
                if not handlers:
                    log.info("callback.no_handler", type=effect.reason)
                try:
                    follow_ups, resend_at = self._asked(effect, data, facts, actions)
                except Invalid as error:
                    bad = CallFailed(FailedBecause.BAD_ACTION, f"{error.path}: {error}")
                    await self._failed(pending, epoch, data, facts, bad)
                    return
                await self._end(effect, epoch, follow_ups, resend_at=resend_at)
            case CallFailed():
                self.made += 1
                await self._failed(pending, epoch, data, facts, called)
            case Unavailable(detail):
                log.warning("callback.not_called", error=detail)
                await self._clock.sleep(CALL_UNAVAILABLE_SECONDS)
                self._look.set()
            case _:
                assert_never(called)

    def _asked(
        self, effect: Effect, data: CallData, facts: CallFacts, actions: Sequence[AnyAction]
    ) -> tuple[list[Effect], float | None]:
        """What handlers ask for: as effects, and when the event is to be sent again. Raises Invalid."""
        origin = origin_of_call(effect, data, facts, at=self._clock.now())
        follow_ups: list[Effect] = []
        resend_at: float | None = None
        event = facts.event
        for place, action in enumerate(actions):
            if isinstance(action, Resend):
                at = origin.at + action.after
                resend_at = at if resend_at is None else min(resend_at, at)
                continue
            depth = depth_of(action, event.depth)
            if depth is not None and self._chains.stops(facts.app_id, effect.endpoint_id, event.id, depth):
                continue
            follow_ups += effects_of(action, origin, place=place, first=FIRST_ORDINAL)
        return follow_ups, resend_at

    async def _failed(
        self, pending: PendingCall, epoch: int, data: CallData, facts: CallFacts, failed: CallFailed
    ) -> None:
        """It is made again later, or set aside and the operators told."""
        effect, tries = pending.effect, pending.tries + 1
        self.failed += 1
        delay = again_after(tries)
        log.warning(
            "callback.failed",
            type=effect.reason,
            of_event=data.event,
            attempt=data.attempt,
            because=failed.because.value,
            detail=failed.detail,
            tries=tries,
            again_in_seconds=delay,
        )
        if delay is not None:
            due_at = self._clock.now() + delay
            await self._recording(lambda: self._book.again(self._owner, epoch, effect, tries=tries, due_at=due_at))
            self._look.set()
            return
        self.set_aside += 1
        await self._end(effect, epoch, news_of(effect, data, facts, failed, at=self._clock.now()))

    async def _end(
        self, effect: Effect, epoch: int, follow_ups: Sequence[Effect], *, resend_at: float | None = None
    ) -> None:
        try:
            ended = await self._recording(
                lambda: self._book.done(
                    self._owner, epoch, effect, follow_ups, resend_at=resend_at, now=self._clock.now()
                )
            )
        except StoreRejected as error:
            log.error("callback.refused_by_store", type=effect.reason, error=str(error))
            follow_ups = ()
            ended = await self._recording(
                lambda: self._book.done(self._owner, epoch, effect, (), resend_at=None, now=self._clock.now())
            )
        if ended is Recorded.DONE:
            self._pending[effect.partition] = max(self._pending[effect.partition] - 1, 0)
            if follow_ups:
                self._recorded(follow_ups)
        elif ended is Recorded.NOT_OURS:
            self._look.set()  # its partition was lost, and may be back

    async def _recording(self, write: Callable[[], Awaitable[Recorded]]) -> Recorded:
        """Until the store has it: what was called need not be called again because the store is away for a moment."""
        while True:
            try:
                recorded = await write()
            except StoreUnavailable as error:
                log.warning("callback.not_recorded_yet", error=str(error))
                await self._clock.sleep(STORE_AGAIN_SECONDS)
                continue
            if recorded is not Recorded.NOT_YET:
                return recorded
            await self._clock.sleep(NOT_YET_SECONDS)
