"""Counters of endpoints by the minute, gathered until they are worth a commit."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from posthouse.domain.delivery import Attempt, AttemptOutcome, Rollup
from posthouse.domain.ids import AppId, EndpointId
from posthouse.domain.latency import LAST, UNIT_BITS

_DELIVERED: Final = AttemptOutcome.DELIVERED  # looked up once
_FAILED: Final = AttemptOutcome.FAILED
_LATENCY: Final = (
    4  # where its counters begin, behind delivered, failed, gave up and microseconds; as many as were needed
)


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
        if outcome is _DELIVERED:
            counters[0] += 1
        elif outcome is _FAILED:
            counters[1] += 1
        else:
            counters[2] += 1
        taken_us = attempt.timings.total_us
        counters[3] += taken_us
        if attempt.sent:
            # `latency.bucket_of`, written out: a call for each attempt would cost as much as all the rest of this.
            at = taken_us >> UNIT_BITS
            if at > 3:
                shift = at.bit_length() - 3
                at = 4 * shift + (at >> shift)
                if at > LAST:
                    at = LAST
            at += _LATENCY
            if at >= len(counters):
                counters += [0] * (at + 1 - len(counters))
            counters[at] += 1

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
                latency=tuple(counters[_LATENCY:]),
            )
            for (partition, minute, endpoint_id), counters in taken.items()
        ]
