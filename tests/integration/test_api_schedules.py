"""/v1/schedules: what is kept, refused, shown, and by whom."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.integration.api_world import World, world_over

SCHEMA = {"type": "object", "properties": {"day": {"type": "string"}}, "required": ["day"]}
DAILY = {
    "type": "report.due",
    "cron": "30 6 * * MON-FRI",
    "timezone": "Asia/Shanghai",
    "data": {"day": "{{local_date}}"},
}


@pytest.fixture
async def world(database: str) -> AsyncIterator[World]:
    async with world_over(database) as made:
        await made.admin.post("/v1/event-types", {"name": "report.due", "schema": SCHEMA})
        await made.admin.post("/v1/event-types", {"name": "tick"})
        yield made


async def made(world: World, **fields: Any) -> dict[str, Any]:
    reply = await world.admin.post("/v1/schedules", DAILY | fields)
    assert reply.status == 201, reply.body
    found: dict[str, Any] = reply.json()
    return found


async def test_from_beginning_to_end(world: World) -> None:
    schedule = await made(world, uid="daily", name="Daily report", subject="shop:42")
    assert schedule["id"].startswith("sch_")
    assert schedule["next_at"].endswith("T22:30:00.000Z")  # the evening before, in UTC
    assert (schedule["state"], schedule["catch_up"], schedule["enabled"]) == ("active", "last", True)
    assert (schedule["last_firing"], schedule["refusal"], schedule["fired"]) == (None, None, 0)
    url = "/v1/schedules/daily"
    got = await world.admin.get(url)
    assert got.json() == schedule
    ahead = (await world.admin.get(f"{url}/next?count=3&after=2026-11-27T00:00:00Z")).json()
    assert ahead["data"] == [f"2026-{day}T22:30:00.000Z" for day in ("11-29", "11-30", "12-01")]
    assert ahead["complete"]
    paused = (await world.admin.post(f"{url}/pause")).json()
    assert (paused["state"], paused["next_at"], paused["enabled"]) == ("paused", None, False)
    assert (await world.admin.post(f"{url}/resume")).json()["next_at"] == schedule["next_at"]
    patched = (await world.admin.patch(url, {"every": 60, "key": "k", "data": {"day": "x"}})).json()
    assert (patched["cron"], patched["every"], patched["subject"]) == (None, 60, "shop:42")
    put = await world.admin.put(url, {"type": "tick", "cron": "@hourly"})
    assert (put.status, put.json()["id"], put.json()["subject"], put.json()["data"]) == (200, schedule["id"], None, {})
    assert (await world.admin.put("/v1/schedules/other", {"type": "tick", "every": 5})).status == 201
    listed = (await world.admin.get("/v1/schedules?limit=1")).json()
    assert [row["uid"] for row in listed["data"]] == ["other"]
    rest = (await world.admin.get(f"/v1/schedules?limit=1&cursor={listed['next']}")).json()
    assert [row["uid"] for row in rest["data"]] == ["daily"]
    stale = await world.admin.delete(url, headers={"If-Match": got.headers["etag"]})
    assert stale.status == 412
    assert (await world.admin.delete(url)).status == 204
    assert (await world.admin.get(url)).code == "schedule_not_found"


async def test_run_now(world: World) -> None:
    schedule = await made(world, uid="daily", enabled=False)
    run = await world.admin.post("/v1/schedules/daily/run")
    assert run.status == 202, run.body
    event = (await world.admin.get(f"/v1/events/{run.json()['event']}")).json()
    assert event["type"] == "report.due"
    assert event["attributes"]["schedule"] == "daily"
    assert len(event["data"]["day"]) == len("2026-11-28")
    assert (await world.admin.get("/v1/schedules/daily")).json() == schedule  # it changes nothing of its times


REFUSED: tuple[tuple[dict[str, Any], int, str], ...] = (
    ({"cron": "61 * * * *"}, 422, "cron"),
    ({"cron": None}, 422, "cron"),
    ({"every": 5}, 422, "cron"),
    ({"timezone": "Mars/Olympus"}, 422, "timezone"),
    ({"ends_at": "2020-01-01T00:00:00Z"}, 422, "ends_at"),
    ({"type": "unknown"}, 404, "type"),
    ({"type": "not a type"}, 422, "type"),
    ({"type": None}, 422, "type"),
    ({"app": "nobody"}, 404, "app"),
    ({"app": "operations"}, 403, ""),
    ({"subject": ""}, 422, "subject"),
    ({"data": {"day": 5}}, 422, "data.day"),
    ({"data": {"day": "{{tomorrow}}"}}, 422, "data.day"),
    ({"data": {"day": "x" * 70_000}}, 413, ""),
    ({"catch_up": "some"}, 422, "catch_up"),
    ({"colour": "red"}, 422, "colour"),
    ({"uid": "a b"}, 422, "uid"),
)


async def test_what_is_refused(world: World) -> None:
    for fields, status, path in REFUSED:
        reply = await world.admin.post("/v1/schedules", DAILY | fields)
        assert reply.status == status, (fields, reply.body)
        assert json.loads(reply.body).get("path", "") == path, (fields, reply.body)
    assert (await world.admin.get("/v1/schedules")).json()["data"] == []


async def test_what_a_change_would_break_is_refused(world: World) -> None:
    await made(world, uid="daily")
    changes: tuple[dict[str, Any], ...] = (
        {"cron": None},
        {"type": "unknown"},
        {"data": {}},
        {"cron": "@daily", "every": 5},
    )
    for change in changes:
        reply = await world.admin.patch("/v1/schedules/daily", change)
        assert reply.status in (404, 422), (change, reply.body)
    assert (await world.admin.post("/v1/schedules", DAILY | {"uid": "daily"})).code == "uid_taken"


async def test_whose_they_are(world: World) -> None:
    await world.app("acme")
    await world.app("beta")
    mine = await made(world, uid="of-acme", app="acme")
    await made(world, uid="of-all")
    client, other = await world.client_of("acme"), await world.client_of("beta")
    assert [row["id"] for row in (await client.get("/v1/schedules")).json()["data"]] == [mine["id"]]
    assert [row["id"] for row in (await world.admin.get("/v1/schedules?app=acme")).json()["data"]] == [mine["id"]]
    assert (await other.get("/v1/schedules")).json()["data"] == []
    assert (await client.get("/v1/schedules/of-acme")).status == 200
    assert (await client.get("/v1/schedules/of-all")).status == 404
    assert (await other.get("/v1/schedules/of-acme/next")).status == 404
    assert (await client.post("/v1/schedules", DAILY)).status == 403
    for reply in (
        await client.patch("/v1/schedules/of-acme", {"name": "x"}),
        await client.put("/v1/schedules/of-acme", DAILY),
        await client.delete("/v1/schedules/of-acme"),
        await client.post("/v1/schedules/of-acme/pause"),
        await client.post("/v1/schedules/of-acme/run"),
    ):
        assert reply.status == 403, reply.body
    await world.admin.delete("/v1/apps/acme")
    assert [row["uid"] for row in (await world.admin.get("/v1/schedules")).json()["data"]] == ["of-all"]
