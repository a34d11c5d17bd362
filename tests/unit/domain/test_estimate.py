"""When an owed delivery will be made: the model, and where there is no saying."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.domain.estimate import (
    ATTEMPT_SECONDS_DEFAULT,
    DRAIN_OVERHEAD_SECONDS,
    Pace,
    drain_seconds,
    eta_seconds,
)

NOW = 1_800_000_000.0
PACE = Pace(open=True, concurrency=4, attempts=1_000, total_us=20_000_000)  # 20 ms an attempt
OWN = DRAIN_OVERHEAD_SECONDS / 4


def test_a_drain_is_linear_in_what_is_owed_and_shared_by_what_runs_at_once() -> None:
    one = drain_seconds(1_000, attempt_seconds=0.02, concurrency=1, overhead_seconds=0.4)
    assert one == pytest.approx(20.4)
    assert drain_seconds(1_000, attempt_seconds=0.02, concurrency=4, overhead_seconds=0.4) == pytest.approx(one / 4)
    assert drain_seconds(0, attempt_seconds=0.02, concurrency=4, overhead_seconds=0.4) == pytest.approx(0.1)


def test_the_pace_is_the_mean_of_late_attempts_or_a_default() -> None:
    assert PACE.attempt_seconds == pytest.approx(0.02)
    assert Pace(open=True).attempt_seconds == ATTEMPT_SECONDS_DEFAULT


@pytest.mark.parametrize(
    ("position", "due_in", "expected"),
    [
        (0, -30.0, OWN),  # due, and first: long overdue counts no less
        (1_000, -30.0, 5.0 + OWN),
        (0, 60.0, 60.0 + OWN),  # its time is not yet
        (1_000, 60.0, 60.0 + OWN),  # those before it are done by then
        (100_000, 60.0, 500.0 + OWN),  # those before it take longer
    ],
)
def test_the_longer_of_its_time_and_its_queue(position: int, due_in: float, expected: float) -> None:
    found = eta_seconds(PACE, position=position, due_at=NOW + due_in, now=NOW)
    # One that is overdue waits for its turn, not less.
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("pace", "given_"),
    [
        (Pace(open=False), {}),
        (PACE, {"due_at": None}),
        (PACE, {"position": None}),
    ],
)
def test_where_there_is_no_saying(pace: Pace, given_: dict[str, Any]) -> None:
    assert eta_seconds(pace, **({"position": 3, "due_at": NOW, "now": NOW} | given_)) is None


def test_a_request_that_runs_is_made_now_even_if_its_endpoint_was_paused_since() -> None:
    assert eta_seconds(Pace(open=False), position=None, due_at=NOW + 20, now=NOW, in_flight=True) == 0.0


@given(
    position=st.integers(0, 100_000),
    due_in=st.floats(-1e5, 1e5),
    concurrency=st.integers(1, 1_000),
    attempts=st.integers(0, 10**6),
    mean_us=st.integers(0, 60_000_000),
)
def test_never_before_its_time_never_before_those_ahead(
    position: int, due_in: float, concurrency: int, attempts: int, mean_us: int
) -> None:
    pace = Pace(open=True, concurrency=concurrency, attempts=attempts, total_us=attempts * mean_us)
    found = eta_seconds(pace, position=position, due_at=NOW + due_in, now=NOW)
    later = eta_seconds(pace, position=position + 1, due_at=NOW + due_in, now=NOW)
    assert found is not None
    assert later is not None
    assert found >= max(due_in, 0.0)
    assert later >= found >= position * pace.attempt_seconds / concurrency
