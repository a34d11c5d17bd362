"""What `ports.store.Store` promises of configuration and effects, of every adapter."""

from __future__ import annotations

import asyncio
import json
import time

from tests.making import attempt, config, draft, new_app, new_endpoint, new_id, new_owner
from tests.world_steps import LEASE, owns, publish
from tests.worlds import World

from posthouse.domain.delivery import Effect, EffectKind, JournalBatch
from posthouse.domain.endpoint import AppConfig, Secret, Timeouts
from posthouse.domain.ids import AppId, AttemptId, EndpointId
from posthouse.domain.retry import Delays, Retry, RetrySettings


async def load(world: World, app_id: AppId) -> AppConfig:
    (found,) = await world.store.apps([app_id])
    return found


async def app_with_endpoint(world: World, *, partition: int = 1) -> tuple[AppId, EndpointId]:
    app_id, endpoint_id = new_app(), new_endpoint()
    await world.put_app(app_id, partition=partition)
    await world.put_endpoint(endpoint_id, app_id, config())
    return app_id, endpoint_id


# Apps


async def test_an_app_comes_with_its_endpoints_as_configured(world: World) -> None:
    app_id, _ = await app_with_endpoint(world, partition=9)
    full = new_endpoint()
    await world.put_endpoint(
        full,
        app_id,
        config(
            "https://例え.example/hook?q=1",
            events=("order.*", "user_register"),
            channels=("eu",),
            headers={"x-b": "2", "x-aa": "1"},
            retry=RetrySettings(schedule=(1.0, 2.5), jitter=0.0, by_type={"order.*": Delays((7.0,))}),
            timeouts=Timeouts(1.0, 2.0, 3.5),
            concurrency=3,
        ),
        enabled=False,
        paused=True,
    )
    found = await load(world, app_id)
    assert (found.app_id, found.partition, found.refresh_at) == (app_id, 9, None)
    plain, other = found.endpoints
    assert (plain.url, plain.enabled, plain.paused, plain.revision) == ("https://example.com/hook", True, False, 1)
    assert (plain.retry, plain.timeouts, plain.secrets, plain.health.failing_since) == (Retry(), Timeouts(), (), None)
    assert (other.id, other.app_id, other.partition) == (full, app_id, 9)
    assert (other.url, other.enabled, other.paused) == ("https://例え.example/hook?q=1", False, True)
    assert (other.events, other.channels, other.concurrency) == (("order.*", "user_register"), ("eu",), 3)
    assert dict(other.headers) == {"x-b": "2", "x-aa": "1"}
    by_type = (("order.*", Retry((7.0,), 0.0)),)
    assert (other.retry, other.timeouts) == (Retry((1.0, 2.5), 0.0, by_type), Timeouts(1.0, 2.0, 3.5))


async def test_endpoints_come_in_the_order_of_their_creation(world: World) -> None:
    app_id = new_app()
    await world.put_app(app_id, partition=1)
    endpoints = [new_endpoint() for _ in range(5)]
    for endpoint_id in (endpoints[i] for i in (3, 0, 4, 1, 2)):
        await world.put_endpoint(endpoint_id, app_id, config())
    assert [endpoint.id for endpoint in (await load(world, app_id)).endpoints] == endpoints


async def test_several_apps_at_once_and_none_that_is_gone(world: World) -> None:
    first, _ = await app_with_endpoint(world)
    second, _ = await app_with_endpoint(world, partition=2)
    bare, deleted = new_app(), new_app()
    await world.put_app(bare, partition=3)
    await world.put_app(deleted, partition=3)
    await world.delete_app(deleted)
    found = await world.store.apps([second, deleted, bare, new_app(), first])
    assert {app.app_id: (app.partition, len(app.endpoints)) for app in found} == {
        first: (1, 1),
        second: (2, 1),
        bare: (3, 0),
    }
    assert await world.store.apps([]) == []


