"""An outbox in a platform's own PostgreSQL: how fast a relay empties it, and how long after its commit an event is published.

The platform's database is another one of the same server, so that both share its disk and its CPU.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from bench.figures import Figure, Report, percentile
from bench.harness import EVENT_TYPE, Bench
from bench.observed import Observed, observed
from bench.scale import Scale
from bench.server import KEY, Broken
from posthouse.adapters.postgres.examine import embedded_dsn
from posthouse_sdk.outbox import emit_async
from posthouse_sdk.outbox.store import store_of

APP: Final = "relayed"
DATABASE: Final = "bench_platform"
FILLER: Final = "x" * 100
KEYS: Final = 1_000
_BURST: Final = f"""
INSERT INTO posthouse_outbox (type, app, event_key, data)
SELECT '{EVENT_TYPE}', '{APP}', 'key:' || i % {KEYS},
       format('{{"n":"%s%s","t":"%s","f":"{FILLER}"}}', lpad($1::text, 4, '0'), lpad(i::text, 8, '0'), lpad($2::text, 19, '0'))
  FROM generate_series(0, $3::int - 1) i"""


def measure(bench: Bench, scale: Scale, report: Report) -> None:
    dsn = embedded_dsn(bench.data)
    if not isinstance(dsn, str):
        raise Broken(f"the database of the server cannot be reached: {dsn}")
    platform = urlunsplit(urlsplit(dsn)._replace(path=f"/{DATABASE}"))
    asyncio.run(_install(dsn, platform))
    bench.make_app(APP)
    with _relay(bench, platform):
        bursts = [asyncio.run(_burst(bench, dsn, platform, scale.relay_events)) for _ in range(scale.runs + 1)][1:]
        report.add(
            Figure(
                "relay_events_per_second",
                tuple(scale.relay_events / (run.last_published_at - run.began) for run in bursts),
                f"{scale.relay_events:,} events of one commit, until the last is in the log; with deliveries",
            ),
        )
        for rate in scale.relay_rates:
            runs = [asyncio.run(_paced(bench, dsn, platform, rate, scale.relay_seconds)) for _ in range(scale.runs)]
            for share, name in ((0.5, "p50"), (0.99, "p99")):
                report.add(
                    Figure(
                        f"relay_{name}_ms_at_{rate}",
                        tuple(percentile(run.published_us, share) for run in runs),
                        f"{rate:,} commits/s for {scale.relay_seconds} s; from an event's commit to its place in the log",
                        2,
                    )
                )
            report.add(
                Figure(
                    f"relay_received_p50_ms_at_{rate}",
                    tuple(percentile(run.received.latencies_us, 0.5) for run in runs),
                    "the same runs, to its receipt at the target",
                    2,
                )
            )


async def _install(dsn: str, platform: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(f"CREATE DATABASE {DATABASE}")
    finally:
        await connection.close()
    store = store_of(platform)
    await store.install()
    await store.close()


@contextmanager
def _relay(bench: Bench, platform: str) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-m", "posthouse.cli.main", "relay", "--dsn", platform, "--log-level", "warning",
         "--url", f"http://127.0.0.1:{bench.port}"],
        env=os.environ | {"POSTHOUSE_KEY": KEY},
    )  # fmt: skip
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


async def _burst(bench: Bench, dsn: str, platform: str, events: int) -> Observed:
    run = bench.begin(events)
    connection = await asyncpg.connect(platform)
    try:
        async with connection.transaction():
            await connection.execute(_BURST, str(run), str(time.time_ns()), events)
            began = time.time()
    finally:
        await connection.close()
    return await observed(bench, dsn, run, events, began, "a relay")


async def _paced(bench: Bench, dsn: str, platform: str, rate: int, seconds: int) -> Observed:
    events = rate * seconds
    run = bench.begin(events)
    connections = [await asyncpg.connect(platform) for _ in range(8)]
    began = time.time()
    numbers = iter(range(events))

    async def write(connection: asyncpg.Connection[asyncpg.Record]) -> None:
        for number in numbers:
            await asyncio.sleep(max(began + number / rate - time.time(), 0))
            async with connection.transaction():
                # The last moment before the commit that can be written into it.
                data = {"n": f"{run:04d}{number:08d}", "t": f"{time.time_ns():019d}", "f": FILLER}
                await emit_async(connection, EVENT_TYPE, data, app=APP, key=f"key:{number % KEYS}")

    try:
        await asyncio.gather(*(write(connection) for connection in connections))
    finally:
        for connection in connections:
            await connection.close()
    return await observed(bench, dsn, run, events, began, "a relay")
