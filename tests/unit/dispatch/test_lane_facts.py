"""What lanes must know of the store: whose turn it is, which lines have rows, and when they last sent."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection, Coroutine
from typing import Any

import pytest
from tests.fakes import (
    BOOT,
    EPOCH,
    FakeClock,
    FakeTelemetry,
    ScriptedStore,
    a_delivery,
    an_endpoint,
    an_event,
    until,
    virtual_time,
)
from tests.making import owed

from posthouse.adapters.memory import MemoryDatabase
from posthouse.dispatch.lane_facts import LaneFacts
from posthouse.domain.delivery import Cursor, Owed, OwedReason, RowKey
from posthouse.domain.endpoint import Ordering, RateLimit
from posthouse.domain.errors import StoreUnavailable
from posthouse.domain.limits import LANE_LINES_OWED_MAX
from posthouse.lane.lane import Lane
from posthouse.ports.store import Claim
from posthouse.send.owing import owed_row
from posthouse.settle.journal import Journal
from posthouse.settle.progress import Progress

OWNER = b"o" * 16
LINE = 6


class Store(ScriptedStore):
    """Says when it was last sent to, and which lines have rows."""

    def __init__(self, database: MemoryDatabase) -> None:
        super().__init__(database)
        self.last: float | None = None
        self.lines: list[int] = []
        self.away = False
        self.seconds = 0.0

    async def last_sent(self, partition: int, endpoint_id: bytes) -> float | None:
        await asyncio.sleep(self.seconds)
        if self.away:
            raise StoreUnavailable("away")
        return self.last

    async def in_flight(self, sender: bytes, rows: Collection[RowKey]) -> set[RowKey]:
        if self.away:
            raise StoreUnavailable("away")
        return await super().in_flight(sender, rows)

    async def owed_lines(self, partition: int, endpoint_id: bytes, *, limit: int) -> list[int]:
        found = self.lines[:limit]
        await asyncio.sleep(self.seconds)
        if self.away:
            raise StoreUnavailable("away")
        return found


class Desk:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.store = Store(MemoryDatabase(clock=self.clock.now, partitions=1))
        self.progress = Progress()
        self.progress.take(0)
        self.journal = Journal(
            self.store,
            self.clock,
            FakeTelemetry(),
            self.progress,
            owner=OWNER,
            epochs={0: 1},
            hold=lambda *_: None,
            written=lambda *_: None,
            room=lambda: None,
        )
        self.position = 0
        self.undecided: int | None = None
        self.tasks: list[asyncio.Task[None]] = []
        self.started: list[Lane] = []
        self.facts = LaneFacts(
            self.store,
            self.clock,
            self.journal,
            position=lambda _: self.position,
            undecided=lambda _: self.undecided,
            spawn=self.spawn,
            start=self.started.append,
        )

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.get_running_loop().create_task(work))

    async def done(self) -> None:
        await asyncio.gather(*self.tasks)

    def claim(self, *, previous: bytes | None) -> None:
        self.facts.take([Claim(0, 1, Cursor(0, 0, 0.0), previous)])

    def in_turn(self, owed: Owed) -> bool:
        return self.facts.in_turn(owed, an_endpoint())

    def lane(self, **fields: Any) -> Lane:
        return Lane(an_endpoint(**fields), boot=self.facts.owned_since(0))


def row(seq: int, **fields: Any) -> Owed:
    return owed(an_event(seq), an_endpoint().id, line=LINE, **fields)


# What is under way without a row


@virtual_time
async def test_where_the_store_is_away_nobody_knows_which_rows_are_there() -> None:
    desk = Desk()
    assert await desk.facts.unmarked(OWNER, []) == set()
    running = [a_delivery(1, row=True, fresh=False), a_delivery(2, row=True, fresh=False, epoch=7)]
    assert await desk.facts.unmarked(OWNER, running[1:]) == set(), "that one is not ours any more"
    desk.store.away = True
    assert await desk.facts.unmarked(OWNER, running) == {0}


# Whose turn it is


@virtual_time
async def test_a_row_has_its_turn_once_all_before_it_were_dispatched() -> None:
    desk = Desk()
    desk.position = 4
    assert [desk.in_turn(row(seq)) for seq in (3, 4, 5)] == [True, True, False]


@virtual_time
async def test_a_row_waits_while_it_is_not_decided_whom_those_before_it_reach() -> None:
    """After a hand-over filters are asked anew, and may come to something else."""
    desk = Desk()
    desk.position = 100
    desk.undecided = 7
    assert [desk.in_turn(row(seq)) for seq in (6, 7, 8)] == [True, True, False]


@virtual_time
async def test_a_row_waits_for_those_before_it_that_are_not_written_yet() -> None:
    desk = Desk()
    desk.position = 100
    delivery = a_delivery(7, line=LINE, row=True, fresh=False)
    spilled = owed_row(delivery, an_endpoint(), number=1, due_at=math.inf, reason=OwedReason.BEHIND)
    desk.journal.owe(delivery, spilled)
    assert [desk.in_turn(row(seq)) for seq in (6, 7, 8)] == [True, True, False]
    assert desk.in_turn(owed(an_event(8), an_endpoint().id, line=8)), "of another line"
    # While it is being written, and until it was.
    desk.store.open.clear()
    task = asyncio.create_task(desk.journal.run())
    await until(lambda: len(desk.store.batches) == 1)
    assert not desk.in_turn(row(8))
    later = a_delivery(9, line=LINE, row=True, fresh=False)
    desk.journal.owe(later, owed_row(later, an_endpoint(), number=1, due_at=math.inf, reason=OwedReason.BEHIND))
    assert not desk.in_turn(row(8)), "the earlier of both counts"
    desk.store.open.set()
    await desk.journal.flush()
    assert desk.in_turn(row(10))
    task.cancel()


# Rates


SLOW = RateLimit(1 / 60)


def waits(lane: Lane, clock: FakeClock) -> float:
    assert lane.bucket is not None
    return lane.bucket.wait(clock.boot())


@virtual_time
async def test_after_a_hand_over_a_slow_rate_goes_on_from_the_last_attempt() -> None:
    desk = Desk()
    desk.store.last = EPOCH - 45.0
    desk.claim(previous=None)
    lane = desk.lane(rate_limit=SLOW)
    assert waits(lane, desk.clock) == 60.0
    desk.facts.made(lane)
    await desk.done()
    assert waits(lane, desk.clock) == pytest.approx(15.0, abs=0.01)
    assert waits(lane, desk.clock) > 15.0, "ids have milliseconds: it may have been that much later"
    assert desk.started == [lane]


@virtual_time
async def test_how_far_back_the_record_is_whole_bounds_the_credit() -> None:
    desk = Desk()
    desk.store.last = EPOCH - 3_600.0
    desk.facts.take([Claim(0, 1, Cursor(0, 0, 0.0), None, on_record_seconds=10.0)])
    lane = desk.lane(rate_limit=SLOW)
    desk.facts.made(lane)
    await desk.done()
    assert waits(lane, desk.clock) == pytest.approx(50.0), "a crash ten seconds ago may have sent something"


@pytest.mark.parametrize(("last", "waits_for"), [(None, 0.0), (math.inf, 60.0), (EPOCH + 5, 60.0)])
def test_what_is_not_known_of_the_last_attempt_is_no_credit(last: float | None, waits_for: float) -> None:
    @virtual_time
    async def test() -> None:
        desk = Desk()
        desk.store.last = last
        desk.claim(previous=None)
        lane = desk.lane(rate_limit=SLOW)
        desk.facts.made(lane)
        await desk.done()
        assert waits(lane, desk.clock) == waits_for

    test()


@virtual_time
async def test_after_a_crash_it_begins_anew_and_quick_rates_ask_nothing() -> None:
    for previous, limit in ((b"p" * 16, SLOW), (None, RateLimit(1.0)), (None, None)):
        desk = Desk()
        desk.claim(previous=previous)
        desk.facts.made(desk.lane(rate_limit=limit))
        assert desk.tasks == []


@virtual_time
async def test_a_store_that_is_away_gives_no_credit() -> None:
    desk = Desk()
    desk.store.away = True
    desk.claim(previous=None)
    lane = desk.lane(rate_limit=SLOW)
    desk.facts.made(lane)
    await desk.done()
    assert waits(lane, desk.clock) == 60.0


@virtual_time
async def test_a_partition_that_is_not_ours_is_owned_since_now() -> None:
    desk = Desk()
    await asyncio.sleep(7.0)
    assert desk.facts.owned_since(3) == BOOT + 7.0
    desk.claim(previous=None)
    await asyncio.sleep(7.0)
    assert desk.facts.owned_since(0) == BOOT + 7.0


# Lines


async def learnt(desk: Desk, *, meanwhile: Callable[[Lane], None] = lambda _: None) -> Lane:
    lane = Lane(an_endpoint(ordering=Ordering.KEY), all_owed=True)
    desk.facts.learn(lane)
    await asyncio.sleep(0.5)
    meanwhile(lane)
    await desk.done()
    return lane


@virtual_time
async def test_it_is_learnt_which_lines_have_rows() -> None:
    desk = Desk()
    desk.store.lines = [2, 4]
    lane = await learnt(desk)
    assert [lane.joins_rows(line) for line in (2, 4, 6)] == [True, True, False]
    assert lane.learning is None


@virtual_time
async def test_lines_that_got_rows_meanwhile_are_not_forgotten() -> None:
    desk = Desk()
    desk.store.lines, desk.store.seconds = [2], 1.0
    lane = await learnt(desk, meanwhile=lambda lane: lane.owe_line(6))
    assert [lane.joins_rows(line) for line in (2, 4, 6)] == [True, False, True]


@virtual_time
async def test_what_is_learnt_late_of_before_its_partition_was_lost_is_forgotten() -> None:
    """Others may have left rows meanwhile."""
    desk = Desk()
    desk.store.lines, desk.store.seconds = [], 1.0

    def lost_and_taken(lane: Lane) -> None:
        desk.store.lines = [6]
        lane.taken(desk.clock.boot(), all_owed=True)
        assert lane.learning is None, "and it may be asked anew"

    lane = await learnt(desk, meanwhile=lost_and_taken)
    assert lane.joins_rows(6)


@virtual_time
async def test_what_is_learnt_late_leaves_alone_what_is_being_learnt_anew() -> None:
    desk = Desk()
    desk.store.seconds = 1.0
    lane = Lane(an_endpoint(ordering=Ordering.KEY), all_owed=True)
    desk.facts.learn(lane)
    await asyncio.sleep(0.5)
    lane.taken(desk.clock.boot(), all_owed=True)
    desk.store.lines = [6]
    desk.facts.learn(lane)
    await desk.tasks[0]
    assert lane.all_owed
    lane.owe_line(8)
    await desk.done()
    assert [lane.joins_rows(line) for line in (6, 8, 10)] == [True, True, False]
    assert lane.learning is None


@virtual_time
async def test_it_asks_once_what_was_recorded_before_is_written() -> None:
    desk = Desk()
    delivery = a_delivery(1, line=8, row=True, fresh=False)
    desk.journal.owe(delivery, owed_row(delivery, an_endpoint(), number=1, due_at=0.0, reason=OwedReason.FAILED))
    desk.store.open.clear()
    task = asyncio.create_task(desk.journal.run())
    lane = Lane(an_endpoint(ordering=Ordering.KEY), all_owed=True)
    desk.facts.learn(lane)
    await asyncio.sleep(1.0)
    desk.store.lines = [8]
    desk.store.open.set()
    await desk.done()
    assert lane.joins_rows(8)
    task.cancel()


@pytest.mark.parametrize("trouble", ["too many", "away"])
def test_where_it_cannot_be_learnt_all_lines_count_as_owed(trouble: str) -> None:
    @virtual_time
    async def test() -> None:
        desk = Desk()
        desk.store.lines = list(range(2, 2 * LANE_LINES_OWED_MAX + 10, 2))
        desk.store.away = trouble == "away"
        lane = await learnt(desk)
        assert lane.all_owed
        assert lane.joins_rows(-4)
        assert lane.learning is None, "and it may be tried again"

    test()


def test_a_lane_of_very_many_lines_stops_counting_them() -> None:
    lane = Lane(an_endpoint(ordering=Ordering.KEY))
    for line in range(2, 2 * LANE_LINES_OWED_MAX + 4, 2):
        lane.owe_line(line)
    assert lane.all_owed
    assert lane.owed_lines == set()
    assert lane.joins_rows(-2)
