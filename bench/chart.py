"""The figures as one picture: throughput, the latency's distribution, and the fitted cost models with their points."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK: Final = "#24292f"
QUIET: Final = "#8c959f"
OURS: Final = "#0969da"
THEIRS: Final = "#bc4c00"
SHADES: Final = ("#0969da", "#1a7f37", "#8250df", "#bf3989")

BEYOND: Final = ("x", "+", "*", "1", "2")

BARS: Final = (
    ("deliveries_per_second_fanout3", "deliveries/s, three endpoints an event", OURS),
    ("events_per_second", "events/s, published and delivered", OURS),
    ("batched_published_per_second", "events/s accepted, 100 a request", OURS),
    ("mission_session_events_per_second", "plain loop, one kept connection", THEIRS),
    ("mission_events_per_second", "plain loop of requests.post", THEIRS),
)


def draw(told: dict[str, Any], path: Path) -> None:
    """Draw the figures of a benchmark's JSON, those that are there. The ending of the path says as what: .svg or .png."""
    mpl.rcParams.update(
        {
            "font.size": 9,
            "axes.edgecolor": QUIET,
            "axes.labelcolor": INK,
            "text.color": INK,
            "xtick.color": INK,
            "ytick.color": INK,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "svg.hashsalt": "posthouse",  # the same figures give the same file
        }
    )
    figure = Figure(figsize=(11, 8), layout="constrained")
    (throughput, latency), (batch, drain) = figure.subplots(2, 2)
    _throughput(throughput, told)
    _latency(latency, told)
    _batch(batch, told["fits"])
    _drain(drain, told["fits"])
    machine = told["machine"]
    figure.suptitle(
        f"Posthouse {machine['versions']['posthouse']}: all processes on one machine of {machine['cores']} cores "
        f"({machine['cpu']}), fdatasync {machine['fdatasync_ms']} ms",
        fontsize=10,
    )
    figure.savefig(path, dpi=130, metadata={"Date": None} if path.suffix == ".svg" else None)


def _throughput(axes: Axes, told: dict[str, Any]) -> None:
    axes.set_title("Throughput: median, and from the slowest to the fastest run", loc="left")
    bars = [bar for bar in BARS if bar[0] in told][::-1]
    if not bars:
        _nothing(axes)
        return
    for place, (name, label, colour) in enumerate(bars):
        samples, value = told["samples"][name], told[name]
        axes.barh(place, value, color=colour, height=0.55)
        axes.errorbar(
            value,
            place,
            xerr=[[max(value - min(samples), 0)], [max(max(samples) - value, 0)]],
            color=INK,
            capsize=3,
            linewidth=1,
        )
        axes.annotate(
            f"{value:,.0f}", (max(samples), place), xytext=(6, 0), textcoords="offset points", va="center", fontsize=8
        )
        axes.annotate(label, (0, place), xytext=(0, 15), textcoords="offset points", va="center", fontsize=8)
    axes.set_yticks([])
    axes.set_ylim(-0.6, len(bars) - 0.2)
    axes.set_xlim(0, max(max(told["samples"][name]) for name, *_ in bars) * 1.15)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("a second")


