"""The line of a delivery."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from posthouse.domain.delivery import DeliveryClass
from posthouse.domain.endpoint import Ordering
from posthouse.domain.order import UNORDERED, line_of

LIVE, REPLAY = DeliveryClass.LIVE, DeliveryClass.REPLAY
keys = st.text(st.characters(codec="utf-8"))


@given(st.none() | keys, st.sampled_from(DeliveryClass))
def test_without_an_order_nobody_waits(key: str | None, kind: DeliveryClass) -> None:
    assert line_of(Ordering.NONE, key, kind) == UNORDERED


@given(st.none() | keys, st.none() | keys)
def test_an_endpoint_in_order_is_one_line_and_another_for_what_is_sent_again(
    one: str | None, other: str | None
) -> None:
    live = line_of(Ordering.ENDPOINT, one, LIVE)
    assert live == line_of(Ordering.ENDPOINT, other, LIVE)
    again = line_of(Ordering.ENDPOINT, one, REPLAY)
    assert again == line_of(Ordering.ENDPOINT, other, REPLAY)
    assert len({UNORDERED, live, again}) == 3


def test_an_event_without_a_key_waits_for_nobody() -> None:
    assert line_of(Ordering.KEY, None, LIVE) == UNORDERED
    assert line_of(Ordering.KEY, None, REPLAY) == UNORDERED
    assert line_of(Ordering.KEY, "", LIVE) != UNORDERED, "an empty key is one"


@given(keys)
def test_a_key_is_a_line_and_another_for_what_is_sent_again(key: str) -> None:
    live, again = line_of(Ordering.KEY, key, LIVE), line_of(Ordering.KEY, key, REPLAY)
    assert live == line_of(Ordering.KEY, key, LIVE)
    assert again == live + 1
    whole = {line_of(Ordering.ENDPOINT, None, kind) for kind in DeliveryClass}
    assert len({UNORDERED, live, again} | whole) == 5, "it is neither none nor that of a whole endpoint"
    for line in (live, again):
        assert -(2**63) <= line < 2**63, "it fits its column"


def test_keys_rarely_share_a_line() -> None:
    lines = {line_of(Ordering.KEY, f"shop:{n}", kind) for n in range(20_000) for kind in DeliveryClass}
    assert len(lines) == 40_000


def test_lines_stay_what_they_are() -> None:
    """They are on record: another hash would split a line in two, over an upgrade."""
    assert line_of(Ordering.ENDPOINT, None, LIVE) == 2
    assert line_of(Ordering.KEY, "42", LIVE) == 6_319_743_179_241_711_738
