"""Percentiles of latencies, from counters of buckets."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.domain.latency import BUCKETS, LAST, added, bucket_of, floor_us, quantile_ms


def counted(values: Sequence[int]) -> list[int]:
    counters = [0] * BUCKETS
    for value in values:
        counters[bucket_of(value)] += 1
    return counters


@given(st.integers(0, 10**9))
def test_a_bucket_holds_what_lies_between_its_ends(microseconds: int) -> None:
    bucket = bucket_of(microseconds)
    assert floor_us(bucket) <= microseconds
    assert microseconds < floor_us(bucket + 1) or bucket == LAST


def test_buckets_are_a_quarter_of_what_they_hold_at_most() -> None:
    for bucket in range(4, BUCKETS):
        assert floor_us(bucket + 1) - floor_us(bucket) <= floor_us(bucket) / 4
    assert [floor_us(bucket) for bucket in range(6)] == [0, 256, 512, 768, 1_024, 1_280]
    assert floor_us(BUCKETS) > 60_000_000


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99, 1.0])
@pytest.mark.parametrize("middle", [300, 5_000, 80_000, 4_000_000])
def test_a_percentile_is_within_a_quarter(share: float, middle: int) -> None:
    chance = random.Random(f"{share} {middle}")
    values = sorted(int(middle * chance.lognormvariate(0, 0.8)) for _ in range(5_000))
    true_ms = values[min(round(share * len(values)), len(values)) - 1] / 1000
    found = quantile_ms(counted(values), share)
    assert found is not None
    assert abs(found - true_ms) <= max(true_ms / 4, 0.256)


def test_nothing_has_no_percentile() -> None:
    assert quantile_ms((), 0.5) is None
    assert quantile_ms((0, 0), 0.5) is None


def test_counters_of_different_lengths_are_added() -> None:
    assert added((1, 2, 3), (10,)) == added((10,), (1, 2, 3)) == (11, 2, 3)
    assert added((), ()) == ()