async def test_every_change_makes_a_newer_version(world: World) -> None:
    app_id, endpoint_id = await app_with_endpoint(world)
    neighbour, _ = await app_with_endpoint(world)
    versions = [(await load(world, app_id)).version]
    await world.put_endpoint(endpoint_id, app_id, config("https://example.com/other"))
    versions.append((await load(world, app_id)).version)
    await world.put_secret(endpoint_id, b"1")
    versions.append((await load(world, app_id)).version)
    await world.put_app(app_id, partition=1, uid="acme")
    versions.append((await load(world, app_id)).version)
    await world.delete_endpoint(endpoint_id)
    versions.append((await load(world, app_id)).version)
    assert versions == sorted(set(versions))
    assert (await load(world, app_id)).endpoints == ()
    assert (await world.log.heads([1]))[1].config_version == versions[-1]
    assert (await load(world, neighbour)).version < versions[1]


async def test_another_configuration_is_another_revision(world: World) -> None:
    app_id, endpoint_id = await app_with_endpoint(world)
    await world.put_endpoint(endpoint_id, app_id, config("https://example.com/other"))
    await world.put_endpoint(endpoint_id, app_id, config("https://example.com/other"), paused=True)
    (endpoint,) = (await load(world, app_id)).endpoints
    assert (endpoint.revision, endpoint.url, endpoint.paused) == (2, "https://example.com/other", True)


async def test_secrets_come_newest_first_while_they_are_valid(world: World) -> None:
    app_id, endpoint_id = await app_with_endpoint(world)
    other = new_endpoint()
    await world.put_endpoint(other, app_id, config())
    now = time.time()
    await world.put_secret(endpoint_id, b"expired", expires_at=now - 60)
    await world.put_secret(endpoint_id, b"\x00old", expires_at=now + 900)
    await world.put_secret(endpoint_id, b"new")
    await world.put_secret(other, b"a", expires_at=now + 600)
    await world.put_secret(other, b"b")
    found = await load(world, app_id)
    assert [endpoint.secrets for endpoint in found.endpoints] == [
        (Secret("v1", b"new"), Secret("v1", b"\x00old")),
        (Secret("v1", b"b"), Secret("v1", b"a")),
    ]
    assert found.refresh_at is not None
    assert abs(found.refresh_at - (now + 600)) < 0.001


async def test_named_keys_come_newest_first_while_they_are_valid(world: World) -> None:
    app_id, endpoint_id = await app_with_endpoint(world)
    other = new_endpoint()
    await world.put_endpoint(other, app_id, config())
    now = time.time()
    await world.put_key(endpoint_id, "stripe", "expired", expires_at=now - 60)
    await world.put_key(endpoint_id, "gone", "expired", expires_at=now - 60)
    await world.put_key(endpoint_id, "stripe", "old", expires_at=now + 900)
    await world.put_key(endpoint_id, "stripe", "-----BEGIN KEY-----\nMIIÄ\n")
    await world.put_key(endpoint_id, "api-key", "k")
    await world.put_secret(other, b"s", expires_at=now + 1000)
    before = await load(world, app_id)
    assert before.refresh_at is not None
    assert abs(before.refresh_at - (now + 900)) < 0.001
    await world.put_key(other, "api-key", "another", expires_at=now + 600)
    found = await load(world, app_id)
    assert [dict(endpoint.keys) for endpoint in found.endpoints] == [
        {"api-key": ("k",), "stripe": ("-----BEGIN KEY-----\nMIIÄ\n", "old")},
        {"api-key": ("another",)},
    ]
    assert found.version > before.version
    assert found.refresh_at is not None
    assert abs(found.refresh_at - (now + 600)) < 0.001
    assert "MII" not in repr(found)


