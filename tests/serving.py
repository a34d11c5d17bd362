"""A whole server in this process, over a database of its own, and a client that shows the bytes."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest

from posthouse import bootstrap, config

KEY = "ph_test_" + "k" * 40
PATIENCE_SECONDS = 30


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: Any  # decoded, where it is JSON


@asynccontextmanager
async def serving(
    dsn: str | None, *, kind: type[bootstrap.Posthouse] = bootstrap.Posthouse, **settings: Any
) -> AsyncIterator[bootstrap.Posthouse]:
    """A server on a free port; by default it may deliver to 127.0.0.1 and to nothing else of this machine."""
    made = config.load(
        **{
            "database_url": dsn,
            "port": 0,
            "admin_key": KEY,
            "master_key": base64.b64encode(secrets.token_bytes(32)).decode(),
            "allowed_networks": "127.0.0.1/32",
            "shutdown_seconds": 1,
            **settings,
        }
    )
    async with kind(made) as server:
        task = asyncio.create_task(server.serve())
        try:
            yield server
        finally:
            server.stop()
            await task


async def exchange(port: int, data: bytes, *, end: bool = False) -> Reply:
    """Send bytes as they are, and read the whole answer; `end` closes our side first."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        if end:
            writer.write_eof()
        async with asyncio.timeout(PATIENCE_SECONDS):
            answer = await reader.read()
    finally:
        writer.close()
    return reply_of(answer)


def reply_of(answer: bytes) -> Reply:
    """The bytes of an answer, taken apart."""
    head, _, told = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    body: Any = told
    if "json" in headers.get("content-type", ""):
        body = json.loads(told)
    return Reply(int(status.split(" ", 2)[1]), headers, body)


def request(
    method: str, path: str, body: object = None, *, key: str | None = KEY, headers: dict[str, str] | None = None
) -> bytes:
    """A request as bytes; a body that is bytes already goes out as it is."""
    content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {
        "Host": "test",
        "Connection": "close",
        "Content-Type": "application/json",
        "Content-Length": str(len(content)),
    }
    if key is not None:
        fields["Authorization"] = f"Bearer {key}"
    fields |= headers or {}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value)
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + content


async def ask(
    port: int,
    method: str,
    path: str,
    body: object = None,
    *,
    key: str | None = KEY,
    headers: dict[str, str] | None = None,
) -> Reply:
    """One request on a connection of its own."""
    return await exchange(port, request(method, path, body, key=key, headers=headers))


async def call(port: int, method: str, path: str, body: object = None) -> Any:
    """One request that must succeed; its decoded answer."""
    reply = await ask(port, method, path, body)
    assert reply.status < 300, reply
    return reply.body


async def listed(port: int, path: str, enough: Callable[[list[Any]], bool], what: str) -> list[Any]:
    """What a list holds, once it is enough."""
    found: list[Any] = []
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                found = (await call(port, "GET", path))["data"]
                if enough(found):
                    return found
                await asyncio.sleep(0.02)
    except TimeoutError:
        pytest.fail(f"waited in vain for {what}; there is {found}")
