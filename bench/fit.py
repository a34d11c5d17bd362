"""Least squares for the two cost models: `y = a·x + b`, and `y = (a·x + b) / c`. Pure.

Both are linear in `a` and `b`, so both are one problem: `y = a·u + b·v`, with (u, v) = (x, 1) or (x/c, 1/c).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple


class Fit(NamedTuple):
    """A fitted model, and how much of the variance of `y` it explains."""

    a: float
    b: float
    r_squared: float

    def at(self, x: float, c: float = 1.0) -> float:
        """What the model predicts."""
        return (self.a * x + self.b) / c


def line(points: Sequence[tuple[float, float]]) -> Fit:
    """`y = a·x + b` through points (x, y). Raises ValueError for fewer than two different x."""
    return _least_squares([(x, 1.0) for x, _ in points], [y for _, y in points])


def shared_line(points: Sequence[tuple[float, float, float]]) -> Fit:
    """`y = (a·x + b) / c` through points (x, c, y). Raises ValueError where x is the same in all of them."""
    return _least_squares([(x / c, 1.0 / c) for x, c, _ in points], [y for _, _, y in points])


def _least_squares(rows: Sequence[tuple[float, float]], ys: Sequence[float]) -> Fit:
    uu = math.fsum(u * u for u, _ in rows)
    uv = math.fsum(u * v for u, v in rows)
    vv = math.fsum(v * v for _, v in rows)
    uy = math.fsum(u * y for (u, _), y in zip(rows, ys, strict=True))
    vy = math.fsum(v * y for (_, v), y in zip(rows, ys, strict=True))
    determinant = uu * vv - uv * uv
    if determinant <= 1e-12 * uu * vv:
        raise ValueError("a line needs at least two different sizes")
    a = (uy * vv - vy * uv) / determinant
    b = (vy * uu - uy * uv) / determinant
    mean = math.fsum(ys) / len(ys)
    residual = math.fsum((y - a * u - b * v) ** 2 for (u, v), y in zip(rows, ys, strict=True))
    total = math.fsum((y - mean) ** 2 for y in ys)
    return Fit(a, b, 1.0 - residual / total if total else float(residual == 0))
