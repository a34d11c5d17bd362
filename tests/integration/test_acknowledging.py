"""A whole server, CEL and targets that say in the body of a 200 whether they took an event."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from tests.serving import ask, call, listed, serving
from tests.targets import Peer, RawTarget, target

from posthouse import bootstrap

APP = "/v1/apps/acme"
QUICK = {"schedule": [0.05] * 5, "jitter": 0}
CODE = "response.body.code == 0"
OK_JSON = b'{"code":0}'


@pytest.fixture
async def server(database: str) -> AsyncIterator[bootstrap.Posthouse]:
    async with serving(database) as running:
        await call(running.port, "POST", "/v1/event-types", {"name": "order.paid"})
        await call(running.port, "POST", "/v1/apps", {"uid": "acme"})
        yield running


def http(body: bytes = b"", status: int = 200, **headers: str) -> bytes:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} Told\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body


def answering(*answers: bytes) -> Callable[[Peer], Awaitable[None]]:
    """A target that gives these answers over all its connections, the last one for ever."""
    left = list(answers)

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(left.pop(0) if len(left) > 1 else left[0])

    return script


def wechat(code: str, words: str) -> bytes:
    text = f'<?xml version="1.0" encoding="GBK"?><xml><return_code><![CDATA[{code}]]></return_code><m>{words}</m></xml>'
    return http(text.encode("gbk"), content_type="text/xml; charset=GBK")


LAUGHS = b"<!DOCTYPE a [<!ENTITY b 'ha'>" + b"".join(
    b"<!ENTITY %b '%b'>" % (bytes([98 + n]), (b"&%c;" % (97 + n)) * 10) for n in range(1, 9)
)

# By name: what the endpoint says, the first answer of its target, the reason of that attempt, a part of its words, and the
# second answer, which confirms.
CASES: dict[str, tuple[dict[str, Any], bytes, str, str | None, bytes]] = {
    "json": ({"ack": CODE}, http(b'{"code":7}'), "not_acknowledged", "ack.when is false", http(OK_JSON)),
    "xml": (
        {"ack": "response.xml.xml.return_code == 'SUCCESS'"},
        wechat("FAIL", "签名失败"),
        "not_acknowledged",
        "ack.when is false",
        wechat("SUCCESS", "成功"),
    ),
    "text": (
        {"ack": {"text": "success", "ignore_case": True}},
        http(b"fail"),
        "not_acknowledged",
        "ack.text is not the body",
        http(b"SUCCESS\n"),
    ),
    "exact-text": (
        {"ack": {"text": "success"}},
        http(b"SUCCESS"),
        "not_acknowledged",
        "ack.text is not the body",
        http(b"success"),
    ),
    "gbk-text": (
        {"ack": {"text": "成功"}},
        http("失败".encode("gbk"), content_type="text/plain; charset=gbk"),
        "not_acknowledged",
        "ack.text is not the body",
        http("成功".encode("gbk"), content_type="text/plain; charset=gbk"),
    ),
    "header": (
        {"ack": {"header": {"name": "X-Result", "equals": "OK"}}},
        http(x_result="busy"),
        "not_acknowledged",
        "X-Result has another value",
        http(x_result="ok"),
    ),
    "conflict": (
        {"ack": {"any": [{"status": [409]}, {"when": CODE}]}},
        http(b'{"code":1}'),
        "not_acknowledged",
        "ack.any[0].status does not name 200; ack.any[1].when is false",
        http(status=409),
    ),
    "error-page": ({"ack": CODE}, http(b"<html>oops</html>"), "ack_failed", "(the body is not JSON)", http(OK_JSON)),
    "laughs": (
        {"ack": "response.xml.a == 'ha'"},
        http(LAUGHS + b"]><a>&i;</a>", content_type="text/xml"),
        "ack_failed",
        "(XML with a document type (<!DOCTYPE …>) is not read)",
        http(b"<a>ha</a>"),
    ),
    "array": (
        {"ack": "response.body.size() == 1"},
        http(b"[" + b"1," * 1_000_000 + b"1]"),
        "ack_failed",
        "(only the first 65536 bytes of the body are read)",
        http(b"[1]"),
    ),
    "deep": (
        {"ack": CODE},
        http(b"[" * 30_000 + b"]" * 30_000),
        "ack_failed",
        "ack.when has no value",
        http(OK_JSON),
    ),
    "down": ({"ack": CODE}, http(OK_JSON, 500), "http_status", "the status is not 2xx", http(OK_JSON)),
    "rule": (
        {"on_response": [{"when": "response.body.code == 7", "then": "retry", "after": 0.05}]},
        http(b'{"code":7}'),
        "rule_retry",
        "on_response[0] says so",
        http(OK_JSON),
    ),
    "asked": (
        {},
        http(status=503, posthouse_action="retry; after=0.05"),
        "rule_retry",
        "Posthouse-Action says so",
        http(),
    ),
    "plain": ({}, http(status=500), "http_status", None, http(b"whatever")),
}


async def endpoint(port: int, served: RawTarget, name: str, **fields: Any) -> Any:
    body = {"url": f"http://127.0.0.1:{served.port}/", "uid": name, "retry": QUICK}
    return await call(port, "POST", f"{APP}/endpoints", body | fields)


async def test_a_refused_answer_is_a_failed_attempt_that_says_why_and_comes_again(server: bootstrap.Posthouse) -> None:
    port = server.port
    own_key = (await call(port, "POST", "/v1/keys", {"scope": "app", "app": "acme"}))["key"]
    names: dict[str, str] = {}
    async with AsyncExitStack() as stack:
        for name, (fields, first, _, _, second) in CASES.items():
            served = await stack.enter_async_context(target(answering(first, second)))
            made = await endpoint(port, served, name, **fields)
            names[made["id"]] = name
        served = await stack.enter_async_context(target(answering(http(b'{"code":7}'), http(OK_JSON))))
        body = {"url": f"http://127.0.0.1:{served.port}/", "retry": QUICK, "ack": CODE}
        of_app = await ask(port, "POST", f"{APP}/endpoints", body, key=own_key)
        assert of_app.status == 201, of_app
        names[of_app.body["id"]] = "by-an-app"
        expected = CASES | {"by-an-app": CASES["json"]}

        await call(port, "POST", f"{APP}/events", {"type": "order.paid", "data": {"id": 7}})
        found = await listed(
            port, f"{APP}/attempts?limit=250", lambda some: len(some) == 2 * len(names), f"{2 * len(names)} attempts"
        )
    told: dict[str, list[Any]] = {name: [] for name in expected}
    for attempt in reversed(found):
        told[names[attempt["endpoint"]]].append(attempt)
    for name, (_, _, reason, words, _) in expected.items():
        failed, delivered = told[name]
        assert (failed["outcome"], failed["reason"]) == ("failed", reason), name
        assert words in (failed["error"] or "") if words else failed["error"] is None, (name, failed["error"])
        assert (delivered["outcome"], delivered["reason"]) == ("delivered", "confirmed"), name
    assert (await call(port, "GET", f"{APP}/deliveries"))["data"] == []


async def test_testing_an_endpoint_tells_what_its_rules_make_of_the_answer(server: bootstrap.Posthouse) -> None:
    port = server.port
    rules = [
        {"when": "response.body.code == 9", "then": "disable"},
        {"when": "response.status == 200 && response.body.code > 0", "then": "retry"},
    ]
    async with target(answering(http(b'{"code":9}'), http(b'{"code":1}'), http(OK_JSON), http(b"oops"))) as served:
        await endpoint(port, served, "main", ack=CODE, on_response=rules)
        asked = [await call(port, "POST", f"{APP}/endpoints/main/test", {}) for _ in range(4)]
        assert [(each["outcome"], each["reason"], each["rule"]) for each in asked] == [
            ("failed", "rule_disable", {"place": "on_response[0]", "then": "disable"}),
            ("failed", "rule_retry", {"place": "on_response[1]", "then": "retry"}),
            ("delivered", "confirmed", None),
            ("failed", "ack_failed", None),
        ]
        assert asked[3]["error"].endswith("(the body is not JSON)")
        assert (await call(port, "GET", f"{APP}/endpoints/main"))["enabled"], "a test does nothing of it"
        assert (await call(port, "GET", f"{APP}/attempts"))["data"] == []


async def test_a_bad_rule_is_refused_with_its_path(server: bootstrap.Posthouse) -> None:
    bad: list[tuple[Any, str]] = [
        ("response.body.code =", "ack.when"),
        ("body.code == 0", "ack.when"),
        ({"any": [{"status": [200]}, {}]}, "ack.any[1]"),
        ({"status": ["2XX"]}, "ack.status[0]"),
        ({"all": [{"when": "1 +"}]}, "ack.all[0].when"),
    ]
    for ack, path in bad:
        refused = await ask(server.port, "POST", f"{APP}/endpoints", {"url": "http://127.0.0.1:9/", "ack": ack})
        assert (refused.status, refused.body["path"]) == (422, path)
