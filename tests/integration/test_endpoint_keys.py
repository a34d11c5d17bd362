"""Named keys of endpoints over the API: written, rotated, deleted, and never shown."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping

import pytest
from tests.integration.api_world import World, raw, world_over

from posthouse.domain.ids import APP, AppId

AT = "/v1/apps/shop/endpoints/main"
URL = "https://example.com/hooks"


@pytest.fixture
async def world(database: str) -> AsyncIterator[World]:
    async with world_over(database) as made:
        await made.app("shop")
        yield made


async def loaded(world: World, app: str = "shop") -> Mapping[str, tuple[str, ...]]:
    """The keys as the engine gets them, and that the app's version is the partition's newest."""
    app_id = AppId(raw(APP, (await world.admin.get(f"/v1/apps/{app}")).json()["id"]))
    (config,) = await world.store.apps([app_id])
    (endpoint,) = config.endpoints
    assert (await world.log.heads([config.partition]))[config.partition].config_version == config.version
    return endpoint.keys


async def test_keys_are_given_with_an_endpoint_and_never_shown(world: World) -> None:
    made = await world.admin.post(
        "/v1/apps/shop/endpoints", {"url": URL, "uid": "main", "keys": {"legacy": "h\u00fcsh\n", "api-key": "key-2"}}
    )
    assert made.status == 201
    assert made.json()["keys"] == ["api-key", "legacy"]
    assert dict(await loaded(world)) == {"api-key": ("key-2",), "legacy": ("h\u00fcsh\n",)}
    for path in (AT, f"{AT}/keys", f"{AT}/revisions", "/v1/endpoints", "/v1/audit"):
        told = await world.admin.get(path)
        assert told.status == 200
        assert b"sh\\n" not in told.body + made.body
        assert b"key-2" not in told.body + made.body
    (entry,) = (await world.admin.get("/v1/audit?action=endpoint.created")).json()["data"]
    assert entry["detail"] == {"keys": ["api-key", "legacy"]}
    assert all(b"key-2" not in sealed for (sealed,) in await world.query("SELECT ciphertext FROM endpoint_key"))


async def test_a_key_is_rotated_and_deleted(world: World) -> None:
    await world.endpoint("shop", uid="main")
    first = await world.admin.put(f"{AT}/keys/legacy", {"value": "one"})
    assert (first.status, [v["version"] for v in first.json()["versions"]]) == (200, [1])
    before = time.time()
    second = (await world.admin.put(f"{AT}/keys/legacy", {"value": "two", "overlap_seconds": 60})).json()
    assert [(v["version"], v["expires_at"] is None) for v in second["versions"]] == [(2, True), (1, False)]
    assert (await world.admin.get(f"{AT}/keys")).json() == {"data": [second]}
    assert (await loaded(world))["legacy"] == ("two", "one")
    again = await world.admin.put(f"{AT}/keys/legacy", {"value": "two"})
    assert again.json() == second
    (config,) = await world.store.apps([AppId(raw(APP, (await world.admin.get("/v1/apps/shop")).json()["id"]))])
    assert config.refresh_at is not None
    assert before + 55 < config.refresh_at < time.time() + 65
    third = await world.admin.put(f"{AT}/keys/legacy", {"value": "three", "overlap_seconds": 0})
    assert [v["version"] for v in third.json()["versions"]] == [3]
    assert dict(await loaded(world)) == {"legacy": ("three",)}
    assert (await world.admin.delete(f"{AT}/keys/legacy")).status == 204
    assert dict(await loaded(world)) == {}
    assert (await world.admin.get(f"{AT}/keys")).json() == {"data": []}
    assert (await world.admin.get(AT)).json()["keys"] == []
    assert (await world.admin.delete(f"{AT}/keys/legacy")).code == "endpoint_key_not_found"
    assert [action for action, _ in await world.audit() if "key" in action.partition(".")[2]] == [
        "endpoint.key_put",
        "endpoint.key_put",
        "endpoint.key_put",
        "endpoint.key_deleted",
    ]


async def test_a_put_of_an_endpoint_keeps_keys_and_rotates_those_that_are_others(world: World) -> None:
    body = {"url": URL, "keys": {"legacy": "one", "api": "k"}}
    assert (await world.admin.put(AT, body)).status == 201
    for _ in range(2):
        assert (await world.admin.put(AT, body)).json()["keys"] == ["api", "legacy"]
    assert dict(await loaded(world)) == {"api": ("k",), "legacy": ("one",)}
    assert (await world.admin.put(AT, {"url": URL})).status == 200
    assert (await world.admin.put(AT, {"url": URL, "keys": {"legacy": "two"}})).status == 200
    assert dict(await loaded(world)) == {"api": ("k",), "legacy": ("two", "one")}
    assert (await world.admin.patch(AT, {"keys": {}})).path == "keys"


async def test_keys_go_with_their_endpoint_and_app(world: World) -> None:
    await world.app("other")
    for app in ("shop", "other"):
        await world.endpoint(app, uid="main", keys={"legacy": "x"})
    assert (await world.admin.delete(AT)).status == 204
    assert await world.query("SELECT count(*) FROM endpoint_key") == [(1,)]
    assert (await world.admin.delete("/v1/apps/other")).status == 204
    assert await world.query("SELECT count(*) FROM endpoint_key") == [(0,)]


async def test_a_key_that_does_not_open_is_not_there_and_is_replaced(world: World) -> None:
    await world.endpoint("shop", uid="main", keys={"legacy": "x", "api": "k"})
    await world.query("UPDATE endpoint_key SET ciphertext = ciphertext || 'x' WHERE name = 'legacy'")
    assert dict(await loaded(world)) == {"api": ("k",)}
    assert (await world.admin.patch(AT, {"description": "still there"})).status == 200
    assert (await world.admin.put(f"{AT}/keys/legacy", {"value": "y"})).status == 200
    assert dict(await loaded(world)) == {"api": ("k",), "legacy": ("y",)}


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"keys": {"Legacy": "x"}}, "keys"),
        ({"keys": {"legacy": ""}}, "keys"),
        ({"keys": {"legacy": "x" * 16_385}}, "keys"),
        ({"keys": {"legacy": 5}}, "keys.legacy"),
        ({"keys": {f"key{number}": "x" for number in range(17)}}, "keys"),
    ],
)
async def test_bad_keys_of_an_endpoint(world: World, body: dict[str, object], path: str) -> None:
    refused = await world.admin.post("/v1/apps/shop/endpoints", {"url": URL} | body)
    assert (refused.status, refused.path) == (422, path)
    assert b"xxx" not in refused.body


@pytest.mark.parametrize(
    ("name", "body", "path"),
    [
        ("legacy", {}, "value"),
        ("legacy", {"value": ""}, "value"),
        ("legacy", {"value": "x", "overlap_seconds": -1}, "overlap_seconds"),
        ("legacy", {"value": "x", "overlap_seconds": 2_592_001}, "overlap_seconds"),
        ("Legacy", {"value": "x"}, "value"),
    ],
)
async def test_bad_keys(world: World, name: str, body: dict[str, object], path: str) -> None:
    await world.endpoint("shop", uid="main")
    refused = await world.admin.put(f"{AT}/keys/{name}", body)
    assert (refused.status, refused.path) == (422, path)


async def test_a_key_too_many(world: World) -> None:
    await world.endpoint("shop", uid="main", keys={f"key{number}": "x" for number in range(16)})
    refused = await world.admin.put(f"{AT}/keys/one-more", {"value": "x"})
    assert (refused.status, refused.code) == (422, "too_many_keys")
    for text in ("1", "2", "3"):
        assert (await world.admin.put(f"{AT}/keys/key0", {"value": text})).status == 200
    refused = await world.admin.put(f"{AT}/keys/key0", {"value": "4"})
    assert (refused.status, refused.code) == (409, "too_many_versions")


async def test_what_is_not_there_and_what_is_not_theirs(world: World) -> None:
    await world.endpoint("shop", uid="main")
    await world.app("other")
    stranger = await world.client_of("other")
    for at, code in ((f"{AT}x", "endpoint_not_found"), ("/v1/apps/none/endpoints/main", "app_not_found")):
        assert (await world.admin.get(f"{at}/keys")).code == code
        assert (await world.admin.put(f"{at}/keys/a", {"value": "x"})).code == code
        assert (await world.admin.delete(f"{at}/keys/a")).code == code
    assert (await stranger.put(f"{AT}/keys/a", {"value": "x"})).code == "app_not_found"
    assert (await (await world.client_of("shop")).put(f"{AT}/keys/a", {"value": "x"})).status == 200
