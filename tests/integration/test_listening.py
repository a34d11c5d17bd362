"""From the request that an application answers to the target's receipt: a real server, a real application, a real target."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest
from tests.serving import KEY, ask, call, serving

from posthouse import bootstrap
from posthouse_sdk.testing import SECRET, Target

PATIENCE_SECONDS = 60

# An application as its user writes it; served by uvicorn, or by the standard library's WSGI server.
ASGI = """
import os
from fastapi import FastAPI
from posthouse_sdk.listening import AsgiListener, Listener
from rules import CONFIGURATION

app = FastAPI()
app.add_middleware(AsgiListener, listener=Listener.from_mapping(CONFIGURATION))

@app.post("/shops/{shop}/orders", status_code=201)
async def create(shop: int, order: dict):
    return {"id": order["n"], "shop": shop}

@app.post("/die")
async def die():
    os.kill(os.getpid(), 9)
"""
WSGI = """
import os
import flask
from posthouse_sdk.listening import Listener, WsgiListener
from rules import CONFIGURATION

app = flask.Flask("shop")
app.wsgi_app = WsgiListener(app.wsgi_app, Listener.from_mapping(CONFIGURATION))

@app.post("/shops/<int:shop>/orders")
def create(shop):
    return {"id": flask.request.get_json()["n"], "shop": shop}, 201

@app.post("/die")
def die():
    os.kill(os.getpid(), 9)

if __name__ == "__main__":
    import sys
    app.run(port=int(sys.argv[1]), threaded=True)
"""
RULES = """
import os