async def test_the_schemas_of_pinned_versions_come_along_as_far_as_they_are_kept(world: World) -> None:
    app_id = new_app()
    await world.put_app(app_id, partition=1)
    for version, schema in ((1, '{"properties": {"id": {}}}'), (2, '{"type": "object"}'), (3, None)):
        await world.put_version("order.created", version, schema)
    await world.put_version("shop.opened", 1, "true")
    plain, one, other = sorted(new_endpoint() for _ in range(3))
    await world.put_endpoint(plain, app_id, config())
    await world.put_endpoint(one, app_id, config(payload_versions={"order.created": 1, "shop.opened": 1, "x": 7}))
    await world.put_endpoint(other, app_id, config(payload_versions={"order.created": 3, "shop.opened": 2}))

    async def pinned() -> list[dict[str, object]]:
        endpoints = (await load(world, app_id)).endpoints
        assert [endpoint.plain for endpoint in endpoints] == [not endpoint.pinned_schemas for endpoint in endpoints]
        return [
            {type: json.loads(schema) for type, schema in endpoint.pinned_schemas.items()} for endpoint in endpoints
        ]

    assert await pinned() == [{}, {"order.created": {"properties": {"id": {}}}, "shop.opened": True}, {}]
    await world.forget_version("order.created", 1)
    assert await pinned() == [{}, {"shop.opened": True}, {}]


async def test_a_version_is_loaded_with_its_endpoints_in_one_snapshot(world: World) -> None:
    """Whoever sees a version sees the endpoints of that version."""
    app_id = new_app()
    await world.put_app(app_id, partition=1)
    start = (await load(world, app_id)).version
    done = asyncio.Event()

    async def change() -> None:
        for _ in range(20):
            await world.put_endpoint(new_endpoint(), app_id, config())
        done.set()

    changing = asyncio.create_task(change())
    while not done.is_set():
        found = await load(world, app_id)
        # The harness inserts and then bumps: at most one endpoint is ahead of its version, and none behind it.
        assert found.version - start <= len(found.endpoints) <= found.version - start + 1
        await asyncio.sleep(0)
    await changing
    assert len((await load(world, app_id)).endpoints) == 20


async def test_changed_apps_of_a_partition(world: World) -> None:
    first, endpoint_id = await app_with_endpoint(world)
    second, _ = await app_with_endpoint(world)
    third, _ = await app_with_endpoint(world)
    await app_with_endpoint(world, partition=2)
    seen = (await world.log.heads([1]))[1].config_version
    assert await world.store.changed_apps(1, since_version=seen) == (seen, [])
    await world.put_endpoint(endpoint_id, first, config("https://example.com/other"))
    await world.delete_app(third)
    version, changed = await world.store.changed_apps(1, since_version=seen)
    assert (version, sorted(changed)) == ((await world.log.heads([1]))[1].config_version, [first, third])
    _, changed = await world.store.changed_apps(1, since_version=0)
    assert sorted(changed) == [first, second, third]


async def test_endpoints_know_their_app_until_they_are_deleted(world: World) -> None:
    first, kept = await app_with_endpoint(world)
    second, deleted = await app_with_endpoint(world, partition=2)
    other = new_endpoint()
    await world.put_endpoint(other, second, config(), enabled=False)
    await world.delete_endpoint(deleted)
    found = await world.store.endpoint_apps([kept, deleted, other, new_endpoint()])
    assert found == {kept: first, other: second}
    assert await world.store.endpoint_apps([]) == {}


async def test_events_reach_the_endpoints_of_their_version(world: World) -> None:
    """Read your writes: whoever is routed by an event's version, or a later one, sees an endpoint created before it."""
    app_id, endpoint_id = await app_with_endpoint(world)
    await world.log.append([draft(app_id)])
    (event,) = await world.log.read(1, 0, since=None)
    found = await load(world, app_id)
    assert found.version >= event.config_version
    assert [endpoint.id for endpoint in found.endpoints] == [endpoint_id]


# Effects


