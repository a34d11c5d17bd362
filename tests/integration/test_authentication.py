"""Authentication and connections of endpoints through a whole server: from the API to what their targets see."""

from __future__ import annotations

import json
import logging
import ssl
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
import trustme
from tests.http_proxy import HttpProxy, http_proxy
from tests.integration.test_delivery import APP, MASTER_KEY, prepare, until
from tests.serving import ask, call, listed, serving
from tests.targets import OK, Peer, RawTarget, answer_ok, target

from posthouse import bootstrap

RETRY = {"schedule": [0.05] * 20, "jitter": 0}
SECRET = "s3cr3t-of-the-target"


@pytest.fixture
async def proxy() -> AsyncIterator[HttpProxy]:
    async with http_proxy() as made:
        yield made


@pytest.fixture
async def server(database: str, proxy: HttpProxy) -> AsyncIterator[bootstrap.Posthouse]:
    async with serving(
        database,
        master_key=MASTER_KEY,
        proxies=f"eu=http://posthouse:pr0xy-pass@127.0.0.1:{proxy.port}",
        source_addresses="127.0.0.3",
        circuit_requests_min=1_000_000,
    ) as running:
        await prepare(running.port)
        yield running


async def add(port: int, at: RawTarget, **more: Any) -> Any:
    scheme = "https" if "tls" in more else "http"
    body = {"url": f"{scheme}://127.0.0.1:{at.port}/hook", "retry": RETRY, "keys": {"target": SECRET}} | more
    return await call(port, "POST", f"{APP}/endpoints", body)


async def publish(port: int) -> str:
    event = await call(port, "POST", f"{APP}/events", {"type": "order.created", "data": {"n": 1}})
    return str(event["id"])


async def attempts(port: int, event: str, count: int) -> list[Any]:
    """Those of an event, oldest first."""
    path = f"{APP}/events/{event}/attempts"
    return (await listed(port, path, lambda some: len(some) >= count, f"{count} attempts"))[::-1]


def authorization(request: bytes) -> str:
    for line in request.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n"):
        if line.lower().startswith("authorization: "):
            return line.partition(": ")[2]
    return ""


class TokenServer:
    """A token endpoint: tokens `t1`, `t2`, …; `instead` is what it says while it is set."""

    def __init__(self) -> None:
        self.given = 0
        self.instead: bytes | None = None

    async def script(self, peer: Peer) -> None:
        while True:
            await peer.request()
            if self.instead is not None:
                await peer.send(self.instead)
                continue
            self.given += 1
            body = json.dumps({"access_token": f"t{self.given}", "token_type": "Bearer", "expires_in": 3600}).encode()
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


