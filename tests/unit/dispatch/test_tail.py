"""Each event is handed on once, in the order of the log, whatever wake-ups come or get lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs
from tests.fakes import EPOCH, FakeClock, VirtualLoop, an_event, until, virtual_time

from posthouse.adapters.memory import MemoryDatabase, MemoryLog, Step
from posthouse.dispatch import tail as tail_module
from posthouse.dispatch.tail import BUSY_EVENTS, BUSY_POLLS, POLL_SECONDS, READS_AT_ONCE, Tails
from posthouse.domain.delivery import Cursor
from posthouse.domain.errors import SetupError, StoreUnavailable
from posthouse.domain.event import Event
from posthouse.domain.ids import AppId, EventId, uuid7
from posthouse.domain.limits import CROWD_ENDPOINTS_MIN, OUTSTANDING_EVENTS_MAX
from posthouse.ports.log import Head
from posthouse.ports.store import Claim
from posthouse.settle.progress import Progress


class Log(MemoryLog):
    """The reference log; counts reads, each of which waits while `slow` is not set."""

    def __init__(self, database: MemoryDatabase) -> None:
        super().__init__(database)
        self.reads: list[tuple[int, int, bool]] = []
        self.running = 0
        self.most = 0
        self.slow = asyncio.Event()
        self.slow.set()
        self.hidden: set[tuple[int, int]] = set()
        self.old: set[tuple[int, int]] = set()

    async def read(self, partition: int, after: int, *, since: float | None) -> list[Event]:
        self.reads.append((partition, after, since is not None))
        self.running += 1
        self.most = max(self.most, self.running)
        await self.slow.wait()
        self.running -= 1
        events = await super().read(partition, after, since=since)
        for index, event in enumerate(events):
            at = (partition, event.seq)
            if at in self.hidden or (at in self.old and since is not None):
                return events[:index]
        return events


class Desk:
    def __init__(self, partitions: Sequence[int] = (0,)) -> None:
        clock = FakeClock()
        self.database = MemoryDatabase(clock=clock.now, partitions=8)
        self.log = Log(self.database)
        self.progress = Progress()
        self.handed: list[Event] = []
        self.rewound: list[int] = []
        self.ended: list[asyncio.Task[None]] = []
        self.heads: list[dict[int, Head]] = []
        self.unready: set[EventId] = set()
        self.prepares = 0
        self.fault: Exception | None = None
        self.gate = True
        self.take_again = False  # as soon as it was given up
        self.alarmed: list[tuple[int, float]] = []
        self.tails = Tails(
            self.log,
            clock,
            self.progress,
            ready=lambda event: event.id not in self.unready,
            prepare=self.prepare,
            dispatch=self.dispatch,
            has_room=lambda: self.gate,
            rewound=self.rewind,
            heads_seen=self.heads.append,
            ended=self.ended.append,
        )
        self.tails.alarmed = lambda *told: self.alarmed.append(told)
        for partition in partitions:
            self.take(partition)

    def take(self, partition: int, *, after: int = 0, epoch: int = 1) -> None:
        self.progress.take(partition)
        self.tails.take(Claim(partition, epoch, Cursor(partition, after, EPOCH), None))

    def drop(self, *partitions: int) -> None:
        self.tails.drop(partitions)
        self.progress.drop(partitions)

    async def prepare(self, events: Sequence[Event]) -> None:
        self.prepares += 1
        await asyncio.sleep(0.001)
        if self.fault is not None:
            raise self.fault
        self.unready -= {event.id for event in events}

    def dispatch(self, event: Event, epoch: int) -> None:
        self.handed.append(event)
        self.progress.opened(event, 1)

    async def rewind(self, partitions: Collection[int]) -> None:
        self.rewound += partitions
        self.drop(*partitions)
        if self.take_again:
            self.take(*partitions, after=2, epoch=1001)
            await asyncio.sleep(0.001)

    def append(
        self, seqs: Iterable[int], partition: int = 0, *, size: int = 7, tag: int = 0, **fields: Any
    ) -> list[Event]:
        """Put events into the log."""
        state = self.database.partitions[partition]
        events = [an_event(seq, partition=partition | tag << 8, payload=b"x" * size) for seq in seqs]
        for event in events:
            created_at = EPOCH + event.seq
            placed = an_event(
                event.seq, id=event.id, partition=partition, payload=event.payload, created_at=created_at, **fields
            )
            state.events[event.seq] = placed
            state.head = max(state.head, event.seq)
        return [state.events[event.seq] for event in events]

    @property
    def seqs(self) -> list[int]:
        return [event.seq for event in self.handed]


@asynccontextmanager
async def running(*partitions: int) -> AsyncIterator[Desk]:
    desk = Desk(partitions or (0,))
    task = asyncio.create_task(desk.tails.run())
    try:
        yield desk
    finally:
        await desk.tails.close()
        task.cancel()
        ended = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(ended[0], asyncio.CancelledError), ended


@virtual_time
async def test_what_is_offered_is_handed_on_at_once_without_a_read() -> None:
    desk = Desk()
    desk.tails.offer(desk.append([1, 2]))
    desk.tails.offer(desk.append([3]))
    assert desk.seqs == [1, 2, 3]
    assert desk.log.reads == []
    desk.tails.offer(desk.append([1, 2, 3]))
    assert desk.seqs == [1, 2, 3], "each once"
    desk.tails.offer(desk.append([1], 5))
    assert desk.seqs == [1, 2, 3], "another's partition"


@virtual_time
async def test_a_gap_is_read_and_what_was_offered_waits_for_it() -> None:
    async with running() as desk:
        one, two, three, four = desk.append(range(1, 5))
        desk.tails.offer([one])
        desk.tails.offer([three, four])
        assert desk.seqs == [1]
        await until(lambda: desk.seqs == [1, 2, 3, 4])
        assert desk.log.reads[0] == (0, 1, True)
        assert desk.handed == [one, two, three, four]


@virtual_time
async def test_without_any_offer_the_poll_finds_everything() -> None:
    async with running(0, 1) as desk:
        desk.append(range(1, 1_202))
        desk.append(range(1, 4), 1)
        await until(lambda: len(desk.handed) == 1_204, seconds=1.0)
        for partition in (0, 1):
            seqs = [event.seq for event in desk.handed if event.partition == partition]
            assert seqs == list(range(1, len(seqs) + 1))
        reads = len(desk.log.reads)
        await asyncio.sleep(60)
        assert len(desk.log.reads) == reads, "nothing is read where the head has not moved"
        assert desk.heads[-1][0].seq == 1_201


@virtual_time
async def test_who_hears_of_much_asks_less_often_and_at_once_again_as_it_hears_of_little() -> None:
    async with running() as desk:

        async def asked_in(seconds: float) -> int:
            before = len(desk.heads)
            await asyncio.sleep(seconds)
            return len(desk.heads) - before

        await asyncio.sleep(POLL_SECONDS / 2)  # between two polls
        assert await asked_in(10 * POLL_SECONDS) == 10
        for round in range(10):
            first = round * BUSY_EVENTS + 1
            desk.tails.offer(desk.append(range(first, first + BUSY_EVENTS)))
            await asyncio.sleep(POLL_SECONDS)
        asked = len(desk.heads) - 10
        assert asked == 10 // (BUSY_POLLS + 1), "of five looks one"
        assert await asked_in(POLL_SECONDS) == 1
        assert await asked_in(10 * POLL_SECONDS) == 10
        for _ in range(10):
            first += BUSY_EVENTS
            desk.tails.offer(desk.append(range(first, first + BUSY_EVENTS - 1)))
            first -= 1
            assert await asked_in(POLL_SECONDS) == 1, "little is no excuse"


@virtual_time
async def test_a_nudge_is_quicker_than_the_poll() -> None:
    desk = Desk()
    desk.append([1, 2])
    desk.tails.nudge([0, 7])
    await until(lambda: desk.seqs == [1, 2])


@virtual_time
async def test_it_begins_after_the_cursor() -> None:
    async with running() as desk:
        desk.drop(0)
        desk.append(range(1, 11))
        desk.take(0, after=7)
        await until(lambda: desk.seqs == [8, 9, 10])


@virtual_time
async def test_an_event_waits_for_its_apps_configuration_and_those_behind_it_too() -> None:
    desk = Desk()
    events = desk.append([1, 2, 3])
    desk.unready = {events[0].id, events[2].id}
    desk.tails.offer(events)
    assert desk.seqs == []
    await until(lambda: desk.seqs == [1, 2, 3])
    assert desk.prepares == 1, "with one load"
    assert desk.log.reads[:1] in ([], [(0, 3, True)]), "they are in hand"


class Small(Desk):
    """Of one event alone the apps are known: as they are loaded, all others leave."""

    async def prepare(self, events: Sequence[Event]) -> None:
        await super().prepare(events)
        self.unready = {e.id for p in self.database.partitions for e in p.events.values()} - {events[-1].id}

    def dispatch(self, event: Event, epoch: int) -> None:
        assert event.id not in self.unready
        super().dispatch(event, epoch)


CROWD: Final = tuple(AppId(uuid7(1, number)) for number in range(CROWD_ENDPOINTS_MIN))


@virtual_time
async def test_what_left_as_others_were_loaded_is_loaded_again_before_its_event_is_handed_on() -> None:
    desk = Small(range(8))
    for partition in range(8):
        desk.append([1, 2], partition, app_id=None, audience=CROWD)
        desk.tails.nudge([partition])
    await until(lambda: len(desk.ended) == 8)
    assert [task.exception() for task in desk.ended] == [None] * 8
    assert sorted((event.partition, event.seq) for event in desk.handed) == [(p, s) for p in range(8) for s in (1, 2)]


@virtual_time
async def test_offers_set_aside_are_bounded_and_read_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail_module, "OFFERED_EVENTS_MAX", 11)
    monkeypatch.setattr(tail_module, "OFFERED_BYTES_MAX", 1_000)
    async with running(0, 1) as desk:
        desk.gate = False
        for first in range(1, 101, 10):
            desk.tails.offer(desk.append(range(first, first + 10), size=100))
        desk.tails.offer(desk.append([1], 1, size=2_000))
        await asyncio.sleep(10)
        assert sum(len(tail.offered) for tail in desk.tails._tails.values()) == 10
        assert not desk.tails._tails[1].offered
        assert desk.handed == []
        desk.gate = True
        desk.tails.roomier()
        await until(lambda: len(desk.handed) == 101)
        assert [e.seq for e in desk.handed if e.partition == 0] == list(range(1, 101))
        assert (desk.tails._offered_events, desk.tails._offered_bytes) == (0, 0)


@virtual_time
async def test_it_stops_where_too_much_is_outstanding() -> None:
    async with running() as desk:
        desk.tails.offer(desk.append(range(1, OUTSTANDING_EVENTS_MAX + 501)))
        await asyncio.sleep(5)
        assert len(desk.handed) == OUTSTANDING_EVENTS_MAX
        for event in desk.handed[:100]:
            desk.progress.settled(0, event.seq)
        desk.tails.roomier()
        await asyncio.sleep(0.01)
        assert len(desk.handed) == OUTSTANDING_EVENTS_MAX + 100


@virtual_time
async def test_what_was_read_and_waits_for_room_is_bounded() -> None:
    partitions = range(8)
    async with running(*partitions) as desk:
        for partition in partitions:
            desk.append(range(1, 10), partition)
        desk.log.slow.clear()
        await asyncio.sleep(1)
        desk.gate = False
        desk.log.slow.set()
        await asyncio.sleep(5)
        assert desk.log.most <= READS_AT_ONCE
        assert len(desk.log.reads) <= READS_AT_ONCE, "no more than a few reads' worth waits in memory"
        desk.gate = True
        desk.tails.roomier()
        await until(lambda: len(desk.handed) == 72)


@virtual_time
async def test_a_lost_partition_hands_on_nothing_more() -> None:
    async with running(0, 1) as desk:
        desk.log.slow.clear()
        desk.append(range(1, 5))
        desk.tails.nudge([0])
        await until(lambda: desk.log.running == 1)
        desk.drop(0)
        desk.log.slow.set()
        await asyncio.sleep(1)
        assert desk.handed == []
        # Taken again while the old task was under way: from its cursor, once.
        desk.take(0, after=2, epoch=2)
        await until(lambda: desk.seqs == [3, 4])


@virtual_time
async def test_a_store_that_is_away_costs_time_only() -> None:
    async with running() as desk:

        async def away(operation: str, step: Step) -> None:
            raise StoreUnavailable("away")

        desk.tails.offer(desk.append([1]))
        desk.database.hook = away
        desk.append([2, 3])
        desk.tails.nudge([0])
        await asyncio.sleep(30)
        assert desk.seqs == [1]
        desk.database.hook = None
        await until(lambda: desk.seqs == [1, 2, 3])
        assert desk.rewound == []
        assert desk.ended
        assert all(task.exception() is None for task in desk.ended)


@virtual_time
async def test_a_configuration_that_cannot_be_loaded_halts_its_partition_and_no_other() -> None:
    async with running(0, 1) as desk:
        events = desk.append([1, 2])
        desk.unready = {events[0].id}
        desk.fault = SetupError("a secret does not open")
        desk.tails.offer(events)
        await asyncio.sleep(1)
        desk.tails.offer(desk.append([1], 1))
        assert [(e.partition, e.seq) for e in desk.handed] == [(1, 1)]
        desk.fault = None
        await until(lambda: len(desk.handed) == 3)
        assert [task.exception() for task in desk.ended] == [None] * len(desk.ended)


@virtual_time
async def test_a_bug_is_told_rather_than_swallowed() -> None:
    desk = Desk()
    (event,) = desk.append([1])
    desk.unready = {event.id}
    desk.fault = ZeroDivisionError()
    desk.tails.offer([event])
    await until(lambda: len(desk.ended) == 1)
    assert isinstance(desk.ended[0].exception(), ZeroDivisionError)


# The log is another one


@virtual_time
async def test_old_days_are_searched_before_anything_is_called_a_gap() -> None:
    async with running() as desk:
        desk.append(range(1, 6))
        desk.log.old = {(0, 1)}
        await until(lambda: desk.seqs == [1, 2, 3, 4, 5])
        assert (0, 0, False) in desk.log.reads
        assert desk.rewound == []


@virtual_time
async def test_a_gap_that_stays_halts_the_partition_with_an_alarm() -> None:
    async with running(0, 1) as desk:
        desk.append(range(1, 6))
        desk.log.hidden = {(0, 3)}
        with capture_logs() as logs:
            await until(lambda: desk.rewound == [0])
        assert desk.seqs == [1, 2], "nothing is skipped"
        assert [entry["event"] for entry in logs if entry["log_level"] == "critical"] == ["tail.log_rewound"]
        desk.tails.offer(desk.append([1], 1))
        assert len(desk.handed) == 3, "other partitions go on"


@virtual_time
async def test_a_log_that_ends_before_what_was_read_is_noticed() -> None:
    async with running() as desk:
        desk.tails.offer(desk.append(range(1, 6)))
        desk.database.partitions[0].head = 3
        await until(lambda: desk.rewound == [0])
        assert desk.alarmed == [(0, desk.handed[-1].created_at)]


@pytest.mark.parametrize("how", ["lost connection", "offer"])
def test_another_event_at_a_position_that_was_read_is_noticed(how: str) -> None:
    @virtual_time
    async def test() -> None:
        async with running() as desk:
            desk.tails.offer(desk.append(range(1, 6)))
            # A failover lost the end of the log, and it was written anew, further than we had read.
            anew = desk.append(range(4, 9), tag=1)
            if how == "offer":
                desk.tails.offer(anew)
            else:
                desk.tails.suspect_all()
            await until(lambda: desk.rewound == [0])
            assert desk.seqs == [1, 2, 3, 4, 5]

    test()


@virtual_time
async def test_a_lost_connection_to_the_same_log_changes_nothing() -> None:
    async with running() as desk:
        desk.tails.offer(desk.append(range(1, 6)))
        desk.tails.suspect_all()
        desk.tails.offer(desk.append([6]))
        assert desk.seqs[-1] == 5, "first it is looked at"
        await until(lambda: desk.seqs[-1] == 6)
        assert desk.rewound == []


@pytest.mark.parametrize("end", ["shorter", "another event", "the same"])
def test_a_partition_that_is_ours_again_is_compared_with_what_was_known_of_it(end: str) -> None:
    """A failover takes everything away, and gives it back from a log that may have lost its end."""

    @virtual_time
    async def test() -> None:
        async with running() as desk:
            desk.tails.offer(desk.append(range(1, 6)))
            await until(lambda: desk.seqs == [1, 2, 3, 4, 5])
            desk.drop(0)
            state = desk.database.partitions[0]
            if end != "the same":
                state.head = 3
                for seq in (4, 5):
                    del state.events[seq]
            if end == "another event":
                desk.append(range(4, 8), tag=1)
            desk.take(0, after=2, epoch=1001)
            with capture_logs() as logs:
                desk.tails.nudge([0])
                await until(lambda: desk.tails.position(0) == state.head)
                desk.tails.offer(desk.append([state.head + 1], tag=1))
                await until(lambda: desk.tails.position(0) == state.head)
            alarms = [entry for entry in logs if entry["log_level"] == "critical"]
            assert desk.tails.rewinds == len(alarms) == len(desk.alarmed) == (end != "the same")
            assert desk.rewound == [], "it was derived from this log, and goes on"
            assert desk.seqs[5:] == list(range(3, state.head + 1)), "what has those positions now is handed on"

    test()


@pytest.mark.parametrize(
    "taken", ["while it is given up", "while it is looked for", "while it is compared", "later", "by another process"]
)
def test_a_log_that_lost_its_end_is_told_of_once_whenever_its_partition_comes_and_goes(taken: str) -> None:
    """A database that is another one says so itself, and all partitions are taken anew, as a tail finds it out."""

    @virtual_time
    async def test() -> None:
        async with running() as desk:
            desk.tails.offer(desk.append(range(1, 6)))
            state = desk.database.partitions[0]
            state.head = 3
            del state.events[4], state.events[5]
            if taken == "while it is compared":
                desk.drop(0)
                desk.take(0, after=2, epoch=101)
            looking, found = asyncio.Event(), asyncio.Event()
            heads = desk.log.heads

            async def slow_heads(partitions: Sequence[int]) -> Mapping[int, Head]:
                seen = await heads(partitions)
                looking.set()
                await found.wait()
                return seen

            with patch.object(desk.log, "heads", slow_heads):
                if taken == "while it is given up":
                    desk.take_again = True
                desk.tails.suspect_all()
                desk.tails.nudge([0])
                await looking.wait()
            if taken != "while it is given up":
                desk.drop(0)
            if taken in ("while it is looked for", "while it is compared"):
                desk.take(0, after=2, epoch=1001)
            found.set()
            await until(lambda: desk.tails.rewinds == 1 or taken.startswith("while"))
            if taken == "later":
                desk.take(0, after=2, epoch=1001)
            desk.tails.nudge([0])
            await until(lambda: desk.tails.position(0) == (0 if taken == "by another process" else 3))
            await asyncio.sleep(1)
            assert (desk.tails.rewinds, len(desk.alarmed)) == (1, 1)

    test()


@virtual_time
async def test_heads_and_offers_that_were_not_read_yet_are_known_of_a_log() -> None:
    for offered in (True, False):
        async with running() as desk:
            desk.gate = False
            desk.tails.offer(desk.append(range(1, 6)) if offered else [])
            desk.append(range(1, 6))
            await asyncio.sleep(1)  # the heads were looked at
            desk.gate = True
            desk.drop(0)
            desk.database.partitions[0].events.clear()
            desk.database.partitions[0].head = 0
            desk.take(0, epoch=1001)
            desk.tails.nudge([0])
            await until(lambda: desk.tails.rewinds == 1)


@virtual_time
async def test_an_event_past_retention_is_no_sign_of_another_log() -> None:
    async with running() as desk:
        desk.tails.offer(desk.append(range(1, 6)))
        desk.database.partitions[0].events.clear()
        desk.tails.suspect_all()
        await asyncio.sleep(5)
        assert desk.rewound == []


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_the_order_is_that_of_the_log_whatever_is_offered_and_lost(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 60))
    offered = data.draw(st.lists(st.integers(1, count), max_size=80))
    steps = data.draw(st.lists(st.sampled_from(["wait", "away", "back", "nudge", "unready"]), max_size=20))

    async def test() -> None:
        async with running() as desk:
            events = desk.append(range(1, count + 1))
            state = desk.database.partitions[0]
            state.events, state.head = {}, 0

            def commit(until_seq: int) -> None:
                state.events |= {event.seq: event for event in events[:until_seq]}
                state.head = max(state.head, until_seq)

            async def away(operation: str, step: Step) -> None:
                raise StoreUnavailable("away")

            at = 0
            for step in [*steps, "back"]:
                commit(max(offered[at : at + 5], default=0))  # an event is offered after its commit
                for seq in offered[at : at + 5]:
                    desk.tails.offer([events[seq - 1]])
                at += 5
                if step == "away":
                    desk.database.hook = away
                elif step == "back":
                    desk.database.hook = None
                elif step == "nudge":
                    desk.tails.nudge([0])
                elif step == "unready":
                    desk.unready = {event.id for event in events[::3]}
                else:
                    await asyncio.sleep(0.13)
            commit(count)
            await until(lambda: len(desk.handed) >= count, "every event")
            assert desk.seqs == list(range(1, count + 1))
            assert desk.rewound == []

    with asyncio.Runner(loop_factory=VirtualLoop) as runner, capture_logs():
        runner.run(test())
