"""Least squares, against numpy-free truths: what was put in comes out, and the sum of squares is the least."""

from __future__ import annotations

import pytest
from bench import fit
from hypothesis import given
from hypothesis import strategies as st

SIZES = (1, 25, 50, 100, 200, 400)


@given(a=st.floats(-10, 10), b=st.floats(-100, 100))
def test_a_line_is_found_again(a: float, b: float) -> None:
    found = fit.line([(x, a * x + b) for x in SIZES])
    assert found.a == pytest.approx(a, abs=1e-6)
    assert found.b == pytest.approx(b, abs=1e-6)
    assert found.at(1_000) == pytest.approx(a * 1_000 + b, abs=1e-3)


@given(a=st.floats(0.001, 1), b=st.floats(-1, 1))
def test_a_cost_that_is_shared_is_found_again(a: float, b: float) -> None:
    points = [(x * c, c, (a * x * c + b) / c) for x in SIZES for c in (4, 16)]
    found = fit.shared_line(points)
    assert found.a == pytest.approx(a, rel=1e-6)
    assert found.b == pytest.approx(b, abs=1e-6)
    assert found.r_squared == pytest.approx(1)
    assert found.at(800, 8) == pytest.approx((a * 800 + b) / 8)


def test_a_line_worked_by_hand() -> None:
    # Mean x = 2, mean y = 3; a = (1·2 + 0 + 1·1) / 2 = 1.5, b = 0; residuals -0.5, 1, -0.5 of a total of 6.
    found = fit.line([(1, 1), (2, 4), (3, 4)])
    assert found.a == pytest.approx(1.5)
    assert found.b == pytest.approx(0)
    assert found.r_squared == pytest.approx(1 - 1.5 / 6)


@given(
    ys=st.lists(st.floats(-100, 100), min_size=len(SIZES), max_size=len(SIZES)),
    da=st.floats(-1, 1),
    db=st.floats(-10, 10),
)
def test_no_other_line_is_nearer(ys: list[float], da: float, db: float) -> None:
    found = fit.line(list(zip(SIZES, ys, strict=True)))

    def squares(a: float, b: float) -> float:
        return sum((y - a * x - b) ** 2 for x, y in zip(SIZES, ys, strict=True))

    assert squares(found.a, found.b) <= squares(found.a + da, found.b + db) + 1e-6
    assert found.r_squared <= 1


@pytest.mark.parametrize("points", [[], [(5, 1)], [(5, 1), (5, 2), (5, 3)]])
def test_one_size_makes_no_line(points: list[tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match="two different sizes"):
        fit.line(points)


def test_what_does_not_vary_is_explained_entirely() -> None:
    assert fit.line([(1, 3), (2, 3), (4, 3)]) == pytest.approx((0, 3, 1))
