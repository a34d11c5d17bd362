"""Whatever refuses a request does it in the language that the caller reads."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.serving import Reply, ask, call, serving

from posthouse import bootstrap

CHINESE = {"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.8"}
EVENTS = "/v1/apps/acme/events"


@pytest.fixture
async def server(database: str) -> AsyncIterator[bootstrap.Posthouse]:
    async with serving(database, payload_bytes_max=4096) as running:
        schema = {"type": "object", "required": ["id"]}
        await call(running.port, "POST", "/v1/event-types", {"name": "order.created", "schema": schema})
        await call(running.port, "POST", "/v1/apps", {"uid": "acme"})
        await call(running.port, "POST", "/v1/apps", {"uid": "full", "quotas": {"endpoints_max": 0}})
        yield running


def same_but_for_the_language(english: Reply, chinese: Reply) -> None:
    assert english.status == chinese.status
    assert english.headers["content-language"] == "en"
    assert chinese.headers["content-language"] == "zh-CN"
    for reply in (english, chinese):
        assert "Accept-Language" in reply.headers["vary"]
        assert reply.headers["content-type"] == "application/problem+json"
    assert not re.search(r"[\u4e00-\u9fff]", english.body["title"] + english.body["detail"])
    for text in (chinese.body["title"], chinese.body["detail"]):
        assert re.search(r"[\u4e00-\u9fff]", text), chinese.body
    languages = {"title", "detail", "errors"}
    assert {k: v for k, v in english.body.items() if k not in languages} == {
        k: v for k, v in chinese.body.items() if k not in languages
    }


REFUSED: list[tuple[int, str, str, object, dict[str, str], bool]] = [
    # the gate
    (401, "GET", "/v1/apps", None, {}, False),
    (400, "POST", "/v1/apps", b'{"uid":', {}, True),
    (415, "POST", "/v1/apps", b"uid=acme", {"Content-Type": "text/plain"}, True),
    (413, "POST", "/v1/apps", None, {"Content-Length": "2000000"}, True),
    # the framework
    (404, "GET", "/v1/nothing", None, {}, True),
    (405, "PUT", "/v1/keys", {}, {}, True),
    (404, "GET", "/v1/apps/nobody", None, {}, True),
    (409, "POST", "/v1/apps", {"uid": "acme"}, {}, True),
    (412, "PATCH", "/v1/apps/acme", {"name": "x"}, {"If-Match": '"other"'}, True),
    (403, "POST", "/v1/apps/full/endpoints", {"url": "https://example.com/"}, {}, True),
    (422, "POST", "/v1/apps/acme/endpoints", {"url": 5, "unknown": 1, "concurrency": "many"}, {}, True),
    (422, "POST", "/v1/apps/acme/endpoints", {"url": "https://169.254.169.254/"}, {}, True),
    (422, "POST", "/v1/apps/acme/endpoints", {"url": "https://u:p@example.com/"}, {}, True),
    (422, "GET", "/v1/apps/acme/attempts?limit=0", None, {}, True),
    (422, "GET", "/v1/apps/acme/attempts?outcome=good", None, {}, True),
    (400, "GET", "/v1/apps?cursor=made-up", None, {}, True),
    # publishing
    (401, "POST", EVENTS, {}, {}, False),
    (404, "POST", "/v1/apps/nobody/events", {"type": "order.created", "data": 1}, {}, True),
    (404, "POST", EVENTS, {"type": "nothing", "data": 1}, {}, True),
    (400, "POST", EVENTS, b'{"type":', {}, True),
    (413, "POST", EVENTS, b'"' + b"x" * 5_000 + b'"', {}, True),
    (422, "POST", EVENTS, {"type": "order.created", "data": {}}, {}, True),
    (422, "POST", EVENTS, {"type": 5, "data": {}}, {}, True),
    (422, "POST", f"{EVENTS}/batch", [], {}, True),
    (422, "POST", EVENTS, b"{}", {"ce-specversion": "1.0", "ce-id": "1", "ce-type": "order.created"}, True),
    (415, "POST", EVENTS, b"{}", {"Content-Type": "application/cloudevents+avro"}, True),
]


async def test_every_refusal_comes_in_both_languages(server: bootstrap.Posthouse) -> None:
    for status, method, path, body, headers, known in REFUSED:
        options: dict[str, Any] = {} if known else {"key": None}
        english = await ask(server.port, method, path, body, headers=headers, **options)
        chinese = await ask(server.port, method, path, body, headers=headers | CHINESE, **options)
        assert english.status == status, (method, path, english)
        same_but_for_the_language(english, chinese)


async def test_all_fields_are_told_in_chinese(server: bootstrap.Posthouse) -> None:
    body = {"url": 5, "unknown": 1, "concurrency": "many", "events": "x", "retry": {"jitter": True}}
    reply = await ask(server.port, "POST", "/v1/apps/acme/endpoints", body, headers=CHINESE)
    told = {error["path"]: error["detail"] for error in reply.body["errors"]}
    assert told == {
        "url": "应为字符串",
        "unknown": "未知字段",
        "concurrency": "应为整数",
        "events": "应为数组",
        "retry.jitter": "应为数字",
    }


async def test_a_server_that_is_not_ready_says_so_in_chinese(server: bootstrap.Posthouse) -> None:
    server._ready = False
    english = await ask(server.port, "GET", "/readyz")
    chinese = await ask(server.port, "GET", "/readyz", headers=CHINESE)
    same_but_for_the_language(english, chinese)
    assert chinese.body["detail"] == "服务器正在启动或停止"


async def test_what_succeeds_has_no_language(server: bootstrap.Posthouse) -> None:
    reply = await ask(server.port, "GET", "/v1/apps", headers=CHINESE)
    assert reply.status == 200
    assert "content-language" not in reply.headers


HAN = re.compile(r"[\u4e00-\u9fff]")


async def both(port: int, method: str, path: str, body: object = None) -> tuple[Any, Any]:
    english = await ask(port, method, path, body)
    chinese = await ask(port, method, path, body, headers=CHINESE)
    assert (english.status, chinese.status) == (200, 200), (english, chinese)
    return english.body, chinese.body


async def test_an_expression_that_has_no_value_says_why_in_chinese(server: bootstrap.Posthouse) -> None:
    english, chinese = await both(server.port, "POST", "/v1/expressions/check", {"expression": "event.data.a >"})
    assert HAN.search(english["detail"]) is None
    assert HAN.search(chinese["detail"]), chinese
    assert {**english, "detail": ""} == {**chinese, "detail": ""}


async def test_what_another_schema_breaks_is_told_in_chinese(server: bootstrap.Posthouse) -> None:
    await call(server.port, "POST", EVENTS, {"type": "order.created", "data": {"id": 1}})
    schema = {"type": ["object", "null"], "required": ["id", "name"], "properties": {"name": {"enum": [1, 2]}}}
    path = "/v1/event-types/order.created/check"
    english, chinese = await both(server.port, "POST", path, {"schema": schema})
    assert len(english["changes"]) >= 3
    assert len(english["recent"]["errors"]) == 1
    for before, told in zip(
        [*english["changes"], *english["recent"]["errors"]],
        [*chinese["changes"], *chinese["recent"]["errors"]],
        strict=True,
    ):
        assert HAN.search(before["detail"]) is None, before
        assert HAN.search(told["detail"]), told


async def test_why_an_event_reaches_nobody_is_told_in_chinese(server: bootstrap.Posthouse) -> None:
    url = "http://127.0.0.1:1/"
    for fields in ({"events": ["other.*"]}, {"channels": ["c"]}, {"filter": "event.data.id > 5"}, {"enabled": False}):
        await call(server.port, "POST", "/v1/apps/acme/endpoints", {"url": url, **fields})
    event = {"type": "order.created", "data": {"id": 1}}
    english, chinese = await both(server.port, "POST", f"{EVENTS}?dry_run=true", event)
    assert len(english["not_reached"]) == 4
    for before, told in zip(english["not_reached"], chinese["not_reached"], strict=True):
        assert HAN.search(before["explanation"]) is None
        assert HAN.search(told["explanation"]), told
        assert {**before, "explanation": ""} == {**told, "explanation": ""}
    published = (await call(server.port, "POST", EVENTS, event))["id"]
    _, explained = await both(server.port, "GET", f"/v1/events/{published}/explanation")
    why = [each["explanation"] for each in chinese["not_reached"]]
    assert [each["explanation"] for each in explained["not_reached"]] == why
    _, nobody = await both(server.port, "POST", "/v1/events?dry_run=true", event)
    assert all(HAN.search(each["explanation"]) for each in nobody["not_reached"])


async def test_that_nothing_changed_is_told_of_one_language(server: bootstrap.Posthouse) -> None:
    await call(
        server.port,
        "POST",
        "/v1/schedules",
        {"uid": "daily", "type": "order.created", "every": 86400, "data": {"id": 1}},
    )
    path = "/v1/schedules/daily"
    read = await ask(server.port, "GET", path, headers=CHINESE)
    again = await ask(server.port, "GET", path, headers=CHINESE | {"If-None-Match": read.headers["etag"]})
    assert again.status == 304
    for reply in (read, again):
        assert (reply.headers["content-language"], reply.headers["vary"]) == ("zh-CN", "Accept-Language")
