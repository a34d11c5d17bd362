"""Whether a series of measurements rises, or only wanders. Pure.

Its slope is the median of the slopes between all pairs (Theil and Sen), which a few outliers do not move; whether it is more
than chance is told by how many pairs rise and how many fall (Mann and Kendall).
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import Final, NamedTuple

CHANCE_Z: Final = 1.96
"""Beyond it, one series in forty that only wanders would be said to rise."""


class Trend(NamedTuple):
    """`change`: from the first to the last measurement along the slope, as a share of the median. `z`: how many standard
    deviations the rising pairs are more than chance has it."""

    median: float
    change: float
    z: float

    def rises(self, allowance: float) -> bool:
        """By more than this share of the median, and not by chance."""
        return self.change > allowance and self.z > CHANCE_Z


def trend(series: Sequence[float]) -> Trend:
    """Of measurements at even distances. Raises ValueError for fewer than five, of which none could be more than chance."""
    count = len(series)
    if count < 5:
        raise ValueError("a trend takes five measurements")
    median = statistics.median(series)
    pairs = list(combinations(enumerate(series), 2))
    slope = statistics.median((after - before) / (j - i) for (i, before), (j, after) in pairs)
    rising = sum((after > before) - (after < before) for (_, before), (_, after) in pairs)
    ties = sum(t * (t - 1) * (2 * t + 5) for t in Counter(series).values())
    variance = (count * (count - 1) * (2 * count + 5) - ties) / 18
    z = 0.0 if rising == 0 or variance == 0 else (rising - math.copysign(1, rising)) / math.sqrt(variance)
    return Trend(median, slope * (count - 1) / median if median else 0.0, z)
