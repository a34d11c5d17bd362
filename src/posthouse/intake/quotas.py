"""Apps with quotas: each of their events is counted before it is appended. An app without any is never seen here.

Rates are kept in this process alone: with several processes each one admits the whole rate. What an app stores is measured
in the log every minute, whoever appended it, and what this process admitted since is added; so with several processes an
app may be over by what the others admitted since then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from posthouse.domain.errors import QuotaExceeded
from posthouse.domain.ids import ID_BYTES, AppId, lower_bound
from posthouse.domain.limits import (
    CLOCK_SKEW_SECONDS_MAX,
    QUOTA_APPS_MAX,
    QUOTA_APPS_READ_MAX,
    QUOTA_EVENTS_READ_MAX,
    QUOTA_MEASURED_SECONDS,
    QUOTA_ROUNDS_MAX,
)
from posthouse.domain.quota import Bucket, Quotas, check_stored
from posthouse.ports.catalogue import AppEntry
from posthouse.ports.clock import Clock
from posthouse.ports.usage import Stretch, Usage

SETTLED_SECONDS: Final = 2 * CLOCK_SKEW_SECONDS_MAX
"""Below ids that are so old, nothing more appears: an id is at most CLOCK_SKEW_SECONDS_MAX off as it is appended."""

IN_FLIGHT_SECONDS: Final = 15.0
"""What was admitted longer ago than that is in the log by now, or never will be."""

SLOT_SECONDS: Final = 5.0
SLOTS_MAX: Final = 64

_DAY_MS: Final = 86_400_000
_FIRST: Final = bytes(ID_BYTES)
_LAST: Final = b"\xff" * ID_BYTES


@dataclass(slots=True)
class _Stored:
    """What is known of an app's events. Days that are over, and settled, are read once."""

    days: dict[int, int] = field(default_factory=dict)  # bytes of the settled events, by day
    counted_to: bytes = _FIRST  # settled events up to this id are in `days`
    fresh: int = 0  # bytes of those that were not settled as they were measured
    admitted: dict[int, int] = field(
        default_factory=dict
    )  # bytes that this process admitted since, by slot of its time

    @property
    def bytes(self) -> int:
        return sum(self.days.values()) + self.fresh + sum(self.admitted.values())

    def add(self, size: int, *, now: float) -> None:
        slot = int(now / SLOT_SECONDS)
        self.admitted[slot] = self.admitted.get(slot, 0) + size
        if len(self.admitted) > SLOTS_MAX:  # nothing was measured for long
            oldest, older, *_ = sorted(self.admitted)
            self.admitted[older] += self.admitted.pop(oldest)


