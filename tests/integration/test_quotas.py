"""Quotas of apps through a whole server: what is refused, with which limit, and how soon a change is noticed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import asyncpg
import pytest
from tests.integration.api_world import World, world_over
from tests.serving import Reply, ask, call, serving

from posthouse import bootstrap

GOOD: Final = {"type": "order.created", "data": {"id": 1}}
EVENTS: Final = "/v1/apps/acme/events"
ACME: Final = "/v1/apps/acme"
NOTICED_SECONDS: Final = 20


@pytest.fixture
async def server(database: str) -> AsyncIterator[bootstrap.Posthouse]:
    async with serving(database) as running:
        await call(running.port, "POST", "/v1/event-types", {"name": "order.created"})
        for uid in ("acme", "other"):
            await call(running.port, "POST", "/v1/apps", {"uid": uid})
        yield running


@pytest.fixture
async def world(database: str) -> AsyncIterator[World]:
    async with world_over(database) as made:
        yield made


async def limit(port: int, **quotas: Any) -> None:
    shown = await call(port, "PATCH", ACME, {"quotas": quotas})
    assert {name: shown["quotas"][name] for name in quotas} == quotas


async def publish(port: int, *, batch: int | None = None, app: str = "acme") -> Reply:
    url = f"/v1/apps/{app}/events"
    return await (ask(port, "POST", url, GOOD) if batch is None else ask(port, "POST", f"{url}/batch", [GOOD] * batch))


async def until(port: int, enough: Callable[[Reply], bool], *, batch: int | None = None) -> Reply:
    """Publish until it is answered so: a change of quotas is noticed within a second or so."""
    async with asyncio.timeout(NOTICED_SECONDS):
        while True:
            reply = await publish(port, batch=batch)
            if enough(reply):
                return reply
            await asyncio.sleep(0.02)


def answered(status: int) -> Callable[[Reply], bool]:
    return lambda reply: reply.status == status


async def test_the_rate_of_an_app(server: bootstrap.Posthouse) -> None:
    port = server.port
    assert (await publish(port)).status == 202  # its quotas were known as none
    await limit(port, publish_per_second=0.05)
    refused = await until(port, answered(429))
    assert refused.body["code"] == "quota_publish_rate"
    assert refused.body["title"] == "Too Many Requests"
    assert "0.05 events a second" in refused.body["detail"]
    assert 1 <= int(refused.headers["retry-after"]) <= 20
    batch = await publish(port, batch=3)
    assert (batch.status, batch.body["code"]) == (429, "quota_publish_rate")
    assert (await publish(port, app="other")).status == 202
    # A higher rate holds soon after it is set; a batch beyond it is admitted, and paid for.
    await limit(port, publish_per_second=200.0)
    await until(port, answered(202))
    await until(port, answered(202), batch=1000)
    refused = await publish(port)
    assert refused.status == 429
    assert int(refused.headers["retry-after"]) >= 2
    assert (await call(port, "PATCH", ACME, {"quotas": None}))["quotas"]["publish_per_second"] is None
    await until(port, answered(202))
    assert [(await publish(port, batch=1000)).status for _ in range(3)] == [202] * 3


async def test_the_endpoints_of_an_app(world: World) -> None:
    await world.app("acme")
    await world.endpoint("acme", uid="first")
    await world.admin.patch(ACME, {"quotas": {"endpoints_max": 2}})
    body = {"url": "https://example.com/"}
    assert (await world.admin.post(f"{ACME}/endpoints", body)).status == 201
    for refused in (
        await world.admin.post(f"{ACME}/endpoints", body),
        await world.admin.put(f"{ACME}/endpoints/new", body),
    ):
        assert (refused.status, refused.code) == (403, "quota_endpoints")
        assert "2 endpoints, and it has 2" in refused.json()["detail"]
    assert (await world.admin.put(f"{ACME}/endpoints/first", body)).status == 200
    # Fewer than there are: those stay.
    await world.admin.patch(ACME, {"quotas": {"endpoints_max": 0}})
    assert len((await world.admin.get(f"{ACME}/endpoints")).json()["data"]) == 2
    assert (await world.admin.patch(f"{ACME}/endpoints/first", {"concurrency": 2})).status == 200
    await world.admin.delete(f"{ACME}/endpoints/first")
    assert (await world.admin.post(f"{ACME}/endpoints", body)).code == "quota_endpoints"
    await world.admin.patch(ACME, {"quotas": None})
    assert (await world.admin.post(f"{ACME}/endpoints", body)).status == 201


async def test_endpoints_made_at_once_stay_within_the_quota(world: World) -> None:
    await world.admin.put(ACME, {"quotas": {"endpoints_max": 3}})
    replies = await asyncio.gather(
        *(world.admin.post(f"{ACME}/endpoints", {"url": "https://example.com/"}) for _ in range(8))
    )
    assert sorted(reply.status for reply in replies) == [201] * 3 + [403] * 5


async def test_the_stored_bytes_of_an_app(database: str) -> None:
    size = len(b'{"id": 1}')
    async with serving(database) as first:
        await call(first.port, "POST", "/v1/event-types", {"name": "order.created"})
        await call(first.port, "POST", "/v1/apps", {"uid": "acme", "quotas": {"stored_bytes_max": 10 * size}})
        assert [(await publish(first.port)).status for _ in range(6)] == [202] * 6
        refused = await publish(first.port, batch=5)
        assert (refused.status, refused.body["code"]) == (403, "quota_stored_bytes")
        assert f"{10 * size} bytes" in refused.body["detail"]
        assert f"about {6 * size}," in refused.body["detail"]
        assert "retry-after" not in refused.headers
        assert (await publish(first.port, batch=3)).status == 202
    # Another process knows of them from the log: it measures as it starts, the days before today, too.
    connection = await asyncpg.connect(database)
    try:
        moved = await connection.execute(
            "WITH last AS (SELECT id FROM event ORDER BY id LIMIT 1)"
            " UPDATE event SET id = $1::uuid FROM last WHERE event.id = last.id",
            _an_hour_before(await connection.fetchval("SELECT id FROM event ORDER BY id LIMIT 1")),
        )
        assert moved == "UPDATE 1"
    finally:
        await connection.close()
    async with serving(database) as second:
        await until(second.port, lambda reply: f"about {9 * size}," in str(reply.body.get("detail")), batch=20)
        assert (await publish(second.port)).status == 202
        assert (await publish(second.port)).status == 403


def _an_hour_before(event_id: Any) -> str:
    text = event_id.hex
    return f"{int(text[:12], 16) - 3_600_000:012x}{text[12:]}"


async def test_an_app_reads_its_quotas_and_does_not_set_them(world: World) -> None:
    app = await world.app("acme")
    await world.admin.patch(ACME, {"quotas": {"publish_per_second": 2}})
    client = await world.client_of(app)
    assert (await client.get(ACME)).json()["quotas"] == {
        "publish_per_second": 2.0,
        "endpoints_max": None,
        "stored_bytes_max": None,
    }
    for reply in (
        await client.patch(ACME, {"quotas": None}),
        await client.put(ACME, {"quotas": {"publish_per_second": 10**6}}),
    ):
        assert (reply.status, reply.code) == (403, "forbidden")


async def test_quotas_that_cannot_be(world: World) -> None:
    wrong: list[tuple[Any, str]] = [
        ({"publish_per_second": 0}, "quotas.publish_per_second"),
        ({"publish_per_second": "5"}, "quotas.publish_per_second"),
        ({"endpoints_max": 10_001}, "quotas.endpoints_max"),
        ({"endpoints_max": 1.5}, "quotas.endpoints_max"),
        ({"stored_bytes_max": -1}, "quotas.stored_bytes_max"),
        ({"stored_bytes_max": 10**30}, "quotas.stored_bytes_max"),
        ({"events_max": 1}, "quotas.events_max"),
        (5, "quotas"),
    ]
    await world.app("acme")
    for quotas, path in wrong:
        for refused in (
            await world.admin.post("/v1/apps", {"quotas": quotas}),
            await world.admin.put("/v1/apps/new", {"quotas": quotas}),
            await world.admin.patch(ACME, {"quotas": quotas}),
        ):
            assert (refused.status, refused.path) == (422, path), quotas


async def test_other_quotas_tell_intake_and_other_changes_do_not(world: World) -> None:
    await world.app("acme")
    version = await world.directory.version()
    await world.admin.patch(ACME, {"name": "x"})
    await world.admin.patch(ACME, {"quotas": None})
    await world.endpoint("acme")
    assert await world.directory.version() == version
    await world.admin.patch(ACME, {"quotas": {"endpoints_max": 5}})
    assert await world.directory.version() == version + 1
    entry = await world.directory.find_app("acme")
    assert entry is not None
    assert entry.quotas is not None
    assert entry.quotas.endpoints_max == 5
    await world.admin.patch(ACME, {"quotas": {"endpoints_max": None}})
    assert await world.query("SELECT quotas FROM app WHERE uid NOT IN ('operations', 'platform')") == [(None,)]
    entry = await world.directory.find_app("acme")
    assert entry is not None
    assert entry.quotas is None


async def test_the_rate_is_held_over_time(server: bootstrap.Posthouse) -> None:
    port = server.port
    await limit(port, publish_per_second=50.0)
    await until(port, answered(429), batch=100)
    begun = time.monotonic()
    accepted = 0
    while time.monotonic() < begun + 4:
        accepted += (await publish(port)).status == 202
    # What it was behind by is paid for first; no more than a second's worth is gained by having waited.
    assert accepted <= 50 * (time.monotonic() - begun) + 51
