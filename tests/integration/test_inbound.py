"""`/in/{source}` of a real server: what is answered, what is kept, and what never happens."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any

import pytest
from tests.commands import environment
from tests.inbound import PUBLIC_URL, data_of, events, request_of, send, settings_for, trigger
from tests.profiling import Sent
from tests.serving import KEY, PATIENCE_SECONDS, Reply, ask, call, exchange, listed, request, serving

from posthouse.bootstrap import Posthouse
from posthouse.domain.errors import StoreUnavailable
from posthouse.domain.event import Draft
from posthouse.ports.log import AppendResult, EventLog

GITHUB = {"profile": "github", "keys": {"secret": "It's a Secret to Everybody"}}
OPEN = {"verify": False, "methods": ["GET", "POST", "PUT"]}
NOBODY = {"type": "about:blank", "title": "Not Found", "status": 404, "code": "source_not_found"}


@pytest.fixture
async def server(database: str) -> AsyncIterator[Posthouse]:
    async with serving(database, public_url=PUBLIC_URL, body_seconds=1) as server:
        await call(server.port, "POST", "/v1/event-types", {"name": "order.paid"})
        await call(server.port, "POST", "/v1/apps", {"uid": "shop"})
        yield server


def post(source: str, body: bytes = b'{"n": 1}', query: str = "", method: str = "POST", **headers: str) -> Sent:
    """A request that nobody has signed."""
    return Sent(
        method,
        f"{PUBLIC_URL}/in/{source}{query}",
        {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()},
        body,
    )


async def the_event(port: int) -> dict[str, Any]:
    """The only one that there is."""
    (found,) = await events(port)
    told: dict[str, Any] = await call(port, "GET", f"/v1/events/{found['id']}")
    return told


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


# Who is answered


UNKNOWN = (
    "/in/nobody", "/in/", "/in/a/b", "/in/../v1/triggers", "/in/%2e%2e/v1/triggers", "/in/a%2Fb", "/in/known/",
    "/in/known%00", "/in/%E9%A9%BF", "/in/%FF%FE", "/in/known/events", "/in//known", "/in/KNOWN",
)  # fmt: skip


async def test_an_unknown_source_is_told_nothing(server: Posthouse) -> None:
    await trigger(server.port, "known", OPEN)
    for path in UNKNOWN:
        for method in ("GET", "POST", "DELETE", "OPTIONS"):
            reply = await ask(server.port, method, path, {"n": 1}, key=None)
            assert (reply.status, reply.body) == (404, NOBODY | {"detail": "there is no such source"}), (method, path)
    assert await events(server.port) == []


async def test_nothing_else_is_reached_by_way_of_it(server: Posthouse) -> None:
    """Neither a trigger of another kind, nor a route that would ask for a key."""
    assert (await ask(server.port, "GET", "/in", key=None)).body["code"] == "route_not_found"
    assert (await ask(server.port, "GET", "/inside", key=None)).body["code"] == "route_not_found"
    reply = await exchange(
        server.port, b"POST /in/x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}"
    )
    assert reply.status in (400, 404)
    reply = await exchange(server.port, b"GET http://other/in/nobody HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert reply.status in (400, 404)


async def test_a_source_is_found_by_its_id_and_as_soon_as_it_is_there(server: Posthouse) -> None:
    assert (await send(server.port, post("new"))).status == 404
    made = await trigger(server.port, "new", OPEN)
    assert (await send(server.port, post("new"))).status == 202
    assert (await send(server.port, post(made["id"]))).status == 202
    assert len(await events(server.port)) == 1, "it is the same request"
    await call(server.port, "PATCH", "/v1/triggers/new", {"uid": "renamed"})
    assert (await send(server.port, post("renamed"))).status == 202
    assert (await send(server.port, post("new"))).status == 404
    assert (await ask(server.port, "DELETE", "/v1/triggers/renamed")).status == 204
    await until_status(server.port, post("renamed"), 404)


async def until_status(port: int, sent: Sent, status: int) -> Reply:
    """What other processes, and this one for a moment, may still answer otherwise."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        reply = await send(port, sent)
        while reply.status != status:
            await asyncio.sleep(0.05)
            reply = await send(port, sent)
    return reply


