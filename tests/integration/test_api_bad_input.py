"""Bad input gets a clear problem that names the field, and changes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from tests.asgi import Reply
from tests.integration.api_world import REFUSED_HOST, World, world_over

from posthouse.domain.ids import APP, ENDPOINT, EVENT, format_id

URL = "https://example.com/hooks"
JSON = {"content-type": "application/json"}


@pytest.fixture
async def world(database: str) -> AsyncIterator[World]:
    async with world_over(database) as made:
        await made.app("shop")
        await made.endpoint("shop", uid="main")
        yield made


def is_problem(reply: Reply, status: int, path: str, case: object) -> None:
    assert reply.status == status, (case, reply.body)
    assert reply.path == path, (case, reply.body)
    assert reply.code
    assert len(reply.body) < 4000, case


async def nothing_changed(world: World) -> None:
    assert await world.query("SELECT count(*) FROM app WHERE uid NOT IN ('operations', 'platform')") == [(1,)]
    assert await world.query("SELECT revision FROM endpoint") == [(1,)]
    assert await world.query("SELECT count(*) FROM event_type") == [(0,)]
    assert [action for action, _ in await world.audit()] == ["key.created", "app.created", "endpoint.created"]


# Fields of an endpoint that are wrong: in a new one, and in a change of one.
ENDPOINT_FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"url": ""}, "url"),
    ({"url": "example.com/hooks"}, "url"),
    ({"url": "ftp://example.com/"}, "url"),
    ({"url": "file:///etc/passwd"}, "url"),
    ({"url": "https://"}, "url"),
    ({"url": "https:///hooks"}, "url"),
    ({"url": "https://user:pass@example.com/"}, "url"),
    ({"url": "https://example.com/#fragment"}, "url"),
    ({"url": "https://exa mple.com/"}, "url"),
    ({"url": "https://example.com/\r\nX-A: b"}, "url"),
    ({"url": "https://example.com:99999/"}, "url"),
    ({"url": "https://2130706433/"}, "url"),
    ({"url": f"http://{REFUSED_HOST}/"}, "url"),
    ({"url": "https://example.com/" + "x" * 2048}, "url"),
    ({"url": 1}, "url"),
    ({"url": None}, "url"),
    ({"uid": "a b"}, "uid"),
    ({"uid": "a/b"}, "uid"),
    ({"uid": ""}, "uid"),
    ({"uid": "x" * 129}, "uid"),
    ({"uid": 42}, "uid"),
    ({"uid": format_id(ENDPOINT, b"x" * 16)}, "uid"),
    ({"description": "x" * 1025}, "description"),
    ({"description": ["x"]}, "description"),
    ({"metadata": []}, "metadata"),
    ({"metadata": {"a": "x" * 9000}}, "metadata"),
    ({"enabled": "yes"}, "enabled"),
    ({"enabled": 1}, "enabled"),
    ({"events": "order.*"}, "events"),
    ({"events": ["order.created", "order*"]}, "events[1]"),
    ({"events": ["bad name"]}, "events[0]"),
    ({"events": ["ok", 7]}, "events[1]"),
    ({"events": ["a"] * 101}, "events"),
    ({"channels": [""]}, "channels[0]"),
    ({"channels": ["ok", "x" * 129]}, "channels[1]"),
    ({"channels": ["a\u001fb"]}, "channels[0]"),
    ({"channels": [f"c{n}" for n in range(17)]}, "channels"),
    ({"headers": {"X-A": "a\r\nX-B: c"}}, "headers.X-A"),
    ({"headers": {"X-A": "a\nb"}}, "headers.X-A"),
    ({"headers": {"X A": "b"}}, "headers.X A"),
    ({"headers": {"X\r\nA": "b"}}, "headers.X\\r\\nA"),
    ({"headers": {"Host": "evil.example"}}, "headers.Host"),
    ({"headers": {"content-length": "1"}}, "headers.content-length"),
    ({"headers": {"Transfer-Encoding": "chunked"}}, "headers.Transfer-Encoding"),
    ({"headers": {"Webhook-Signature": "v1,x"}}, "headers.Webhook-Signature"),
    ({"headers": {"webhook-id": "x"}}, "headers.webhook-id"),
    ({"headers": {"X-A": 1}}, "headers.X-A"),
    ({"headers": {"X-A": "x" * 5000}}, "headers.X-A"),
    ({"headers": {f"X-{n}": "x" for n in range(33)}}, "headers"),
    ({"retry": 5}, "retry"),
    ({"retry": {"schedule": []}}, "retry.schedule"),
    ({"retry": {"schedule": [1] * 101}}, "retry.schedule"),
    ({"retry": {"schedule": [5, 0]}}, "retry.schedule[1]"),
    ({"retry": {"schedule": [5, 300, -1]}}, "retry.schedule[2]"),
    ({"retry": {"schedule": [604801]}}, "retry.schedule[0]"),
    ({"retry": {"schedule": [5, "300"]}}, "retry.schedule[1]"),
    ({"retry": {"schedule": [True]}}, "retry.schedule[0]"),
    ({"retry": {"schedule": [5], "exponential": {}}}, "retry"),
    ({"retry": {"exponential": {"base": 0}}}, "retry.exponential.base"),
    ({"retry": {"exponential": {"factor": 0.5}}}, "retry.exponential.factor"),
    ({"retry": {"exponential": {"factor": 1000}}}, "retry.exponential.factor"),
    ({"retry": {"exponential": {"max": 10_000_000}}}, "retry.exponential.max"),
    ({"retry": {"exponential": {"attempts": 0}}}, "retry.exponential.attempts"),
    ({"retry": {"exponential": {"attempts": 101}}}, "retry.exponential.attempts"),
    ({"retry": {"exponential": {"attempts": 1.5}}}, "retry.exponential.attempts"),
    ({"retry": {"exponential": {"growth": 2}}}, "retry.exponential.growth"),
    ({"retry": {"jitter": 2}}, "retry.jitter"),
    ({"retry": {"jitter": -0.1}}, "retry.jitter"),
    ({"timeouts": {"connect": -1}}, "timeouts.connect"),
    ({"timeouts": {"first_byte": 0}}, "timeouts.first_byte"),
    ({"timeouts": {"total": 60.1}}, "timeouts.total"),
    ({"timeouts": {"total": "15"}}, "timeouts.total"),
    ({"timeouts": {"totl": 15}}, "timeouts.totl"),
    ({"timeouts": [1, 2, 3]}, "timeouts"),
    ({"concurrency": 0}, "concurrency"),
    ({"concurrency": 1001}, "concurrency"),
    ({"concurrency": 10**30}, "concurrency"),
    ({"concurrency": 1.5}, "concurrency"),
    ({"concurrency": True}, "concurrency"),
    ({"rate_limit": 5}, "rate_limit"),
    ({"rate_limit": {}}, "rate_limit.per_second"),
    ({"rate_limit": {"per_second": -1}}, "rate_limit.per_second"),
    ({"rate_limit": {"per_second": 0}}, "rate_limit.per_second"),
    ({"rate_limit": {"per_second": 10**9}}, "rate_limit.per_second"),
    ({"rate_limit": {"per_second": "50"}}, "rate_limit.per_second"),
    ({"rate_limit": {"per_second": 5, "burst": 0}}, "rate_limit.burst"),
    ({"rate_limit": {"per_second": 5, "burst": 1.5}}, "rate_limit.burst"),
    ({"rate_limit": {"per_minute": 5, "per_second": 1}}, "rate_limit.per_minute"),
    ({"ordering": "strict"}, "ordering"),
    ({"ordering": True}, "ordering"),
    ({"on_exhausted": "stop", "ordering": "key"}, "on_exhausted"),
    ({"on_exhausted": "block"}, "on_exhausted"),
    ({"batch": 10}, "batch"),
    ({"batch": {"max_events": 0}}, "batch.max_events"),
    ({"batch": {"max_events": 1001}}, "batch.max_events"),
    ({"batch": {"max_bytes": 100}}, "batch.max_bytes"),
    ({"batch": {"max_bytes": 2_000_000}}, "batch.max_bytes"),
    ({"batch": {"max_wait_ms": 2_001}}, "batch.max_wait_ms"),
    ({"batch": {"max_wait": 1}}, "batch.max_wait"),
    ({"fallback_urls": "https://b.example/"}, "fallback_urls"),
    ({"fallback_urls": ["https://b.example/", "nowhere"]}, "fallback_urls[1]"),
    ({"fallback_urls": ["https://b.example/", f"http://{REFUSED_HOST}/"]}, "fallback_urls[1]"),
    ({"fallback_urls": ["https://b.example/", "https://b.example"]}, "fallback_urls[1]"),
    ({"fallback_urls": ["https://EXAMPLE.com:443/hooks"], "url": URL}, "fallback_urls[0]"),
    ({"fallback_urls": [f"https://{n}.example/" for n in range(6)]}, "fallback_urls"),
    ({"equal_urls": ["https://b.example/"]}, "equal_urls[0]"),
    ({"equal_urls": [{"weight": 2}]}, "equal_urls[0].url"),
    ({"equal_urls": [{"url": "https://b.example/"}, {"url": f"http://{REFUSED_HOST}/"}]}, "equal_urls[1].url"),
    ({"equal_urls": [{"url": URL}], "url": URL}, "equal_urls[0].url"),
    ({"equal_urls": [{"url": "https://b.example/", "weight": 0}]}, "equal_urls[0].weight"),
    ({"equal_urls": [{"url": "https://b.example/"}], "fallback_urls": ["https://b.example/"]}, "fallback_urls[0]"),
    ({"balance": "random"}, "balance"),
    ({"balance": "sticky"}, "balance"),
    ({"max_age": 0}, "max_age"),
    ({"max_age": -5}, "max_age"),
    ({"max_age": 10**12}, "max_age"),
    ({"max_age": "1h"}, "max_age"),
    ({"format": "yaml"}, "format"),
    ({"format": {"kind": "json", "rot": 1}}, "format.rot"),
    ({"payload_versions": {"a": 1}}, "payload_versions.a"),
    ({"circuit": "closed"}, "circuit"),
    ({"color": "red"}, "color"),
    ({"id": "ep_x"}, "id"),
    ({"paused": "yes"}, "paused"),
]


async def test_fields_of_endpoints(world: World) -> None:
    for fields, path in ENDPOINT_FIELDS:
        created = await world.admin.post("/v1/apps/shop/endpoints", {"url": URL} | fields)
        is_problem(created, 422, path, fields)
        changed = await world.admin.patch("/v1/apps/shop/endpoints/main", fields)
        is_problem(changed, 422, path, fields)
    is_problem(await world.admin.post("/v1/apps/shop/endpoints", {}), 422, "url", "no url")
    is_problem(await world.admin.post("/v1/apps/shop/endpoints"), 422, "", "no body")
    refused = await world.admin.post("/v1/apps/shop/endpoints", {"url": f"http://{REFUSED_HOST}/"})
    assert refused.code == "target_refused"
    assert "not to be spoken to" in refused.json()["detail"]
    await nothing_changed(world)


async def test_fields_that_contradict_what_is_stored(world: World) -> None:
    made = {
        "ordering": "key",
        "on_exhausted": "block",
        "fallback_urls": ["https://b.example/"],
        "equal_urls": [{"url": "https://c.example/"}],
        "balance": "sticky",
    }
    assert (await world.admin.patch("/v1/apps/shop/endpoints/main", made)).status == 200
    cases: list[tuple[dict[str, Any], str]] = [
        ({"ordering": "none"}, "ordering"),
        ({"ordering": None}, "ordering"),
        ({"equal_urls": []}, "equal_urls"),
        ({"url": "https://b.example/"}, "url"),
        ({"url": "https://c.example/"}, "url"),
        ({"fallback_urls": ["https://c.example/"]}, "fallback_urls[0]"),
    ]
    for fields, path in cases:
        is_problem(await world.admin.patch("/v1/apps/shop/endpoints/main", fields), 422, path, fields)
    assert await world.query("SELECT revision FROM endpoint") == [(2,)]


async def test_secrets_are_refused_and_not_repeated(world: World) -> None:
    for secret in (
        "whsec_",
        "whsec_QUJDREVGR0g=",
        "whsec_" + "QUJD" * 22,
        "whsec_!!!!!!!!",
        "whsk_QUJDREVGR0g=",
        "whpk_" + "QUJD" * 10 + "QUI=",
        "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo=",
        "",
    ):
        created = await world.admin.post("/v1/apps/shop/endpoints", {"url": URL, "secret": secret})
        is_problem(created, 422, "secret", secret)
        assert created.code == "invalid_secret"
        rotated = await world.admin.post("/v1/apps/shop/endpoints/main/secret/rotate", {"secret": secret})
        is_problem(rotated, 422, "secret", secret)
        for reply in (created, rotated):
            assert "QUJD" not in reply.body.decode()
            assert "!!" not in reply.body.decode()
    for overlap in (-1, 31 * 86_400, 1.5, "day"):
        rotated = await world.admin.post("/v1/apps/shop/endpoints/main/secret/rotate", {"overlap_seconds": overlap})
        is_problem(rotated, 422, "overlap_seconds", overlap)
    await nothing_changed(world)


async def test_event_types(world: World) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"name": "a", "schema": {"type": "nope"}}, "schema"),
        ({"name": "a", "schema": {"$ref": "http://example.com/x"}}, "schema"),
        ({"name": "a", "schema": {"$ref": "file:///etc/passwd"}}, "schema"),
        ({"name": "a", "schema": {"pattern": "("}}, "schema"),
        ({"name": "a", "schema": [1]}, "schema"),
        ({"name": "a", "schema": {"type": "string"}, "examples": ["ok", 1]}, "examples[1]"),
        ({"name": "a", "examples": [1] * 21}, "examples"),
        ({"name": "a", "examples": ["x" * 300_000]}, "examples"),
        ({"name": "a", "schema": {"description": "x" * 300_000}}, "schema"),
        ({"name": "a", "description": "x" * 1025}, "description"),
        ({"name": "bad name"}, "name"),
        ({"name": "a..b"}, "name"),
        ({"name": ".a"}, "name"),
        ({"name": "a/b"}, "name"),
        ({"name": "a\r\nb"}, "name"),
        ({"name": "订单"}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 129}, "name"),
        ({"name": 1}, "name"),
        ({"name": "a", "archived": True}, "archived"),
        ({}, "name"),
    ]
    for body, path in cases:
        is_problem(await world.admin.post("/v1/event-types", body), 422, path, body)
    await nothing_changed(world)


async def test_apps_and_keys(world: World) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"uid": "a b"}, "uid"),
        ({"uid": "驿站"}, "uid"),
        ({"uid": ".."}, "uid"),
        ({"uid": format_id(APP, b"x" * 16)}, "uid"),
        ({"uid": 1}, "uid"),
        ({"name": "x" * 129}, "name"),
        ({"metadata": "x"}, "metadata"),
        ({"metadata": {"x": "y" * 9000}}, "metadata"),
        ({"nam": "x"}, "nam"),
    ]
    for body, path in cases:
        is_problem(await world.admin.post("/v1/apps", body), 422, path, body)
        is_problem(await world.admin.patch("/v1/apps/shop", body), 422, path, body)
    of_keys: list[tuple[dict[str, Any], str]] = [
        ({}, "scope"),
        ({"scope": "root"}, "scope"),
        ({"scope": "app"}, "app"),
        ({"scope": "admin", "app": "shop"}, "app"),
        ({"scope": "admin", "name": 1}, "name"),
        ({"scope": "admin", "key": "ph_mine"}, "key"),
    ]
    for body, path in of_keys:
        is_problem(await world.admin.post("/v1/keys", body), 422, path, body)
    await nothing_changed(world)


async def test_bodies_that_are_no_json(world: World) -> None:
    cases: list[tuple[bytes, dict[str, str], int, str]] = [
        (b'{"uid": nope}', JSON, 400, "line 1, column 9"),
        (b'{"uid":\n "x",\n}', JSON, 400, "line 3, column 1"),
        (b'{"uid": "x"', JSON, 400, "line 1, column 12"),
        (b'{"uid": "\xff"}', JSON, 400, "UTF-8"),
        (b"[" * 10_000 + b"]" * 10_000, JSON, 400, "too deeply"),
        (b'{"metadata":' * 10_000 + b"1" + b"}" * 10_000, JSON, 400, "too deeply"),
        (b"{}", {}, 415, "application/json"),
        (b"{}", {"content-type": "text/plain"}, 415, "application/json"),
        (b"uid=x", {"content-type": "application/x-www-form-urlencoded"}, 415, "application/json"),
        (b"{}", JSON | {"content-encoding": "gzip"}, 415, "compressed"),
        (b"[]", JSON, 422, "object"),
        (b'"x"', JSON, 422, "object"),
        (b" " * (1024 * 1024 + 1), JSON, 413, "1048576"),
    ]
    for method, url in (
        ("POST", "/v1/apps"),
        ("POST", "/v1/event-types"),
        ("POST", "/v1/keys"),
        ("PATCH", "/v1/apps/shop"),
        ("POST", "/v1/apps/shop/endpoints"),
        ("PATCH", "/v1/apps/shop/endpoints/main"),
        ("POST", "/v1/apps/shop/endpoints/main/secret/rotate"),
        ("POST", "/v1/apps/shop/deliveries/resend"),
        ("POST", "/v1/apps/shop/deliveries/cancel"),
        ("POST", "/v1/apps/shop/replays"),
    ):
        for body, headers, status, told in cases:
            reply = await world.admin.request(method, url, body=body, headers=headers)
            assert reply.status == status, (url, body[:40], reply.body)
            assert told in reply.json()["detail"], (url, body[:40], reply.body)
    await nothing_changed(world)


async def test_no_body_at_all_is_told_apart_from_a_missing_field(world: World) -> None:
    for method, url in (
        ("POST", "/v1/apps/shop/endpoints"),
        ("PATCH", "/v1/apps/shop"),
        ("POST", "/v1/apps/shop/grants"),
    ):
        reply = await world.admin.request(method, url)
        assert (reply.status, reply.json()["detail"]) == (422, "the body is missing; send a JSON object"), url


async def test_nul_is_refused_wherever_it_is(world: World) -> None:
    for method, url, body, path in [
        ("POST", "/v1/apps", {"name": "a\0"}, "name"),
        ("POST", "/v1/apps", {"metadata": {"a": ["\0"]}}, "metadata.a[0]"),
        ("POST", "/v1/event-types", {"name": "a", "description": "\0"}, "description"),
        ("POST", "/v1/event-types", {"name": "a", "schema": {"title": "\0"}}, "schema.title"),
        ("PATCH", "/v1/apps/shop/endpoints/main", {"headers": {"X-A": "\0"}}, "headers.X-A"),
        ("PATCH", "/v1/apps/shop/endpoints/main", {"headers": {"X\0A": "x"}}, "headers.X\\x00A"),
        ("POST", "/v1/apps/shop/endpoints", {"url": "https://example.com/\0"}, "url"),
        ("POST", "/v1/apps/shop/deliveries/resend", {"event": "\0", "endpoint": "x"}, "event"),
        ("POST", "/v1/apps/shop/deliveries/cancel", {"event": "\0", "endpoint": "x"}, "event"),
    ]:
        is_problem(await world.admin.request(method, url, json=body), 422, path, (url, body))
    for url in (
        "/v1/apps/sh%00op",
        "/v1/apps/shop/endpoints/%00",
        "/v1/event-types/%00",
        "/v1/apps/shop/events/%00",
        "/v1/apps/shop/attempts/%00",
        "/v1/apps/shop/attempts?endpoint=%00",
    ):
        assert (await world.admin.get(url)).status == 404, url
    is_problem(await world.admin.get("/v1/apps/shop/events?type=%00"), 422, "?type", "")
    await nothing_changed(world)


async def test_queries(world: World) -> None:
    for url, path in [
        ("/v1/apps?limit=0", "?limit"),
        ("/v1/apps?limit=251", "?limit"),
        ("/v1/apps?limit=x", "?limit"),
        ("/v1/apps?sort=name", "?sort"),
        ("/v1/event-types?archived=perhaps", "?archived"),
        ("/v1/apps/shop/endpoints?status=on", "?status"),
        ("/v1/apps/shop/events?since=yesterday", "?since"),
        ("/v1/apps/shop/events?since=2026-01-01T00:00:00", "?since"),
        ("/v1/apps/shop/events?since=1767225600", "?since"),
        ("/v1/apps/shop/events?until=0.5", "?until"),
        ("/v1/apps/shop/events?until=2026-01-01T00:00:00+08:00", "?until"),
        ("/v1/apps/shop/events?type=bad%20name", "?type"),
        ("/v1/apps/shop/attempts?outcome=lost", "?outcome"),
        ("/v1/apps/shop/attempts?type=*", "?type"),
        ("/v1/apps/shop/deliveries?since=2026-01-01T00:00:00Z", "?since"),
        ("/v1/apps/shop/endpoints/main/stats?since=2020-01-01T00:00:00Z", "?since"),
        ("/v1/apps/shop/endpoints/main/stats?until=2020-01-01T00:00:00Z&since=2021-01-01T00:00:00Z", "?since"),
    ]:
        is_problem(await world.admin.get(url), 422, path, url)


async def test_cursors_that_were_not_given_out(world: World) -> None:
    await world.app("another")
    given = (await world.admin.get("/v1/apps?limit=1")).json()["next"]
    altered = ("A" if given[0] != "A" else "B") + given[1:]
    for url in (
        "/v1/apps",
        "/v1/keys",
        "/v1/event-types",
        "/v1/apps/shop/endpoints",
        "/v1/apps/shop/events",
        f"/v1/apps/shop/events/{format_id(EVENT, b'x' * 16)}/attempts",
        "/v1/apps/shop/attempts",
        "/v1/apps/shop/deliveries",
    ):
        cursors = [altered, "x", "a" * 200, "..%2F", given + "A", given[:-1]]
        if url != "/v1/apps":
            cursors.append(given)
        for cursor in cursors:
            reply = await world.admin.get(f"{url}?cursor={cursor}")
            is_problem(reply, 400, "?cursor", (url, cursor))
            assert reply.code == "invalid_cursor"
    assert (await world.admin.get(f"/v1/apps?cursor={given}")).status == 200


async def test_several_faults_are_told_at_once(world: World) -> None:
    reply = await world.admin.post("/v1/apps/shop/endpoints", {"foo": 1, "retry": {"schedule": "x"}, "enabled": 3})
    assert {fault["path"] for fault in reply.json()["errors"]} == {"url", "foo", "retry.schedule", "enabled"}


async def test_numbers_beyond_all_bounds_do_no_harm(world: World) -> None:
    for body in (b'{"metadata": {"x": ' + b"9" * 5000 + b"}}", b'{"metadata": {"x": 1e400}}'):
        reply = await world.admin.request("POST", "/v1/apps", body=body, headers=JSON)
        assert reply.status in (400, 422), reply.body
    big = await world.admin.request("POST", "/v1/apps", body=b'{"metadata": {"x": ' + b"9" * 300 + b"}}", headers=JSON)
    assert big.status == 201
    assert msgspec.json.decode(big.body)["metadata"]["x"] == int("9" * 300)


async def test_a_hostile_name_is_shown_harmlessly(world: World) -> None:
    reply = await world.admin.post("/v1/apps", {"\x1b[31m" + "x" * 5000: 1})
    assert reply.path.startswith("\\x1b[31m")
    assert len(reply.path) < 300
    reply = await world.admin.get("/v1/apps/" + "x" * 5000)
    assert len(reply.body) < 300
