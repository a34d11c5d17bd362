"""Callback handlers in Python: real servers with hooks of somebody's own, whose processes fail in every way they can."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import secrets
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from tests.commands import run_in, running
from tests.fakes import until
from tests.serving import KEY, ask, call, listed, serving
from tests.targets import Peer, RawTarget, target

from posthouse import bootstrap
from posthouse.domain import calling

APP = "/v1/apps/acme"
TYPES = ("order.created", "order.shipped", "other.thing")

# What all hooks of these tests begin with. They say what they were given in a file, a line of JSON each.
HEAD = """
import asyncio, json, os, sys, time
import posthouse

def say(**facts):
    with open("said.jsonl", "a") as file:
        file.write(json.dumps(facts) + "\\n")
"""


class Shop:
    """A folder with `hooks.py` in it, which a server is started in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, text: str) -> None:
        (self.folder / "hooks.py").write_text(HEAD + text)

    @property
    def said(self) -> list[dict[str, Any]]:
        """What the hooks have said so far."""
        try:
            return [json.loads(line) for line in (self.folder / "said.jsonl").read_text().splitlines()]
        except FileNotFoundError:
            return []

    async def until_said(self, count: int) -> list[dict[str, Any]]:
        await until(lambda: len(self.said) >= count, f"{count} calls of the hooks")
        return self.said


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.chdir(tmp_path)
    return Shop(tmp_path)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails is tried again soon, and three times in all."""
    monkeypatch.setattr(calling, "CALL_BACKOFF_SECONDS", (0.02, 0.02))


@asynccontextmanager
async def hooked(database: str, **settings: Any) -> AsyncIterator[bootstrap.Posthouse]:
    async with serving(database, callbacks="hooks", **settings) as server:
        yield server


async def prepare(port: int, *served: RawTarget) -> list[str]:
    """Event types and an app with an endpoint for each target; their ids."""
    for name in TYPES:
        await call(port, "POST", "/v1/event-types", {"name": name})
    await call(port, "POST", "/v1/apps", {"uid": "acme", "name": "Acme"})
    return [(await add(port, one, uid=f"target-{number}"))["id"] for number, one in enumerate(served)]


async def add(port: int, served: RawTarget, **more: Any) -> Any:
    body = {
        "url": f"http://127.0.0.1:{served.port}/",
        "events": ["order.created", "other.*"],
        "retry": {"schedule": [60], "jitter": 0},
    }
    return await call(port, "POST", f"{APP}/endpoints", body | more)


async def publish(port: int, data: Any = None, **more: Any) -> str:
    return str((await call(port, "POST", f"{APP}/events", {"type": "order.created", "data": data} | more))["id"])


async def events(port: int, event_type: str, count: int) -> list[Any]:
    path = f"{APP}/events?type={event_type}&limit=250"
    return await listed(port, path, lambda found: len(found) >= count, f"{count} events of type {event_type}")


async def operations(port: int, event_type: str) -> list[Any]:
    path = f"/v1/apps/operations/events?type={event_type}"
    found = await listed(port, path, bool, f"an operational event {event_type}")
    return [(await call(port, "GET", f"/v1/apps/operations/events/{each['id']}"))["data"] for each in found]


async def waiting(database: str) -> int:
    connection = await asyncpg.connect(database)
    try:
        count: int = await connection.fetchval("SELECT count(*) FROM effect WHERE kind = 'call'")
        return count
    finally:
        await connection.close()


def answering(status: int, content_type: str, body: bytes) -> Any:
    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            head = f"HTTP/1.1 {status} OK\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
            await peer.send(head.encode() + body)

    return script


JSON = answering(200, "application/json", b'{"code": 0, "state": "shipped"}')


async def test_handlers_are_given_answers_of_every_kind_and_what_they_ask_for_is_done(
    database: str, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTHOUSE_TEST_SECRET", "nobody's business")
    monkeypatch.setenv("SHOP_SETTING", "theirs")
    shop.write("""
@posthouse.on_callback("order.*")
def plain(callback):
    response = callback.response
    print("called for", callback.event.id)
    say(
        event=callback.event.data, subject=callback.event.subject, app=callback.app.uid, name=callback.app.name,
        endpoint=callback.endpoint.uid, status=response.status, type=response.headers["content-type"],
        text=response.text, json=response.json, xml=response.xml, attempt=callback.attempt, outcome=callback.outcome,
        reason=callback.reason, key=callback.idempotency_key, time=callback.event.time.isoformat(),
        environment=[name for name in os.environ if "POSTHOUSE" in name] + [os.environ["SHOP_SETTING"]],
        files=sorted(os.readlink(f"/proc/self/fd/{n}").partition(":")[0] for n in os.listdir("/proc/self/fd")
                     if os.path.exists(f"/proc/self/fd/{n}")),
    )
    if response.json is not None and response.json["state"] == "shipped":
        return posthouse.Emit("order.shipped", {"order": callback.event.data["id"]})

