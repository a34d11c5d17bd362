"""An app's key sees its app and nothing else, on every route that there is; a key that only publishes, nothing at all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.asgi import Client, Reply
from tests.integration.api_world import World, ago, raw, world_over

from posthouse.domain.ids import ATTEMPT, EVENT, format_id
from posthouse.manage.profiles import Profiles, shipped

METHODS = ("get", "post", "put", "patch", "delete")
# Publishing stands in front of this application: see test_tenancy_served.py.
ELSEWHERE = {("post", f"{prefix}/events{batch}") for prefix in ("/v1", "/v1/apps/{app}") for batch in ("", "/batch")}
TABLES = (
    "app", "endpoint", "secret", "event_type", "app_grant", "grant_entry", "api_key", "audit", "delivery", "job", "config_head",
)  # fmt: skip
OPEN = {"/healthz", "/readyz", "/metrics", "/v1/confirm/{token}", "/in/{source}", "/v1/session"}
BODIES: dict[tuple[str, str], Any] = {
    ("patch", "/v1/apps/{app}"): {"name": "mine now"},
    ("put", "/v1/apps/{app}"): {"name": "mine now"},
    ("put", "/v1/apps/{app}/endpoints/{endpoint}"): {"url": "https://evil.example/"},
    ("put", "/v1/apps/{app}/endpoints/{endpoint}/keys/{key}"): {"value": "a new text"},
    ("post", "/v1/apps/{app}/endpoints"): {"url": "https://example.com/"},
    ("patch", "/v1/apps/{app}/endpoints/{endpoint}"): {"url": "https://evil.example/"},
    ("post", "/v1/apps/{app}/deliveries/resend"): {"event": "{event}", "endpoint": "{endpoint}"},
    ("post", "/v1/apps/{app}/deliveries/cancel"): {"event": "{event}", "endpoint": "{endpoint}"},
    ("post", "/v1/apps/{app}/replays"): {"endpoint": "{endpoint}", "since": "{since}", "select": "all"},
    ("post", "/v1/apps/{app}/endpoints/{endpoint}/test"): {},
    ("post", "/v1/apps/{app}/endpoints/{endpoint}/preview"): {"event": "{event}"},
    ("post", "/v1/expressions/check"): {"expression": "true"},
    ("post", "/v1/apps/{app}/grants"): {"types": ["*"], "subjects": ["*"]},
    ("put", "/v1/apps/{app}/grants/{grant}"): {"types": ["*"], "subjects": ["*"]},
    ("post", "/v1/event-types"): {"name": "a.type"},
    ("put", "/v1/event-types/{name}"): {"description": "x"},
    ("patch", "/v1/event-types/{name}"): {"description": "x"},
    ("post", "/v1/event-types/{name}/check"): {"schema": {"type": "object"}},
    ("post", "/v1/apps"): {"uid": "new"},
    ("post", "/v1/schedules"): {"type": "order.created", "cron": "@hourly"},
    ("put", "/v1/schedules/{schedule}"): {"type": "order.created", "cron": "@hourly"},
    ("patch", "/v1/schedules/{schedule}"): {"name": "x"},
    ("post", "/v1/keys"): {"scope": "admin"},
    ("post", "/v1/triggers"): {"kind": "table", "type": "order.created"},
    ("post", "/v1/triggers/plan"): {"kind": "table", "type": "order.created"},
    ("put", "/v1/triggers/{trigger}"): {"kind": "table", "type": "order.created"},
    ("patch", "/v1/triggers/{trigger}"): {"name": "x"},
    ("post", "/v1/triggers/{trigger}/rewind"): {},
    ("post", "/v1/triggers/{trigger}/refusals/retry"): {},
    ("post", "/v1/triggers/{trigger}/refusals/discard"): {},
}
# Not of any app: an app's key may not do these at all.
FORBIDDEN = {
    ("post", "/v1/event-types"),
    ("put", "/v1/event-types/{name}"),
    ("post", "/v1/event-types/{name}/check"),
    ("patch", "/v1/event-types/{name}"),
    ("delete", "/v1/event-types/{name}"),
    ("get", "/v1/apps"),
    ("post", "/v1/apps"),
    ("get", "/v1/attention"),
    ("get", "/v1/audit"),
    ("get", "/v1/endpoints"),
    ("get", "/v1/keys"),
    ("post", "/v1/keys"),
    ("delete", "/v1/keys/{key}"),
    ("post", "/v1/session/links"),
    ("post", "/v1/schedules"),
    ("get", "/v1/system"),
    ("get", "/v1/traffic/apps"),
    ("get", "/v1/trigger-kinds"),
    ("get", "/v1/triggers"),
    ("post", "/v1/triggers"),
    ("post", "/v1/triggers/plan"),
    ("get", "/v1/triggers/{trigger}"),
    ("put", "/v1/triggers/{trigger}"),
    ("patch", "/v1/triggers/{trigger}"),
    ("delete", "/v1/triggers/{trigger}"),
    ("get", "/v1/triggers/{trigger}/plan"),
    ("post", "/v1/triggers/{trigger}/pause"),
    ("post", "/v1/triggers/{trigger}/resume"),
    ("post", "/v1/triggers/{trigger}/rewind"),
    ("get", "/v1/triggers/{trigger}/refusals"),
    ("post", "/v1/triggers/{trigger}/refusals/retry"),
    ("post", "/v1/triggers/{trigger}/refusals/discard"),
}
# Its own app, but the platform's word.
FORBIDDEN_ON_ONES_OWN = {
    ("put", "/v1/apps/{app}"),
    ("patch", "/v1/apps/{app}"),
    ("delete", "/v1/apps/{app}"),
    ("post", "/v1/apps/{app}/grants"),
    ("put", "/v1/apps/{app}/grants/{grant}"),
    ("delete", "/v1/apps/{app}/grants/{grant}"),
    ("put", "/v1/schedules/{schedule}"),
    ("patch", "/v1/schedules/{schedule}"),
    ("delete", "/v1/schedules/{schedule}"),
    ("post", "/v1/schedules/{schedule}/pause"),
    ("post", "/v1/schedules/{schedule}/resume"),
    ("post", "/v1/schedules/{schedule}/run"),
}
# Of all that a key may see: an app's key, its own.
EVERYBODYS = {
    "/v1/grants",
    "/v1/expressions/check",
    "/v1/events",
    "/v1/events/{event}",
    "/v1/events/{event}/attempts",
    "/v1/events/{event}/explanation",
    "/v1/attempts",
    "/v1/attempts/{attempt}",
    "/v1/deliveries",
    "/v1/deliveries/reasons",
    "/v1/traffic",
    "/v1/traffic/endpoints",
    "/v1/replays",
    "/v1/schedules",
    "/v1/schedules/{schedule}",
    "/v1/schedules/{schedule}/next",
    "/v1/schedules/{schedule}/pause",
    "/v1/schedules/{schedule}/resume",
    "/v1/schedules/{schedule}/run",
    "/v1/stream",
}


@pytest.fixture
async def world(database: str) -> AsyncIterator[World]:
    async with world_over(database, profiles=Profiles(shipped())) as made:
        yield made


async def things_of(world: World, uid: str) -> dict[str, str]:
    """An app with one of everything, by the names of path parameters."""
    app = await world.app(uid)
    endpoint = await world.endpoint(uid, uid="main", handshake={"steps": [{"kind": "request"}]})
    (event,) = await world.publish(app)
    (attempt,) = await world.record([event], endpoint)
    (owed,) = await world.publish(app)
    await world.owe([owed], endpoint, due_at=2_000_000_000.0)
    granted = await world.admin.post(f"/v1/apps/{uid}/grants", {"types": ["*"], "subjects": [uid], "uid": "all"})
    await world.admin.put(f"/v1/apps/{uid}/endpoints/main/keys/key_of_{uid}", {"value": "a text"})
    return {
        "key": f"key_of_{uid}",
        "profile": "github",
        "schedule": await a_schedule(world, uid),
        "trigger": "orders",
        "grant": granted.json()["id"],
        "uid": "all",
        "app": app,
        "endpoint": endpoint,
        "since": ago(3600),
        "replay": await world.replay(uid, endpoint),
        "event": format_id(EVENT, event.id),
        "attempt": format_id(ATTEMPT, attempt.id),
    }


async def a_schedule(world: World, app: str) -> str:
    await world.admin.post("/v1/event-types", {"name": "tick"})
    reply = await world.admin.post("/v1/schedules", {"type": "tick", "cron": "@daily", "app": app})
    assert reply.status == 201, reply.body
    found: str = reply.json()["id"]
    return found


def filled(template: Any, things: dict[str, str]) -> Any:
    if isinstance(template, dict):
        return {name: filled(value, things) for name, value in template.items()}
    if isinstance(template, list):
        return [filled(value, things) for value in template]
    return template.format(**things)


async def routes(client: Client) -> list[tuple[str, str]]:
    """Every route, from the document that describes them all."""
    paths = (await client.get("/openapi.json")).json()["paths"]
    found = [(method, path) for path, operations in paths.items() for method in operations]
    assert len(found) > 30
    assert {method for method, _ in found} <= set(METHODS)
    return [(method, path) for method, path in found if (method, path) not in ELSEWHERE and path not in OPEN]


async def call(client: Client, method: str, path: str, things: dict[str, str]) -> Reply:
    body = BODIES.get((method, path))
    return await client.request(
        method.upper(), filled(path, things), json=None if body is None else filled(body, things)
    )


async def snapshot(world: World) -> list[Any]:
    """All that an app's key must not change."""
    return [
        await world.query(f"SELECT * FROM {table} ORDER BY 1, 2")
        for table in (
            "app",
            "endpoint",
            "secret",
            "event_type",
            "app_grant",
            "grant_entry",
            "api_key",
            "audit",
            "delivery",
            "job",
            "schedule",
            "config_head",
        )
    ]


