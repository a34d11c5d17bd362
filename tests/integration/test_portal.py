"""The portal of an app, on a whole server: who gets in, what a session of it may do, and when it ends."""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
from tests.fakes import until
from tests.integration.api_world import World, world_over
from tests.serving import KEY, Reply, ask, call, request, serving

from posthouse import bootstrap
from posthouse.domain.errors import Unauthorised
from posthouse.manage.portal import Portal

CONSOLE: Final = {"X-Posthouse-Console": "1"}
PORTAL: Final = {"X-Posthouse-Portal": "1"}
MASTER_KEY: Final = base64.b64encode(secrets.token_bytes(32)).decode()
URL: Final = "https://example.com/hooks"


@pytest.fixture
async def server(database: str) -> AsyncIterator[bootstrap.Posthouse]:
    async with serving(database, master_key=MASTER_KEY, platform_name="Acme") as running:
        for uid in ("shop", "rival"):
            await call(running.port, "POST", "/v1/apps", {"uid": uid, "name": uid.title()})
            await call(running.port, "POST", f"/v1/apps/{uid}/endpoints", {"url": URL, "uid": "main"})
        yield running


async def code_of_link(port: int, app: str = "shop", *, key: str = KEY, body: dict[str, Any] | None = None) -> str:
    reply = await ask(port, "POST", f"/v1/apps/{app}/portal-links", body, key=key)
    assert reply.status == 201, reply
    assert reply.headers["cache-control"] == "no-store"
    url: str = reply.body["url"]
    assert url.startswith("http://test/portal#/in?code="), "behind the #, which no server is sent"
    return url.partition("code=")[2]


async def sign_in(port: int, page: dict[str, str] = PORTAL, /, **body: str) -> Reply:
    return await ask(port, "POST", "/v1/session", body, key=None, headers=page)


def kept(reply: Reply, page: dict[str, str] = PORTAL) -> dict[str, str]:
    """The headers of a browser that keeps what it was told, on one of our pages."""
    assert reply.status == 201, reply
    return page | {"Cookie": reply.headers["set-cookie"].partition(";")[0]}


async def test_somebody_looks_after_the_endpoints_of_an_app(server: bootstrap.Posthouse) -> None:
    port = server.port
    reply = await sign_in(port, code=await code_of_link(port))
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["set-cookie"].split("; ")[1:] == ["Path=/", "Max-Age=43200", "HttpOnly", "SameSite=Strict"]
    mine = kept(reply)
    (shop,) = [app for app in (await call(port, "GET", "/v1/apps"))["data"] if app["uid"] == "shop"]
    assert reply.body["app"] == {"id": shop["id"], "uid": "shop", "name": "Shop"}
    assert reply.body["platform"] == "Acme"

    async def as_signed_in(method: str, path: str, body: object = None) -> Reply:
        return await ask(port, method, path, body, key=None, headers=mine)

    assert (await as_signed_in("GET", "/v1/session")).body == reply.body
    made = await as_signed_in("POST", "/v1/apps/shop/endpoints", {"url": URL})
    assert made.status == 201
    told = (await call(port, "GET", "/v1/audit?action=endpoint.created"))["data"][0]
    assert told["object"] == made.body["id"]
    assert (told["actor"]["name"], told["detail"]["through"]) == ("first key", "portal"), "and by which way"

    others: list[tuple[str, str, object]] = [
        ("GET", "/v1/apps/rival", None),
        ("GET", "/v1/apps/rival/endpoints", None),
        ("GET", "/v1/apps/rival/endpoints/main/secret", None),
        ("POST", "/v1/apps/rival/portal-links", {}),
        ("POST", "/v1/apps/rival/events", {"type": "order.created", "data": {}}),
    ]
    for method, path, body in others:
        assert (await as_signed_in(method, path, body)).status == 404, "another app does not exist"
    operators: list[tuple[str, str, object]] = [
        ("GET", "/v1/apps", None),
        ("GET", "/v1/keys", None),
        ("POST", "/v1/keys", {"scope": "app", "app": "shop"}),
        ("GET", "/v1/audit", None),
        ("GET", "/v1/system", None),
        ("GET", "/v1/triggers", None),
        ("PATCH", "/v1/apps/shop", {"name": "mine"}),
        ("POST", "/v1/session/links", None),
        ("POST", "/v1/apps/shop/portal-links", {}),
        ("POST", "/v1/events", {"type": "order.created", "data": {}}),
        ("POST", "/v1/apps/shop/events", {"type": "order.created", "data": {}}),
    ]
    for method, path, body in operators:
        assert (await as_signed_in(method, path, body)).status == 403, path

    gone = await as_signed_in("DELETE", "/v1/session")
    assert gone.status == 204
    assert gone.headers["set-cookie"].split("; ")[2] == "Max-Age=0"
    assert (await as_signed_in("GET", "/v1/session")).status == 401
    ended = await call(port, "GET", "/v1/audit?action=session.")
    assert [(e["action"], e["detail"]) for e in ended["data"]] == [
        ("session.ended", {"through": "portal"}),
        ("session.created", {"by": "link", "through": "portal"}),
    ]


