"""Apps and endpoints are found by their ids, by how their names and URLs begin, and by the state that they are in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import quote

import pytest
from tests.integration.api_world import World, raw, world_over

from posthouse.domain.ids import APP, ENDPOINT

ECHO: Final = {
    "kind": "request",
    "format": {"kind": "json", "body": {"challenge": "{challenge}"}},
    "expect": {"status": [200], "json": {"/challenge": "{challenge}"}},
}


@pytest.fixture
async def world(database: str) -> AsyncIterator[World]:
    async with world_over(database) as made:
        yield made


async def found(world: World, path: str, search: str, more: str = "") -> list[str]:
    reply = await world.admin.get(f"{path}?search={quote(search)}{more}")
    assert reply.status == 200, reply.body
    answer: dict[str, Any] = reply.json()
    return [row["id"] for row in answer["data"]]


async def test_an_app_is_found_by_its_id_and_by_how_its_uid_and_its_name_begin(world: World) -> None:
    named = [("shop-1", "Alpine Wares"), ("shop-2", "Borderless"), ("SHOP-3", "alpha"), (None, "Éclair")]
    apps = [(await world.admin.post("/v1/apps", {"uid": uid, "name": name})).json()["id"] for uid, name in named]
    one, two, three, four = apps

    assert await found(world, "/v1/apps", one) == [one]
    assert await found(world, "/v1/apps", one.upper()) == []
    assert await found(world, "/v1/apps", "shop-") == [two, one]
    assert await found(world, "/v1/apps", "SHOP") == [three]
    assert await found(world, "/v1/apps", "AL") == [three, one]
    assert await found(world, "/v1/apps", "alpine w") == [one]
    assert await found(world, "/v1/apps", "Éc") == [four]
    assert await found(world, "/v1/apps", "hop") == []
    assert await found(world, "/v1/apps", "%") == []
    assert await found(world, "/v1/apps", "a\0") == []
    page = (await world.admin.get("/v1/apps?search=shop-&limit=1")).json()
    assert [row["id"] for row in page["data"]] == [two]
    assert page["next"] is None
    assert (await world.admin.get("/v1/apps?search=")).path == "?search"
    assert (await world.admin.get(f"/v1/apps?search={'a' * 257}")).path == "?search"
    await world.admin.delete(f"/v1/apps/{two}")
    assert await found(world, "/v1/apps", "shop-") == [one]
    assert await found(world, "/v1/apps", two) == []


async def test_an_endpoint_is_found_by_its_id_and_by_how_its_uid_and_its_url_begin(world: World) -> None:
    for app in ("a", "b"):
        await world.app(app)
    one = await world.endpoint("a", uid="hook-1", url="https://shop.example.com/a")
    two = await world.endpoint("b", uid="hook-2", url="http://shop.example.com:8080/b")
    three = await world.endpoint("b", url="https://example.com/shop")
    ways = ("/v1/endpoints", "/v1/apps/b/endpoints")

    assert await found(world, "/v1/endpoints", one) == [one]
    assert await found(world, "/v1/endpoints", "hook") == [two, one]
    assert await found(world, "/v1/endpoints", "shop.example") == [two, one]
    assert await found(world, "/v1/endpoints", "Shop.Example") == [two, one]
    assert await found(world, "/v1/endpoints", "https://shop") == [one]
    for way in ways:
        assert await found(world, way, two) == [two]
        assert await found(world, way, "hook-2") == [two]
        assert await found(world, way, "shop.example.com:") == [two]
        assert await found(world, way, "example.com/") == [three]
        assert await found(world, way, "ook") == []
        assert await found(world, way, "a\0") == []
    assert await found(world, "/v1/apps/b/endpoints", one) == []
    assert await found(world, "/v1/endpoints", "hook", "&app=a") == [one]
    assert await found(world, "/v1/endpoints", "hook", "&enabled=false") == []
    page = (await world.admin.get("/v1/endpoints?search=hook&limit=1")).json()
    assert ([row["id"] for row in page["data"]], page["next"]) == ([two], None)
    page = (await world.admin.get("/v1/endpoints?search=hook&limit=1&app=b")).json()
    assert ([row["id"] for row in page["data"]], page["next"]) == ([two], None)


async def test_endpoints_are_listed_by_the_state_that_they_are_in(world: World) -> None:
    app = raw(APP, await world.app("a"))
    await world.endpoint("a", uid="well")
    paused = await world.endpoint("a", uid="paused", paused=True)
    both = await world.endpoint("a", uid="both", paused=True, enabled=False)
    opened = await world.endpoint("a", uid="opened")
    unverified = await world.endpoint("a", uid="unverified", handshake={"steps": [ECHO]})
    gone = await world.endpoint("a", uid="gone")
    for endpoint in (opened, gone):
        await world.database.execute(
            "INSERT INTO endpoint_health (partition, endpoint_id, circuit)"
            " SELECT partition, $2, 'open' FROM app WHERE id = $1",
            app,
            raw(ENDPOINT, endpoint),
        )
    await world.database.execute("UPDATE endpoint SET deleted_at = now() WHERE id = $1", raw(ENDPOINT, gone))

    for way in ("/v1/endpoints?", "/v1/apps/a/endpoints?", "/v1/endpoints?app=a&"):

        async def ids(query: str, way: str = way) -> list[str]:
            return [row["id"] for row in (await world.admin.get(way + query)).json()["data"]]

        assert await ids("state=paused") == [both, paused]
        assert await ids("state=paused&enabled=true") == [paused]
        assert await ids("state=circuit_open") == [opened]
        assert await ids("state=unverified") == [unverified]
        assert await ids("state=paused&search=p") == [paused]
        assert await ids("state=circuit_open&search=https://") == [opened]
        assert await ids("state=paused&limit=1") == [both]
        assert (await world.admin.get(f"{way}state=nice")).path == "?state"
    page = (await world.admin.get("/v1/endpoints?state=paused&limit=1")).json()
    page = (await world.admin.get(f"/v1/endpoints?state=paused&limit=1&cursor={page['next']}")).json()
    assert [row["id"] for row in page["data"]] == [paused]
    assert page["next"] is None
