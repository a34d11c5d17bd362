"""Lists with filters that no index knows: found in parts, each within its time, all of it in the end and nothing twice."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.integration.api_world import World, ago, raw, world_over

from posthouse.adapters.postgres import searching
from posthouse.adapters.postgres.database import Database
from posthouse.domain.ids import APP, ENDPOINT

EVENTS = 3_003
RARE = 11


@pytest.fixture
async def world(database: str) -> AsyncIterator[World]:
    async with world_over(database) as made:
        yield made


@pytest.fixture(params=["at once", "in stretches"])
def pace(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param != "at once":
        within = Database.read_within

        async def slow_as_a_whole(self: Database, seconds: float, query: str, *arguments: object) -> Any:
            return None if seconds == searching.WHOLE_SECONDS else await within(self, seconds, query, *arguments)

        monkeypatch.setattr(Database, "read_within", slow_as_a_whole)
        monkeypatch.setattr(searching, "STRETCH_SECONDS_MAX", 5.0)  # others may use the machine
    if request.param.endswith("a page"):
        monkeypatch.setattr(searching, "SEARCH_SECONDS_MAX", 0.0)
        monkeypatch.setattr(searching, "STRETCH_MS", 600_000)
    return str(request.param)


async def fill(world: World) -> tuple[str, str]:
    """Events over an hour, one in many of a rare type, each with an attempt and owed too; their app and endpoint."""
    app = await world.app("shop")
    endpoint = await world.endpoint("shop", uid="main")
    ((partition,),) = await world.query("SELECT partition FROM app WHERE id = $1", raw(APP, app))
    await world.query("UPDATE partition SET cursor = 1000000 RETURNING 1")
    await world.database.execute(
        "WITH made AS ("
        " SELECT n, (lpad(to_hex($4::bigint - 3600000 + n * 3600000 / $5), 12, '0') || '70008000'"
        "            || lpad(to_hex(n), 12, '0'))::uuid AS id"
        "   FROM generate_series(0::bigint, $5 - 1) n"
        "), events AS ("
        " INSERT INTO event (id, partition, seq, app_id, config_version, type, subject, content_type, payload, created_at)"
        " SELECT id, $3, n, $1, 1, CASE WHEN n % ($5 / $6) = 7 THEN 'rare.one' ELSE 'order.created' END,"
        "        CASE WHEN n % ($5 / $6) = 7 THEN 'somebody' ELSE 'everybody' END, 'application/json', '1', now() FROM made"
        "), owed AS ("
        " INSERT INTO delivery (partition, endpoint_id, event_id, seq, number, due_at, reason, payload_bytes)"
        " SELECT $3, $2, id, n, 2, now(), CASE WHEN n % ($5 / $6) = 7 THEN 'paused' ELSE 'failed' END, 1 FROM made"
        ") INSERT INTO attempt (partition, id, app_id, endpoint_id, event_id, seq, number, kind, outcome, reason, sent,"
        "                      revision, url, address, started_at, total_us)"
        " SELECT $3, id, $1, $2, id, n, 1, 'live', CASE WHEN n % ($5 / $6) = 7 THEN 'delivered' ELSE 'failed' END, '', true, 1,"
        "        'https://example.com/', '', now(), 1 FROM made",
        raw(APP, app),
        raw(ENDPOINT, endpoint),
        partition,
        int(time.time() * 1000),
        EVENTS,
        RARE,
    )
    await world.database.execute("ANALYZE")
    return app, endpoint


LISTS = [
    ("/v1/events?type=rare.one", "id"),
    ("/v1/events?subject=somebody", "id"),
    ("/v1/apps/shop/events?type=rare.one", "id"),
    ("/v1/attempts?type=rare.one", "id"),
    ("/v1/attempts?outcome=delivered", "id"),
    ("/v1/apps/shop/attempts?type=rare.one", "id"),
    ("/v1/apps/shop/attempts?endpoint=main&outcome=delivered", "id"),
    ("/v1/deliveries?reason=paused", "event"),
    ("/v1/apps/shop/deliveries?reason=paused", "event"),
]


@pytest.mark.parametrize("pace", ["in stretches, a few of them a page"], indirect=True)
async def test_a_page_may_be_short_and_the_next_goes_on(world: World, pace: str) -> None:
    await fill(world)
    pages = 0
    since = ago(7_200).replace("+", "%2B")
    for url, name in LISTS:
        if name == "event":
            continue  # what is owed has no filter by time: to its beginning there would be too many stretches
        found: list[str] = []
        cursor = ""
        while True:
            reply = await world.admin.get(f"{url}&limit=4&since={since}{cursor}")
            assert reply.status == 200, (url, reply.body)
            page = reply.json()
            assert len(page["data"]) <= 4
            found += [row[name] for row in page["data"]]
            pages += 1
            if page["next"] is None:
                break
            cursor = f"&cursor={page['next']}"
        assert len(found) == len(set(found)) == RARE, (url, found)
        assert found == sorted(found, reverse=True), url
    assert pages > 6 * (len(LISTS) - 2)


async def test_everything_is_found_however_it_is_searched(world: World, pace: str) -> None:
    await fill(world)
    for url, name in LISTS:
        found: list[str] = []
        cursor = ""
        for _ in range(200):
            page = (await world.admin.get(f"{url}{cursor}")).json()
            found += [row[name] for row in page["data"]]
            if page["next"] is None:
                break
            cursor = f"&cursor={page['next']}"
        assert len(found) == len(set(found)) == RARE, (url, found)


async def test_a_stretch_that_takes_too_long_is_made_shorter(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(world)
    within = Database.read_within
    spans: list[float] = []

    async def slow_for_long_ones(self: Database, seconds: float, query: str, *arguments: Any) -> Any:
        before, since = arguments[0], arguments[1]
        width = (
            min(int.from_bytes(before[:6], "big"), int(time.time() * 1000)) - int.from_bytes(since[:6], "big")
        ) / 1000
        spans.append(width)
        return None if width > 5 else await within(self, seconds, query, *arguments)

    monkeypatch.setattr(Database, "read_within", slow_for_long_ones)
    monkeypatch.setattr(searching, "SEARCH_SECONDS_MAX", 0.5)
    page = (await world.admin.get("/v1/events?type=rare.one")).json()
    assert page["next"] is not None
    assert any(0 < width <= 5 for width in spans)
    assert all(row["type"] == "rare.one" for row in page["data"])


async def test_failed_attempts_are_found_along_their_index(world: World) -> None:
    _, endpoint = await fill(world)
    for url in ("/v1/attempts?outcome=failed", f"/v1/attempts?app=shop&endpoint={endpoint}&outcome=failed"):
        page = (await world.admin.get(f"{url}&limit=5")).json()
        assert len(page["data"]) == 5
        assert page["next"] is not None
        assert page["data"][0]["event"] > page["data"][1]["event"]
    assert (await world.admin.get("/v1/attempts?outcome=gave_up")).json() == {"data": [], "next": None}