async def test_methods_that_a_source_does_not_take_are_named(server: Posthouse) -> None:
    await trigger(server.port, "meta", settings_for("meta"))
    for method in ("PUT", "DELETE", "OPTIONS", "TRACE"):
        reply = await exchange(
            server.port, f"{method} /in/meta HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()
        )
        assert (reply.status, reply.headers["allow"]) == (405, "GET, POST"), method
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"HEAD /in/meta HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    head = await reader.read()
    writer.close()
    assert head.startswith(b"HTTP/1.1 405 ")
    assert head.endswith(b"\r\n\r\n"), "HEAD has no body"


async def test_a_paused_source_has_its_sender_try_again(server: Posthouse) -> None:
    await trigger(server.port, "shy", OPEN)
    assert (await send(server.port, post("shy"))).status == 202
    await call(server.port, "POST", "/v1/triggers/shy/pause")
    reply = await send(server.port, post("shy", b'{"n": 2}'))
    assert (reply.status, reply.headers["retry-after"], reply.body["code"]) == (503, "60", "source_paused")
    await call(server.port, "POST", "/v1/triggers/shy/resume")
    assert (await send(server.port, post("shy", b'{"n": 2}'))).status == 202
    assert len(await events(server.port)) == 2


# What becomes of a request


async def test_what_came_is_published_as_it_came(server: Posthouse) -> None:
    await trigger(server.port, "open", OPEN, subject="{query.shop}", key="{body.id}", app="shop")
    body = b'{"id": 12345678901234567890, "total": 1.50,  "name": "\xe9\xa9\xbf"}'
    assert (await send(server.port, post("open", body, "?shop=shop:42"))).status == 202
    found = await the_event(server.port)
    assert (found["type"], found["subject"], found["key"]) == ("order.paid", "shop:42", "12345678901234567890")
    raw = await exchange(
        server.port, request("GET", f"/v1/events/{found['id']}", headers={"Accept": "application/json"})
    )
    assert raw.status == 200
    assert found["data"] == json.loads(body)
    assert found["attributes"] == {"trigger": "open"}


OTHER_CONTENT = [
    ("application/x-www-form-urlencoded", b"id=7&name=%E9%A9%BF&id=8", "{body.id.1}"),
    ("application/xml", b"<order><id>8</id></order>", "{body.id}"),
    ("text/plain", b"8", "{text}"),
    ("", b'{"id": 8}', "{body.id}"),
]


async def test_other_content_keeps_its_type(server: Posthouse) -> None:
    for number, (content_type, body, subject) in enumerate(OTHER_CONTENT):
        await trigger(server.port, f"open-{number}", OPEN, subject=subject)
        sent = post(f"open-{number}", body)
        sent.headers.pop("Content-Type")
        if content_type:
            sent.headers["Content-Type"] = content_type
        assert (await send(server.port, sent)).status == 202, content_type
        (newest, *older) = await events(server.port)
        assert len(older) == number, content_type
        found = await call(server.port, "GET", f"/v1/events/{newest['id']}")
        assert found["subject"] == "8", content_type
        assert data_of(found) == (json.loads(body) if not content_type else body)


async def test_a_get_is_its_query(server: Posthouse) -> None:
    await trigger(server.port, "open", OPEN, subject="{query.id}")
    assert (await send(server.port, post("open", b"", "?id=8&token=secret", "GET"))).status == 202
    found = await the_event(server.port)
    assert (found["subject"], data_of(found)) == ("8", b"id=8&token=secret")


async def test_a_map_and_a_condition_look_at_the_request(server: Posthouse) -> None:
    await trigger(
        server.port,
        "github",
        GITHUB,
        type="{event.type}",
        when='event.data.headers["x-github-event"] != "ping"',
        map='{"type": "order." + event.type, "subject": "repo:" + event.data.body.repo, "data": {"seen": event.data}}',
    )
    assert (await send(server.port, github("paid", b'{"repo": "7"}'))).status == 202
    assert (await send(server.port, github("ping", b'{"zen": "x"}', delivery="2"))).status == 202
    found = await the_event(server.port)
    assert (found["type"], found["subject"]) == ("order.paid", "repo:7")
    seen = found["data"]["seen"]
    assert seen["body"] == {"repo": "7"}
    assert (seen["method"], seen["path"], seen["remote"]) == ("POST", "/in/github", "127.0.0.1")
    assert seen["event"] == {"id": "1", "type": "paid", "time": None}
    assert not {"x-hub-signature", "x-hub-signature-256", "authorization", "cookie"} & set(seen["headers"])
    assert seen["headers"]["x-github-delivery"] == "1"
    (told,) = await listed(
        server.port, "/v1/triggers", lambda rows: rows[0]["counts"]["left_out"] == 1, "what was left out"
    )
    assert told["counts"]["published"] == 1


