"""What a million owed deliveries cost those who have nothing to do with them, and what happens as their targets come back.

On an empty platform: events at an even pace for healthy apps; how long the store takes to page owed rows in (the claim);
and how long a server takes from its start to the first delivery of a healthy endpoint. Then the server is stopped and a
backlog is written into its database, as an outage leaves it: a thousand apps of ten endpoints, a hundred events each that
are owed to all ten, every circuit open for an hour, its next probe within the five minutes of the longest interval. Whoever
connects to those endpoints is refused. The server is started, and all is measured again, with what the backlog costs by
itself taken off. At last the dead targets listen, and the healthy ones' latency is looked at while the backlog drains;
not until it has drained, which takes as long as its ramp. What comes of it twice is counted as repeated.
"""

from __future__ import annotations

import asyncio
import statistics
import time
import urllib.error
from typing import Final, NamedTuple

from bench import bulk, outage
from bench.figures import Figure, Report, percentile
from bench.harness import Bench, Run, Usage, Worker, busy
from bench.outage import PER_APP
from bench.programs import target
from bench.programs.generator import EVENT
from bench.scale import Scale
from bench.server import Broken
from posthouse.adapters.postgres.database import Database
from posthouse.adapters.postgres.embedded import EmbeddedPostgres
from posthouse.adapters.postgres.store import PostgresStore
from posthouse.adapters.system.keyring import Sealer, load_keyring
from posthouse.domain.ids import EndpointId
from posthouse.ports.store import Want

CLAIM_APP: Final = "claimed"
CLAIM_ENDPOINTS: Final = 10
CLAIM_ROWS: Final = 64  # a page of one endpoint
CLAIM_BYTES_MAX: Final = 16 * 1024 * 1024
ROWS_SECONDS_MAX: Final = 30
FIRST_SECONDS_MAX: Final = 60


class State(NamedTuple):
    """One state of the platform, measured: runs of healthy events, and the milliseconds of each page."""

    runs: list[Run]
    page_ms: list[float]
    idle: tuple[float, float]  # CPU seconds a second with nobody publishing: of the server's process, of PostgreSQL
    startup_seconds: float


def measure(bench: Bench, scale: Scale, report: Report) -> None:
    dead = Worker(target.run_dead)
    try:
        port: int = dead.told()
        dead.ask(("reset", outage.RUN, scale.backlog_apps * scale.backlog_events, 0.0))
        _measure(bench, scale, report, dead, port)
    finally:
        dead.stop(("stop",))


def _measure(bench: Bench, scale: Scale, report: Report, dead: Worker, port: int) -> None:
    bench.renew()
    healthy = bench.make_apps("healthy", scale.apps)
    _owe_some(bench)
    bench.server.stop()
    empty = _state(bench, scale, healthy)
    bench.server.stop()
    began = time.monotonic()
    asyncio.run(_fill(bench, scale, port))
    built = time.monotonic() - began
    full = _state(bench, scale, healthy)
    rss = bench.server.peak_rss_mb()
    _tell(scale, report, empty, full)
    report.add(
        Figure(
            "backlog_rss_mb",
            (rss,),
            f"the most that the server's process has held with it (it was written in {built:.0f} s)",
            0,
        )
    )
    _drain(bench, scale, report, dead, healthy, empty, full)


