"""What a target may ask for with a header: only what is written exactly so."""

from __future__ import annotations

import pytest

from posthouse.domain.exchange import NO_TIMINGS, Answer
from posthouse.domain.reaction import AnyRule, DisableRule, GiveUpRule, RetryRule, ThrottleRule
from posthouse.wire.action_header import NotUnderstood, action_of


def asked(*values: bytes) -> AnyRule | None:
    return action_of(Answer(503, tuple((b"posthouse-action", value) for value in values), b"", NO_TIMINGS))


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        (b"retry", RetryRule()),
        (b" retry\t", RetryRule()),
        (b"retry; after=60", RetryRule(after=60.0)),
        (b"retry;after=0", RetryRule(after=0.0)),
        (b"retry ; after=86400", RetryRule(after=86_400.0)),
        (b"retry; after=1.5", RetryRule(after=1.5)),
        (b"give_up", GiveUpRule()),
        (b"disable", DisableRule()),
        (b"throttle; per_second=1", ThrottleRule(per_second=1.0)),
        (b"throttle; seconds=120; per_second=0.5", ThrottleRule(per_second=0.5, seconds=120.0)),
    ],
)
def test_what_may_be_asked(value: bytes, rule: AnyRule) -> None:
    assert asked(value) == rule


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"confirm",
        b"emit",
        b"Retry",
        b"retry;",
        b"retry; after",
        b"retry; after=",
        b"retry; after=x",
        b"retry; after=-1",
        b"retry; after=1e3",
        b"retry; after=1.",
        b"retry; after=86401",
        b"retry; after=1; after=1",
        b"retry; after=1; seconds=1",
        b"retry; schedule=1",
        b"retry, give_up",
        b"retry give_up",
        b"give_up; after=1",
        b"disable; seconds=1",
        b"throttle",
        b"throttle; seconds=60",
        b"throttle; per_second=0",
        b"throttle; per_second=0.0009",
        b"throttle; per_second=10001",
        b"throttle; per_second=1; seconds=0",
        b"throttle; per_second=1; seconds=86401",
        b"throttle; per_second=1; per_second=1",
        b"throttle; per_second=1; seconds=1; after=1",
        b"retry; after=" + b"9" * 10_000,
        b"retry" + b"; after=1" * 10_000,
        b"\xff\0",
    ],
)
def test_anything_else_is_not_understood(value: bytes) -> None:
    with pytest.raises(NotUnderstood, match="Posthouse-Action") as caught:
        asked(value)
    assert len(str(caught.value)) < 100


def test_it_is_there_once_or_not_at_all() -> None:
    assert asked() is None
    with pytest.raises(NotUnderstood, match="twice"):
        asked(b"retry", b"retry")
