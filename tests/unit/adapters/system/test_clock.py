"""The clock and its anchor."""

from __future__ import annotations

import time

import pytest

from posthouse.adapters.system.clock import SystemClock


def told(clock: SystemClock, *, ahead: float, there: float, back: float) -> float:
    """Anchor to a database whose clock is so far ahead, with a question and an answer that were so long on their way."""
    asked_at = 1_000.0
    return clock.anchor(asked_at + there + ahead, asked_at=asked_at, answered_at=asked_at + there + back)


def test_the_clock_follows_the_databases() -> None:
    clock = SystemClock()
    assert told(clock, ahead=60.0, there=0.001, back=0.001) == pytest.approx(60.0, abs=0.002)
    assert clock.now() == pytest.approx(time.time() + 60.0, abs=0.5)
    assert told(clock, ahead=-2.0, there=0.001, back=0.001) == pytest.approx(-2.0, abs=0.002)


@pytest.mark.parametrize(("there", "back"), [(12.0, 0.001), (0.001, 12.0), (6.0, 6.0)])
def test_an_answer_that_was_long_on_its_way_does_not_move_a_clock_that_is_right(there: float, back: float) -> None:
    clock = SystemClock()
    told(clock, ahead=0.5, there=0.001, back=0.001)
    assert told(clock, ahead=0.5, there=there, back=back) == pytest.approx(0.5, abs=0.002)


def test_even_a_slow_answer_moves_a_clock_that_is_certainly_wrong() -> None:
    clock = SystemClock()
    assert told(clock, ahead=100.0, there=2.0, back=2.0) == pytest.approx(98.0, abs=0.002)


def test_time_in_which_this_thread_computes_nothing_does_not_count() -> None:
    clock = SystemClock()
    before = clock.cpu()
    while clock.cpu() - before < 0.01:  # it counts what is computed, or this never ends
        pass
    before = clock.cpu()
    time.sleep(0.2)
    assert clock.cpu() - before < 0.1