def _tell(scale: Scale, report: Report, empty: State, full: State) -> None:
    dead = scale.backlog_apps * PER_APP
    rows = dead * scale.backlog_events
    pairs = list(zip(full.runs, empty.runs, strict=True))
    report.add(
        Figure(
            "backlog_publish_cost_ratio",
            tuple(_cost(f, full.idle, scale) / _cost(e, empty.idle, scale) for f, e in pairs),
            f"CPU of server and PostgreSQL an event at {scale.backlog_rate}/s, less what they take by themselves, beside "
            f"{rows:,} rows owed to {dead:,} dead endpoints over {scale.backlog_apps:,} apps, over an empty platform",
            2,
        ),
        Figure(
            "backlog_publish_p50_ratio",
            tuple(percentile(f.answered_us, 0.5) / percentile(e.answered_us, 0.5) for f, e in pairs),
            "the median time until the 202 in those runs, in the same way",
            2,
        ),
        Figure(
            "backlog_claim_ratio",
            tuple(f / e for f, e in zip(_thirds(full.page_ms), _thirds(empty.page_ms), strict=True)),
            f"time to page in {CLAIM_ROWS} rows for each of {CLAIM_ENDPOINTS} endpoints, in the same way; medians of a third",
            2,
        ),
        Figure("backlog_claim_ms", _thirds(full.page_ms), "that time, beside them", 2),
        Figure(
            "backlog_startup_seconds",
            (full.startup_seconds,),
            f"from the start of the server, its PostgreSQL included, to the first delivery; empty: {empty.startup_seconds:.2f}",
            2,
        ),
        Figure(
            "backlog_idle_load",
            (sum(full.idle),),
            f"share of a core that server and PostgreSQL take with nobody publishing; empty: {sum(empty.idle):.3f}",
            3,
        ),
        Figure(
            "backlog_p99_ratio",
            tuple(_p99(f) / _p99(e) for f, e in pairs),
            "p99 of the healthy events in those runs, in the same way",
            2,
        ),
    )


def _cost(run: Run, idle: tuple[float, float], scale: Scale) -> float:
    """Microseconds of CPU for an event."""
    return run.cpu_us + run.postgres_us - sum(idle) / scale.backlog_rate * 1e6


def _p99(run: Run) -> float:
    return percentile(run.received.latencies_us, 0.99)


