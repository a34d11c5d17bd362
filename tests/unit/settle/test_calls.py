"""Calls of handlers: made at least once and recorded once, over failures, crashes, a store that is away and other owners."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any, Final

import msgspec
import pytest
from tests.fakes import FakeClock, until, virtual_time
from tests.making import config

from posthouse.adapters.memory import MemoryDatabase, Step
from posthouse.adapters.memory.calls import MemoryCalls
from posthouse.domain.action import Disable, Emit, Forward, Notify, Resend, SetMetadata, Throttle
from posthouse.domain.calling import Call, Called, CallFailed, Done, FailedBecause, Unavailable, call_effect
from posthouse.domain.chaining import read_publication
from posthouse.domain.delivery import Attempt, AttemptOutcome, DeliveryClass, Effect, EffectKind
from posthouse.domain.endpoint import Endpoint
from posthouse.domain.errors import InDoubt, StoreUnavailable
from posthouse.domain.event import Event
from posthouse.domain.exchange import NO_TIMINGS, Answer, Failure, Fault
from posthouse.domain.ids import AppId, AttemptId, EndpointId, EventId, uuid7
from posthouse.domain.limits import CALL_BACKOFF_SECONDS, CALLS_READ_MAX, CHAIN_DEPTH_MAX
from posthouse.domain.operations import OPERATIONS_APP
from posthouse.domain.redaction import RedactAnswer
from posthouse.ports.calls import PendingCall, Recorded
from posthouse.settle.calls import OUR_FAULT_SECONDS, Calls
from posthouse.settle.chains import Chains

APP: Final = AppId(uuid7(1, 1))
ENDPOINT: Final = EndpointId(uuid7(2, 1))
OWNER: Final = b"o" * 16
FAILED: Final = CallFailed(FailedBecause.RAISED, "ValueError: no")


class Desk:
    """A partition of ours with an app and an endpoint, and handlers that do as they are told."""

    def __init__(self, *, at_once: int = 2) -> None:
        self.clock = FakeClock()
        self.database = MemoryDatabase(clock=self.clock.now, partitions=2)
        self.database.put_app(APP, partition=1, uid="acme")
        self.database.put_endpoint(ENDPOINT, APP, config("https://example.com/"))
        self.epochs: dict[int, int] = {}
        for number, partition in enumerate(self.database.partitions):
            partition.owner, partition.epoch = OWNER, 7
            self.epochs[number] = 7
        self.book: MemoryCalls = MemoryCalls(self.database)
        self.at_once = at_once
        self.patterns: tuple[str, ...] = ("order.*",)
        self.given: list[Call] = []
        self.answers: Callable[[Call], Called] = lambda call: Done()
        self.held: asyncio.Event | None = None
        self.told: list[Effect] = []
        self.chains = Chains(self.clock)
        self._seq = 0

    async def call(self, call: Call) -> Called:
        self.given.append(call)
        if self.held is not None:
            await self.held.wait()
        return self.answers(call)

    def calls(self, **more: Any) -> Calls:
        return Calls(
            self.book,
            self,
            self.clock,
            owner=OWNER,
            epochs=self.epochs,
            recorded=self.told.extend,
            chains=self.chains,
            **more,
        )

    def event(self, *, depth: int = 0, event_type: str = "order.created", dispatched: bool = True) -> Event:
        self._seq += 1
        event = Event(
            id=EventId(self.clock.new_id()),
            partition=1,
            seq=self._seq,
            app_id=APP,
            type=event_type,
            payload=b'{"id": 7}',
            content_type="application/json",
            created_at=self.clock.now(),
            config_version=0,
            subject="shop:1",
            key="k",
            depth=depth,
        )
        partition = self.database.partitions[1]
        partition.events[event.seq] = event
        self.database.positions[event.id] = [(1, event.seq)]
        if dispatched:
            partition.cursor = event.seq
        return event

    def record(self, count: int = 1, **more: Any) -> list[Effect]:
        effects = [
            call_effect(attempt_of(self.event(**more), self.clock), "order.created", ANSWER) for _ in range(count)
        ]
        self.database.effects |= {effect.id: effect for effect in effects}
        return effects

    @property
    def waiting(self) -> list[Effect]:
        return [effect for effect in self.database.effects.values() if effect.kind is EffectKind.CALL]

    @property
    def recorded(self) -> list[Effect]:
        return [effect for effect in self.database.effects.values() if effect.kind is not EffectKind.CALL]


ANSWER: Final = Answer(200, ((b"x-token", b"secret"),), b'{"code": 0, "card": "4242"}', NO_TIMINGS)


def attempt_of(event: Event, clock: FakeClock, **more: Any) -> Attempt:
    made: dict[str, Any] = {
        "id": AttemptId(clock.new_id()),
        "partition": event.partition,
        "app_id": event.app_id,
        "endpoint_id": ENDPOINT,
        "event_id": event.id,
        "seq": event.seq,
        "number": 1,
        "kind": DeliveryClass.LIVE,
        "outcome": AttemptOutcome.DELIVERED,
        "reason": "confirmed",
        "revision": 1,
        "url": "https://example.com/",
        "started_at": clock.now(),
    }
    return Attempt(**made | more)


@asynccontextmanager
async def running(desk: Desk, **more: Any) -> AsyncIterator[Calls]:
    calls = desk.calls(**more)
    await calls.take([0, 1])
    task = asyncio.get_running_loop().create_task(calls.run())
    try:
        yield calls
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@virtual_time
async def test_what_is_recorded_is_called_for_and_what_handlers_ask_for_is_on_record_instead() -> None:
    desk = Desk()
    (effect,) = desk.record()
    desk.answers = lambda call: Done(
        (
            Emit("order.shipped", {"order": 7}),
            Forward("crm", data=[1]),
            SetMetadata({"seen": 1}),
            Throttle(2, 60),
            Notify("look"),
            Disable("enough"),
        )
    )
    async with running(desk) as calls:
        await until(lambda: not desk.waiting)
        assert calls.pending == 0
    (call,) = desk.given
    assert (call.event.payload, call.event.subject, call.app.uid) == (b'{"id": 7}', "shop:1", "acme")
    assert call.about.response is not None
    assert call.about.response.body == ANSWER.body
    found = desk.recorded
    assert desk.told == found
    assert [one.kind for one in found] == [
        EffectKind.PUBLISH,
        EffectKind.PUBLISH,
        EffectKind.SET,
        EffectKind.THROTTLE,
        EffectKind.EMIT,
        EffectKind.DISABLE_ENDPOINT,
        EffectKind.EMIT,
    ]
    assert len({one.id for one in found} | {effect.id}) == len(found) + 1
    first, second = (read_publication(one.data or b"") for one in found[:2])
    assert (first.payload, first.subject, first.key, first.depth) == (b'{"order":7}', "shop:1", "k", 1)
    assert (second.endpoint, second.payload) == ("crm", b"[1]")


@virtual_time
async def test_a_call_that_fails_is_made_again_with_growing_pauses_and_then_set_aside() -> None:
    desk = Desk()
    desk.record()
    at: list[float] = []

    def failing(call: Call) -> Called:
        at.append(desk.clock.now())
        return FAILED

    desk.answers = failing
    async with running(desk) as calls:
        await asyncio.sleep(10_000)
        assert desk.waiting == []
        assert (calls.made, calls.failed, calls.set_aside) == (5, 5, 1)
    pauses = [round(late - early, 1) for early, late in pairwise(at)]
    assert pauses == list(CALL_BACKOFF_SECONDS)
    assert [call.tries for call in desk.given] == [0, 1, 2, 3, 4]
    assert len({call.id for call in desk.given}) == 1
    (told,) = desk.recorded
    assert (told.kind, told.reason) == (EffectKind.EMIT, "callback.failed")
    data = msgspec.json.decode(told.data or b"")
    assert (data["action"], data["reason"]) == ("call", "raised: ValueError: no")


@virtual_time
async def test_one_that_fails_keeps_back_no_other() -> None:
    desk = Desk(at_once=1)
    bad, *others = desk.record(10)
    desk.answers = lambda call: FAILED if len(desk.given) == 1 else Done()
    async with running(desk):
        await until(lambda: desk.waiting == [bad])
        assert desk.clock.now() - 1_800_000_000 < CALL_BACKOFF_SECONDS[0]
        await until(lambda: not desk.waiting)
    assert len(desk.given) == 1 + len(others) + 1


@virtual_time
async def test_so_many_run_at_one_time_and_all_get_their_turn() -> None:
    desk = Desk(at_once=3)
    desk.record(3 * CALLS_READ_MAX)
    desk.held = asyncio.Event()
    async with running(desk) as calls:
        await until(lambda: len(desk.given) == 3)
        await asyncio.sleep(100)
        assert (len(desk.given), calls.running) == (3, 3)
        desk.held.set()
        await until(lambda: not desk.waiting)
    assert len({call.id for call in desk.given}) == len(desk.given) == 3 * CALLS_READ_MAX


@virtual_time
async def test_what_is_recorded_while_it_runs_is_called_for_at_once() -> None:
    desk = Desk()
    async with running(desk) as calls:
        await asyncio.sleep(1)
        began = desk.clock.now()
        calls.noted(desk.record(2))
        assert calls.pending == 2
        await until(lambda: not desk.waiting)
        assert desk.clock.now() - began < 1


@pytest.mark.parametrize("moment", [Step.BEFORE_COMMIT, Step.AFTER_COMMIT])
@pytest.mark.parametrize("error", [InDoubt, StoreUnavailable])
@virtual_time
async def test_a_store_that_is_away_as_it_ends_costs_no_second_call(moment: Step, error: type[Exception]) -> None:
    desk = Desk()
    desk.record()
    desk.answers = lambda call: Done((Emit("order.shipped", 1),))
    times = 3

    async def away(operation: str, step: Step) -> None:
        nonlocal times
        if operation == "call_done" and step is moment and times:
            times -= 1
            raise error("away")

    desk.database.hook = away
    async with running(desk):
        await until(lambda: not desk.waiting and not times)
        await asyncio.sleep(10)
    assert len(desk.given) == 1
    assert len(desk.recorded) == 1


@pytest.mark.parametrize("moment", [Step.READ, Step.BEFORE_COMMIT, Step.AFTER_COMMIT])
@virtual_time
async def test_killed_anywhere_it_is_made_again_and_recorded_once(moment: Step) -> None:
    desk = Desk()
    desk.record()
    desk.answers = lambda call: Done((Emit("order.shipped", 1),))
    reached = asyncio.Event()

    async def stuck(operation: str, step: Step) -> None:
        if operation in ("call_facts", "call_done") and step is moment:
            reached.set()
            await asyncio.Event().wait()

    desk.database.hook = stuck
    async with running(desk):
        await reached.wait()
    desk.database.hook = None
    async with running(desk):
        await until(lambda: not desk.waiting)
        await asyncio.sleep(1)
    assert len({call.id for call in desk.given}) == 1
    assert len(desk.given) == (2 if moment is Step.BEFORE_COMMIT else 1)
    assert len(desk.recorded) == 1


@virtual_time
async def test_a_former_owner_records_nothing() -> None:
    desk = Desk()
    desk.record()
    desk.held = asyncio.Event()
    desk.answers = lambda call: Done((Emit("order.shipped", 1),))
    async with running(desk) as calls:
        await until(lambda: len(desk.given) == 1)
        desk.database.partitions[1].epoch = 8
        del desk.epochs[1]
        calls.drop({1})
        desk.held.set()
        await until(lambda: calls.running == 0)
        await asyncio.sleep(10)
        assert desk.recorded == []
        assert len(desk.waiting) == 1
        desk.epochs[1] = 8
        await calls.take([1])
        await until(lambda: not desk.waiting)
    assert len(desk.given) == 2
    assert len(desk.recorded) == 1


class Slow(MemoryCalls):
    """Its answers are on their way until `answered`; `asked` counts them."""

    def __init__(self, database: MemoryDatabase) -> None:
        super().__init__(database)
        self.asked = 0
        self.answered = asyncio.Event()
        self.answered.set()

    async def due(self, partitions: Collection[int], *, limit: int) -> list[PendingCall]:
        found = await super().due(partitions, limit=limit)
        self.asked += 1
        await self.answered.wait()
        return found


@virtual_time
async def test_one_that_ends_while_what_is_due_is_read_is_not_made_again() -> None:
    desk = Desk()
    slow = desk.book = Slow(desk.database)
    desk.record()
    desk.held = asyncio.Event()
    async with running(desk) as calls:
        await until(lambda: len(desk.given) == 1)
        slow.answered.clear()
        asked = slow.asked
        calls.noted(desk.record())
        await until(lambda: slow.asked > asked)
        desk.held.set()
        await until(lambda: calls.running == 0)
        slow.answered.set()
        await until(lambda: not desk.waiting)
        await asyncio.sleep(1)
        assert (calls.made, calls.pending) == (2, 0)
    assert len({call.id for call in desk.given}) == len(desk.given) == 2


@virtual_time
async def test_one_from_before_its_partition_was_lost_is_made_anew_as_soon_as_it_ends() -> None:
    desk = Desk()
    desk.record()
    desk.held = asyncio.Event()
    async with running(desk) as calls:
        await until(lambda: len(desk.given) == 1)
        del desk.epochs[1]
        calls.drop({1})
        desk.database.partitions[1].epoch = desk.epochs[1] = 8
        await calls.take([1])
        await asyncio.sleep(1)
        assert len(desk.given) == 1, "not beside the one that runs"
        desk.held.set()
        await until(lambda: not desk.waiting, seconds=1)
    assert [call.tries for call in desk.given] == [0, 0]


@virtual_time
async def test_calls_of_a_partition_that_is_lost_while_they_are_counted_are_not_ours() -> None:
    desk = Desk()
    desk.record()

    async def lost(operation: str, step: Step) -> None:
        if operation == "count_calls":
            desk.epochs.pop(1, None)
            calls.drop({1})

    desk.database.hook = lost
    calls = desk.calls()
    await calls.take([0, 1])
    assert calls.pending == 0


@virtual_time
async def test_without_a_process_it_waits_and_costs_no_try() -> None:
    desk = Desk()
    desk.record()
    desk.answers = lambda call: Unavailable("none") if len(desk.given) < 4 else Done()
    async with running(desk) as calls:
        await until(lambda: not desk.waiting)
        assert (calls.made, calls.failed) == (1, 0)
    assert {call.tries for call in desk.given} == {0}


@virtual_time
async def test_a_fault_of_ours_lets_the_others_go_first() -> None:
    desk = Desk(at_once=1)
    desk.record(3)

    def broken(call: Call) -> Called:
        if len(desk.given) == 1:
            raise RuntimeError("a bug")
        return Done()

    desk.answers = broken
    async with running(desk):
        await until(lambda: len(desk.waiting) == 1)
        await asyncio.sleep(OUR_FAULT_SECONDS - 1)
        assert len(desk.waiting) == 1
        await until(lambda: not desk.waiting)


@virtual_time
async def test_what_can_not_be_recorded_is_a_failure_of_the_handler() -> None:
    desk = Desk()
    desk.record()
    desk.answers = lambda call: Done((SetMetadata({"a": "b\0"}),))
    async with running(desk) as calls:
        await until(lambda: calls.failed == 1)
    assert desk.recorded == []


@virtual_time
async def test_drained_it_starts_no_more_and_waits_for_what_runs() -> None:
    desk = Desk(at_once=1)
    desk.record(2)
    desk.held = asyncio.Event()
    async with running(desk) as calls:
        await until(lambda: len(desk.given) == 1)
        draining = asyncio.create_task(calls.drain(100))
        await asyncio.sleep(50)
        assert not draining.done()
        desk.held.set()
        await draining
        await asyncio.sleep(100)
    assert len(desk.given) == 1
    assert len(desk.waiting) == 1


@virtual_time
async def test_draining_ends_in_time() -> None:
    desk = Desk()
    desk.record()
    desk.held = asyncio.Event()
    async with running(desk) as calls:
        await until(lambda: len(desk.given) == 1)
        began = desk.clock.now()
        await calls.drain(3)
        assert desk.clock.now() - began == pytest.approx(3)
    assert len(desk.waiting) == 1, "its process is ended, and the next owner calls again"


@virtual_time
async def test_without_its_event_or_endpoint_there_is_nothing_to_call_for() -> None:
    desk = Desk()
    desk.record(2)
    desk.database.positions.popitem()
    async with running(desk):
        await until(lambda: not desk.waiting)
    assert len(desk.given) == 1
    desk.record()
    desk.database.delete_endpoint(ENDPOINT)
    async with running(desk):
        await until(lambda: not desk.waiting)
    assert len(desk.given) == 1


@virtual_time
async def test_a_chain_that_is_too_long_ends_here() -> None:
    desk = Desk()
    desk.record(depth=CHAIN_DEPTH_MAX)
    desk.answers = lambda call: Done((Emit("order.shipped", 1), Notify("still told")))
    async with running(desk):
        await until(lambda: not desk.waiting)
    assert [one.kind for one in desk.recorded] == [EffectKind.EMIT]
    assert desk.chains.stopped == 1


@virtual_time
async def test_sent_again_is_owed_once_the_event_is_past_its_first_way() -> None:
    desk = Desk()
    (effect,) = desk.record(dispatched=False)
    desk.answers = lambda call: Done((Resend(60), Resend(30)))
    async with running(desk):
        await until(lambda: len(desk.given) == 1)
        await asyncio.sleep(5)
        assert desk.waiting == [effect]
        assert not desk.database.owed
        desk.database.partitions[1].cursor = 1
        await until(lambda: not desk.waiting)
    (owed,) = desk.database.owed.values()
    assert (owed.kind, owed.number) == (DeliveryClass.REPLAY, 1)
    assert 24 < owed.due_at - desk.clock.now() <= 30
    assert len(desk.given) == 1


# What is recorded with an attempt


def endpoint(**more: Any) -> Endpoint:
    return Endpoint(id=ENDPOINT, app_id=APP, partition=1, revision=1, url="https://example.com/", **more)


@virtual_time
async def test_calls_are_recorded_for_answers_and_for_what_is_given_up() -> None:
    desk = Desk()
    calls = desk.calls()
    event, other = desk.event(), desk.event(event_type="user.created")
    silence = Failure(Fault.CONNECT_FAILED, "refused", NO_TIMINGS)
    plain = attempt_of(event, desk.clock)
    (call,) = calls.caused(plain, endpoint(), event, ANSWER, ())
    assert (call.kind, call.reason) == (EffectKind.CALL, "order.created")
    assert calls.caused(plain, endpoint(), event, ANSWER, [call]) == (), "a rule of the endpoint says so already"
    assert calls.caused(plain, endpoint(), event, ANSWER, ()) == (call,), "the same, however often"
    assert calls.caused(attempt_of(other, desk.clock), endpoint(), other, ANSWER, ()) == ()
    failed = attempt_of(event, desk.clock, outcome=AttemptOutcome.FAILED)
    assert calls.caused(failed, endpoint(), event, silence, ()) == ()
    assert len(calls.caused(failed, endpoint(), event, ANSWER, ())) == 1
    gave_up = attempt_of(event, desk.clock, outcome=AttemptOutcome.GAVE_UP)
    assert len(calls.caused(gave_up, endpoint(), event, silence, ())) == 1
    operators = attempt_of(event, desk.clock, app_id=OPERATIONS_APP)
    assert calls.caused(operators, endpoint(), event, ANSWER, ()) == ()


@virtual_time
async def test_what_an_endpoint_masks_is_not_told_to_handlers_either() -> None:
    desk = Desk()
    masked = endpoint(redact_answer=RedactAnswer(("/card",), ("X-Token",)))
    event = desk.event()
    (call,) = desk.calls().caused(attempt_of(event, desk.clock), masked, event, ANSWER, ())
    assert b"secret" not in (call.data or b"")
    desk.database.effects[call.id] = call
    async with running(desk):
        await until(lambda: not desk.waiting)
    response = desk.given[0].about.response
    assert response is not None
    assert (response.headers, msgspec.json.decode(response.body)) == (
        (("x-token", "[redacted]"),),
        {"code": 0, "card": "[redacted]"},
    )


@virtual_time
async def test_where_too_many_wait_no_more_are_recorded_and_operators_hear_of_it() -> None:
    desk = Desk()
    told: list[str] = []

    class Troubled:
        def chain_stopped(self, *_: Any, **__: Any) -> None: ...

        def callback_failed(self, *_: Any, action: str, reason: str) -> None:
            told.append(f"{action}: {reason}")

    desk.chains.troubled = Troubled()
    desk.record(2)
    desk.held = asyncio.Event()
    event = desk.event()
    async with running(desk, pending_max=2) as calls:
        assert calls.caused(attempt_of(event, desk.clock), endpoint(), event, ANSWER, ()) == ()
        assert (calls.left_out, told) == (1, ["call: too many calls wait"])
        assert calls.asked_for(attempt_of(event, desk.clock), event, ANSWER) == ((), "too many calls wait")
        desk.held.set()
        await until(lambda: not desk.waiting)
        assert len(calls.caused(attempt_of(event, desk.clock), endpoint(), event, ANSWER, ())) == 1
        (call,), why = calls.asked_for(attempt_of(event, desk.clock), event, ANSWER)
        assert (call.kind, why) == (EffectKind.CALL, "")


@virtual_time
async def test_a_call_that_another_owner_has_ended_is_gone() -> None:
    desk = Desk()
    (effect,) = desk.record()
    done = await desk.book.done(OWNER, 7, effect, (), resend_at=None, now=0.0)
    again = await desk.book.done(OWNER, 7, effect, (effect,), resend_at=None, now=0.0)
    assert (done, again, desk.waiting) == (Recorded.DONE, Recorded.GONE, [])
