"""Ids: time-ordered, and the same in both forms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.domain.ids import format_id, id_beside, lower_bound, next_id, parse_id, unix_ms_of, uuid7

raw_ids = st.binary(min_size=16, max_size=16)


@given(raw_ids)
def test_text_and_bytes_say_the_same(raw: bytes) -> None:
    assert parse_id("evt", format_id("evt", raw)) == raw
    assert parse_id("evt", format_id("evt", raw).upper().replace("EVT_", "evt_")) == raw


@given(raw_ids, raw_ids)
def test_text_sorts_as_bytes_do(one: bytes, other: bytes) -> None:
    assert (one < other) == (format_id("evt", one) < format_id("evt", other))


@given(st.integers(0, 2**48 - 2), st.integers(0, 2**74 - 1))
def test_uuid7_holds_its_time_version_and_variant(unix_ms: int, random_bits: int) -> None:
    raw = uuid7(unix_ms, random_bits)
    assert unix_ms_of(raw) == unix_ms
    assert raw[6] >> 4 == 7
    assert raw[8] >> 6 == 0b10
    assert lower_bound(unix_ms) <= raw < lower_bound(unix_ms + 1)


@given(st.integers(0, 2**48 - 1), st.integers(0, 2**74 - 2))
def test_a_greater_number_makes_a_greater_id(unix_ms: int, random_bits: int) -> None:
    assert uuid7(unix_ms, random_bits) < uuid7(unix_ms, random_bits + 1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "evt",
        "evt_",
        "app_" + "0" * 26,
        "evt_" + "0" * 25,
        "evt_" + "0" * 27,
        "evt_" + "u" * 26,
        "evt_" + "0" * 25 + "1",
    ],
)
def test_what_is_no_id_is_none(text: str) -> None:
    assert parse_id("evt", text) is None


def test_an_id_beside_an_owner_is_below_all_that_it_may_not_have_written_yet() -> None:
    made = uuid7(10_000_000_000, 5)
    newest = uuid7(9_999_999_999, 7)
    assert id_beside(newest, made) == next_id(newest)
    ahead = uuid7(10_000_000_500, 7)
    assert id_beside(ahead, made) == next_id(ahead)
    for long_ago in (None, uuid7(9_000_000_000, 7)):
        found = id_beside(long_ago, made)
        assert unix_ms_of(found) == unix_ms_of(made) - 60_000
        assert found[6:] == made[6:]
