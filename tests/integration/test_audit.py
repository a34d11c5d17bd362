"""The audit: every change and every secret that was looked at is on record once, and can be found."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
from tests.asgi import Client
from tests.integration.api_world import World, ago, raw, world_over
from tests.shelf import Shelf

from posthouse.domain.delivery import Effect, EffectKind
from posthouse.domain.ids import ENDPOINT, EVENT, AttemptId, EndpointId, format_id

URL: Final = "https://example.com/hooks"
# Publishing is no change of the configuration: an event is its own record. A check changes nothing.
NOT_AUDITED: Final = (
    {("post", f"{prefix}/events{batch}") for prefix in ("/v1", "/v1/apps/{app}") for batch in ("", "/batch")}
    | {
        ("post", path)  # these only tell something
        for path in (
            "/v1/event-types/{name}/check",
            "/v1/expressions/check",
            "/v1/apps/{app}/endpoints/{endpoint}/preview",
            "/v1/triggers/plan",
        )
    }
    # Whoever has the URL: what comes of it is the verifier's word, or an event.
    | {("post", "/v1/confirm/{token}"), ("post", "/in/{source}")}
    # These are on record, and no key alone does them: see test_sessions.py.
    | {("post", "/v1/session"), ("delete", "/v1/session")}
)
REVEALING: Final = {("get", "/v1/apps/{app}/endpoints/{endpoint}/secret")}
# What to send, which action that is, and what it is done to.
CHANGES: Final[dict[tuple[str, str], tuple[Any, str, str]]] = {
    ("post", "/v1/apps"): ({"uid": "new"}, "app.created", "app_"),
    ("put", "/v1/apps/{app}"): ({"name": "put"}, "app.replaced", "{app}"),
    ("patch", "/v1/apps/{app}"): ({"name": "patched"}, "app.changed", "{app}"),
    ("delete", "/v1/apps/{app}"): (None, "app.deleted", "{app}"),
    ("post", "/v1/apps/{app}/endpoints"): ({"url": URL}, "endpoint.created", "ep_"),
    ("post", "/v1/apps/{app}/portal-links"): (None, "portal.link_created", "{app}"),
    ("put", "/v1/apps/{app}/endpoints/{endpoint}"): (
        {"url": "https://example.org/"},
        "endpoint.replaced",
        "{endpoint}",
    ),
    ("patch", "/v1/apps/{app}/endpoints/{endpoint}"): ({"concurrency": 3}, "endpoint.changed", "{endpoint}"),
    ("delete", "/v1/apps/{app}/endpoints/{endpoint}"): (None, "endpoint.deleted", "{endpoint}"),
    ("post", "/v1/apps/{app}/endpoints/{endpoint}/pause"): (None, "endpoint.paused", "{endpoint}"),
    ("post", "/v1/apps/{app}/endpoints/{endpoint}/resume"): (None, "endpoint.resumed", "{endpoint}"),
    ("post", "/v1/apps/{app}/endpoints/{endpoint}/test"): ({}, "endpoint.tested", "{endpoint}"),
    ("get", "/v1/apps/{app}/endpoints/{endpoint}/secret"): (None, "endpoint.secret_revealed", "{endpoint}"),
    ("post", "/v1/apps/{app}/endpoints/{endpoint}/secret/rotate"): (None, "endpoint.secret_rotated", "{endpoint}"),
    ("post", "/v1/apps/{app}/endpoints/{endpoint}/verify"): (None, "endpoint.verification_asked", "{endpoint}"),
    ("put", "/v1/apps/{app}/endpoints/{endpoint}/keys/{key}"): ({"value": "x"}, "endpoint.key_put", "{endpoint}"),
    ("delete", "/v1/apps/{app}/endpoints/{endpoint}/keys/{key}"): (None, "endpoint.key_deleted", "{endpoint}"),
    ("post", "/v1/apps/{app}/deliveries/resend"): (
        {"event": "{event}", "endpoint": "{endpoint}"},
        "delivery.resent",
        "{event}",
    ),
    ("post", "/v1/apps/{app}/deliveries/cancel"): (
        {"event": "{event}", "endpoint": "{endpoint}"},
        "delivery.cancelled",
        "{event}",
    ),
    ("post", "/v1/apps/{app}/replays"): (
        {"endpoint": "{endpoint}", "since": "{since}", "select": "all"},
        "replay.created",
        "rpl_",
    ),
    ("post", "/v1/apps/{app}/replays/{replay}/pause"): (None, "replay.paused", "{replay}"),
    ("post", "/v1/apps/{app}/replays/{replay}/resume"): (None, "replay.resumed", "{replay}"),
    ("post", "/v1/apps/{app}/replays/{replay}/cancel"): (None, "replay.cancelled", "{replay}"),
    ("post", "/v1/apps/{app}/grants"): ({"types": ["*"], "subjects": ["*"]}, "grant.created", "grant_"),
    ("put", "/v1/apps/{app}/grants/{grant}"): ({"types": ["*"], "subjects": ["*"]}, "grant.put", "main"),
    ("delete", "/v1/apps/{app}/grants/{grant}"): (None, "grant.deleted", "{grant}"),
    ("post", "/v1/schedules"): ({"type": "order.created", "cron": "@daily"}, "schedule.created", "sch_"),
    ("put", "/v1/schedules/{schedule}"): ({"type": "order.created", "every": 60}, "schedule.replaced", "{schedule}"),
    ("patch", "/v1/schedules/{schedule}"): ({"name": "patched"}, "schedule.changed", "{schedule}"),
    ("delete", "/v1/schedules/{schedule}"): (None, "schedule.deleted", "{schedule}"),
    ("post", "/v1/schedules/{schedule}/pause"): (None, "schedule.paused", "{schedule}"),
    ("post", "/v1/schedules/{schedule}/resume"): (None, "schedule.resumed", "{schedule}"),
    ("post", "/v1/schedules/{schedule}/run"): (None, "schedule.run", "{schedule}"),
    ("post", "/v1/triggers"): ({"kind": "shelf", "type": "order.created"}, "trigger.created", "trg_"),
    ("put", "/v1/triggers/{trigger}"): (
        {"kind": "shelf", "type": "order.created", "settings": {"label": "b"}},
        "trigger.replaced",
        "{trigger}",
    ),
    ("patch", "/v1/triggers/{trigger}"): ({"settings": {"label": "c"}}, "trigger.changed", "{trigger}"),
    ("delete", "/v1/triggers/{trigger}"): (None, "trigger.deleted", "{trigger}"),
    ("post", "/v1/triggers/{trigger}/pause"): (None, "trigger.paused", "{trigger}"),
    ("post", "/v1/triggers/{trigger}/resume"): (None, "trigger.resumed", "{trigger}"),
    ("post", "/v1/triggers/{trigger}/rewind"): ({}, "trigger.rewound", "{trigger}"),
    ("post", "/v1/triggers/{trigger}/refusals/retry"): ({}, "trigger.retried", "{trigger}"),
    ("post", "/v1/triggers/{trigger}/refusals/discard"): ({}, "trigger.discarded", "{trigger}"),
    ("post", "/v1/keys"): ({"scope": "admin", "name": "another"}, "key.created", "key_"),
    ("delete", "/v1/keys/{key}"): (None, "key.revoked", "{key}"),
    ("post", "/v1/session/links"): (None, "session.link_created", "key_"),
    ("post", "/v1/event-types"): ({"name": "order.paid"}, "event_type.created", "order.paid"),
    ("put", "/v1/event-types/{name}"): ({"description": "y"}, "event_type.replaced", "{name}"),
    ("patch", "/v1/event-types/{name}"): ({"description": "x"}, "event_type.changed", "{name}"),
    ("delete", "/v1/event-types/{name}"): (None, "event_type.changed", "{name}"),
}


@pytest.fixture
async def world(database: str) -> AsyncIterator[World]:
    async with world_over(database, kinds={"shelf": Shelf()}) as made:
        yield made


async def things(world: World) -> dict[str, str]:
    """One of everything, by the names of path parameters; the endpoint is paused."""
    app = await world.app("shop")
    endpoint = await world.endpoint("shop", paused=True, handshake={"steps": [{"kind": "request"}]})
    (event,) = await world.publish(app)
    await world.record([event], endpoint)
    await world.owe([event], endpoint, due_at=2_000_000_000.0)
    await world.admin.post("/v1/event-types", {"name": "order.created"})
    key = (await world.admin.post("/v1/keys", {"scope": "app", "app": app})).json()["id"]
    granted = {"types": ["order.*"], "subjects": ["shop:42"], "uid": "main"}
    grant = (await world.admin.post("/v1/apps/shop/grants", granted)).json()["id"]
    daily = {"type": "order.created", "cron": "@daily"}
    return {
        "schedule": (await world.admin.post("/v1/schedules", daily)).json()["id"],
        "trigger": (await world.admin.post("/v1/triggers", {"kind": "shelf", "type": "order.created"})).json()["id"],
        "app": app,
        "grant": grant,
        "uid": "main",
        "endpoint": endpoint,
        "event": format_id(EVENT, event.id),
        "since": ago(3600),
        "replay": await world.replay("shop", endpoint),
        "name": "order.created",
        "key": key,  # which is a name of an endpoint's key, too
    }


async def entries(world: World, query: str = "") -> list[dict[str, Any]]:
    reply = await world.admin.get(f"/v1/audit{query}")
    assert reply.status == 200, reply.body
    found: list[dict[str, Any]] = reply.json()["data"]
    return found


async def changing_routes(client: Client) -> set[tuple[str, str]]:
    paths = (await client.get("/openapi.json")).json()["paths"]
    routes = {(method, path) for path, operations in paths.items() for method in operations}
    return {route for route in routes if route[0] != "get"} - NOT_AUDITED | REVEALING


async def test_the_table_above_names_every_route_that_changes_something(world: World) -> None:
    assert await changing_routes(world.admin) == set(CHANGES)


@pytest.mark.parametrize("route", CHANGES, ids=lambda route: f"{route[0]} {route[1]}")
async def test_what_is_done_is_on_record_once(world: World, route: tuple[str, str]) -> None:
    known = await things(world)
    made = (await world.admin.post("/v1/keys", {"scope": "admin", "name": "the one who does it"})).json()
    doer = world.admin.with_key(made["key"])
    if route[1].endswith("/{endpoint}/pause"):
        await world.admin.post(f"/v1/apps/shop/endpoints/{known['endpoint']}/resume")
    if route == ("delete", "/v1/apps/{app}/endpoints/{endpoint}/keys/{key}"):
        await world.admin.put(route[1].format(**known), {"value": "x"})
    if route[1].endswith("/{schedule}/resume"):
        await world.admin.post(f"/v1/schedules/{known['schedule']}/pause")
    if route[1].endswith("/{trigger}/resume"):
        await world.admin.post(f"/v1/triggers/{known['trigger']}/pause")
    if route[1].endswith("/replays/{replay}/resume"):
        await world.admin.post(f"/v1/apps/shop/replays/{known['replay']}/pause")
    method, path = route
    body, action, thing = CHANGES[route]
    before = await entries(world)
    url = path.format(**known)
    named = path.endswith(("/resend", "deliveries/cancel", "replays"))
    sent = {name: value.format(**known) for name, value in body.items()} if named else body
    reply = await doer.request(method.upper(), url, json=sent)
    assert reply.status < 300, reply.body
    after = await entries(world)
    new = after[: len(after) - len(before)]
    assert after[len(new) :] == before
    (entry,) = [each for each in new if each["actor"]["id"] != "system"]  # what comes of it may be on record, too
    assert entry["actor"] == {"id": made["id"], "name": "the one who does it"}
    assert entry["action"] == action
    assert entry["object"].startswith(thing.format(**known))
    for secret in ("whsec_", "whsk_", "ph_"):
        assert secret not in str(entry)
    # And what was not done is not.
    assert (await doer.request(method.upper(), url, body=b"{")).status in (200, 202, 204, 400, 404, 415)
    assert [e["action"] for e in (await entries(world))[1:]][-len(before) :] == [e["action"] for e in before]


async def test_what_is_refused_or_changes_nothing_is_not_on_record(world: World) -> None:
    known = await things(world)
    endpoint = f"/v1/apps/shop/endpoints/{known['endpoint']}"
    before = await entries(world)
    client = await world.client_of("shop")
    added = await entries(world)
    for reply in (
        await world.admin.patch("/v1/apps/shop", {}),
        await world.admin.patch(endpoint, {"paused": True}),
        await world.admin.post(f"{endpoint}/pause"),
        await world.admin.put("/v1/apps/shop", {}),
        await world.admin.patch("/v1/apps/shop", {"name": 5}),
        await world.admin.patch(endpoint, {"concurrency": 0}),
        await world.admin.delete(endpoint, headers={"If-Match": '"x"'}),
        await world.admin.post(f"{endpoint}/secret/rotate", {"secret": "whsec_short"}),
        await world.admin.post("/v1/apps", {"uid": "shop"}),
        await client.patch("/v1/apps/shop", {"name": "mine"}),
        await client.get("/v1/audit"),
    ):
        assert reply.status in (200, 403, 409, 412, 422), reply.body
    assert await entries(world) == added
    assert len(added) == len(before) + 1


async def test_an_app_is_named_for_what_it_does(world: World) -> None:
    known = await things(world)
    key = (await world.admin.post("/v1/keys", {"scope": "app", "app": "shop", "name": "portal"})).json()
    client = world.admin.with_key(key["key"])
    await client.get(f"/v1/apps/shop/endpoints/{known['endpoint']}/secret")
    (entry,) = await entries(world, f"?actor={key['id']}")
    assert (entry["action"], entry["actor"]["name"]) == ("endpoint.secret_revealed", "portal")
    # The name of a key that was revoked is still told.
    await world.admin.delete(f"/v1/keys/{key['id']}")
    assert (await entries(world, f"?actor={key['id']}"))[0]["actor"]["name"] == "portal"


async def test_what_posthouse_does_by_itself_is_on_record(world: World) -> None:
    known = await things(world)
    await world.directory.add_event_type("made.by.publishing")
    ((partition,),) = await world.query("SELECT partition FROM app WHERE uid = 'shop'")
    effect_id = world.clock.new_id()
    await world.query(
        "INSERT INTO effect (partition, id, endpoint_id, kind, reason) VALUES ($1, $2, $3, 'disable_endpoint', 'gone')"
        " RETURNING 1",
        partition,
        effect_id,
        raw(ENDPOINT, known["endpoint"]),
    )
    effect = Effect(
        id=AttemptId(effect_id),
        partition=partition,
        endpoint_id=EndpointId(raw(ENDPOINT, known["endpoint"])),
        kind=EffectKind.DISABLE_ENDPOINT,
        reason="gone",
    )
    await world.store.disable_endpoint(effect)
    await world.store.disable_endpoint(effect)
    disabled, created, first_key = await entries(world, "?actor=system")
    assert (disabled["action"], disabled["object"], disabled["detail"]) == (
        "endpoint.disabled",
        known["endpoint"],
        {"reason": "gone"},
    )
    assert (created["action"], created["object"]) == ("event_type.created", "made.by.publishing")
    assert (first_key["action"], first_key["actor"]) == ("key.created", {"id": "system", "name": ""})


async def test_filters(world: World) -> None:
    known = await things(world)
    await world.admin.patch(f"/v1/apps/shop/endpoints/{known['endpoint']}", {"concurrency": 3})
    await world.admin.patch("/v1/apps/shop", {"name": "x"})
    everything = await entries(world)

    def actions(found: list[dict[str, Any]]) -> list[str]:
        return [entry["action"] for entry in found]

    assert actions(await entries(world, "?action=endpoint.")) == ["endpoint.changed", "endpoint.created"]
    assert actions(await entries(world, "?action=endpoint.created")) == ["endpoint.created"]
    assert actions(await entries(world, f"?object={known['app']}")) == ["app.changed", "app.created"]
    assert actions(await entries(world, f"?object={known['app']}&action=app.created")) == ["app.created"]
    me = everything[0]["actor"]["id"]
    assert await entries(world, f"?actor={me}") == [entry for entry in everything if entry["actor"]["id"] == me]
    for nothing in ("?action=nope.", "?actor=key_nope", "?object=nope", "?object=a%00b"):
        assert await entries(world, nothing) == [], nothing
    for wrong in ("app", "app.created.more", "App.", "*", ".", ""):
        refused = await world.admin.get(f"/v1/audit?action={wrong}")
        assert (refused.status, refused.path) == (422, "?action"), wrong


async def test_pages_and_times(world: World) -> None:
    for number in range(7):
        await world.app(f"app-{number}")
    # All at the same microsecond, but for the first key.
    await world.query("UPDATE audit SET at = '2026-01-02T03:04:05.678901Z' WHERE action = 'app.created' RETURNING 1")
    everything = await entries(world)
    assert len(everything) == 8
    assert {entry["at"] for entry in everything if entry["action"] == "app.created"} == {"2026-01-02T03:04:05.678Z"}
    seen, cursor = [], ""
    while True:
        reply = (await world.admin.get(f"/v1/audit?limit=3{cursor}")).json()
        seen += reply["data"]
        if reply["next"] is None:
            break
        cursor = f"&cursor={reply['next']}"
    assert seen == everything
    assert len(await entries(world, "?until=2026-01-02T03:04:05.678902Z")) == 7
    assert await entries(world, "?until=2026-01-02T03:04:05.678901Z") == []
    assert len(await entries(world, "?since=2026-01-02T03:04:05.678901Z&until=2026-01-02T03:04:06Z")) == 7
    assert len(await entries(world, "?since=2026-01-02T03:04:05.678902Z")) == 1
    assert len(await entries(world, "?until=9999-12-31T00:00:00Z&since=0001-01-02T00:00:00Z")) == 8
    foreign = (await world.admin.get("/v1/apps?limit=1")).json()["next"]
    assert (await world.admin.get(f"/v1/audit?cursor={foreign}")).code == "invalid_cursor"
