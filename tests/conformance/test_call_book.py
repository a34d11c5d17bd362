"""What `ports.calls.CallBook` promises, of every adapter."""

from __future__ import annotations

import asyncio
import time

import pytest
from tests.making import attempt, config, new_endpoint, new_id, new_owner
from tests.world_steps import LEASE, owns, publish, rows
from tests.worlds import World

from posthouse.domain.calling import call_effect
from posthouse.domain.delivery import Cursor, DeliveryClass, Effect, EffectKind, JournalBatch, OwedReason
from posthouse.domain.event import Event
from posthouse.domain.exchange import NO_TIMINGS, Answer
from posthouse.domain.ids import AttemptId, EndpointId
from posthouse.ports.calls import Recorded

ANSWER = Answer(200, ((b"content-type", b"text/plain"), (b"x", b"\xff\0")), b"\x00\xff" * 30_000, NO_TIMINGS)
PARTITION = 1


class Desk:
    """A process that owns everything, and an event with an endpoint that answered."""

    def __init__(self, world: World, owner: bytes, epochs: dict[int, int]) -> None:
        self.world, self.owner, self.epochs = world, owner, epochs
        self.endpoint_id: EndpointId = new_endpoint()
        self.event: Event

    async def record(self, count: int = 1, *, more: tuple[Effect, ...] = ()) -> list[Effect]:
        """Calls, each of another attempt, as the journal records them."""
        attempts = [attempt(self.event, self.endpoint_id) for _ in range(count)]
        calls = [call_effect(each, self.event.type, ANSWER) for each in attempts]
        batch = JournalBatch(
            owner=self.owner, epochs=self.epochs, attempts=tuple(attempts), effects=(*calls, *calls[:1], *more)
        )
        await self.world.store.journal(batch, now=0.0, lease_seconds=LEASE)
        return calls

    async def done(self, call: Effect, *follow_ups: Effect, resend_at: float | None = None, epoch: int = 0) -> Recorded:
        return await self.world.calls.done(
            self.owner,
            epoch or self.epochs[PARTITION],
            call,
            follow_ups,
            resend_at=resend_at,
            now=time.time(),
        )

    async def due(self) -> list[bytes]:
        return [call.effect.id for call in await self.world.calls.due([PARTITION], limit=10)]

    async def follow_ups(self) -> list[Effect]:
        return await self.world.store.effects([PARTITION], limit=10)

    def follow_up(self, number: int = 1) -> Effect:
        return Effect(
            id=AttemptId(new_id()),
            partition=PARTITION,
            endpoint_id=self.endpoint_id,
            kind=EffectKind.EMIT,
            reason="callback.notified",
            data=b'{"n": %d}' % number,
        )

    async def dispatched(self) -> None:
        batch = JournalBatch(
            owner=self.owner, epochs=self.epochs, cursors=(Cursor(PARTITION, self.event.seq, self.event.created_at),)
        )
        await self.world.store.journal(batch, now=0.0, lease_seconds=LEASE)


@pytest.fixture
async def desk(world: World) -> Desk:
    owner = new_owner()
    made = Desk(world, owner, await owns(world, owner))
    (made.event,) = await publish(world, 1, partition=PARTITION, subject="shop:1", key="k", payload=b'{"id": 7}')
    assert made.event.app_id is not None
    await world.put_endpoint(made.endpoint_id, made.event.app_id, config("https://example.com/crm"))
    return made


async def test_a_call_is_recorded_once_and_tells_what_it_is_about(world: World, desk: Desk) -> None:
    (call,) = await desk.record()
    (found,) = await world.calls.due([PARTITION, 2], limit=10)
    assert (found.effect.id, found.effect.reason, found.tries) == (call.id, "order.created", 0)
    assert found.due_at <= time.time() + 1
    assert await world.calls.counted([PARTITION, 2]) == {PARTITION: 1}
    assert await world.calls.due([2], limit=10) == []
    assert await desk.follow_ups() == [], "it keeps back no other effect, and is no matter of theirs"
    assert await world.store.count_effects([PARTITION]) == {}
    facts = await world.calls.facts(found.effect)
    assert facts is not None
    assert (facts.event.payload, facts.event.subject, facts.event.key) == (b'{"id": 7}', "shop:1", "k")
    assert (facts.app_id, facts.endpoint.url) == (desk.event.app_id, "https://example.com/crm")


