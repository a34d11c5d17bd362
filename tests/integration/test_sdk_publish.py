"""The SDK publishes to a whole server: what it promises holds when the server refuses, dies and comes back."""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.answering import Answer, Asked, answering
from tests.serving import KEY, call, serving

from posthouse import bootstrap
from posthouse_sdk import (
    AsyncPosthouse,
    Event,
    Failure,
    ForbiddenError,
    Handle,
    InvalidEventError,
    NotFoundError,
    Posthouse,
    UnauthorisedError,
)

PATIENCE_SECONDS = 60
MASTER_KEY = base64.b64encode(secrets.token_bytes(32)).decode()


@pytest.fixture
async def server(database: str) -> AsyncIterator[bootstrap.Posthouse]:
    async with serving(database) as running:
        schema = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
        await call(running.port, "POST", "/v1/event-types", {"name": "order.created", "schema": schema})
        await call(running.port, "POST", "/v1/event-types", {"name": "file.stored"})
        await call(running.port, "POST", "/v1/apps", {"uid": "acme"})
        yield running


def url(server: bootstrap.Posthouse) -> str:
    return f"http://127.0.0.1:{server.port}"


async def stored(port: int, path: str = "/v1/apps/acme/events") -> list[Any]:
    """Every event, oldest first."""
    found: list[Any] = []
    cursor = ""
    while True:
        page = await call(port, "GET", f"{path}?limit=200{cursor}")
        found += page["data"]
        if page["next"] is None:
            return found[::-1]
        cursor = f"&cursor={page['next']}"


async def test_what_is_published_is_there(server: bootstrap.Posthouse) -> None:
    async with AsyncPosthouse(url(server), KEY) as hub:
        receipt = await hub.publish("order.created", {"n": 1}, app="acme", subject="shop:42", key="k", channels=["c"])
        await hub.publish("file.stored", b"<x/>", content_type="application/xml", app="acme", subject="shop:1")
        await hub.publish_many([Event("order.created", {"n": n}, app="acme") for n in (2, 3)])
        for n in (4, 5):
            hub.on_event("order.created", {"n": n}, app="acme")
        platform = await hub.publish("order.created", {"n": 6}, subject="shop:42")
    assert platform.apps == 0, "no app is granted it"
    events = await stored(server.port)
    assert events[0]["id"] == receipt.id
    first = await call(server.port, "GET", f"/v1/apps/acme/events/{receipt.id}")
    assert (first["data"], first["subject"], first["key"], first["channels"]) == ({"n": 1}, "shop:42", "k", ["c"])
    assert [event["type"] for event in events] == ["order.created", "file.stored"] + ["order.created"] * 4


async def test_an_idempotency_key_makes_it_one_event(server: bootstrap.Posthouse) -> None:
    """Alone, in batches, and in whatever company."""

    def publish() -> None:
        with Posthouse(url(server), KEY) as hub:
            first = hub.publish("order.created", {"n": 1}, app="acme", idempotency_key="k")
            assert hub.publish("order.created", {"n": 1}, app="acme", idempotency_key="k").id == first.id
            handles = [hub.on_event("order.created", {"n": 1}, app="acme", idempotency_key="k") for _ in range(5)]
            other = hub.on_event("order.created", {"n": 2}, app="acme")
            assert {handle.result(PATIENCE_SECONDS).id for handle in handles} == {first.id}
            assert other.result(PATIENCE_SECONDS).id != first.id
            with pytest.raises(InvalidEventError) as refused:
                hub.publish("order.created", {"n": 9}, app="acme", idempotency_key="k")
            assert refused.value.code == "idempotency_key_reused"

    await asyncio.to_thread(publish)
    assert len(await stored(server.port)) == 2


async def test_refusals_of_a_real_server(server: bootstrap.Posthouse) -> None:
    key = (await call(server.port, "POST", "/v1/keys", {"scope": "app", "app": "acme"}))["key"]

    def publish() -> None:
        with Posthouse(url(server), KEY) as hub:
            with pytest.raises(
                InvalidEventError, match=r"^data\.n: .*\(422 schema_mismatch\).*event-types get"
            ) as wrong:
                hub.publish("order.created", {"n": "x"})
            assert (wrong.value.code, wrong.value.path) == ("schema_mismatch", "data.n")
            with pytest.raises(InvalidEventError, match=r"^\[1\]\.data\.n: "):
                hub.publish_many([Event("order.created", {"n": 1}), Event("order.created", {"n": "x"})])
            with pytest.raises(NotFoundError, match="catalogue push MODULE"):
                hub.publish("order.paid", {})
            with pytest.raises(NotFoundError, match="posthouse apps list"):
                hub.publish("order.created", {"n": 1}, app="nobody")
            with pytest.raises(InvalidEventError, match=r"413 too_large"):
                hub.publish("file.stored", "x" * 2_000_000)
        with pytest.raises(UnauthorisedError, match="POSTHOUSE_API_KEY"):
            Posthouse(url(server), "ph_wrong").publish("order.created", {"n": 1})
        with pytest.raises(ForbiddenError, match="scope publish"):
            Posthouse(url(server), key).publish("order.created", {"n": 1}, app="acme")

    await asyncio.to_thread(publish)
    assert await stored(server.port) == []


