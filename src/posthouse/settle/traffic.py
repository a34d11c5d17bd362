"""Counters of everything, of apps and of endpoints, gathered until they are worth writing.

They come from those that the journal wrote, a row of an endpoint and minute at a time: no attempt costs anything here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

import structlog

from posthouse.domain.delivery import Rollup
from posthouse.domain.ids import AppId, EndpointId
from posthouse.domain.latency import added
from posthouse.domain.limits import TRAFFIC_COUNTS_MAX
from posthouse.domain.traffic import MINUTE, SPANS, Count, Level
from posthouse.ports.clock import Clock

log = structlog.get_logger()

_Key = tuple[Level, int, int, bytes]  # level, minutes, at, scope

_FINEST: Final = {Level.PROCESS: 1, Level.APP: 1, Level.ENDPOINT: 10}
"""What is counted as it comes; longer spans are summed of it as it is taken."""


class _Sum:
    __slots__ = ("app_id", "delivered", "failed", "gave_up", "latency", "owed", "partition", "published")

    def __init__(self, partition: int, app_id: AppId | None) -> None:
        self.partition = partition
        self.app_id = app_id
        self.published = self.delivered = self.failed = self.gave_up = 0
        self.owed: int | None = None
        self.latency: tuple[int, ...] = ()

    def add(self, other: _Sum | Count | Rollup) -> None:
        self.delivered += other.delivered
        self.failed += other.failed
        self.gave_up += other.gave_up
        self.latency = added(self.latency, other.latency)
        if not isinstance(other, Rollup):
            self.published += other.published
            if other.owed is not None:
                self.owe(other.owed)

    def owe(self, rows: int) -> None:
        self.owed = rows if self.owed is None else max(self.owed, rows)


class Traffic:
    """What has yet to be written of one process. Bounded: beyond, what is new is not counted, and a log line says so."""

    def __init__(self, clock: Clock, *, process: bytes) -> None:
        self._clock = clock
        self._process = process
        self._sums: dict[_Key, _Sum] = {}
        self._full = False

    def __len__(self) -> int:
        return len(self._sums)

    def counted(self, rollups: Iterable[Rollup], held: Collection[int]) -> None:
        """The journal has written counters of endpoints, for these partitions."""
        for rollup in rollups:
            if rollup.partition in held:
                second = rollup.minute * MINUTE
                partition, app_id = rollup.partition, rollup.app_id
                self._add(Level.ENDPOINT, second, rollup.endpoint_id, partition, app_id, rollup)
                self._add(Level.APP, second, app_id, partition, app_id, rollup)
                self._add(Level.PROCESS, second, self._process, 0, None, rollup)

    def published(self, events: int) -> None:
        """Events were published here, each counted once, however many apps it is for."""
        found = self._sum(Level.PROCESS, self._clock.now(), self._process, 0, None)
        if found is not None:
            found.published += events

    def owed(self, rows: int) -> None:
        """So much is owed by all."""
        found = self._sum(Level.PROCESS, self._clock.now(), self._process, 0, None)
        if found is not None:
            found.owe(rows)

    def owed_to(self, endpoints: Mapping[EndpointId, tuple[int, AppId, int]]) -> None:
        """What endpoints are owed, about: (partition, app, rows) of each."""
        now = self._clock.now()
        for endpoint_id, (partition, app_id, rows) in endpoints.items():
            found = self._sum(Level.ENDPOINT, now, endpoint_id, partition, app_id)
            if found is not None:
                found.owe(rows)

    def take(self) -> list[Count]:
        """All of it, which is then gone from here; in the order in which everybody writes."""
        taken, self._sums = self._sums, {}
        self._full = False
        whole = dict(taken)
        for minutes in SPANS:
            for (level, span, at, scope), one in taken.items():
                if span < minutes:
                    key = (level, minutes, at - at % (minutes * MINUTE), scope)
                    found = whole.get(key)
                    if found is None:
                        found = whole[key] = _Sum(one.partition, one.app_id)
                    found.add(one)
        return [
            Count(
                level=level,
                minutes=minutes,
                at=at,
                scope=scope,
                partition=one.partition,
                app_id=one.app_id,
                published=one.published,
                delivered=one.delivered,
                failed=one.failed,
                gave_up=one.gave_up,
                owed=one.owed,
                latency=one.latency,
            )
            for (level, minutes, at, scope), one in sorted(whole.items(), key=lambda item: item[0])
        ]

    def _add(
        self, level: Level, at: float, scope: bytes, partition: int, app_id: AppId | None, counters: Rollup
    ) -> None:
        found = self._sum(level, at, scope, partition, app_id)
        if found is not None:
            found.add(counters)

    def _sum(self, level: Level, at: float, scope: bytes, partition: int, app_id: AppId | None) -> _Sum | None:
        minutes = _FINEST[level]
        key = (level, minutes, int(at // (minutes * MINUTE)) * minutes * MINUTE, scope)
        found = self._sums.get(key)
        if found is None:
            if len(self._sums) >= TRAFFIC_COUNTS_MAX:
                if not self._full:
                    log.warning("traffic.full", counts=len(self._sums))
                self._full = True
                return None
            found = self._sums[key] = _Sum(partition, app_id)
        return found
