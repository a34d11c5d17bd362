"""The API over a real database: configuration, keys, and what any answer has in common."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest
from standardwebhooks import Webhook
from tests.integration.api_world import REFUSED_HOST, World, raw, world_over

from posthouse.domain.ids import APP, ENDPOINT, KEY, AppId, format_id
from posthouse.domain.limits import SECRETS_MAX
from posthouse_sdk.signatures import generate_signing_key


@pytest.fixture
async def world(database: str) -> AsyncIterator[World]:
    async with world_over(database) as made:
        yield made


# Apps


async def test_apps(world: World) -> None:
    made = await world.admin.post("/v1/apps", {"uid": "shop-1", "name": "Shop", "metadata": {"plan": [1, None]}})
    assert made.status == 201
    app = made.json()
    assert raw(APP, app["id"])
    assert (app["uid"], app["name"], app["metadata"]) == ("shop-1", "Shop", {"plan": [1, None]})
    datetime.strptime(app["created_at"], "%Y-%m-%dT%H:%M:%S.%fZ")
    for reference in (app["id"], "shop-1"):
        assert (await world.admin.get(f"/v1/apps/{reference}")).json() == app
    taken = await world.admin.post("/v1/apps", {"uid": "shop-1"})
    assert (taken.status, taken.code) == (409, "uid_taken")
    other = await world.app("shop-2")
    assert (await world.admin.patch(f"/v1/apps/{other}", {"uid": "shop-1"})).code == "uid_taken"

    changed = (await world.admin.patch("/v1/apps/shop-1", {"uid": "shop-3"})).json()
    assert (changed["uid"], changed["name"], changed["metadata"]) == ("shop-3", "Shop", {"plan": [1, None]})
    reset = (await world.admin.patch("/v1/apps/shop-3", {"uid": None, "name": None, "metadata": None})).json()
    assert (reset["uid"], reset["name"], reset["metadata"]) == (None, "", {})
    assert (await world.admin.get("/v1/apps/shop-3")).code == "app_not_found"

    assert (await world.admin.delete(f"/v1/apps/{app['id']}")).status == 204
    assert (await world.admin.get(f"/v1/apps/{app['id']}")).code == "app_not_found"
    assert (await world.admin.delete(f"/v1/apps/{app['id']}")).code == "app_not_found"
    # A name that is free again can be given again.
    assert (await world.admin.delete("/v1/apps/shop-2")).status == 204
    await world.app("shop-2")


async def test_apps_are_spread_over_partitions(world: World) -> None:
    for number in range(40):
        await world.app(f"app-{number}")
    assert {row[0] for row in await world.query("SELECT DISTINCT partition FROM app")} == {0, 1, 2, 3}


async def test_intake_finds_apps_by_id_and_uid(world: World) -> None:
    app = await world.app("shop")
    for reference in (app, "shop"):
        entry = await world.directory.find_app(reference)
        assert entry is not None
        assert (entry.id, entry.uid) == (raw(APP, app), "shop")
    for reference in ("", "nope", "no\0such", "app_x", format_id(APP, b"x" * 16)):
        assert await world.directory.find_app(reference) is None


# Endpoints

ENDPOINT_DEFAULTS: dict[str, Any] = {
    "uid": None,
    "description": "",
    "metadata": {},
    "enabled": True,
    "disabled_reason": None,
    "disabled_at": None,
    "paused": False,
    "failing_since": None,
    "held_until": None,
    "circuit": {"state": "closed", "opened_at": None, "next_probe_at": None},
    "events": [],
    "channels": [],
    "headers": {},
    "retry": {
        "schedule": [5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 50400.0, 72000.0, 86400.0],
        "exponential": None,
        "jitter": 0.1,
        "by_type": {},
    },
    "timeouts": {"connect": 5.0, "first_byte": 10.0, "total": 15.0},
    "concurrency": 16,
    "rate_limit": None,
    "ordering": "none",
    "on_exhausted": "skip",
    "batch": None,
    "fallback_urls": [],
    "equal_urls": [],
    "balance": "weighted",
    "max_age": None,
    "format": "json",
}


async def test_an_endpoint_needs_no_more_than_a_url(world: World) -> None:
    app = await world.app("shop")
    made = (await world.admin.post("/v1/apps/shop/endpoints", {"url": "https://example.com/hooks"})).json()
    assert made["app"] == app
    assert {name: made[name] for name in ENDPOINT_DEFAULTS} == ENDPOINT_DEFAULTS
    assert made["revision"] == 1
    assert made["public_key"] is None
    Webhook(made["secret"]).sign("evt_1", datetime.now().astimezone(), "{}")
    shown = (await world.admin.get(f"/v1/apps/shop/endpoints/{made['id']}")).json()
    assert shown == {name: value for name, value in made.items() if name not in ("secret", "public_key", "made_keys")}


async def test_an_endpoint_with_everything(world: World) -> None:
    await world.app("shop")
    wanted = {
        "url": "https://example.com:8443/hooks?x=1",
        "uid": "main",
        "description": "订单",
        "metadata": {"a": {"b": [1.5]}},
        "enabled": False,
        "events": ["order.*", "user_register"],
        "channels": ["eu"],
        "headers": {"X-Shop": "42", "Authorization": "Bearer x"},
        "retry": {
            "exponential": {"base": 1, "factor": 3, "max": 100, "attempts": 5},
            "jitter": 0,
            "by_type": {"order.*": {"schedule": [1]}},
        },
        "timeouts": {"total": 30},
        "concurrency": 2,
        "rate_limit": {"per_second": 2.5},
        "ordering": "key",
        "on_exhausted": "block",
        "batch": {"max_events": 10},
        "fallback_urls": ["https://standby.example.com/hooks"],
        "equal_urls": [{"url": "https://node-2.example.com/hooks"}],
        "balance": "sticky",
        "max_age": 3600,
        "format": "cloudevents",
    }
    made = (await world.admin.post("/v1/apps/shop/endpoints", wanted)).json()
    expected = wanted | {
        "retry": {
            "schedule": None,
            "exponential": {"base": 1.0, "factor": 3.0, "max": 100.0, "attempts": 5},
            "jitter": 0.0,
            "by_type": {"order.*": {"schedule": [1.0], "exponential": None}},
        },
        "timeouts": {"connect": 5.0, "first_byte": 10.0, "total": 30.0},
        "rate_limit": {"per_second": 2.5, "burst": 3},
        "batch": {"max_events": 10, "max_bytes": 262_144, "max_wait_ms": 200},
        "equal_urls": [{"url": "https://node-2.example.com/hooks", "weight": 1}],
        "max_age": 3600.0,
        "disabled_reason": "by_hand",
    }
    assert {name: made[name] for name in expected} == expected
    assert (await world.admin.get("/v1/apps/shop/endpoints/main")).json()["id"] == made["id"]
    taken = await world.admin.post("/v1/apps/shop/endpoints", {"url": "https://example.com/", "uid": "main"})
    assert (taken.status, taken.code) == (409, "uid_taken")
    # Another app may use the same name.
    await world.app("other")
    await world.endpoint("other", uid="main")


async def test_a_patch_changes_what_it_names_and_keeps_every_revision(world: World) -> None:
    app = await world.app("shop")
    endpoint = await world.endpoint("shop", description="old", events=["order.*"], timeouts={"connect": 1, "total": 2})
    url = f"/v1/apps/shop/endpoints/{endpoint}"
    changed = (await world.admin.patch(url, {"url": "https://example.org/", "events": None})).json()
    assert (changed["url"], changed["events"], changed["description"]) == ("https://example.org/", [], "old")
    assert changed["revision"] == 2
    changed = (await world.admin.patch(url, {"timeouts": {"total": 30}})).json()
    assert changed["timeouts"] == {"connect": 5.0, "first_byte": 10.0, "total": 30.0}
    assert (await world.admin.patch(url, {"metadata": {"x": 1}, "uid": "main"})).json()["revision"] == 3
    assert (await world.admin.patch(url, {})).json()["revision"] == 3
    revisions = await world.query(
        "SELECT revision, config ->> 'url' FROM endpoint_revision WHERE endpoint_id = $1 ORDER BY 1",
        raw(ENDPOINT, endpoint),
    )
    assert revisions == [(1, "https://example.com/hooks"), (2, "https://example.org/"), (3, "https://example.org/")]
    assert (await world.admin.patch(url, {"url": None})).path == "url"
    assert (await world.admin.patch(url, {"secret": "whsec_x"})).path == "secret"
    (config,) = await world.store.apps([AppId(raw(APP, app))])
    assert config.endpoints[0].timeouts.total == 30.0


async def test_the_engine_sees_every_change_of_an_app(world: World) -> None:
    app = await world.app("shop")

    async def version() -> int:
        (row,) = await world.query("SELECT config_version FROM app WHERE id = $1", raw(APP, app))
        return int(row[0])

    seen = [await version()]
    endpoint = await world.endpoint("shop")
    url = f"/v1/apps/shop/endpoints/{endpoint}"
    seen.append(await version())
    for call in (
        world.admin.patch(url, {"concurrency": 3}),
        world.admin.post(f"{url}/pause"),
        world.admin.post(f"{url}/resume"),
        world.admin.post(f"{url}/secret/rotate"),
        world.admin.patch("/v1/apps/shop", {"name": "x"}),
        world.admin.delete(url),
        world.admin.delete("/v1/apps/shop"),
    ):
        assert (await call).status in (200, 204)
        seen.append(await version())
    assert seen == sorted(set(seen)), "each one is higher"
    (head,) = await world.query(
        "SELECT version FROM config_head c JOIN app a USING (partition) WHERE a.id = $1", raw(APP, app)
    )
    assert head[0] == seen[-1]


async def test_pause_and_resume(world: World) -> None:
    await world.app("shop")
    endpoint = await world.endpoint("shop")
    url = f"/v1/apps/shop/endpoints/{endpoint}"
    assert (await world.admin.post(f"{url}/pause")).json()["paused"]
    assert (await world.admin.post(f"{url}/pause", {})).json()["paused"]
    assert not (await world.admin.post(f"{url}/resume")).json()["paused"]


async def test_enabling_again_clears_why_it_was_disabled_and_that_it_failed(world: World) -> None:
    app = await world.app("shop")
    endpoint = await world.endpoint("shop")
    (row,) = await world.query("SELECT partition FROM app WHERE id = $1", raw(APP, app))
    await world.query(
        "INSERT INTO endpoint_health (partition, endpoint_id, failing_since) VALUES ($1, $2, to_timestamp(1000)) RETURNING 1",
        row[0],
        raw(ENDPOINT, endpoint),
    )
    await world.query(
        "UPDATE endpoint SET enabled = false, disabled_reason = 'gone', disabled_at = now() WHERE id = $1 RETURNING 1",
        raw(ENDPOINT, endpoint),
    )
    url = f"/v1/apps/shop/endpoints/{endpoint}"
    shown = (await world.admin.get(url)).json()
    assert (shown["enabled"], shown["disabled_reason"]) == (False, "gone")
    assert shown["failing_since"] == "1970-01-01T00:16:40.000Z"
    on = (await world.admin.patch(url, {"enabled": True})).json()
    assert (on["enabled"], on["disabled_reason"], on["disabled_at"], on["failing_since"]) == (True, None, None, None)


async def test_the_circuit_and_a_hold_are_shown(world: World) -> None:
    app = await world.app("shop")
    endpoint = await world.endpoint("shop")
    await world.query(
        "INSERT INTO endpoint_health (partition, endpoint_id, circuit, opened_at, probe_at, trips, held_until)"
        " SELECT partition, $2, 'open', to_timestamp(1000), to_timestamp(1005), 1, to_timestamp(1060) FROM app WHERE id = $1"
        " RETURNING 1",
        raw(APP, app),
        raw(ENDPOINT, endpoint),
    )
    open_circuit = {
        "state": "open",
        "opened_at": "1970-01-01T00:16:40.000Z",
        "next_probe_at": "1970-01-01T00:16:45.000Z",
    }
    for url in (f"/v1/apps/shop/endpoints/{endpoint}", "/v1/apps/shop/endpoints", "/v1/endpoints?enabled=true"):
        shown = (await world.admin.get(url)).json()
        shown = shown["data"][0] if "data" in shown else shown
        assert shown["circuit"] == open_circuit
        assert shown["held_until"] == "1970-01-01T00:17:40.000Z"
    await world.admin.patch(f"/v1/apps/shop/endpoints/{endpoint}", {"concurrency": 3})
    assert (await world.admin.get("/v1/endpoints")).json()["data"][0]["circuit"] == open_circuit


async def test_only_urls_that_are_new_are_judged(world: World) -> None:
    await world.app("shop")
    await world.endpoint("shop", uid="main")
    url = "/v1/apps/shop/endpoints/main"
    assert (await world.admin.patch(url, {"fallback_urls": ["https://b.example/"]})).status == 200
    await world.query(
        "UPDATE endpoint SET config = jsonb_set(config::jsonb, '{fallback_urls,0}', to_jsonb($1::text)) RETURNING 1",
        f"http://{REFUSED_HOST}/",
    )
    kept = [f"http://{REFUSED_HOST}/", "https://c.example/"]
    assert (await world.admin.patch(url, {"fallback_urls": kept})).status == 200


async def test_a_deleted_endpoint_is_gone_with_its_secrets(world: World) -> None:
    await world.app("shop")
    endpoint = await world.endpoint("shop", uid="main")
    url = f"/v1/apps/shop/endpoints/{endpoint}"
    assert (await world.admin.delete(url)).status == 204
    for reply in (
        await world.admin.get(url),
        await world.admin.get(f"{url}/secret"),
        await world.admin.patch(url, {"concurrency": 3}),
        await world.admin.post(f"{url}/pause"),
        await world.admin.post(f"{url}/secret/rotate"),
        await world.admin.get(f"{url}/stats"),
        await world.admin.delete(url),
        await world.admin.get("/v1/apps/shop/endpoints/main"),
    ):
        assert reply.code == "endpoint_not_found"
    assert await world.query("SELECT * FROM secret") == []
    assert (await world.admin.get("/v1/apps/shop/endpoints")).json() == {"data": [], "next": None}
    await world.endpoint("shop", uid="main")


async def test_a_deleted_app_takes_endpoints_secrets_and_keys_with_it(world: World) -> None:
    app = await world.app("shop")
    await world.endpoint("shop")
    client = await world.client_of("shop")
    assert (await client.get("/v1/apps/shop")).status == 200
    assert (await world.admin.delete("/v1/apps/shop")).status == 204
    assert (await client.get("/v1/event-types")).code == "unauthorised"
    assert await world.query("SELECT * FROM secret") == []
    assert await world.store.apps([raw(APP, app)]) == []  # type: ignore[list-item]
    assert (await world.admin.get("/v1/apps/shop/endpoints")).code == "app_not_found"
    created = await world.admin.post(f"/v1/apps/{app}/endpoints", {"url": "https://example.com/"})
    assert created.code == "app_not_found"


# Secrets


async def test_a_given_secret_is_used_and_sealed(world: World) -> None:
    await world.app("shop")
    text = "whsec_" + "QUJD" * 10
    made = (await world.admin.post("/v1/apps/shop/endpoints", {"url": "https://example.com/", "secret": text})).json()
    assert made["secret"] == text
    ((ciphertext,),) = await world.query("SELECT ciphertext FROM secret")
    assert b"ABCABC" not in ciphertext
    shown = (await world.admin.get(f"/v1/apps/shop/endpoints/{made['id']}/secret")).json()
    assert shown == {"secret": text, "public_key": None, "expiring": []}


async def test_an_ed25519_secret_comes_with_its_public_key(world: World) -> None:
    await world.app("shop")
    key = generate_signing_key(bytes(range(32)))
    made = (
        await world.admin.post("/v1/apps/shop/endpoints", {"url": "https://example.com/", "secret": key.text})
    ).json()
    assert (made["secret"], made["public_key"]) == (key.text, key.verifying_key.text)


async def test_rotation_overlaps(world: World) -> None:
    app = await world.app("shop")
    endpoint = await world.endpoint("shop")
    url = f"/v1/apps/shop/endpoints/{endpoint}/secret"
    first = (await world.admin.get(url)).json()["secret"]
    rotated = (await world.admin.post(f"{url}/rotate", {"overlap_seconds": 600})).json()
    shown = (await world.admin.get(url)).json()
    assert shown["secret"] == rotated["secret"] != first
    assert shown["expiring"] == [{"secret": first, "expires_at": rotated["others_expire_at"]}]
    (config,) = await world.store.apps([AppId(raw(APP, app))])
    assert len(config.endpoints[0].secrets) == 2
    assert config.refresh_at is not None
    # What is in use cannot be rotated in again.
    assert (await world.admin.post(f"{url}/rotate", {"secret": first})).path == "secret"
    # An end that was set is not moved back.
    third = (await world.admin.post(f"{url}/rotate", {"overlap_seconds": 6000})).json()
    by_secret = {one["secret"]: one["expires_at"] for one in (await world.admin.get(url)).json()["expiring"]}
    assert by_secret == {first: rotated["others_expire_at"], rotated["secret"]: third["others_expire_at"]}
    last = (await world.admin.post(f"{url}/rotate", {"overlap_seconds": 0})).json()
    assert (await world.admin.get(url)).json() == {"secret": last["secret"], "public_key": None, "expiring": []}
    for overlap in (-1, 31 * 86_400):
        assert (await world.admin.post(f"{url}/rotate", {"overlap_seconds": overlap})).path == "overlap_seconds"


async def test_so_many_secrets_sign_at_once_and_no_more(world: World) -> None:
    await world.app("shop")
    endpoint = await world.endpoint("shop")
    url = f"/v1/apps/shop/endpoints/{endpoint}/secret/rotate"
    for _ in range(SECRETS_MAX - 1):
        assert (await world.admin.post(url)).status == 200
    full = await world.admin.post(url)
    assert (full.status, full.code) == (409, "too_many_secrets")
    assert (await world.admin.post(url, {"overlap_seconds": 0})).status == 200


# Keys


async def test_keys(world: World) -> None:
    app = await world.app("shop")
    made = (await world.admin.post("/v1/keys", {"name": "ci", "scope": "app", "app": "shop"})).json()
    assert (made["scope"], made["app"], made["name"]) == ("app", app, "ci")
    listed = (await world.admin.get("/v1/keys")).json()["data"]
    assert [key["name"] for key in listed] == ["ci", "first key"]
    assert listed[0] == {name: value for name, value in made.items() if name != "key"}
    client = world.admin.with_key(made["key"])
    assert (await client.get("/v1/apps/shop")).status == 200
    assert (await world.admin.delete(f"/v1/keys/{made['id']}")).status == 204
    assert (await client.get("/v1/apps/shop")).code == "unauthorised"
    assert (await world.admin.delete(f"/v1/keys/{made['id']}")).code == "key_not_found"
    assert (await world.admin.delete("/v1/keys/key_x")).code == "key_not_found"
    assert (await world.admin.post("/v1/keys", {"scope": "app", "app": "nope"})).code == "app_not_found"
    assert (await world.admin.post("/v1/keys", {"scope": "app"})).path == "app"
    assert (await world.admin.post("/v1/keys", {"scope": "root"})).path == "scope"
    token = made["key"].encode()
    assert not any(token in str(row).encode() for row in await world.query("SELECT * FROM api_key"))


async def test_the_last_key_of_an_administrator_stays(world: World) -> None:
    (first,) = (await world.admin.get("/v1/keys")).json()["data"]
    assert (await world.admin.delete(f"/v1/keys/{first['id']}")).code == "last_admin_key"
    second = (await world.admin.post("/v1/keys", {"scope": "admin"})).json()
    assert (await world.admin.delete(f"/v1/keys/{first['id']}")).status == 204
    assert (await world.admin.get("/v1/apps")).code == "unauthorised"
    assert (await world.admin.with_key(second["key"]).get("/v1/apps")).status == 200


async def test_a_key_that_only_publishes_stands_for_no_administrator(world: World) -> None:
    (first,) = (await world.admin.get("/v1/keys")).json()["data"]
    publisher = (await world.admin.post("/v1/keys", {"scope": "publish"})).json()
    assert (publisher["scope"], publisher["app"]) == ("publish", None)
    assert (await world.admin.delete(f"/v1/keys/{first['id']}")).code == "last_admin_key"
    second = (await world.admin.post("/v1/keys", {"scope": "admin"})).json()
    assert (await world.admin.delete(f"/v1/keys/{first['id']}")).status == 204
    # What the server prints as it starts stands for the oldest key of an administrator.
    code = await world.services.sessions.first_link()
    assert code is not None
    principal, _ = await world.services.sessions.sign_in_by_link(code, client="")
    assert principal.key_id == raw(KEY, second["id"])
    admin = world.admin.with_key(second["key"])
    assert (await admin.delete(f"/v1/keys/{publisher['id']}")).status == 204
    assert (await admin.delete(f"/v1/keys/{second['id']}")).code == "last_admin_key"


async def test_a_key_goes_with_its_app(world: World) -> None:
    await world.app("shop")
    client = await world.publisher("shop")
    assert (await client.get("/v1/apps/shop")).code == "forbidden"
    assert (await world.admin.delete("/v1/apps/shop")).status == 204
    assert (await client.get("/v1/apps/shop")).code == "unauthorised"


async def test_the_first_key_is_made_once_or_taken_over(database: str) -> None:
    async with world_over(database) as world:
        assert await world.services.keys.ensure_first_key(None) is None
        assert await world.services.keys.ensure_first_key("a-given-key-of-some-length") is None
        assert (await world.admin.with_key("a-given-key-of-some-length").get("/v1/apps")).code == "unauthorised"
        await world.query("UPDATE api_key SET revoked_at = now() RETURNING 1")
        assert await world.services.keys.ensure_first_key("a-given-key-of-some-length") is None
        world.services.authenticator.forget()
        assert (await world.admin.with_key("a-given-key-of-some-length").get("/v1/apps")).status == 200


# Lists


@pytest.mark.parametrize("kind", ["apps", "endpoints", "event-types", "keys"])
async def test_lists_come_in_pages_without_gap_or_repeat(world: World, kind: str) -> None:
    await world.app("shop")
    url = "/v1/apps/shop/endpoints" if kind == "endpoints" else f"/v1/{kind}"
    for number in range(7):
        if kind == "apps":
            await world.app(f"app-{number}")
        elif kind == "endpoints":
            await world.endpoint("shop")
        elif kind == "event-types":
            await world.admin.post(url, {"name": f"type.{number}"})
        else:
            await world.admin.post(url, {"scope": "admin"})
    everything = (await world.admin.get(f"{url}?limit=250")).json()
    assert everything["next"] is None
    assert len(everything["data"]) >= 7
    found: list[Any] = []
    cursor = ""
    while True:
        page = (await world.admin.get(f"{url}?limit=3{cursor}")).json()
        found += page["data"]
        assert len(page["data"]) <= 3
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert found == everything["data"]
    if kind != "event-types":
        assert [entry["id"] for entry in found] == sorted((entry["id"] for entry in found), reverse=True)


# Audit


async def test_every_change_and_every_look_at_a_secret_is_on_record(world: World) -> None:
    await world.admin.post("/v1/event-types", {"name": "a"})
    await world.admin.patch("/v1/event-types/a", {"description": "x"})
    app = await world.app("shop")
    endpoint = await world.endpoint("shop")
    url = f"/v1/apps/shop/endpoints/{endpoint}"
    secret = (await world.admin.get(f"{url}/secret")).json()["secret"]
    await world.admin.patch(url, {"headers": {"Authorization": "Bearer swordfish"}})
    await world.admin.post(f"{url}/pause")
    await world.admin.post(f"{url}/secret/rotate")
    await world.admin.get(url)  # no change
    await world.admin.delete(url)
    await world.admin.delete("/v1/apps/shop")
    assert await world.audit() == [
        ("key.created", (await world.admin.get("/v1/keys")).json()["data"][0]["id"]),
        ("event_type.created", "a"),
        ("event_type.changed", "a"),
        ("app.created", app),
        ("endpoint.created", endpoint),
        ("endpoint.secret_revealed", endpoint),
        ("endpoint.changed", endpoint),
        ("endpoint.paused", endpoint),
        ("endpoint.secret_rotated", endpoint),
        ("endpoint.deleted", endpoint),
        ("app.deleted", app),
    ]
    told = str(await world.query("SELECT * FROM audit"))
    assert "swordfish" not in told
    assert secret not in told


# What any answer has in common


async def test_open_routes_need_no_key(world: World) -> None:
    stranger = world.admin.with_key(None)
    assert (await stranger.get("/healthz")).json() == {"status": "ok"}
    assert (await stranger.get("/readyz")).json() == {"status": "ok", "warnings": []}
    metrics = await stranger.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    assert b"posthouse_attempts_total" in metrics.body
    assert (await stranger.get("/openapi.json")).json()["openapi"].startswith("3.1")


async def test_a_process_that_is_not_ready_says_why(database: str) -> None:
    async def not_ready() -> str | None:
        return "it is still taking partitions"

    async with world_over(database, ready=not_ready) as world:
        reply = await world.admin.get("/readyz")
        assert (reply.status, reply.code) == (503, "not_ready")
        assert reply.json()["detail"] == "it is still taking partitions"


async def test_without_a_known_key_nothing_is_told(world: World) -> None:
    for key in (None, "ph_unknown"):
        for url in ("/v1/apps", "/v1/event-types", "/v1/nope", "/v1/apps/shop/endpoints/x/secret"):
            reply = await world.admin.with_key(key).get(url)
            assert (reply.status, reply.code) == (401, "unauthorised")
            assert reply.headers["www-authenticate"] == "Bearer"


async def test_unknown_routes_and_methods(world: World) -> None:
    assert (await world.admin.get("/nope")).code == "route_not_found"
    assert (await world.admin.get("/v1/nope")).code == "route_not_found"
    assert (await world.admin.get("/v1/apps/")).code == "route_not_found"
    reply = await world.admin.request("PUT", "/v1/apps", json={})
    assert (reply.status, reply.code) == (405, "method_not_allowed")
    assert reply.headers["allow"] == "GET, POST"
    for url in ("/v1/apps/shop/events", "/v1/apps/shop/events/batch"):
        assert (await world.admin.delete(url)).headers["allow"] == "GET, POST"


async def test_what_stands_in_front_gets_every_request(database: str) -> None:
    seen: list[str] = []

    def front(next_app: Any) -> Any:
        async def wrapped(scope: Any, receive: Any, send: Any) -> None:
            seen.append(scope["path"])
            await next_app(scope, receive, send)

        return wrapped

    async with world_over(database, front=front) as world:
        await world.admin.get("/v1/apps")
        await world.admin.get("/healthz")
    assert seen[-2:] == ["/v1/apps", "/healthz"]
