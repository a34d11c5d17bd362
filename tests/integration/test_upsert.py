"""PUT: a thing under a name of the platform's own is made, or replaced as a whole; at the same time, too."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
from tests.integration.api_world import REFUSED_HOST, World, raw, world_over

from posthouse.domain.ids import APP, ENDPOINT, format_id
from posthouse_sdk.signatures import generate_signing_key

URL: Final = "https://example.com/hooks"
APP_FIELDS: Final[dict[str, Any]] = {
    "name": "Shop",
    "metadata": {"a": 1},
    "quotas": {"publish_per_second": 2.5, "endpoints_max": 3, "stored_bytes_max": 1000},
}
APP_DEFAULTS: Final[dict[str, Any]] = {
    "name": "",
    "metadata": {},
    "quotas": {"publish_per_second": None, "endpoints_max": None, "stored_bytes_max": None},
}
ENDPOINT_FIELDS: Final[dict[str, Any]] = {
    "description": "old",
    "metadata": {"a": 1},
    "enabled": False,
    "paused": True,
    "events": ["order.*"],
    "channels": ["eu"],
    "headers": {"X-A": "b"},
    "retry": {
        "schedule": [1.0],
        "exponential": None,
        "jitter": 0.5,
        "by_type": {"order.*": {"schedule": [2.0], "exponential": None}},
    },
    "timeouts": {"connect": 1.0, "first_byte": 2.0, "total": 3.0},
    "concurrency": 7,
}
OWN: Final = {"id", "app", "uid", "revision", "created_at", "updated_at"}


@pytest.fixture
async def world(database: str) -> AsyncIterator[World]:
    async with world_over(database) as made:
        yield made


async def endpoint_defaults(world: World) -> dict[str, Any]:
    """What an endpoint is with nothing but a URL."""
    await world.app("plain")
    made = (await world.admin.post("/v1/apps/plain/endpoints", {"url": URL})).json()
    return {name: made[name] for name in made if name not in OWN | {"secret", "public_key", "made_keys"}}


async def test_an_app_is_made_and_then_replaced_as_a_whole(world: World) -> None:
    made = await world.admin.put("/v1/apps/shop", APP_FIELDS)
    assert made.status == 201
    app = made.json()
    assert app["uid"] == "shop"
    assert {name: app[name] for name in APP_FIELDS} == APP_FIELDS
    same = await world.admin.put("/v1/apps/shop", APP_FIELDS | {"uid": "shop"})
    assert (same.status, same.json()) == (200, app)
    replaced = await world.admin.put("/v1/apps/shop", {"metadata": {"b": 2}})
    assert replaced.status == 200
    assert replaced.json() | {"updated_at": ""} == app | APP_DEFAULTS | {"metadata": {"b": 2}, "updated_at": ""}
    assert await world.query("SELECT action FROM audit WHERE action LIKE 'app.%' ORDER BY id") == [
        ("app.created",),
        ("app.replaced",),
    ]


@pytest.mark.parametrize("name", APP_FIELDS)
async def test_each_field_of_an_app_left_out_null_or_given(world: World, name: str) -> None:
    await world.admin.put("/v1/apps/shop", APP_FIELDS)
    assert (await world.admin.patch("/v1/apps/shop", {})).json()[name] == APP_FIELDS[name]
    assert (await world.admin.patch("/v1/apps/shop", {name: None})).json()[name] == APP_DEFAULTS[name]
    others = {other: value for other, value in APP_FIELDS.items() if other != name}
    shown = (await world.admin.get("/v1/apps/shop")).json()
    assert {other: shown[other] for other in others} == others
    assert (await world.admin.patch("/v1/apps/shop", {name: APP_FIELDS[name]})).json()[name] == APP_FIELDS[name]
    assert (await world.admin.put("/v1/apps/shop", others)).json()[name] == APP_DEFAULTS[name]
    assert (await world.admin.put("/v1/apps/shop", others | {name: None})).json()[name] == APP_DEFAULTS[name]


async def test_the_uid_of_an_app_left_out_null_or_given(world: World) -> None:
    app = await world.app("shop")
    assert (await world.admin.patch("/v1/apps/shop", {"name": "x"})).json()["uid"] == "shop"
    assert (await world.admin.put("/v1/apps/shop", {"uid": None})).json()["uid"] == "shop"
    assert (await world.admin.put("/v1/apps/shop", {"uid": "other"})).path == "uid"
    assert (await world.admin.put(f"/v1/apps/{app}", {"uid": "renamed"})).json()["uid"] == "renamed"
    assert (await world.admin.put(f"/v1/apps/{app}", {"name": "x"})).json()["uid"] is None
    assert (await world.admin.patch(f"/v1/apps/{app}", {"uid": "shop"})).json()["uid"] == "shop"
    assert (await world.admin.patch(f"/v1/apps/{app}", {"uid": None})).json()["uid"] is None


async def test_an_id_addresses_what_is_there(world: World) -> None:
    app = await world.app("shop")
    endpoint = await world.endpoint("shop")
    assert (await world.admin.put(f"/v1/apps/{app}", {"name": "x", "uid": "shop"})).status == 200
    url = f"/v1/apps/{app}/endpoints"
    assert (await world.admin.put(f"{url}/{endpoint}", {"url": URL})).json()["id"] == endpoint
    for path, body, code in (
        (f"/v1/apps/{format_id(APP, b'x' * 16)}", {}, "app_not_found"),
        (f"{url}/{format_id(ENDPOINT, b'x' * 16)}", {"url": URL}, "endpoint_not_found"),
        ("/v1/apps/nope/endpoints/main", {"url": URL}, "app_not_found"),
    ):
        refused = await world.admin.put(path, body)
        assert (refused.status, refused.code) == (404, code), path
    # The id of another kind is a name like any other.
    assert (await world.admin.put(f"{url}/{app}", {"url": URL})).status == 201


@pytest.mark.parametrize("name", [".", "..", ".hidden", "a b", "x" * 129, "订单", "a%00b"])
async def test_a_name_that_cannot_be_one(world: World, name: str) -> None:
    await world.app("shop")
    for path in (f"/v1/apps/{name}", f"/v1/apps/shop/endpoints/{name}"):
        refused = await world.admin.put(path, {"url": URL} if "endpoints" in path else {})
        assert (refused.status, refused.path) == (422, "uid"), path
    assert await world.query("SELECT count(*) FROM app WHERE uid NOT IN ('operations', 'platform')") == [(1,)]


async def test_an_endpoint_is_made_and_then_replaced_as_a_whole(world: World) -> None:
    defaults = await endpoint_defaults(world)
    await world.app("shop")
    url = "/v1/apps/shop/endpoints/main"
    made = await world.admin.put(url, {"url": URL} | ENDPOINT_FIELDS)
    assert made.status == 201
    endpoint = made.json()
    assert endpoint["uid"] == "main"
    assert endpoint["secret"].startswith("whsec_")
    assert {name: endpoint[name] for name in ENDPOINT_FIELDS} == ENDPOINT_FIELDS
    secret = (await world.admin.get(f"{url}/secret")).json()
    same = await world.admin.put(url, {"url": URL} | ENDPOINT_FIELDS)
    assert (same.status, same.json()) == (
        200,
        {name: value for name, value in endpoint.items() if name not in ("secret", "public_key", "made_keys")},
    )
    replaced = await world.admin.put(url, {"url": "https://example.org/"})
    assert replaced.status == 200
    assert {name: replaced.json()[name] for name in defaults} == defaults | {"url": "https://example.org/"}
    assert (replaced.json()["id"], replaced.json()["revision"]) == (endpoint["id"], 2)
    assert (await world.admin.get(f"{url}/secret")).json() == secret
    assert (await world.admin.put(url, {})).path == "url"
    assert (await world.admin.put(url, {"url": None})).path == "url"


@pytest.mark.parametrize("name", ENDPOINT_FIELDS)
async def test_each_field_of_an_endpoint_left_out_null_or_given(world: World, name: str) -> None:
    defaults = await endpoint_defaults(world)
    await world.app("shop")
    url = "/v1/apps/shop/endpoints/main"
    await world.admin.put(url, {"url": URL} | ENDPOINT_FIELDS)
    assert (await world.admin.patch(url, {})).json()[name] == ENDPOINT_FIELDS[name]
    assert (await world.admin.patch(url, {name: None})).json()[name] == defaults[name]
    others = {other: value for other, value in ENDPOINT_FIELDS.items() if other != name}
    shown = (await world.admin.get(url)).json()
    assert {other: shown[other] for other in others} == others
    assert (await world.admin.patch(url, {name: ENDPOINT_FIELDS[name]})).json()[name] == ENDPOINT_FIELDS[name]
    assert (await world.admin.put(url, {"url": URL} | others)).json()[name] == defaults[name]
    assert (await world.admin.put(url, {"url": URL, name: None} | others)).json()[name] == defaults[name]


async def test_a_put_keeps_secrets_and_takes_the_one_that_signs(world: World) -> None:
    await world.app("shop")
    url = "/v1/apps/shop/endpoints/main"
    first = generate_signing_key(secrets.token_bytes(32)).text
    made = await world.admin.put(url, {"url": URL, "secret": first})
    assert (made.status, made.json()["secret"]) == (201, first)
    assert made.json()["public_key"].startswith("whpk_")
    for body in ({"url": URL, "secret": first}, {"url": URL}, {"url": URL, "secret": None}):
        assert (await world.admin.put(url, body)).status == 200
    other = generate_signing_key(secrets.token_bytes(32)).text
    refused = await world.admin.put(url, {"url": "https://example.org/", "secret": other})
    assert (refused.status, refused.code) == (409, "secret_differs")
    assert first not in refused.body.decode()
    assert other not in refused.body.decode()
    assert (await world.admin.get(url)).json()["url"] == URL
    await world.admin.post(f"{url}/secret/rotate", {"secret": other})
    assert (await world.admin.put(url, {"url": URL, "secret": first})).code == "secret_differs"
    assert (await world.admin.put(url, {"url": URL, "secret": other})).status == 200
    assert len((await world.admin.get(f"{url}/secret")).json()["expiring"]) == 1


async def test_a_new_target_is_checked_and_an_old_one_is_not(world: World) -> None:
    await world.app("shop")
    url = "/v1/apps/shop/endpoints/main"
    assert (await world.admin.put(url, {"url": f"https://{REFUSED_HOST}/"})).code == "target_refused"
    assert (await world.admin.get(url)).status == 404
    await world.admin.put(url, {"url": URL})
    assert (await world.admin.put(url, {"url": f"https://{REFUSED_HOST}/"})).code == "target_refused"


async def test_of_those_who_put_at_once_one_makes_it(world: World) -> None:
    for number in range(5):
        bodies = [{"name": f"writer {writer}"} for writer in range(8)]
        replies = await asyncio.gather(*(world.admin.put(f"/v1/apps/shop-{number}", body) for body in bodies))
        assert sorted(reply.status for reply in replies) == [200] * 7 + [201]
        assert len({reply.json()["id"] for reply in replies}) == 1
        for path in (f"/v1/apps/shop-{number}/endpoints/main",):
            replies = await asyncio.gather(
                *(world.admin.put(path, {"url": URL, "concurrency": writer + 1}) for writer in range(8))
            )
            assert sorted(reply.status for reply in replies) == [200] * 7 + [201]
            assert len({reply.json()["id"] for reply in replies}) == 1
            assert sum("secret" in reply.json() for reply in replies) == 1
    assert await world.query("SELECT count(*) FROM app WHERE uid NOT IN ('operations', 'platform')") == [(5,)]
    assert await world.query("SELECT count(*) FROM endpoint") == [(5,)]
    assert await world.query("SELECT count(*) FROM secret") == [(5,)]


async def test_putting_while_others_delete_and_rename(world: World) -> None:
    async def put() -> None:
        for _ in range(10):
            reply = await world.admin.put("/v1/apps/shop/endpoints/main", {"url": URL})
            assert reply.status in (200, 201) or reply.code in ("app_not_found", "changing"), reply.body
            reply = await world.admin.put("/v1/apps/shop", {"name": "x"})
            assert reply.status in (200, 201) or reply.code == "changing", reply.body

    async def disturb() -> None:
        for number in range(10):
            assert (await world.admin.patch("/v1/apps/shop", {"uid": f"renamed-{number}"})).status in (200, 404)
            assert (await world.admin.delete(f"/v1/apps/renamed-{number}")).status in (204, 404)

    async with asyncio.timeout(60):
        await asyncio.gather(put(), put(), disturb())
    live = await world.query("SELECT uid FROM app WHERE deleted_at IS NULL")
    assert len(live) == len(set(live))


async def test_only_an_administrator_puts_apps_and_an_app_puts_its_endpoints(world: World) -> None:
    app = await world.app("shop")
    await world.app("other")
    client = await world.client_of(app)
    for reference in ("shop", app):
        assert (await client.put(f"/v1/apps/{reference}", {"name": "x"})).status == 403
    for reference in ("other", "new"):
        assert (await client.put(f"/v1/apps/{reference}", {"name": "x"})).code == "app_not_found"
    assert (await client.put("/v1/apps/shop/endpoints/main", {"url": URL})).status == 201
    assert (await client.put("/v1/apps/other/endpoints/main", {"url": URL})).code == "app_not_found"
    assert (await client.get("/v1/apps/shop")).json()["name"] == ""


async def test_revisions_are_listed_newest_first(world: World) -> None:
    await world.app("shop")
    url = "/v1/apps/shop/endpoints/main"
    made = (await world.admin.put(url, {"url": URL, "events": ["order.*"]})).json()
    await world.admin.patch(url, {"url": "https://example.org/"})
    await world.admin.patch(url, {"metadata": {"not": "part of a request"}})
    shown = (await world.admin.put(url, {"url": "https://example.org/", "headers": {"X-A": "b"}})).json()
    page = (await world.admin.get(f"{url}/revisions")).json()
    assert [entry["revision"] for entry in page["data"]] == [3, 2, 1]
    configs = [entry["config"] for entry in page["data"]]
    assert configs[0] == {name: shown[name] for name in configs[0]}
    assert configs[2] == {name: made[name] for name in configs[2]}
    assert set(shown) - set(configs[0]) == OWN | {
        "metadata", "enabled", "disabled_reason", "disabled_at", "paused", "failing_since", "held_until", "circuit", "keys"
    }  # fmt: skip
    assert page["next"] is None
    seen, cursor = [], ""
    while True:
        page = (await world.admin.get(f"{url}/revisions?limit=1{cursor}")).json()
        seen += [entry["revision"] for entry in page["data"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert seen == [3, 2, 1]
    times = await world.query(
        "SELECT revision FROM endpoint_revision WHERE endpoint_id = $1", raw(ENDPOINT, made["id"])
    )
    assert len(times) == 3


async def test_endpoints_of_all_apps(world: World) -> None:
    made = []
    for number in range(3):
        await world.app(f"app-{number}")
        made += [await world.endpoint(f"app-{number}"), await world.endpoint(f"app-{number}", enabled=False)]
    gone = await world.endpoint("app-0")
    await world.admin.delete(f"/v1/apps/app-0/endpoints/{gone}")

    async def ids(query: str) -> list[str]:
        return [entry["id"] for entry in (await world.admin.get(f"/v1/endpoints{query}")).json()["data"]]

    newest = made[::-1]
    assert await ids("") == newest
    assert await ids("?app=app-1") == newest[2:4]
    assert await ids("?enabled=true") == newest[1::2]
    assert await ids("?enabled=false") == newest[0::2]
    assert await ids("?app=app-1&enabled=false") == newest[2:3]
    assert [
        entry["id"] for entry in (await world.admin.get("/v1/apps/app-1/endpoints?enabled=true")).json()["data"]
    ] == newest[3:4]
    seen, cursor = [], ""
    while True:
        page = (await world.admin.get(f"/v1/endpoints?limit=4{cursor}")).json()
        seen += [entry["id"] for entry in page["data"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert seen == newest
    assert (await world.admin.get("/v1/endpoints?app=nope")).code == "app_not_found"
    assert (await world.admin.get("/v1/endpoints?url=x")).path == "?url"
    client = await world.client_of("app-0")
    assert (await client.get("/v1/endpoints")).status == 403
    assert (await client.get("/v1/endpoints?app=app-0")).status == 403
