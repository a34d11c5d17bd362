"""What an answer makes happen."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.domain.callback import Confirm, Disable, GiveUp, RetryAt, classify, decide, retry_after
from posthouse.domain.exchange import NO_TIMINGS, Answer, Failure, Fault, Result
from posthouse.domain.reaction import (
    AnyRule,
    ConfirmRule,
    DisableRule,
    GiveUpRule,
    NotifyRule,
    RetryRule,
    SetRule,
    ThrottleRule,
)
from posthouse.domain.retry import Retry

NOW = 1_795_560_843.0
DAY = 86_400.0


def answer(status: int, **headers: str) -> Answer:
    lines = tuple((name.replace("_", "-").encode(), value.encode()) for name, value in headers.items())
    return Answer(status, lines, b"", NO_TIMINGS)


def decided(result: Result, *, number: int = 1, failing_since: float | None = None) -> object:
    return decide(result, Retry((10.0,), 0), number=number, failing_since=failing_since, now=NOW, draw=0.5)


@given(st.integers(200, 299))
def test_every_2xx_confirms(status: int) -> None:
    assert decided(answer(status)) == Confirm()


@given(st.integers(100, 599).filter(lambda s: not 200 <= s < 300 and s != 410))
def test_everything_else_fails_and_is_tried_again(status: int) -> None:
    reason = "redirect" if 300 <= status < 400 else "http_status"
    assert decided(answer(status)) == RetryAt(NOW + 10, reason)


@pytest.mark.parametrize("fault", list(Fault))
def test_no_answer_fails_with_its_reason(fault: Fault) -> None:
    failure = Failure(fault, "", NO_TIMINGS)
    assert classify(failure) == fault.value
    assert decided(failure) == RetryAt(NOW + 10, fault.value)


def test_gone_ends_the_endpoint() -> None:
    assert decided(answer(410)) == Disable("gone")


def test_the_last_attempt_gives_up() -> None:
    assert decided(answer(500), number=2) == GiveUp("exhausted")


def test_five_days_without_a_confirmation_end_the_endpoint() -> None:
    assert decided(answer(500), failing_since=NOW - 5 * DAY) == Disable("failing_for_days")
    assert isinstance(decided(answer(500), failing_since=NOW - 5 * DAY + 1), RetryAt)
    assert decided(answer(200), failing_since=NOW - 9 * DAY) == Confirm()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"0", 0.0),
        (b"120", 120.0),
        (b" 120 ", 120.0),
        (b"999999999999999999999999", DAY),
        (b"-5", None),
        (b"soon", None),
        (b"", None),
        (b"\xff\xfe", None),
        (formatdate(NOW + 60, usegmt=True).encode(), 60.0),
        (formatdate(NOW - 60, usegmt=True).encode(), 0.0),
        (formatdate(NOW + 9 * DAY, usegmt=True).encode(), DAY),
        (b"Fri, 99 Foo 2026 99:99:99 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_within_a_day(value: bytes, seconds: float | None) -> None:
    assert retry_after(value, now=NOW) == seconds


@pytest.fixture
def in_shanghai() -> Iterator[None]:
    """A machine whose clock shows another zone than GMT."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "Asia/Shanghai"
    time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


@pytest.mark.usefixtures("in_shanghai")
@pytest.mark.parametrize(
    "value", [b"Tue, 24 Nov 2026 22:15:03 GMT", b"Tuesday, 24-Nov-26 22:15:03 GMT", b"Tue Nov 24 22:15:03 2026"]
)
def test_all_three_forms_of_a_date_are_in_gmt(value: bytes) -> None:
    assert retry_after(value, now=datetime(2026, 11, 24, 22, 14, 3, tzinfo=UTC).timestamp()) == 60.0


@given(st.binary(max_size=60))
def test_no_retry_after_breaks_anything(value: bytes) -> None:
    seconds = retry_after(value, now=NOW)
    assert seconds is None or 0 <= seconds <= DAY


def test_retry_after_is_a_floor() -> None:
    assert decided(answer(503, retry_after="60")) == RetryAt(NOW + 60, "http_status")
    assert decided(answer(503, retry_after="1")) == RetryAt(NOW + 10, "http_status")


# Response rules


def by_rule(
    rule: AnyRule, *, status: int = 500, number: int = 1, failing_since: float | None = None, **headers: str
) -> object:
    return decide(
        answer(status, **headers),
        Retry((10.0, 20.0, 30.0), 0),
        number=number,
        failing_since=failing_since,
        now=NOW,
        draw=0.5,
        rule=rule,
    )


@pytest.mark.parametrize("status", [200, 404, 410, 500])
def test_a_rule_decides_whatever_the_status(status: int) -> None:
    assert by_rule(ConfirmRule(), status=status) == Confirm()
    assert by_rule(GiveUpRule(), status=status) == GiveUp("rule_give_up")
    assert by_rule(DisableRule(), status=status) == Disable("by_answer")
    assert by_rule(RetryRule(), status=status) == RetryAt(NOW + 10, "rule_retry")


def test_a_rule_says_when_it_is_tried_again() -> None:
    assert by_rule(RetryRule(after=0)) == RetryAt(NOW, "rule_retry")
    assert by_rule(RetryRule(after=7), number=3) == RetryAt(NOW + 7, "rule_retry")
    assert by_rule(RetryRule(schedule=(1.0, 2.0)), number=2) == RetryAt(NOW + 2, "rule_retry")
    assert by_rule(RetryRule(after=7), retry_after="60") == RetryAt(NOW + 60, "rule_retry")


@pytest.mark.parametrize("rule", [RetryRule(), RetryRule(after=0), RetryRule(schedule=(1.0,) * 50)])
def test_no_rule_retries_for_ever(rule: RetryRule) -> None:
    assert isinstance(by_rule(rule, number=3), RetryAt)
    assert by_rule(rule, number=4) == GiveUp("exhausted")
    assert by_rule(rule, failing_since=NOW - 5 * DAY) == Disable("failing_for_days")


def test_a_schedule_that_is_shorter_ends_it() -> None:
    assert by_rule(RetryRule(schedule=(1.0,)), number=2) == GiveUp("exhausted")


@pytest.mark.parametrize("rule", [NotifyRule(), ThrottleRule(per_second=1), SetRule(metadata={"a": "1"})])
def test_an_effect_leaves_the_fate_to_the_acknowledgement(rule: AnyRule) -> None:
    assert by_rule(rule, status=200) == Confirm()
    assert by_rule(rule, status=500) == RetryAt(NOW + 10, "http_status")
    assert by_rule(rule, status=410) == Disable("gone")
