"""What went on, counted by spans of time: what the charts of operators show. Pure.

Spans of four lengths are counted, so that any time is summed from few of them. Times are unix seconds.
"""

from __future__ import annotations

import math
from enum import IntEnum
from typing import Final, NamedTuple

import msgspec

from posthouse.domain.ids import AppId

MINUTE: Final = 60
HOUR: Final = 3_600
DAY: Final = 86_400
SPANS: Final = (1, 10, 60, 1_440)
"""How many minutes the spans have that are counted; each of them is made of those before it."""


class Level(IntEnum):
    """Of what a span tells."""

    PROCESS = 0  # everything, as far as one process did it
    APP = 1
    ENDPOINT = 2


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """Counters of one scope in one span, to be added to what is there; `owed` is the most that was owed in it, None where
    nobody looked. `latency`: `domain/latency.py`."""

    level: Level
    minutes: int
    at: int
    scope: bytes
    partition: int = 0
    app_id: AppId | None = None
    published: int = 0
    delivered: int = 0
    failed: int = 0
    gave_up: int = 0
    owed: int | None = None
    latency: tuple[int, ...] = ()


class Grid(NamedTuple):
    """Points in time, `step` seconds apart, from `since` until before `until`, each summed of counted spans of `minutes`."""

    since: int
    until: int
    step: int
    minutes: int

    @property
    def points(self) -> int:
        return (self.until - self.since) // self.step

    def times(self) -> range:
        return range(self.since, self.until, self.step)

    def spans(self) -> range:
        """The beginnings of the counted spans."""
        return range(self.since, self.until, self.minutes * MINUTE)

    def place(self, at: float) -> int:
        """Which point tells of this time."""
        return int(at - self.since) // self.step


# (up to so many seconds, the step, the minutes of the spans that it is summed of)
_CHART: Final = (
    (6 * HOUR, MINUTE, 1),
    (60 * HOUR, 10 * MINUTE, 10),
    (15 * DAY, HOUR, 60),
    (45 * DAY, 3 * HOUR, 60),
    (math.inf, DAY, 1_440),
)
_ROWS: Final = ((HOUR, MINUTE, 1), (12 * HOUR, 10 * MINUTE, 10), (60 * HOUR, HOUR, 60), (math.inf, DAY, 1_440))
_RANKING: Final = ((6 * HOUR, 10 * MINUTE, 10), (48 * HOUR, HOUR, 60), (math.inf, DAY, 1_440))


def chart_grid(since: float, until: float) -> Grid:
    """For a chart of one thing: at most some 360 points."""
    return _grid(since, until, _CHART)


def row_grid(since: float, until: float) -> Grid:
    """For the small charts of a list: at most some 90 points each."""
    return _grid(since, until, _ROWS)


def ranking_grid(since: float, until: float) -> Grid:
    """For telling which of all endpoints or apps come first: at most some 90 spans of each."""
    return _grid(since, until, _RANKING)


def _grid(since: float, until: float, steps: tuple[tuple[float, int, int], ...]) -> Grid:
    """Whole steps that hold the time asked for."""
    step, minutes = next((step, minutes) for most, step, minutes in steps if until - since <= most)
    return Grid(math.floor(since / step) * step, math.ceil(until / step) * step, step, minutes)
