"""Counters are written, or lost: never twice."""

from __future__ import annotations

from collections.abc import Sequence

from tests.fakes import FakeClock
from tests.making import new_app, new_endpoint, new_owner

from posthouse.dispatch.traffic import TrafficWriter
from posthouse.domain.delivery import Rollup
from posthouse.domain.errors import StoreUnavailable
from posthouse.domain.limits import TRAFFIC_ROWS_MAX
from posthouse.domain.traffic import Count, Level
from posthouse.settle.traffic import Traffic


class Book:
    def __init__(self) -> None:
        self.written: list[Sequence[Count]] = []
        self.away = False

    async def add(self, counts: Sequence[Count]) -> None:
        if self.away:
            raise StoreUnavailable("it is away")
        self.written.append(counts)


async def test_counters_are_written_in_parts_and_only_once() -> None:
    clock, book = FakeClock(), Book()
    traffic = Traffic(clock, process=new_owner())
    app_id, owed_to = new_app(), new_endpoint()
    writer = TrafficWriter(book, traffic, clock, backlogs=lambda: {owed_to: (3, app_id, 200)})
    endpoints = [new_endpoint() for _ in range(TRAFFIC_ROWS_MAX)]
    traffic.counted(
        [Rollup(partition=3, minute=1, app_id=app_id, endpoint_id=endpoint, delivered=1) for endpoint in endpoints],
        held={3},
    )
    rows = await writer.write()
    assert [len(part) for part in book.written][:3] == [TRAFFIC_ROWS_MAX] * 3
    assert rows == sum(len(part) for part in book.written) == 3 * (len(endpoints) + 1) + 4 + 4
    (told,) = [c for part in book.written for c in part if c.owed is not None and c.minutes == 10]
    assert (told.level, told.scope, told.owed) == (Level.ENDPOINT, owed_to, 200)
    book.written.clear()
    assert await writer.write() == 0  # what is owed is told once a minute


async def test_what_cannot_be_written_is_lost() -> None:
    clock, book = FakeClock(), Book()
    traffic = Traffic(clock, process=new_owner())
    writer = TrafficWriter(book, traffic, clock, backlogs=dict)
    traffic.published(1)
    book.away = True
    assert await writer.write() == 4
    book.away = False
    assert await writer.write() == 0
    assert book.written == []
