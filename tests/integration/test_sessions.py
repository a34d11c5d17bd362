"""Signing in to the console of a whole server: sessions, links, and what each of them may and may not do."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
from tests.fakes import until
from tests.integration.api_world import World, world_over
from tests.serving import KEY, Reply, ask, call, request, serving

from posthouse import bootstrap
from posthouse.manage import authenticator
from posthouse.manage.sessions import Sessions

CONSOLE: Final = {"X-Posthouse-Console": "1"}
MASTER_KEY: Final = base64.b64encode(secrets.token_bytes(32)).decode()


@pytest.fixture
async def server(database: str) -> AsyncIterator[bootstrap.Posthouse]:
    async with serving(database, master_key=MASTER_KEY) as running:
        yield running


async def sign_in(port: int, more: dict[str, str] | None = None, /, **body: str) -> Reply:
    return await ask(port, "POST", "/v1/session", body, key=None, headers=CONSOLE | (more or {}))


def kept(reply: Reply) -> dict[str, str]:
    """The headers of a browser that keeps what it was told, on the console's own page."""
    assert reply.status == 201, reply
    return CONSOLE | {"Cookie": reply.headers["set-cookie"].partition(";")[0]}


async def code_of_link(port: int, key: str = KEY) -> str:
    reply = await ask(port, "POST", "/v1/session/links", key=key)
    assert reply.status == 201, reply
    url: str = reply.body["url"]
    assert url.startswith("http://test/#/in?code="), "behind the #, which no server is sent"
    return url.partition("code=")[2]


async def test_somebody_signs_in_works_and_signs_out(server: bootstrap.Posthouse) -> None:
    port = server.port
    reply = await sign_in(port, key=KEY)
    assert reply.headers["cache-control"] == "no-store"
    name, *flags = reply.headers["set-cookie"].split("; ")
    assert name.startswith("posthouse-")
    assert flags == ["Path=/", "Max-Age=43200", "HttpOnly", "SameSite=Strict"]
    mine = kept(reply)
    (key,) = (await call(port, "GET", "/v1/keys"))["data"]
    assert reply.body["key"] == key["id"]
    assert reply.body["name"] == key["name"] == "first key"

    async def as_signed_in(method: str, path: str, body: object = None) -> Reply:
        return await ask(port, method, path, body, key=None, headers=mine)

    assert (await as_signed_in("GET", "/v1/session")).body == reply.body
    assert (await as_signed_in("POST", "/v1/event-types", {"name": "order.created"})).status == 201
    assert (await as_signed_in("POST", "/v1/apps", {"uid": "acme"})).status == 201
    for path in ("/v1/events", "/v1/apps/acme/events"):
        assert (await as_signed_in("POST", path, {"type": "order.created", "data": {}})).status == 202
    dry = await as_signed_in("POST", "/v1/events?dry_run=true", {"type": "order.created", "data": {}})
    assert dry.status == 200
    (changed,) = [e for e in (await call(port, "GET", "/v1/audit"))["data"] if e["action"] == "app.created"]
    assert changed["actor"] == {"id": key["id"], "name": "first key"}, "the audit names the key"

    gone = await as_signed_in("DELETE", "/v1/session")
    assert gone.status == 204
    assert gone.headers["set-cookie"].split("; ")[:3] == [f"{name.partition('=')[0]}=", "Path=/", "Max-Age=0"]
    for method, path in (("GET", "/v1/session"), ("GET", "/v1/apps"), ("DELETE", "/v1/session")):
        assert (await as_signed_in(method, path)).status == 401
    told = await call(port, "GET", "/v1/audit?action=session.")
    assert [(e["action"], e["detail"]) for e in told["data"]] == [
        ("session.ended", {}),
        ("session.created", {"by": "key"}),
    ]


