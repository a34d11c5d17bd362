"""What `ports.store.Store` promises of publishing effects, of every adapter."""

from __future__ import annotations

import asyncio
import time

import msgspec
import pytest
from tests.making import draft, new_endpoint, new_id, new_owner
from tests.world_steps import LEASE, owns
from tests.worlds import World

from posthouse.domain.delivery import Effect, EffectKind, JournalBatch
from posthouse.domain.errors import StoreRejected, StoreUnavailable
from posthouse.domain.event import Draft, Event
from posthouse.domain.ids import AppId, AttemptId, EventId
from posthouse.domain.operations import OPERATIONS_APP, draft_of

HOME = 0
"""The partition of the operators' app."""


def told(number: int = 1, *, partition: int = 1) -> Effect:
    return Effect(
        id=AttemptId(new_id()),
        partition=partition,
        endpoint_id=new_endpoint(),
        kind=EffectKind.EMIT,
        reason="circuit.opened",
        data=b'{"n": %d}' % number,
    )


def drafts(*effects: Effect) -> list[Draft]:
    return [draft_of(effect, EventId(new_id())) for effect in effects]


async def record(world: World, *effects: Effect) -> None:
    owner = new_owner()
    mine = await owns(world, owner)
    await world.store.journal(JournalBatch(owner=owner, epochs=mine, effects=effects), now=0.0, lease_seconds=LEASE)
    await world.store.release(owner, mine)


async def log_of(world: World, partition: int = HOME) -> list[Event]:
    return await world.log.read(partition, 0, since=None)


async def test_effects_become_events_of_the_operators_app_and_are_gone(world: World) -> None:
    effects = [told(n, partition=n % 3) for n in range(1, 6)]
    await record(world, *effects)
    made = drafts(*effects)
    before = time.time()
    results = await world.store.publish_effects(effects, made)
    events = await log_of(world)
    assert [event.id for event in events] == [d.id for d in made]
    assert [(e.app_id, e.type, e.key) for e in events] == [(OPERATIONS_APP, "circuit.opened", d.key) for d in made]
    assert [msgspec.json.decode(e.payload) for e in events] == [{"n": n} for n in range(1, 6)]
    assert {event.content_type for event in events} == {"application/json"}
    assert [(r.partition, r.seq) for r in results if r is not None] == [(HOME, seq) for seq in range(1, 6)]
    assert all(r is not None and abs(r.created_at - before) < 60 for r in results)
    assert await world.store.effects(range(4), limit=10) == []


async def test_an_effect_is_published_once_however_often_it_is_asked(world: World) -> None:
    first, second = told(1), told(2)
    await record(world, first, second)
    (one,) = await world.store.publish_effects([first], drafts(first))
    assert one is not None
    again = await world.store.publish_effects([first, second, told(3)], drafts(first, second, told(3)))
    assert [result is None for result in again] == [True, False, True]
    assert await world.store.publish_effects([first, second], drafts(first, second)) == [None, None]
    assert [msgspec.json.decode(e.payload)["n"] for e in await log_of(world)] == [1, 2]
    assert await world.store.publish_effects([], []) == []


async def test_several_that_do_the_same_effects_publish_each_once(world: World) -> None:
    effects = [told(n, partition=n % 4) for n in range(20)]
    await record(world, *effects)
    orders = [effects, effects[::-1], effects[5:15], effects[::2]]
    results = await asyncio.gather(*(world.store.publish_effects(order, drafts(*order)) for order in orders))
    assert sum(result is not None for found in results for result in found) == 20
    events = await log_of(world)
    assert sorted(msgspec.json.decode(e.payload)["n"] for e in events) == list(range(20))
    assert [event.seq for event in events] == list(range(1, 21))


async def test_beside_other_events_of_its_partition_there_is_no_gap(world: World) -> None:
    app_id = AppId(new_id())
    await world.put_app(app_id, partition=HOME)
    effects = [told(n) for n in range(10)]
    await record(world, *effects)
    await asyncio.gather(
        *(world.store.publish_effects([effect], drafts(effect)) for effect in effects),
        *(world.log.append([draft(app_id), draft(app_id)]) for _ in range(10)),
    )
    assert [event.seq for event in await log_of(world)] == list(range(1, 31))


async def test_what_an_effect_of_another_kind_says_is_not_published(world: World) -> None:
    effect = msgspec.structs.replace(told(), kind=EffectKind.DISABLE_ENDPOINT, data=None)
    await record(world, effect)
    assert await world.store.publish_effects([effect], drafts(effect)) == [None]
    assert await world.store.effects([1], limit=10) == [effect]
    assert await log_of(world) == []


async def test_what_cannot_be_published_stays(world: World) -> None:
    good, bad = told(1), told(2)
    await record(world, good, bad)
    old = [draft_of(effect, EventId(new_id(at=time.time() - 3600))) for effect in (good, bad)]
    with pytest.raises(StoreUnavailable):
        await world.store.publish_effects([good, bad], old)
    nul = msgspec.structs.replace(drafts(bad)[0], type="a\0b")
    with pytest.raises(StoreRejected):
        await world.store.publish_effects([good, bad], [*drafts(good), nul])
    assert await log_of(world) == []
    assert {effect.id for effect in await world.store.effects([1], limit=10)} == {good.id, bad.id}
