"""What `ports.store.Store` promises of publishing effects, of every adapter."""

from __future__ import annotations

import asyncio
import time

import msgspec
import pytest
from tests.making import draft, new_endpoint, new_id, new_owner
from tests.world_steps import LEASE, owns
from tests.worlds import World

from posthouse.domain.delivery import Cursor, Effect, EffectKind, JournalBatch
from posthouse.domain.errors import StoreRejected, StoreUnavailable
from posthouse.domain.event import Draft, Event
from posthouse.domain.ids import APP, AppId, AttemptId, EventId, format_id
from posthouse.domain.operations import OPERATIONS_APP, draft_of
from posthouse.domain.platform_routes import (
    PLATFORM_APP,
    draft_of_handover,
    handed_over,
    read_handover,
    stand_in,
    was_handed,
)

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


async def test_an_event_that_was_handed_over_is_published_with_all_it_has(world: World) -> None:
    app_id = AppId(new_id())
    await world.put_app(app_id, partition=1)
    given = msgspec.structs.replace(
        draft(app_id),
        subject="shop:42",
        key="k",
        source="/shop",
        channels=("eu", "us"),
        attributes=b'{"app":"mine","region":"eu"}',
        expires_at=4_000_000_000.0,
        content_type="text/plain",
        payload=bytes(range(256)),
    )
    await world.log.append([given, draft(app_id)])
    attempt, effect = handed_over(AttemptId(new_id()), (await log_of(world, 1))[0], app_id, now=5.0)
    await record(world, effect)
    assert [one.id for one in await world.store.effects([1], limit=10)] == [effect.id]
    keys = [(1, given.id), (0, given.id), (1, EventId(new_id()))]
    assert list(await world.store.events(keys)) == keys[:1]
    assert await world.store.events([]) == {}
    found = (await world.store.events(keys))[1, given.id]
    assert found == (await log_of(world, 1))[0]
    made = draft_of_handover(read_handover(effect.data or b""), found, EventId(new_id()))
    (result,) = await world.store.publish_effects([effect], [made])
    assert result is not None
    assert await world.store.publish_effects([effect], [made]) == [None]
    (event,) = await log_of(world)
    assert (event.app_id, event.partition, event.id, event.depth) == (PLATFORM_APP, HOME, made.id, 1)
    for field in ("type", "payload", "content_type", "subject", "key", "source", "channels", "expires_at"):
        assert getattr(event, field) == getattr(given, field), field
    assert msgspec.json.decode(event.attributes or b"") == {"app": format_id(APP, app_id), "region": "eu"}


async def test_what_is_on_record_as_handed_over_is_found_by_a_successor(world: World) -> None:
    app_id, owner = AppId(new_id()), new_owner()
    await world.put_app(app_id, partition=1)
    await world.log.append([draft(app_id), draft(app_id)])
    mine = await owns(world, owner)
    events = await log_of(world, 1)
    attempt, effect = handed_over(AttemptId(new_id()), events[0], app_id, now=5.0)
    batch = JournalBatch(owner=owner, epochs=mine, attempts=(attempt,), effects=(effect,))
    await world.store.journal(batch, now=0.0, lease_seconds=LEASE)
    await world.store.journal(batch, now=0.0, lease_seconds=LEASE, again=True)
    assert [one.id for one in await world.store.effects([1], limit=10)] == [effect.id]
    recorded = await world.store.recorded(1, after=Cursor(1, 0, 0.0), until=2)
    assert recorded == {(stand_in(app_id), events[0].id)}
    assert was_handed(app_id, events[0], recorded)
    assert not was_handed(app_id, events[1], recorded)


async def test_of_an_event_that_retention_dropped_nothing_is_found(world: World) -> None:
    assert await world.store.events([(1, EventId(new_id(at=time.time() - 400 * 86_400)))]) == {}
