"""What `ports.store.Store` promises of events that are handed to the platform routes, of every adapter."""

from __future__ import annotations

import time

import msgspec
from tests.conformance.test_store_effects import HOME, log_of, record
from tests.making import draft, new_id, new_owner
from tests.world_steps import LEASE, owns
from tests.worlds import World

from posthouse.domain.delivery import Cursor, JournalBatch
from posthouse.domain.ids import APP, AppId, AttemptId, EventId, format_id
from posthouse.domain.platform_routes import (
    PLATFORM_APP,
    draft_of_handover,
    handed_over,
    read_handover,
    stand_in,
    was_handed,
)


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
    _, effect = handed_over(AttemptId(new_id()), (await log_of(world, 1))[0], app_id, now=5.0)
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
    batch = JournalBatch(owner=owner, epochs=mine, attempts=(attempt,), effects=(effect,), number=1)
    await world.store.journal(batch, now=0.0, lease_seconds=LEASE)
    await world.store.journal(batch, now=0.0, lease_seconds=LEASE)
    assert [one.id for one in await world.store.effects([1], limit=10)] == [effect.id]
    recorded = await world.store.recorded(1, after=Cursor(1, 0, 0.0), until=2)
    assert recorded == {(stand_in(app_id), events[0].id)}
    assert was_handed(app_id, events[0], recorded)
    assert not was_handed(app_id, events[1], recorded)


async def test_of_an_event_that_retention_dropped_nothing_is_found(world: World) -> None:
    assert await world.store.events([(1, EventId(new_id(at=time.time() - 400 * 86_400)))]) == {}
