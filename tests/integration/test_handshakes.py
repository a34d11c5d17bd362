"""Handshakes with receivers that are right, wrong, slow, lying and hostile; and what waits for them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import asyncpg
import pytest
from tests.serving import PATIENCE_SECONDS, ask, call, listed, serving
from tests.targets import OK, Peer, target

from posthouse import bootstrap
from posthouse.adapters.postgres.database import Database
from posthouse.adapters.postgres.verifications import PostgresVerifications
from posthouse.domain.limits import HANDSHAKES_ASKED_MAX, HANDSHAKES_PER_APP_MAX
from posthouse.send import handshaking
from posthouse_sdk import Webhook

ENDPOINTS: Final = "/v1/apps/acme/endpoints"
ONE: Final = f"{ENDPOINTS}/main"
ECHO: Final = {
    "kind": "request",
    "format": {"kind": "json", "body": {"challenge": "{challenge}"}},
    "expect": {"status": [200], "json": {"/challenge": "{challenge}"}},
}
PUBLIC: Final = "https://hooks.example.com/posthouse"


def reply(body: object = b"", status: int = 200, **headers: str) -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} X\r\n{lines}Content-Length: {len(content)}\r\n\r\n".encode() + content


def right(asked: dict[str, Any]) -> bytes:
    return reply({"challenge": asked["challenge"]})


class Receiver:
    """A target: it answers handshakes as `answer` says (None: it closes), and confirms all else, whose data it keeps."""

    def __init__(self, answer: Callable[[dict[str, Any]], bytes | None] = right) -> None:
        self.answer = answer
        self.port = 0
        self.got: list[Any] = []
        self.asked: list[bytes] = []
        self.heads: list[bytes] = []
        self.hang = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks"

    async def script(self, peer: Peer) -> None:
        while True:
            request = await peer.request()
            head, _, body = request.partition(b"\r\n\r\n")
            told = json.loads(body) if body else {}
            if "data" in told and told["type"] == "order.created":
                self.got.append(told["data"])
                self.heads.append(head + b"\r\n")
                await peer.send(OK)
                continue
            self.asked.append(request)
            if self.hang:
                await peer.until_gone()
                return
            answer = self.answer(told if body else {"head": head.decode()})
            if answer is None:
                peer.close()
                return
            await peer.send(answer)


@asynccontextmanager
async def receiving(*receivers: Receiver) -> AsyncIterator[None]:
    if not receivers:
        yield
        return
    first, *others = receivers
    async with target(first.script) as served:
        first.port = served.port
        async with receiving(*others):
            yield


@pytest.fixture
async def server(database: str) -> AsyncIterator[bootstrap.Posthouse]:
    async with serving(database, public_url=PUBLIC, auto_create_event_types=True) as running:
        await call(running.port, "POST", "/v1/apps", {"uid": "acme"})
        yield running


async def add(port: int, url: str, *steps: dict[str, Any], **fields: Any) -> Any:
    handshake = {"steps": list(steps or [ECHO])} | fields.pop("handshake", {})
    return await call(port, "POST", ENDPOINTS, {"url": url, "uid": "main", "handshake": handshake} | fields)


async def publish(port: int, n: int) -> None:
    await call(port, "POST", "/v1/apps/acme/events", {"type": "order.created", "data": {"n": n}})


async def until(port: int, fits: Callable[[dict[str, Any]], bool], path: str = ONE) -> dict[str, Any]:
    """The verification of the endpoint once it fits."""
    found: dict[str, Any] = {}
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                found = (await call(port, "GET", path))["verification"]
                if fits(found):
                    return found
                await asyncio.sleep(0.02)
    except TimeoutError:
        pytest.fail(f"waited in vain; it is {found}")


def is_verified(verification: dict[str, Any]) -> bool:
    return bool(verification["state"] == "verified")


def was_tried(verification: dict[str, Any]) -> bool:
    return bool(verification["tries"] > 0)


async def all_got(receiver: Receiver, wanted: list[int]) -> None:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while sorted(data["n"] for data in receiver.got) != wanted:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    except TimeoutError:
        pytest.fail(f"waited in vain for {wanted}; there are {receiver.got}")


async def actions(port: int) -> list[str]:
    entries = (await call(port, "GET", "/v1/audit?limit=250"))["data"]
    return [entry["action"] for entry in reversed(entries)]


async def test_what_was_published_before_arrives_after_it(server: bootstrap.Posthouse) -> None:
    port, receiver = server.port, Receiver(lambda _: reply({"challenge": "no"}))
    async with receiving(receiver):
        made = await add(port, receiver.url)
        assert made["verification"]["state"] == "unverified"
        assert made["handshake"]["steps"][0]["expect"]["json"] == {"/challenge": "{challenge}"}
        refused = await until(port, was_tried)
        assert (refused["state"], refused["reason"], refused["tries"]) == ("unverified", "wrong_answer", 1)
        assert refused["next_at"] is not None
        for n in (1, 2):
            await publish(port, n)
        owed = await listed(port, "/v1/apps/acme/deliveries", lambda rows: len(rows) == 2, "what is owed")
        assert {(row["reason"], row["attempt"], row["eta_seconds"]) for row in owed} == {("unverified", 1, None)}
        assert receiver.got == []
        assert (await call(port, "GET", "/v1/apps/acme/attempts"))["data"] == [], "nothing is spent"
        dry = await call(port, "POST", "/v1/apps/acme/events?dry_run=true", {"type": "order.created", "data": {}})
        assert '"unverified"' in json.dumps(dry)
        shown = await call(port, "POST", f"{ONE}/preview", {})
        assert (shown["matches"], shown["match_reason"]) == (True, "unverified")
        receiver.answer = right
        told = await call(port, "POST", f"{ONE}/verify")
        assert (told["state"], told["reason"], told["next_at"], told["tries"]) == ("verified", None, None, 0)
        await all_got(receiver, [1, 2])
        await publish(port, 3)
        await all_got(receiver, [1, 2, 3])
        await listed(port, "/v1/apps/acme/deliveries", lambda rows: not rows, "nothing to be owed")
        head, _, body = receiver.asked[0].partition(b"\r\n\r\n")
        lines = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
        assert set(Webhook(made["secret"]).verify(body, lines)) == {"challenge"}
        seen = await actions(port)
        assert seen.index("endpoint.verification_asked") < seen.index("endpoint.verified")
        await listed(
            port,
            "/v1/apps/operations/events",
            lambda rows: [r["type"] for r in rows] == ["endpoint.verified"],
            "the news",
        )


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda asked: reply(b"<html>welcome " + asked["challenge"].encode()), "wrong_answer"),
        (lambda asked: reply({"challenge": "0" * 32}), "wrong_answer"),
        (lambda asked: reply({"challenge": asked["challenge"]}, 201), "wrong_status"),
        (lambda _: reply(status=302, Location="http://10.0.0.1/"), "wrong_status"),
        (lambda _: reply(status=500), "wrong_status"),
        (lambda _: reply(b'{"challenge":' * 4_000), "wrong_answer"),
        (lambda _: reply(b"[" * 60_000), "wrong_answer"),
        (
            lambda asked: reply(json.dumps({"challenge": asked["challenge"]}).encode() + b" " * 2_000_000),
            "wrong_answer",
        ),
        (lambda _: b"HTTP/1.1 what\r\n\r\n", "no_answer"),
        (lambda _: b"SSH-2.0-OpenSSH_9.2\r\n", "no_answer"),
        (lambda _: None, "no_answer"),
    ],
)
async def test_receivers_that_lie(
    server: bootstrap.Posthouse, answer: Callable[[dict[str, Any]], bytes | None], reason: str
) -> None:
    port, receiver = server.port, Receiver(answer)
    async with receiving(receiver):
        await add(port, receiver.url, timeouts={"total": 2})
        assert (await until(port, was_tried))["reason"] == reason
        assert receiver.got == []


async def test_the_reasons_tell_nothing_of_the_network(server: bootstrap.Posthouse, database: str) -> None:
    port, receiver = server.port, Receiver()
    receiver.hang = True
    async with receiving(receiver):
        free = Receiver()
        async with receiving(free):
            pass  # nobody listens there any more
        told = []
        for place, url in enumerate(
            [
                receiver.url,
                free.url,
                "http://10.0.0.1/",
                "http://169.254.169.254/latest/meta-data",
                "http://[::1]/",
                "http://nowhere.invalid/",
                f"https://127.0.0.1:{receiver.port}/",
            ]
        ):
            fields = {"url": receiver.url, "uid": f"e{place}", "timeouts": {"connect": 0.5, "total": 0.5}}
            await call(port, "POST", ENDPOINTS, fields)
            connection = await asyncpg.connect(database)
            try:  # as if its name came to be another address's later
                await connection.execute(
                    "UPDATE endpoint SET config = jsonb_set(config::jsonb, '{url}', to_jsonb($2::text))::json WHERE uid = $1",
                    f"e{place}",
                    url,
                )
            finally:
                await connection.close()
            await call(port, "PATCH", f"{ENDPOINTS}/e{place}", {"handshake": {"steps": [ECHO]}})
            answered = await call(port, "POST", f"{ENDPOINTS}/e{place}/verify")
            told.append({name: answered[name] for name in answered if name not in ("since", "next_at")})
        assert told[0]["reason"] == "no_answer"
        assert all(each == told[0] for each in told), told


async def test_another_url_holds_it_back_again(server: bootstrap.Posthouse) -> None:
    port, first, second = server.port, Receiver(), Receiver(lambda _: reply({"challenge": "no"}))
    async with receiving(first, second):
        await add(port, first.url)
        await until(port, is_verified)
        await publish(port, 1)
        await all_got(first, [1])
        changed = await call(port, "PATCH", ONE, {"url": second.url})
        assert changed["verification"]["state"] == "unverified"
        await until(port, was_tried)
        await publish(port, 2)
        await listed(port, "/v1/apps/acme/deliveries", lambda rows: len(rows) == 1, "what is owed")
        second.answer = right
        assert (await call(port, "POST", f"{ONE}/verify"))["state"] == "verified"
        await all_got(second, [2])
        assert [data["n"] for data in first.got] == [1]
        await call(port, "PATCH", ONE, {"fallback_urls": [first.url]})
        await until(port, is_verified)
        assert len(first.asked) == 2, "each of its URLs is asked"
        await call(port, "POST", f"{ONE}/secret/rotate", {})
        await publish(port, 3)
        await all_got(second, [2, 3])
        assert len(first.asked) == 2, "a rotation holds nothing back"
        removed = await call(port, "PATCH", ONE, {"handshake": None})
        assert (removed["handshake"], removed["verification"]) == (None, None)
        assert (await ask(port, "POST", f"{ONE}/verify")).body["code"] == "no_handshake"


async def test_it_lapses_and_goes_on_once_it_is_verified_again(server: bootstrap.Posthouse, database: str) -> None:
    port, receiver = server.port, Receiver()
    async with receiving(receiver):
        await add(port, receiver.url, handshake={"every": 60, "grace": 0})
        again = await until(port, is_verified)
        assert again["next_at"] is not None
        receiver.answer = lambda _: reply(status=404)
        connection = await asyncpg.connect(database)
        try:
            await connection.execute(
                "UPDATE endpoint_verification SET wake_at = clock_timestamp(), "
                "progress = progress || jsonb_build_object('verified_at', extract(epoch FROM clock_timestamp()) - 61)"
            )
        finally:
            await connection.close()
        lapsed = await until(port, lambda found: found["state"] == "failed")
        assert (lapsed["reason"], lapsed["next_at"]) == ("lapsed", None)
        await publish(port, 1)
        owed = await listed(port, "/v1/apps/acme/deliveries", lambda rows: len(rows) == 1, "what is owed")
        assert owed[0]["reason"] == "unverified"
        receiver.answer = right
        assert (await call(port, "POST", f"{ONE}/verify"))["state"] == "verified"
        await all_got(receiver, [1])
        assert "endpoint.verification_failed" in await actions(port)
        await listed(
            port,
            "/v1/apps/operations/events",
            lambda rows: (
                [row["type"] for row in reversed(rows)]
                == ["endpoint.verified", "endpoint.verification_failed", "endpoint.verified"]
            ),
            "the news",
        )


async def test_whoever_takes_it_and_dies_is_followed_by_another(database: str) -> None:
    receiver = Receiver()
    settings: dict[str, Any] = {"master_key": base64.b64encode(bytes(32)).decode()}
    async with receiving(receiver):
        async with serving(database, role="api", **settings) as front:
            await call(front.port, "POST", "/v1/apps", {"uid": "acme"})
            await add(front.port, receiver.url)
        dead = Database(database, size=1)
        await dead.open()
        try:
            (claim,) = (await PostgresVerifications(dead).claim(limit=1, lease_seconds=0.5)).taken
            async with serving(database, **settings) as server:
                await until(server.port, is_verified)
            assert len(receiver.asked) == 1
            assert await PostgresVerifications(dead).settle(claim, lambda old, _: (old, None)) is None
        finally:
            await dead.close()


async def test_a_long_one_is_answered_as_it_is_so_far_and_goes_on(
    server: bootstrap.Posthouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, receiver, other = server.port, Receiver(lambda _: reply({"challenge": "no"})), Receiver()
    async with receiving(receiver, other):
        await add(port, receiver.url, ECHO, ECHO, ECHO, fallback_urls=[other.url])
        await until(port, was_tried)
        receiver.asked.clear()
        receiver.answer = right
        # So that each claim makes one step.
        monkeypatch.setattr(handshaking, "HANDSHAKE_BEGIN_SECONDS_MAX", 0.0)
        told = await call(port, "POST", f"{ONE}/verify")
        assert (told["state"], told["tries"]) == ("unverified", 0)
        assert told["next_at"] is not None
        done = await until(port, is_verified)
        assert (done["tries"], done["reason"], done["next_at"]) == (0, None, None)
        assert (len(receiver.asked), len(other.asked)) == (3, 3), "each step once with each URL"
        seen = await actions(port)
        assert seen.count("endpoint.verified") == 1


async def test_somebody_follows_the_url(server: bootstrap.Posthouse) -> None:
    port, urls = server.port, []

    def keeps(asked: dict[str, Any]) -> bytes:
        urls.append(asked["url"])
        return reply()

    receiver = Receiver(keeps)
    step = {"kind": "confirm", "within": 600, "format": {"kind": "json", "body": {"url": "{confirm_url}"}}}
    async with receiving(receiver):
        await add(port, receiver.url, step)
        waiting = await until(port, lambda found: found["waits_until"] is not None)
        assert (waiting["state"], waiting["reason"]) == ("unverified", None)
        assert urls[0].startswith(f"{PUBLIC}/v1/confirm/")
        path = urlsplit(urls[0]).path.removeprefix("/posthouse")
        for wrong in ("/v1/confirm/" + "A" * 43, "/v1/confirm/x", path[:-1] + ("A" if path[-1] != "A" else "B")):
            refused = await ask(port, "GET", wrong, key=None)
            assert (refused.status, refused.body["code"]) == (404, "not_found")
        followed = await ask(port, "POST", path, b"<any>", key=None, headers={"Content-Type": "text/xml"})
        assert (followed.status, followed.body) == (200, {"confirmed": True})
        await until(port, is_verified)
        assert (await ask(port, "GET", path, key=None)).status == 404
        asked = await call(port, "POST", f"{ONE}/verify")
        assert (asked["state"], asked["waits_until"] is None) == ("verified", False)
        path = urlsplit(urls[1]).path.removeprefix("/posthouse")
        assert (await ask(port, "GET", path, key="no such key")).status == 200
        await until(port, lambda found: found["waits_until"] is None)


async def test_without_a_public_url_nobody_can_follow_one(database: str) -> None:
    async with serving(database) as server:
        port = server.port
        await call(port, "POST", "/v1/apps", {"uid": "acme"})
        for step in (
            {"kind": "confirm", "headers": {"X-Url": "{confirm_url}"}},
            {"kind": "options", "origin": "events.example.com", "callback": True},
        ):
            body = {"url": "http://127.0.0.1:9/", "handshake": {"steps": [ECHO, step]}}
            refused = await ask(port, "POST", ENDPOINTS, body)
            assert (refused.status, refused.body["path"]) == (422, "handshake.steps[1]")
            assert "POSTHOUSE_PUBLIC_URL" in refused.body["detail"]


async def test_consent_and_the_rate_that_it_allows(server: bootstrap.Posthouse) -> None:
    port = server.port
    allowed: dict[str, Any] = {"WebHook_Allowed_Origin": "events.example.com", "WebHook_Allowed_Rate": "120"}
    receiver = Receiver(lambda _: reply(status=405))
    async with receiving(receiver):
        await add(port, receiver.url, {"kind": "options", "origin": "events.example.com", "rate": 600})
        assert (await until(port, was_tried))["reason"] == "no_consent"
        receiver.answer = lambda _: reply(**allowed)
        told = await call(port, "POST", f"{ONE}/verify")
        assert (told["state"], told["allowed_per_second"]) == ("verified", 2.0)
        assert receiver.asked[-1].startswith(b"OPTIONS /hooks HTTP/1.1\r\n")
        assert b"WebHook-Request-Rate: 600\r\n" in receiver.asked[-1]
        await publish(port, 1)
        await all_got(receiver, [1])
        assert b"WebHook-Request-Origin: events.example.com\r\n" in receiver.heads[0]
        await call(port, "PATCH", ONE, {"format": {"kind": "json", "body": {"type": "{event.type}", "data": "{data}"}}})
        await publish(port, 2)
        await all_got(receiver, [1, 2])
        assert b"WebHook-Request-Origin: events.example.com\r\n" in receiver.heads[1]


async def test_consent_may_come_later(server: bootstrap.Posthouse) -> None:
    port, receiver = server.port, Receiver(lambda _: reply())
    async with receiving(receiver):
        await add(port, receiver.url, {"kind": "options", "origin": "events.example.com", "callback": True})
        await until(port, lambda found: found["waits_until"] is not None)
        (line,) = [
            one for one in receiver.asked[0].decode().split("\r\n") if one.startswith("WebHook-Request-Callback")
        ]
        path = urlsplit(line.partition(": ")[2]).path.removeprefix("/posthouse")
        assert (await ask(port, "GET", path, key=None, headers={"WebHook-Allowed-Rate": "60"})).status == 200
        assert (await until(port, is_verified))["allowed_per_second"] == 1.0


async def test_a_receiver_that_verifies_no_signature_is_found_out(server: bootstrap.Posthouse) -> None:
    port, secrets = server.port, []

    def careless(_: dict[str, Any]) -> bytes:
        return reply(status=204)

    receiver = Receiver(careless)
    async with receiving(receiver):
        made = await add(port, receiver.url, {"kind": "request"}, {"kind": "refusal"})
        secrets.append(made["secret"])
        assert (await until(port, was_tried))["reason"] == "bad_signature_accepted"
        assert len(receiver.asked) == 2

        def careful(asked: dict[str, Any]) -> bytes:
            head, _, body = receiver.asked[-1].partition(b"\r\n\r\n")
            lines = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
            try:
                Webhook(secrets[0]).verify(body, lines)
            except Exception:
                return reply(status=401)
            return reply(status=204)

        receiver.answer = careful
        assert (await call(port, "POST", f"{ONE}/verify"))["state"] == "verified"


async def test_zoom_s_way(server: bootstrap.Posthouse) -> None:
    port = server.port

    def zoom(asked: dict[str, Any]) -> bytes:
        plain = asked["payload"]["plainToken"]
        return reply(
            {
                "plainToken": plain,
                "encryptedToken": hmac.new(b"zoom secret", plain.encode(), hashlib.sha256).hexdigest(),
            }
        )

    receiver = Receiver(zoom)
    step = {
        "kind": "request",
        "type": "endpoint.url_validation",
        "key": "zoom",
        "format": {"kind": "json", "body": {"event": "{event.type}", "payload": {"plainToken": "{challenge}"}}},
        "expect": {"json": {"/plainToken": "{challenge}", "/encryptedToken": "{challenge.hmac-sha256}"}},
    }
    async with receiving(receiver):
        await add(port, receiver.url, step, keys={"zoom": "zoom secret"}, handshake={"every": 259_200})
        assert (await until(port, is_verified))["next_at"] is not None
        await call(port, "PUT", f"{ONE}/keys/zoom", {"value": "another one"})
        asked = await call(port, "POST", f"{ONE}/verify")
        assert (asked["state"], asked["reason"]) == ("verified", "wrong_answer"), "it is asked with the new key"
        refused = await ask(port, "DELETE", f"{ONE}/keys/zoom")
        assert (refused.status, refused.body["path"]) == (422, "handshake.steps[0].key")


async def test_whoever_asks_too_often_is_told_when(server: bootstrap.Posthouse) -> None:
    port, receiver = server.port, Receiver()
    async with receiving(receiver):
        await add(port, receiver.url)
        for _ in range(HANDSHAKES_ASKED_MAX):
            await call(port, "POST", f"{ONE}/verify")
        refused = await ask(port, "POST", f"{ONE}/verify")
        assert (refused.status, refused.body["code"]) == (429, "asked_too_often")
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert (await ask(port, "POST", f"{ENDPOINTS}/none/verify")).status == 404


async def test_an_app_whose_targets_are_slow_leaves_turns_to_others(server: bootstrap.Posthouse) -> None:
    port, slow, right_one = server.port, Receiver(), Receiver()
    slow.hang = True
    async with receiving(slow, right_one):
        await call(port, "POST", "/v1/apps", {"uid": "other"})
        fields = {"url": right_one.url, "uid": "main", "handshake": {"steps": [ECHO]}}
        await call(port, "POST", "/v1/apps/other/endpoints", fields)
        for number in range(HANDSHAKES_PER_APP_MAX + 1):
            await add(port, slow.url, uid=f"e{number}", timeouts={"total": 10})
        asking = [
            asyncio.create_task(ask(port, "POST", f"{ENDPOINTS}/e{number}/verify"))
            for number in range(HANDSHAKES_PER_APP_MAX + 1)
        ]
        (first,), _ = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
        refused = first.result()
        assert (refused.status, refused.body["code"]) == (429, "asked_too_often")
        told = await call(port, "POST", "/v1/apps/other/endpoints/main/verify")
        assert told["state"] == "verified"
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"steps": []}, "handshake.steps"),
    ({"steps": [ECHO] * 6}, "handshake.steps"),
    ({"steps": [ECHO], "every": 59}, "handshake.every"),
    ({"steps": [ECHO], "grace": -1}, "handshake.grace"),
    ({"steps": [ECHO | {"type": "a b"}]}, "handshake.steps[0].type"),
    ({"steps": [ECHO, {"kind": "options", "origin": "a b"}]}, "handshake.steps[1].origin"),
    ({"steps": [{"kind": "options", "origin": "a.example", "rate": 0}]}, "handshake.steps[0].rate"),
    (
        {"steps": [{"kind": "confirm", "within": 1, "headers": {"X-A": "{confirm_url}"}}]},
        "handshake.steps[0].within",
    ),
    ({"steps": [ECHO | {"key": "nobody"}]}, "handshake.steps[0].key"),
    ({"steps": [ECHO | {"kind": "other"}]}, "handshake.steps[0].kind"),
    ({"steps": [ECHO | {"more": 1}]}, "handshake.steps[0].more"),
    (
        {"steps": [{"kind": "request", "key": "long", "expect": {"json": {"/a": ["{key}" * 200] * 100}}}]},
        "handshake.steps[0].expect.json./a[0]",
    ),
    ({"steps": [{"kind": "request", "data": [0] * 3_000}]}, "handshake.steps[0].data[1999]"),
]


async def test_what_is_wrong_with_it_is_told(server: bootstrap.Posthouse) -> None:
    for handshake, path in WRONG:
        body = {"url": "http://127.0.0.1:9/", "keys": {"long": "k" * 4_000}, "handshake": handshake}
        refused = await ask(server.port, "POST", ENDPOINTS, body)
        assert (refused.status, refused.body.get("path")) == (422, path), refused.body