@posthouse.on_callback("order.created")
async def too(callback):
    await asyncio.sleep(0)
    if callback.endpoint.uid == "target-1":
        return [posthouse.SetMetadata({"seen": callback.attempt}), posthouse.Notify("look here")]
    if callback.endpoint.uid == "target-2":
        return (posthouse.Disable("too slow"),)
""")
    xml = "<xml><return_code><![CDATA[成功]]></return_code></xml>".encode("gbk")
    async with (
        target(JSON) as first,
        target(answering(200, "text/xml; charset=gbk", xml)) as second,
        target(answering(500, "text/plain", b"busy")) as third,
        hooked(database) as server,
    ):
        ids = await prepare(server.port, first, second, third)
        event = await publish(server.port, {"id": 7}, subject="shop:1")
        said = {each["endpoint"]: each for each in await shop.until_said(3)}
        json_, xml_, text = (said[f"target-{n}"] for n in range(3))
        assert (json_["event"], json_["subject"], json_["app"], json_["name"]) == ({"id": 7}, "shop:1", "acme", "Acme")
        assert (json_["status"], json_["json"], json_["xml"]) == (200, {"code": 0, "state": "shipped"}, None)
        assert (xml_["json"], xml_["xml"]) == (None, {"xml": {"return_code": "成功"}})
        assert (text["status"], text["text"], text["outcome"], text["reason"]) == (500, "busy", "failed", "http_status")
        assert json_["outcome"] == "delivered"
        assert len({each["key"] for each in said.values()}) == 3
        assert json_["environment"] == ["theirs"]
        allowed = {"/dev/null", "pipe", "socket", "anon_inode"}
        assert {f for f in json_["files"] if not f.startswith("/proc")} <= allowed

        (shipped,) = await events(server.port, "order.shipped", 1)
        shipped = await call(server.port, "GET", f"{APP}/events/{shipped['id']}")
        assert (shipped["data"], shipped["subject"]) == ({"order": 7}, "shop:1")
        (told,) = await operations(server.port, "callback.notified")
        assert (told["message"], told["event"], told["endpoint"]) == ("look here", event, ids[1])

        async def changed() -> bool:
            seen = (await call(server.port, "GET", f"{APP}/endpoints/target-1"))["metadata"]
            disabled = await call(server.port, "GET", f"{APP}/endpoints/target-2")
            return seen == {"seen": 1} and not disabled["enabled"] and disabled["disabled_reason"] == "too slow"

        await until(changed, "the metadata, and the endpoint to be disabled")
        await until(lambda: _none(database), "no call to wait")
        await publish(server.port, type="other.thing")
        metrics = (await ask(server.port, "GET", "/metrics")).body.decode()
        made = re.search(r"^posthouse_callback_calls_total (\d+)", metrics, re.M)
        assert made is not None
        assert int(made[1]) >= 3


async def _none(database: str) -> bool:
    return await waiting(database) == 0


@pytest.mark.usefixtures("quick")
async def test_handlers_that_raise_hang_or_die_are_called_again_and_then_set_aside(database: str, shop: Shop) -> None:
    shop.write("""
@posthouse.on_callback("order.*")
def bad(callback):
    how = callback.event.data["how"]
    say(how=how, key=callback.idempotency_key)
    if how == "raise":
        raise ValueError("no such order")
    if how == "hang":
        time.sleep(600)
    if how == "exit":
        os._exit(3)
    if how == "memory":
        try:
            x = bytearray(10**9)
        except MemoryError as error:
            raise RuntimeError("it was refused") from error
    if how == "action":
        return posthouse.Emit("no type")
    if how == "once" and not os.path.exists("once"):
        open("once", "w").close()
        raise KeyError("the first time")
    return posthouse.Emit("order.shipped", how)