async def test_a_link_works_once_on_its_own_page_and_not_for_long(server: bootstrap.Posthouse) -> None:
    port = server.port
    code = await code_of_link(port)
    assert (await sign_in(port, CONSOLE, code=code)).status == 401, "no way into the console, and not used up by trying"
    both = await asyncio.gather(*(sign_in(port, code=code) for _ in range(5)))
    assert sorted(reply.status for reply in both) == [201, 401, 401, 401, 401]
    console = (await call(port, "POST", "/v1/session/links"))["url"].partition("code=")[2]
    assert (await sign_in(port, code=console)).status == 401
    assert (await sign_in(port, CONSOLE, code=console)).status == 201
    for refused in ({"key": KEY}, {"key": KEY, "code": code}, {}):
        assert (await sign_in(port, **refused)).status == 422
    for nonsense in ("", "x", "x" * 43, code + "x"):
        assert (await sign_in(port, code=nonsense)).status == 401
    neither = await ask(port, "POST", "/v1/session", {"code": code}, key=None)
    assert (neither.status, neither.body["code"]) == (403, "not_the_console")
    for body, status in (({"seconds": 9}, 422), ({"seconds": 604801}, 422), ({"seconds": 604800}, 201)):
        assert (await ask(port, "POST", "/v1/apps/shop/portal-links", body)).status == status
    for app, status in (("nobody", 404), ("_operations", 404)):
        assert (await ask(port, "POST", f"/v1/apps/{app}/portal-links")).status in (status, 403)


async def test_a_cookie_counts_on_its_own_page_alone(server: bootstrap.Posthouse) -> None:
    port = server.port
    operator = kept(await sign_in(port, CONSOLE, key=KEY), CONSOLE)
    third_party = kept(await sign_in(port, code=await code_of_link(port)))
    name, _, token = operator["Cookie"].partition("=")
    their_name, _, their_token = third_party["Cookie"].partition("=")
    assert name != their_name
    cookie = {"Cookie": f"{operator['Cookie']}; {third_party['Cookie']}"}
    assert (await ask(port, "GET", "/v1/session", key=None, headers=CONSOLE | cookie)).body["app"] is None
    assert (await ask(port, "GET", "/v1/session", key=None, headers=PORTAL | cookie)).body["app"]["uid"] == "shop"
    for headers in (
        CONSOLE | PORTAL | cookie,
        cookie,
        PORTAL | {"Cookie": f"{their_name}={token}"},
        CONSOLE | {"Cookie": f"{name}={their_token}"},
        CONSOLE | {"Cookie": third_party["Cookie"]},
        third_party | {"Sec-Fetch-Site": "cross-site"},
        {"Authorization": f"Bearer {their_token}"},
    ):
        assert (await ask(port, "GET", "/v1/apps/shop", key=None, headers=headers)).status == 401, headers