def github(kind: str, body: bytes, *, delivery: str = "1", key: str = GITHUB["keys"]["secret"], **headers: str) -> Sent:  # type: ignore[index]
    """A request as GitHub signs it; `hmac` of the standard library, and nothing of ours."""
    import hashlib
    import hmac

    signed = {
        "X-GitHub-Event": kind,
        "X-GitHub-Delivery": delivery,
        "X-Hub-Signature-256": "sha256=" + hmac.digest(key.encode(), body, hashlib.sha256).hex(),
        "X-Hub-Signature": "sha1=" + hmac.digest(key.encode(), body, hashlib.sha1).hex(),
        "Authorization": "Basic c2VjcmV0",
        "Cookie": "a=b",
    }
    return Sent("POST", f"{PUBLIC_URL}/in/github", {"Content-Type": "application/json"} | signed | headers, body)


async def test_what_comes_again_is_the_same_event(server: Posthouse) -> None:
    await trigger(server.port, "github", GITHUB)
    for _ in range(3):
        assert (await send(server.port, github("push", b'{"n": 1}'))).status == 202
    assert len(await events(server.port)) == 1
    assert (await send(server.port, github("push", b'{"n": 1}', delivery="2"))).status == 202
    assert len(await events(server.port)) == 2, "another delivery with the same body"
    many = [send(server.port, github("push", b'{"n": 2}', delivery="3")) for _ in range(8)]
    assert {reply.status for reply in await asyncio.gather(*many)} == {202}
    assert len(await events(server.port)) == 3


async def test_a_key_of_ones_own_and_a_request_that_is_always_new(server: Posthouse) -> None:
    await trigger(server.port, "named", OPEN | {"idempotency": "{headers.x-id}"})
    await trigger(server.port, "new", OPEN | {"idempotency": "{request_id}"})
    for body in (b'{"n": 1}', b'{"n": 2}'):
        assert (await send(server.port, post("named", body, X_Id="a" * 500))).status == 202
    assert len(await events(server.port)) == 1
    for body in (b'{"n": 1}', b'{"n": 1}', b'{"n": 2}'):
        assert (await send(server.port, post("named", body))).status == 202
    assert len(await events(server.port)) == 3, "those without the header go by what they say"
    for _ in range(2):
        assert (await send(server.port, post("new"))).status == 202
    assert len(await events(server.port)) == 5


async def test_a_body_in_pieces_and_a_compressed_one(server: Posthouse) -> None:
    import gzip

    await trigger(server.port, "open", OPEN)
    assert (await send(server.port, post("open", b'{"n": 1}'), chunked=True)).status == 202
    assert (await the_event(server.port))["data"] == {"n": 1}
    packed = post("open", gzip.compress(b'{"n": 1}'), Content_Encoding="gzip")
    assert (await send(server.port, packed)).status == 202
    assert len(await events(server.port)) == 1, "it says the same"
    assert (await send(server.port, post("open", b"?", Content_Encoding="br"))).status == 415
    bomb = post("open", gzip.compress(b" " * 2_000_000), Content_Encoding="gzip")
    assert (await send(server.port, bomb)).status == 413
    await trigger(server.port, "slack", settings_for("slack"))
    assert (await send(server.port, request_of("slack", "slack"), chunked=True)).status == 200


# Who is let in