async def test_of_another_app_every_route_knows_nothing(world: World) -> None:
    await world.admin.post("/v1/event-types", {"name": "order.created"})
    theirs = await things_of(world, "theirs") | {"name": "order.created"}
    await things_of(world, "mine")
    (admin_key, *_) = (await world.admin.get("/v1/keys")).json()["data"]
    theirs["key"] = admin_key["id"]
    client = await world.client_of("mine")
    before = await snapshot(world)
    for method, path in await routes(world.admin):
        for app in (theirs["app"], "theirs"):
            reply = await call(client, method, path, theirs | {"app": app})
            if (method, path) in FORBIDDEN:
                assert (reply.status, reply.code) == (403, "forbidden"), (method, path)
            elif path.startswith(("/v1/event-types", "/v1/asyncapi.json", "/v1/profiles")):
                assert reply.status == 200, (method, path)
            elif path in EVERYBODYS:
                assert reply.status == (404 if "{" in path else 200), (method, path)
                assert not any(thing in reply.body.decode() for thing in theirs.values() if "_" in thing) or (
                    reply.status == 404
                ), (method, path)
            else:
                assert (reply.status, reply.code) == (404, "app_not_found"), (method, path, reply.body)
                unknown = await call(client, method, path, theirs | {"app": "unknown"})
                assert reply.body == unknown.body.replace(b"unknown", app.encode()), (method, path)
    assert await snapshot(world) == before


