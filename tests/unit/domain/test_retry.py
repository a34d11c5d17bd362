"""When a failed delivery is tried again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from posthouse.domain.retry import DEFAULT_SCHEDULE, Delays, Exponential, Retry, RetrySettings
from posthouse.domain.routing import matches_type

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


# By event type

words = st.lists(st.sampled_from(["trade", "refund", "closed", "a"]), min_size=1, max_size=4).map(".".join)
patterns = words | words.map(lambda word: f"{word}.*") | st.just("*")


def of_patterns(names: list[str]) -> RetrySettings:
    """Each has its own number of seconds."""
    return RetrySettings(schedule=(0.5,), by_type={name: Delays((float(n),)) for n, name in enumerate(names, 1)})


@given(st.lists(patterns, unique=True, max_size=16), words)
def test_the_nearest_pattern_counts(names: list[str], event_type: str) -> None:
    (seconds,) = of_patterns(names).policy().of(event_type).schedule
    matching = [name for name in names if matches_type([name], event_type)]
    if not matching:
        assert seconds == 0.5
        return
    chosen = names[int(seconds) - 1]
    assert chosen in matching
    if event_type in matching:
        assert chosen == event_type
    else:
        assert len(chosen) == max(map(len, matching))


@given(st.lists(patterns, unique=True, max_size=16).flatmap(st.permutations), words)
def test_the_order_in_which_they_are_written_says_nothing(names: list[str], event_type: str) -> None:
    settings = of_patterns(sorted(names))
    other = RetrySettings(schedule=(0.5,), by_type={name: settings.by_type[name] for name in names})
    assert settings.policy().of(event_type) == other.policy().of(event_type)


@given(st.floats(0, 1), words)
def test_chance_is_the_endpoints_own(jitter: float, event_type: str) -> None:
    settings = RetrySettings(jitter=jitter, by_type={event_type: Delays(exponential=Exponential(attempts=3))})
    assert settings.policy().of(event_type) == Retry((5.0, 10.0), jitter)
    assert settings.policy().of(f"{event_type}.x").schedule == DEFAULT_SCHEDULE


def test_a_beginning_is_one_of_whole_words() -> None:
    policy = of_patterns(["trade.*"]).policy()
    assert [policy.of(name).schedule for name in ("trade.paid", "trade", "trader.paid")] == [(1.0,), (0.5,), (0.5,)]


def test_where_there_are_none_every_event_has_the_same() -> None:
    policy = RetrySettings(schedule=(1.0,)).policy()
    assert policy.by_type == ()
    assert policy.of("trade.paid") is policy