async def test_who_is_not_let_in_is_always_told_the_same(server: Posthouse) -> None:
    await trigger(server.port, "github", GITHUB)
    good = github("push", b'{"n": 1}')
    without = {name: value for name, value in good.headers.items() if "Signature" not in name}
    wrong = [
        good._replace(body=b'{"n": 2}'),
        good._replace(headers=without),
        good._replace(headers=good.headers | {"X-Hub-Signature-256": "rubbish"}),
        github("push", b'{"n": 1}', key="another"),
        good._replace(headers=good.headers | {"x-hub-signature": "sha1=00"}),
    ]
    told = {(reply.status, json.dumps(reply.body)) for reply in [await send(server.port, each) for each in wrong]}
    assert len(told) == 1
    ((status, body),) = told
    assert (status, json.loads(body)["code"]) == (401, "not_verified")
    assert await events(server.port) == []
    kept = await listed(server.port, "/v1/triggers/github/refusals", lambda rows: len(rows) == 5, "them all")
    assert {row["code"] for row in kept} == {"not_verified"}
    reasons = " ".join(row["reason"] for row in kept)
    assert "the header X-Hub-Signature-256 is missing" in reasons
    assert "sha256=" not in json.dumps([row["seen"] for row in kept])
    assert kept[0]["seen"]["text"] == '{"n": 2}'
    # They can be looked at, and nothing else.
    retried = await call(server.port, "POST", "/v1/triggers/github/refusals/retry", {})
    assert (retried["published"], retried["refused"]) == (0, 5)
    assert (await call(server.port, "GET", "/v1/triggers/github"))["counts"] == {
        "published": 0, "repeated": 0, "left_out": 0, "set_aside": 0, "unverified": 5,
    }  # fmt: skip
    assert (await call(server.port, "POST", "/v1/triggers/github/refusals/discard", {}))["discarded"] == 5


async def test_no_stranger_puts_anything_in_the_place_of_what_was_verified(server: Posthouse) -> None:
    await trigger(server.port, "github", GITHUB, type="order.{body.kind}")
    assert (await send(server.port, github("push", b'{"n": 1}'))).status == 202  # set aside
    assert (await send(server.port, github("push", b'{"kind": "paid"}', key="another"))).status == 401
    rows = await listed(server.port, "/v1/triggers/github/refusals", lambda rows: len(rows) == 2, "both")
    assert {row["code"] for row in rows} == {"nothing_to_fill_in", "not_verified"}
    assert (await call(server.port, "GET", "/v1/triggers/github"))["counts"]["set_aside"] == 1


async def test_a_key_is_rotated(server: Posthouse) -> None:
    await trigger(server.port, "github", {"profile": "github", "keys": {"secret": ["new", "old"]}})
    for number, key in enumerate(("old", "new")):
        assert (await send(server.port, github("push", b"{}", delivery=str(number), key=key))).status == 202
    await call(server.port, "PATCH", "/v1/triggers/github", {"settings": {"keys": {"secret": "new"}}})
    assert (await send(server.port, github("push", b"{}", delivery="3", key="old"))).status == 401
    shown = await call(server.port, "GET", "/v1/triggers/github")
    assert shown["settings"]["keys"] == {"secret": "(not shown)"}
    reply = await ask(server.port, "PATCH", "/v1/triggers/github", {"settings": shown["settings"]})
    assert (reply.status, reply.body["path"]) == (422, "settings.keys.secret")


async def test_stale_signatures_are_refused(server: Posthouse) -> None:
    await trigger(server.port, "stripe", settings_for("stripe"))
    assert (await send(server.port, request_of("stripe", "stripe", now=time.time() - 301))).status == 401
    await call(server.port, "PATCH", "/v1/triggers/stripe", {"settings": {"tolerance_seconds": 600}})
    assert (await send(server.port, request_of("stripe", "stripe", now=time.time() - 301))).status == 200


# Handshakes


async def test_challenges_are_answered(server: Posthouse) -> None:
    await trigger(server.port, "meta", settings_for("meta"))
    token = settings_for("meta")["keys"]["verify_token"]
    asked = f"?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token={token}"
    reply = await send(server.port, post("meta", b"", asked, "GET"))
    assert (reply.status, reply.body) == (200, b"1158201444")
    assert (await send(server.port, post("meta", b"", asked.replace(token, "other"), "GET"))).status == 401
    await trigger(server.port, "cloudevents", settings_for("cloudevents"))
    consent = post("cloudevents", b"", "", "OPTIONS", WebHook_Request_Origin="posthouse", WebHook_Request_Rate="120")
    reply = await send(server.port, consent)
    assert (reply.status, reply.headers["webhook-allowed-origin"]) == (200, "posthouse")
    assert reply.headers["webhook-allowed-rate"] == "120"
    assert await events(server.port) == []
    assert (await call(server.port, "GET", "/v1/triggers/meta"))["counts"]["published"] == 0


