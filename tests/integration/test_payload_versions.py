"""Endpoints that pin a version of an event type's payloads, from the API to the bytes that arrive."""

from __future__ import annotations

import json
from typing import Any

import asyncpg
from tests.fakes import until
from tests.integration.test_speech import ok
from tests.receiving import Received
from tests.serving import ask, call, serving
from tests.targets import target

from posthouse_sdk import Webhook

ENDPOINTS = "/v1/apps/acme/endpoints"
FIRST = {"type": "object", "properties": {"id": {"type": "integer"}, "lines": {"items": {"properties": {"sku": {}}}}}}
SECOND = {
    "type": "object",
    "properties": {"id": {}, "coupon": {}, "lines": {"items": {"properties": {"sku": {}, "n": {}}}}},
}
DATA = {"id": 7, "coupon": "X", "lines": [{"sku": "a", "n": 2}]}
OLD = {"id": 7, "lines": [{"sku": "a"}]}


async def test_an_endpoint_goes_on_getting_the_version_that_it_pinned(database: str) -> None:
    async with serving(database) as server, target(ok) as served:
        port = server.port
        for name in ("order.created", "order.paid"):
            await call(port, "POST", "/v1/event-types", {"name": name, "schema": FIRST})
            await call(port, "PATCH", f"/v1/event-types/{name}", {"schema": SECOND})
        await call(port, "POST", "/v1/apps", {"uid": "acme"})
        secrets = {}
        for uid, fields in {
            "newest": {},
            "pinned": {"payload_versions": {"order.created": 1, "order.paid": 2}},
            "batched": {"payload_versions": {"order.created": 1}, "batch": {"max_events": 2, "max_wait_ms": 2000}},
        }.items():
            body = {"url": f"http://127.0.0.1:{served.port}/{uid}", "uid": uid} | fields
            made = await call(port, "POST", ENDPOINTS, body)
            assert made["payload_versions"] == fields.get("payload_versions", {})
            secrets[uid] = made["secret"]
        events = [
            (await call(port, "POST", "/v1/apps/acme/events", {"type": name, "data": DATA}))["id"]
            for name in ("order.created", "order.paid")
        ]
        await until(lambda: len(served.requests) == 5, "five requests")
        got: dict[str, list[tuple[str, Any]]] = {uid: [] for uid in secrets}
        for raw in served.requests:
            request = Received(raw)
            uid = request.path.removeprefix("/")
            for event in Webhook(secrets[uid]).unwrap_all(request.body, request.headers):
                got[uid].append((event.type or "", event.data))
        told = {uid: dict(each) for uid, each in got.items()}
        assert told == {
            "newest": {"order.created": DATA, "order.paid": DATA},
            "pinned": {"order.created": OLD, "order.paid": DATA},
            "batched": {"order.created": OLD, "order.paid": DATA},
        }

        # What is shown is what was sent.
        attempts = f"/v1/apps/acme/events/{events[0]}/attempts"

        async def recorded() -> bool:
            return len((await call(port, "GET", attempts))["data"]) == 3

        await until(recorded, "the attempts")
        for row in (await call(port, "GET", attempts))["data"]:
            shown = (await call(port, "GET", f"/v1/apps/acme/attempts/{row['id']}"))["request"]
            if shown["url"].endswith("/pinned"):
                assert json.loads(shown["body"])["data"] == OLD
                break
        else:
            raise AssertionError("the attempt is shown")


async def test_what_cannot_be_pinned_is_refused_and_what_was_stays(database: str) -> None:
    async with serving(database) as server:
        port = server.port
        await call(port, "POST", "/v1/event-types", {"name": "order.created", "schema": FIRST})
        await call(port, "POST", "/v1/event-types", {"name": "secret.thing", "visibility": "private"})
        await call(port, "POST", "/v1/apps", {"uid": "acme"})
        key = (await call(port, "POST", "/v1/keys", {"name": "k", "scope": "app", "app": "acme"}))["key"]
        good = {"url": "https://example.com/", "uid": "main", "payload_versions": {"order.created": 1}}
        await call(port, "PUT", f"{ENDPOINTS}/main", good)
        bad: list[tuple[Any, str]] = [
            ({"order.created": 2}, "payload_versions.order.created"),
            ({"order.created": 0}, "payload_versions.order.created"),
            ({"order.created": 2**40}, "payload_versions.order.created"),
            ({"order.created": "1"}, "payload_versions.order.created"),
            ({"order.created": True}, "payload_versions.order.created"),
            ({"order.gone": 1}, "payload_versions.order.gone"),
            ({"order.*": 1}, "payload_versions.order.*"),
            ({"secret.thing": 1}, "payload_versions.secret.thing"),
            ({f"a{n}": 1 for n in range(51)}, "payload_versions"),
            ([1], "payload_versions"),
        ]
        for pins, path in bad:
            for method, url in (("POST", ENDPOINTS), ("PUT", f"{ENDPOINTS}/main"), ("PATCH", f"{ENDPOINTS}/main")):
                reply = await ask(port, method, url, good | {"payload_versions": pins}, key=key)
                assert (reply.status, reply.body["path"]) == (422, path), (method, pins, reply.body)
        # A version that is gone takes nothing from what was configured with it.
        connection = await asyncpg.connect(database)
        await connection.execute("DELETE FROM event_type_version")
        await connection.close()
        kept = await call(port, "PUT", f"{ENDPOINTS}/main", good | {"description": "still"})
        assert (kept["payload_versions"], kept["revision"]) == ({"order.created": 1}, 2)
        cleared = await call(port, "PATCH", f"{ENDPOINTS}/main", {"payload_versions": None})
        assert cleared["payload_versions"] == {}
