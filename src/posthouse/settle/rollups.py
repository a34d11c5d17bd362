"""Counters of endpoints by the minute, gathered until they are worth a commit."""

from __future__ import annotations

from collections.abc import Collection

from posthouse.domain.delivery import Attempt, AttemptOutcome, Rollup
from posthouse.domain.ids import AppId, EndpointId


class Rollups:
    """What `rollup_minute` has yet to be told. A crash loses these, and no record."""

    def __init__(self) -> None:
        self._counters: dict[tuple[int, int, EndpointId], list[int]] = {}
        self._apps: dict[EndpointId, AppId] = {}

    def __len__(self) -> int:
        return len(self._counters)

    def count(self, attempt: Attempt) -> None:
        key = (attempt.partition, int(attempt.started_at // 60), attempt.endpoint_id)
        counters = self._counters.get(key)
        if counters is None:
            counters = self._counters[key] = [0, 0, 0, 0]
            self._apps[attempt.endpoint_id] = attempt.app_id
        outcome = attempt.outcome
        if outcome is AttemptOutcome.DELIVERED:
            counters[0] += 1
        elif outcome is AttemptOutcome.FAILED:
            counters[1] += 1
        else:
            counters[2] += 1
        counters[3] += attempt.timings.total_us

    def forget(self, partitions: Collection[int]) -> None:
        """Partitions are not ours any more."""
        self._counters = {key: counters for key, counters in self._counters.items() if key[0] not in partitions}

    def take(self) -> list[Rollup]:
        """All of it, which is then gone from here."""
        taken, self._counters = self._counters, {}
        apps, self._apps = self._apps, {}
        return [
            Rollup(
                partition=partition,
                minute=minute,
                app_id=apps[endpoint_id],
                endpoint_id=endpoint_id,
                delivered=counters[0],
                failed=counters[1],
                gave_up=counters[2],
                total_us=counters[3],
            )
            for (partition, minute, endpoint_id), counters in taken.items()
        ]
