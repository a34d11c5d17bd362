"""`posthouse listen --profile`, as a person runs it: a third party of a platform, at a real port."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.commands import run, running
from tests.profiling import SECRET, Sent, given_to, sent_by
from tests.serving import call, listed, serving

from posthouse.cli.receiver import Served
from posthouse.cli.third_party import ThirdParty
from posthouse_sdk import ProfileReceiver, profile_names

KEYS = {"token": "QDG6eK", "aes_key": "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C"}
SETTINGS = {"corp_id": "wx5823bf96d3bd56c7"}


def asked(url: str, sent: Sent) -> tuple[int, bytes]:
    parts = urlsplit(sent.url)
    request = urllib.request.Request(
        f"{url}{parts.path}?{parts.query}", sent.body, {**sent.headers, "Host": parts.netloc}, method=sent.method
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_it_plays_a_third_party_of_a_platform(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text(json.dumps(KEYS))
    words = ("listen", "--port", "0", "--profile", "wecom", "--set", "corp_id=wx5823bf96d3bd56c7")
    with running(*words, "--keys-file", str(tmp_path / "keys.json")) as listener:
        listener.until(r"this plays 企业微信")
        listener.until(r"keys: (aes_key, token)")
        url = listener.until(r"listening on (http://\S+)/;")[1]
        came = sent_by("wecom", KEYS, SETTINGS, now=time.time())
        assert asked(url, came) == (200, b"success")
        told = json.loads(listener.until(r"(\{.*order.created.*\})\n")[1])
        assert (told["verdict"], told["type"], told["data"]["name"]) == ("verified", "order.created", "驿站")
        assert asked(url, came._replace(url=came.url.replace("nonce=", "nonce=0")))[0] == 401
        assert "NoMatchingSignatureError" in listener.until(r"(\{.*NoMatching.*\})\n")[1]


def test_it_says_what_it_needs() -> None:
    told = run("listen", "--profile", "wecom", "--set", "corp_id=ww12")
    assert told.returncode == 2
    assert "token" in told.stderr
    assert "aes_key  The EncodingAESKey" in told.stderr
    told = run("listen", "--profile", "nobody")
    assert "there is no profile nobody; there are" in told.stderr
    told = run("listen", "--public-url", "https://a.example")
    assert "belong to --profile" in told.stderr


@pytest.mark.timeout(120)
async def test_a_server_and_a_third_party_of_every_profile_understand_each_other(database: str) -> None:
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in profile_names()}
    async with serving(database) as server, AsyncExitStack() as stack:
        await call(server.port, "POST", "/v1/event-types", {"name": "order.paid"})
        await call(server.port, "POST", "/v1/apps", {"uid": "shop"})
        for name in rows:
            here, there, settings = given_to(name)
            party = ThirdParty(ProfileReceiver(name, there, settings=settings), rows[name].append)
            served = await stack.enter_async_context(Served(party))
            endpoint = {"uid": name, "url": f"{served.url}/hook?shop=7", "profile": name, "profile_settings": settings}
            await call(server.port, "POST", "/v1/apps/shop/endpoints", endpoint | {"keys": here, "secret": SECRET})
        event = {"type": "order.paid", "data": {"order": "A-1", "name": "驿站"}, "subject": "shop:42"}
        id = (await call(server.port, "POST", "/v1/apps/shop/events", event))["id"]
        attempts = await listed(
            server.port, f"/v1/events/{id}/attempts?limit=100", lambda found: len(found) == len(rows), "all attempts"
        )
        made = {name: await call(server.port, "GET", f"/v1/apps/shop/endpoints/{name}") for name in rows}
    told = {attempt["endpoint"]: (attempt["outcome"], attempt["reason"]) for attempt in attempts}
    assert set(told.values()) == {("delivered", "confirmed")}, rows
    for name, seen in rows.items():
        answered = [row["handshake"] for row in seen if row.get("handshake")]
        if made[name]["handshake"] is None:
            assert not answered
        else:
            assert made[name]["verification"]["state"] == "verified"
            assert answered, name
        assert seen[-1]["verdict"] == "verified", (name, seen)
        assert "A-1" in str(seen[-1]["data"])
