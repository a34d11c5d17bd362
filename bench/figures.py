"""Figures: what was measured, each with its samples; and what else a benchmark has to say."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")


class Figure(NamedTuple):
    """One figure: its samples, one a run, and how they were measured. Its value is their median."""

    name: str
    samples: tuple[float, ...]
    how: str
    digits: int = 0

    @property
    def value(self) -> float:
        return round(statistics.median(self.samples), self.digits)

    @property
    def spread(self) -> str:
        if len(self.samples) == 1:
            return "one run"
        return f"{min(self.samples):,.{self.digits}f} to {max(self.samples):,.{self.digits}f}"

    def __str__(self) -> str:
        return f"  {self.name:<32} {self.value:>12,.{self.digits}f}   {self.how} ({self.spread})"


class Model(NamedTuple):
    """A fitted cost model: what it was fitted to, and how it did on sizes that were held out and beyond its range.

    Every point is a mapping with at least `x`, `observed` and `predicted`; `fitted` ones, `held_out` ones, `beyond` ones.
    """

    name: str
    formula: str
    a: float
    b: float
    r_squared: float
    fitted: list[dict[str, float]]
    held_out: list[dict[str, float]]
    beyond: list[dict[str, float]]
    how: str

    def worst(self) -> float:
        """The largest relative error of a prediction for a size that was held out."""
        return max(abs(p["predicted"] / p["observed"] - 1) for p in self.held_out)


class Report:
    """All of it, told as it comes."""

    def __init__(self) -> None:
        self.figures: list[Figure] = []
        self.models: list[Model] = []
        self.remarks: list[str] = []
        self.distributions: dict[str, list[float]] = {}

    def add(self, *figures: Figure) -> None:
        for figure in figures:
            self.figures.append(figure)
            print(figure, flush=True)

    def add_model(self, model: Model) -> None:
        self.models.append(model)
        print(
            f"\n  {model.formula}: a = {model.a:.4g}, b = {model.b:.4g}, R² = {model.r_squared:.4f}   {model.how}\n"
            f"  {'x':>8} {'c':>5} {'observed':>10} {'predicted':>10} {'off by':>8}"
        )
        for kind, points in (("", model.fitted), ("held out", model.held_out), ("not fitted", model.beyond)):
            for p in points:
                off = f"{p['predicted'] / p['observed'] - 1:+.0%}"
                note = f"{kind}, server at {p['server_load']:.0%} of a core" if kind and "server_load" in p else kind
                print(
                    f"  {p['x']:>8,.0f} {p.get('c', 1):>5.0f} {p['observed']:>10.4g} {p['predicted']:>10.4g} {off:>8}  {note}"
                )
        verdict = "within" if model.worst() <= 0.25 else "NOT within"
        print(f"  Held-out sizes were predicted {verdict} 25 % (at worst {model.worst():.0%} off).\n", flush=True)

    def remark(self, sentence: str) -> None:
        """Something that the reader of the figures must know."""
        self.remarks.append(sentence)
        print(f"  Note: {sentence}", flush=True)

    def value(self, name: str) -> float:
        return next(figure.value for figure in self.figures if figure.name == name)

    def as_json(self) -> dict[str, Any]:
        """The figures by name, at the top; beside them how each was measured, and all else."""
        return {
            **{figure.name: figure.value for figure in self.figures},
            "how": {figure.name: f"{figure.how} ({figure.spread})" for figure in self.figures},
            "samples": {figure.name: [round(s, 6) for s in figure.samples] for figure in self.figures},
            "fits": {
                model.name: model._asdict() | {"worst_held_out": round(model.worst(), 4)} for model in self.models
            },
            "distributions": self.distributions,
            "remarks": self.remarks,
        }


def interleaved(runs: int, subjects: Mapping[str, Callable[[], T]]) -> dict[str, list[T]]:
    """Runs of several subjects in turn, after one of each that does not count.

    In turn, so that a machine that grows slow or busy meanwhile does so for all of them.
    """
    for subject in subjects.values():
        subject()
    found: dict[str, list[T]] = {name: [] for name in subjects}
    for _ in range(runs):
        for name, subject in subjects.items():
            found[name].append(subject())
    return found


def percentile(ordered: list[int], share: float) -> float:
    """Of ordered microseconds, in milliseconds."""
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] / 1000
