"""What targets that hang, drip and flood do to the latency of the others: nothing, it should be."""

from __future__ import annotations

from bench.figures import Figure, Report, interleaved, percentile
from bench.harness import Bench
from bench.programs.hostile import BEHAVIOURS
from bench.scale import Scale


def measure(bench: Bench, scale: Scale, report: Report) -> None:
    healthy, beset = bench.make_apps("control", scale.apps), bench.make_apps("beset", scale.apps)
    for number, app in enumerate(beset):
        behaviour = list(BEHAVIOURS)[number % len(BEHAVIOURS)]
        bench.api("POST", f"/v1/apps/{app}/endpoints", {"url": f"http://127.0.0.1:{bench.hostile_port}/{behaviour}"})
    rate, events = scale.hostile_rate, scale.hostile_rate * scale.hostile_seconds
    rounds = interleaved(
        scale.runs,
        {
            "control": lambda: bench.measure("control", healthy, events, rate=rate),
            "beset": lambda: bench.measure("beside hostile targets", beset, events, rate=rate),
        },
    )
    pairs = [
        (percentile(bad.received.latencies_us, 0.99), percentile(good.received.latencies_us, 0.99))
        for good, bad in zip(rounds["control"], rounds["beset"], strict=True)
    ]
    report.add(
        Figure(
            "hostile_healthy_p99_ratio",
            tuple(bad / good for bad, good in pairs),
            f"healthy p99 at {rate}/s, each of {scale.apps} apps also with a target that hangs, drips, …; over a control run",
            2,
        ),
        Figure(
            "hostile_healthy_p99_ms",
            tuple(bad for bad, _ in pairs),
            "the p99 itself",
            2,
        ),
        Figure(
            "hostile_healthy_max_ms",
            tuple(run.received.latencies_us[-1] / 1000 for run in rounds["beset"]),
            "slowest healthy delivery of those runs",
            1,
        ),
    )