def says(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


async def test_what_targets_see_and_what_nobody_else_does(
    server: bootstrap.Posthouse, caplog: pytest.LogCaptureFixture
) -> None:
    port = server.port
    caplog.set_level(logging.DEBUG)
    async with target(answer_ok) as bearer, target(answer_ok) as basic, target(answer_ok) as api_key:
        made = [
            await add(port, bearer, auth={"kind": "bearer", "key": "target"}),
            await add(port, basic, auth={"kind": "basic", "username": "shop", "key": "target"}),
            await add(port, api_key, auth={"kind": "api_key", "in": "query", "name": "k", "key": "target"}),
        ]
        event = await publish(port)
        found = await attempts(port, event, 3)
        assert {attempt["outcome"] for attempt in found} == {"delivered"}
        assert authorization(bearer.requests[0]) == f"Bearer {SECRET}"
        assert authorization(basic.requests[0]) == "Basic c2hvcDpzM2NyM3Qtb2YtdGhlLXRhcmdldA=="
        assert api_key.requests[0].startswith(f"POST /hook?k={SECRET} HTTP/1.1\r\n".encode())
        # A new version of the key is used by the next request.
        await call(port, "PUT", f"{APP}/endpoints/{made[0]['id']}/keys/target", {"value": "n3w"})

        async def turned() -> bool:
            await publish(port)
            return any(authorization(request) == "Bearer n3w" for request in bearer.requests)

        await until(turned, "the new version of the key")
        told = [str(made), str(found)]
        told += [str(await call(port, "GET", f"{APP}/attempts/{attempt['id']}")) for attempt in found]
        for endpoint in made:
            at = f"{APP}/endpoints/{endpoint['id']}"
            told += [str(await call(port, "GET", at)), str(await call(port, "GET", f"{at}/revisions"))]
            told.append(str(await call(port, "POST", f"{at}/test", {})))
        assert bearer.requests[-1].find(b"endpoint.test") > 0, "a test is authenticated, too"
        assert authorization(bearer.requests[-1]) == "Bearer n3w"
        assert made[2]["auth"] == {"kind": "api_key", "key": "target", "name": "k", "in": "query"}
        told += [str(await call(port, "GET", "/v1/audit")), caplog.text]
        for secret in (SECRET, "c2hvcDpz", "n3w"):
            assert secret not in "".join(told)


async def test_a_401_renews_the_token_once(server: bootstrap.Posthouse) -> None:
    port, tokens = server.port, TokenServer()
    good = {"t2"}

    async def picky(peer: Peer) -> None:
        while True:
            request = await peer.request()
            known = authorization(request).removeprefix("Bearer ") in good
            await peer.send(OK if known else says(401, b"who?"))

    async with target(picky) as served, target(tokens.script) as login:
        auth = {
            "kind": "oauth2",
            "token_url": f"http://127.0.0.1:{login.port}/token",
            "client_id": "posthouse",
            "key": "target",
            "scope": "hooks",
        }
        await add(port, served, auth=auth)
        event = await publish(port)
        found = await attempts(port, event, 2)
        told = [(attempt["attempt"], attempt["outcome"], attempt["reason"], attempt["status"]) for attempt in found]
        assert told == [(1, "failed", "http_status", 401), (1, "delivered", "confirmed", 200)], (
            "both requests are on record, and the second one cost no retry"
        )
        assert [authorization(request) for request in served.requests] == ["Bearer t1", "Bearer t2"]
        await attempts(port, await publish(port), 1)
        assert tokens.given == 2
        assert login.requests[0].endswith(b"\r\n\r\ngrant_type=client_credentials&scope=hooks")
        # A target that refuses every token gets no more of them: the retries go with the one that there is.
        good.clear()
        event = await publish(port)
        found = await attempts(port, event, 4)
        assert {(attempt["reason"], attempt["status"]) for attempt in found} == {("http_status", 401)}
        assert tokens.given <= 3


async def test_token_endpoints_that_fail(server: bootstrap.Posthouse) -> None:
    port, tokens = server.port, TokenServer()
    tokens.instead = says(401, b'{"error":"invalid_client","error_description":"%b"}' % SECRET.encode())
    async with target(answer_ok) as served, target(tokens.script) as login:
        auth = {
            "kind": "oauth2",
            "token_url": f"http://127.0.0.1:{login.port}/token",
            "client_id": "posthouse",
            "key": "target",
            "style": "body",
        }
        made = await add(port, served, auth=auth)
        event = await publish(port)
        first = (await attempts(port, event, 1))[0]
        assert (first["outcome"], first["reason"]) == ("failed", "oauth2_token_failed")
        one = await call(port, "GET", f"{APP}/attempts/{first['id']}")
        assert one["error"] == "the token endpoint answered 401: invalid_client"
        assert SECRET not in str(one)
        tested = await call(port, "POST", f"{APP}/endpoints/{made['id']}/test", {})
        assert (tested["outcome"], tested["reason"]) == ("failed", "oauth2_token_failed")
        assert served.requests == [], "without a token nothing is asked of the target"
        tokens.instead = None
        path = f"{APP}/events/{event}/attempts"
        await listed(port, path, lambda some: some[0]["outcome"] == "delivered", "its delivery")


async def test_connections_of_ones_own(server: bootstrap.Posthouse, proxy: HttpProxy) -> None:
    port = server.port
    authority, clients = trustme.CA(), trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    clients.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    leaf = clients.issue_cert("shop@example.com")
    tls = {
        "ca": authority.cert_pem.bytes().decode(),
        "client_certificate": leaf.cert_chain_pems[0].bytes().decode(),
        "client_key": "mtls",
        "minimum_version": "1.3",
    }
    keys = {"mtls": leaf.private_key_pem.bytes().decode()}
    async with target(answer_ok, context) as served:
        made = await add(port, served, tls=tls, keys=keys, proxy="eu", source_address="127.0.0.3")
        assert made["tls"] == tls
        assert (made["proxy"], made["source_address"]) == ("eu", "127.0.0.3")
        assert "PRIVATE KEY" not in str(made)
        (attempt,) = await attempts(port, await publish(port), 1)
        assert (attempt["outcome"], attempt["reason"]) == ("delivered", "confirmed")
        assert served.peers[0].certificate is not None
        assert proxy.asked[0].startswith(f"CONNECT 127.0.0.1:{served.port} ".encode())
        assert proxy.sources == ["127.0.0.3"]


REFUSED: Final[list[tuple[dict[str, Any], str]]] = [
    ({"auth": {"kind": "bearer", "key": "nobody"}}, "auth.key"),
    ({"auth": {"kind": "bearer"}}, "auth.bearer.key"),
    ({"auth": {"kind": "token", "key": "target"}}, "auth"),
    ({"auth": {"kind": "bearer", "key": "target"}, "headers": {"authorization": "x"}}, "headers.authorization"),
    ({"auth": {"kind": "bearer", "key": "target"}, "keys": {"target": "a\nb"}}, "auth.key"),
    ({"tls": {"minimum_version": "1.1"}}, "tls.minimum_version"),
    ({"tls": {"ca": "nonsense"}}, "tls.ca"),
    ({"tls": {"minimum_version": "1.3"}, "url": "http://127.0.0.1:1/"}, "tls"),
    ({"proxy": "us"}, "proxy"),
    ({"source_address": "127.0.0.9"}, "source_address"),
    (
        {"auth": {"kind": "oauth2", "token_url": "http://169.254.169.254/", "client_id": "x", "key": "target"}},
        "auth.token_url",
    ),
]


async def test_what_is_refused(server: bootstrap.Posthouse) -> None:
    port = server.port
    for body, path in REFUSED:
        whole = {"url": "https://127.0.0.1:1/", "keys": {"target": SECRET}} | body
        refused = await ask(port, "POST", f"{APP}/endpoints", whole)
        assert (refused.status, refused.body["path"]) == (422, path), refused.body
        assert SECRET not in str(refused.body)
    # Only an administrator chooses a proxy.
    key = (await call(port, "POST", "/v1/keys", {"scope": "app", "app": APP.rpartition("/")[2]}))["key"]
    at = f"{APP}/endpoints/mine"
    body = {"url": "http://127.0.0.1:1/"}
    refused = await ask(port, "PUT", at, body | {"proxy": "eu"}, key=key)
    assert (refused.status, refused.body["path"]) == (422, "proxy")
    assert (await ask(port, "PUT", at, body | {"proxy": "eu"})).status == 201
    assert (await ask(port, "PATCH", at, {"proxy": None}, key=key)).status == 422
    assert (await ask(port, "PUT", at, body, key=key)).status == 422
    assert (await ask(port, "PUT", at, body | {"proxy": "eu", "description": "ok"}, key=key)).status == 200
    assert (await ask(port, "PATCH", at, {"source_address": "127.0.0.3"}, key=key)).status == 200
