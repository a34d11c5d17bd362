"""Filters through a whole server, with CEL: which events an endpoint gets, and why not the others."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.integration.test_grants import an_app, explain, heard, ok, until
from tests.serving import ask, call, serving
from tests.targets import target

from posthouse import bootstrap
from posthouse.domain.limits import FILTER_DEPTH_MAX

LATER = "event.data.items.filter(i, i.price > 10).size() > 1"


@pytest.fixture
async def server(database: str) -> AsyncIterator[bootstrap.Posthouse]:
    async with serving(database) as running:
        for name in ("order.created", "order.paid"):
            await call(running.port, "POST", "/v1/event-types", {"name": name})
        yield running


async def publish(port: int, app: str, order: Any, event_type: str = "order.created", **more: Any) -> str:
    made = await call(port, "POST", f"/v1/apps/{app}/events", {"type": event_type, "data": order} | more)
    event_id: str = made["id"]
    return event_id


async def data(port: int, path: str) -> list[Any]:
    found: list[Any] = (await call(port, "GET", path))["data"]
    return found


async def change(port: int, uid: str, **fields: Any) -> Any:
    return await ask(port, "PATCH", f"/v1/apps/{uid}/endpoints/main", fields)


async def test_an_endpoint_gets_what_its_filters_let_pass(server: bootstrap.Posthouse) -> None:
    port = server.port
    async with target(ok) as served:
        await an_app(port, "light", to=served, filter="event.data.total > 100")
        await an_app(port, "heavy", to=served, filter=LATER, ordering="endpoint")
        await an_app(port, "both", to=served, filter="event.data.total > 100", filters=[{"suffix": {"type": ".paid"}}])
        sent: dict[str, list[str]] = {}
        for uid in ("light", "heavy", "both"):
            sent[uid] = [
                await publish(port, uid, {"total": 500, "items": [{"price": 20}, {"price": 30}]}),
                await publish(port, uid, {"total": 5, "items": []}),
                await publish(port, uid, {"total": 500, "items": [{"price": 20}] * 5_000}, "order.paid"),
            ]
        await until(lambda: len(heard(served, "light")) == 2, "what is above 100")
        await until(lambda: len(heard(served, "heavy")) == 2, "what is evaluated later")
        await until(lambda: len(heard(served, "both")) == 1, "what both let pass")
    assert heard(served, "light") == [sent["light"][0], sent["light"][2]]
    assert heard(served, "heavy") == [sent["heavy"][0], sent["heavy"][2]]
    assert heard(served, "both") == [sent["both"][2]]
    assert await data(port, "/v1/apps/both/attempts?endpoint=main") != []
    assert len(await data(port, "/v1/apps/light/attempts")) == 2, "nothing is left of what does not match"


async def test_attributes_of_a_cloudevent(server: bootstrap.Posthouse) -> None:
    port = server.port
    async with target(ok) as served:
        filters = [
            {"exact": {"region": "eu"}},
            {"not": {"prefix": {"source": "/test"}}},
            {"cel": "event.subject == 'a'"},
        ]
        await an_app(port, "ce", to=served, filters=filters)
        for number, (region, source) in enumerate([("eu", "/test/1"), ("us", "/shop"), ("eu", "/shop")]):
            event = {
                "specversion": "1.0", "id": f"A-{number}", "source": source, "type": "order.created", "subject": "a",
                "region": region, "data": number,
            }  # fmt: skip
            headers = {"Content-Type": "application/cloudevents+json"}
            made = await ask(port, "POST", "/v1/apps/ce/events", event, headers=headers)
            assert made.status == 202, made
        await until(lambda: heard(served, "ce") == [made.body["id"]], "the one that matches")


async def test_a_filter_without_a_value_is_sent_or_given_up_and_on_record(server: bootstrap.Posthouse) -> None:
    port = server.port
    async with target(ok) as served:
        await an_app(port, "sent", to=served, filter="event.data.nothere > 1")
        await an_app(port, "skipped", to=served, filter="event.data.nothere > 1", on_filter_error="skip")
        sent, skipped = await publish(port, "sent", {}), await publish(port, "skipped", {})
        await until(lambda: heard(served, "sent") == [sent], "what is sent all the same")

        async def given_up() -> bool:
            found = await data(port, f"/v1/apps/skipped/events/{skipped}/attempts")
            return [(a["outcome"], a["reason"]) for a in found] == [("gave_up", "filter_failed")]

        await until(given_up, "what is given up")
        (attempt,) = await data(port, f"/v1/apps/skipped/events/{skipped}/attempts")
        assert "nothere" in attempt["error"]
        metrics = await ask(port, "GET", "/metrics")
        assert "posthouse_filter_failures_total 2.0" in str(metrics.body)
    assert heard(served, "skipped") == []


NESTED: dict[str, Any] = {"cel": "true"}
for _ in range(90):
    NESTED = {"not": NESTED}

REFUSED = [
    ({"filter": "event.data.total >"}, "filter"),
    ({"filter": "'text'"}, "filter"),
    ({"filters": [{"exact": {"type": "a"}, "prefix": {"type": "a"}}]}, "filters[0]"),
    ({"filters": [{"any": [{"not": {"cel": "1 +"}}]}]}, "filters[0].any[0].not.cel"),
    ({"filters": [{"any": []}]}, "filters[0].any"),
    ({"filters": [{"exact": {"type": 1}}]}, "filters[0].exact[...]"),
    ({"filters": [{"sql": "a"}]}, "filters[0].sql"),
    ({"filters": {"exact": {"type": "a"}}}, "filters"),
    ({"filters": [NESTED]}, "filters[0]" + ".not" * FILTER_DEPTH_MAX),
    ({"on_filter_error": "drop"}, "on_filter_error"),
]


async def test_what_cannot_be_a_filter_is_refused_with_its_place(server: bootstrap.Posthouse) -> None:
    async with target(ok) as served:
        await an_app(server.port, "shop", to=served)
        for fields, path in REFUSED:
            reply = await change(server.port, "shop", **fields)  # type: ignore[arg-type]
            assert (reply.status, reply.body["path"]) == (422, path), reply


async def test_a_dry_run_says_which_filter_says_no(server: bootstrap.Posthouse) -> None:
    port = server.port
    async with target(ok) as served:
        url = f"http://127.0.0.1:{served.port}/x"
        await call(port, "POST", "/v1/apps", {"uid": "shop"})
        failing = {"filter": "event.data.nothere > 1"}
        for uid, more in (
            ("passes", {"filter": "event.data.total > 100", "filters": [{"prefix": {"type": "order."}}]}),
            ("later", {"filter": LATER}),
            (
                "dialect",
                {"filter": "event.data.total > 100", "filters": [{"cel": "true"}, {"exact": {"subject": "b"}}]},
            ),
            ("expression", {"filter": "event.data.total > 1000"}),
            ("sent", failing),
            ("skipped", failing | {"on_filter_error": "skip"}),
            ("mine", {"filter": "endpoint.id == event.data.to"}),
        ):
            await call(port, "POST", "/v1/apps/shop/endpoints", {"url": url, "uid": uid} | more)
        order = {"total": 500, "items": [{"price": 20}, {"price": 30}], "to": "nobody"}
        told = await explain(port, "/v1/apps/shop/events", {"type": "order.created", "subject": "a", "data": order})
        reached = {e["uid"]: e for app in told["reached"] for e in app["endpoints"]}
        assert {uid: e["reason"] for uid, e in reached.items()} == {
            "passes": "matched", "later": "matched", "sent": "filter_failed",
        }  # fmt: skip
        assert "nothere" in reached["sent"]["explanation"]
        assert reached["passes"]["explanation"] is None
        ids = {e["id"]: e["uid"] for e in await data(port, "/v1/apps/shop/endpoints")}
        missed = {ids[miss["endpoint"]]: (miss["reason"], miss["explanation"]) for miss in told["not_reached"]}
        assert {uid: reason for uid, (reason, _) in missed.items()} == {
            "dialect": "filtered", "expression": "filtered", "skipped": "filter_failed", "mine": "filtered",
        }  # fmt: skip
        assert missed["dialect"][1] == 'its filters[1] does not let the event pass: {"exact":{"subject":"b"}}'
        assert missed["expression"][1] == "its filter does not let the event pass: event.data.total > 1000"
        assert "given up" in missed["skipped"][1]
        assert served.requests == []


async def test_a_replay_of_what_is_missing_respects_filters_and_a_resend_does_not(server: bootstrap.Posthouse) -> None:
    port = server.port
    async with target(ok) as served:
        await an_app(port, "shop", to=served, filter="event.data.total > 100")
        small, large = [await publish(port, "shop", {"total": total}) for total in (5, 500)]
        await until(lambda: heard(served, "shop") == [large], "the large one")
        await change(port, "shop", filter="event.data.total > 10")
        since = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
        asked = {"endpoint": "main", "since": since, "select": "missing"}
        job = await call(port, "POST", "/v1/apps/shop/replays", asked)

        async def finished() -> bool:
            found = await call(port, "GET", f"/v1/apps/shop/replays/{job['id']}")
            return bool(found["state"] == "finished")

        await until(finished, "the replay")
        attempts = await data(port, f"/v1/apps/shop/events/{small}/attempts")
        assert [(a["outcome"], a["reason"]) for a in attempts] == [("gave_up", "filtered")]
        assert heard(served, "shop") == [large]
        await call(port, "POST", "/v1/apps/shop/deliveries/resend", {"event": small, "endpoint": "main"})
        await until(lambda: heard(served, "shop") == [large, small], "what is sent again by hand")


async def test_filters_of_an_app_are_evaluated_apart(server: bootstrap.Posthouse) -> None:
    """What an app wrote never runs in the server, and its slowest filters delay nobody else's events."""
    port = server.port
    async with target(ok) as served:
        await an_app(port, "operators", to=served, filter="event.data.total > 100")
        await an_app(port, "hostile", to=served)
        key = await call(port, "POST", "/v1/keys", {"name": "theirs", "scope": "app", "app": "hostile"})
        endless = "event.data.items.all(i, i.matches('(a{1,90}){1,1}b'))"
        reply = await ask(port, "PATCH", "/v1/apps/hostile/endpoints/main", {"filter": endless}, key=key["key"])
        assert reply.status == 200, reply
        for _ in range(5):
            await publish(port, "hostile", {"items": ["a" * 50_000] * 10})
        began = asyncio.get_running_loop().time()
        event = await publish(port, "operators", {"total": 500})
        await until(lambda: heard(served, "operators") == [event], "the healthy one")
        assert asyncio.get_running_loop().time() - began < 5.0, "generous: this machine may be busy"
        await until(lambda: server._engine.filtering.events == 0, "the hostile ones")
    assert json.dumps(heard(served, "operators")) == json.dumps([event])