class QuotaGate:
    """Admits what is within an app's quotas; `refused` is told of each time it does not."""

    def __init__(
        self,
        usage: Usage,
        clock: Clock,
        *,
        retention_days: int,
        refused: Callable[[AppId, QuotaExceeded], None] = lambda _app, _refusal: None,
    ) -> None:
        self._usage = usage
        self._refused = refused
        self._clock = clock
        self._retention_days = retention_days
        self._buckets: dict[AppId, Bucket] = {}
        self._stored: dict[AppId, _Stored] = {}
        self._measure_at = 0.0
        self._unmeasured = False

    def admit(self, app: AppEntry, *, events: int, size: int) -> None:
        """Count `events` with payloads of `size` bytes together. Raises QuotaExceeded; then nothing was counted."""
        if app.quotas is None:
            return
        try:
            self._count(app.id, app.quotas, events=events, size=size)
        except QuotaExceeded as refusal:
            self._refused(app.id, refusal)
            raise

    def _count(self, app_id: AppId, quotas: Quotas, *, events: int, size: int) -> None:
        stored = None
        if quotas.stored_bytes_max is not None:
            stored = self._stored_of(app_id)
            check_stored(quotas, stored.bytes, size)
        if quotas.publish_per_second is not None:
            now = self._clock.boot()
            bucket = self._buckets.get(app_id)
            if bucket is None:
                _bound(self._buckets)
                bucket = self._buckets[app_id] = Bucket(quotas.publish_per_second, now=now)
            bucket.take(events, per_second=quotas.publish_per_second, now=now)
        if stored is not None:
            stored.add(size, now=self._clock.boot())

    async def measure(self) -> None:
        """Measure, once a minute, what the apps store whose quota bounds it; sooner where there is one that never was.
        Raises StoreUnavailable."""
        started = self._clock.boot()
        if started < self._measure_at and not self._unmeasured:
            return
        self._unmeasured = False
        before = set(self._stored)
        bounded: set[AppId] = set()
        after = _FIRST
        while page := await self._usage.bounded_apps(after=after, limit=QUOTA_APPS_READ_MAX):
            await self._measure(page)
            bounded.update(app_id for app_id, _ in page)
            after = page[-1][0]
        for app_id in before - bounded:
            self._stored.pop(app_id, None)
        self._measure_at = started + QUOTA_MEASURED_SECONDS

    def _stored_of(self, app_id: AppId) -> _Stored:
        stored = self._stored.get(app_id)
        if stored is None:
            _bound(self._stored)
            stored = self._stored[app_id] = _Stored()
            self._unmeasured = True
        return stored

    async def _measure(self, apps: Sequence[tuple[AppId, int]]) -> None:
        """Settled events are read on from where the last time ended, and the others each time anew. An app with so many
        that they are not read at once is known to store at least what was read, and read on the next time.

        What this process admitted lately may or may not be in the log yet. Of an app of which there is something, the log is
        counted up to the time before which there is no doubt, and what was admitted from then on is added.
        """
        boot, now_ms = self._clock.boot(), int(self._clock.now() * 1000)
        first_day = now_ms // _DAY_MS - self._retention_days
        settled = lower_bound(now_ms - SETTLED_SECONDS * 1000)
        slot = int((boot - IN_FLIGHT_SECONDS) / SLOT_SECONDS)
        doubtful = lower_bound(now_ms - int((boot - slot * SLOT_SECONDS) * 1000))
        known = {app_id: self._stored.setdefault(app_id, _Stored()) for app_id, _ in apps}
        recent = {app_id for app_id, stored in known.items() if any(at >= slot for at in stored.admitted)}
        for stored in known.values():
            stored.days = {day: size for day, size in stored.days.items() if day >= first_day}
            stored.counted_to = max(stored.counted_to, lower_bound(first_day * _DAY_MS))
        fresh = await self._usage.count(
            [
                Stretch(app_id, partition, settled, doubtful if app_id in recent else _LAST)
                for app_id, partition in apps
            ],
            events_max=QUOTA_EVENTS_READ_MAX,
        )
        behind = list(apps)
        for _ in range(QUOTA_ROUNDS_MAX):
            stretches = [
                Stretch(app_id, partition, known[app_id].counted_to, settled)
                for app_id, partition in behind
                if known[app_id].counted_to < settled
            ]
            behind = await self._read_on(stretches, known) if stretches else []
            if not behind:
                break
        for index, (app_id, _) in enumerate(apps):
            stored = known[app_id]
            stored.fresh = sum(counted.payload_bytes for counted in fresh if counted.stretch == index)
            stored.admitted = {at: size for at, size in stored.admitted.items() if at >= slot}

    async def _read_on(self, stretches: Sequence[Stretch], known: dict[AppId, _Stored]) -> list[tuple[AppId, int]]:
        """Read on, and say whose stretch has more than was read."""
        events = [0] * len(stretches)
        last = [b""] * len(stretches)
        for counted in await self._usage.count(stretches, events_max=QUOTA_EVENTS_READ_MAX):
            index = counted.stretch
            days = known[stretches[index].app_id].days
            days[counted.day] = days.get(counted.day, 0) + counted.payload_bytes
            events[index] += counted.events
            last[index] = max(last[index], counted.last)
        more = []
        for stretch, number, end in zip(stretches, events, last, strict=True):
            full = number >= QUOTA_EVENTS_READ_MAX
            known[stretch.app_id].counted_to = end if full else stretch.before
            if full:
                more.append((stretch.app_id, stretch.partition))
        return more


def _bound(cache: dict[AppId, Bucket] | dict[AppId, _Stored]) -> None:
    if len(cache) >= QUOTA_APPS_MAX:
        cache.clear()
