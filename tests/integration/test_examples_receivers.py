"""Each example receives what a real server delivers: once, however often it comes."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.profiling import Sent, sent_by
from tests.serving import PATIENCE_SECONDS, call, listed, serving

from posthouse_sdk.testing import OTHER_SECRET, SECRET, signed_request

RECEIVERS = Path(__file__).parents[2] / "examples" / "receivers"
PROFILE = "profile_app"  # of a platform, with its own signatures
EXAMPLES = sorted(path.stem for path in RECEIVERS.glob("*.py") if path.stem != PROFILE)
KEYS = {"token": "QDG6eK", "aes_key": "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C"}
SETTINGS = {"corp_id": "wx5823bf96d3bd56c7"}


class Example:
    """One that runs, as its first lines tell to run it."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process = process
        self.port = port
        self.said: list[str] = []

    async def says(self, line: str) -> None:
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            while line not in self.said:
                read = await self.process.stdout.readline()
                assert read, f"it ended; it said {self.said}"
                self.said.append(read.decode().rstrip())

    async def listens(self) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                except OSError:
                    assert self.process.returncode is None, "it did not start"
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    return


@asynccontextmanager
async def running(names: list[str], folder: Path) -> AsyncIterator[dict[str, Example]]:
    found: dict[str, Example] = {}
    try:
        for name in names:
            with socket.create_server(("127.0.0.1", 0)) as held:
                port = held.getsockname()[1]
            environment = {
                "PATH": os.environ["PATH"],
                "WEBHOOK_SECRET": SECRET,
                "PORT": str(port),
                "DATABASE": str(folder / f"{name}.db"),
                "PYTHONUNBUFFERED": "1",
                "PROFILE": "wecom",
                "KEYS": json.dumps(KEYS),
                "SETTINGS": json.dumps(SETTINGS),
            }
            process = await asyncio.create_subprocess_exec(
                sys.executable, str(RECEIVERS / f"{name}.py"), env=environment, cwd=folder,
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            found[name] = Example(process, port)
        for example in found.values():
            await example.listens()
        yield found
    finally:
        for example in found.values():
            if example.process.returncode is None:
                example.process.terminate()
            await example.process.communicate()


async def answers(example: Example, **options: Any) -> int:
    """The status that one answers to a request of our own."""
    request = signed_request("order.created", {"order": "forged"}, **options)
    reader, writer = await asyncio.open_connection("127.0.0.1", example.port)
    lines = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    head = f"POST /hook HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(request.body)}\r\n{lines}\r\n"
    writer.write(head.encode() + request.body)
    status = int((await reader.readline()).split()[1])
    writer.close()
    return status


@pytest.mark.timeout(120)
async def test_each_example_receives(database: str, tmp_path: Path) -> None:
    assert EXAMPLES == ["django_app", "drf_app", "fastapi_app", "flask_app", "plain"]
    async with serving(database) as server, running(EXAMPLES, tmp_path) as examples:
        for type in ("order.created", "order.paid"):
            await call(server.port, "POST", "/v1/event-types", {"name": type})
        await call(server.port, "POST", "/v1/apps", {"uid": "shop"})
        for name, example in examples.items():
            endpoint = {"uid": name, "url": f"http://127.0.0.1:{example.port}/hook", "secret": SECRET}
            await call(server.port, "POST", "/v1/apps/shop/endpoints", endpoint)

        async def publish(type: str, order: str) -> str:
            event = await call(server.port, "POST", "/v1/apps/shop/events", {"type": type, "data": {"order": order}})
            id: str = event["id"]
            return id

        event = await publish("order.created", "A-1")
        for example in examples.values():
            await example.says("order A-1 was created")
        await listed(
            server.port,
            f"/v1/events/{event}/attempts",
            lambda found: len(found) == len(examples),
            "confirmations",
        )
        for name in examples:
            await call(server.port, "POST", "/v1/apps/shop/deliveries/resend", {"event": event, "endpoint": name})
        attempts = await listed(
            server.port,
            f"/v1/events/{event}/attempts",
            lambda found: len(found) == 2 * len(examples),
            "the same again",
        )
        assert {attempt["status"] for attempt in attempts} <= {200, 204}
        await publish("order.paid", "A-1")
        for example in examples.values():
            await example.says("order A-1: order.paid")
            # Not once more, and nothing that is not the platform's.
            assert example.said.count("order A-1 was created") == 1
            assert await answers(example, secret=OTHER_SECRET) == 401
            assert await answers(example, flaw="missing_header") == 400
            assert not any("forged" in line for line in example.said)


async def answered(example: Example, sent: Sent) -> tuple[int, bytes]:
    """The status and the body that it answers to a request of a platform."""
    reader, writer = await asyncio.open_connection("127.0.0.1", example.port)
    lines = "".join(f"{name}: {value}\r\n" for name, value in sent.headers.items())
    target = sent.url.removeprefix("https://isv.example")
    writer.write(f"{sent.method} {target} HTTP/1.1\r\nConnection: close\r\n{lines}\r\n".encode() + sent.body)
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return int(head.split()[1]), body


async def test_the_example_of_a_profile_receives(tmp_path: Path) -> None:
    async with running([PROFILE], tmp_path) as examples:
        example = examples[PROFILE]
        sent = sent_by("wecom", KEYS, SETTINGS, now=time.time())
        assert await answered(example, sent) == (200, b"success")
        assert await answered(example, sent) == (200, b"success")
        status, why = await answered(example, sent._replace(url=sent.url.replace("nonce=", "nonce=0")))
        assert (status, b"no signature" in why) == (401, True)
        example.process.terminate()
        assert example.process.stdout is not None
        said = (await example.process.stdout.read()).decode()
        assert said.count("order.created: ") == 1
        assert "驿站" in said
