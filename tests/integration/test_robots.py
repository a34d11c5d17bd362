"""A whole server and robots of group chats, by the names of their profiles."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.serving import call, listed, serving
from tests.targets import Peer, target
from tests.unit.wire.test_profiles_robots import ROBOTS, profile

from posthouse import bootstrap

APP = "/v1/apps/acme"
CONFIRMING = {
    "dingtalk-robot": b'{"errcode":0,"errmsg":"ok"}',
    "feishu-robot": b'{"code":0,"msg":"success","data":{}}',
    "wecom-robot": b'{"errcode":0,"errmsg":"ok"}',
    "slack-incoming": b"ok",
}


@pytest.fixture
async def server(database: str) -> AsyncIterator[bootstrap.Posthouse]:
    async with serving(database) as running:
        await call(running.port, "POST", "/v1/event-types", {"name": "order.paid"})
        await call(running.port, "POST", "/v1/apps", {"uid": "acme"})
        yield running


def answering(body: bytes) -> Any:
    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    return script


async def made(port: int, name: str, url: str) -> Any:
    keys = {key.name: "SECdemo" for key in profile(name).keys}
    return await call(port, "POST", f"{APP}/endpoints", {"url": url, "profile": name, "keys": keys})


@pytest.mark.parametrize("name", ROBOTS)
async def test_a_message_for_an_event_is_confirmed_by_what_the_platform_answers(
    server: bootstrap.Posthouse, name: str
) -> None:
    port = server.port
    async with target(answering(CONFIRMING[name])) as served:
        await made(port, name, f"http://127.0.0.1:{served.port}/send?token=t")
        await call(port, "POST", f"{APP}/events", {"type": "order.paid", "data": {"id": 7}, "subject": "shop:42"})
        (attempt,) = await listed(port, f"{APP}/attempts", bool, "the attempt")
        assert (attempt["outcome"], attempt["reason"]) == ("delivered", "confirmed")
        body = json.loads(served.requests[0].partition(b"\r\n\r\n")[2])
    assert "order.paid" in json.dumps(body)
    assert "shop:42" in json.dumps(body)


async def test_a_robot_that_is_shut_out_is_left_alone(server: bootstrap.Posthouse) -> None:
    port = server.port
    limit = '{"errcode":130101,"errmsg":"send too fast, exceed 20 times per minute"}'
    async with target(answering(limit.encode())) as served:
        endpoint = await made(port, "dingtalk-robot", f"http://127.0.0.1:{served.port}/robot/send?access_token=t")
        await call(port, "POST", f"{APP}/events", {"type": "order.paid", "data": {"id": 7}})
        (attempt,) = await listed(port, f"{APP}/attempts", bool, "the attempt")
        assert (attempt["outcome"], attempt["reason"]) == ("failed", "rule_retry")
        (owed,) = await listed(port, f"{APP}/deliveries", bool, "what is owed")
    assert owed["eta_seconds"] > 500
    assert owed["endpoint"] == endpoint["id"]
