"""Testing an endpoint: one signed request now, through the same guard as every other, and nothing kept of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.serving import ask, call, serving
from tests.targets import OK, Peer, target

from posthouse import bootstrap
from posthouse_sdk import Webhook

TEST = "/v1/apps/acme/endpoints/main/test"


@pytest.fixture
async def server(database: str) -> AsyncIterator[bootstrap.Posthouse]:
    async with serving(database) as running:
        port = running.port
        await call(port, "POST", "/v1/event-types", {"name": "order.created", "examples": [{"id": 7}]})
        await call(port, "POST", "/v1/apps", {"uid": "acme"})
        yield running


async def add(port: int, url: str, **fields: Any) -> Any:
    return await call(port, "POST", "/v1/apps/acme/endpoints", {"url": url, "uid": "main"} | fields)


async def ok(peer: Peer) -> None:
    while True:
        await peer.request()
        await peer.send(OK)


async def test_it_is_sent_at_once_signed_and_told(server: bootstrap.Posthouse) -> None:
    port = server.port
    async with target(ok) as served:
        made = await add(port, f"http://127.0.0.1:{served.port}/hooks", paused=True)
        told = await call(port, "POST", TEST, {"type": "order.created"})
        (request,) = served.requests
        head, _, body = request.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
        event = Webhook(made["secret"]).verify(body, headers)
        assert (event["type"], event["data"]) == ("order.created", {"id": 7})
        assert (told["event"], told["type"]) == (headers["webhook-id"], "order.created")
        assert (told["outcome"], told["reason"], told["status"]) == ("delivered", "confirmed", 200)
        assert told["request"]["body"].encode() == body
        assert told["response"]["status"] == 200
        for path in ("events", "attempts", "deliveries"):
            assert (await call(port, "GET", f"/v1/apps/acme/{path}"))["data"] == []


async def test_what_is_sent(server: bootstrap.Posthouse) -> None:
    port = server.port
    async with target(ok) as served:
        await add(port, f"http://127.0.0.1:{served.port}/", enabled=False)
        for asked, event_type, data in (
            ({}, "endpoint.test", b'"data":{"message":'),
            ({"type": "order.created", "data": [1, None]}, "order.created", b'"data":[1,null]}'),
            ({"type": "order.created", "data": None}, "order.created", b'"data":null}'),
            ({"type": "unknown.type"}, "unknown.type", b'"data":{"message":'),
        ):
            told = await call(port, "POST", TEST, asked)
            assert told["type"] == event_type
            assert data in served.requests[-1]


async def test_what_cannot_be_written_is_said(server: bootstrap.Posthouse) -> None:
    port = server.port
    async with target(ok) as served:
        await add(port, f"http://127.0.0.1:{served.port}/", format={"kind": "xml", "types": False})
        refused = await ask(port, "POST", TEST, {"data": {"a": "\x01"}})
        assert (refused.status, refused.body["code"]) == (409, "unsendable")
        assert "which XML cannot hold" in refused.body["detail"]
        assert served.requests == []


async def test_a_target_that_refuses_or_is_refused(server: bootstrap.Posthouse) -> None:
    port = server.port

    async def no(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 503 No\r\nContent-Length: 4\r\n\r\nbusy")

    async with target(no) as served:
        await add(port, f"http://127.0.0.1:{served.port}/")
        told = await call(port, "POST", TEST, {})
        assert (told["outcome"], told["reason"], told["status"]) == ("failed", "http_status", 503)
        assert told["response"]["body"] == "busy"
    told = await call(port, "POST", TEST, {})
    assert (told["outcome"], told["reason"], told["response"]) == ("failed", "connect_failed", None)
    assert told["error"]


async def test_bad_requests_and_other_apps(server: bootstrap.Posthouse) -> None:
    port = server.port
    await add(port, "http://127.0.0.1:9/")
    bad = await ask(port, "POST", TEST, {"type": "a b"})
    assert (bad.status, bad.body["path"]) == (422, "type")
    missing = await ask(port, "POST", "/v1/apps/acme/endpoints/nope/test", {})
    assert (missing.status, missing.body["code"]) == (404, "endpoint_not_found")
    await call(port, "POST", "/v1/apps", {"uid": "other"})
    key = (await call(port, "POST", "/v1/keys", {"scope": "app", "app": "other"}))["key"]
    assert (await ask(port, "POST", TEST, {}, key=key)).status == 404