async def test_its_end_removes_it_and_records_what_it_asks_for_once(world: World, desk: Desk) -> None:
    first, second = await desk.record(2)
    wanted = [desk.follow_up(1), desk.follow_up(2)]
    results = await asyncio.gather(*(desk.done(first, *wanted) for _ in range(3)))
    assert sorted(results) == [Recorded.DONE, Recorded.GONE, Recorded.GONE]
    assert {effect.id for effect in await desk.follow_ups()} == {effect.id for effect in wanted}
    assert await desk.due() == [second.id]
    assert await world.calls.counted([PARTITION]) == {PARTITION: 1}


async def test_only_the_owner_of_the_partition_ends_a_call(world: World, desk: Desk) -> None:
    (call,) = await desk.record()
    epoch = desk.epochs[PARTITION]
    assert await desk.done(call, desk.follow_up(), epoch=epoch + 1) is Recorded.NOT_OURS
    other = new_owner()
    assert await world.calls.done(other, epoch, call, (), resend_at=None, now=0.0) is Recorded.NOT_OURS
    assert await world.calls.again(other, epoch, call, tries=1, due_at=0.0) is Recorded.NOT_OURS
    assert await desk.due() == [call.id]
    assert await desk.follow_ups() == []


async def test_a_call_that_failed_comes_later_and_behind_the_others(world: World, desk: Desk) -> None:
    first, second, third = await desk.record(3)
    at = time.time() + 100
    epoch = desk.epochs[PARTITION]
    assert await world.calls.again(desk.owner, epoch, first, tries=3, due_at=at) is Recorded.DONE
    found = await world.calls.due([PARTITION], limit=10)
    assert [call.effect.id for call in found] == [second.id, third.id, first.id]
    assert found[-1].tries == 3
    assert found[-1].due_at == pytest.approx(at, abs=0.01)
    assert len(await world.calls.due([PARTITION], limit=2)) == 2
    await desk.done(first)
    assert await world.calls.again(desk.owner, epoch, first, tries=4, due_at=at) is Recorded.GONE


async def test_sent_again_with_its_end_but_not_before_it_is_past_its_first_way(world: World, desk: Desk) -> None:
    (call,) = await desk.record()
    at = time.time() + 50
    assert await desk.done(call, desk.follow_up(), resend_at=at) is Recorded.NOT_YET
    assert await desk.due() == [call.id]
    assert await desk.follow_ups() == []
    await desk.dispatched()
    assert await desk.done(call, desk.follow_up(), resend_at=at) is Recorded.DONE
    (row,) = await rows(world, PARTITION, desk.endpoint_id)
    assert (row.event_id, row.kind, row.number, row.reason) == (
        desk.event.id,
        DeliveryClass.REPLAY,
        1,
        OwedReason.RESENT,
    )
    assert row.due_at == pytest.approx(at, abs=0.01)
    assert await desk.done(call, resend_at=at - 40) is Recorded.GONE
    assert len(await desk.follow_ups()) == 1
    (row,) = await rows(world, PARTITION, desk.endpoint_id)
    assert row.due_at == pytest.approx(at, abs=0.01)


async def test_what_is_gone_is_not_sent_again_and_has_no_facts(world: World, desk: Desk) -> None:
    (call,) = await desk.record()
    await desk.dispatched()
    await world.delete_endpoint(desk.endpoint_id)
    assert await world.calls.facts(call) is None
    assert await desk.done(call, resend_at=time.time()) is Recorded.DONE
    assert await desk.due() == []
    assert await rows(world, PARTITION, desk.endpoint_id) == []
