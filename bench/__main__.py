"""`make bench`: measure this machine's Posthouse, and print one table.

The server with its embedded PostgreSQL, the publisher and the target are processes of their own, all on this machine.
Each figure is the median of several runs after a warm-up, with its spread; events are counted at the target.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from bench import machine
from bench.figures import Figure, Report
from bench.harness import Bench, running
from bench.measures import (
    audience,
    backlog,
    batch_cost,
    console,
    drain,
    hostile,
    https,
    isolation,
    latency,
    lists,
    many_endpoints,
    memory,
    relay,
    rendering,
    routing,
    soak,
    stored,
    throughput,
    triggers,
    workers,
)
from bench.scale import FULL, QUICK, SOAK_PARTS_MIN, Scale
from bench.server import Broken

Measure = Callable[[Bench, Scale, Report], None]

MEASURES: Final[dict[str, Measure]] = {
    "throughput": throughput.measure,
    "latency": latency.measure,
    "memory": memory.measure,
    "rendering": rendering.measure,
    "routing": routing.measure,
    "hostile": hostile.measure,
    "batch-cost": batch_cost.measure,
    "drain": drain.measure,
    "audience": audience.measure,
    "relay": relay.measure,
    "triggers": triggers.measure,
    "console": console.measure,
    # Each of these begins with an empty platform of its own.
    "https": https.measure,
    "isolation": isolation.measure,
    "many-endpoints": many_endpoints.measure,
    "workers": workers.measure,
    "backlog": backlog.measure,
    "stored": stored.measure,
    "lists": lists.measure,
    "soak": soak.measure,
}
EXTRA: Final = ("backlog", "stored", "lists", "soak")
"""Measured only where they are asked for, or in a quick run: with them, everything would take half an hour and more."""


def measured(scale: Scale, wanted: list[str]) -> dict[str, Any]:
    """Everything that was asked for, as it is written to the file. Raises Broken."""
    facts = machine.facts()
    versions = facts["versions"]
    print(
        f"Posthouse {versions['posthouse']} ({versions['commit']}) on {facts['cores']} cores ({facts['cpu']}), "
        f"{facts['memory_mb']:,} MB, {facts['system']}, Python {versions['python']}, PostgreSQL {versions['postgresql']}; "
        f"fdatasync {facts['fdatasync_ms']} ms, calibration {facts['calibration']}, load {facts['load_before']}"
    )
    report = Report()
    if facts["load_before"] > 0.5:
        report.remark("The machine was busy with something else as this began; take no figure from it.")
    began = time.monotonic()
    with running() as bench:
        for name in wanted:
            print(f"\n{name}", flush=True)
            started = time.monotonic()
            MEASURES[name](bench, scale, report)
            print(f"  ({time.monotonic() - started:.0f} s)", flush=True)
        bench.repeated += bench.late()
        print("\ncounted at the target", flush=True)
        report.add(
            Figure("counted_deliveries", (float(bench.deliveries),), f"over all {bench.runs} runs, warm-up included"),
            Figure("lost_deliveries", (float(bench.lost),), "over all runs; the first would have ended the benchmark"),
            Figure(
                "repeated_deliveries", (float(bench.repeated),), "over all runs; without a crash there should be none"
            ),
        )
    if bench.repeated:
        report.remark(f"{bench.repeated} deliveries were repeated though nothing crashed: this is worth a look.")
    facts["calibration_after"] = round(machine.calibrate())
    report.add(
        Figure(
            "bench_seconds",
            (time.monotonic() - began,),
            f"all of this; calibration {facts['calibration_after']} in the end",
        )
    )
    return {"machine": facts, **report.as_json()}


def default(*, quick: bool) -> list[str]:
    """What is measured where nothing is named."""
    return [name for name in MEASURES if quick or name not in EXTRA]


def names(text: str) -> list[str]:
    """Of measurements, with commas between. Raises ArgumentTypeError for one that is not there."""
    found = text.split(",")
    for name in found:
        if name not in MEASURES:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(MEASURES)}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--chart", type=Path, help="draw them there (.svg or .png)")
    parser.add_argument("--quick", action="store_true", help="see that everything works: its figures mean nothing")
    parser.add_argument(
        "--only",
        action="extend",
        type=names,
        metavar="NAME[,NAME]",
        help=f"these measurements, of: {', '.join(MEASURES)}; without it all but {', '.join(EXTRA)}",
    )
    parser.add_argument("--minutes", type=float, help="of the soak (default 10, at least 3)")
    parser.add_argument("--from-json", type=Path, help="measure nothing: draw the chart of figures written before")
    options = parser.parse_args()
    if options.from_json is not None:
        told = json.loads(options.from_json.read_text())
    else:
        try:
            scale = QUICK if options.quick else FULL
            if options.minutes is not None:
                scale = scale._replace(
                    soak_parts=max(round(options.minutes * 60 / FULL.soak_part_seconds), SOAK_PARTS_MIN)
                )
            told = measured(scale, options.only or default(quick=options.quick))
        except Broken as error:
            sys.exit(f"The benchmark is broken: {error}")
        if options.json is not None:
            options.json.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n")
    if options.chart is not None:
        from bench import chart

        chart.draw(told, options.chart)


if __name__ == "__main__":
    main()
