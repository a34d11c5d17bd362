"""Which spans a chart is made of."""

from __future__ import annotations

import pytest

from posthouse.domain.traffic import DAY, HOUR, MINUTE, Grid, chart_grid, ranking_grid, row_grid

NOW = 1_800_000_123.4


@pytest.mark.parametrize(
    ("seconds", "step", "minutes"),
    [
        (60, MINUTE, 1),
        (6 * HOUR, MINUTE, 1),
        (DAY, 10 * MINUTE, 10),
        (7 * DAY, HOUR, 60),
        (30 * DAY, 3 * HOUR, 60),
        (90 * DAY, DAY, 1_440),
    ],
)
def test_a_chart_has_few_points_and_holds_what_was_asked(seconds: float, step: int, minutes: int) -> None:
    grid = chart_grid(NOW - seconds, NOW)
    assert (grid.step, grid.minutes) == (step, minutes)
    assert grid.since <= NOW - seconds < grid.since + step
    assert grid.until - step < NOW <= grid.until
    assert grid.points == len(grid.times()) <= 362
    assert len(grid.spans()) <= 3 * 361 + 3


def test_a_list_reads_few_spans_of_each() -> None:
    for hours in range(1, 90 * 24, 7):
        for grid in (row_grid(NOW - hours * HOUR, NOW), ranking_grid(NOW - hours * HOUR, NOW)):
            assert len(grid.spans()) <= 92


def test_every_span_has_its_point() -> None:
    grid = Grid(0, 6 * HOUR, 3 * HOUR, 60)
    assert [grid.place(at) for at in grid.spans()] == [0, 0, 0, 1, 1, 1]