async def test_another_apps_things_do_not_hide_behind_ones_own_name(world: World) -> None:
    theirs = await things_of(world, "theirs")
    mine = await things_of(world, "mine")
    client = await world.client_of("mine")
    before = await snapshot(world)
    for method, path in await routes(world.admin):
        named = [
            name
            for name in ("endpoint", "event", "attempt", "grant", "replay")
            if f"{{{name}}}" in path
            or path.endswith(("/resend", "deliveries/cancel"))
            or (path.endswith("/preview") and name == "event")
            or (path.endswith("replays") and name == "endpoint")
        ]
        if not path.startswith("/v1/apps/{app}/") or not named:
            continue
        for name in named:
            if (path.endswith(("/resend", "deliveries/cancel")) and name in ("attempt", "grant", "replay")) or (
                path.endswith("replays") and method == "get"
            ):
                continue
            reply = await call(client, method, path, mine | {name: theirs[name]})
            assert reply.status == 404, (method, path, name, reply.body)
    for url in (
        f"/v1/apps/mine/attempts?endpoint={theirs['endpoint']}",
        f"/v1/apps/mine/deliveries?endpoint={theirs['endpoint']}",
    ):
        assert (await client.get(url)).json() == {"data": [], "next": None}
    assert await snapshot(world) == before