""")
    ways = ["raise", "hang", "exit", "memory", "action"]
    limits = {"callback_seconds": 0.3, "callback_memory_bytes": 200 * 1024 * 1024}
    async with target(JSON) as served, hooked(database, **limits) as server:
        await prepare(server.port, served)
        for how in [*ways, "once", "well"]:
            await publish(server.port, {"how": how})
        shipped = await events(server.port, "order.shipped", 2)
        datas = [(await call(server.port, "GET", f"{APP}/events/{each['id']}"))["data"] for each in shipped]
        assert sorted(datas) == ["once", "well"]
        await until(lambda: _none(database), "all others to be set aside")
        said = shop.said
        assert {how: sum(each["how"] == how for each in said) for how in [*ways, "once", "well"]} == {
            **dict.fromkeys(ways, 3),
            "once": 2,
            "well": 1,
        }
        assert len({each["key"] for each in said}) == len(ways) + 2, "the same key each time"
        path = "/v1/apps/operations/events?type=callback.failed"
        found = await listed(server.port, path, lambda some: len(some) >= len(ways), "what was set aside")
        datas = [(await call(server.port, "GET", f"/v1/apps/operations/events/{each['id']}"))["data"] for each in found]
        reasons = sorted(data["reason"] for data in datas)
        assert {data["action"] for data in datas} == {"call"}
        for reason, part in zip(
            reasons,
            ["bad_action: hooks.bad: [0].type", "deadline: it was not done", "died: its process ended (ended with 3)"],
            strict=False,
        ):
            assert reason.startswith(part), reason
        raised = [reason for reason in reasons if reason.startswith("raised: ")]
        assert len(raised) == 2
        assert any("ValueError: no such order" in reason and "hooks.py" in reason for reason in raised)
        assert any("RuntimeError: it was refused" in reason for reason in raised)


async def test_a_slow_handler_keeps_back_nothing_else(database: str, shop: Shop) -> None:
    shop.write("""
@posthouse.on_callback("order.*")
def slow(callback):
    say(began=callback.event.data)
    while not os.path.exists("go"):
        time.sleep(0.02)
""")
    async with target(JSON) as served, target(answering(410, "text/plain", b"")) as gone, hooked(database) as server:
        await prepare(server.port, served)
        for number in range(5):
            await publish(server.port, number)
        await shop.until_said(2)
        await add(server.port, gone, uid="gone", events=["other.*"])
        await publish(server.port, type="other.thing")
        await operations(server.port, "endpoint.disabled")  # an effect, and what it publishes
        assert len(shop.said) == 2, "as many as there are processes, and all of them hang"
        assert await waiting(database) == 5
        (shop.folder / "go").touch()
        await shop.until_said(5)
        await until(lambda: _none(database), "all calls to be done")


async def test_a_stop_waits_for_handlers_and_what_is_left_is_done_by_the_next(database: str, shop: Shop) -> None:
    shop.write("""
@posthouse.on_callback("order.*")
def slow(callback):
    say(began=callback.event.data)
    if callback.event.data == "slow":
        while not os.path.exists("stopping"):
            time.sleep(0.02)
        time.sleep(0.2)
    return posthouse.Emit("order.shipped", callback.event.data)
""")
    kept: dict[str, Any] = {"master_key": base64.b64encode(secrets.token_bytes(32)).decode()}
    async with target(JSON) as served:
        async with hooked(database, shutdown_seconds=20, callback_processes=1, **kept) as server:
            await prepare(server.port, served)
            await publish(server.port, "slow")
            await shop.until_said(1)
            await publish(server.port, "left")
            await until(lambda: _are(database, 2), "a second call to wait")
            (shop.folder / "stopping").touch()
        assert [each["began"] for each in shop.said] == ["slow"], "nothing new is begun"
        assert await waiting(database) == 1
        async with hooked(database, **kept) as server:
            found = await events(server.port, "order.shipped", 2)
        assert len(found) == 2
        assert [each["began"] for each in shop.said] == ["slow", "left"]


async def _are(database: str, count: int) -> bool:
    return await waiting(database) == count


async def test_sent_again_because_a_handler_says_so(database: str, shop: Shop) -> None:
    shop.write("""
@posthouse.on_callback("order.*")
def again(callback):
    say(replay=callback.replay, attempt=callback.attempt)
    if not callback.replay:
        return posthouse.Resend(after=0.1)
""")
    async with target(JSON) as served, hooked(database) as server:
        (endpoint,) = await prepare(server.port, served)
        # A rule that asks for it as well is one call and not two.
        await call(server.port, "PATCH", f"{APP}/endpoints/{endpoint}", {"on_response": [{"then": "call"}]})
        event = await publish(server.port, 1)
        await shop.until_said(2)
        await until(lambda: _none(database), "no call to wait")
        assert [each["replay"] for each in shop.said] == [False, True]
        attempts = (await call(server.port, "GET", f"{APP}/events/{event}/attempts"))["data"]
        assert [(each["outcome"], each["class"]) for each in attempts] == [
            ("delivered", "replay"),
            ("delivered", "live"),
        ]


async def test_killed_between_an_answer_and_its_call_it_is_made_again_and_published_once(
    database: str, shop: Shop
) -> None:
    """The server dies while the handler runs, and once more after what it asked for was published."""
    shop.write("""
