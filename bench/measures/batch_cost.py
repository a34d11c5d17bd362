"""What a batch of x events costs: y = a·x + b seconds, over HTTP and for the append to the log alone."""

from __future__ import annotations

import statistics
from array import array
from collections.abc import Mapping, Sequence

from bench import fit
from bench.figures import Model, Report
from bench.harness import Bench
from bench.programs.floor import Append
from bench.scale import Scale


def measure(bench: Bench, scale: Scale, report: Report) -> None:
    app = bench.make_app("batches")
    sizes = (*scale.batch_sizes, *scale.batch_held_out)
    _publish(bench, app, max(sizes))  # a first one of each does not count
    bench.floor.ask(Append(sizes))
    published: dict[int, list[float]] = {size: [] for size in sizes}
    appended: dict[int, list[float]] = {size: [] for size in sizes}
    for _ in range(scale.batch_samples):
        for size, seconds in zip(sizes, bench.floor.ask(Append(sizes)), strict=True):
            appended[size].append(seconds)
        for size in sizes:
            published[size].append(_publish(bench, app, size))
    how = f"seconds, the median of {scale.batch_samples} for each size"
    report.add_model(
        _model("batch", published, scale.batch_held_out, f"{how}: publish x events in one request, until the 202")
    )
    report.add_model(
        _model(
            "append", appended, scale.batch_held_out, f"{how}: append x events to the log, without the HTTP around it"
        )
    )


def _publish(bench: Bench, app: str, size: int) -> float:
    """Seconds until a batch was answered; the next one waits until it was delivered, so that they do not meet."""
    run = bench.begin(size)
    # One event alone is no batch of one: what a batch costs is asked of the batch route.
    published = bench.publish(bench.load(run, [app], size, connections=1, batch=max(size, 2)))
    bench.wait_received(size)
    bench.received("a batch")
    answered = array("I")
    answered.frombytes(published.answered_us)
    (microseconds,) = answered
    return microseconds / 1e6


def _model(name: str, samples: Mapping[int, Sequence[float]], held_out: Sequence[int], how: str) -> Model:
    medians = {size: statistics.median(times) for size, times in samples.items()}
    fitted = fit.line([(size, y) for size, y in medians.items() if size not in held_out])
    points = {
        size: {
            "x": float(size),
            "observed": y,
            "predicted": fitted.at(size),
            "fastest": min(samples[size]),
            "slowest": max(samples[size]),
        }
        for size, y in medians.items()
    }
    return Model(
        name=name,
        formula=f"{name} cost y = a·x + b",
        a=fitted.a,
        b=fitted.b,
        r_squared=fitted.r_squared,
        fitted=[point for size, point in points.items() if size not in held_out],
        held_out=[points[size] for size in held_out],
        beyond=[],
        how=how,
    )
