"""Expressions over the API: checked as endpoints are stored, tried against samples, and evaluated by a server."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.commands import rows, run
from tests.integration.api_world import World, world_over
from tests.integration.test_delivery import APP, MASTER_KEY, prepare, until
from tests.receiving import receiving
from tests.serving import KEY, ask, call, serving

from posthouse.adapters.cel.expressions import CelExpressions, CelLimits
from posthouse.domain.limits import EXPRESSION_TRIALS_MAX

CHECK = "/v1/expressions/check"
AT = "/v1/apps/shop/endpoints/main"
URL = {"url": "https://example.com/hooks"}


@pytest.fixture
async def world(database: str) -> AsyncIterator[World]:
    expressions = CelExpressions(CelLimits(workers=1, seconds=5.0))
    try:
        async with world_over(database, expressions=expressions) as made:
            await made.app("shop")
            yield made
    finally:
        await expressions.close()


async def check(world: World, expression: str, **more: Any) -> dict[str, Any]:
    reply = await world.admin.post(CHECK, {"expression": expression} | more)
    assert reply.status == 200, reply.body
    return {name: value for name, value in reply.json().items() if value is not None}


async def test_an_expression_is_tried_with_a_sample(world: World) -> None:
    event = {"type": "order.paid", "key": "k", "data": {"total": 120, "lines": [{"n": 1}, {"n": 2}]}}
    assert await check(world, "event.data.total > 100", event=event) == {"ok": True, "value": True, "type": "bool"}
    assert await check(world, "event.data.lines.map(l, l.n)", use="value", event=event) == {
        "ok": True,
        "value": [1, 2],
        "type": "list",
    }
    assert await check(world, "event.type + '/' + event.key", use="text", event=event) == {
        "ok": True,
        "value": "order.paid/k",
        "type": "text",
    }
    answer = {"status": 503, "headers": {"X-Code": "7"}, "body": '{"code":7}', "attempt": 4}
    text = "response.body.code == 7 && response.headers['x-code'] == '7' && attempt.number == 4"
    assert (await check(world, text, use="rule", response=answer))["value"] is True
    assert await check(
        world, "event.time == timestamp('2026-01-02T03:04:05Z')", event={"time": "2026-01-02T03:04:05Z"}
    ) == {
        "ok": True,
        "value": True,
        "type": "bool",
    }


async def test_it_says_why_there_is_no_value(world: World) -> None:
    assert await check(world, "event.data.total >\n  ") == {
        "ok": False,
        "because": "invalid",
        "detail": "the expression is not complete here",
        "line": 2,
        "column": 3,
    }
    assert await check(world, "event.data.total > 1") == {
        "ok": False,
        "because": "error",
        "detail": 'there is no field "total"',
    }
    assert (await check(world, "event.data.total", event={"data": {"total": 1}}))["because"] == "wrong_type"
    assert (await check(world, "response.status == 200"))["because"] == "invalid"


async def test_samples_are_checked(world: World) -> None:
    refused = await world.admin.post(CHECK, {"expression": "true", "event": {"id": "x"}})
    assert (refused.status, refused.path) == (422, "event.id")
    large = {"expression": "true", "use": "rule", "response": {"body": "x" * 70_000}}
    assert (await world.admin.post(CHECK, large)).path == "response.body"
    assert (await world.admin.post(CHECK, {"expression": "true", "use": "any"})).path == "use"


async def test_only_so_many_are_tried_at_a_time(world: World) -> None:
    turns = world.services.expression_trials._turns
    for _ in range(EXPRESSION_TRIALS_MAX):
        await turns.acquire()
    refused = await world.admin.post(CHECK, {"expression": "true"})
    assert (refused.status, refused.json()["code"]) == (503, "overloaded")
    turns.release()
    assert (await check(world, "true"))["ok"]


async def test_an_endpoint_is_not_stored_with_one_that_may_not_be(world: World) -> None:
    refused = await world.admin.put(AT, URL | {"filter": "event.data.total >"})
    assert (refused.status, refused.path) == (422, "filter")
    assert "line 1, column 19: the expression is not complete here" in refused.json()["detail"]
    chinese = await world.admin.put(AT, URL | {"filter": "event.data.total >"}, headers={"Accept-Language": "zh-CN"})
    assert "第 1 行第 19 列：表达式在这里没有写完" in chinese.json()["detail"]
    assert (await world.admin.put(AT, URL | {"filters": [{"cel": "event.nope == 1"}]})).path == "filters[0].cel"
    assert (await world.admin.put(AT, URL | {"filter": "event.data.total > 1"})).status == 201
    assert (await world.admin.patch(AT, {"filter": "1"})).path == "filter"
    assert (await world.admin.patch(AT, {"ack": "response.status"})).status == 200, "it may come to true or false"
    assert (await world.admin.patch(AT, {"ack": "response.state == 1"})).path == "ack.when"
    assert (
        await world.admin.post("/v1/apps/shop/endpoints", URL | {"filter": "event.data.l.map(x, {})"})
    ).path == "filter"


async def test_a_server_evaluates_what_an_app_wrote_in_its_limited_processes(database: str) -> None:
    async with serving(database, master_key=MASTER_KEY) as server, receiving() as receiver:
        await prepare(server.port)
        key = (await call(server.port, "POST", "/v1/keys", {"scope": "app", "app": "acme"}))["key"]
        made = await ask(
            server.port,
            "POST",
            f"{APP}/endpoints",
            {"url": receiver.url(), "filter": "event.data.n > 1"},
            key=key,
        )
        assert made.status == 201
        batch = [{"type": "order.created", "data": {"n": n}} for n in (1, 2, 3)]
        ids = [e["id"] for e in (await call(server.port, "POST", f"{APP}/events/batch", batch))["data"]]

        async def all_there() -> bool:
            return set(ids[1:]) <= set(receiver.confirmed)

        await until(all_there, "those that pass")
        assert ids[0] not in receiver.confirmed
        metrics = await ask(server.port, "GET", "/metrics")
        (calls,) = re.findall(r"^posthouse_expression_calls_total (\S+)$", metrics.body.decode(), re.MULTILINE)
        assert float(calls) >= 1


async def test_the_command_line_tries_one(database: str) -> None:
    async with serving(database, master_key=MASTER_KEY) as server:
        reach = {"POSTHOUSE_URL": f"http://127.0.0.1:{server.port}", "POSTHOUSE_KEY": KEY}
        event = ("--event", '{"data": {"total": 120}}')
        good = await asyncio.to_thread(run, "expressions", "check", "event.data.total > 100", *event, **reach)
        (told,) = rows(good)
        assert (told["ok"], told["value"]) == (True, True)
        bad = await asyncio.to_thread(run, "expressions", "check", "event.data.total >", *event, **reach)
        (told,) = rows(bad, 1)
        assert (told["ok"], told["because"], told["line"], told["column"]) == (False, "invalid", 1, 19)
