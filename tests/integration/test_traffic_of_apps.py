"""What went on of apps that are asked for by name: each is told of once, whether anything went on or not."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.integration.api_world import World, world_over


@pytest.fixture
async def world(database: str) -> AsyncIterator[World]:
    async with world_over(database) as made:
        yield made


async def test_apps_are_asked_for_by_id_and_uid(world: World) -> None:
    one, two = await world.app("one"), await world.app("two")
    await world.app("three")
    rows = (await world.admin.get(f"/v1/traffic/apps?app={one}&app=two&app=one")).json()["data"]
    assert {row["app"]: (row["app_uid"], row["delivered"], row["p99_ms"]) for row in rows} == {
        one: ("one", 0, None),
        two: ("two", 0, None),
    }
    assert len(rows) == 2
    assert (await world.admin.get("/v1/traffic/apps?app=nope")).code == "app_not_found"
    assert (await world.admin.get("/v1/traffic/apps?" + "&".join(["app=one"] * 51))).path == "?app"
    client = await world.client_of("one")
    assert (await client.get("/v1/traffic/apps?app=one")).status == 403
