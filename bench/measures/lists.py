"""How long each list and chart that the console asks for takes, where there are ten million attempts in the store, a million
deliveries owed, and ten thousand endpoints of which something went on all the time.

What is stored is as for `stored`, but that one attempt in some thousands failed, and one event in some thousands is of a rare
type and has a key and a subject of its own. Requests go one after the other, to the first page and on to the next ones; the
first of each list does not count.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from http.client import HTTPConnection
from typing import Any, Final
from urllib.parse import urlencode

from bench.bulk import Bulk
from bench.figures import Figure, Report
from bench.harness import EVENT_TYPE, Bench
from bench.measures.stored import check_room, fill, opened
from bench.scale import Scale
from bench.server import KEY, Broken

RARE: Final = "bench.rare"
GOAL_MS: Final = 300

_OUTCOME: Final = (
    "CASE WHEN e.seq % 97 = 3 AND p.n = 3 THEN 'failed' WHEN e.seq % 997 = 5 AND p.n = 5 THEN 'gave_up'"
    " ELSE t.outcome END"
)
_RARE: Final = "UPDATE event SET type = $1, key = 'order-1', subject = 'somebody' WHERE seq % 9973 = 11"
# $1: the process; $2: how many endpoints. Of an endpoint each span that a chart or a ranking may read: for the last hours those
# of ten minutes, for the last days hours, and days for a month; of everything those of minutes and hours, too.
_TRAFFIC: Final = (
    "WITH made AS ("
    " INSERT INTO traffic (level, minutes, at, scope, partition, app_id, published, delivered, failed, gave_up, owed)"
    " SELECT s.level, s.minutes, s.at, s.scope, s.partition, s.app_id, 1000, 1000, s.n % 7, s.n % 3, 100000"
    "   FROM (SELECT l.level, l.minutes, date_bin(make_interval(mins => l.minutes),"
    "                now() - g.n * make_interval(mins => l.minutes), 'epoch') AS at, t.scope, t.partition, t.app_id, t.n"
    "           FROM (VALUES (0, 1, 360), (0, 10, 432), (0, 60, 720), (0, 1440, 30), (1, 10, 37), (1, 60, 49), (1, 1440, 31),"
    "                        (2, 10, 37), (2, 60, 49), (2, 1440, 31)) l (level, minutes, spans)"
    "          CROSS JOIN LATERAL generate_series(0, l.spans - 1) g (n)"
    "           JOIN (SELECT 0 AS level, $1::uuid AS scope, 0 AS partition, NULL::uuid AS app_id, 1 AS n"
    "                  UNION ALL (SELECT 1, a.id, a.partition, a.id, row_number() OVER (ORDER BY a.id) FROM app a LIMIT $2)"
    "                  UNION ALL (SELECT 2, e.id, a.partition, a.id, row_number() OVER (ORDER BY e.id)"
    "                               FROM endpoint e JOIN app a ON a.id = e.app_id LIMIT $2)) t ON t.level = l.level) s"
    "  WHERE s.at >= date_trunc('day', now(), 'UTC') - interval '31 days' ON CONFLICT DO NOTHING RETURNING *)"
    " INSERT INTO traffic_latency SELECT level, minutes, at, scope, partition, array_fill(20::bigint, ARRAY[40]) FROM made"
)
_DAY: Final = (
    "CREATE TABLE IF NOT EXISTS {2}_{0:%Y%m%d} PARTITION OF {2} FOR VALUES FROM ('{0:%Y-%m-%d} 00:00:00+00')"
    " TO ('{1:%Y-%m-%d} 00:00:00+00')"
)


def measure(bench: Bench, scale: Scale, report: Report) -> None:
    with socket.socket() as dead:  # its port is ours, and nobody listens
        dead.bind(("127.0.0.1", 0))
        _measure(bench, scale, report, dead.getsockname()[1])


def _measure(bench: Bench, scale: Scale, report: Report, dead_port: int) -> None:
    check_room(bench.folder, scale)
    bench.renew()
    apps = bench.make_apps("live", scale.apps)
    bench.measure("for an attempt to copy", apps, scale.apps)
    bench.server.stop()
    attempts, owed = asyncio.run(fill(bench.data, scale, dead_port, vary=_vary, outcome=_OUTCOME))
    asyncio.run(_chart(bench, scale))
    os.sync()
    bench.restart()
    bench.server.wait_ready()
    worst: dict[str, float] = {}
    for name, path, query in _asked(bench):
        took = sorted(_ask(bench, path, query, scale.list_requests))
        p50, p95 = took[len(took) // 2], took[min(int(len(took) * 0.95), len(took) - 1)]
        worst[name] = p95
        report.add(
            Figure(f"list_{name}_p50_ms", (p50,), f"{path}?{urlencode(query, doseq=True)[:60]}", 1),
            Figure(f"list_{name}_p95_ms", (p95,), "the same", 1),
        )
    slowest = max(worst, key=lambda name: worst[name])
    report.add(
        Figure(
            "lists_slowest_p95_ms",
            (worst[slowest],),
            f"{slowest}, beside {attempts:,} attempts and {owed:,} owed; the goal is {GOAL_MS}",
            1,
        )
    )


async def _vary(platform: Bulk) -> None:
    await platform.database.execute(_RARE, RARE)


async def _chart(bench: Bench, scale: Scale) -> None:
    """Write what went on over a month, while no server runs."""
    async with opened(bench.data) as platform:
        today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        for days_ago in range(32):
            first = datetime.fromtimestamp(today.timestamp() - days_ago * 86_400, UTC)
            after = datetime.fromtimestamp(first.timestamp() + 86_400, UTC)
            for table in ("traffic", "traffic_latency"):
                await platform.database.execute(_DAY.format(first, after, table))
        await platform.database.execute(_TRAFFIC, bytes(15) + b"\1", scale.charted_endpoints)
        await platform.database.execute("VACUUM ANALYZE traffic, traffic_latency")


def _asked(bench: Bench) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """What the console asks for: a name, the path and its parameters."""
    now = time.time()
    rows = bench.api("GET", "/v1/endpoints?limit=50")["data"]
    (stored,) = bench.api("GET", "/v1/apps?limit=1")["data"]
    failed = bench.api("GET", "/v1/attempts?outcome=failed&limit=1")["data"][0]
    of_one = {"app": failed["app"], "endpoint": failed["endpoint"]}

    def since(seconds: float) -> dict[str, str]:
        return {"since": datetime.fromtimestamp(now - seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}

    day, month = since(86_400), since(30 * 86_400)
    yield "attempts", "/v1/attempts", {}
    yield "attempts_day", "/v1/attempts", day
    yield "attempts_failed", "/v1/attempts", day | {"outcome": "failed"}
    yield "attempts_gave_up", "/v1/attempts", day | {"outcome": "gave_up"}
    yield "attempts_delivered", "/v1/attempts", day | {"outcome": "delivered"}
    yield "attempts_common_type", "/v1/attempts", day | {"type": EVENT_TYPE}
    yield "attempts_rare_type", "/v1/attempts", day | {"type": RARE}
    yield "attempts_no_type", "/v1/attempts", {"type": "there.is.none"}
    yield "attempts_app", "/v1/attempts", day | {"app": failed["app"]}
    yield "attempts_endpoint", "/v1/attempts", day | of_one
    yield "attempts_endpoint_failed", "/v1/attempts", day | of_one | {"outcome": "failed"}
    yield "attempts_endpoint_rare_type", "/v1/attempts", day | of_one | {"type": RARE}
    yield "events", "/v1/events", {}
    yield "events_common_type", "/v1/events", day | {"type": EVENT_TYPE}
    yield "events_rare_type", "/v1/events", day | {"type": RARE}
    yield "events_no_type", "/v1/events", {"type": "there.is.none"}
    yield "events_subject", "/v1/events", day | {"subject": "somebody"}
    yield "events_key", "/v1/events", day | {"key": "order-1"}
    yield "events_app", "/v1/events", day | {"app": failed["app"]}
    yield "events_app_rare_type", "/v1/events", day | {"app": failed["app"], "type": RARE}
    yield "owed", "/v1/deliveries", {}
    yield "owed_reason", "/v1/deliveries", {"reason": "circuit_open"}
    yield "owed_rare_reason", "/v1/deliveries", {"reason": "paused"}
    yield "owed_app", "/v1/deliveries", {"app": stored["id"]}
    yield "traffic_hour", "/v1/traffic", since(3_600)
    yield "traffic_day", "/v1/traffic", day
    yield "traffic_month", "/v1/traffic", month
    yield "traffic_endpoint_day", "/v1/traffic", day | {"endpoint": rows[0]["id"]}
    yield "traffic_endpoints_hour", "/v1/traffic/endpoints", since(3_600)
    yield "traffic_endpoints_6h", "/v1/traffic/endpoints", since(6 * 3_600)
    yield "traffic_endpoints_day", "/v1/traffic/endpoints", day
    yield "traffic_endpoints_month", "/v1/traffic/endpoints", month
    yield "traffic_50_endpoints_day", "/v1/traffic/endpoints", day | {"endpoint": [row["id"] for row in rows]}
    yield "traffic_apps_day", "/v1/traffic/apps", day
    yield "traffic_apps_month", "/v1/traffic/apps", month
    yield "attention", "/v1/attention", {}
    yield "system", "/v1/system", {}
    yield "endpoints", "/v1/endpoints", {}
    yield "apps", "/v1/apps", {}
    yield "audit", "/v1/audit", {}


def _ask(bench: Bench, path: str, query: Mapping[str, Any], requests: int) -> Iterator[float]:
    """How long each request took, in milliseconds; a page leads to the next one, and the last one to the first."""
    connection = HTTPConnection("127.0.0.1", bench.port, timeout=30)
    cursor = None
    for number in range(requests + 1):
        asked = urlencode({**query, **({"cursor": cursor} if cursor else {})}, doseq=True)
        began = time.perf_counter()
        connection.request("GET", f"{path}?{asked}", headers={"authorization": f"Bearer {KEY}"})
        answer = connection.getresponse()
        body = answer.read()
        took = (time.perf_counter() - began) * 1000
        if answer.status != 200:
            raise Broken(f"GET {path}?{asked} answered {answer.status}: {body[:300]!r}")
        cursor = json.loads(body).get("next")
        if number:
            yield took
    connection.close()