# Limits


async def test_what_is_too_large_is_not_read(server: Posthouse) -> None:
    await trigger(server.port, "small", OPEN | {"body_bytes_max": 100})
    large = post("small", b'"%b"' % (b"x" * 200))
    for chunked in (False, True):
        reply = await send(server.port, large, chunked=chunked)
        assert (reply.status, reply.headers["connection"]) == (413, "close"), chunked
    head = b"POST /in/small HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n"
    assert (await exchange(server.port, head)).status in (400, 413)
    many = {f"X-{number}": "v" for number in range(250)}
    assert (await send(server.port, post("small", b"{}", **many))).status == 431
    assert (await send(server.port, post("small", b"{}", X_Long="v" * 70_000))).status == 431
    assert await events(server.port) == []


async def test_a_body_that_comes_too_slowly_is_not_waited_for(server: Posthouse) -> None:
    await trigger(server.port, "open", OPEN)
    head = b"POST /in/open HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n"
    reply = await exchange(server.port, head + b'{"n"')
    assert (reply.status, reply.body["code"], reply.headers["connection"]) == (408, "body_timeout", "close")
    assert await events(server.port) == []


async def test_a_rate_is_for_those_who_are_verified(server: Posthouse) -> None:
    await trigger(server.port, "github", GITHUB | {"rate_limit": {"per_second": 0.01, "burst": 2}})
    for number in range(5):
        assert (await send(server.port, github("push", b"{}", delivery=str(number), key="another"))).status == 401
    for number in range(2):
        assert (await send(server.port, github("push", b"{}", delivery=str(number)))).status == 202
    reply = await send(server.port, github("push", b"{}", delivery="3"))
    assert (reply.status, reply.body["code"]) == (429, "source_rate")
    assert 0 < int(reply.headers["retry-after"]) <= 100


async def test_so_many_at_once_and_no_more(database: str) -> None:
    async with serving(database, public_url=PUBLIC_URL) as server:
        await call(server.port, "POST", "/v1/event-types", {"name": "order.paid"})
        await trigger(server.port, "one", OPEN | {"concurrency": 1})
        await trigger(server.port, "other", OPEN)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                writer.write(b"POST /in/one HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\nConnection: close\r\n\r\n{")
                begun = asyncio.ensure_future(reader.readexactly(len(b"HTTP/1.1 ")))
                reply = await send(server.port, post("one", b'{"n": 9}'))
                while reply.status != 429 and not begun.done():
                    reply = await send(server.port, post("one", b'{"n": 9}'))
                if not begun.done():
                    break
                writer.close()  # it came as the other one was under way, and is the one that was refused
        assert reply.headers["retry-after"] == "1"
        assert (await send(server.port, post("other"))).status == 202
        writer.write(b'"n": 1}')
        await begun
        assert (await reader.read()).startswith(b"202 ")
        writer.close()
        assert (await send(server.port, post("one", b'{"n": 9}'))).status == 202


# What is refused


async def test_what_is_no_event_is_kept_until_it_is(server: Posthouse) -> None:
    await trigger(server.port, "github", GITHUB, type="order.{headers.x-github-event}")
    assert (await send(server.port, github("lost", b'{"n": 1}'))).status == 202, "it is on record"
    (kept,) = await listed(server.port, "/v1/triggers/github/refusals", lambda rows: len(rows) == 1, "it")
    assert (kept["code"], kept["seen"]["body"]) == ("event_type_not_found", {"n": 1})
    assert "cookie" not in kept["seen"]["headers"]
    assert (await send(server.port, github("lost", b'{"n": 1}'))).status == 202
    (kept,) = (await call(server.port, "GET", "/v1/triggers/github/refusals"))["data"]
    assert kept["tries"] == 2
    await call(server.port, "POST", "/v1/event-types", {"name": "order.lost"})
    assert (await call(server.port, "POST", "/v1/triggers/github/refusals/retry", {}))["published"] == 1
    assert (await the_event(server.port))["data"] == {"n": 1}
    assert (await send(server.port, github("lost", b'{"n": 1}'))).status == 202
    assert len(await events(server.port)) == 1


