"""Follow-ups are done once: over crashes, commits in doubt, a store that is away, and beside another owner."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import pytest
from tests.fakes import FakeClock, until, virtual_time

from posthouse.adapters.memory import MemoryDatabase, MemoryLog, MemoryStore, Step
from posthouse.domain.delivery import Effect, EffectKind
from posthouse.domain.errors import InDoubt, StoreRejected, StoreUnavailable
from posthouse.domain.event import Draft, Event
from posthouse.domain.ids import AppId, AttemptId, EndpointId, EventId, unix_ms_of, uuid7
from posthouse.domain.limits import TAIL_READ_BYTES_MAX
from posthouse.domain.operations import OPERATIONS_APP
from posthouse.domain.platform_routes import PLATFORM_APP, handed_over
from posthouse.ports.log import Appended
from posthouse.settle.effects import EFFECTS_AT_ONCE, Effects

ENDPOINT: Final = EndpointId(uuid7(2, 1))


class Desk:
    def __init__(self, store: type[MemoryStore] = MemoryStore) -> None:
        self.clock = FakeClock()
        self.database = MemoryDatabase(clock=self.clock.now, partitions=2)
        self.store = store(self.database)
        self.epochs = {0: 1, 1: 1}
        self.told: list[Event] = []

    def effects(self) -> Effects:
        return Effects(self.store, self.clock, epochs=self.epochs, published=self.told.extend)

    def record(self, count: int = 1, *, partition: int = 1) -> None:
        for _ in range(count):
            effect = Effect(
                id=AttemptId(self.clock.new_id()),
                partition=partition,
                endpoint_id=ENDPOINT,
                kind=EffectKind.EMIT,
                reason="circuit.opened",
                data=b"%d" % len(self.database.effects),
            )
            self.database.effects[effect.id] = effect

    @property
    def log(self) -> list[bytes]:
        events = self.database.partitions[0].events
        assert all(event.app_id == OPERATIONS_APP for event in events.values())
        return [events[seq].payload for seq in sorted(events)]


@asynccontextmanager
async def running(desk: Desk) -> AsyncIterator[Effects]:
    effects = desk.effects()
    task = asyncio.get_running_loop().create_task(effects.run())
    try:
        yield effects
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@virtual_time
async def test_what_is_recorded_is_published_and_told() -> None:
    desk = Desk()
    desk.record(3)
    async with running(desk) as effects:
        await asyncio.sleep(1)
        assert desk.log == [], "nobody said that there is something"
        effects.wake()
        await until(lambda: not desk.database.effects)
    assert desk.log == [b"0", b"1", b"2"]
    assert [(event.partition, event.seq, event.payload) for event in desk.told] == [
        (0, n + 1, payload) for n, payload in enumerate(desk.log)
    ]
    assert desk.told == list(desk.database.partitions[0].events.values())


@virtual_time
async def test_more_than_are_done_at_once_and_only_ours() -> None:
    desk = Desk()
    desk.record(2 * EFFECTS_AT_ONCE + 1)
    del desk.epochs[0]
    desk.record(1, partition=0)
    async with running(desk) as effects:
        effects.wake()
        await until(lambda: len(desk.database.effects) == 1)
    assert len(desk.log) == 2 * EFFECTS_AT_ONCE + 1


@pytest.mark.parametrize("moment", [Step.BEFORE_COMMIT, Step.AFTER_COMMIT])
@virtual_time
async def test_a_commit_in_doubt_is_repeated_and_publishes_once(moment: Step) -> None:
    desk = Desk()
    desk.record(2)
    doubts = 2

    async def doubtful(operation: str, step: Step) -> None:
        nonlocal doubts
        if operation == "publish_effects" and step is moment and doubts:
            doubts -= 1
            raise InDoubt("no answer")

    desk.database.hook = doubtful
    async with running(desk) as effects:
        effects.wake()
        await until(lambda: not desk.database.effects)
        await asyncio.sleep(10)
    assert desk.log == [b"0", b"1"]


@virtual_time
async def test_after_a_long_outage_the_events_get_ids_of_their_time() -> None:
    desk = Desk()
    desk.record(1)

    async def away(operation: str, step: Step) -> None:
        raise StoreUnavailable("away")

    async with running(desk) as effects:
        desk.database.hook = away
        effects.wake()
        await asyncio.sleep(7200)
        desk.database.hook = None
        await until(lambda: not desk.database.effects)
        (event,) = desk.told
        assert abs(unix_ms_of(event.id) / 1000 - desk.clock.now()) < 5


@pytest.mark.parametrize("moment", [Step.READ, Step.BEFORE_COMMIT, Step.AFTER_COMMIT])
@virtual_time
async def test_killed_between_the_journal_and_the_effect_or_after_it(moment: Step) -> None:
    desk = Desk()
    desk.record(2)
    reached = asyncio.Event()

    async def hang(operation: str, step: Step) -> None:
        if operation in ("effects", "publish_effects") and step is moment:
            reached.set()
            await asyncio.get_running_loop().create_future()

    desk.database.hook = hang
    async with running(desk) as effects:
        effects.wake()
        await reached.wait()
    desk.database.hook = None
    async with running(desk) as effects:
        effects.wake()
        await until(lambda: not desk.database.effects)
        await asyncio.sleep(1)
    assert desk.log == [b"0", b"1"]


class Refusing(MemoryStore):
    """Refuses the data of one effect."""

    async def publish_effects(self, effects: Sequence[Effect], drafts: Sequence[Draft]) -> list[Appended | None]:
        if any(draft.payload == b"3" for draft in drafts):
            raise StoreRejected("not this one")
        return await super().publish_effects(effects, drafts)


@virtual_time
async def test_one_that_is_refused_keeps_none_of_the_others_back() -> None:
    desk = Desk(Refusing)
    desk.record(8)
    async with running(desk) as effects:
        effects.wake()
        await until(lambda: len(desk.database.effects) == 1)
        await asyncio.sleep(10)
    assert desk.log == [b"0", b"1", b"2", b"4", b"5", b"6", b"7"]


# Events that are handed to the platform routes

APP: Final = AppId(uuid7(1, 1))


async def hand_over(desk: Desk, *payloads: bytes) -> list[Event]:
    """Events of an app, each with its effect on record."""
    desk.database.put_app(APP, partition=1)
    drafts = [
        Draft(id=EventId(desk.clock.new_id()), app_id=APP, type="order.created", payload=payload)
        for payload in payloads
    ]
    await MemoryLog(desk.database).append(drafts)
    events = list(desk.database.partitions[1].events.values())
    for event in events:
        _, effect = handed_over(AttemptId(desk.clock.new_id()), event, APP, now=desk.clock.now())
        desk.database.effects[effect.id] = effect
    return events


@virtual_time
async def test_events_that_were_handed_over_are_read_a_few_megabytes_at_once() -> None:
    desk = Desk()
    events = await hand_over(desk, *[bytes([number]) * (3 * TAIL_READ_BYTES_MAX // 8) for number in range(5)], b"x")
    reads = 0

    async def hook(operation: str, step: Step) -> None:
        nonlocal reads
        reads += operation == "events"

    desk.database.hook = hook
    async with running(desk) as effects:
        effects.recorded(list(desk.database.effects.values()))
        assert effects.pending == 6
        await until(lambda: not desk.database.effects)
        await until(lambda: effects.done == 6)
        assert (effects.pending, effects.refused) == (0, 0)
    copies = list(desk.database.partitions[0].events.values())
    assert [(copy.app_id, copy.payload) for copy in copies] == [(PLATFORM_APP, event.payload) for event in events]
    assert desk.told == copies
    assert reads == 3


@virtual_time
async def test_one_that_retention_dropped_before_is_removed_and_keeps_none_back() -> None:
    desk = Desk()
    (first, _) = await hand_over(desk, b"1", b"2")
    del desk.database.partitions[1].events[first.seq], desk.database.positions[first.id]
    async with running(desk) as effects:
        effects.wake()
        await until(lambda: not desk.database.effects)
        await until(lambda: effects.done == 1)
        assert effects.refused == 1
    assert [event.payload for event in desk.told] == [b"2"]


@virtual_time
async def test_one_that_the_store_refuses_is_removed() -> None:
    desk = Desk(Refusing)
    await hand_over(desk, b"1", b"3", b"2")
    async with running(desk) as effects:
        effects.wake()
        await until(lambda: not desk.database.effects)
        await until(lambda: effects.done == 2)
        assert effects.refused == 1
    assert [event.payload for event in desk.told] == [b"1", b"2"]


@virtual_time
async def test_what_is_counted_wrong_does_not_stay_wrong() -> None:
    desk = Desk()
    (event,) = await hand_over(desk, b"1")
    desk.database.effects.clear()
    _, effect = handed_over(AttemptId(desk.clock.new_id()), event, APP, now=desk.clock.now())
    async with running(desk) as effects:
        effects.recorded([effect])
        await until(lambda: effects.pending == 0)


@virtual_time
async def test_what_waits_in_a_partition_that_is_lost_while_it_is_counted_is_not_ours() -> None:
    desk = Desk()
    desk.record(3)
    desk.record(2, partition=0)
    effects = desk.effects()

    async def lost(operation: str, step: Step) -> None:
        if operation == "count_effects":
            desk.epochs.pop(1, None)
            effects.drop([1])

    desk.database.hook = lost
    await effects.take([0, 1])
    assert effects.pending == 2