def disable(endpoint_id: EndpointId, partition: int, *, reason: str = "gone") -> Effect:
    kind = EffectKind.DISABLE_ENDPOINT
    return Effect(id=AttemptId(new_id()), partition=partition, endpoint_id=endpoint_id, kind=kind, reason=reason)


async def record(world: World, *effects: Effect) -> None:
    owner = new_owner()
    mine = await owns(world, owner)
    await world.store.journal(JournalBatch(owner=owner, epochs=mine, effects=effects), now=0.0, lease_seconds=LEASE)
    await world.store.release(owner, mine)


async def test_effects_wait_oldest_first(world: World) -> None:
    _, endpoint_id = await app_with_endpoint(world)
    effects = [disable(endpoint_id, partition) for partition in (3, 1, 2, 1)]
    await record(world, effects[2], effects[0], effects[3], effects[1])
    assert await world.store.effects([1, 2, 3], limit=10) == effects
    assert await world.store.effects([1, 2, 3], limit=2) == effects[:2]
    assert await world.store.effects([1], limit=10) == [effects[1], effects[3]]
    assert await world.store.effects([], limit=10) == []


async def test_an_endpoint_is_disabled_once_and_the_change_is_told(world: World) -> None:
    app_id, endpoint_id = await app_with_endpoint(world)
    effect = disable(endpoint_id, 1)
    await record(world, effect)
    before = (await load(world, app_id)).version
    await world.store.disable_endpoint(effect)
    found = await load(world, app_id)
    assert [endpoint.enabled for endpoint in found.endpoints] == [False]
    assert found.version > before
    assert (await world.store.changed_apps(1, since_version=before))[1] == [app_id]
    assert await world.disabled_reason(endpoint_id) == "gone"
    assert await world.store.effects([1], limit=10) == []
    # Somebody enables it again; the effect was done, and is not done a second time.
    await world.put_endpoint(endpoint_id, app_id, config())
    await world.store.disable_endpoint(effect)
    assert [endpoint.enabled for endpoint in (await load(world, app_id)).endpoints] == [True]


async def test_an_effect_done_at_once_by_several_is_done_once(world: World) -> None:
    app_id, endpoint_id = await app_with_endpoint(world)
    effect = disable(endpoint_id, 1)
    await record(world, effect)
    before = (await load(world, app_id)).version
    await asyncio.gather(*(world.store.disable_endpoint(effect) for _ in range(4)))
    assert (await load(world, app_id)).version == before + 1


async def test_disabling_what_is_disabled_or_gone_changes_nothing(world: World) -> None:
    app_id, endpoint_id = await app_with_endpoint(world)
    await world.put_endpoint(endpoint_id, app_id, config(), enabled=False)
    _, deleted = await app_with_endpoint(world)
    await world.delete_endpoint(deleted)
    effects = [disable(endpoint_id, 1), disable(deleted, 1), disable(new_endpoint(), 1)]
    await record(world, *effects)
    before = (await world.log.heads([1]))[1].config_version
    for effect in effects:
        await world.store.disable_endpoint(effect)
    assert (await world.log.heads([1]))[1].config_version == before
    assert await world.store.effects([1], limit=10) == []


async def test_an_effect_is_recorded_once(world: World) -> None:
    (event,) = await publish(world, 1)
    endpoint_id, owner = new_endpoint(), new_owner()
    made = attempt(event, endpoint_id)
    effect = Effect(
        id=made.id, partition=1, endpoint_id=endpoint_id, kind=EffectKind.DISABLE_ENDPOINT, reason="http_status"
    )
    mine = await owns(world, owner)
    batch = JournalBatch(owner=owner, epochs=mine, number=1, attempts=(made,), effects=(effect,))
    await world.store.journal(batch, now=0.0, lease_seconds=LEASE)
    await world.store.disable_endpoint(effect)
    await world.store.journal(batch, now=0.0, lease_seconds=LEASE)
    assert await world.store.effects([1], limit=10) == []
