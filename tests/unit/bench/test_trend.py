"""What rises is told from what only wanders."""

from __future__ import annotations

import random

import pytest
from bench.measures.soak import CACHES_FILL
from bench.scale import FULL, QUICK, SOAK_PARTS_MIN
from bench.trend import trend


def test_what_rises_steadily_is_seen_and_by_how_much() -> None:
    found = trend([100, 102, 104, 106, 108, 110])
    assert found.change == pytest.approx(10 / 105)
    assert found.rises(0.05)
    assert not found.rises(0.1)
    assert not trend([110, 108, 106, 104, 102, 100]).rises(0.05)


def test_neither_an_outlier_nor_what_wanders_is_a_rise() -> None:
    assert not trend([10, 10, 10, 10, 10, 90]).rises(0.01)
    assert trend([5.0] * 8) == (5.0, 0.0, 0.0)
    draw = random.Random(7)
    wandering = [[draw.gauss(100, 20) for _ in range(16)] for _ in range(400)]
    assert sum(trend(series).rises(0.0) for series in wandering) < 400 * 0.05


def test_the_shortest_series_can_be_told_to_rise() -> None:
    assert trend([1, 2, 3, 4, 5]).rises(0.5)
    with pytest.raises(ValueError, match="five"):
        trend([1, 2, 3, 4])
    for parts in (SOAK_PARTS_MIN, FULL.soak_parts, QUICK.soak_parts):
        assert parts - int(parts * CACHES_FILL) >= 5