async def test_a_key_that_may_only_publish_is_all_the_sdk_needs(server: bootstrap.Posthouse) -> None:
    whole, bound = [
        (await call(server.port, "POST", "/v1/keys", {"scope": "publish", **about}))["key"]
        for about in ({}, {"app": "acme"})
    ]

    def publish() -> None:
        for key in (whole, bound):
            with Posthouse(url(server), key) as hub:
                hub.publish("order.created", {"n": 1}, app="acme")
                hub.publish_many([Event("order.created", {"n": n}, app="acme") for n in range(3)])
                assert hub.on_event("order.created", {"n": 1}, app="acme").result(10).id
                hub.publish("file.stored", b"%PDF-", app="acme", content_type="application/pdf")
        with Posthouse(url(server), whole) as hub:
            hub.publish("order.created", {"n": 1})
        with Posthouse(url(server), bound) as hub:
            with pytest.raises(ForbiddenError, match="of its app, and nothing else"):
                hub.publish("order.created", {"n": 1})
            with pytest.raises(NotFoundError, match="posthouse apps list"):
                hub.publish("order.created", {"n": 1}, app="other")

    await call(server.port, "POST", "/v1/apps", {"uid": "other"})
    await asyncio.to_thread(publish)
    assert len(await stored(server.port)) == 12


async def test_what_is_refused_in_a_batch_takes_nothing_else_with_it(server: bootstrap.Posthouse) -> None:
    async with AsyncPosthouse(url(server), KEY) as hub:
        kinds = [("order.created", {"n": n}) if n % 7 else ("order.created", {"n": "x"}) for n in range(60)]
        kinds[13] = ("order.paid", {"n": 13})
        handles = [hub.on_event(name, data, app="acme") for name, data in kinds]
        assert await hub.flush()
        failed = [n for n, handle in enumerate(handles) if handle.exception() is not None]
        assert failed == sorted({13, *range(0, 60, 7)})
    data = [
        (await call(server.port, "GET", f"/v1/apps/acme/events/{event['id']}"))["data"]["n"]
        for event in await stored(server.port)
    ]
    assert data == [n for n in range(60) if n not in failed], "in order"


async def test_a_connection_lost_in_mid_answer_publishes_one_event(server: bootstrap.Posthouse) -> None:
    """The server took it, and the answer was lost on the way: the next try has the same key."""
    lost = threading.Event()

    def through(asked: Asked) -> Any:
        """To the real server; the first answer does not come back."""
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            head = "".join(f"{name}: {value}\r\n" for name, value in asked.headers.items())
            connection.sendall(f"POST {asked.path} HTTP/1.1\r\n{head}connection: close\r\n\r\n".encode() + asked.body)
            answer = b""
            while data := connection.recv(65536):
                answer += data
        assert answer.startswith(b"HTTP/1.1 202")
        if not lost.is_set():
            lost.set()
            return "drop"
        return Answer(202, answer.partition(b"\r\n\r\n")[2])

    def publish() -> None:
        with answering(through) as between, Posthouse(between.url, KEY) as hub:
            receipt = hub.publish("order.created", {"n": 1}, app="acme")
            lost.clear()
            handle = hub.on_event("order.created", {"n": 2}, app="acme")
            assert handle.result(PATIENCE_SECONDS).id != receipt.id
            assert len(between.asked) == 4

    await asyncio.to_thread(publish)
    assert len(await stored(server.port)) == 2


async def test_a_process_that_exits_at_once_publishes_all(server: bootstrap.Posthouse) -> None:
    program = (
        "from posthouse_sdk import Posthouse\non_event = Posthouse().on_event\n"
        "for n in range(300): on_event('order.created', {'n': n}, app='acme')\n"
    )
    environment = os.environ | {"POSTHOUSE_URL": url(server), "POSTHOUSE_API_KEY": KEY}
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", program, env=environment)
    assert await child.wait() == 0
    assert len(await stored(server.port)) == 300


# kill -9


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def process(module: str, dsn: str, port: int, **more: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("POSTHOUSE_")} | {
        "POSTHOUSE_DATABASE_URL": dsn, "POSTHOUSE_PORT": str(port), "POSTHOUSE_ADMIN_KEY": KEY,
        "POSTHOUSE_MASTER_KEY": MASTER_KEY, "POSTHOUSE_DRAIN_SECONDS": "0",
    }  # fmt: skip
    words = ["serve"] if module == "posthouse.cli.main" else []
    with subprocess.Popen(
        [sys.executable, "-m", module, *words],
        env=environment | more,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def test_a_server_that_is_killed_and_comes_back_has_each_event_once(database: str) -> None:
    """It dies after it stored a batch and before it answered, with more waiting; who publishes notices nothing."""
    port = free_port()
    told: list[Failure] = []
    with Posthouse(
        f"http://127.0.0.1:{port}", KEY, batch_events=20, on_failed=told.append, timeout=PATIENCE_SECONDS
    ) as hub:
        with process(
            "tests.chaos.server", database, port, CHAOS_POINT="after_append:3", POSTHOUSE_AUTO_CREATE_EVENT_TYPES="1"
        ) as dying:
            ready = hub.publish("order.created", {"n": -1})  # it waits for the server to be there
            handles: list[Handle] = []
            while dying.poll() is None:
                handles.append(hub.on_event("order.created", {"n": len(handles)}))
                time.sleep(0.0005)  # a pace, so that batches form
            handles += [hub.on_event("order.created", {"n": len(handles) + n}) for n in range(50)]
        with process("posthouse.cli.main", database, port, POSTHOUSE_AUTO_CREATE_EVENT_TYPES="1"):
            ids = [handle.result(PATIENCE_SECONDS).id for handle in handles]
            events = asyncio.run(stored(port, "/v1/events"))
    assert told == []
    assert len(events) == len(handles) + 1
    assert {event["id"] for event in events} == {ready.id, *ids}