async def test_on_ones_own_app_every_route_works(world: World) -> None:
    await world.admin.post("/v1/event-types", {"name": "order.created"})
    client = await world.client_of((await things_of(world, "mine"))["app"])
    for method, path in await routes(world.admin):
        if (method, path) in FORBIDDEN:
            continue
        things = await fresh(world) | {"name": "order.created"}
        reply = await call(client, method, path, things)
        if (method, path) in FORBIDDEN_ON_ONES_OWN:
            assert (reply.status, reply.code) == (403, "forbidden"), (method, path)
        else:
            assert reply.status < 300, (method, path, reply.body)


async def test_who_may_only_publish_sees_and_does_nothing_else(world: World) -> None:
    await world.admin.post("/v1/event-types", {"name": "order.created"})
    things = await things_of(world, "mine") | {"name": "order.created"}
    (admin_key, *_) = (await world.admin.get("/v1/keys")).json()["data"]
    things["key"] = admin_key["id"]
    publishers = (await world.publisher(), await world.publisher("mine"))
    before = await snapshot(world)
    asked = [
        *await routes(world.admin),
        *((method, path) for method in METHODS for path in ("/v1/session", "/v1/none")),
    ]
    for method, path in asked:
        for client in publishers:
            for app in (things["app"], "mine", "unknown"):
                reply = await call(client, method, path, things | {"app": app})
                if (method, path) == ("post", "/v1/session"):  # which looks at no header: see test_sessions.py
                    assert (reply.status, reply.code) == (403, "not_the_console")
                    continue
                assert (reply.status, reply.code) == (403, "forbidden"), (method, path, reply.body)
                assert not any(text in reply.body.decode() for text in things.values() if "_" in text), (method, path)
    assert await snapshot(world) == before


async def fresh(world: World) -> dict[str, str]:
    """The app "mine" with a new endpoint, since a route may have taken the one before."""
    (app,) = [app for app in (await world.admin.get("/v1/apps")).json()["data"] if app["uid"] == "mine"]
    for replay in (await world.admin.get("/v1/apps/mine/replays")).json()["data"]:
        await world.admin.post(f"/v1/apps/mine/replays/{replay['id']}/cancel")
    endpoint = await world.endpoint("mine", handshake={"steps": [{"kind": "request"}]})
    (event,) = await world.publish(app["id"])
    (attempt,) = await world.record([event], endpoint)
    await world.owe([event], endpoint, due_at=2_000_000_000.0)
    granted = await world.admin.post("/v1/apps/mine/grants", {"types": ["*"], "subjects": ["fresh"]})
    await world.admin.put(f"/v1/apps/mine/endpoints/{endpoint}/keys/key_of_mine", {"value": "a text"})
    return {
        "key": "key_of_mine",
        "profile": "github",
        "schedule": await a_schedule(world, "mine"),
        "trigger": "orders",
        "grant": granted.json()["id"],
        "uid": "all",
        "app": app["id"],
        "endpoint": endpoint,
        "since": ago(3600),
        "replay": await world.replay("mine", endpoint),
        "event": format_id(EVENT, event.id),
        "attempt": format_id(ATTEMPT, attempt.id),
    }


async def test_an_apps_cursor_is_of_no_use_to_another_app(world: World) -> None:
    await things_of(world, "theirs")
    await things_of(world, "mine")
    cursor = (await world.admin.get("/v1/apps/theirs/events?limit=1")).json()["next"]
    assert cursor
    client = await world.client_of("mine")
    assert (await client.get(f"/v1/apps/mine/events?cursor={cursor}")).code == "invalid_cursor"


async def test_lists_of_an_app_hold_its_own_things_only(world: World) -> None:
    theirs = await things_of(world, "theirs")
    mine = await things_of(world, "mine")
    client = await world.client_of("mine")
    assert raw(EVENT, theirs["event"]) != raw(EVENT, mine["event"])
    for path in (
        *(f"/v1/apps/mine/{kind}" for kind in ("endpoints", "grants", "events", "attempts", "deliveries")),
        *(f"/v1/{kind}" for kind in ("grants", "events", "attempts", "deliveries", "schedules")),
    ):
        body = (await client.get(path)).body.decode()
        assert any(mine[name] in body for name in ("endpoint", "event", "grant", "schedule")), path
        for text in theirs.values():
            assert text not in body or "_" not in text, path