async def test_the_cookie_alone_does_nothing(server: bootstrap.Posthouse) -> None:
    port = server.port
    mine = kept(await sign_in(port, key=KEY))
    await call(port, "POST", "/v1/event-types", {"name": "order.created"})
    event = {"type": "order.created", "data": {}}
    foreign = [
        {"Cookie": mine["Cookie"]},
        {"Cookie": mine["Cookie"], "X-Posthouse-Console": "yes"},
        mine | {"Sec-Fetch-Site": "cross-site"},
        mine | {"Sec-Fetch-Site": "same-site"},
        {"Authorization": mine["Cookie"].partition("=")[2]},
        {"Authorization": f"Bearer {mine['Cookie'].partition('=')[2]}"},
        mine | {"Authorization": "Bearer ph_nobody"},
    ]
    for headers in foreign:
        for method, path, body in (
            ("GET", "/v1/apps", None),
            ("POST", "/v1/apps", {"uid": "x"}),
            ("POST", "/v1/events", event),
            ("POST", "/v1/events?dry_run=true", event),
            ("GET", "/v1/stream", None),
            ("GET", "/v1/session", None),
            ("DELETE", "/v1/session", None),
        ):
            reply = await ask(port, method, path, body, key=None, headers=headers)
            assert reply.status == 401, (headers, method, path)
    assert "x" not in [app["uid"] for app in (await call(port, "GET", "/v1/apps"))["data"]]
    preflight = {
        "Origin": "https://evil.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-posthouse-console",
    }
    for path in ("/v1/session", "/v1/apps", "/"):
        reply = await ask(port, "OPTIONS", path, key=None, headers=preflight)
        assert reply.status >= 400
        assert not [name for name in reply.headers if name.startswith("access-control-")], "no origin is allowed any"


async def test_who_cannot_sign_in(server: bootstrap.Posthouse, caplog: pytest.LogCaptureFixture) -> None:
    port = server.port
    await call(port, "POST", "/v1/apps", {"uid": "acme"})
    of_an_app = (await call(port, "POST", "/v1/keys", {"scope": "app", "app": "acme"}))["key"]
    refused = await sign_in(port, key=of_an_app)
    assert (refused.status, refused.body["code"]) == (403, "not_for_apps")
    assert "belongs to one app" in refused.body["detail"]
    chinese = await sign_in(port, {"Accept-Language": "zh-CN"}, key=of_an_app)
    assert "此密钥属于某个应用" in chinese.body["detail"]
    for about in ({}, {"app": "acme"}):
        publisher = (await call(port, "POST", "/v1/keys", {"scope": "publish", **about}))["key"]
        refused = await sign_in(port, key=publisher)
        assert (refused.status, refused.body["code"], "set-cookie" in refused.headers) == (403, "forbidden", False)
        assert "may publish events" in refused.body["detail"]
    for name, value in (("key", "ph_nobody"), ("code", "x" * 43), ("code", ""), ("key", "")):
        reply = await sign_in(port, **{name: value})
        assert (reply.status, "set-cookie" in reply.headers) == (401, False), (name, value)
    bodies: list[object] = [{}, {"key": KEY, "code": "x"}, {"key": None}, {"key": 5}, {"token": KEY}, []]
    for given in bodies:
        reply = await ask(port, "POST", "/v1/session", given, key=None, headers=CONSOLE)
        assert reply.status == 422, given
        assert KEY not in str(reply), "what came in is not told"
    assert (await ask(port, "POST", "/v1/session", {"key": KEY}, key=None)).body["code"] == "not_the_console"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert (await ask(port, "POST", "/v1/session", b"key=x", key=None, headers=CONSOLE | form)).status == 415
    assert (await ask(port, "POST", "/v1/session", {"key": "x" * 5_000}, key=None, headers=CONSOLE)).status == 413
    metrics = (await ask(port, "GET", "/metrics", key=None)).body.decode()
    assert "posthouse_sign_in_failures_total 8.0" in metrics
    assert KEY not in caplog.text
    # A key is no session: there is nothing to tell, or to end.
    for method in ("GET", "DELETE"):
        reply = await ask(port, method, "/v1/session")
        assert (reply.status, reply.body["code"]) == (404, "session_not_found")


async def test_a_link_works_once_whoever_comes_at_the_same_moment(server: bootstrap.Posthouse, database: str) -> None:
    port = server.port
    async with serving(database, master_key=MASTER_KEY, role="api") as other:
        for _ in range(5):
            code = await code_of_link(port)
            replies = await asyncio.gather(*(sign_in(at, code=code) for at in (port, other.port) * 4))
            assert sorted(reply.status for reply in replies) == [201] + [401] * 7
            (won,) = [reply for reply in replies if reply.status == 201]
            assert (await ask(other.port, "GET", "/v1/session", key=None, headers=kept(won))).body == won.body
        assert (await sign_in(port, code=code)).status == 401


