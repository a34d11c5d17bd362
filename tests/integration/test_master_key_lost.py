"""Where the master key is lost: what is sealed is told as that, and made anew; nothing else is in the way."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator

import pytest
from tests.commands import run
from tests.serving import Reply, ask, call, serving

LOST = base64.b64encode(b"l" * 32).decode()
NEW = base64.b64encode(b"n" * 32).decode()
ENDPOINT = "/v1/apps/acme/endpoints/main"


@pytest.fixture
async def port(database: str) -> AsyncIterator[int]:
    async with serving(database, master_key=LOST) as server:
        await call(server.port, "POST", "/v1/event-types", {"name": "order.created"})
        await call(server.port, "POST", "/v1/apps", {"uid": "acme"})
        await call(
            server.port,
            "POST",
            "/v1/apps/acme/endpoints",
            {"uid": "main", "url": "http://127.0.0.1:9/", "keys": {"legacy": "text"}},
        )
    async with serving(database, master_key=NEW) as server:
        yield server.port


async def rotate(port: int, overlap_seconds: int, **headers: str) -> Reply:
    return await ask(port, "POST", f"{ENDPOINT}/secret/rotate", {"overlap_seconds": overlap_seconds}, headers=headers)


async def test_what_does_not_open_is_told_as_that(port: int) -> None:
    for reply in (
        await ask(port, "GET", f"{ENDPOINT}/secret"),
        await rotate(port, 60),
        await rotate(port, 0),
        await ask(port, "PUT", f"{ENDPOINT}/keys/other", {"value": "text"}),
        await ask(port, "POST", "/v1/apps/acme/endpoints", {"url": "http://127.0.0.1:9/"}),
    ):
        assert (reply.status, reply.body["code"]) == (409, "secret_unreadable")
        assert "posthouse keys rekey --data-keys" in reply.body["detail"]
    told = await rotate(port, 0, **{"Accept-Language": "zh-CN"})
    assert "主密钥已经丢失" in told.body["detail"]


async def test_secrets_are_made_anew_and_deliveries_go_on(port: int, database: str) -> None:
    settings = {"POSTHOUSE_DATABASE_URL": database, "POSTHOUSE_MASTER_KEY": NEW}
    told = await asyncio.to_thread(run, "keys", "rekey", "--data-keys", **settings)
    assert told.returncode == 6, "the secrets themselves remain as they were"
    assert (await rotate(port, 60)).body["code"] == "secret_unreadable", "who signs on with what does not open?"
    await call(port, "PUT", f"{ENDPOINT}/keys/legacy", {"value": "newer", "overlap_seconds": 0})
    made = await call(port, "POST", f"{ENDPOINT}/secret/rotate", {"overlap_seconds": 0})
    shown = await call(port, "GET", f"{ENDPOINT}/secret")
    assert (shown["secret"], shown["expiring"]) == (made["secret"], [])
    await call(port, "POST", "/v1/apps/acme/events", {"type": "order.created", "data": {}})
    attempts: list[object] = []
    while not attempts:
        attempts = (await call(port, "GET", "/v1/apps/acme/attempts"))["data"]
    assert "connect_failed" in str(attempts[0]), "it was signed, and sent"
    again = await asyncio.to_thread(run, "keys", "rekey", "--data-keys", **settings)
    assert again.returncode == 0, again
