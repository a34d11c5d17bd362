"""Quotas at the door: what is counted, and how what an app stores is measured."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import pytest
from tests.fakes import FakeClock, virtual_time

from posthouse.domain.errors import QuotaExceeded, StoreUnavailable
from posthouse.domain.ids import AppId, unix_ms_of, uuid7
from posthouse.domain.quota import Quotas
from posthouse.intake import quotas as quotas_module
from posthouse.intake.quotas import SETTLED_SECONDS, QuotaGate
from posthouse.ports.catalogue import AppEntry
from posthouse.ports.usage import Counted, Stretch

APP: Final = AppId(uuid7(1, 1))
OTHER: Final = AppId(uuid7(1, 2))
DAY_SECONDS: Final = 86_400


class Log:
    """`ports.usage.Usage` over a list, as the port says; counts what was read."""

    def __init__(self) -> None:
        self.bounded = [APP]
        self.events: list[tuple[AppId, bytes, int]] = []
        self.asked = 0
        self.read = 0
        self.fails = False

    def append(self, size: int, *, age: float = 0.0, app_id: AppId = APP) -> None:
        self.events.append((app_id, uuid7(int((FakeClock().now() - age) * 1000), len(self.events)), size))

    async def bounded_apps(self, *, after: bytes, limit: int) -> list[tuple[AppId, int]]:
        self.asked += 1
        if self.fails:
            raise StoreUnavailable("gone")
        return [(app_id, 0) for app_id in sorted(self.bounded) if app_id > after][:limit]

    async def count(self, stretches: Sequence[Stretch], *, events_max: int) -> list[Counted]:
        found = []
        for number, stretch in enumerate(stretches):
            chosen = sorted(
                (event_id, size)
                for app_id, event_id, size in self.events
                if app_id == stretch.app_id and stretch.after < event_id < stretch.before
            )[:events_max]
            self.read += len(chosen)
            for day in {unix_ms_of(event_id) // 86_400_000 for event_id, _ in chosen}:
                rows = [row for row in chosen if unix_ms_of(row[0]) // 86_400_000 == day]
                found.append(Counted(number, day, sum(size for _, size in rows), len(rows), rows[-1][0]))
        return found


class Desk:
    def __init__(self, *, retention_days: int = 30) -> None:
        self.log = Log()
        self.gate = QuotaGate(self.log, FakeClock(), retention_days=retention_days)

    def stored(self, app_id: AppId = APP) -> int:
        """What the gate believes that an app stores: found by what it refuses."""
        quotas = Quotas(stored_bytes_max=0)
        with pytest.raises(QuotaExceeded) as refused:
            self.gate.admit(AppEntry(app_id, 0, None, quotas), events=1, size=1)
        return int(str(refused.value).split(" about ")[1].split(",")[0])

    def admit(self, quotas: Quotas | None, *, events: int = 1, size: int = 0, app_id: AppId = APP) -> None:
        self.gate.admit(AppEntry(app_id, 0, None, quotas), events=events, size=size)


@virtual_time
async def test_an_app_without_quotas_leaves_no_trace() -> None:
    desk = Desk()
    desk.admit(None, events=10**6, size=10**9)
    desk.admit(Quotas(endpoints_max=1), events=10**6, size=10**9)
    assert desk.gate._buckets == {}
    assert desk.gate._stored == {}


@virtual_time
async def test_events_are_counted_by_app_and_time() -> None:
    desk = Desk()
    quotas = Quotas(publish_per_second=2.0)
    desk.admit(quotas, events=2)
    with pytest.raises(QuotaExceeded) as refused:
        desk.admit(quotas)
    assert refused.value.retry_after == 1
    desk.admit(quotas, app_id=OTHER)
    await asyncio.sleep(0.5)
    desk.admit(quotas)


@virtual_time
async def test_what_this_process_admits_is_counted_at_once() -> None:
    desk = Desk()
    quotas = Quotas(stored_bytes_max=100)
    desk.admit(quotas, size=60)
    with pytest.raises(QuotaExceeded):
        desk.admit(quotas, size=60)
    desk.admit(quotas, size=40)
    assert desk.stored() == 100


@virtual_time
async def test_what_is_refused_was_not_counted() -> None:
    desk = Desk()
    both = Quotas(publish_per_second=1.0, stored_bytes_max=100)
    with pytest.raises(QuotaExceeded, match="bytes"):
        desk.admit(both, size=101)
    desk.admit(both, size=10)  # the rate was not touched
    with pytest.raises(QuotaExceeded, match="a second"):
        desk.admit(both, size=10)
    assert desk.stored() == 10


@virtual_time
async def test_the_log_is_measured_whoever_wrote_it() -> None:
    desk = Desk()
    desk.log.append(5, age=3 * DAY_SECONDS)
    desk.log.append(70, age=3_600)
    desk.log.append(800, age=1)
    desk.log.append(9_000, app_id=OTHER)
    await desk.gate.measure()
    assert desk.stored() == 875
    # What was admitted and is in the log now is not counted twice.
    desk.admit(Quotas(stored_bytes_max=10**6), size=25)
    desk.log.append(25)
    await asyncio.sleep(60)
    await desk.gate.measure()
    assert desk.stored() == 900


@virtual_time
async def test_what_is_on_its_way_into_the_log_is_neither_lost_nor_counted_twice() -> None:
    desk = Desk()
    quotas = Quotas(stored_bytes_max=10**6)
    for number in range(100):
        # Of two that are admitted one is in the log a little later, whenever it is measured.
        desk.admit(quotas, size=1)
        await asyncio.sleep(0.2)
        desk.admit(quotas, size=1)
        desk.log.append(1)
        desk.log.append(1, age=0.2)
        desk.gate._unmeasured = True
        if number % 3 == 0:
            desk.admit(quotas, size=1)
            await desk.gate.measure()
            assert 2 * number + 2 <= desk.stored() - number // 3 <= 2 * number + 5, number
            desk.log.append(1)
        await asyncio.sleep(1.8)
    await asyncio.sleep(60)
    await desk.gate.measure()
    assert desk.stored() == len(desk.log.events) == 234


@virtual_time
async def test_what_is_admitted_while_nothing_can_be_measured_stays_bounded_and_known() -> None:
    desk = Desk()
    quotas = Quotas(stored_bytes_max=10**6)
    for _ in range(200):
        desk.admit(quotas, size=1)
        await asyncio.sleep(10)
    assert desk.stored() == 200
    assert len(desk.gate._stored[APP].admitted) <= quotas_module.SLOTS_MAX


@virtual_time
async def test_what_is_settled_is_read_once() -> None:
    desk = Desk()
    for age in range(100):
        desk.log.append(1, age=SETTLED_SECONDS + 1 + age)
    await desk.gate.measure()
    assert desk.log.read == 100
    for _ in range(5):
        await asyncio.sleep(60)
        await desk.gate.measure()
    assert desk.log.read == 100
    assert desk.stored() == 100


@virtual_time
async def test_an_event_that_appears_late_is_counted_when_it_does() -> None:
    """One whose id is older than those that were counted already, as the clocks of publishers allow."""
    desk = Desk()
    desk.log.append(1)
    await desk.gate.measure()
    await asyncio.sleep(60)
    desk.log.append(10, age=299)
    for _ in range(30):
        await asyncio.sleep(60)
        await desk.gate.measure()
        assert desk.stored() == 11


@virtual_time
async def test_it_is_measured_once_a_minute_and_sooner_for_an_app_that_is_new() -> None:
    desk = Desk()
    await desk.gate.measure()
    asked = desk.log.asked
    await asyncio.sleep(15)
    await desk.gate.measure()
    assert desk.log.asked == asked
    desk.log.bounded.append(OTHER)
    desk.log.append(7, age=3_600, app_id=OTHER)
    assert desk.stored(OTHER) == 0
    await desk.gate.measure()
    assert desk.stored(OTHER) == 7


@virtual_time
async def test_days_leave_with_retention() -> None:
    desk = Desk(retention_days=2)
    desk.log.append(1, age=5 * DAY_SECONDS)  # past it, whether dropped or not
    desk.log.append(10, age=DAY_SECONDS)
    await desk.gate.measure()
    assert desk.stored() == 10
    await asyncio.sleep(3 * DAY_SECONDS)
    await desk.gate.measure()
    assert desk.stored() == 0


@virtual_time
async def test_much_is_read_a_piece_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quotas_module, "QUOTA_EVENTS_READ_MAX", 10)
    monkeypatch.setattr(quotas_module, "QUOTA_ROUNDS_MAX", 3)
    monkeypatch.setattr(quotas_module, "QUOTA_APPS_READ_MAX", 2)
    desk = Desk()
    apps = [AppId(uuid7(1, 10 + n)) for n in range(5)]
    desk.log.bounded = list(apps)
    for age in range(65):
        desk.log.append(1, age=SETTLED_SECONDS + 1 + age * 3_600, app_id=apps[0])
    for app_id in apps[1:]:
        desk.log.append(3, age=3_600, app_id=app_id)
    known = []
    for _ in range(4):
        await desk.gate.measure()
        known.append(desk.stored(apps[0]))
        await asyncio.sleep(60)
    assert known == [30, 60, 65, 65]
    assert [desk.stored(app_id) for app_id in apps[1:]] == [3, 3, 3, 3]


@virtual_time
async def test_a_store_that_is_away_loses_nothing() -> None:
    desk = Desk()
    quotas = Quotas(stored_bytes_max=100)
    desk.admit(quotas, size=50)
    desk.log.append(50)
    desk.log.fails = True
    with pytest.raises(StoreUnavailable):
        await desk.gate.measure()
    assert desk.stored() == 50
    desk.log.fails = False
    await asyncio.sleep(60)
    await desk.gate.measure()
    assert desk.stored() == 50


@virtual_time
async def test_an_app_without_a_bound_any_more_is_forgotten() -> None:
    desk = Desk()
    await desk.gate.measure()
    assert set(desk.gate._stored) == {APP}
    desk.log.bounded = []
    await asyncio.sleep(60)
    await desk.gate.measure()
    assert desk.gate._stored == {}


@virtual_time
async def test_apps_do_not_fill_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quotas_module, "QUOTA_APPS_MAX", 10)
    desk = Desk()
    for n in range(100):
        desk.admit(Quotas(publish_per_second=1.0, stored_bytes_max=1), app_id=AppId(uuid7(2, n)))
    assert len(desk.gate._buckets) <= 10
    assert len(desk.gate._stored) <= 10
