"""Transformations, URLs that depend on the event, and previews, end to end: a server, real targets, the real expressions."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.serving import ask, call, listed, serving
from tests.targets import OK, Peer, RawTarget, target

from posthouse import bootstrap
from posthouse_sdk import Webhook

APP = "/v1/apps/acme"
EVENT = {
    "type": "order.created",
    "data": {"id": 7, "total": 12.5, "shop": "é 1", "lines": [{"sku": "a"}, {"sku": "b"}]},
}


@pytest.fixture
async def server(database: str) -> AsyncIterator[bootstrap.Posthouse]:
    async with serving(database) as running:
        await call(running.port, "POST", "/v1/event-types", {"name": "order.created", "examples": [{"id": 1}]})
        await call(running.port, "POST", "/v1/event-types", {"name": "card.used", "redact": ["/card"]})
        await call(running.port, "POST", "/v1/apps", {"uid": "acme"})
        yield running


async def ok(peer: Peer) -> None:
    while True:
        await peer.request()
        await peer.send(OK)


def url(served: RawTarget, path: str = "/hooks") -> str:
    return f"http://127.0.0.1:{served.port}{path}"


async def add(port: int, **fields: Any) -> Any:
    return await call(port, "POST", f"{APP}/endpoints", {"uid": "main"} | fields)


async def publish(port: int, **fields: Any) -> str:
    made = await call(port, "POST", f"{APP}/events", EVENT | fields)
    return str(made["id"])


async def attempt(port: int, event: str) -> Any:
    """The one attempt to deliver it, once it is on record."""
    path = f"{APP}/events/{event}/attempts"
    (found,) = await listed(port, path, lambda rows: len(rows) == 1, "its attempt")
    return await call(port, "GET", f"{APP}/attempts/{found['id']}")


def parts(request: bytes) -> tuple[str, dict[str, str], bytes]:
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return first, {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}, body


async def test_an_event_is_sent_as_it_was_transformed(server: bootstrap.Posthouse) -> None:
    port = server.port
    async with target(ok) as served:
        made = await add(
            port,
            url=url(served, "/hooks?v=1"),
            transform={
                "data": "{'order': event.data.id, 'paid': event.data.total, 'skus': event.data.lines.map(l, l.sku)}",
                "headers": {"X-Shop": "event.data.shop"},
                "query": {"shop": "event.data.shop", "big": "event.data.total > 10.0"},
                "schema": {"type": "object", "required": ["order"], "properties": {"order": {"type": "integer"}}},
            },
        )
        previewed = await call(port, "POST", f"{APP}/endpoints/main/preview", EVENT)
        assert served.requests == []
        event = await publish(port)
        told = await attempt(port, event)
        (request,) = served.requests
        first, headers, body = parts(request)
        assert Webhook(made["secret"]).verify(body, headers)["data"] == {"order": 7, "paid": 12.5, "skus": ["a", "b"]}
        assert first == "POST /hooks?v=1&shop=%C3%A9%201&big=true HTTP/1.1"
        assert headers["x-shop"] == "%C3%A9 1"
        assert (told["outcome"], told["url"]) == ("delivered", url(served, "/hooks?v=1"))
        assert told["request"]["body"].encode() == body
        assert {"name": "X-Shop", "value": "%C3%A9 1"} in told["request"]["headers"]
        # The preview was the same, but for what is new in each request.
        assert (previewed["matches"], previewed["match_reason"], previewed["steps"]) == (True, "matched", ["signing"])
        assert previewed["request"]["url"] == told["request"]["url"]
        assert json.loads(previewed["request"]["body"])["data"] == json.loads(body)["data"]
        names = [each["name"] for each in previewed["request"]["headers"]]
        assert names == [each["name"] for each in told["request"]["headers"]]
        tested = await call(
            port, "POST", f"{APP}/endpoints/main/test", {"type": "order.created", "data": EVENT["data"]}
        )
        assert tested["request"]["body"].startswith('{"type":"order.created"')
        assert parts(served.requests[1])[1]["x-shop"] == "%C3%A9 1"


async def test_what_cannot_be_made_is_given_up_with_the_reason(server: bootstrap.Posthouse) -> None:
    port = server.port
    async with target(ok) as served:
        await add(port, url=url(served), transform={"data": "event.data.customer.name"})
        event = await publish(port)
        told = await attempt(port, event)
        assert (told["outcome"], told["reason"], told["sent"]) == ("gave_up", "transform_failed", False)
        assert told["error"].startswith("transform.data: ")
        assert told["request"] is None
        assert (await call(port, "GET", f"{APP}/deliveries"))["data"] == []
        for asked in (EVENT, {"event": event}):
            shown = await call(port, "POST", f"{APP}/endpoints/main/preview", asked)
            assert (shown["request"], shown["reason"], shown["error"]) == (None, "transform_failed", told["error"])
        refused = await ask(port, "POST", f"{APP}/endpoints/main/test", {"type": "order.created"})
        assert (refused.status, refused.body["code"]) == (409, "transform_failed")
        assert served.requests == []


async def test_each_event_finds_its_own_url(server: bootstrap.Posthouse) -> None:
    port = server.port
    async with target(ok) as own, target(ok) as first, target(ok) as second:
        among = {"small": url(first, "/small"), "large": url(second, "/large")}
        await add(
            port,
            url=url(own),
            dynamic_url={
                "choose": "event.data.total > 10.0 ? 'large' : event.data.total > 0.0 ? 'small' : 'none'",
                "among": among,
            },
        )
        for total, served in ((20.0, second), (5.0, first)):
            event = await publish(port, data={"total": total})
            told = await attempt(port, event)
            assert (told["outcome"], told["url"]) == ("delivered", url(served, "/large" if total > 10 else "/small"))
            assert told["request"]["url"] == told["url"]
            (request,) = served.requests
            assert parts(request)[1]["host"] == f"127.0.0.1:{served.port}"
        event = await publish(port, data={"total": -1.0})
        told = await attempt(port, event)
        assert (told["outcome"], told["reason"], told["sent"]) == ("gave_up", "no_url", False)
        for total, where in ((20.0, among["large"]), (5.0, among["small"]), (-1.0, None)):
            body = {"type": "order.created", "data": {"total": total}}
            explained = await ask(port, "POST", f"{APP}/events?dry_run=true", body)
            ((found,),) = [reached["endpoints"] for reached in explained.body["reached"]]
            assert found["url"] == where
            assert (found["explanation"] is None) is (where is not None)
        changed = {
            "dynamic_url": {
                "template": f"http://{{event.data.host}}:{own.port}/s/{{event.subject}}",
                "hosts": ["127.0.0.1"],
            }
        }
        await call(port, "PATCH", f"{APP}/endpoints/main", changed)
        event = await publish(port, data={"host": "127.0.0.1"}, subject="a/b?c")
        told = await attempt(port, event)
        assert (told["outcome"], told["url"]) == ("delivered", url(own, "/s/a%2Fb%3Fc"))
        assert own.requests[0].startswith(b"POST /s/a%2Fb%3Fc HTTP/1.1\r\n")
        event = await publish(port, data={"host": "localhost"}, subject="a")
        told = await attempt(port, event)
        assert (told["reason"], told["sent"]) == ("no_url", False)
        await call(
            port, "PATCH", f"{APP}/endpoints/main", {"dynamic_url": changed["dynamic_url"] | {"otherwise": "url"}}
        )
        event = await publish(port, data={"host": "localhost"}, subject="a")
        assert (await attempt(port, event))["url"] == url(own)
        assert len(own.requests) == 2


async def test_a_batch_is_transformed_one_by_one(server: bootstrap.Posthouse) -> None:
    port = server.port
    async with target(ok) as served:
        await add(
            port,
            url=url(served),
            batch={"max_events": 3, "max_wait_ms": 2_000},
            transform="{'n': event.data.n, 'of': event.type}",
        )
        events = [{"type": "order.created", "data": data} for data in ({"n": 1}, {"other": 2}, {"n": 3})]
        published = await call(port, "POST", f"{APP}/events/batch", events)
        told = [await attempt(port, each["id"]) for each in published["data"]]
        assert [each["reason"] for each in told] == ["confirmed", "transform_failed", "confirmed"]
        (request,) = served.requests
        assert [each["data"] for each in json.loads(parts(request)[2])] == [
            {"n": 1, "of": "order.created"},
            {"n": 3, "of": "order.created"},
        ]


async def test_what_is_redacted_stays_masked_in_what_is_made_of_it(server: bootstrap.Posthouse) -> None:
    port = server.port
    async with target(ok) as served:
        await add(
            port,
            url=url(served),
            transform={"data": "{'paid_with': event.data.card}"},
            dynamic_url={"template": url(served, "/c/{event.data.card}")},
        )
        event = await publish(port, type="card.used", data={"card": "4111"})
        told = await attempt(port, event)
        assert b'"paid_with":"4111"' in served.requests[0]
        assert "4111" not in json.dumps(told["request"]["body"])
        shown = await call(port, "POST", f"{APP}/endpoints/main/preview", {"event": event})
        assert shown["masked"] is True
        assert "4111" not in json.dumps(shown)


async def test_whether_it_would_hear_of_it(server: bootstrap.Posthouse) -> None:
    port = server.port
    await add(port, url="http://127.0.0.1:9/", events=["order.*"], channels=["eu"], filter="event.data.id > 5")
    path = f"{APP}/endpoints/main/preview"
    for asked, reason in (
        (EVENT | {"channels": ["eu"]}, "matched"),
        (EVENT | {"channels": ["us"]}, "other_channels"),
        (EVENT | {"channels": ["eu"], "type": "card.used"}, "other_types"),
        ({"channels": ["eu"], "type": "order.created"}, "filtered"),
    ):
        shown = await call(port, "POST", path, asked)
        assert (shown["match_reason"], shown["matches"]) == (reason, reason == "matched")
        assert shown["request"]["method"] == "POST"
    shown = await call(port, "POST", path, {"type": "order.created", "channels": ["eu"], "data": {}})
    assert (shown["matches"], shown["filter_error"] is not None) == (True, True)
    await call(port, "PATCH", f"{APP}/endpoints/main", {"paused": True})
    assert (await call(port, "POST", path, EVENT | {"channels": ["eu"]}))["match_reason"] == "paused"
    await call(port, "PATCH", f"{APP}/endpoints/main", {"enabled": False})
    assert (await call(port, "POST", path, EVENT))["match_reason"] == "disabled"


REFUSED: tuple[tuple[dict[str, Any], str], ...] = (
    ({"transform": "event.data +"}, "transform.data"),
    ({"transform": {"headers": {"X-A": "['a']"}}}, "transform.headers.X-A"),
    ({"transform": {"headers": {"Host": "'a'"}}}, "transform.headers.Host"),
    ({"transform": {"headers": {"X-A": "'a'"}}, "headers": {"x-a": "b"}}, "transform.headers.X-A"),
    ({"transform": {"headers": {"X-A": "'a'"}}, "batch": {}}, "transform.headers"),
    ({"transform": {"schema": {"type": "none"}}}, "transform.schema"),
    ({"dynamic_url": {"choose": "event.none", "among": {"a": "http://127.0.0.1:9/"}}}, "dynamic_url.choose"),
    ({"dynamic_url": {"choose": "'a'", "among": {"a": "http://10.0.0.1/"}}}, "dynamic_url.among.a"),
    ({"dynamic_url": {"template": "http://10.0.0.1/{event.key}"}}, "dynamic_url.template"),
    (
        {"dynamic_url": {"template": "http://{event.key}/", "hosts": ["127.0.0.1", "10.0.0.1"]}},
        "dynamic_url.hosts[1]",
    ),
    (
        {"dynamic_url": {"template": "http://127.0.0.1/{event.key}"}, "fallback_urls": ["http://127.0.0.1:9/"]},
        "dynamic_url",
    ),
)


async def test_what_is_refused(server: bootstrap.Posthouse) -> None:
    for fields, path in REFUSED:
        refused = await ask(server.port, "POST", f"{APP}/endpoints", {"url": "http://127.0.0.1:9/"} | fields)
        assert (refused.status, refused.body["path"]) == (422, path)


async def test_a_preview_of_an_endpoint_as_it_might_be(server: bootstrap.Posthouse) -> None:
    port = server.port
    await add(port, url="http://127.0.0.1:9/", events=["card.*"])
    path = f"{APP}/endpoints/main/preview"
    changes: dict[str, Any] = {"url": "http://127.0.0.1:9/other", "events": ["order.*"], "headers": {"X-Shop": "42"}}
    changes |= {"method": "PUT", "transform": "{'id': event.data.id}", "format": "raw", "signing": []}
    before = await call(port, "GET", f"{APP}/endpoints/main")
    shown = await call(port, "POST", path, EVENT | {"changes": changes})
    assert (shown["matches"], shown["url"], shown["steps"]) == (True, "http://127.0.0.1:9/other", [])
    assert (shown["request"]["method"], shown["request"]["body"]) == ("PUT", '{"id":7}')
    assert {"name": "X-Shop", "value": "42"} in shown["request"]["headers"]
    assert not (await call(port, "POST", path, EVENT))["matches"]
    assert await call(port, "GET", f"{APP}/endpoints/main") == before
    # The keys that a profile makes are made up; one that must be given is missed.
    shown = await call(port, "POST", path, EVENT | {"changes": {"profile": "feishu"}})
    assert (shown["request"]["method"], shown["reason"]) == ("POST", None)
    refused = await ask(port, "POST", path, EVENT | {"changes": {"auth": {"kind": "bearer", "key": "none"}}})
    assert (refused.status, refused.body["code"]) == (409, "endpoint_unusable")
    for given, where in (
        ({"url": "ftp://a"}, "changes.url"),
        ({"url": "http://10.0.0.1/"}, "changes.url"),
        ({"transform": "event.data +"}, "changes.transform.data"),
        ({"none": 1}, "changes.none"),
    ):
        refused = await ask(port, "POST", path, EVENT | {"changes": given})
        assert (refused.status, refused.body["path"]) == (422, where)


async def test_what_no_preview_is_of(server: bootstrap.Posthouse) -> None:
    port = server.port
    await add(port, url="http://127.0.0.1:9/")
    path = f"{APP}/endpoints/main/preview"
    for asked, status, code in (
        ({"event": "evt_000g40r40m30e209185gr38e1w"}, 404, "event_not_found"),
        ({"event": "evt_000g40r40m30e209185gr38e1w", "type": "a"}, 422, "invalid"),
        ({"type": "no type"}, 422, "invalid_event_type"),
        ({"subject": ""}, 422, "invalid"),
        ({"none": 1}, 422, "invalid"),
    ):
        refused = await ask(port, "POST", path, asked)
        assert (refused.status, refused.body["code"]) == (status, code)
    assert (await ask(port, "POST", f"{APP}/endpoints/none/preview", {})).status == 404
