"""Every route of a whole server, publishing included, with the key of an app that has nothing, with none, and with keys that
only publish."""

from __future__ import annotations

import json
from typing import Any

from tests.integration.api_world import ago
from tests.integration.test_api_tenancy import BODIES, FORBIDDEN, OPEN, filled
from tests.serving import Reply, ask, call, listed, serving

from posthouse.api.gate import WITHOUT_KEY

EVENT = {"type": "order.created", "data": {}}
PUBLISHING: dict[tuple[str, str], Any] = {
    ("post", "/v1/events"): EVENT,
    ("post", "/v1/events/batch"): [EVENT],
    ("post", "/v1/apps/{app}/events"): EVENT,
    ("post", "/v1/apps/{app}/events/batch"): [EVENT],
}
# Whoever has a key may read what is public of it, and ask what an expression comes to.
OWN_FIGURES = ("/v1/traffic", "/v1/traffic/endpoints")  # of one's own app: here, that nothing was sent
CATALOGUE = ("/v1/event-types", "/v1/asyncapi.json", "/v1/expressions/check", "/v1/profiles")
UNENDING = {"/v1/stream"}  # see test_stream.py


async def everything_of(port: int, uid: str) -> dict[str, str]:
    """An app with one of everything, by the names of path parameters."""
    app = await call(port, "POST", "/v1/apps", {"uid": uid})
    endpoint = await call(port, "POST", f"/v1/apps/{uid}/endpoints", {"url": "http://127.0.0.1:9/", "uid": "main"})
    granted = await call(port, "POST", f"/v1/apps/{uid}/grants", {"types": ["*"], "subjects": ["*"], "uid": "all"})
    event = await call(port, "POST", "/v1/events", {"type": "order.created", "data": {}})
    (attempt,) = await listed(port, f"/v1/apps/{uid}/attempts", bool, "an attempt")
    await listed(port, f"/v1/apps/{uid}/deliveries", bool, "it to be owed")
    key = (await call(port, "GET", "/v1/keys"))["data"][-1]
    asked = {"endpoint": "main", "since": ago(3600), "select": "all"}
    replay = await call(port, "POST", f"/v1/apps/{uid}/replays", asked)
    schedule = await call(port, "POST", "/v1/schedules", {"type": "order.created", "app": uid, "cron": "@yearly"})
    await call(port, "PUT", f"/v1/apps/{uid}/endpoints/main/keys/{key['id']}", {"value": "a text"})
    return {
        "app": app["id"],
        "endpoint": endpoint["id"],
        "grant": granted["id"],
        "uid": "all",
        "event": event["id"],
        "attempt": attempt["id"],
        "key": key["id"],
        "name": "order.created",
        "since": asked["since"],
        "replay": replay["id"],
        "trigger": "orders",
        "schedule": schedule["id"],
        "profile": "github",
    }


async def test_no_route_of_a_server_tells_of_another_app_or_changes_it(database: str) -> None:
    async with serving(database) as server:
        port = server.port
        await call(port, "POST", "/v1/event-types", {"name": "order.created"})
        theirs = await everything_of(port, "theirs")
        await call(port, "POST", "/v1/apps", {"uid": "mine"})
        mine = (await call(port, "POST", "/v1/keys", {"scope": "app", "app": "mine"}))["key"]
        before = await state(port)
        tried: set[tuple[str, str]] = set()
        for method, path in await routes(port):
            body = PUBLISHING.get((method, path), BODIES.get((method, path)))
            for app in (theirs["app"], "theirs"):
                things = theirs | {"app": app}
                told = await ask(port, method.upper(), filled(path, things), _body(body, things), key=mine)
                nothing_told((method, path), told, theirs)
                none = await ask(port, method.upper(), filled(path, things), _body(body, things), key=None)
                assert none.status == (200 if path in WITHOUT_KEY else 401), (method, path, none)
                tried.add((method, path))
        assert await state(port) == before
        assert PUBLISHING.keys() <= tried
        assert len(tried) > 50


