"""Quotas: what is within them, and what is told where something is not."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.domain.errors import Invalid, QuotaExceeded
from posthouse.domain.quota import Bucket, Quotas, check_endpoints, check_quotas, check_stored


@pytest.mark.parametrize(
    ("quotas", "path"),
    [
        (Quotas(publish_per_second=0.0), "quotas.publish_per_second"),
        (Quotas(publish_per_second=-1.0), "quotas.publish_per_second"),
        (Quotas(publish_per_second=math.inf), "quotas.publish_per_second"),
        (Quotas(publish_per_second=math.nan), "quotas.publish_per_second"),
        (Quotas(publish_per_second=1e7), "quotas.publish_per_second"),
        (Quotas(endpoints_max=-1), "quotas.endpoints_max"),
        (Quotas(endpoints_max=10_001), "quotas.endpoints_max"),
        (Quotas(stored_bytes_max=-1), "quotas.stored_bytes_max"),
        (Quotas(stored_bytes_max=2**60), "quotas.stored_bytes_max"),
    ],
)
def test_quotas_that_cannot_be(quotas: Quotas, path: str) -> None:
    with pytest.raises(Invalid) as refused:
        check_quotas(quotas)
    assert refused.value.path == path


def test_quotas_that_can_be() -> None:
    check_quotas(Quotas())
    check_quotas(Quotas(publish_per_second=0.01, endpoints_max=0, stored_bytes_max=0))
    check_quotas(Quotas(publish_per_second=1e6, endpoints_max=10_000, stored_bytes_max=2**50))


def test_endpoints_are_counted() -> None:
    check_endpoints(Quotas(), 10_000)
    check_endpoints(Quotas(endpoints_max=2), 1)
    with pytest.raises(QuotaExceeded, match="2 endpoints, and it has 3") as refused:
        check_endpoints(Quotas(endpoints_max=2), 3)
    assert (refused.value.code, refused.value.retry_after) == ("quota_endpoints", None)


def test_stored_bytes_are_counted() -> None:
    check_stored(Quotas(), 10**12, 10**6)
    check_stored(Quotas(stored_bytes_max=100), 90, 10)
    with pytest.raises(QuotaExceeded, match=r"100 bytes.* about 90, .* 11") as refused:
        check_stored(Quotas(stored_bytes_max=100), 90, 11)
    assert (refused.value.code, refused.value.retry_after) == ("quota_stored_bytes", None)


def refused_for(bucket: Bucket, *, rate: float, now: float, events: int = 1) -> int:
    """After how many seconds to try again; 0 where it was admitted."""
    try:
        bucket.take(events, per_second=rate, now=now)
    except QuotaExceeded as error:
        return (error.retry_after or -1) if error.code == "quota_publish_rate" else -1
    return 0


def test_a_seconds_worth_may_come_at_once() -> None:
    bucket = Bucket(5.0, now=100.0)
    assert [refused_for(bucket, rate=5.0, now=100.0) for _ in range(6)] == [0, 0, 0, 0, 0, 1]
    assert refused_for(bucket, rate=5.0, now=100.19) == 1
    assert refused_for(bucket, rate=5.0, now=100.2) == 0
    # However long nothing comes, it is a second's worth.
    assert [refused_for(bucket, rate=5.0, now=1_000.0) for _ in range(6)] == [0, 0, 0, 0, 0, 1]


def test_a_slow_rate_allows_one_event() -> None:
    bucket = Bucket(0.1, now=0.0)
    assert refused_for(bucket, rate=0.1, now=0.0) == 0
    assert refused_for(bucket, rate=0.1, now=0.0) == 10
    assert refused_for(bucket, rate=0.1, now=7.5) == 3
    assert refused_for(bucket, rate=0.1, now=10.0) == 0


def test_a_large_batch_is_paid_for_afterwards() -> None:
    bucket = Bucket(10.0, now=0.0)
    assert refused_for(bucket, rate=10.0, now=0.0, events=100) == 0
    assert refused_for(bucket, rate=10.0, now=0.0) == 10  # 90 behind, and one more
    assert refused_for(bucket, rate=10.0, now=9.0) == 1
    assert refused_for(bucket, rate=10.0, now=9.1) == 0


def test_another_rate_counts_from_when_it_is_known() -> None:
    bucket = Bucket(1.0, now=0.0)
    assert refused_for(bucket, rate=1.0, now=0.0, events=11) == 0
    assert refused_for(bucket, rate=100.0, now=1.0) == 1  # what passed was at the old rate: 9 behind
    assert refused_for(bucket, rate=100.0, now=1.1) == 0
    assert refused_for(bucket, rate=0.5, now=2.0) == 0  # the bucket is smaller now
    assert refused_for(bucket, rate=0.5, now=2.0) == 2


def test_what_is_told_names_the_rate_and_where_it_stands() -> None:
    bucket = Bucket(10.0, now=0.0)
    bucket.take(15, per_second=10.0, now=0.0)
    with pytest.raises(QuotaExceeded, match="10 events a second, and it is 6 ahead"):
        bucket.take(1, per_second=10.0, now=0.0)


@given(
    rate=st.floats(0.1, 1_000.0),
    steps=st.lists(st.tuples(st.floats(0.0, 3.0), st.integers(1, 50)), max_size=60),
)
def test_no_more_is_admitted_than_the_rate_brings(rate: float, steps: list[tuple[float, int]]) -> None:
    """And whoever waits as long as he is told finds room."""
    bucket = Bucket(rate, now=0.0)
    now, admitted, largest = 0.0, 0, 0
    for pause, events in steps:
        now += pause
        wait = refused_for(bucket, rate=rate, now=now, events=events)
        if wait:
            now += wait
            assert refused_for(bucket, rate=rate, now=now, events=events) == 0
        admitted += events
        largest = max(largest, events)
        assert admitted <= rate * now + max(rate, 1.0) + largest
