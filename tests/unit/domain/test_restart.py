"""Workers that die are started again, ever later, and never all at once."""

from __future__ import annotations

from posthouse.domain.restart import (
    RAN_WELL_SECONDS,
    RESTART_SECONDS_MAX,
    RESTART_SECONDS_MIN,
    failures_after,
    restart_delay,
)


def test_the_delay_doubles_up_to_a_bound() -> None:
    delays = [restart_delay(failures, draw=0.0) for failures in range(1, 10)]
    assert delays[:4] == [RESTART_SECONDS_MIN * factor for factor in (1, 2, 4, 8)]
    assert delays[-1] == restart_delay(10_000, draw=0.0) == RESTART_SECONDS_MAX


def test_chance_takes_away_up_to_a_half() -> None:
    for failures in (1, 5, 100):
        whole = restart_delay(failures, draw=0.0)
        assert restart_delay(failures, draw=0.5) == 0.75 * whole
        assert whole / 2 < restart_delay(failures, draw=0.999) < 0.51 * whole


def test_one_that_ran_well_begins_anew() -> None:
    failures = 0
    for _ in range(5):
        failures = failures_after(failures, lived_seconds=1.0)
    assert failures == 5
    assert failures_after(failures, lived_seconds=RAN_WELL_SECONDS) == 1
    assert failures_after(failures, lived_seconds=RAN_WELL_SECONDS - 1) == 6
