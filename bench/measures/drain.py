"""How long x owed deliveries take to drain: y = (a·x + b) / c seconds, with c the endpoint's concurrency.

An endpoint is paused, x events are published, every one becomes a row; then it is resumed, and its target answers each
request after a while, so that the target's time is what costs. Beyond that, where the installation is the limit, the model
fails: that is measured too, and shown.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from bench import fit
from bench.figures import Figure, Model, Report
from bench.harness import Bench, shares
from bench.measures.throughput import mission_run
from bench.scale import Scale
from bench.server import Broken

BATCH: Final = 500
ROWS_SECONDS_MAX: Final = 60
COUNTED_SECONDS_MAX: Final = 30


class Drain(NamedTuple):
    """One drain: how long it took, what the API had said of it, and what the server spent meanwhile."""

    deliveries: int
    concurrency: int
    seconds: float
    eta_ratio: float  # what `eta_seconds` of the last delivery had said, over what it took
    server_load: float  # of one core


def measure(bench: Bench, scale: Scale, report: Report) -> None:
    apps: dict[tuple[int, int], str] = {}
    estimated = {(concurrency, scale.drain_delay_ms) for _, concurrency in scale.drain_held_out}

    def drain(deliveries: int, concurrency: int, delay_ms: int) -> Drain:
        key = (concurrency, delay_ms)
        if key not in apps:
            # An endpoint of its own for each, so that its attempts of late are of this kind; a first drain does not count.
            apps[key] = bench.make_app(f"drain-{concurrency}-{delay_ms}", concurrency=concurrency)
            _drain(bench, apps[key], min(deliveries, 10 * concurrency), concurrency, delay_ms)
            if key in estimated:
                _wait_counted(bench, apps[key])
        return _drain(bench, apps[key], deliveries, concurrency, delay_ms)

    delay = scale.drain_delay_ms
    fitted = [(rounds * c, c) for rounds in scale.drain_rounds for c in scale.drain_concurrency]
    held_out = [(rounds * c, c) for rounds, c in scale.drain_held_out]
    drains: dict[tuple[int, int], list[Drain]] = {key: [] for key in (*fitted, *held_out)}
    loops = []
    for _ in range(scale.drain_samples):
        loops.append(mission_run(bench, scale.drain_mission_events, session=False, delay_seconds=delay / 1000))
        for x, c in drains:
            drains[x, c].append(drain(x, c, delay))
    medians = {key: statistics.median(d.seconds for d in found) for key, found in drains.items()}
    model = fit.shared_line([(x, c, medians[x, c]) for x, c in fitted])
    beyond = []
    for x, c, target_ms in scale.drain_beyond:
        found = drain(x, c, target_ms)
        # The slope is the target's time and ours: for another target, another slope.
        moved = fit.Fit(model.a + (target_ms - delay) / 1000, model.b, model.r_squared)
        point = _point(x, c, found.seconds, moved.at(x, c), [found])
        beyond.append(point | {"target_ms": float(target_ms)})
    report.add_model(
        Model(
            name="drain",
            formula="drain y = (a·x + b) / c",
            a=model.a,
            b=model.b,
            r_squared=model.r_squared,
            fitted=[_point(x, c, medians[x, c], model.at(x, c), drains[x, c]) for x, c in fitted],
            held_out=[_point(x, c, medians[x, c], model.at(x, c), drains[x, c]) for x, c in held_out],
            beyond=beyond,
            how=f"seconds, the median of {scale.drain_samples} for each size; the target answers after {delay} ms",
        )
    )
    ratios = [d.eta_ratio for key in held_out for d in drains[key]]
    report.add(
        Figure(
            "eta_ratio", tuple(ratios), "eta_seconds of the last delivery owed, over what it took; sizes held out", 2
        )
    )
    x, c = max(fitted)
    report.add(
        Figure(
            "slow_target_per_second",
            tuple(x / d.seconds for d in drains[x, c]),
            f"{x:,} owed deliveries to a target that answers after {delay} ms, {c} at once",
        ),
        Figure(
            "mission_slow_target_per_second",
            tuple(r.per_second for r in loops),
            f"a plain loop of `requests.post`, {scale.drain_mission_events} events to the same target; the same minutes",
        ),
    )
    _say_where_it_fails(report, model, beyond)


def _say_where_it_fails(report: Report, model: fit.Fit, beyond: Sequence[dict[str, float]]) -> None:
    for p in beyond:
        off = p["predicted"] / p["observed"] - 1
        if abs(off) > 0.25:
            report.remark(
                f"The drain model fails past saturation: at c = {p['c']:.0f} and a target of {p['target_ms']:.0f} ms "
                f"it predicts {p['predicted']:.2f} s, and it took {p['observed']:.2f} s, at {p['x'] / p['observed']:,.0f} "
                f"deliveries/s, with the server's process at {p['server_load']:.0%} of a core."
            )


def _wait_counted(bench: Bench, app: str) -> None:
    """Until the endpoint's attempts are in the counters from which the API estimates."""
    deadline = time.monotonic() + COUNTED_SECONDS_MAX
    while bench.api("GET", f"/v1/apps/{app}/endpoints/main/stats")["mean_duration_ms"] is None:
        if time.monotonic() > deadline:
            raise Broken(f"attempts were not counted within {COUNTED_SECONDS_MAX} s")
        time.sleep(0.1)


def _point(x: int, c: int, observed: float, predicted: float, drains: Sequence[Drain]) -> dict[str, float]:
    return {
        "x": float(x),
        "c": float(c),
        "observed": observed,
        "predicted": predicted,
        "server_load": statistics.median(d.server_load for d in drains),
    }


def _drain(bench: Bench, app: str, deliveries: int, concurrency: int, delay_ms: int) -> Drain:
    endpoint = f"/v1/apps/{app}/endpoints/main"
    bench.api("POST", f"{endpoint}/pause")
    run = bench.begin(deliveries, delay_seconds=delay_ms / 1000)
    bench.publish(bench.load(run, [app], deliveries, connections=1, batch=min(BATCH, deliveries)))
    deadline = time.monotonic() + ROWS_SECONDS_MAX
    while bench.api("GET", f"{endpoint}/stats")["owed"] < deliveries:
        if time.monotonic() > deadline:
            raise Broken(f"{deliveries} events for a paused endpoint were not all owed within {ROWS_SECONDS_MAX} s")
        time.sleep(0.02)
    before = bench.usage()
    began = time.time()
    bench.api("POST", f"{endpoint}/resume")
    asked = time.time()
    (last,) = bench.api("GET", f"/v1/apps/{app}/deliveries?limit=1")["data"]
    bench.wait_received(deliveries)
    after = bench.usage()
    received = bench.received("a drain")
    seconds = received.last_at - began
    return Drain(
        deliveries=deliveries,
        concurrency=concurrency,
        seconds=seconds,
        eta_ratio=last["eta_seconds"] / (received.last_at - asked),
        server_load=shares(before, after, seconds)["server"],
    )
