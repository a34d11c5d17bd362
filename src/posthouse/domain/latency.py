"""How long requests took, as counters of buckets whose widths grow with what they hold: those of any span are summed, and a
percentile read off the sum. Pure.

Below about a millisecond a bucket is 256 µs wide; above, each doubling has four of the same width. So what is read off lies
within a quarter of the true value, or within 256 µs, and as a rule within half of that. What took a minute or more is in the
last one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

BUCKETS: Final = 68
LAST: Final = BUCKETS - 1
UNIT_BITS: Final = 8  # a unit is 256 µs
_STEP_BITS: Final = 2  # four buckets a doubling
_LINEAR: Final = 1 << _STEP_BITS


def bucket_of(microseconds: int) -> int:
    """Which bucket counts this. (`settle/rollups.py` has it written out, as it is asked for each attempt.)"""
    units = microseconds >> UNIT_BITS
    shift = units.bit_length() - (_STEP_BITS + 1)
    if shift <= 0:
        return units
    return min((shift << _STEP_BITS) + (units >> shift), LAST)


def floor_us(bucket: int) -> int:
    """The least that a bucket counts, in microseconds; of the one after the last, where the last one ends."""
    if bucket < _LINEAR:
        return bucket << UNIT_BITS
    shift, rest = divmod(bucket, _LINEAR)
    return (_LINEAR + rest) << (shift - 1 + UNIT_BITS)


def added(one: Sequence[int], other: Sequence[int]) -> tuple[int, ...]:
    """The counters of both."""
    if len(one) < len(other):
        one, other = other, one
    return (*(a + b for a, b in zip(one, other, strict=False)), *one[len(other) :])


def quantile_ms(counters: Sequence[int], share: float) -> float | None:
    """What `share` of all took at most, in milliseconds, as if each bucket were filled evenly. None: nothing was counted."""
    rank = share * sum(counters)
    if rank <= 0:
        return None
    passed = 0
    for bucket, count in enumerate(counters):
        if count and passed + count >= rank:
            least, end = floor_us(bucket), floor_us(bucket + 1)
            return round((least + (end - least) * (rank - passed) / count) / 1000, 3)
        passed += count
    raise AssertionError("no rank is beyond the sum")
