"""Triggers on a platform's own PostgreSQL, which is a server of its own here: how many rows a second become events, how long
after its commit a row is one, and what a row trigger adds to the platform's own inserts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg

from bench.figures import Figure, Report, percentile
from bench.harness import EVENT_TYPE, Bench
from bench.observed import Observed, observed
from bench.scale import Scale
from bench.server import Broken
from posthouse.adapters.postgres.embedded import EmbeddedPostgres
from posthouse.adapters.postgres.examine import embedded_dsn
from posthouse.adapters.system.datadir import DataDir

APP: Final = "watched"
FILLER: Final = "x" * 100
ACTIVE_SECONDS_MAX: Final = 30.0
STATEMENT_ROWS: Final = 1_000
_TABLE: Final = "CREATE TABLE {} (id bigserial PRIMARY KEY, n text NOT NULL, t text NOT NULL, f text NOT NULL)"
_BURST: Final = """
INSERT INTO {} (n, t, f)
SELECT lpad($1::text, 4, '0') || lpad(i::text, 8, '0'), lpad($2::text, 19, '0'), $4
  FROM generate_series($3::int, $5::int - 1) i"""
_ONE: Final = "INSERT INTO {} (n, t, f) VALUES ($1, $2, $3)"


def measure(bench: Bench, scale: Scale, report: Report) -> None:
    dsn = embedded_dsn(bench.data)
    if not isinstance(dsn, str):
        raise Broken(f"the database of the server cannot be reached: {dsn}")
    bench.make_app(APP)
    asyncio.run(_measure(bench, scale, report, dsn))


async def _measure(bench: Bench, scale: Scale, report: Report, dsn: str) -> None:
    async with _platform(bench) as platform:
        for kind, settings in (("table", {"table": "watched_table"}), ("changes", {"tables": ["watched_changes"]})):
            table = f"watched_{kind}"
            async with _connection(platform) as connection:
                await connection.execute(_TABLE.format(table))
            body = {"uid": kind, "kind": kind, "type": EVENT_TYPE, "app": APP, "settings": {"dsn": platform} | settings}
            await asyncio.to_thread(bench.api, "POST", "/v1/triggers", body)
            await _until_active(bench, kind)
            await _rows(bench, scale, report, dsn, platform, kind)
            await asyncio.to_thread(bench.api, "POST", f"/v1/triggers/{kind}/pause")
        await _overhead(bench, scale, report, platform)


async def _rows(bench: Bench, scale: Scale, report: Report, dsn: str, platform: str, kind: str) -> None:
    count = scale.relay_events
    bursts = [await _burst(bench, dsn, platform, kind, count) for _ in range(scale.runs + 1)][1:]
    report.add(
        Figure(
            f"trigger_{kind}_rows_per_second",
            tuple(count / (run.last_published_at - run.began) for run in bursts),
            f"{count:,} rows in commits of {STATEMENT_ROWS:,}, until the last is in the log; with deliveries",
        ),
    )
    for rate in scale.relay_rates:
        runs = [await _paced(bench, dsn, platform, kind, rate, scale.relay_seconds) for _ in range(scale.runs)]
        for share, name in ((0.5, "p50"), (0.99, "p99")):
            report.add(
                Figure(
                    f"trigger_{kind}_{name}_ms_at_{rate}",
                    tuple(percentile(run.published_us, share) for run in runs),
                    f"{rate:,} commits/s for {scale.relay_seconds} s; from a row's commit to its event's place in the log",
                    2,
                )
            )


async def _burst(bench: Bench, dsn: str, platform: str, kind: str, rows: int) -> Observed:
    run = bench.begin(rows)
    began = time.time()
    async with _connection(platform) as connection:
        for first in range(0, rows, STATEMENT_ROWS):
            last = min(first + STATEMENT_ROWS, rows)
            statement = _BURST.format(f"watched_{kind}")
            await connection.execute(statement, str(run), str(time.time_ns()), first, FILLER, last)
    return await observed(bench, dsn, run, rows, began, f"a trigger of kind {kind}")


async def _paced(bench: Bench, dsn: str, platform: str, kind: str, rate: int, seconds: int) -> Observed:
    rows = rate * seconds
    run = bench.begin(rows)
    connections = [await asyncpg.connect(platform) for _ in range(8)]
    began = time.time()
    numbers = iter(range(rows))

    async def write(connection: asyncpg.Connection[asyncpg.Record]) -> None:
        for number in numbers:
            await asyncio.sleep(max(began + number / rate - time.time(), 0))
            told = f"{time.time_ns():019d}"
            await connection.execute(_ONE.format(f"watched_{kind}"), f"{run:04d}{number:08d}", told, FILLER)

    try:
        await asyncio.gather(*(write(connection) for connection in connections))
    finally:
        for connection in connections:
            await connection.close()
    return await observed(bench, dsn, run, rows, began, f"a trigger of kind {kind}")


async def _overhead(bench: Bench, scale: Scale, report: Report, platform: str) -> None:
    """The same inserts into a table with a row trigger and into one without, by turns. The trigger is paused: what is measured
    is the platform's own transaction."""
    async with _connection(platform) as connection:
        await connection.execute(_TABLE.format("bare_table"))
        await connection.execute("SET synchronous_commit = off")  # a flush would hide what the trigger takes
        for name, rows, told in (
            ("row", 1, "one row a commit"),
            ("statement", STATEMENT_ROWS, f"{STATEMENT_ROWS:,} rows a statement"),
        ):
            with_us: list[float] = []
            without_us: list[float] = []
            for turn in range(scale.runs + 1):
                commits = max(scale.relay_events // (10 if rows == 1 else rows), 1)
                for table, into in (("bare_table", without_us), ("watched_table", with_us)):
                    took = await _inserts(connection, table, commits, rows)
                    if turn:
                        into.append(took * 1e6 / (commits * rows))
            report.add(
                Figure(
                    f"trigger_table_overhead_us_{name}",
                    tuple(a - b for a, b in zip(with_us, without_us, strict=True)),
                    f"what a row trigger adds to an insert, {told}, commits not flushed; without: {_middle(without_us):.0f} µs",
                    1,
                )
            )


async def _inserts(connection: Any, table: str, commits: int, rows: int) -> float:
    began = time.perf_counter()
    for number in range(commits):
        if rows == 1:
            await connection.execute(_ONE.format(table), str(number), "0", FILLER)
        else:
            await connection.execute(_BURST.format(table), "0", "0", 0, FILLER, rows)
    return time.perf_counter() - began


def _middle(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


async def _until_active(bench: Bench, trigger: str) -> None:
    deadline = time.monotonic() + ACTIVE_SECONDS_MAX
    while True:
        found = await asyncio.to_thread(bench.api, "GET", f"/v1/triggers/{trigger}")
        if found["state"] == "active":
            return
        if time.monotonic() > deadline:
            raise Broken(f"the trigger does not become active: {found['failure']}")
        await asyncio.sleep(0.05)


@asynccontextmanager
async def _platform(bench: Bench) -> AsyncIterator[str]:
    """The platform's own PostgreSQL; its DSN."""
    held = DataDir.hold(bench.data.parent / "platform")
    postgres = EmbeddedPostgres(held.path, settings={"wal_level": "logical"})
    try:
        yield await postgres.start()
    finally:
        await postgres.stop()
        held.release()


@asynccontextmanager
async def _connection(dsn: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()
