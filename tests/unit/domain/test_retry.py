"""When a failed delivery is tried again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from posthouse.domain.retry import DEFAULT_SCHEDULE, Exponential, Retry, RetrySettings

draws = st.floats(0, 1, exclude_max=True)


def test_the_default_is_spread_over_three_days() -> None:
    hours = [5 / 3600, 5 / 60, 0.5, 2, 5, 10, 14, 20, 24]
    assert [round(delay) for delay in DEFAULT_SCHEDULE] == [round(h * 3600) for h in hours]


@given(st.integers(1, 9), draws)
def test_chance_moves_a_delay_by_a_tenth_at_most(number: int, draw: float) -> None:
    delay = Retry().delay(number, draw=draw)
    assert delay is not None
    base = DEFAULT_SCHEDULE[number - 1]
    assert base * 0.9 - 1e-6 <= delay <= base * 1.1 + 1e-6


@given(draws)
def test_after_the_last_delay_there_is_none(draw: float) -> None:
    assert Retry().delay(len(DEFAULT_SCHEDULE) + 1, draw=draw) is None
    assert Retry(()).delay(1, draw=draw) is None


@given(st.floats(0, 1e9), draws)
def test_what_the_target_asks_for_is_a_floor_of_a_day_at_most(floor: float, draw: float) -> None:
    delay = Retry((10.0,)).delay(1, draw=draw, floor=floor)
    assert delay is not None
    assert delay >= min(floor, 86_400)
    assert delay <= max(86_400, 11)


def test_exponential_grows_to_its_maximum() -> None:
    assert Exponential(base=5, factor=2, max=30, attempts=6).schedule() == (5, 10, 20, 30, 30)
    assert Exponential(attempts=1).schedule() == ()


def test_settings_choose_the_policy() -> None:
    assert RetrySettings().policy() == Retry()
    assert RetrySettings(schedule=(1.0,), jitter=0).policy() == Retry((1.0,), 0)
    assert RetrySettings(exponential=Exponential(attempts=2)).policy() == Retry((5.0,), 0.1)