async def test_what_is_signed_in_does_not_outlast_itself(server: bootstrap.Posthouse) -> None:
    mine = kept(await sign_in(server.port, code=await code_of_link(server.port)))
    reply = await ask(server.port, "POST", "/v1/session/links", key=None, headers=mine)
    assert (reply.status, reply.body["code"]) == (403, "forbidden")


async def test_a_session_ends_with_its_key_everywhere(
    server: bootstrap.Posthouse, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authenticator, "KEY_CACHED_SECONDS", 0.5)
    port = server.port
    async with serving(database, master_key=MASTER_KEY, role="api") as other:
        made = await call(port, "POST", "/v1/keys", {"scope": "admin", "name": "second"})
        by_key = kept(await sign_in(other.port, key=made["key"]))
        by_link = kept(await sign_in(other.port, code=await code_of_link(other.port, made["key"])))
        unused = await code_of_link(port, made["key"])
        first = kept(await sign_in(port, key=KEY))
        for at in (port, other.port):
            for headers in (by_key, by_link, first):
                assert (await ask(at, "GET", "/v1/apps", key=None, headers=headers)).status == 200
        reader, writer = await asyncio.open_connection("127.0.0.1", other.port)
        writer.write(request("GET", "/v1/stream", key=None, headers=by_key))
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200 ")

        await call(port, "DELETE", f"/v1/keys/{made['id']}")
        for headers in (by_key, by_link):
            assert (await ask(port, "GET", "/v1/apps", key=None, headers=headers)).status == 401, "at once here"

            async def noticed(headers: dict[str, str] = headers) -> bool:
                return (await ask(other.port, "GET", "/v1/apps", key=None, headers=headers)).status == 401

            await until(noticed, "the other process to notice")
        assert (await sign_in(other.port, code=unused)).status == 401
        assert (await ask(port, "GET", "/v1/apps", key=None, headers=first)).status == 200
        async with asyncio.timeout(10):
            await reader.read()  # the live stream of who was signed in ends, too
        writer.close()


async def test_the_language_of_the_document_and_both_ways_to_ask(server: bootstrap.Posthouse) -> None:
    document = (await ask(server.port, "GET", "/openapi.json", key=None)).body
    schemes = document["components"]["securitySchemes"]
    assert {name: (one["type"], one.get("in")) for name, one in schemes.items()} == {
        "apiKey": ("http", None),
        "session": ("apiKey", "cookie"),
        "console": ("apiKey", "header"),
        "portal": ("apiKey", "header"),
    }
    both: list[dict[str, list[str]]] = [
        {"apiKey": []},
        {"session": [], "console": []},
        {"session": [], "portal": []},
    ]
    for method, path in (("get", "/v1/apps"), ("post", "/v1/events"), ("get", "/v1/session")):
        assert document["paths"][path][method]["security"] == both
    assert document["paths"]["/v1/session"]["post"]["security"] == [{"console": []}, {"portal": []}]


async def test_the_link_of_a_start_is_for_whoever_sees_the_terminal(server: bootstrap.Posthouse) -> None:
    link = await server.sign_in_link()
    assert link is not None
    assert link.startswith(f"http://127.0.0.1:{server.port}/#/in?code=")
    reply = await sign_in(server.port, code=link.partition("code=")[2])
    assert reply.body["name"] == "first key"
    told = await call(server.port, "GET", "/v1/audit?action=session.link_created")
    assert [entry["actor"]["id"] for entry in told["data"]] == ["system"]
    assert link.partition("code=")[2] not in json.dumps(await call(server.port, "GET", "/v1/audit"))


async def test_links_and_cookies_name_the_public_address(database: str) -> None:
    public = "https://example.com/hooks"
    async with serving(database, public_url=public) as server:
        reply = await ask(server.port, "POST", "/v1/session/links")
        assert reply.body["url"].startswith(f"{public}/#/in?code=")
        assert str(await server.sign_in_link()).startswith(f"{public}/#/in?code=")
        through = await sign_in(server.port, {"Origin": "https://example.com"}, key=KEY)
        name, *flags = through.headers["set-cookie"].split("; ")
        assert name.startswith("__Secure-posthouse-")
        assert {"Path=/hooks/", "Secure", "HttpOnly", "SameSite=Strict"} <= set(flags)
        assert (await ask(server.port, "GET", "/v1/session", key=None, headers=kept(through))).status == 200


