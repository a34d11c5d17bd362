"""What people look at is read along an index, however much there is of everything: no plan scans a hot table."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from tests.integration.api_world import OWNER, World, raw, world_over

from posthouse.adapters.postgres import apps, audit, endpoints, event_types, inspect, jobs, overview, traffic, usage
from posthouse.adapters.postgres.database import Connection
from posthouse.domain.ids import APP, ENDPOINT, uuid7

HOT = ("event", "attempt", "delivery", "rollup_minute", "traffic", "traffic_latency", "endpoint_health", "job")
ROWS = 20_000
APPS = 10
NEWEST = b"\xff" * 16
OLDEST = bytes(16)


@pytest.fixture
async def world(database: str) -> AsyncIterator[World]:
    async with world_over(database) as made:
        yield made


def new_id(number: int) -> bytes:
    """Of the last seconds, all of one day: of two, shortly after midnight, one is so small that it is read as a whole."""
    now = int(time.time() * 1000)
    return uuid7(max(now - ROWS, now - now % 86_400_000) + number, secrets.randbits(74))


async def fill(world: World) -> tuple[bytes, bytes, int]:
    """Many rows of many apps; one app, one of its endpoints, and their partition."""
    owners = []
    for number in range(APPS):
        app = raw(APP, await world.app(f"app-{number}"))
        endpoints = [raw(ENDPOINT, await world.endpoint(f"app-{number}")) for _ in range(3)]
        ((partition,),) = await world.query("SELECT partition FROM app WHERE id = $1", app)
        owners += [(app, endpoint, partition) for endpoint in endpoints]
    chosen = [(new_id(number), *owners[number % len(owners)]) for number in range(ROWS)]
    columns = list(zip(*chosen, strict=True))
    await world.database.execute(
        "INSERT INTO event (id, partition, seq, app_id, config_version, type, key, content_type, payload, created_at)"
        " SELECT i, p, n, a, 1, 'type.' || n % 50, CASE WHEN n % 2 = 0 THEN 'key.' || n % 97 END,"
        " 'application/json', '1', now()"
        " FROM unnest($1::uuid[], $2::uuid[], $3::int[]) WITH ORDINALITY u (i, a, p, n)",
        columns[0],
        columns[1],
        columns[3],
    )
    await world.database.execute(
        "INSERT INTO attempt (partition, id, app_id, endpoint_id, event_id, seq, number, kind, outcome, reason, sent,"
        " revision, url, address, started_at, total_us)"
        " SELECT p, i, a, e, i, n, 1, 'live', CASE WHEN n % 100 = 0 THEN 'failed' ELSE 'delivered' END, 'confirmed', true,"
        " 1, 'https://example.com/', '', now(), 1000"
        " FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::int[]) WITH ORDINALITY u (i, a, e, p, n)",
        *columns,
    )
    await world.database.execute(
        "INSERT INTO delivery (partition, endpoint_id, event_id, seq, number, due_at, reason, payload_bytes)"
        " SELECT p, e, i, n, 2, now(), 'failed', 1"
        " FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::int[]) WITH ORDINALITY u (i, a, e, p, n)",
        *columns,
    )
    await world.database.execute(
        "INSERT INTO rollup_minute (partition, minute, app_id, endpoint_id, delivered)"
        " SELECT p, date_trunc('day', now(), 'UTC') + m * interval '1 minute', a, e, 1"
        " FROM unnest($1::uuid[], $2::uuid[], $3::int[]) u (a, e, p), generate_series(1, 500) m",
        *[list(column) for column in zip(*owners, strict=True)],
    )
    await world.database.execute(
        "WITH made AS (INSERT INTO traffic (level, minutes, at, scope, partition, app_id, delivered, failed)"
        " SELECT l, s, date_trunc('day', now(), 'UTC') + m * make_interval(mins => s),"
        "        CASE l WHEN 0 THEN $4 WHEN 1 THEN a ELSE e END, p, a, 1, 1"
        " FROM unnest($1::uuid[], $2::uuid[], $3::int[]) u (a, e, p), generate_series(0, 2) l,"
        "      unnest('{1, 10, 60, 1440}'::int[]) s, generate_series(0, 1440 / s - 1) m"
        " ON CONFLICT DO NOTHING RETURNING *)"
        " INSERT INTO traffic_latency SELECT level, minutes, at, scope, partition, '{0, 2}' FROM made",
        *[list(column) for column in zip(*owners, strict=True)],
        OWNER,
    )
    await world.database.execute(
        "INSERT INTO job (id, partition, app_id, endpoint_id, kind, state, request, first_seq, last_seq, finished_at)"
        " SELECT i, p, a, e, 'replay', CASE WHEN n % 100 = 0 THEN 'running' ELSE 'finished' END,"
        ' \'{"select": "all", "since": 0, "until": 1}\', 0, 1, CASE WHEN n % 100 > 0 THEN now() END'
        " FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::int[]) WITH ORDINALITY u (i, a, e, p, n)",
        *columns,
    )
    await world.database.execute("ANALYZE")
    return owners[0]


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


async def plan_of(connection: Connection, query: str, *arguments: object) -> dict[str, Any]:
    rows = await connection.fetch(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}", *arguments)
    found: dict[str, Any] = msgspec.json.decode(rows[0][0])[0]["Plan"]
    return found


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
async def test_no_list_scans_a_hot_table(world: World, mode: str) -> None:
    app, endpoint, partition = await fill(world)
    ((event,),) = await world.query(
        "SELECT event_id FROM attempt WHERE endpoint_id = $1 ORDER BY id LIMIT 1 OFFSET 5", endpoint
    )
    newest = [
        row[0]
        for row in await world.query(
            "SELECT event_id FROM delivery WHERE endpoint_id = $1 ORDER BY event_id DESC LIMIT 3", endpoint
        )
    ]
    sql = inspect.SQL
    midnight = time.time() // 86_400 * 86_400
    day = (midnight, midnight + 86_400)
    tens = [midnight + 600 * number for number in range(144)]
    cases: dict[str, tuple[str, tuple[object, ...]]] = {
        "events": (sql.events, (app, partition, NEWEST, OLDEST, None, None, 51)),
        "events of a type": (sql.events, (app, partition, NEWEST, OLDEST, "type.1", None, 51)),
        "events of a key": (sql.events_by_key, ("key.7", NEWEST, OLDEST, None, None, None, None, None, 51)),
        "events of an app with a key": (
            sql.events_by_key,
            ("key.7", NEWEST, OLDEST, None, None, partition, app, None, 51),
        ),
        "what follows from an event": (sql.events_by_cause, (event, NEWEST, OLDEST, None, None, None, None, 51)),
        "event": (sql.event, (event, partition, app)),
        "attempts of an event": (sql.event_attempts, (event, partition, app, NEWEST, OLDEST, 51)),
        "attempts": (sql.attempts, (app, partition, NEWEST, OLDEST, None, None, None, 51)),
        "attempts of an endpoint": (sql.attempts, (app, partition, NEWEST, OLDEST, endpoint, None, None, 51)),
        "failed attempts": (sql.attempts, (app, partition, NEWEST, OLDEST, None, "failed", None, 51)),
        "attempts of a type": (sql.attempts, (app, partition, NEWEST, OLDEST, None, None, "type.1", 51)),
        "attempt": (sql.attempt, (event, partition, app)),
        "owed": (sql.owed, (app, partition, NEWEST, NEWEST, None, 51, None, OLDEST)),
        "owed to an endpoint": (sql.owed, (app, partition, NEWEST, NEWEST, endpoint, 51, None, OLDEST)),
        "why an app is owed": (sql.owed_reasons, (app, partition, None, 501)),
        "why an endpoint is owed": (sql.owed_reasons, (app, partition, endpoint, 501)),
        "why all are owed": (sql.all_owed_reasons, (501,)),
        "paces": (sql.paces, ([endpoint], time.time() - 86_400, 15)),
        "positions": (sql.positions, ([endpoint] * 3, newest, 500)),
        "stats": (sql.stats, (partition, endpoint, time.time() - 3600, time.time())),
        "owed count": (sql.owed_count, (partition, endpoint, 10_000)),
        "events of all": (sql.all_events, (NEWEST, OLDEST, None, None, 51)),
        "any event": (sql.event, (event, None, None)),
        "routes of an event": (sql.event_routes, (event, None, None, OLDEST, 101)),
        "routes of an event to an app": (sql.event_routes, (event, partition, app, OLDEST, 101)),
        "whether an event is pending": (sql.event_pending, (event, None)),
        "attempts of any event": (sql.event_attempts, (event, None, None, NEWEST, OLDEST, 51)),
        "attempts of all": (sql.all_attempts, (NEWEST, OLDEST, None, None, 51)),
        "failed attempts of all": (sql.all_ill_attempts, (NEWEST, OLDEST, "failed", None, 51)),
        "any attempt": (sql.attempt, (event, None, None)),
        "owed of all": (sql.all_owed, (NEWEST, NEWEST, 51, None, OLDEST)),
        "cancel": (sql.cancel_facts, (partition, endpoint, event, app)),
        "newest attempt": (sql.newest_attempt, (partition,)),
        "resend": (sql.resend_facts, (partition, event, endpoint, app)),
        "replays": (jobs.SQL.replays, (app, NEWEST, OLDEST, 51, 1_000)),
        "replays of all": (jobs.SQL.replays, (None, NEWEST, OLDEST, 51, 1_000)),
        "replays to get on with": (jobs.SQL.live, ([partition], OLDEST, 100, 1_000)),
        "the stretch of a replay": (jobs.SQL.stretch, (partition, 100, 600, OLDEST, NEWEST, app, endpoint, OLDEST)),
        "what became of the chosen": (jobs.SQL.facts, (partition, endpoint, newest, OLDEST)),
        "rows of a replay": (jobs.SQL.outstanding, (partition, endpoint, 1_000)),
        "live replays": (jobs.SQL.count_live, (partition, app)),
        "endpoints": (endpoints.SQL.endpoints, (app, NEWEST, None, 51, None, None, None)),
        "all endpoints": (endpoints.SQL.all_endpoints, (NEWEST, 51)),
        "all endpoints that are enabled": (endpoints.SQL.all_endpoints_enabled, (NEWEST, 51, True)),
        "everything": (traffic.SQL.everything, (10, *day, 600)),
        "latencies of everything": (traffic.SQL.everything_latency, (10, *day, 600)),
        "an app": (traffic.SQL.of_scope, (1, 10, app, tens)),
        "an endpoint": (traffic.SQL.of_scope, (2, 10, endpoint, tens)),
        "an endpoint by minutes": (traffic.SQL.minutes_of_endpoint, (partition, endpoint, *day)),
        "where it went worst": (traffic.SQL.first_endpoints, (60, *day, None, "failed", 20)),
        "where it went worst in an app": (traffic.SQL.first_endpoints, (10, day[0], day[0] + 3_600, app, "failed", 20)),
        "apps where it went worst": (traffic.SQL.first_apps, (60, *day, "failed", 20)),
        "series": (traffic.SQL.series, (2, 60, [endpoint], tens[::6])),
        "latencies": (traffic.SQL.latencies, (2, 60, [endpoint], tens[::6])),
        "series by minutes": (traffic.SQL.minute_series, ([partition], [endpoint], *day)),
        "latencies by minutes": (traffic.SQL.minute_latencies, ([partition], [endpoint], *day)),
        "disabled endpoints": (overview.SQL.disabled, (51, 10, "by_hand")),
        "open circuits": (overview.SQL.circuits, (51, 10)),
        "unverified endpoints": (overview.SQL.unverified, (51, 10)),
        "backlogs": (overview.SQL.backlogs, (51, 10, 100, day[1] - 1_200, day[0])),
        "recent events of a type": (event_types.SQL.recent, ("type.1", 2_000, 100, 2**20)),
    }
    async with world.database.connection() as connection:
        await connection.execute(f"SET plan_cache_mode = {mode}")
        for name, (query, arguments) in cases.items():
            plan = await plan_of(connection, query, *arguments)
            for node in nodes(plan):
                relation = node.get("Relation Name", "")
                if any(relation == hot or relation.startswith(f"{hot}_2") for hot in HOT):
                    # An index that is walked far beyond what is asked for is a scan too; so an empty day may be scanned.
                    read = node["Actual Rows"] * node["Actual Loops"] + node.get("Rows Removed by Filter", 0)
                    assert read < (1 if node["Node Type"] == "Seq Scan" else 3_000), (name, mode, node)
        await connection.execute("RESET plan_cache_mode")


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
async def test_what_an_app_stores_is_counted_no_further_than_asked(world: World, mode: str) -> None:
    app, _, partition = await fill(world)
    async with world.database.transaction() as connection:
        await connection.execute(f"SET LOCAL plan_cache_mode = {mode}")
        await connection.execute(usage.SQL.walk_in_order)
        for after in (OLDEST, new_id(ROWS // 2)):
            arguments = ([app] * 2, [partition] * 2, [after] * 2, [NEWEST] * 2, 50)
            for node in nodes(await plan_of(connection, usage.SQL.count_stored, *arguments)):
                if node.get("Relation Name", "").startswith("event_"):
                    read = node["Actual Rows"] * node["Actual Loops"] + node.get("Rows Removed by Filter", 0)
                    assert read <= (0 if node["Node Type"] == "Seq Scan" else 100), (after, node)


MANY = 20_000
TABLES = ("app", "endpoint", "endpoint_health", "endpoint_verification", "audit")


async def test_no_list_over_all_apps_scans_the_configuration(world: World) -> None:
    """With many apps, of whose endpoints few are disabled and many deleted; and with a long audit."""
    app = raw(APP, await world.app("app"))
    await world.database.execute(
        "INSERT INTO app (id, partition, config_version, uid, name, quotas)"
        " SELECT i, 0, 1, 'shop-' || n, 'Shop ' || n, CASE WHEN n % 1000 = 0 THEN '{\"stored_bytes_max\": 1}'::jsonb END"
        " FROM unnest($1::uuid[]) WITH ORDINALITY u (i, n)",
        [new_id(number) for number in range(MANY)],
    )
    await world.database.execute(
        "INSERT INTO endpoint (id, app_id, uid, config, enabled, paused, deleted_at)"
        " SELECT i, $2, 'hook-' || n, jsonb_build_object('url', 'https://example.com/' || n), n % 1000 <> 0,"
        " n % 1000 = 1, CASE WHEN n > 10000 THEN now() END"
        " FROM unnest($1::uuid[]) WITH ORDINALITY u (i, n)",
        [new_id(number) for number in range(MANY)],
        app,
    )
    await world.database.execute(
        "INSERT INTO endpoint_health (partition, endpoint_id, circuit)"
        " SELECT 0, id, CASE WHEN uid LIKE '%00' THEN 'open' ELSE 'closed' END FROM endpoint"
    )
    await world.database.execute(
        "INSERT INTO endpoint_verification (endpoint_id, progress, sendable)"
        " SELECT id, '{}', uid NOT LIKE '%01' FROM endpoint"
    )
    await world.database.execute(
        "INSERT INTO audit (at, actor, action, object)"
        " SELECT now() - n * interval '1 second', 'key_' || n % 50,"
        " (CASE WHEN n % 500 = 0 THEN 'rare' ELSE 'app' END) || '.changed', 'app_' || n % 1000"
        " FROM generate_series(1, $1::int) n",
        MANY,
    )
    await world.database.execute("ANALYZE")
    latest = datetime(2100, 1, 1, tzinfo=UTC)
    long_ago = datetime.now(UTC) - timedelta(seconds=MANY - 1_000)
    first = datetime(1970, 1, 1, tzinfo=UTC)
    entries, last = audit.SQL.entries, 2**62
    both = ("force_custom_plan", "force_generic_plan")
    # The API's connections plan anew for each value: the audit's optional filters rely on that.
    custom = ("force_custom_plan",)
    cases: dict[str, tuple[tuple[str, ...], str, tuple[object, ...]]] = {
        "all endpoints": (both, endpoints.SQL.all_endpoints, (NEWEST, 51)),
        "all endpoints that are disabled": (both, endpoints.SQL.all_endpoints_enabled, (NEWEST, 51, False)),
        "all endpoints that are enabled": (both, endpoints.SQL.all_endpoints_enabled, (NEWEST, 51, True)),
        "endpoints that are paused": (both, endpoints.SQL.all_endpoints_paused, (NEWEST, 51, None)),
        "endpoints with an open circuit": (both, endpoints.SQL.all_endpoints_circuit_open, (NEWEST, 51, None)),
        "endpoints that are not verified": (both, endpoints.SQL.all_endpoints_unverified, (NEWEST, 51, None)),
        "endpoints found": (
            both,
            endpoints.SQL.endpoints_found,
            (None, ["hook-1"], ["https://example.com/7", "http://example.com/7"], 100, None, None, 51),
        ),
        "apps found": (both, apps.SQL.apps_found, (None, "shop-1", 100, 51)),
        "revisions": (both, endpoints.SQL.revisions, (app, new_id(1), 2**31 - 1, 51)),
        "apps with a bound": (both, usage.SQL.bounded_apps, (OLDEST, 20)),
        "audit": (custom, entries, (latest, last, first, None, None, None, None, 51)),
        "audit, further on": (custom, entries, (long_ago, last, first, None, None, None, None, 51)),
        "audit of a time": (custom, entries, (long_ago, last, long_ago, None, None, None, None, 51)),
        "audit of an actor": (custom, entries, (latest, last, first, "key_7", None, None, None, 51)),
        "audit of nobody": (custom, entries, (latest, last, first, "nobody", None, None, None, 51)),
        "audit of a thing": (custom, entries, (latest, last, first, None, "app_7", None, None, 51)),
        "audit of a kind": (custom, entries, (latest, last, first, None, None, "rare", None, 51)),
        "audit of an action": (custom, entries, (latest, last, first, None, None, "rare", "rare.changed", 51)),
        "names of keys": (both, audit.SQL.key_names, ([new_id(1)],)),
    }
    async with world.database.connection() as connection:
        for name, (modes, query, arguments) in cases.items():
            for mode in modes:
                await connection.execute(f"SET plan_cache_mode = {mode}")
                for node in nodes(await plan_of(connection, query, *arguments)):
                    if node.get("Relation Name") in TABLES:
                        read = node["Actual Rows"] * node["Actual Loops"] + node.get("Rows Removed by Filter", 0)
                        assert node["Node Type"] != "Seq Scan", (name, mode, node)
                        assert read < 3_000, (name, mode, node)
        await connection.execute("RESET plan_cache_mode")


async def test_blocked_lines_are_found_without_looking_at_what_else_is_owed(world: World) -> None:
    app, endpoint, partition = await fill(world)
    (row,) = await world.query(
        "UPDATE delivery SET reason = 'blocked', due_at = 'infinity', key_hash = 7 WHERE (endpoint_id, event_id) ="
        " (SELECT endpoint_id, event_id FROM delivery WHERE endpoint_id = $1 LIMIT 1) RETURNING event_id",
        endpoint,
    )
    for query, arguments in (
        (inspect.SQL.owed, (app, partition, NEWEST, NEWEST, None, 51, "blocked", OLDEST)),
        (inspect.SQL.owed, (app, partition, NEWEST, NEWEST, endpoint, 51, "blocked", OLDEST)),
        (inspect.SQL.all_owed, (NEWEST, NEWEST, 51, "blocked", OLDEST)),
    ):
        assert [found["event_id"] for found in await world.database.fetch(query, *arguments)] == [row[0]]
        async with world.database.connection() as connection:
            plan = await plan_of(connection, query, *arguments)
        used = {node["Index Name"] for node in nodes(plan) if node.get("Relation Name") == "delivery"}
        assert used <= {"delivery_blocked", "delivery_blocked_event"}, plan
