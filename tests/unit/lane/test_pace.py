"""The pace of a lane: its rate limit holds whatever is asked of it when, and its concurrency follows the target."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posthouse.domain.endpoint import RateLimit
from posthouse.lane.pace import Bucket, Concurrency

START: Final = 1_000.0
ROUNDING: Final = 1e-6

limits = st.builds(
    RateLimit,
    per_second=st.sampled_from((1 / 60, 0.3, 1.0, 7.5)),
    burst=st.none() | st.integers(1, 9),
)


def drawn(draw: Random) -> list[tuple[str, float]]:
    """What is done, each after the time of so many tokens."""
    return [
        (
            draw.choice(("send", "send", "look up", "give back", "full")),
            draw.choice((0.0, 0.0, 0.01, 0.5, 1.0, 1.5, 3.0, 60.0)),
        )
        for _ in range(60)
    ]


steps = st.integers(0, 2**32).map(Random).map(drawn)


def too_many(sent: Sequence[float], limit: RateLimit) -> bool:
    """Whether there is a span of w seconds with more than rate · w + capacity."""
    least = math.inf  # of what had been sent before each, less what the rate allowed by then
    for count, at in enumerate(sent):
        allowed = limit.per_second * at
        least = min(least, count - allowed)
        if count + 1 - allowed - least > limit.capacity + ROUNDING:
            return True
    return False


@settings(deadline=None)
@given(limits, steps)
def test_in_no_span_are_there_more_than_its_rate_and_burst(limit: RateLimit, pattern: list[tuple[str, float]]) -> None:
    bucket = Bucket(limit, at=START)
    now = START
    sent: list[float] = []
    looked_up: list[float] = []
    for what, seconds in pattern:
        now += seconds / limit.per_second
        if what == "send":
            while bucket.wait(now) == 0.0:
                bucket.take()
                sent.append(now)
        elif what == "look up" and bucket.wait(now) == 0.0:
            bucket.take()
            looked_up.append(now)
        elif what == "give back" and looked_up:
            bucket.give_back(looked_up.pop(int(now * 7) % len(looked_up)), now)
        else:
            bucket.full(now)
    assert not too_many(sent, limit)


def test_what_is_given_back_at_once_costs_nothing() -> None:
    bucket = Bucket(RateLimit(1.0, 3), at=START - 10)
    for _ in range(1000):
        assert bucket.wait(START) == 0.0
        bucket.take()
        bucket.give_back(START, START)
    for _ in range(3):
        assert bucket.wait(START) == 0.0
        bucket.take()
    assert bucket.wait(START) == 1.0


def test_what_is_given_back_late_is_worth_what_it_kept_from_being_saved_up() -> None:
    bucket = Bucket(RateLimit(1.0), at=START - 1)
    assert bucket.wait(START) == 0.0
    bucket.take()
    assert bucket.wait(START + 1) == 0.0
    bucket.take()
    bucket.give_back(START, START + 1.5)
    assert bucket.wait(START + 1.5) == 0.5, "the second could start only once, whether or not the first did"


@settings(deadline=None)
@given(limits, steps)
def test_nothing_is_wasted(limit: RateLimit, pattern: list[tuple[str, float]]) -> None:
    """What is asked for all the time gets its whole rate: `wait` is exactly how long it takes."""
    bucket = Bucket(limit, at=START)
    now, sent = START, 0
    for _ in pattern:
        now += bucket.wait(now)
        assert bucket.wait(now) == 0.0
        bucket.take()
        sent += 1
    assert sent == pytest.approx(limit.per_second * (now - START), abs=1e-3)


@settings(deadline=None)
@given(limits, steps, st.floats(0, 200), st.integers(0, 60))
def test_time_before_its_beginning_counts_once_it_is_known(
    limit: RateLimit, pattern: list[tuple[str, float]], quiet_seconds: float, known_after: int
) -> None:
    """The last request of the owner before, `quiet_seconds` before this one begins, is one of the span, too."""
    bucket = Bucket(limit, at=START)
    now = START
    sent = [START - quiet_seconds] * limit.capacity  # as many as it may have sent at once
    for n, (what, seconds) in enumerate([*pattern, ("send", 0.0)]):
        if n == min(known_after, len(pattern)):
            bucket.credit(quiet_seconds)
        now += seconds / limit.per_second
        while what == "send" and bucket.wait(now) == 0.0:
            bucket.take()
            sent.append(now)
    assert not too_many(sent, limit)


def test_a_credit_that_comes_late_is_no_second_burst() -> None:
    bucket = Bucket(RateLimit(0.5), at=START)
    assert bucket.wait(START + 2) == 0.0
    bucket.take()
    bucket.credit(3_600.0)
    assert bucket.wait(START + 2) == 2.0
    bucket = Bucket(RateLimit(0.5), at=START)
    bucket.credit(3_600.0)
    assert bucket.wait(START) == 0.0, "and in time it is one"


def test_a_credit_after_something_was_given_back() -> None:
    limit = RateLimit(1.0, 2)
    bucket = Bucket(limit, at=START)
    assert bucket.wait(START + 1) == 0.0
    bucket.take()
    assert bucket.wait(START + 1.9) > 0
    bucket.give_back(START + 1, START + 1.9)
    bucket.credit(100.0)
    sent = 0
    while bucket.wait(START + 1.9) == 0.0:
        bucket.take()
        sent += 1
    assert sent == 2


@settings(deadline=None)
@given(st.lists(st.tuples(limits, steps), min_size=1, max_size=5))
def test_another_limit_holds_from_when_it_is_configured(
    pieces: list[tuple[RateLimit, list[tuple[str, float]]]],
) -> None:
    bucket = Bucket(pieces[0][0], at=START)
    now = START
    for limit, pattern in pieces:
        bucket.configure(limit, now)
        bucket.credit(1_000.0)  # of a time that had another limit
        sent: list[float] = []
        for what, seconds in pattern:
            now += seconds / limit.per_second
            while what == "send" and bucket.wait(now) == 0.0:
                bucket.take()
                sent.append(now)
        assert not too_many(sent, limit)


def test_another_limit_keeps_what_was_saved_up() -> None:
    bucket = Bucket(RateLimit(1.0, 10), at=START)
    bucket.configure(RateLimit(100.0, 3), START + 5)
    for _ in range(3):
        assert bucket.wait(START + 5) == 0.0
        bucket.take()
    assert bucket.wait(START + 5) == pytest.approx(0.01)


def test_it_begins_empty_and_is_full_when_there_is_nothing_to_remember() -> None:
    bucket = Bucket(RateLimit(2.0, 4), at=START)
    assert bucket.wait(START) == 0.5
    assert not bucket.full(START + 1.9)
    assert bucket.full(START + 2)
    assert not Bucket(RateLimit(2.0, 4), at=START).full(START)


def test_a_lane_of_long_ago_is_full_at_once() -> None:
    assert Bucket(RateLimit(1 / 60), at=-math.inf).wait(START) == 0.0


def test_without_a_burst_it_is_what_a_second_allows() -> None:
    assert [RateLimit(rate).capacity for rate in (1 / 60, 0.5, 1.0, 1.5, 50.0)] == [1, 1, 1, 2, 50]


# Concurrency


class Target:
    """Answers in a given time, so many at once."""

    def __init__(self, ceiling: int) -> None:
        self.concurrency = Concurrency(ceiling)
        self.now = START

    def round(self, *, seconds: float = 0.01, overloaded: bool = False, running: int | None = None) -> int:
        """As many requests as may run at once, all of them begun now; the limit after them."""
        began, count = self.now, self.concurrency.limit if running is None else running
        self.now += seconds
        for _ in range(count):
            self.concurrency.answered(seconds, overloaded=overloaded, running=count, started_at=began, boot=self.now)
        return self.concurrency.limit


def test_it_begins_with_all_that_is_allowed_and_never_exceeds_it() -> None:
    target = Target(16)
    assert [target.round() for _ in range(5)] == [16] * 5


def test_signs_of_overload_halve_it_once_a_round() -> None:
    target = Target(16)
    assert [target.round(overloaded=True) for _ in range(6)] == [8, 4, 2, 1, 1, 1]


def test_it_comes_back_by_one_a_round_while_it_is_used() -> None:
    target = Target(16)
    for _ in range(3):
        target.round(overloaded=True)
    assert target.concurrency.limit == 2
    assert target.round(running=1) == 2, "one that does not use what it has learns nothing"
    assert [target.round() for _ in range(40)][-1] == 16
    assert all(limit <= 16 for limit in [target.round() for _ in range(5)])


def test_a_target_that_slows_down_gets_fewer() -> None:
    target = Target(16)
    for _ in range(20):
        target.round(seconds=0.05)
    limits = [target.round(seconds=1.0) for _ in range(3)]
    assert limits[-1] < 16
    assert limits == sorted(limits, reverse=True)


def test_a_target_that_is_slow_by_nature_keeps_all() -> None:
    target = Target(16)
    assert {target.round(seconds=2.0) for _ in range(20)} == {16}


def test_a_few_milliseconds_are_no_slowing_down() -> None:
    target = Target(16)
    for _ in range(20):
        target.round(seconds=0.002)
    assert {target.round(seconds=0.02) for _ in range(20)} == {16}


def test_what_began_before_it_was_lowered_lowers_it_no_further() -> None:
    concurrency = Concurrency(16)
    concurrency.answered(1.0, overloaded=True, running=16, started_at=START, boot=START + 1)
    for _ in range(15):
        concurrency.answered(1.1, overloaded=True, running=15, started_at=START, boot=START + 1.1)
    assert concurrency.limit == 8
    concurrency.answered(1.0, overloaded=True, running=8, started_at=START + 1.1, boot=START + 2)
    assert concurrency.limit == 4


def test_after_an_outage_it_doubles_each_round_until_a_sign() -> None:
    target = Target(64)
    target.concurrency.restart()
    assert target.concurrency.limit == 1
    assert [target.round() for _ in range(4)] == [2, 4, 8, 16]
    assert target.round(overloaded=True) == 8
    assert [target.round() for _ in range(3)] == [8, 9, 10], "from then on by one"


def test_another_ceiling_is_followed() -> None:
    concurrency = Concurrency(16)
    concurrency.configure(4)
    assert concurrency.limit == 4
    concurrency.configure(32)
    assert concurrency.limit == 32, "it was held by nothing but the ceiling"
    for at in (1, 2, 3):
        concurrency.answered(1.0, overloaded=True, running=1, started_at=START + at, boot=START + at)
    assert concurrency.limit == 4
    concurrency.configure(16)
    assert concurrency.limit == 4, "what the target showed is not forgotten"


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(("answer", "overload", "restart", "configure")), st.integers(1, 40), st.floats(0.001, 30)
        ),
        max_size=80,
    )
)
def test_whatever_happens_it_is_between_one_and_its_ceiling(pattern: list[tuple[str, int, float]]) -> None:
    concurrency, ceiling, now = Concurrency(8), 8, START
    for what, number, seconds in pattern:
        now += seconds
        if what == "configure":
            ceiling = number
            concurrency.configure(ceiling)
        elif what == "restart":
            concurrency.restart()
        else:
            concurrency.answered(
                seconds,
                overloaded=what == "overload",
                running=min(number, ceiling),
                started_at=now - seconds,
                boot=now,
            )
        assert 1 <= concurrency.limit <= ceiling
