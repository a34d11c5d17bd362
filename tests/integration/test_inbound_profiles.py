"""`/in/{source}`, with every profile that comes with Posthouse: requests of our own sending side, to a real server."""

from __future__ import annotations

import time

import pytest
from tests.inbound import PUBLIC_URL, UNSIGNED, data_of, events, request_of, send, settings_for, trigger
from tests.profiling import LETTERS, Sent, event
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
                url=sent.url.replace(f"{name}=1", f"{name}=2"), body=sent.body.replace(b'"timestamp":"1', b'"timestamp":"2')
            )
        case "wecom" | "wechat" | "dingtalk":
            return sent._replace(url=sent.url.replace("nonce=", "nonce=0"))
        case _:
            return sent._replace(body=sent.body.replace(b"A-1", b"A-2").replace(b"ciphertext", b"ciphertexT"))


@pytest.mark.timeout(120)
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
            wrong = tampered(name, request_of(name, name, of=event(payload=b'{"order":"A-1","other":1}')))
            assert wrong != request_of(name, name), name
            assert (await send(port, wrong)).status == 401, name
            assert len(await events(port, "shop")) == count, name
            (kept,) = await listed(port, f"/v1/triggers/{name}/refusals", lambda rows: len(rows) == 1, f"{name}'s refusal")
            assert kept["code"] == "not_verified", kept
            stale = request_of(name, name, now=time.time() - 3600)
            late = (await send(port, stale)).status
            assert late in (401, answer.status), name
        counts = {each["uid"]: each for each in (await call(port, "GET", "/v1/triggers?limit=100"))["data"]}
        assert {each["state"] for each in counts.values()} == {"active"}
