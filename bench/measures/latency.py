"""How long an event takes from its publish to its receipt, at a steady rate; and what of that is our own programs'."""

from __future__ import annotations

from typing import Final

from bench.figures import Figure, Report, interleaved, percentile
from bench.harness import Bench, Run
from bench.scale import Scale

POINTS: Final = (1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 98, 99, 99.5, 99.9, 100)
PACE_KEPT: Final = 0.95


def measure(bench: Bench, scale: Scale, report: Report) -> None:
    apps = bench.make_apps("paced", scale.apps)
    rate = scale.paced_rate
    events = rate * scale.paced_seconds
    rounds = interleaved(
        scale.runs,
        {
            "paced": lambda: bench.measure("paced", apps, events, rate=rate),
            "direct": lambda: bench.measure("paced, direct", apps, events, rate=rate, port=bench.target_port),
        },
    )
    paced, direct = rounds["paced"], rounds["direct"]

    def add(name: str, samples: list[float], how: str) -> None:
        report.add(Figure(f"{name}_at_{rate}", tuple(samples), how, 2))

    for share, name in ((0.5, "p50"), (0.99, "p99"), (0.999, "p999")):
        add(f"latency_{name}_ms", [percentile(r.received.latencies_us, share) for r in paced],
            f"{rate:,} events/s, evenly, for {scale.paced_seconds} s; publish to receipt")  # fmt: skip
    for share, name in ((0.5, "p50"), (0.99, "p99")):
        add(f"publish_{name}_ms", [percentile(r.answered_us, share) for r in paced], "the same runs, publish to 202")
        add(f"direct_latency_{name}_ms", [percentile(r.received.latencies_us, share) for r in direct],
            "the generator straight to the target: what the measuring adds")  # fmt: skip
    report.distributions[f"latency_ms_at_{rate}"] = distribution(paced)
    report.distributions[f"direct_latency_ms_at_{rate}"] = distribution(direct)
    report.distributions["percent"] = list(POINTS)
    slowest = max(r.published_seconds for r in paced)
    if scale.paced_seconds < PACE_KEPT * slowest:
        report.remark(f"The pace of {rate:,}/s was not kept: {events:,} events took {slowest:.1f} s.")


def distribution(runs: list[Run]) -> list[float]:
    """Milliseconds at each of `POINTS` per cent, over all runs."""
    together = sorted(us for run in runs for us in run.received.latencies_us)
    return [percentile(together, point / 100) for point in POINTS]