async def test_a_schema_refuses_and_a_sender_may_be_told(server: Posthouse) -> None:
    schema = {"type": "object", "required": ["total"]}
    await call(server.port, "POST", "/v1/event-types", {"name": "order.new", "schema": schema})
    refused = {"status": 422, "content_type": "application/json", "body": '{"ok": false}'}
    await trigger(server.port, "github", GITHUB | {"answer_refused": refused}, type="order.new")
    reply = await send(server.port, github("push", b'{"n": 1}'))
    assert (reply.status, reply.body) == (422, {"ok": False})
    assert (await send(server.port, github("push", b'{"n": 2}', delivery="2"))).status == 422
    assert (await send(server.port, github("push", b'{"total": 1}', delivery="3"))).status == 202
    rows = await listed(server.port, "/v1/triggers/github/refusals", lambda rows: len(rows) == 2, "both")
    assert {row["code"] for row in rows} == {"schema_mismatch"}


async def test_a_body_that_is_not_what_it_says_is_kept_too(server: Posthouse) -> None:
    await trigger(server.port, "open", OPEN)
    assert (await send(server.port, post("open", b"{not json"))).status == 202
    (kept,) = await listed(server.port, "/v1/triggers/open/refusals", lambda rows: len(rows) == 1, "it")
    assert (kept["code"], kept["seen"]["text"]) == ("malformed_body", "{not json")
    assert (await send(server.port, post("open", b'{"a":"\xe9"}'))).status == 202
    kept = await listed(server.port, "/v1/triggers/open/refusals", lambda rows: len(rows) == 2, "both")
    assert {one["code"] for one in kept} == {"malformed_body"}
    await trigger(server.port, "github", GITHUB)
    assert (await send(server.port, github("push", b"{not json"))).status == 400
    (kept,) = await listed(server.port, "/v1/triggers/github/refusals", lambda rows: len(rows) == 1, "it")
    assert "the signature is right" in kept["reason"]


async def test_answers_in_words_of_ones_own(server: Posthouse) -> None:
    answer = {"status": 200, "content_type": "text/xml", "body": "<Response/>", "headers": {"X-Taken": "yes"}}
    await trigger(server.port, "github", GITHUB | {"answer": answer})
    reply = await send(server.port, github("push", b"{}"))
    assert (reply.status, reply.body, reply.headers["content-type"]) == (200, b"<Response/>", "text/xml")
    assert reply.headers["x-taken"] == "yes"


class Failing(Posthouse):
    """A server whose log can be out of reach."""

    down = False

    def wrap_log(self, event_log: EventLog) -> EventLog:
        append = event_log.append

        async def failing(drafts: Sequence[Draft]) -> list[AppendResult]:
            if self.down:
                raise StoreUnavailable("the database is away")
            return await append(drafts)

        vars(event_log)["append"] = failing
        return event_log


async def test_what_cannot_be_stored_is_the_senders_to_keep(database: str) -> None:
    async with serving(database, kind=Failing) as server:
        assert isinstance(server, Failing)
        await call(server.port, "POST", "/v1/event-types", {"name": "order.paid"})
        await trigger(server.port, "open", OPEN)
        server.down = True
        reply = await send(server.port, post("open"))
        assert (reply.status, reply.headers["retry-after"]) == (503, "2")
        (told,) = await listed(server.port, "/v1/triggers", lambda rows: rows[0]["state"] == "failing", "the state")
        assert told["failure"]["code"] == "postponed"
        server.down = False
        assert (await send(server.port, post("open"))).status == 202
        assert len(await events(server.port)) == 1
        await listed(server.port, "/v1/triggers", lambda rows: rows[0]["state"] == "active", "the state")
        assert (await call(server.port, "GET", "/v1/triggers/open/refusals"))["data"] == []


