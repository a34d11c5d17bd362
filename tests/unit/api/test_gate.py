"""The gate: who asks comes first, then a bounded body, and a bug tells nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.asgi import Client
from tests.fakes import until

from posthouse.api.credentials import SessionCookie
from posthouse.api.gate import PRINCIPAL, WITHOUT_KEY, Gate
from posthouse.domain.access import Page, Principal, Scope, Session
from posthouse.domain.errors import NotFound, StoreUnavailable, Unauthorised
from posthouse.domain.ids import AppId

PATIENCE_SECONDS = 20
ADMIN = Principal(b"k" * 16, Scope.ADMIN)
TOKEN = "t" * 43
SIGNED_IN = Principal(b"k" * 16, Scope.ADMIN, session=Session(b"s" * 16, 2e9))
HOLDERS = {
    "good": ADMIN,
    "publisher": Principal(b"p" * 16, Scope.PUBLISH),
    "publisher of one": Principal(b"p" * 16, Scope.PUBLISH, AppId(b"a" * 16)),
}
COOKIE = SessionCookie(b"seed", "")
CONSOLE = {"x-posthouse-console": "1"}
JSON = {"content-type": "application/json"}


class Keys:
    async def authenticate(self, token: str) -> Principal:
        if token == "down":
            raise StoreUnavailable("connection to db.internal refused")
        if token not in HOLDERS:
            raise Unauthorised("not known")
        return HOLDERS[token]

    async def authenticate_session(self, token: str, page: Page) -> Principal:
        if token != TOKEN:
            raise Unauthorised("not known")
        return SIGNED_IN


class Behind:
    """What stands behind the gate: it reads the body and tells it."""

    def __init__(self) -> None:
        self.scopes: list[dict[str, Any]] = []
        self.error: Exception | None = None
        self.begins_first = False

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        body = (await receive())["body"] if scope["method"] == "POST" else b""
        if self.error is not None and not self.begins_first:
            raise self.error
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if self.error is not None:
            raise self.error
        await send({"type": "http.response.body", "body": body})


@pytest.fixture
def behind() -> Behind:
    return Behind()


@pytest.fixture
def client(behind: Behind) -> Client:
    return Client(Gate(behind, Keys(), body_bytes_max=100, body_seconds=0.05), key="good")


async def test_what_is_everybodys_needs_no_key_but_a_given_one_must_be_known(client: Client, behind: Behind) -> None:
    for path in WITHOUT_KEY:
        for asking in (client.with_key(None), client):
            assert (await asking.get(path)).status == 200
        assert [scope[PRINCIPAL] for scope in behind.scopes] == [None, ADMIN]
        assert (await client.with_key("bad").get(path)).code == "unauthorised"
        assert (await client.with_key(None).get(path + "/below")).code == "unauthorised"
        empty = await client.with_key(None).request("GET", path, headers={"authorization": ""})
        assert empty.code == "unauthorised"
    assert len(WITHOUT_KEY) == 1


async def test_who_may_only_publish_is_turned_away_whatever_is_asked_for(client: Client, behind: Behind) -> None:
    for path in ("/v1/x", "/v1/stream", *WITHOUT_KEY, "/v1/events", "/v1/session/links"):
        for key in ("publisher", "publisher of one"):
            # The body would never end: it must not be waited for.
            reply = await client.with_key(key).request("POST", path, body=b"{", headers=JSON, hang=True)
            assert (reply.status, reply.code) == (403, "forbidden")
            assert "may publish events" in reply.json()["detail"]
    assert behind.scopes == []
    assert (await client.with_key("publisher").get("/healthz")).status == 200


async def test_a_body_in_pieces_arrives_whole(client: Client, behind: Behind) -> None:
    reply = await client.request("POST", "/v1/x", body=[b'{"a":', b"1", b"}"], headers=JSON)
    assert (reply.status, reply.body) == (200, b'{"a":1}')
    assert behind.scopes[0][PRINCIPAL] == ADMIN


async def test_bodies_that_arrive_have_a_limit_together(behind: Behind) -> None:
    client = Client(Gate(behind, Keys(), body_seconds=PATIENCE_SECONDS, bodies_bytes_max=100), key="good")

    async def refused() -> bool:
        reply = await client.request("POST", "/v1/x", body=b'{"a":1}', headers=JSON)
        return (reply.status, reply.code if reply.status != 200 else "") == (503, "overloaded")

    assert not await refused()
    slow = [
        asyncio.create_task(client.request("POST", "/v1/x", body=b"{" + b" " * 47, headers=JSON, hang=True))
        for _ in range(2)
    ]
    await until(refused)
    for each in slow:
        each.cancel()
    await asyncio.gather(*slow, return_exceptions=True)
    assert not await refused(), "what they took is given back"


@pytest.mark.parametrize(
    "header", [None, "good", "Basic good", "Bearer", "Bearer ", "Bearer other", "bearer  wrong", "Bearer good good"]
)
async def test_without_a_key_nothing_is_read(client: Client, behind: Behind, header: str | None) -> None:
    headers = JSON if header is None else JSON | {"authorization": header}
    # The body would never end: it must not be waited for.
    reply = await client.with_key(None).request("POST", "/v1/x", body=b"{", headers=headers, hang=True)
    assert reply.code == "unauthorised"
    assert reply.headers["www-authenticate"] == "Bearer"
    assert behind.scopes == []


async def test_the_scheme_may_be_written_small(client: Client) -> None:
    reply = await client.with_key(None).request("GET", "/v1/x", headers={"authorization": "bearer good"})
    assert reply.status == 200


async def test_outside_of_v1_no_key_is_asked_for(client: Client) -> None:
    assert (await client.with_key(None).get("/healthz")).status == 200


async def test_a_database_that_is_down_is_not_a_wrong_key(client: Client) -> None:
    reply = await client.with_key("down").get("/v1/x")
    assert reply.code == "store_unavailable"
    assert b"db.internal" not in reply.body


async def test_too_much_is_refused_before_it_is_read(client: Client, behind: Behind) -> None:
    announced = await client.request("POST", "/v1/x", body=b"", headers=JSON | {"content-length": "101"}, hang=True)
    assert announced.code == "too_large"
    assert announced.headers["connection"] == "close"
    chunked = await client.request("POST", "/v1/x", body=[b"1" * 60, b"1" * 60], headers=JSON, hang=True)
    assert chunked.code == "too_large"
    assert behind.scopes == []


async def test_a_slow_upload_is_given_up(client: Client, behind: Behind) -> None:
    reply = await client.request("POST", "/v1/x", body=[b'{"a":'], headers=JSON, hang=True)
    assert (reply.status, reply.code) == (408, "body_timeout")
    assert behind.scopes == []


async def test_of_a_cut_off_upload_nothing_comes(client: Client, behind: Behind) -> None:
    reply = await client.request("POST", "/v1/x", body=[b'{"a":'], headers=JSON, cut_off=True)
    assert reply.status == 0
    assert behind.scopes == []


async def test_a_header_that_decides_comes_once(behind: Behind) -> None:
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/v1/x",
        "headers": [(b"authorization", b"Bearer good"), (b"authorization", b"Bearer other")],
    }
    answer: list[Any] = []

    async def send(message: dict[str, Any]) -> None:
        answer.append(message)

    async def receive() -> dict[str, Any]:
        raise AssertionError("nothing is read")

    await Gate(behind, Keys())(scope, receive, send)
    assert answer[0]["status"] == 400


async def test_a_bug_tells_nothing(client: Client, behind: Behind) -> None:
    behind.error = ValueError("the password is swordfish")
    reply = await client.get("/v1/x")
    assert (reply.status, reply.code) == (500, "internal_error")
    assert b"swordfish" not in reply.body


async def test_an_error_after_the_answer_began_does_not_begin_another(client: Client, behind: Behind) -> None:
    behind.error, behind.begins_first = NotFound("late"), True
    assert (await client.get("/v1/x")).status == 200


@pytest.fixture
def console(behind: Behind) -> Client:
    return Client(Gate(behind, Keys(), cookies={"console": COOKIE}, body_bytes_max=10_000, body_seconds=0.05))


async def test_somebody_who_signed_in_may_pass_and_what_they_are_told_is_kept_nowhere(
    console: Client, behind: Behind
) -> None:
    signed_in = CONSOLE | {"cookie": f"{COOKIE.name}={TOKEN}"}
    reply = await console.get("/v1/apps", headers=signed_in)
    assert (reply.status, behind.scopes[-1][PRINCIPAL]) == (200, SIGNED_IN)
    assert reply.headers == {"x-content-type-options": "nosniff", "cache-control": "no-store"}
    reply = await console.get("/v1/asyncapi.json", headers=signed_in)
    assert (reply.status, behind.scopes[-1][PRINCIPAL]) == (200, SIGNED_IN), "not as a stranger, who sees less"
    assert reply.headers["cache-control"] == "no-store"
    reply = await console.with_key("good").get("/v1/apps")
    assert "cache-control" not in reply.headers
    for headers in ({"cookie": signed_in["cookie"]}, CONSOLE, CONSOLE | {"cookie": f"{COOKIE.name}={'x' * 43}"}):
        assert (await console.get("/v1/apps", headers=headers)).status == 401, headers
    assert len(behind.scopes) == 3


async def test_signing_in_needs_no_key_but_the_consoles_own_header_and_little_room(
    console: Client, behind: Behind
) -> None:
    path = "/v1/session"
    assert (await console.post(path, {"key": "x"}, headers=CONSOLE)).status == 200
    assert behind.scopes[-1][PRINCIPAL] is None
    for headers in ({}, {"x-posthouse-console": "true"}, CONSOLE | {"sec-fetch-site": "cross-site"}):
        reply = await console.post(path, {"key": "x"}, headers=headers)
        assert (reply.status, reply.code) == (403, "not_the_console"), headers
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        reply = await console.post(path, body=b'{"key": "x"}', headers=CONSOLE | {"content-type": kind})
        assert reply.status == 415, "what a form of another site can send"
    assert (await console.post(path, {"key": "x" * 5_000}, headers=CONSOLE)).status == 413
    assert (await console.post("/v1/apps", {"name": "x" * 5_000}, headers=CONSOLE)).status == 401
    for method in ("GET", "DELETE", "PUT"):
        assert (await console.request(method, path, headers=CONSOLE)).status == 401, method
    assert (await console.post(path + "/links", headers=CONSOLE)).status == 401
    assert len(behind.scopes) == 1


async def test_without_a_console_nobody_signs_in(client: Client, behind: Behind) -> None:
    stranger = client.with_key(None)
    assert (await stranger.post("/v1/session", {"key": "x"}, headers=CONSOLE)).status == 401
    cookie = {"cookie": f"{COOKIE.name}={TOKEN}"}
    assert (await stranger.get("/v1/apps", headers=CONSOLE | cookie)).status == 401
    assert behind.scopes == []