async def test_a_host_that_is_none_makes_no_link(server: bootstrap.Posthouse) -> None:
    for host in ("", "evil.example/?x=", "a b", "[", "evil.example#", "user@evil.example"):
        reply = await ask(server.port, "POST", "/v1/session/links", headers={"Host": host})
        assert reply.status in (201, 400), host
        if reply.status == 201:
            assert reply.body["url"].startswith(f"http://127.0.0.1:{server.port}/#"), "none was given"


async def test_switched_off_there_is_no_console_and_nobody_signs_in(database: str) -> None:
    async with serving(database, master_key=MASTER_KEY) as server:
        mine = kept(await sign_in(server.port, key=KEY))
        code = await code_of_link(server.port)
    async with serving(database, master_key=MASTER_KEY, console=False, portal=False) as server:
        port = server.port
        assert await server.sign_in_link() is None
        assert (await ask(port, "GET", "/", key=None)).body["code"] == "route_not_found"
        assert (await ask(port, "GET", "/v1/apps", key=None, headers=mine)).status == 401
        assert (await sign_in(port, code=code)).status == 401
        assert (await ask(port, "POST", "/v1/events", {"type": "a", "data": 1}, key=None, headers=mine)).status == 401
        for method, path in (("GET", "/v1/session"), ("POST", "/v1/session"), ("POST", "/v1/session/links")):
            reply = await ask(port, method, path)
            assert (reply.status, reply.body["code"]) == (404, "route_not_found"), path
        assert (await ask(port, "GET", "/v1/apps")).status == 200


async def test_who_only_delivers_serves_no_console(database: str) -> None:
    async with serving(database, role="worker") as server:
        assert (await ask(server.port, "GET", "/", key=None)).status == 404
        assert await server.sign_in_link() is None


# What the store keeps


@pytest.fixture
async def world(database: str) -> AsyncIterator[World]:
    async with world_over(database) as made:
        yield made


def sessions_of(world: World, **more: Any) -> Sessions:
    return Sessions(world.directory, world.clock, world.services.authenticator, **more)


async def test_nothing_that_opens_anything_is_kept(world: World) -> None:
    key = str(world.admin.key)
    sessions = sessions_of(world)
    _, token = await sessions.sign_in(key, client="")
    code, _ = await sessions.create_link(await world.services.authenticator.authenticate(key))
    rows = str(await world.query("SELECT * FROM console_session")) + str(
        await world.query("SELECT * FROM console_link")
    )
    rows += str(await world.query("SELECT * FROM audit"))
    for secret in (token, code, key):
        assert secret not in rows


async def test_there_are_never_too_many_and_what_is_over_is_gone(world: World) -> None:
    key = str(world.admin.key)
    holder = await world.services.authenticator.authenticate(key)
    over = sessions_of(world, session_seconds=-1.0, link_seconds=-1.0)
    await over.create_link(holder)
    _, dead = await over.sign_in(key, client="")
    assert await world.query("SELECT count(*) FROM console_session") == [(0,)], "it was over as it began"
    few = sessions_of(world, sessions_max=3, links_max=2)
    tokens = [(await few.sign_in(key, client=""))[1] for _ in range(5)]
    codes = [(await few.create_link(holder))[0] for _ in range(4)]
    assert await world.query("SELECT count(*) FROM console_session") == [(3,)]
    assert await world.query("SELECT count(*) FROM console_link") == [(2,)]
    authenticate = world.services.authenticator.authenticate_session
    for token in (dead, *tokens[:2]):
        assert await refused(authenticate(token, "console"))
    for token in tokens[2:]:
        assert (await authenticate(token, "console")).key_id == holder.key_id
    for code in codes[:2]:
        assert await refused(few.sign_in_by_link(code, client=""))
    for code in codes[2:]:
        await few.sign_in_by_link(code, client="")
    assert await world.query("SELECT count(*) FROM console_link") == [(0,)], "they are used up"
    many = await asyncio.gather(*(few.sign_in(key, client="") for _ in range(10)))
    assert len(many) == 10
    assert await world.query("SELECT count(*) FROM console_session") == [(3,)]


async def refused(asking: Any) -> bool:
    try:
        await asking
    except Exception as error:
        return type(error).__name__ == "Unauthorised"
    return False