@pytest.mark.parametrize("point", ["before_append", "after_append"])
async def test_a_server_that_is_killed_before_it_answers_and_its_sender_who_tries_again(
    database: str, point: str
) -> None:
    same: dict[str, Any] = {"master_key": base64.b64encode(bytes(range(32))).decode()}
    async with serving(database, role="api", **same) as api:
        await call(api.port, "POST", "/v1/event-types", {"name": "order.paid"})
        await trigger(api.port, "github", GITHUB)
        port = free_port()
        dying = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.chaos.server",
            env=environment(
                CHAOS_POINT=f"{point}:0",
                POSTHOUSE_DATABASE_URL=database,
                POSTHOUSE_MASTER_KEY=same["master_key"],
                POSTHOUSE_ADMIN_KEY=KEY,
                POSTHOUSE_PORT=str(port),
                PYTHONPATH=os.getcwd(),
            ),
        )
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while dying.returncode is None:
                    # Until it is there it refuses connections; then it dies under the first request.
                    with suppress(OSError, ValueError, IndexError):
                        reply = await send(port, github("push", b'{"n": 1}'))
                        pytest.fail(f"it answered: {reply}")
                    await asyncio.sleep(0.1)
            assert dying.returncode == -signal.SIGKILL
        finally:
            if dying.returncode is None:
                dying.kill()
                await dying.wait()
        assert len(await events(api.port)) == (1 if point == "after_append" else 0)
        assert (await send(api.port, github("push", b'{"n": 1}'))).status == 202
        assert len(await events(api.port)) == 1


# What is watched, and by whom


async def test_it_is_measured(server: Posthouse) -> None:
    await trigger(server.port, "github", GITHUB)
    (told,) = await listed(server.port, "/v1/triggers", lambda rows: rows[0]["state"] == "active", "the state")
    assert told["failure"] is None
    assert (await send(server.port, github("push", b"{}"))).status == 202
    assert (await send(server.port, github("push", b"{}", key="another"))).status == 401
    text = (await ask(server.port, "GET", "/metrics", key=None)).body.decode()
    labels = '{kind="inbound",trigger="github"}'
    for series in (
        "posthouse_trigger_published_total",
        "posthouse_trigger_unverified_total",
        "posthouse_trigger_healthy",
    ):
        assert any(line.startswith(series) and line.endswith(" 1.0") for line in text.splitlines()), (series, labels)
    assert 'posthouse_cache_entries{cache="inbound_sources"} 1.0' in text


async def test_every_role_that_answers_takes_requests(database: str) -> None:
    async with serving(database, role="api") as api, serving(database, role="worker") as worker:
        await call(api.port, "POST", "/v1/event-types", {"name": "order.paid"})
        await trigger(api.port, "open", OPEN)
        assert (await send(api.port, post("open"))).status == 202
        assert (await send(worker.port, post("open"))).body["code"] == "route_not_found"


async def test_a_change_is_seen_by_other_servers_within_a_moment(database: str) -> None:
    same: dict[str, Any] = {"role": "api", "master_key": base64.b64encode(bytes(range(32))).decode()}
    async with serving(database, **same) as one, serving(database, **same) as other:
        await call(one.port, "POST", "/v1/event-types", {"name": "order.paid"})
        assert (await send(other.port, post("open"))).status == 404
        await trigger(one.port, "open", OPEN)
        assert (await send(other.port, post("open"))).status == 202, "at once, where it is new"
        await call(one.port, "PATCH", "/v1/triggers/open", {"settings": {"answer": {"status": 299}}})
        await until_status(other.port, post("open"), 299)
        await call(one.port, "POST", "/v1/triggers/open/pause")
        await until_status(other.port, post("open"), 503)
        counts = await listed(
            one.port, "/v1/triggers", lambda rows: rows[0]["counts"]["repeated"] >= 1, "what the other counted"
        )
        assert counts[0]["counts"]["published"] == 1