def _latency(axes: Axes, told: dict[str, Any]) -> None:
    rates = [name.rsplit("_", 1)[1] for name in told["distributions"] if name.startswith("latency_ms_at_")]
    if not rates:
        axes.set_title("Latency, publish to receipt", loc="left")
        _nothing(axes)
        return
    (rate,) = rates
    axes.set_title(f"Latency at {int(rate):,} events/s, publish to receipt", loc="left")
    percent = told["distributions"]["percent"]
    ours, direct = (told["distributions"][f"{name}_ms_at_{rate}"] for name in ("latency", "direct_latency"))
    axes.plot(ours, percent, color=OURS, marker=".")
    axes.plot(direct, percent, color=QUIET, marker=".")
    note: dict[str, Any] = {"textcoords": "offset points", "fontsize": 8}
    middle = percent.index(60)
    axes.annotate(
        "generator straight to target:\nwhat the measuring adds",
        (direct[middle], 60),
        xytext=(8, -8),
        color=QUIET,
        **note,
    )
    for name, at in (("p50", 50), ("p99", 99)):
        value = told[f"latency_{name}_ms_at_{rate}"]
        axes.annotate(
            f"{name} {value:.1f} ms", (value, at), xytext=(-8, 0), ha="right", va="center", color=OURS, **note
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("milliseconds, at most")
    axes.set_ylabel("% of events")
    axes.set_ylim(0, 104)
    axes.grid(alpha=0.3)


def _batch(axes: Axes, fits: dict[str, Any]) -> None:
    axes.set_title("A batch of x events: y = a·x + b", loc="left")
    models = [(name, fits[name]) for name in ("batch", "append") if name in fits]
    if not models:
        _nothing(axes)
        return
    labels = {"batch": "publish, until the 202", "append": "append to the log alone"}
    for (name, model), colour in zip(models, SHADES, strict=False):
        most = max(p["x"] for p in model["fitted"])
        ends = [0.0, most]
        axes.plot(
            ends,
            [(model["a"] * x + model["b"]) * 1000 for x in ends],
            color=colour,
            linewidth=1,
            label=f"{labels[name]}: {model['a'] * 1e6:.1f} µs·x + {model['b'] * 1000:.1f} ms, R² {model['r_squared']:.3f}",
        )
        _points(axes, model["fitted"], colour, scale=1000)
        _points(axes, model["held_out"], colour, scale=1000, held_out=True)
    axes.set_xlabel("events in the batch, x   (filled: fitted, hollow: held out)")
    axes.set_ylabel("milliseconds")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8)


def _drain(axes: Axes, fits: dict[str, Any]) -> None:
    axes.set_title("Draining x owed deliveries: y = (a·x + b) / c", loc="left")
    if "drain" not in fits:
        _nothing(axes)
        return
    model = fits["drain"]
    predicted = sorted({p["predicted"] for kind in ("fitted", "held_out", "beyond") for p in model[kind]})
    axes.plot(predicted, predicted, color=QUIET, linewidth=1)
    axes.fill_between(
        predicted, [y * 0.8 for y in predicted], [y / 0.75 for y in predicted], color=QUIET, alpha=0.15, linewidth=0
    )
    fitted = sorted({p["c"] for p in model["fitted"]})
    others = sorted({p["c"] for p in model["held_out"]} - set(fitted))
    for c, colour in zip([*fitted, *others], SHADES, strict=False):
        for kind in ("fitted", "held_out"):
            of_c = [p for p in model[kind] if p["c"] == c]
            label = f"c = {c:.0f}" if kind == "fitted" else f"c = {c:.0f}, held out"
            _points(axes, of_c, colour, held_out=kind == "held_out", x="predicted", label=label)
    for p, marker in zip(model["beyond"], BEYOND, strict=False):
        label = f"c = {p['c']:.0f}, a target of {p['target_ms']:.0f} ms: not fitted"
        _points(axes, [p], THEIRS, x="predicted", marker=marker, label=label)
    axes.text(
        0.98,
        0.04,
        f"a = {model['a'] * 1000:.1f} ms, b = {model['b']:.2f} s, R² {model['r_squared']:.4f}\n"
        f"held-out sizes at worst {model['worst_held_out']:.0%} off",
        transform=axes.transAxes,
        ha="right",
        fontsize=8,
    )
    axes.set_xlabel("predicted, seconds   (band: within 25 % of what was observed)")
    axes.set_ylabel("observed, seconds")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8, loc="upper left")


def _points(
    axes: Axes,
    points: list[dict[str, float]],
    colour: str,
    *,
    held_out: bool = False,
    scale: float = 1.0,
    x: str = "x",
    marker: str = "o",
    label: str | None = None,
) -> None:
    if points:
        axes.plot(
            [p[x] for p in points],
            [p["observed"] * scale for p in points],
            marker,
            color=colour,
            markerfacecolor="white" if held_out else colour,
            markersize=6 if held_out else 5,
            label=label,
        )


def _nothing(axes: Axes) -> None:
    axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", color=QUIET)
    axes.set_xticks([])
    axes.set_yticks([])
