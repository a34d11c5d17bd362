"""Targets that hang, drip, flood, lie and hide, at a whole server: each ends in a recorded attempt with the right reason, and a
good target beside them gets everything, signed so that the reference library accepts it."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from standardwebhooks import Webhook
from tests.serving import call, listed, serving
from tests.targets import OK, Peer, RawTarget, target

from posthouse import bootstrap
from posthouse.adapters.http.guard import GuardPolicy
from posthouse.adapters.http.resolver import Lookup, LookupFailed
from posthouse.adapters.http.transport import HttpTransport
from posthouse.ports.transport import Transport

TIMEOUTS = {"connect": 1, "first_byte": 0.4, "total": 1}
APP = "/v1/apps/acme"


class Rebinding:
    """A name that is at an allowed address first, and at another one of this machine ever after."""

    def __init__(self) -> None:
        self.asked = 0

    async def lookup(self, name: str) -> Lookup | LookupFailed:
        self.asked += 1
        return Lookup(("127.0.0.1" if self.asked == 1 else "127.0.0.2",), ttl_seconds=0)

    async def close(self) -> None:
        return


class Server(bootstrap.Posthouse):
    """A server that may deliver to 127.0.0.1 and to nothing else of this machine."""

    def wrap_transport(self, transport: Transport) -> Transport:
        policy = GuardPolicy(allowed_networks=(ipaddress.ip_network("127.0.0.1/32"),))
        own = HttpTransport(policy, resolver=Rebinding())
        self.closing(own.close)
        return own


async def hang(peer: Peer) -> None:
    await peer.request()


async def drip(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while True:
        await peer.send(b".")
        await asyncio.sleep(0.05)


async def endless_headers(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await peer.send(b"x-more: " + b"y" * 500 + b"\r\n")


async def endless_body(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        await peer.send(b"1000\r\n" + b"z" * 4096 + b"\r\n")


async def early_close(peer: Peer) -> None:
    await peer.request()
    peer.close()


async def garbage(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"\x00\xffnot HTTP\r\n\r\n")


async def redirect(peer: Peer) -> None:
    while True:
        await peer.request()
        await peer.send(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")


async def good(peer: Peer) -> None:
    while True:
        await peer.request()
        await peer.send(OK)


HOSTILE: dict[str, tuple[Callable[[Peer], Awaitable[None]], str, int | None]] = {
    "hang": (hang, "first_byte_timeout", None),
    "drip": (drip, "total_timeout", 200),
    "endless-headers": (endless_headers, "headers_too_large", 200),
    "endless-body": (endless_body, "http_status", 500),
    "early-close": (early_close, "closed_early", None),
    "garbage": (garbage, "malformed_response", None),
    "redirect": (redirect, "redirect", 302),
}


async def attempts(port: int, enough: Callable[[list[Any]], bool], what: str) -> list[Any]:
    """The attempts on record, once they are enough."""
    return await listed(port, f"{APP}/attempts?limit=250", enough, what)


async def add_endpoint(port: int, name: str, url: str, **more: object) -> Any:
    return await call(port, "POST", f"{APP}/endpoints", {"uid": name, "url": url, "timeouts": TIMEOUTS, **more})


async def test_each_hostile_target_ends_in_an_attempt_with_its_reason(database: str) -> None:
    async with serving(database, kind=Server) as server:
        port = server.port
        await call(port, "POST", "/v1/event-types", {"name": "order.created"})
        await call(port, "POST", "/v1/apps", {"uid": "acme"})
        names: dict[str, str] = {}
        async with target(good) as fine, _all_hostile() as served:
            made = await add_endpoint(port, "good", f"http://127.0.0.1:{fine.port}/hook")
            for name, at in served.items():
                names[
                    (await add_endpoint(port, name, f"http://127.0.0.1:{at.port}/", retry={"schedule": [3600]}))["id"]
                ] = name
            for number in range(3):
                event = {"type": "order.created", "data": {"number": number, "text": "Größe 大 😀"}}
                await call(port, "POST", f"{APP}/events", event)
            found = await attempts(port, lambda some: len(some) >= 3 * (len(HOSTILE) + 1), "every attempt")
            for name, (_, reason, status) in HOSTILE.items():
                mine = [a for a in found if names.get(a["endpoint"]) == name]
                assert {(a["reason"], a["status"], a["outcome"]) for a in mine} == {(reason, status, "failed")}, name
            ours = [a for a in found if a["endpoint"] == made["id"]]
            assert {a["outcome"] for a in ours} == {"delivered"}
            assert len(fine.requests) == 3
            for request in fine.requests:
                _verify(made["secret"], request)


async def test_a_name_that_changes_its_mind_is_refused_at_the_next_attempt(database: str) -> None:
    async with serving(database, kind=Server) as server, target(early_close) as served:
        port = server.port
        await call(port, "POST", "/v1/event-types", {"name": "order.created"})
        await call(port, "POST", "/v1/apps", {"uid": "acme"})
        url = f"http://rebind.test:{served.port}/"
        await add_endpoint(port, "rebinding", url, retry={"schedule": [1.5, 3600], "jitter": 0})
        await call(port, "POST", f"{APP}/events", {"type": "order.created", "data": 1})
        found = await attempts(port, lambda some: len(some) >= 2, "two attempts")
        second, first = found
        assert (first["reason"], first["address"]) == ("closed_early", "127.0.0.1")
        assert second["reason"] == "address_refused"
        assert "127.0.0.2" in second["error"]
        assert len(served.peers) == 1, "the second attempt never connected"


@asynccontextmanager
async def _all_hostile() -> AsyncIterator[dict[str, RawTarget]]:
    async with AsyncExitStack() as stack:
        yield {name: await stack.enter_async_context(target(script)) for name, (script, _, _) in HOSTILE.items()}


def _verify(secret: str, request: bytes) -> None:
    head, _, body = request.partition(b"\r\n\r\n")
    lines = [line.partition(": ") for line in head.decode().split("\r\n")[1:]]
    headers = {name.lower(): value for name, _, value in lines}
    stamp = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
    assert Webhook(secret).verify(body, headers)["type"] == "order.created"
    assert abs((datetime.now(UTC) - stamp).total_seconds()) < 60
