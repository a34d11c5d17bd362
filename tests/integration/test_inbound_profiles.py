"""`/in/{source}`, with every profile that comes with Posthouse: requests of our own sending side, to a real server."""

from __future__ import annotations

import base64
import json

import pytest
from tests.inbound import PUBLIC_URL, UNSIGNED, data_of, events, request_of, send, settings_for, trigger
from tests.profiling import LETTERS, SECRET, Sent, event, given_to
from tests.receiving import receiving
from tests.serving import call, listed, serving

from posthouse_sdk import profile_names


def tampered(profile: str, sent: Sent) -> Sent:
    """The request as somebody might change it on its way."""
    match profile:
        case "adyen":  # of which a few fields are signed
            return sent._replace(body=sent.body.replace(b"order.created", b"order.deleted"))
        case "graph":
            return sent._replace(body=sent.body.replace(LETTERS.encode(), LETTERS[::-1].encode()))
        case "feishu-robot" | "dingtalk-robot":  # which sign the time
            name = "timestamp"
            return sent._replace(
                url=sent.url.replace(f"{name}=1", f"{name}=2"),
                body=sent.body.replace(b'"timestamp":"1', b'"timestamp":"2'),
            )
        case "wecom" | "wechat" | "dingtalk":
            return sent._replace(url=sent.url.replace("nonce=", "nonce=0"))
        case "feishu" | "wechatpay":  # which are encrypted
            return sent._replace(body=sent.body + b" ")
        case _:
            return sent._replace(body=sent.body.replace(b"A-1", b"A-2"))


@pytest.mark.timeout(180)
async def test_requests_of_every_profile_are_verified_and_published(database: str) -> None:
    async with serving(database, public_url=PUBLIC_URL) as server:
        port = server.port
        await call(port, "POST", "/v1/event-types", {"name": "order.paid"})
        await call(port, "POST", "/v1/apps", {"uid": "shop"})
        for count, name in enumerate(profile_names(), 1):
            await trigger(port, name, settings_for(name), app="shop", subject="{event.id}")
            request = request_of(name, name)
            answer = await send(port, request)
            assert 200 <= answer.status < 300, (name, answer)
            assert (await send(port, request)).status == answer.status, name
            found = await events(port, "shop")
            assert len(found) == count, name
            told = await call(port, "GET", f"/v1/events/{found[0]['id']}")
            assert told["attributes"] == {"trigger": name}
            assert "A-1" in str(data_of(told)), name
            if name in UNSIGNED:
                continue
            # Of another event: what is refused is not refused because it came before.
            other = request_of(name, name, of=event(payload=b'{"order":"A-1","other":1}'))
            wrong = tampered(name, other)
            assert wrong != other, name
            assert (await send(port, wrong)).status == 401, name
            assert len(await events(port, "shop")) == count, name
        for name in set(profile_names()) - UNSIGNED:
            path = f"/v1/triggers/{name}/refusals"
            (kept,) = await listed(port, path, lambda rows: len(rows) == 1, f"what {name} refused")
            assert kept["code"] == "not_verified", kept
        told = await listed(
            port,
            "/v1/triggers?limit=100",
            lambda rows: all(row["counts"]["published"] == row["counts"]["repeated"] == 1 for row in rows),
            "the counts",
        )
        assert {row["state"] for row in told} == {"active"}
        assert {row["counts"]["unverified"] for row in told if row["uid"] not in UNSIGNED} == {1}
        assert {row["counts"]["set_aside"] for row in told} == {0}


@pytest.mark.timeout(180)
async def test_an_endpoint_of_every_profile_and_a_gateway_understand_each_other(database: str) -> None:
    """Handshakes too; and from the gateway on to a target."""
    async with serving(database) as server, receiving() as receiver:
        port = server.port
        for kind in ("order.paid", "taken.paid"):
            await call(port, "POST", "/v1/event-types", {"name": kind})
        for app in ("senders", "shop"):
            await call(port, "POST", "/v1/apps", {"uid": app})
        await call(port, "POST", "/v1/apps/shop/endpoints", {"url": receiver.url(), "events": ["taken.paid"]})
        for name in profile_names():
            url = f"http://127.0.0.1:{port}/in/{name}"
            await trigger(port, name, settings_for(name) | {"url": url}, app="shop", type="taken.paid", subject=name)
            here, _, settings = given_to(name)
            endpoint = {"uid": name, "url": f"{url}?shop=7", "profile": name, "profile_settings": settings}
            await call(port, "POST", "/v1/apps/senders/endpoints", endpoint | {"keys": here, "secret": SECRET})
        sent = {"type": "order.paid", "data": {"order": "A-1", "name": "驿站"}, "subject": "shop:42"}
        id = (await call(port, "POST", "/v1/apps/senders/events", sent))["id"]
        count = len(profile_names())
        attempts = await listed(
            port, f"/v1/events/{id}/attempts?limit=100", lambda rows: len(rows) == count, "all attempts"
        )
        assert {(each["outcome"], each["reason"]) for each in attempts} == {("delivered", "confirmed")}, attempts
        for name in profile_names():
            made = await call(port, "GET", f"/v1/apps/senders/endpoints/{name}")
            assert made["handshake"] is None or made["verification"]["state"] == "verified", made
        await listed(
            port,
            "/v1/apps/shop/attempts?outcome=delivered&limit=100",
            lambda rows: len(rows) == count,
            "them at the target",
        )
        assert len(receiver.requests) == count
        assert all(b"A-1" in unwrapped(each.body) for each in receiver.requests)


def unwrapped(body: bytes) -> bytes:
    """What an event brought, also where that is no JSON."""
    try:
        told = json.loads(body)
    except ValueError:
        return body
    return base64.b64decode(told["data_base64"]) if "data_base64" in told else json.dumps(told["data"]).encode()