async def test_it_ends_with_its_key_and_with_its_app(server: bootstrap.Posthouse, database: str) -> None:
    port = server.port
    made = await call(port, "POST", "/v1/keys", {"scope": "admin", "name": "developer page"})
    own = await call(port, "POST", "/v1/keys", {"scope": "app", "app": "shop"})
    async with serving(database, master_key=MASTER_KEY) as other:
        by_page = kept(await sign_in(other.port, code=await code_of_link(port, key=made["key"])))
        by_app = kept(await sign_in(other.port, code=await code_of_link(port, key=own["key"])))
        rivals = kept(await sign_in(other.port, code=await code_of_link(port, "rival")))
        unused = await code_of_link(port, key=made["key"])
        for headers, app in ((by_page, "shop"), (by_app, "shop"), (rivals, "rival")):
            assert (await ask(other.port, "GET", f"/v1/apps/{app}", key=None, headers=headers)).status == 200
        reader, writer = await asyncio.open_connection("127.0.0.1", other.port)
        writer.write(request("GET", "/v1/stream", key=None, headers=by_page))
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200 ")
        await call(port, "DELETE", f"/v1/keys/{made['id']}")

        async def over(headers: dict[str, str], app: str) -> bool:
            return (await ask(other.port, "GET", f"/v1/apps/{app}", key=None, headers=headers)).status == 401

        await until(lambda: over(by_page, "shop"), "the other process to notice that the key was revoked")
        assert (await sign_in(other.port, code=unused)).status == 401
        async with asyncio.timeout(10):
            await reader.read()  # the live stream ends, too
        writer.close()
        assert (await ask(other.port, "GET", "/v1/apps/shop", key=None, headers=by_app)).status == 200
        late = await code_of_link(port, "rival")
        await call(port, "DELETE", "/v1/apps/rival")
        await until(lambda: over(rivals, "rival"), "the other process to notice that the app was deleted")
        assert (await sign_in(other.port, code=late)).status == 401


async def test_sessions_and_links_of_an_app_are_few_and_go_when_they_are_over(database: str) -> None:
    async with world_over(database) as world:
        portal, now = few(world)
        holder = await world.services.authenticator.authenticate(str(world.admin.key))
        for uid in ("a", "b"):
            await world.app(uid)
        codes = [(await portal.create_link(holder, "a", seconds=60))[0] for _ in range(4)]
        (theirs, _) = await portal.create_link(holder, "b", seconds=60)
        assert await world.query("SELECT count(*) FROM portal_link") == [(3,)], "two of one app, and the other's one"
        for code in codes[:2]:
            assert await refused(portal, code)
        for code in (*codes[2:], theirs):
            await portal.sign_in(code, client="")
        for _ in range(3):
            await portal.sign_in((await portal.create_link(holder, "a", seconds=60))[0], client="")
        assert await world.query("SELECT count(*) FROM portal_session") == [(4,)]
        (old, _) = await portal.create_link(holder, "a", seconds=60)
        now.ahead = 61
        assert await refused(portal, old)
        await portal.create_link(holder, "b", seconds=60)
        assert await world.query("SELECT count(*) FROM portal_link") == [(1,)], "what is over is gone, whosever it was"


class Later:
    """The world's clock, as far ahead as a test says."""

    def __init__(self, world: World) -> None:
        self._clock = world.clock
        self.ahead = 0.0

    def now(self) -> float:
        return self._clock.now() + self.ahead

    def boot(self) -> float:
        return self._clock.boot()

    def new_id(self) -> bytes:
        return self._clock.new_id()


def few(world: World) -> tuple[Portal, Later]:
    later: Any = Later(world)
    return Portal(world.directory, later, world.services.authenticator, sessions_max=3, links_max=2), later


async def refused(portal: Portal, code: str) -> bool:
    try:
        await portal.sign_in(code, client="")
    except Unauthorised:
        return True
    return False


async def test_switched_off_there_is_no_portal(database: str) -> None:
    async with serving(database, master_key=MASTER_KEY) as server:
        await call(server.port, "POST", "/v1/apps", {"uid": "shop"})
        mine = kept(await sign_in(server.port, code=await code_of_link(server.port)))
    async with serving(database, master_key=MASTER_KEY, portal=False) as server:
        port = server.port
        assert (await ask(port, "GET", "/portal", key=None)).body["code"] == "route_not_found"
        assert (await ask(port, "GET", "/v1/apps/shop", key=None, headers=mine)).status == 401
        assert (await ask(port, "POST", "/v1/apps/shop/portal-links")).body["code"] == "route_not_found"
        assert (await sign_in(port, code="x" * 43)).status == 404
        assert (await sign_in(port, CONSOLE, key=KEY)).status == 201
    async with serving(database, master_key=MASTER_KEY, console=False) as server:
        port = server.port
        assert (await ask(port, "GET", "/", key=None)).body["code"] == "route_not_found"
        assert (await ask(port, "GET", "/v1/apps/shop", key=None, headers=mine)).status == 200, "each by itself"
        assert (await sign_in(port, CONSOLE, key=KEY)).status == 404
        assert (await ask(port, "POST", "/v1/session/links")).body["code"] == "route_not_found"