async def test_who_may_only_publish_does_that_on_every_route_and_nothing_else(database: str) -> None:
    async with serving(database) as server:
        port = server.port
        await call(port, "POST", "/v1/event-types", {"name": "order.created"})
        mine = await everything_of(port, "mine")
        await call(port, "POST", "/v1/apps", {"uid": "other"})
        whole = (await call(port, "POST", "/v1/keys", {"scope": "publish"}))["key"]
        bound = (await call(port, "POST", "/v1/keys", {"scope": "publish", "app": "mine"}))["key"]
        kinds = ("apps", "grants", "keys", "schedules", "event-types")
        before = [await call(port, "GET", f"/v1/{kind}") for kind in kinds]
        tried: set[tuple[str, str]] = set()
        for method, path in [*await routes(port), *NEARLY_PUBLISHING]:
            body = PUBLISHING.get((method, path), BODIES.get((method, path)))
            for key in (whole, bound):
                for app in ("mine", mine["app"], "other", "nobody"):
                    things = mine | {"app": app}
                    reply = await ask(port, method.upper(), filled(path, things), _body(body, things), key=key)
                    publishing = (method, path) in PUBLISHING
                    expected = published(path, app, bound=key == bound) if publishing else REFUSED
                    assert (reply.status, reply.body.get("code")) == expected, (method, path, app, reply)
                    tried.add((method, path))
        assert PUBLISHING.keys() <= tried
        assert len(tried) > 50
        assert [await call(port, "GET", f"/v1/{kind}") for kind in kinds] == before


REFUSED = (403, "forbidden")
NEARLY_PUBLISHING = [("get", "/v1/stream"), ("put", "/v1/events"), *(("post", f"{path}/") for _, path in PUBLISHING)]


def published(path: str, app: str, *, bound: bool) -> tuple[int, str | None]:
    """What a key that may only publish is answered by a publishing route."""
    if "{app}" not in path:
        return REFUSED if bound else (202, None)
    hidden = app == "nobody" or (bound and app == "other")
    return (404, "app_not_found") if hidden else (202, None)


async def test_a_dry_run_tells_more_than_a_publisher_may_know(database: str) -> None:
    async with serving(database) as server:
        port = server.port
        await call(port, "POST", "/v1/event-types", {"name": "order.created"})
        await call(port, "POST", "/v1/apps", {"uid": "mine"})
        for about, path in (({}, "/v1/events"), ({"app": "mine"}, "/v1/apps/mine/events")):
            key = (await call(port, "POST", "/v1/keys", {"scope": "publish", **about}))["key"]
            reply = await ask(port, "POST", f"{path}?dry_run=true", EVENT, key=key)
            assert (reply.status, reply.body["code"]) == REFUSED
            assert "may publish events" in reply.body["detail"]
            assert (await ask(port, "POST", f"{path}?dry_run=false", EVENT, key=key)).status == 202


def nothing_told(route: tuple[str, str], reply: Reply, theirs: dict[str, str]) -> None:
    _, path = route
    if route in FORBIDDEN or (route in PUBLISHING and "{app}" not in path):
        assert (reply.status, reply.body["code"]) == (403, "forbidden"), (route, reply)
    elif path.startswith(CATALOGUE) or path in OWN_FIGURES:
        assert reply.status == 200, (route, reply)
    elif reply.status == 200:
        assert reply.body in ({"data": [], "next": None}, {"data": [], "truncated": False}), (route, reply)
    else:
        assert reply.status == 404, (route, reply)
        assert reply.headers["content-type"] == "application/problem+json", route
    if reply.status != 404:  # which repeats what was asked for
        assert not any(text in json.dumps(reply.body) for text in theirs.values() if "_" in text), (route, reply)


async def routes(port: int) -> list[tuple[str, str]]:
    paths = (await call(port, "GET", "/openapi.json"))["paths"]
    return [
        (method, path) for path, operations in paths.items() for method in operations if path not in OPEN | UNENDING
    ]


async def state(port: int) -> list[Any]:
    """What must stay as it is."""
    # Of events those of the app: the operators are told of its replay's end meanwhile.
    kinds = ("apps", "endpoints", "grants", "apps/theirs/events", "keys", "event-types", "schedules")
    kept = [await call(port, "GET", f"/v1/{kind}") for kind in kinds]
    return [*kept, await call(port, "GET", "/v1/apps/theirs/endpoints/main/secret")]


def _body(body: Any, things: dict[str, str]) -> Any:
    return None if body is None else filled(body, things)
