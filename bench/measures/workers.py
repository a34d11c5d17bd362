"""What more workers cost PostgreSQL: its CPU for an event, and what its backends wait for, with 1, 2 and 4 of them.

One platform; before each run the server is started again with so many workers, the partitions spread over them, and there is
a run that does not count. In another one after it `pg_stat_activity` is looked at many times a second: what each backend that
works is at, on the CPU or waiting, and for what (to look is work for PostgreSQL, too, the more the more backends there are).
On a machine of few cores more workers cannot do more: it is the cost that is compared.

It is compared under two loads. Workers are added because more is asked of a server: so each brings as many connections as one
has. And where the connections stay as many as they were, each worker has a part of them, and its commits a part of the events.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

import asyncpg

from bench.bulk import dsn_of
from bench.figures import Figure, Report
from bench.harness import CONNECTIONS, OURS, Bench, Run, busy
from bench.scale import Scale
from bench.server import Broken

EVERY_SECONDS: Final = 0.02
SPREAD_SECONDS_MAX: Final = 30
TOLD_WAITS: Final = 4
WARM_UP: Final = 3  # runs beside the one that counts are so many times smaller

_ACTIVE: Final = (
    "SELECT coalesce(wait_event_type, 'CPU') AS kind,"
    "       coalesce(wait_event, '') || CASE WHEN wait_event_type = 'Lock'"
    "                                        THEN ' in ' || coalesce(substring(regexp_replace(query, '--[^\n]*', '', 'g')"
    "                                                                          FROM '(\\w+) *[(]'), 'a statement')"
    "                                        ELSE '' END AS name,"
    "       count(*) AS backends"
    "  FROM pg_stat_activity WHERE state = 'active' AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
    " GROUP BY 1, 2"
)
_OF_ROWS: Final = ("transactionid", "tuple")
"""What who waits for a row waits for (PostgreSQL, "Wait Events of Type Lock"); others wait as a table is made longer, say."""
_WAL: Final = "SELECT (pg_current_wal_insert_lsn() - '0/0')::float8"
_OWNERS: Final = "SELECT count(*) FROM partition GROUP BY owner, lease_until > clock_timestamp()"


class Waits:
    """What the backends that worked were at, each time that somebody looked: on the CPU, or waiting for what. And how much was
    written to the WAL meanwhile."""

    def __init__(self) -> None:
        self.seen: Counter[tuple[str, str]] = Counter()
        self.wal_bytes = 0.0

    def note(self, kind: str, name: str, backends: int) -> None:
        """A backend that waits for its client is not at work."""
        if kind != "Client":
            self.seen[kind, name] += backends

    def share(self, kind: str, *events: str) -> float:
        """Of the time of all backends that worked; `events` are those of the kind that count, all where none is named."""
        counts = [n for (of, name), n in self.seen.items() if of == kind and name.startswith(events or "")]
        return sum(counts) / max(self.seen.total(), 1)

    def __str__(self) -> str:
        """The largest parts, in words."""
        total = max(self.seen.total(), 1)
        parts = self.seen.most_common(TOLD_WAITS)
        return ", ".join(f"{kind}{':' if name else ''}{name} {count / total:.0%}" for (kind, name), count in parts)


class Watched(NamedTuple):
    """A run, and what PostgreSQL waited for in a shorter one after it."""

    run: Run
    looked_at: Run
    waits: Waits


def measure(bench: Bench, scale: Scale, report: Report) -> None:
    bench.renew()
    apps = bench.make_apps("workers", scale.apps)
    found: dict[int, list[Watched]] = {workers: [] for workers in scale.workers}
    shared: dict[int, list[Run]] = {workers: [] for workers in scale.workers[1:]}
    for _ in range(scale.worker_rounds):
        for workers, runs in found.items():
            bench.server.stop()
            bench.restart(workers=workers)
            bench.server.wait_ready()
            asyncio.run(_wait_spread(dsn_of(bench.data), workers))
            many = CONNECTIONS * workers
            # By as many connections: each process opens its own to the database, and looks for the apps, as they come.
            bench.measure("workers, warming up", apps, scale.events // WARM_UP, connections=many)
            run = bench.measure(f"{workers} workers", apps, scale.events, connections=many)
            with watching(dsn_of(bench.data)) as waits:
                looked_at = bench.measure("workers, looked at", apps, scale.events // WARM_UP, connections=many)
            runs.append(Watched(run, looked_at, waits))
            if workers > 1:
                shared[workers].append(
                    bench.measure(f"{workers} workers, the same load", apps, scale.events // WARM_UP)
                )
    bench.server.stop()
    bench.restart()
    bench.server.wait_ready()
    _tell(scale, report, found, shared)


def _tell(scale: Scale, report: Report, found: dict[int, list[Watched]], shared: dict[int, list[Run]]) -> None:
    alone = found[1]
    for workers, watched in found.items():
        runs = [w.run for w in watched]

        def add(name: str, samples: list[float], how: str, digits: int = 0, *, workers: int = workers) -> None:
            report.add(Figure(f"workers{workers}_{name}", tuple(samples), how, digits))

        add("events_per_second", [r.per_second for r in runs],
            f"{scale.events:,} events, one endpoint each, {CONNECTIONS * workers} connections")  # fmt: skip
        add("cpu_us_per_delivery", [r.cpu_us for r in runs], "all of the server's processes", 1)
        add("pg_cpu_us_per_delivery", [r.postgres_us for r in runs], "all of PostgreSQL", 1)
        if workers > 1:
            add("pg_cpu_ratio", [w.run.postgres_us / one.run.postgres_us for w, one in zip(watched, alone, strict=True)],
                "PostgreSQL's CPU of a delivery over that with one worker, run by run", 2)  # fmt: skip
            add("pg_cpu_ratio_same_load",
                [run.postgres_us / one.run.postgres_us for run, one in zip(shared[workers], alone, strict=True)],
                f"the same, where all workers together have the {CONNECTIONS} connections that one has", 2)  # fmt: skip
        together = Waits()
        for one in watched:
            together.seen.update(one.waits.seen)
        add("lock_share", [w.waits.share("Lock", *_OF_ROWS) for w in watched],
            f"of the time of PostgreSQL's busy backends they waited for a row's lock; in all {together}", 4)  # fmt: skip
        add("lwlock_share", [w.waits.share("LWLock") for w in watched],
            "the same, for one of PostgreSQL's own short locks; that of the WAL's flush is one of them", 3)  # fmt: skip
        add("wal_bytes_per_delivery", [w.waits.wal_bytes / w.looked_at.received.deliveries for w in watched],
            "written to the WAL, the event's commit and its attempt's")  # fmt: skip
        add("load", [sum(r.shares[name] for name in OURS) for r in runs],
            "share of one core of everything that takes part", 2)  # fmt: skip
        for sentence in busy(f"{workers} workers", runs):
            report.remark(sentence)


async def _wait_spread(dsn: str, workers: int) -> None:
    """Until that many processes own all partitions, as evenly as can be."""
    connection = await asyncpg.connect(dsn)
    try:
        deadline = time.monotonic() + SPREAD_SECONDS_MAX
        while True:
            counts = [count for (count,) in await connection.fetch(_OWNERS)]
            if len(counts) == workers and max(counts) - min(counts) <= 1:
                return
            if time.monotonic() > deadline:
                raise Broken(f"{workers} workers did not share the partitions within {SPREAD_SECONDS_MAX} s: {counts}")
            await asyncio.sleep(0.05)
    finally:
        await connection.close()


@contextmanager
def watching(dsn: str) -> Iterator[Waits]:
    """Look, from a thread of its own, until the end of the block."""
    waits, stop = Waits(), threading.Event()

    async def look() -> None:
        connection = await asyncpg.connect(dsn)
        try:
            statement = await connection.prepare(_ACTIVE)
            before: float = await connection.fetchval(_WAL)
            while not stop.is_set():
                for row in await statement.fetch():
                    waits.note(*row)
                await asyncio.sleep(EVERY_SECONDS)
            waits.wal_bytes = await connection.fetchval(_WAL) - before
        finally:
            await connection.close()

    thread = threading.Thread(target=lambda: asyncio.run(look()))
    thread.start()
    try:
        yield waits
    finally:
        stop.set()
        thread.join()