@posthouse.on_callback("order.*")
def slow(callback):
    print("hello from the hooks")
    say(key=callback.idempotency_key)
    if not os.path.exists("go"):
        time.sleep(600)
    return posthouse.Emit("order.shipped", 1)
""")
    given = {
        "POSTHOUSE_DATABASE_URL": database,
        "POSTHOUSE_ADMIN_KEY": KEY,
        "POSTHOUSE_MASTER_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
        "POSTHOUSE_CALLBACKS": "hooks",
        "POSTHOUSE_LOG_JSON": "true",
    }

    async def port_of(server: Any) -> int:
        return int((await asyncio.to_thread(server.until, r"listens on http://127.0.0.1:(\d+)"))[1])

    words = ("serve", "--port", "0", "--allow-network", "127.0.0.1/32")
    async with target(JSON) as served:
        with running(*words, **given) as server:
            port = await port_of(server)
            await prepare(port, served)
            await publish(port)
            await shop.until_said(1)
            await asyncio.to_thread(server.until, r'"line": "hello from the hooks"')
            handlers = _children(server.process.pid)
            os.kill(server.process.pid, signal.SIGKILL)
            await until(lambda: not any(map(_lives, handlers)), "the handlers' processes to end with their server")
        (shop.folder / "go").touch()
        with running(*words, **given) as server:
            port = await port_of(server)
            await shop.until_said(2)
            assert len(await events(port, "order.shipped", 1)) == 1
            os.kill(server.process.pid, signal.SIGKILL)
        with running(*words, **given) as server:
            port = await port_of(server)
            await until(lambda: _none(database), "nothing to wait")
            assert len(await events(port, "order.shipped", 1)) == 1
    assert len({each["key"] for each in shop.said}) == 1


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_each_worker_has_handlers_of_its_own(database: str, shop: Shop) -> None:
    shop.write("""
@posthouse.on_callback("order.*")
def whose(callback):
    say(parent=os.getppid(), data=callback.event.data)
""")
    given = {
        "POSTHOUSE_DATABASE_URL": database,
        "POSTHOUSE_ADMIN_KEY": KEY,
        "POSTHOUSE_MASTER_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
    }
    words = ("serve", "--port", "0", "--allow-network", "127.0.0.1/32", "--workers", "2", "--callbacks", "hooks")
    async with target(JSON) as served:
        with running(*words, **given) as server:
            port = int((await asyncio.to_thread(server.until, r"listens on http://127.0.0.1:(\d+)"))[1])
            await asyncio.to_thread(server.until, r"(?s)(worker\.ready.*){2}")
            await prepare(port, served)
            for number in range(8):  # each in another app, so that they are of many partitions
                app = f"/v1/apps/app-{number}"
                await call(port, "POST", "/v1/apps", {"uid": f"app-{number}"})
                await call(port, "POST", f"{app}/endpoints", {"url": f"http://127.0.0.1:{served.port}/"})
                await call(port, "POST", f"{app}/events", {"type": "order.created", "data": number})
            said = await shop.until_said(8)
            workers = set(_children(server.process.pid))
    assert sorted(each["data"] for each in said) == list(range(8))
    assert {each["parent"] for each in said} <= workers


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "hooks cannot be imported: .*No module named 'hooks'"),
        ("import posthouse\n", "hooks declares no handler: decorate a function with @posthouse.on_callback"),
        ("import nowhere_at_all\n", "hooks cannot be imported: (?s:.*)hooks.py(?s:.*)No module named 'nowhere_at_all'"),
        ("import os\nos._exit(1)\n", "a process that imports hooks does not start"),
        ("import posthouse\n@posthouse.on_callback('no type!')\ndef f(c): ...\n", "'no type!' is no event type"),
    ],
)
def test_hooks_that_cannot_be_used_end_the_start_with_words(tmp_path: Path, text: str | None, told: str) -> None:
    if text is not None:
        (tmp_path / "hooks.py").write_text(text)
    ran = run_in(tmp_path, "serve", "--port", "0", "--callbacks", "hooks", POSTHOUSE_DATA_DIR=str(tmp_path / "data"))
    assert ran.returncode == 1, ran.stderr
    assert re.search(f"posthouse: callbacks: {told}", ran.stderr) or re.search(told, ran.stderr), ran.stderr
    assert not (tmp_path / "data").exists(), "before anything else is begun"


def test_a_name_that_is_none_of_a_module_is_refused(tmp_path: Path) -> None:
    ran = run_in(tmp_path, "serve", "--callbacks", "hooks.py!", POSTHOUSE_DATA_DIR=str(tmp_path / "data"))
    assert ran.returncode == 2
    assert "--callbacks: 'hooks.py!' is no name of a Python module" in ran.stderr
