"""A platform with something to see: a server, and targets that do well, fail, dawdle, and answer with hostile texts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

from tests.postgres import PostgresServer
from tests.serving import call, listed, serving
from tests.targets import OK, Peer, RawTarget, Script, target

from posthouse import bootstrap

HOSTILE: Final = "<img src=x onerror=heard('ran','')><script>heard('ran','')</script>'\"`${heard('ran','')}"
"""What would run if it were taken for markup, or for a part of a script; `Visit.trouble` would have it."""

ORDER_SCHEMA: Final = {
    "type": "object",
    "title": "Order",
    "properties": {
        "order_id": {"type": "string", "description": "Of the shop"},
        "total": {"type": "integer", "minimum": 0},
        "paid": {"type": "boolean"},
        "channel": {"enum": ["web", "app"]},
        "items": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"sku": {"type": "string"}, "count": {"type": "integer", "minimum": 1}},
                "required": ["sku"],
            },
        },
    },
    "required": ["order_id", "total"],
}
ORDER: Final = {
    "order_id": "A-1001",
    "total": 4200,
    "paid": True,
    "channel": "web",
    "items": [{"sku": "tea", "count": 2}],
}

OFTEN: Final = {"schedule": [600] * 5}
"""A failed attempt is followed by one that nobody here waits for: what failed stays owed."""
NEVER: Final = {"exponential": {"base": 1, "factor": 2, "max": 2, "attempts": 1}}
"""A failed attempt is the last one."""


def answering(status: int, body: str = "", *headers: str) -> Script:
    """A target that always answers so."""
    content = body.encode()
    lines = [f"HTTP/1.1 {status} Told", f"Content-Length: {len(content)}", *headers]
    answer = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + content

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(answer)

    return script


def dawdling(seconds: float) -> Script:
    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await asyncio.sleep(seconds)
            await peer.send(OK)

    return script


class Station:
    """The server, and where its targets are."""

    def __init__(self, server: bootstrap.Posthouse, dsn: str) -> None:
        self.server = server
        self.dsn = dsn
        self.port = server.port
        self.origin = f"http://127.0.0.1:{server.port}"
        self.targets: dict[str, RawTarget] = {}
        self._stack = AsyncExitStack()

    async def get(self, path: str) -> Any:
        return await call(self.port, "GET", f"/v1{path}")

    async def post(self, path: str, body: object = None) -> Any:
        return await call(self.port, "POST", f"/v1{path}", body)

    async def link(self) -> str:
        """The link that signs in, once."""
        made: str = (await self.post("/session/links"))["url"]
        return f"{self.origin}/#{made.partition('#')[2]}"  # for a browser, which knows no host by the name of `ask`'s

    async def portal_link(self, app: str) -> str:
        """The link that signs in to the portal of an app, once."""
        made: str = (await self.post(f"/apps/{app}/portal-links"))["url"]
        return f"{self.origin}/portal#{made.partition('#')[2]}"

    async def target(self, name: str, script: Script) -> str:
        """The URL of a target."""
        self.targets[name] = served = await self._stack.enter_async_context(target(script))
        return f"http://127.0.0.1:{served.port}/{name}"

    async def endpoint(self, app: str, uid: str, script: Script, **fields: Any) -> Any:
        url = await self.target(uid, script)
        return await self.post(f"/apps/{app}/endpoints", {"uid": uid, "url": url, "retry": OFTEN, **fields})

    async def publish(self, count: int = 1, *, app: str = "acme", **fields: Any) -> list[str]:
        """Publish events in batches; their ids."""
        event = {"type": "order.created", "data": ORDER, **fields}
        ids: list[str] = []
        for start in range(0, count, 1000):
            some = min(1000, count - start)
            told = await self.post(f"/apps/{app}/events/batch", [event] * some)
            ids += [one["id"] for one in told["data"]]
        return ids

    async def attempted(self, app: str, endpoint: str, count: int = 1, *, outcome: str = "") -> list[Any]:
        """The attempts at an endpoint, once so many have been made."""
        path = f"/v1/apps/{app}/attempts?endpoint={endpoint}&limit=250&outcome={outcome}".removesuffix("&outcome=")
        return await listed(
            self.port, path, lambda found: len(found) >= count, f"{count} attempts at {endpoint} of {app}"
        )

    async def close(self) -> None:
        await self._stack.aclose()


@asynccontextmanager
async def bare(postgres: PostgresServer, **settings: Any) -> AsyncIterator[Station]:
    """Over a database of its own: nothing is there yet."""
    dsn = await postgres.fresh_database()
    try:
        async with serving(dsn, **settings) as server:
            station = Station(server, dsn)
            try:
                yield station
            finally:
                await station.close()
    finally:
        await postgres.drop_database(dsn)


async def furnish(station: Station) -> None:
    """Something for each screen to show."""
    await station.post(
        "/event-types",
        {"name": "order.created", "description": "Somebody has ordered", "schema": ORDER_SCHEMA, "examples": [ORDER]},
    )
    await station.post("/event-types", {"name": "user.registered"})
    for uid, title in (("acme", "Acme"), ("globex", "Globex 环球"), ("idle", "Idle")):
        await station.post("/apps", {"uid": uid, "name": title})
    await station.endpoint("acme", "healthy", answering(200, "thank you"), description="Does well")
    await station.endpoint(
        "acme", "broken", answering(500, '{"error": "the till is closed"}', "Content-Type: application/json")
    )
    await station.endpoint("acme", "hopeless", answering(404, "nobody here"), retry=NEVER, events=["user.registered"])
    await station.endpoint("globex", "slow", dawdling(0.3))
    await station.endpoint("globex", "paused", answering(200), paused=True)
    await station.post("/apps/acme/grants", {"types": ["order.*"], "subjects": ["*"]})
    await station.post("/keys", {"name": "second key", "scope": "admin"})
    await station.post(
        "/triggers", {"uid": "till", "kind": "inbound", "type": "order.created", "settings": {"verify": False}}
    )
    await station.publish(12, subject="shop:42", key="A-1001")
    await station.publish(3, type="user.registered", data={"name": "John Doe"})
    await station.publish(4, app="globex")
    await station.attempted("acme", "healthy", 15)
    await station.attempted("acme", "broken")
    await station.attempted("acme", "hopeless")
    await station.attempted("globex", "slow", 4)


async def furnish_hostile(station: Station) -> None:
    """Whatever a stranger may name, publish, answer or be called, is hostile."""
    await station.post(
        "/event-types",
        {
            "name": "hostile.type",
            "description": HOSTILE,
            "schema": {
                "type": "object",
                "title": HOSTILE,
                "properties": {HOSTILE: {"type": "string", "description": HOSTILE, "default": HOSTILE}},
            },
            "examples": [{HOSTILE: HOSTILE}],
        },
    )
    await station.post("/apps", {"uid": "hostile", "name": HOSTILE, "metadata": {HOSTILE: HOSTILE}})
    header = json.dumps(HOSTILE)[1:-1]
    await station.endpoint(
        "hostile",
        "answers",
        answering(500, f"<html>{HOSTILE}</html>", "Content-Type: text/html", f"X-Hostile: {header}"),
        description=HOSTILE,
        metadata={HOSTILE: HOSTILE},
        headers={"X-Ours": "<b>bold</b>"},
    )
    await station.post("/keys", {"name": HOSTILE[:100], "scope": "admin"})
    data = {HOSTILE: HOSTILE, "deep": [HOSTILE, {"n": HOSTILE}]}
    await station.publish(2, app="hostile", type="hostile.type", data=data, subject=HOSTILE, key=HOSTILE)
    await station.attempted("hostile", "answers")
