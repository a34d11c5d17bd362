"""What the server's process holds in memory, after all the work before this."""

from __future__ import annotations

from bench.figures import Figure, Report
from bench.harness import Bench
from bench.scale import Scale


def measure(bench: Bench, _: Scale, report: Report) -> None:
    report.add(Figure("rss_mb", (bench.rss_mb(),), "the server's process, after throughput and latency"))