# Configuration


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({}, "keys.secret", "needs this key"),
    ({"profile": "nobody"}, "profile", "posthouse profiles list"),
    ({"profile": "../x"}, "profile", "there is no profile"),
    ({"profile": "github"}, "keys.secret", "The webhook's secret"),
    ({"profile": "github", "keys": {"secret": "a", "other": "b"}}, "keys", "has no key other"),
    ({"keys": {"secret": "whsec_short"}}, "keys", "secret"),
    ({"profile": "youzan", "keys": {"client_secret": "a"}}, "profile_settings.client_id", "needs this"),
    ({"profile": "slack-incoming"}, "verify", "verify: false"),
    ({"profile": "github", "verify": False, "keys": {"secret": "a"}}, "verify", "verifies who sends"),
    (OPEN | {"methods": ["HEAD"]}, "methods", "there is no 'HEAD' here"),
    (GITHUB | {"methods": ["PUT"]}, "methods", "there are POST"),
    (OPEN | {"answer": {"status": 404}}, "answer.status", "from 200 to 299"),
    (OPEN | {"answer": {"headers": {"X-A": "b\r\nSet-Cookie: c"}}}, "answer.headers.X-A", "header"),
    (OPEN | {"answer": {"headers": {"Connection": "close"}}}, "answer.headers.Connection", "connection"),
    (OPEN | {"answer": {"content_type": "text"}}, "answer.content_type", "content type"),
    (OPEN | {"answer": {"status": 204, "body": "x"}}, "answer.body", "no body"),
    (OPEN | {"idempotency": "{"}, "idempotency", "write {{ for one"),
    (OPEN | {"body_bytes_max": 2**30}, "body_bytes_max", "from 1 to 1"),
    (OPEN | {"rate_limit": {"per_second": 0}}, "rate_limit.per_second", "from 0.001"),
    (OPEN | {"rate": 1}, "rate", "unknown"),
    (OPEN | {"url": "ftp://a"}, "url", "https://"),
    (OPEN | {"tolerance_seconds": 0}, "tolerance_seconds", "from 1"),
]


async def test_what_cannot_be_is_told_with_what_to_do(server: Posthouse) -> None:
    for settings, path, says in WRONG:
        body = {"kind": "inbound", "uid": "wrong", "type": "order.paid", "settings": settings}
        reply = await ask(server.port, "POST", "/v1/triggers", body)
        assert (reply.status, reply.body["path"]) == (422, f"settings.{path}"), (settings, reply.body)
        assert says in reply.body["detail"], settings
    assert (await send(server.port, post("wrong"))).status == 404


async def test_it_cannot_be_rewound_and_says_where_senders_send(server: Posthouse) -> None:
    await trigger(server.port, "open", OPEN)
    reply = await ask(server.port, "POST", "/v1/triggers/open/rewind", {})
    assert reply.status == 422
    assert "can be tried again" in reply.body["detail"]
    assert (await send(server.port, post("open"))).status == 202
    plan = await call(server.port, "GET", "/v1/triggers/open/plan")
    assert f"{PUBLIC_URL}/in/open" in plan["remarks"][0]
    told = await ask(server.port, "GET", "/v1/triggers/open/plan", headers={"Accept-Language": "zh-CN"})
    assert told.body["remarks"][0] == f"无须在别处安装；请让发送方发送到 {PUBLIC_URL}/in/open"
    assert told.headers["content-language"] == "zh-CN"
    kinds = {kind["name"]: kind for kind in (await call(server.port, "GET", "/v1/trigger-kinds"))["data"]}
    assert "rate_limit" in kinds["inbound"]["settings"]["properties"]


async def test_kinds_are_described_in_the_language_that_is_asked_for(server: Posthouse) -> None:
    english = await ask(server.port, "GET", "/v1/trigger-kinds")
    chinese = await ask(server.port, "GET", "/v1/trigger-kinds", headers={"Accept-Language": "zh-CN"})
    assert (english.headers["content-language"], chinese.headers["content-language"]) == ("en", "zh-CN")
    assert "Accept-Language" in chinese.headers["vary"]
    for before, told in zip(english.body["data"], chinese.body["data"], strict=True):
        assert told["settings"].keys() == before["settings"].keys()
        for name, property in told["settings"]["properties"].items():
            assert re.search(r"[\u4e00-\u9fff]", property["description"]), (told["name"], name)
            rest = {word: value for word, value in property.items() if word != "description"}
            assert rest.items() <= before["settings"]["properties"][name].items()


async def test_two_sources_make_two_events_of_the_same(server: Posthouse) -> None:
    await trigger(server.port, "one", OPEN, subject="{body.shop}")
    await trigger(server.port, "two", OPEN, app="shop")
    for source in ("one", "two"):
        assert (await send(server.port, post(source, b'{"shop": "shop:42"}'))).status == 202
    assert {each["subject"] for each in await events(server.port)} == {"shop:42", None}
