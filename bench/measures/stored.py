"""What goes through where there are ten million attempts in the store and a million deliveries owed, over an empty platform's.

Two platforms, empty and full, whose servers run in turn, each with a run that does not count after its start, and half a minute
in which it comes to rest: one that has just begun loads the apps of what is owed, as it falls due. The attempts lie in the
table of today, into which the new ones go, are like those that the server writes, and have the events they speak of; what is
owed is what an outage leaves (`outage.py`). For a bounded time and disk it is written by the database itself, today's table
without a log and its indexes at last; then it is vacuumed, and all of it is on the disk before anything is measured.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench import bulk, outage
from bench.bulk import Bulk
from bench.figures import Figure, Report
from bench.harness import EVENT_TYPE, Bench, Run, busy
from bench.outage import PER_APP
from bench.scale import Scale
from bench.server import Broken
from posthouse.adapters.postgres.embedded import EmbeddedPostgres

WARM_UP: Final = 3  # the run that does not count is so many times smaller
DISK_BYTES_AN_ATTEMPT: Final = 1_500  # with its share of the events, what is owed, and room to build the indexes
DISK_BYTES_SPARE: Final = 2**30
LOADING: Final = {"wal_level": "minimal", "max_wal_senders": "0", "maintenance_work_mem": "512MB", "work_mem": "256MB"}

_LIKE_ONE: Final = (
    # $1: app uids like this. What does not speak of the event is copied from an attempt that the server wrote.
    "INSERT INTO loading (partition, id, app_id, endpoint_id, event_id, seq, number, kind, outcome, reason, sent, revision,"
    "                     url, address, started_at, status, first_byte_us, total_us, response_headers, response_body)"
    " SELECT e.partition, overlay(e.id::text PLACING lpad(to_hex(p.n), 4, '0') FROM 25 FOR 4)::uuid, e.app_id, p.id, e.id,"
    "        e.seq, t.number, t.kind, t.outcome, t.reason, t.sent, t.revision, t.url, t.address, e.created_at, t.status,"
    "        t.first_byte_us, t.total_us, t.response_headers, t.response_body"
    "   FROM (SELECT * FROM attempt LIMIT 1) t"
    "  CROSS JOIN event e JOIN app a ON a.id = e.app_id"
    "   JOIN (SELECT id, app_id, row_number() OVER (PARTITION BY app_id) AS n FROM endpoint) p ON p.app_id = a.id"
    "  WHERE a.uid LIKE $1"
)
_INDEXES: Final = (
    "SELECT coalesce(pg_get_constraintdef(c.oid), pg_get_indexdef(i.indexrelid)) AS definition, c.oid IS NOT NULL AS is_key"
    "  FROM pg_index i LEFT JOIN pg_constraint c ON c.conindid = i.indexrelid WHERE i.indrelid = $1::text::regclass"
)
_BOUNDS: Final = "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE oid = $1::text::regclass"
_COUNTS: Final = "SELECT (SELECT count(*) FROM attempt) AS attempts, (SELECT count(*) FROM delivery) AS owed"


def measure(bench: Bench, scale: Scale, report: Report) -> None:
    with socket.socket() as dead:  # its port is ours, and nobody listens
        dead.bind(("127.0.0.1", 0))
        _measure(bench, scale, report, dead.getsockname()[1])


def _measure(bench: Bench, scale: Scale, report: Report, dead_port: int) -> None:
    bench.renew()
    apps = bench.make_apps("live", scale.apps)
    empty, full = bench.data, bench.folder / "stored"
    check_room(bench.folder, scale)
    bench.server.stop()
    bench.restart(data=full)
    bench.server.wait_ready()
    bench.api("POST", "/v1/event-types", {"name": EVENT_TYPE})
    bench.make_apps("live", scale.apps)
    bench.measure("for an attempt to copy", apps, scale.apps)
    bench.server.stop()
    began = time.monotonic()
    attempts, owed = asyncio.run(fill(full, scale, dead_port))
    os.sync()
    built = time.monotonic() - began
    gigabytes = sum(file.stat().st_size for file in full.rglob("*") if file.is_file()) / 1e9
    found: dict[Path, list[Run]] = {empty: [], full: []}
    for _ in range(scale.runs):
        for data, runs in found.items():
            bench.restart(data=data)
            bench.server.wait_ready()
            bench.measure("stored, warming up", apps, scale.events // WARM_UP)
            time.sleep(scale.stored_rest_seconds)
            runs.append(bench.measure("stored", apps, scale.events))
            bench.server.stop()
    shutil.rmtree(full, ignore_errors=True)
    bench.restart(data=empty)
    bench.server.wait_ready()

    def add(name: str, samples: list[float], how: str, digits: int = 0) -> None:
        report.add(Figure(f"stored_{name}", tuple(samples), how, digits))

    pairs = list(zip(found[full], found[empty], strict=True))
    add("events_per_second", [r.per_second for r in found[full]],
        f"{scale.events:,} events beside {attempts:,} stored attempts and {owed:,} owed deliveries")  # fmt: skip
    add(
        "empty_events_per_second",
        [r.per_second for r in found[empty]],
        "the same on an empty platform, in turn with it",
    )
    add(
        "ratio",
        [f.per_second / e.per_second for f, e in pairs],
        "events/s over those of the empty platform, run by run",
        3,
    )
    add("cpu_ratio", [f.all_us / e.all_us for f, e in pairs], "all CPU of a delivery, in the same way", 2)
    add("pg_cpu_us_per_delivery", [r.postgres_us for r in found[full]], "PostgreSQL, beside them", 1)
    add("gigabytes", [gigabytes], f"of the data directory; written in {built:.0f} s", 2)
    for sentence in busy("much stored", [*found[empty], *found[full]]):
        report.remark(sentence)


def check_room(folder: Path, scale: Scale) -> None:
    wanted = DISK_BYTES_SPARE + DISK_BYTES_AN_ATTEMPT * scale.stored_apps * scale.stored_events * PER_APP
    free = shutil.disk_usage(folder).free
    if free < wanted:
        raise Broken(f"this wants {wanted / 1e9:.0f} GB free in {folder}, and there are {free / 1e9:.0f}")


@asynccontextmanager
async def opened(data: Path) -> AsyncIterator[Bulk]:
    """The database of a data directory while no server runs, for writing much."""
    postgres = EmbeddedPostgres(data, shared_buffers_mb=512, durable=False, settings=LOADING)
    await postgres.start()
    try:
        async with bulk.writing(data) as platform:
            yield platform
    finally:
        await postgres.stop()


async def fill(
    data: Path,
    scale: Scale,
    dead_port: int,
    *,
    vary: Callable[[Bulk], Awaitable[None]] | None = None,
    outcome: str = "t.outcome",
) -> tuple[int, int]:
    """Write it all, while no server runs; how many attempts there are, and how many deliveries are owed. `vary` changes
    events before they are tried, and `outcome` is the SQL of what became of an attempt, of an event `e`."""
    async with opened(data) as platform:
        await outage.write_apps(platform, "stored", scale.stored_apps, dead_port)
        await outage.write_events(platform, "stored", scale.stored_apps, scale.stored_events)
        if vary is not None:
            await vary(platform)
        await _write_attempts(platform, outcome)
        await outage.write_outage(platform, scale.backlog_apps, scale.backlog_events, dead_port)
        await platform.tidy("event", "attempt", "delivery", "endpoint_health", "log_head", "partition")
        await platform.database.execute("CHECKPOINT")
        (counts,) = await platform.database.fetch(_COUNTS)
        return counts["attempts"], counts["owed"]


async def _write_attempts(platform: Bulk, outcome: str) -> None:
    """Those of the apps `stored-…`, one for each event and endpoint: a table that takes the place of today's."""
    today = f"attempt_{datetime.fromtimestamp(time.time(), UTC):%Y%m%d}"
    database = platform.database
    bounds = (await database.fetch(_BOUNDS, today))[0][0]
    indexes = await database.fetch(_INDEXES, today)
    async with database.transaction() as connection:  # a table that is made in it needs no log
        await connection.execute(f"CREATE TABLE loading (LIKE {today} INCLUDING DEFAULTS INCLUDING STORAGE)")
        await connection.execute(_LIKE_ONE.replace("t.outcome", outcome), "stored-%")
        for definition, is_key in indexes:
            _, _, columns = definition.partition(" USING ")
            await connection.execute(
                f"ALTER TABLE loading ADD {definition}" if is_key else f"CREATE INDEX ON loading USING {columns}"
            )
        await connection.execute(f"DROP TABLE {today}")
        await connection.execute(f"ALTER TABLE loading RENAME TO {today}")
        await connection.execute(f"ALTER TABLE attempt ATTACH PARTITION {today} {bounds}")
