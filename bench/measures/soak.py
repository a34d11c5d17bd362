"""Minutes at 70 % of the peak that the same run measured: whether latency, memory and open files stay where they are.

The peak is the median of a few runs at full speed. Then events come evenly, and at the end of each part (half a minute)
latencies are cut there, and the server and its PostgreSQL looked at. PostgreSQL's memory is what its processes have to
themselves: its shared buffers fill up in the beginning, and are bounded by their setting.

The verdict: without the first fifth, in which caches fill, a series is flat unless it rises by more than its allowance along
the median of its slopes, and that is not by chance (`trend.py`).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Final, NamedTuple

from bench import processes
from bench.figures import Figure, Report, percentile
from bench.harness import Bench, Usage, shares
from bench.scale import Scale
from bench.server import Broken
from bench.trend import Trend, trend

SHARE_OF_PEAK: Final = 0.7
CACHES_FILL: Final = 0.2  # of the parts
COLLECTIONS: Final = 'python_gc_collections_total{generation="%d"}'
PACE_KEPT: Final = 1.02


class Look(NamedTuple):
    """The end of a part: how many events had arrived by then, and what the processes were."""

    arrived: int
    usage: Usage
    rss_mb: float
    postgres_mb: float
    files: int
    collections: float  # of the garbage collector so far, of the oldest generation


class Part(NamedTuple):
    """What was measured of one part."""

    p50_ms: float
    p99_ms: float
    max_ms: float
    per_second: float
    rss_mb: float
    postgres_mb: float
    files: float
    collections: float
    cpu_us: float
    postgres_us: float
    others: float  # of a core, who has no part in it


class Series(NamedTuple):
    """One of the things that should be flat: its name, how it is told, and the share by which it may rise."""

    name: str
    how: str
    digits: int
    of: Callable[[Part], float]
    allowance: float


SERIES: Final = (
    Series("latency_p50_ms", "publish to receipt, by part", 2, lambda p: p.p50_ms, 0.2),
    Series("latency_p99_ms", "the same", 1, lambda p: p.p99_ms, 0.3),
    Series("rss_mb", "the server's process at the end of each part", 1, lambda p: p.rss_mb, 0.05),
    Series("postgres_mb", "what PostgreSQL's processes have to themselves", 1, lambda p: p.postgres_mb, 0.1),
    Series("files", "that the server's process has open, sockets among them", 0, lambda p: p.files, 0.05),
    Series("cpu_us_per_delivery", "the server's process", 1, lambda p: p.cpu_us, 0.1),
    Series("pg_cpu_us_per_delivery", "all of PostgreSQL", 1, lambda p: p.postgres_us, 0.15),
)


def measure(bench: Bench, scale: Scale, report: Report) -> None:
    apps = bench.make_apps("soak", scale.apps)
    peaks = [bench.measure("the peak", apps, scale.events).per_second for _ in range(scale.runs + 1)][1:]
    rate = int(SHARE_OF_PEAK * statistics.median(peaks))
    report.add(Figure("soak_peak_per_second", tuple(peaks), f"events/s at full speed; the soak has {rate:,}"))
    parts, seconds = _soak(bench, scale, apps, rate)
    _tell(scale, report, parts)
    wanted = scale.soak_parts * scale.soak_part_seconds
    if seconds > PACE_KEPT * wanted + 1:
        report.remark(f"The pace of {rate:,}/s was not kept: what takes {wanted:.0f} s took {seconds:.0f}.")
    if others := [number for number, part in enumerate(parts, 1) if part.others > 0.2]:
        report.remark(
            f"In parts {', '.join(map(str, others))} others took more than a fifth of a core from the machine."
        )


def _soak(bench: Bench, scale: Scale, apps: list[str], rate: int) -> tuple[list[Part], float]:
    events = int(rate * scale.soak_parts * scale.soak_part_seconds)
    load = bench.load(bench.begin(events), apps, events, rate=rate)
    looks = [_look(bench)]
    began = time.monotonic()
    bench.generator.tell(load)
    for part in range(1, scale.soak_parts + 1):
        time.sleep(max(began + part * scale.soak_part_seconds - time.monotonic(), 0.0))
        looks.append(_look(bench))
    published = bench.published(load)
    bench.wait_received(events)
    received = bench.received("the soak")
    latencies = received.arrivals_us
    parts = [
        _part(before, after, sorted(latencies[before.arrived : after.arrived])) for before, after in pairwise(looks)
    ]
    return parts, published.ended - published.started


def _look(bench: Bench) -> Look:
    server = bench.server
    return Look(
        arrived=bench.target.ask(("count",)),
        usage=bench.usage(),
        rss_mb=server.rss_mb(),
        postgres_mb=processes.tree_private_mb(server.postmaster),
        files=processes.files(server.pid),
        collections=server.metrics()[COLLECTIONS % 2],
    )


def _part(before: Look, after: Look, ordered: list[int]) -> Part:
    if not ordered:
        raise Broken("nothing arrived in a whole part of the soak")
    seconds = after.usage.at - before.usage.at
    return Part(
        p50_ms=percentile(ordered, 0.5),
        p99_ms=percentile(ordered, 0.99),
        max_ms=ordered[-1] / 1000,
        per_second=len(ordered) / seconds,
        rss_mb=after.rss_mb,
        postgres_mb=after.postgres_mb,
        files=float(after.files),
        collections=after.collections - before.collections,
        cpu_us=(after.usage.server - before.usage.server) / len(ordered) * 1e6,
        postgres_us=(after.usage.postgres - before.usage.postgres) / len(ordered) * 1e6,
        others=shares(before.usage, after.usage, seconds)["others"],
    )


def _tell(scale: Scale, report: Report, parts: list[Part]) -> None:
    _table(parts)
    steady = parts[int(len(parts) * CACHES_FILL) :]
    rising = []
    for series in SERIES:
        found = trend([series.of(part) for part in steady])
        how = f"{series.how}; {_words(found, series.allowance)}"
        report.add(Figure(f"soak_{series.name}", tuple(series.of(part) for part in parts), how, series.digits))
        if found.rises(series.allowance):
            rising.append(series.name)
    minutes = len(parts) * scale.soak_part_seconds / 60
    collected = sum(part.collections for part in parts)
    report.add(
        Figure("soak_max_ms", tuple(part.max_ms for part in parts), "the slowest of each part", 1),
        Figure("soak_per_second", tuple(part.per_second for part in parts), "events delivered"),
        Figure(
            "soak_full_collections",
            (collected,),
            f"of the garbage collector's oldest generation in {minutes:.1f} minutes",
        ),
        Figure("soak_rising", (float(len(rising)),), f"series that are not flat: {', '.join(rising) or 'none'}"),
    )
    report.remark("The soak was flat." if not rising else f"The soak was NOT flat: {', '.join(rising)} rose.")


def _words(found: Trend, allowance: float) -> str:
    return f"{found.change:+.1%} along the slope, z {found.z:+.1f}: {'RISES' if found.rises(allowance) else 'flat'}"


def _table(parts: list[Part]) -> None:
    print(f"  {'part':>4} {'events/s':>9} {'p50':>7} {'p99':>7} {'max ms':>7} {'RSS':>7} {'PG MB':>7} {'files':>5} {'GC':>3} "
          f"{'µs':>6} {'PG µs':>6} {'others':>6}")  # fmt: skip
    for number, p in enumerate(parts, 1):
        print(f"  {number:>4} {p.per_second:>9,.0f} {p.p50_ms:>7.2f} {p.p99_ms:>7.1f} {p.max_ms:>7.0f} {p.rss_mb:>7.1f} "
              f"{p.postgres_mb:>7.1f} {p.files:>5.0f} {p.collections:>3.0f} {p.cpu_us:>6.1f} {p.postgres_us:>6.1f} "
              f"{p.others:>6.0%}")  # fmt: skip
