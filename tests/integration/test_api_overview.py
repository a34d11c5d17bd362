"""What went on over a time, what needs somebody, and the installation as a whole."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.integration.api_world import OWNER, World, raw, world_over

from posthouse.adapters.postgres.overview import PostgresOverview
from posthouse.adapters.postgres.traffic import PostgresTraffic
from posthouse.domain.delivery import Rollup
from posthouse.domain.ids import APP, ENDPOINT, AppId, EndpointId
from posthouse.ports.overview import Presence
from posthouse.settle.traffic import Traffic


@pytest.fixture
async def world(database: str) -> AsyncIterator[World]:
    async with world_over(database) as made:
        yield made


async def partition_of(world: World, app: str) -> int:
    ((partition,),) = await world.query("SELECT partition FROM app WHERE id = $1", raw(APP, app))
    return int(partition)


class Went:
    """Counts what went on as a process does, minutes and all."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._book = PostgresTraffic(world.database)
        self._traffic = Traffic(world.clock, process=OWNER)

    async def on(
        self, app: str, endpoint: str, *, ago: float = 0, delivered: int = 0, failed: int = 0, bucket: int = 20
    ) -> None:
        partition = await partition_of(self._world, app)
        rollup = Rollup(
            partition=partition,
            minute=int((self._world.clock.now() - ago) // 60),
            app_id=AppId(raw(APP, app)),
            endpoint_id=EndpointId(raw(ENDPOINT, endpoint)),
            delivered=delivered,
            failed=failed,
            latency=(*[0] * bucket, delivered + failed),
        )
        await self._world.journal(rollups=(rollup,))
        self._traffic.counted([rollup], held={partition})

    def published(self, events: int, *, owed: int) -> None:
        self._traffic.published(events)
        self._traffic.owed(owed)

    async def write(self) -> None:
        await self._book.add(self._traffic.take())


def at(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


async def two_apps(world: World) -> tuple[str, str, str, str]:
    shop, other = await world.app("shop"), await world.app("other")
    return shop, await world.endpoint("shop", uid="main"), other, await world.endpoint("other")


async def test_traffic_of_everything_of_an_app_and_of_an_endpoint(world: World) -> None:
    shop, main, other, elsewhere = await two_apps(world)
    went = Went(world)
    await went.on(shop, main, delivered=8, failed=2)
    await went.on(other, elsewhere, delivered=90, bucket=10)
    went.published(60, owed=3)
    await went.write()
    hour = f"since={at(world.clock.now() - 1800)}"
    for query, delivered, failed, published in (
        ("", 98, 2, 60),
        (hour, 98, 2, 60),
        ("app=shop", 8, 2, None),
        (f"app=shop&{hour}", 8, 2, None),
        ("app=shop&endpoint=main", 8, 2, None),
        (f"endpoint={elsewhere}&{hour}", 90, 0, None),
        (f"endpoint={elsewhere}", 90, 0, None),
        (f"since={at(world.clock.now() - 29 * 86_400)}", 98, 2, 60),
        (f"since={at(world.clock.now() - 80 * 86_400)}", 98, 2, 60),
    ):
        reply = await world.admin.get(f"/v1/traffic?{query}")
        assert reply.status == 200, (query, reply.body)
        answer = reply.json()
        totals = answer["totals"]
        assert (totals["delivered"], totals["failed"], totals["published"]) == (delivered, failed, published), query
        assert sum(point["delivered"] for point in answer["data"]) == delivered
        assert len(answer["data"]) <= 361
        assert 0 < totals["p50_ms"] <= totals["p99_ms"] < 21
    everything = (await world.admin.get("/v1/traffic")).json()
    assert max(point["owed"] or 0 for point in everything["data"]) == 3
    assert 3.072 < everything["totals"]["p50_ms"] < 3.584  # of the buckets 10 and 20
    assert 16.384 < everything["totals"]["p99_ms"] < 20.48
    assert everything["step_seconds"] == 600


async def test_an_app_that_nothing_went_on_with(world: World) -> None:
    await two_apps(world)
    answer = (await world.admin.get("/v1/traffic?app=shop")).json()
    assert answer["totals"] == {
        "published": None, "delivered": 0, "failed": 0, "gave_up": 0, "p50_ms": None, "p99_ms": None
    }  # fmt: skip
    assert (await world.admin.get("/v1/traffic/apps")).json()["data"] == []
    assert (await world.admin.get("/v1/traffic/endpoints")).json()["data"] == []


async def test_endpoints_and_apps_where_it_went_worst_come_first(world: World) -> None:
    shop, main, other, elsewhere = await two_apps(world)
    went = Went(world)
    await went.on(shop, main, delivered=100, failed=1)
    await went.on(other, elsewhere, delivered=3, failed=7)
    await went.write()

    async def endpoints(query: str) -> list[dict[str, Any]]:
        reply = await world.admin.get(f"/v1/traffic/endpoints?{query}")
        assert reply.status == 200, reply.body
        found: list[dict[str, Any]] = reply.json()["data"]
        return found

    for since in (1_800, 7_200, 86_400, 30 * 86_400):
        span = f"since={at(world.clock.now() - since)}"
        assert [row["endpoint"] for row in await endpoints(span)] == [elsewhere, main]
        assert [row["endpoint"] for row in await endpoints(f"{span}&order=attempts")] == [main, elsewhere]
        assert [row["endpoint"] for row in await endpoints(f"{span}&limit=1")] == [elsewhere]
        assert [row["endpoint"] for row in await endpoints(f"{span}&app=shop")] == [main]
        (first, _) = await endpoints(f"{span}&endpoint={elsewhere}&endpoint={main}")
        assert (first["delivered"], first["failed"], first["app"], first["app_uid"]) == (3, 7, other, "other")
        assert sum(first["series"]["failed"]) == 7
        assert first["p99_ms"] > 0
        apps = (await world.admin.get(f"/v1/traffic/apps?{span}")).json()["data"]
        assert [(row["app"], row["failed"], sum(row["series"]["delivered"])) for row in apps] == [
            (other, 7, 3),
            (shop, 1, 100),
        ]
    await world.app("idle")
    apps = (await world.admin.get("/v1/traffic/apps?app=shop&app=idle")).json()["data"]
    assert [(row["app_uid"], row["failed"]) for row in apps] == [("shop", 1), ("idle", 0)]
    idle = await world.endpoint("shop", uid="idle")
    (row,) = await endpoints(f"endpoint={idle}")
    assert (row["delivered"], row["p50_ms"], row["uid"]) == (0, None, "idle")
    await world.admin.delete(f"/v1/apps/other/endpoints/{elsewhere}")
    assert [row["endpoint"] for row in await endpoints("")] == [main]


async def test_the_key_of_an_app_sees_what_is_its_own(world: World) -> None:
    shop, main, other, elsewhere = await two_apps(world)
    went = Went(world)
    await went.on(shop, main, delivered=1)
    await went.on(other, elsewhere, delivered=2)
    went.published(9, owed=9)
    await went.write()
    client = await world.client_of(shop)
    totals = (await client.get("/v1/traffic")).json()["totals"]
    assert (totals["delivered"], totals["published"]) == (1, None)
    assert [row["endpoint"] for row in (await client.get("/v1/traffic/endpoints")).json()["data"]] == [main]
    for path in ("/v1/traffic?app=other", f"/v1/traffic/endpoints?app={other}"):
        reply = await client.get(path)
        assert (reply.status, reply.code) == (404, "app_not_found")
    for path in (f"/v1/traffic?endpoint={elsewhere}", f"/v1/traffic/endpoints?endpoint={elsewhere}"):
        reply = await client.get(path)
        assert (reply.status, reply.code) == (404, "endpoint_not_found")
    for path in ("/v1/traffic/apps", "/v1/attention", "/v1/system"):
        assert (await client.get(path)).status == 403


async def test_what_is_asked_in_a_wrong_way(world: World) -> None:
    await two_apps(world)
    for query, where in (
        ("since=2020-01-01T00:00:00Z", "?since"),
        ("since=2030-01-02T00:00:00Z&until=2030-01-01T00:00:00Z", "?since"),
        ("endpoint=main", "?endpoint"),
    ):
        reply = await world.admin.get(f"/v1/traffic?{query}")
        assert reply.status == 422, query
        assert where in reply.body.decode()
    many = "&".join(f"endpoint=ep_{n}" for n in range(51))
    assert (await world.admin.get(f"/v1/traffic/endpoints?{many}")).status == 422


async def test_what_needs_somebody(world: World) -> None:
    shop, main, other, elsewhere = await two_apps(world)
    closed = await world.endpoint("shop", uid="closed")
    by_hand = await world.endpoint("shop", uid="by-hand")
    assert (await world.admin.get("/v1/attention")).json() == {"data": [], "more": []}
    await world.admin.patch(f"/v1/apps/shop/endpoints/{by_hand}", {"enabled": False})
    await world.query(
        "UPDATE endpoint SET enabled = false, disabled_reason = 'gone', disabled_at = now() WHERE id = $1 RETURNING 1",
        raw(ENDPOINT, closed),
    )
    await world.query(
        "INSERT INTO endpoint_health (partition, endpoint_id, circuit, failing_since, opened_at)"
        " VALUES ($1, $2, 'open', now() - interval '1 hour', now()) RETURNING 1",
        await partition_of(world, shop),
        raw(ENDPOINT, main),
    )
    events = await world.publish(other, *[b"1"] * 120)
    await world.owe(events, elsewhere, due_at=2_000_000_000.0)
    traffic = Traffic(world.clock, process=OWNER)
    traffic.owed_to(
        {
            EndpointId(raw(ENDPOINT, elsewhere)): (await partition_of(world, other), AppId(raw(APP, other)), 120),
            EndpointId(raw(ENDPOINT, main)): (await partition_of(world, shop), AppId(raw(APP, shop)), 500),
        }
    )
    await PostgresTraffic(world.database).add(traffic.take())
    answer = (await world.admin.get("/v1/attention")).json()
    assert [(one["kind"], one["endpoint"], one["reason"], one["owed"]) for one in answer["data"]] == [
        ("endpoint_disabled", closed, "gone", 0),
        ("circuit_open", main, "open", 0),
        ("backlog", elsewhere, "growing", 120),
    ]
    assert all(one["since"] is not None and one["app_uid"] for one in answer["data"])
    assert answer["more"] == []


async def test_a_backlog_that_is_as_it_was_an_hour_ago_needs_nobody(world: World) -> None:
    _, _, other, elsewhere = await two_apps(world)
    told = {EndpointId(raw(ENDPOINT, elsewhere)): (await partition_of(world, other), AppId(raw(APP, other)), 300)}
    book = PostgresTraffic(world.database)
    now = world.clock.now()
    for seconds_ago in (0, 3_600):

        class Then:
            def now(self) -> float:
                return now - seconds_ago  # noqa: B023 - used at once

        traffic = Traffic(Then(), process=OWNER)  # type: ignore[arg-type]
        traffic.owed_to(told)
        await book.add(traffic.take())
    assert (await world.admin.get("/v1/attention")).json()["data"] == []


async def test_of_many_that_need_somebody_the_newest_are_told(world: World) -> None:
    shop = await world.app("shop")
    for number in range(52):
        await world.endpoint("shop", uid=f"e{number}")
    await world.query(
        "UPDATE endpoint SET enabled = false, disabled_reason = 'failing_for_days', disabled_at = now()"
        " WHERE app_id = $1 RETURNING 1",
        raw(APP, shop),
    )
    answer = (await world.admin.get("/v1/attention")).json()
    assert (len(answer["data"]), answer["more"]) == (50, ["endpoint_disabled"])


async def test_the_installation(world: World) -> None:
    overview = PostgresOverview(world.database, world.clock)
    presence = Presence(id=OWNER, host="here", pid=7, role="all", version="9", started_at=time.time() - 60)
    for _ in range(2):
        await overview.present(presence, kept_seconds=60)
    events = await world.publish(await world.app("shop"), b"1", b"2")
    partition = events[0].partition
    await world.query("UPDATE partition SET owner = $1, epoch = 3 WHERE id = $2 RETURNING 1", OWNER, partition)
    await world.query("UPDATE partition SET cursor = 1 WHERE id = $1 RETURNING 1", partition)
    answer = (await world.admin.get("/v1/system")).json()
    (process,) = answer["processes"]
    assert (process["host"], process["pid"], process["role"], process["self"]) == ("here", 7, "all", True)
    (owned,) = [one for one in answer["partitions"] if one["owner"] is not None]
    assert (owned["id"], owned["owner"], owned["head"], owned["cursor"], owned["behind"]) == (
        partition, process["id"], 2, 1, 1
    )  # fmt: skip
    assert owned["age_seconds"] >= 0
    assert (answer["behind"], process["partitions"]) == (1, 1)
    assert answer["database"]["migration"] >= 25
    assert answer["database"]["size_bytes"] > 0
    assert answer["settings"] == {"role": "all"}
    assert answer["warnings"] == []
    await overview.absent(OWNER)
    await world.query("UPDATE partition SET owner = NULL RETURNING 1")
    assert (await world.admin.get("/v1/system")).json()["processes"] == []