def _thirds(times: list[float]) -> tuple[float, ...]:
    """Medians of three stretches, so that there is a spread to tell."""
    size = max(len(times) // 3, 1)
    return tuple(statistics.median(times[start : start + size]) for start in (0, size, 2 * size) if times[start:])


def _state(bench: Bench, scale: Scale, healthy: list[str]) -> State:
    """Start the server, and measure."""
    seconds = _first_delivery(bench, healthy[0])
    before = bench.usage()
    time.sleep(scale.backlog_calm_seconds)
    idle = _a_second(before, bench.usage())
    runs = [_healthy(bench, scale, healthy) for _ in range(scale.runs + 1)][1:]
    return State(runs, asyncio.run(_page(bench, scale)), idle, seconds)


def _a_second(before: Usage, after: Usage) -> tuple[float, float]:
    seconds = after.at - before.at
    return (after.server - before.server) / seconds, (after.postgres - before.postgres) / seconds


def _healthy(bench: Bench, scale: Scale, healthy: list[str]) -> Run:
    events = scale.backlog_rate * scale.backlog_seconds
    return bench.measure("healthy apps", healthy, events, rate=scale.backlog_rate)


def _first_delivery(bench: Bench, app: str) -> float:
    """Seconds from the start of the server until an event for a healthy endpoint is there, published as soon as one can."""
    run = bench.begin(1)
    body = EVENT % (run, 0, time.time_ns())
    began = time.monotonic()
    bench.restart()
    while True:
        try:
            bench.server.send("POST", f"/v1/apps/{app}/events", body)
            break
        except (urllib.error.URLError, OSError) as error:
            if time.monotonic() - began > FIRST_SECONDS_MAX:
                raise Broken(f"no event was accepted within {FIRST_SECONDS_MAX} s of the start: {error}") from error
            time.sleep(0.01)
    while bench.target.ask(("count",)) < 1:
        if time.monotonic() - began > FIRST_SECONDS_MAX:
            raise Broken(f"nothing was delivered within {FIRST_SECONDS_MAX} s of the start")
        time.sleep(0.002)
    seconds = time.monotonic() - began
    bench.received("the first event after a start")
    bench.server.wait_ready()
    return seconds


# The claim


def _owe_some(bench: Bench) -> None:
    """Rows to page in: of paused endpoints, so that nobody else does."""
    bench.make_app(CLAIM_APP, CLAIM_ENDPOINTS, paused=True)
    bench.publish(bench.load(0, [CLAIM_APP], CLAIM_ROWS, connections=1, batch=CLAIM_ROWS))
    deadline = time.monotonic() + ROWS_SECONDS_MAX
    while bench.api("GET", f"/v1/apps/{CLAIM_APP}/endpoints/main/stats")["owed"] < CLAIM_ROWS:
        if time.monotonic() > deadline:
            raise Broken(f"events for paused endpoints were not owed within {ROWS_SECONDS_MAX} s")
        time.sleep(0.02)


async def _page(bench: Bench, scale: Scale) -> list[float]:
    """Milliseconds of each page, asked of the store as the engine does."""
    database = Database(bulk.dsn_of(bench.data), size=1)
    await database.open()
    try:
        sealer = Sealer(load_keyring(data_dir=bench.data, create=False))
        store = PostgresStore(database, database, sealer.open)
        rows = await database.fetch(
            "SELECT a.partition, e.id FROM endpoint e JOIN app a ON a.id = e.app_id WHERE a.uid = $1", CLAIM_APP
        )
        wants = [Want(partition, EndpointId(endpoint), CLAIM_ROWS, ()) for partition, endpoint in rows]
        took = []
        for number in range(scale.backlog_pages * 11 // 10):
            began = time.perf_counter()
            pages = await store.page(wants, now=time.time(), bytes_max=CLAIM_BYTES_MAX)
            if number >= scale.backlog_pages // 10:
                took.append((time.perf_counter() - began) * 1000)
            if sum(len(page.rows) for page in pages) != CLAIM_ROWS * len(wants):
                raise Broken("a page did not bring all the rows that there are")
        return took
    finally:
        await database.close()


# The backlog


async def _fill(bench: Bench, scale: Scale, port: int) -> None:
    """Write the backlog while no server runs, which would take new events for fresh ones."""
    postgres = EmbeddedPostgres(bench.data)
    await postgres.start()
    try:
        async with bulk.writing(bench.data) as platform:
            await outage.write_outage(platform, scale.backlog_apps, scale.backlog_events, port)
            await platform.tidy("event", "delivery", "endpoint_health", "log_head", "partition")
            await platform.database.execute("CHECKPOINT")
    finally:
        await postgres.stop()


def _drain(
    bench: Bench, scale: Scale, report: Report, dead: Worker, healthy: list[str], empty: State, full: State
) -> None:
    """The targets are there again: what that does to the others, as far as it is watched."""
    dead.tell(("recover",))
    began = time.monotonic()
    runs = [_healthy(bench, scale, healthy) for _ in range(scale.runs)]
    seconds = time.monotonic() - began
    counts, _, drained, _, _ = dead.ask(("report",))
    bench.repeated += sum(max(count - PER_APP, 0) for count in counts)
    report.add(
        Figure(
            "backlog_drain_p99_ratio",
            tuple(_p99(run) / _p99(control) for run, control in zip(runs, empty.runs, strict=True)),
            f"healthy p99 at {scale.backlog_rate}/s in the first {seconds:.0f} s after the dead targets came back, over an "
            "empty platform's",
            2,
        ),
        Figure("backlog_drain_p99_ms", tuple(_p99(run) for run in runs), "the p99 itself", 2),
        Figure(
            "backlog_drained_per_second",
            (drained / seconds,),
            f"owed deliveries that arrived meanwhile, beside {scale.backlog_rate} fresh ones a second; {drained:,} in all",
            0,
        ),
        Figure(
            "backlog_peak_rss_mb",
            (bench.server.peak_rss_mb(),),
            "the most that the server's process has held at all",
            0,
        ),
    )
    for sentence in busy("a backlog", [*empty.runs, *full.runs, *runs]):
        report.remark(sentence)
    if drained == 0:
        report.remark("Nothing of the backlog was delivered while it was watched.")
