"""What `ports.store.Store` promises of publishing effects, of every adapter."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
import pytest
from tests.making import attempt, draft, new_endpoint, new_id, new_owner, owed
from tests.world_steps import LEASE, owns
from tests.worlds import World

from posthouse.domain.chaining import Publication, Values, draft_of_publication, read_publication
from posthouse.domain.delivery import Effect, EffectKind, JournalBatch, OwedReason
from posthouse.domain.endpoint import EndpointConfig, Throttle
from posthouse.domain.errors import StoreRejected, StoreUnavailable
from posthouse.domain.event import Draft, Event
from posthouse.domain.ids import ENDPOINT, AppId, AttemptId, EndpointId, EventId, format_id
from posthouse.domain.limits import METADATA_BYTES_MAX
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


# What answers make happen


async def an_app(world: World, *, partition: int = 1) -> AppId:
    app_id = AppId(new_id())
    await world.put_app(app_id, partition=partition)
    return app_id


def asked(kind: EffectKind, data: object = None, *, endpoint_id: EndpointId | None = None, reason: str = "x") -> Effect:
    return Effect(
        id=AttemptId(new_id()),
        partition=1,
        endpoint_id=endpoint_id or new_endpoint(),
        kind=kind,
        reason=reason,
        data=None if data is None else msgspec.json.encode(data),
    )


def publication(app_id: AppId, number: int = 1, **fields: Any) -> Effect:
    payload = b'{"n": %d, "nul": "\\u0000"}' % number
    made = Publication(app=app_id, cause=new_id(), depth=3, payload=payload, subject="s", key="k", **fields)
    return asked(EffectKind.PUBLISH, made, reason="order.paid")


def made_of(effect: Effect, *, only: EndpointId | None = None) -> Draft:
    return draft_of_publication(effect, read_publication(effect.data or b""), EventId(new_id()), only=only)


async def test_effects_become_events_of_whichever_apps_they_are_of(world: World) -> None:
    """In one call, with what the answer was, byte for byte, what caused them, and whom alone they are for."""
    first, second = await an_app(world), await an_app(world, partition=2)
    only = new_endpoint()
    effects = [
        publication(first),
        publication(second, content_type="text/xml"),
        publication(first, url="http://x/y"),
        told(),
    ]
    await record(world, *effects)
    made = [made_of(effects[0]), made_of(effects[1], only=only), made_of(effects[2], only=only), *drafts(effects[3])]
    results = await world.store.publish_effects(effects, made)
    assert [(r.partition, r.seq) for r in results if r is not None] == [(1, 1), (2, 1), (1, 2), (HOME, 1)]
    here, there = await log_of(world, 1), await log_of(world, 2)
    assert [(e.id, e.app_id, e.only, e.to_url, e.depth) for e in here] == [
        (made[0].id, first, None, None, 3),
        (made[2].id, first, only, "http://x/y", 3),
    ]
    (event,) = there
    assert (event.app_id, event.only, event.content_type, event.subject, event.key) == (
        second,
        only,
        "text/xml",
        "s",
        "k",
    )
    assert event.payload == b'{"n": 1, "nul": "\\u0000"}'
    assert await world.store.effects([1], limit=10) == []


async def test_of_an_app_that_is_gone_nothing_is_published_and_nothing_stays(world: World) -> None:
    app_id, gone = await an_app(world), AppId(new_id())
    effects = [publication(gone), publication(app_id)]
    await record(world, *effects)
    none, one = await world.store.publish_effects(effects, [made_of(effect) for effect in effects])
    assert none is None
    assert one is not None
    assert await world.store.effects([1], limit=10) == []


async def test_several_owners_that_do_the_same_effects_of_many_apps_publish_each_once(world: World) -> None:
    apps = [await an_app(world, partition=n) for n in range(3)]
    effects = [publication(apps[n % 3], n) for n in range(12)]
    await record(world, *effects)
    orders = [effects, effects[::-1], effects[3:9], effects[::2]]
    results = await asyncio.gather(
        *(world.store.publish_effects(order, [made_of(effect) for effect in order]) for order in orders)
    )
    assert sum(result is not None for found in results for result in found) == 12
    events = [event for n in range(3) for event in await log_of(world, n)]
    assert sorted(msgspec.json.decode(e.payload)["n"] for e in events) == list(range(12))


async def test_they_are_counted_and_calls_are_left_to_others(world: World) -> None:
    app_id = await an_app(world)
    first, call, last = publication(app_id), asked(EffectKind.CALL, {}), publication(app_id)
    await record(world, first, call, last)
    assert [effect.id for effect in await world.store.effects(range(4), limit=10)] == [first.id, last.id]
    counted = await world.store.count_effects(range(4))
    assert {partition: count for partition, count in counted.items() if count} == {1: 2}
    await world.store.drop_effects([first, first, publication(app_id)])
    assert [effect.id for effect in await world.store.effects(range(4), limit=10)] == [last.id]
    assert (await world.store.count_effects(range(4))).get(1) == 1


async def test_values_are_merged_in_order_as_far_as_there_is_room_and_once(world: World) -> None:
    app_id, endpoint_id = await an_app(world), new_endpoint()
    await world.put_endpoint(endpoint_id, app_id, EndpointConfig(url="http://x/"))
    large = {"large": "x" * METADATA_BYTES_MAX}
    effects = [
        asked(EffectKind.SET, Values(values), endpoint_id=endpoint_id)
        for values in ({"a": 1, "b": {"c": None}}, large, {"a": 2, "d": "灯"}, {"b": None})
    ]
    await record(world, *effects)
    assert await world.store.merge_metadata(effects) == [effects[1]]
    assert await world.metadata(endpoint_id) == {"a": 2, "d": "灯"}
    assert await world.store.effects([1], limit=10) == []
    assert await world.store.merge_metadata(effects) == []
    assert await world.metadata(endpoint_id) == {"a": 2, "d": "灯"}
    gone = asked(EffectKind.SET, Values({"a": 1}))
    await record(world, gone)
    assert await world.store.merge_metadata([gone]) == []
    assert await world.store.effects([1], limit=10) == []


async def test_a_rate_is_stored_until_its_end(world: World) -> None:
    app_id, endpoint_id = await an_app(world), new_endpoint()
    await world.put_endpoint(endpoint_id, app_id, EndpointConfig(url="http://x/"))
    for rate in (Throttle(5.0, 2e9), Throttle(0.25, 2.5e9)):
        effect = asked(EffectKind.THROTTLE, rate, endpoint_id=endpoint_id)
        await record(world, effect)
        await world.store.throttle_endpoint(effect)
        await world.store.throttle_endpoint(effect)
        (app,) = await world.store.apps([app_id])
        assert [endpoint.throttle for endpoint in app.endpoints] == [rate]
        assert await world.store.effects([1], limit=10) == []
    await world.store.throttle_endpoint(asked(EffectKind.THROTTLE, Throttle(9.0, 3e9), endpoint_id=endpoint_id))
    (app,) = await world.store.apps([app_id])
    assert app.endpoints[0].throttle == Throttle(0.25, 2.5e9)


async def test_an_endpoint_is_found_by_what_it_is_called_in_its_app(world: World) -> None:
    app_id, other, endpoint_id = await an_app(world), await an_app(world), new_endpoint()
    await world.put_endpoint(endpoint_id, app_id, EndpointConfig(url="http://x/"))
    name = format_id(ENDPOINT, endpoint_id)
    assert await world.store.endpoint_named(app_id, name) == endpoint_id
    assert await world.store.endpoint_named(other, name) is None
    assert await world.store.endpoint_named(app_id, "nobody") is None


async def test_a_late_answer_brings_its_effects_once(world: World) -> None:
    """In the same transaction, if its row is still there for it to settle."""
    app_id, endpoint_id, owner = await an_app(world), new_endpoint(), new_owner()
    await world.put_endpoint(endpoint_id, app_id, EndpointConfig(url="http://x/"))
    await world.log.append([draft(app_id), draft(app_id)])
    running, other = await log_of(world, 1)
    mine = await owns(world, owner)
    row = owed(running, endpoint_id, reason=OwedReason.IN_FLIGHT, sender=owner)
    await world.store.journal(JournalBatch(owner=owner, epochs=mine, owed=(row,)), now=0.0, lease_seconds=LEASE)
    await world.store.release(owner, mine)
    effects, strange = (publication(app_id), publication(app_id)), (publication(app_id),)
    late = attempt(running, endpoint_id, number=row.number, app_id=app_id)
    assert not await world.store.settle_late(
        [(attempt(other, endpoint_id, app_id=app_id), None, strange)], sender=owner, now=0.0
    )
    assert await world.store.settle_late([(late, None, effects)], sender=owner, now=0.0)
    assert not await world.store.settle_late([(late, None, effects)], sender=owner, now=0.0)
    assert {effect.id for effect in await world.store.effects([1], limit=10)} == {effect.id for effect in effects}


async def test_what_a_rule_did_is_on_record_with_the_attempt(world: World) -> None:
    app_id, endpoint_id, owner = await an_app(world), new_endpoint(), new_owner()
    await world.log.append([draft(app_id)])
    (event,) = await log_of(world, 1)
    mine = await owns(world, owner)
    made = msgspec.structs.replace(attempt(event, endpoint_id, app_id=app_id), reaction='{"place":"on_response[0]"}')
    await world.store.journal(JournalBatch(owner=owner, epochs=mine, attempts=(made,)), now=0.0, lease_seconds=LEASE)
    assert await world.attempts() == [made]
