"""Changes of the configuration at the same time: none is lost, none waits for another in a ring."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.integration.api_world import World, raw, world_over

from posthouse.domain.delivery import Effect, EffectKind
from posthouse.domain.ids import APP, ENDPOINT, AttemptId, EndpointId


@pytest.fixture
async def world(database: str) -> AsyncIterator[World]:
    async with world_over(database) as made:
        yield made


async def test_changes_of_different_fields_at_once_all_stay(world: World) -> None:
    await world.app("shop")
    endpoint = await world.endpoint("shop")
    url = f"/v1/apps/shop/endpoints/{endpoint}"
    changes: list[dict[str, Any]] = [
        {"description": "new"},
        {"events": ["order.*"]},
        {"channels": ["eu"]},
        {"headers": {"X-A": "b"}},
        {"timeouts": {"total": 30}},
        {"concurrency": 7},
        {"metadata": {"a": 1}},
        {"uid": "main"},
    ]
    replies = await asyncio.gather(*(world.admin.patch(url, change) for change in changes))
    assert {reply.status for reply in replies} == {200}
    shown = (await world.admin.get(url)).json()
    for change in changes:
        for name, value in change.items():
            if name != "timeouts":
                assert shown[name] == value
    assert shown["timeouts"]["total"] == 30
    assert shown["revision"] == 7
    revisions = await world.query(
        "SELECT revision FROM endpoint_revision WHERE endpoint_id = $1 ORDER BY 1", raw(ENDPOINT, endpoint)
    )
    assert revisions == [(number,) for number in range(1, 8)]


async def test_of_many_with_one_name_one_is_made(world: World) -> None:
    replies = await asyncio.gather(*(world.admin.post("/v1/apps", {"uid": "shop"}) for _ in range(8)))
    assert sorted(reply.status for reply in replies) == [201] + [409] * 7
    replies = await asyncio.gather(
        *(world.admin.post("/v1/apps/shop/endpoints", {"url": "https://example.com/", "uid": "main"}) for _ in range(8))
    )
    assert sorted(reply.status for reply in replies) == [201] + [409] * 7


async def test_the_first_key_is_made_by_one_of_many(world: World) -> None:
    await world.query("UPDATE api_key SET revoked_at = now() RETURNING 1")
    made = await asyncio.gather(*(world.services.keys.ensure_first_key(None) for _ in range(6)))
    assert sum(key is not None for key in made) == 1


async def test_people_and_the_engine_change_the_same_things_without_a_deadlock(world: World) -> None:
    app = raw(APP, await world.app("shop"))
    endpoints = [await world.endpoint("shop") for _ in range(3)]
    ((partition,),) = await world.query("SELECT partition FROM app WHERE id = $1", app)

    async def disable(endpoint: str) -> None:
        for _ in range(10):
            effect_id = world.clock.new_id()
            await world.query(
                "INSERT INTO effect (partition, id, endpoint_id, kind, reason) VALUES ($1, $2, $3, 'disable_endpoint', 'gone')"
                " RETURNING 1",
                partition,
                effect_id,
                raw(ENDPOINT, endpoint),
            )
            await world.store.disable_endpoint(
                Effect(
                    id=AttemptId(effect_id),
                    partition=partition,
                    endpoint_id=EndpointId(raw(ENDPOINT, endpoint)),
                    kind=EffectKind.DISABLE_ENDPOINT,
                    reason="gone",
                )
            )

    async def change(endpoint: str) -> None:
        url = f"/v1/apps/shop/endpoints/{endpoint}"
        for number in range(10):
            for reply in (
                await world.admin.patch(url, {"enabled": True, "concurrency": number + 1}),
                await world.admin.post(f"{url}/secret/rotate", {"overlap_seconds": 0}),
            ):
                assert reply.status == 200, reply.body

    async def change_app() -> None:
        for number in range(10):
            assert (await world.admin.patch("/v1/apps/shop", {"name": str(number)})).status == 200
            assert (await world.admin.delete(f"/v1/apps/shop/endpoints/{await world.endpoint('shop')}")).status == 204

    async with asyncio.timeout(30):
        await asyncio.gather(*map(disable, endpoints), *map(change, endpoints), change_app(), change_app())


async def test_an_endpoint_made_while_its_app_is_deleted_goes_with_it(world: World) -> None:
    for number in range(5):
        app = await world.app(f"shop-{number}")
        replies = await asyncio.gather(
            *(world.admin.post(f"/v1/apps/{app}/endpoints", {"url": "https://example.com/"}) for _ in range(4)),
            world.admin.delete(f"/v1/apps/{app}"),
        )
        assert {reply.status for reply in replies} <= {201, 204, 404}
    assert await world.query("SELECT count(*) FROM endpoint WHERE deleted_at IS NULL") == [(0,)]
    assert await world.query("SELECT count(*) FROM secret") == [(0,)]


async def test_a_change_that_is_refused_leaves_no_trace(world: World) -> None:
    await world.app("other")
    app = await world.app("shop")
    before = await world.query("SELECT config_version, updated_at FROM app WHERE id = $1", raw(APP, app))
    audited = await world.audit()
    assert (await world.admin.patch(f"/v1/apps/{app}", {"uid": "other"})).status == 409
    assert await world.query("SELECT config_version, updated_at FROM app WHERE id = $1", raw(APP, app)) == before
    assert await world.audit() == audited