CONFIGURATION = {
    "spool": {"path": os.environ["SPOOL"], "lease_seconds": 1.0},
    "rules": [
        {
            "method": "POST", "path": "/shops/{shop:int}/orders", "status": 201, "event": "order_create",
            "subject": "shop:{shop}", "key": "order:{answer.id}", "when": {"request.test": {"exists": False}},
            "data": {"order": "{answer.id}", "shop": "{answer.shop}"},
        },
    ],
}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class Shop:
    """The application, in a process of its own (or several of uvicorn's)."""

    def __init__(self, folder: Path, kind: str, server: str, *, workers: int = 1) -> None:
        for name, text in (("asgi_shop", ASGI), ("wsgi_shop", WSGI), ("rules", RULES)):
            (folder / f"{name}.py").write_text(text)
        self.port = free_port()
        words = {
            "asgi": ["-m", "uvicorn", "asgi_shop:app", "--port", str(self.port), "--workers", str(workers)],
            "wsgi": ["wsgi_shop.py", str(self.port)],
        }[kind]
        environment = os.environ | {
            "SPOOL": str(folder / "shop.spool"),
            "POSTHOUSE_URL": server,
            "POSTHOUSE_API_KEY": KEY,
        }
        self.log = folder / "log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *words], cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def post(self, path: str, body: object, **headers: str) -> tuple[int, Any] | None:
        """One request: status and answer; None where nobody answers."""
        named = {"Content-Type": "application/json"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", json.dumps(body).encode(), named, method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, None
        except (OSError, HTTPException):
            return None

    def order(self, n: int, **headers: str) -> None:
        assert self.post("/shops/42/orders", {"n": n}, **headers) == (201, {"id": n, "shop": 42})

    def ready(self) -> None:
        while self.post("/nothing", {}) is None:
            assert self.process.poll() is None, self.log.read_text()

    def end(self, number: int) -> None:
        with self.process:
            os.killpg(self.process.pid, number)


@contextmanager
def shop(folder: Path, kind: str, server: str, **options: Any) -> Iterator[Shop]:
    running = Shop(folder, kind, server, **options)
    try:
        running.ready()
        yield running
    finally:
        if running.process.poll() is None:
            running.end(signal.SIGTERM)


@pytest.fixture
def target() -> Iterator[Target]:
    with Target(SECRET) as made:
        yield made


@pytest.fixture
async def server(database: str, target: Target) -> AsyncIterator[bootstrap.Posthouse]:
    async with serving(database) as running:
        await call(running.port, "POST", "/v1/event-types", {"name": "order_create"})
        await call(running.port, "POST", "/v1/apps", {"uid": "acme"})
        await call(running.port, "POST", "/v1/apps/acme/grants", {"types": ["*"], "subjects": ["*"]})
        endpoint = {"url": target.url, "secret": SECRET}
        await call(running.port, "POST", "/v1/apps/acme/endpoints", endpoint)
        yield running


def orders(target: Target) -> list[int]:
    return sorted(
        event.data["data"]["order"] if "data" in event.data else event.data["order"] for event in target.events
    )


@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
async def test_an_answer_is_a_delivery(kind: str, server: bootstrap.Posthouse, target: Target, tmp_path: Path) -> None:
    def use() -> None:
        with shop(tmp_path, kind, f"http://127.0.0.1:{server.port}") as running:
            running.order(1)
            running.order(2)
            running.post("/shops/42/orders", {"n": 3, "test": True})
            running.post("/shops/42/lines", {"n": 4})
            target.wait_for(2, timeout=PATIENCE_SECONDS)

    await asyncio.to_thread(use)
    assert orders(target) == [1, 2]
    (first,) = [event for event in target.events if event.data["order"] == 1]
    assert first.type == "order_create"
    (event,) = [one for one in (await call(server.port, "GET", "/v1/events"))["data"] if one["id"] == first.id]
    assert (event["subject"], event["key"]) == ("shop:42", "order:1")


@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
async def test_an_application_that_is_killed_loses_nothing(
    kind: str, server: bootstrap.Posthouse, target: Target, tmp_path: Path
) -> None:
    """Killed with events that no server ever heard of; and again with some under way. Each is one event."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    url = f"http://127.0.0.1:{server.port}"

    def use() -> None:
        with shop(tmp_path, kind, nowhere) as running:
            for n in range(10):
                running.order(n)
            assert running.post("/die", {}) is None
            assert running.process.wait(PATIENCE_SECONDS) == -signal.SIGKILL
        with shop(tmp_path, kind, url) as running:
            for n in range(10, 30):
                running.order(n)
            assert running.post("/die", {}) is None
            running.process.wait(PATIENCE_SECONDS)
        with shop(tmp_path, kind, url) as running:
            running.order(30)
            target.wait_for(31, timeout=PATIENCE_SECONDS)

    await asyncio.to_thread(use)
    assert sorted(set(orders(target))) == list(range(31))
    assert len((await call(server.port, "GET", "/v1/events?limit=200"))["data"]) == 31, (
        "an event each, however often it was sent"
    )


@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
async def test_whatever_was_answered_before_a_kill_is_delivered(
    kind: str, server: bootstrap.Posthouse, target: Target, tmp_path: Path
) -> None:
    """Killed in the middle of requests: the event of each whole answer is there after it."""
    url = f"http://127.0.0.1:{server.port}"
    answered: list[int] = []

    def use() -> None:
        with shop(tmp_path, kind, url) as running:

            def buy(numbers: range) -> None:
                for n in numbers:
                    if running.post("/shops/42/orders", {"n": n}) is None:
                        return
                    answered.append(n)
                    if len(answered) == 40:
                        running.end(signal.SIGKILL)

            threads = [
                threading.Thread(target=buy, args=(range(first, first + 1_000),)) for first in range(0, 4_000, 1_000)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(PATIENCE_SECONDS)
        with shop(tmp_path, kind, url):
            deadline = time.monotonic() + PATIENCE_SECONDS
            while not set(answered) <= set(orders(target)):
                assert time.monotonic() < deadline, set(answered) - set(orders(target))
                time.sleep(0.02)

    await asyncio.to_thread(use)
    assert 40 <= len(answered) < 4_000


async def test_workers_share_a_spool(server: bootstrap.Posthouse, target: Target, tmp_path: Path) -> None:
    def use() -> None:
        with shop(tmp_path, "asgi", f"http://127.0.0.1:{server.port}", workers=3) as running:
            for n in range(30):
                running.order(n)
            target.wait_for(30, timeout=PATIENCE_SECONDS)

    await asyncio.to_thread(use)
    assert len((await call(server.port, "GET", "/v1/events?limit=200"))["data"]) == 30
    assert sorted(set(orders(target))) == list(range(30))


async def test_a_clients_retry_is_one_event(server: bootstrap.Posthouse, target: Target, tmp_path: Path) -> None:
    def use() -> None:
        with shop(tmp_path, "asgi", f"http://127.0.0.1:{server.port}") as running:
            for _ in range(3):
                running.order(1, Idempotency_Key="a", Authorization="Bearer li")
            running.order(1, Idempotency_Key="a", Authorization="Bearer wang")
            running.order(2)
            target.wait_for(3, timeout=PATIENCE_SECONDS)

    await asyncio.to_thread(use)
    events = (await call(server.port, "GET", "/v1/events"))["data"]
    assert sorted(event["key"] for event in events) == ["order:1", "order:1", "order:2"]
    reply = await ask(server.port, "GET", f"/v1/events/{events[0]['id']}")
    assert reply.status == 200
