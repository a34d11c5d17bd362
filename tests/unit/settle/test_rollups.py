"""Counters of endpoints, of apps and of everything, before they are written."""

from __future__ import annotations

from msgspec.structs import replace
from tests.fakes import FakeClock
from tests.making import attempt, draft, new_app, new_endpoint, new_owner

from posthouse.domain.delivery import AttemptOutcome, Rollup
from posthouse.domain.event import Event
from posthouse.domain.exchange import Timings
from posthouse.domain.ids import AppId
from posthouse.domain.latency import BUCKETS, bucket_of
from posthouse.domain.limits import TRAFFIC_COUNTS_MAX
from posthouse.domain.traffic import Count, Level
from posthouse.settle.rollups import Rollups
from posthouse.settle.traffic import Traffic

MINUTE = 30_000_000  # of 2027-01-15
OWNER = new_owner()


class At(FakeClock):
    """It is this time."""

    def __init__(self, now: float) -> None:
        super().__init__()
        self._now = now

    def now(self) -> float:
        return self._now


def event() -> Event:
    made = draft(new_app())
    return Event(made.id, 3, 1, made.app_id, made.type, made.payload, made.content_type, 0.0, 1)


def test_attempts_are_counted_by_outcome_and_by_how_long_they_took() -> None:
    rollups = Rollups()
    endpoint_id, about = new_endpoint(), event()
    took = (0, 255, 256, 900, 1_500, 70_000, 100_000_000)
    for microseconds in took:
        rollups.count(attempt(about, endpoint_id, started_at=MINUTE * 60.0, timings=Timings(total_us=microseconds)))
    rollups.count(attempt(about, endpoint_id, started_at=MINUTE * 60.0, outcome=AttemptOutcome.FAILED))
    unsent = attempt(about, endpoint_id, started_at=MINUTE * 60.0, outcome=AttemptOutcome.GAVE_UP)
    rollups.count(replace(unsent, sent=False))
    (rollup,) = rollups.take()
    assert (rollup.delivered, rollup.failed, rollup.gave_up) == (len(took), 1, 1)
    assert sum(rollup.latency) == len(took) + 1
    expected = [0] * BUCKETS
    for microseconds in (*took, attempt(about, endpoint_id).timings.total_us):
        expected[bucket_of(microseconds)] += 1
    assert list(rollup.latency) == expected[: len(rollup.latency)]
    assert rollup.latency[-1] > 0


def rollup(minute: int, app_id: AppId, endpoint_id: bytes, **counters: int) -> Rollup:
    made = Rollup(partition=3, minute=minute, app_id=app_id, endpoint_id=endpoint_id, latency=(0, 1))  # type: ignore[arg-type]
    return replace(made, **counters)


def of(counts: list[Count], level: Level, minutes: int) -> list[tuple[int, bytes, int, int]]:
    return [(c.at, c.scope, c.delivered, c.failed) for c in counts if (c.level, c.minutes) == (level, minutes)]


def test_counters_become_those_of_longer_spans_of_apps_and_of_everything() -> None:
    clock = At(MINUTE * 60.0 + 61)
    traffic = Traffic(clock, process=OWNER)
    app_id, one, other = new_app(), new_endpoint(), new_endpoint()
    traffic.counted(
        [
            rollup(MINUTE, app_id, one, delivered=1),
            rollup(MINUTE, app_id, other, failed=2),
            rollup(MINUTE + 1, app_id, one, delivered=4),
            replace(rollup(MINUTE, app_id, one, delivered=9), partition=4),
        ],
        held={3},
    )
    traffic.published(7)
    traffic.owed(50)
    traffic.owed(20)
    traffic.owed_to({one: (3, app_id, 11)})
    counts = traffic.take()
    first, second = MINUTE * 60, MINUTE * 60 + 60
    assert of(counts, Level.PROCESS, 1) == [(first, OWNER, 1, 2), (second, OWNER, 4, 0)]
    assert of(counts, Level.APP, 1) == [(first, app_id, 1, 2), (second, app_id, 4, 0)]
    assert of(counts, Level.ENDPOINT, 1) == []
    for minutes in (10, 60, 1_440):
        at = first - first % (minutes * 60)
        assert of(counts, Level.PROCESS, minutes) == [(at, OWNER, 5, 2)]
        assert of(counts, Level.APP, minutes) == [(at, app_id, 5, 2)]
        assert sorted(of(counts, Level.ENDPOINT, minutes)) == sorted([(at, one, 5, 0), (at, other, 0, 2)])
        (whole,) = [c for c in counts if (c.level, c.minutes) == (Level.PROCESS, minutes)]
        assert (whole.published, whole.owed, whole.latency, whole.partition) == (7, 50, (0, 3), 0)
        (of_one,) = [c for c in counts if c.scope == one and c.minutes == minutes]
        assert (of_one.owed, of_one.app_id, of_one.partition, of_one.latency) == (11, app_id, 3, (0, 2))
    assert [(c.level, c.minutes, c.at, c.scope) for c in counts] == sorted(
        (c.level, c.minutes, c.at, c.scope) for c in counts
    )
    assert traffic.take() == []


def test_what_waits_to_be_written_is_bounded() -> None:
    traffic = Traffic(At(MINUTE * 60.0), process=OWNER)
    app_id = new_app()
    for _ in range(TRAFFIC_COUNTS_MAX):
        traffic.counted([rollup(MINUTE, app_id, new_endpoint(), delivered=1)], held={3})
    assert len(traffic) == TRAFFIC_COUNTS_MAX
    traffic.take()
    assert len(traffic) == 0
