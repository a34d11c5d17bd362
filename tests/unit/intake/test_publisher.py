"""Groups stand or fall together, one flush at a time, and whoever waits gets an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs
from tests.fakes import FakeClock, FakeTelemetry, VirtualLoop, until, virtual_time
from tests.making import app_of, draft, new_id

from posthouse.adapters.memory import MemoryDatabase, MemoryLog
from posthouse.domain.errors import (
    Conflict,
    InDoubt,
    KeyReused,
    Overloaded,
    PosthouseError,
    StoreRejected,
    StoreUnavailable,
)
from posthouse.domain.event import Draft, Event
from posthouse.domain.ids import AppId, EventId, uuid7
from posthouse.domain.limits import FLUSH_BYTES_MAX, FLUSH_EVENTS_MAX, HANDED_BYTES_MAX, PRESSING_EVENTS
from posthouse.intake.publisher import (
    CROWDED_EVENTS,
    DOUBT_SECONDS,
    GATHER_SECONDS,
    GATHER_SECONDS_MAX,
    GATHERED_EVENTS,
    Publisher,
)
from posthouse.ports.handing import Handed
from posthouse.ports.log import Appended, AppendResult, AppMissing, Repeated

APPS = [AppId(uuid7(1, n)) for n in range(4)]


class Log(MemoryLog):
    """The reference log; each append waits while `open` is not set, and ends as the test says: before or after it is done."""

    def __init__(self, database: MemoryDatabase) -> None:
        super().__init__(database)
        self.appends: list[list[Draft]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.running = 0
        self.most = 0
        self.seconds = 0.0
        self.began: list[float] = []
        self.before: list[Exception | None] = []
        self.after: list[Exception | None] = []

    async def append(self, drafts: Sequence[Draft]) -> list[AppendResult]:
        self.appends.append(list(drafts))
        self.began.append(asyncio.get_running_loop().time())
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.open.wait()
            await asyncio.sleep(self.seconds)
            fault = self.before.pop(0) if self.before else None
            if fault is not None:
                raise fault
            if any(d.payload == b"bad" for d in drafts):
                raise StoreRejected("the data are refused")
            results = await super().append(drafts)
            fault = self.after.pop(0) if self.after else None
            if fault is not None:
                raise fault
            return results
        finally:
            self.running -= 1


class Desk:
    def __init__(self, **options: Any) -> None:
        self.clock = FakeClock()
        self.database = MemoryDatabase(clock=self.clock.now, partitions=4)
        for partition, app_id in enumerate(APPS):
            self.database.put_app(app_id, partition=partition)
        self.log = Log(self.database)
        self.telemetry = FakeTelemetry()
        self.handed: list[Event] = []
        self.fault: Exception | None = None
        self.publisher = Publisher(self.log, self.clock, self.telemetry, appended=self.appended, **options)

    def appended(self, events: list[Event]) -> None:
        if self.fault is not None:
            raise self.fault
        self.handed += events

    def draft(self, partition: int = 0, **fields: Any) -> Draft:
        return draft(APPS[partition], id=EventId(new_id(at=self.clock.now())), **fields)

    def submit(self, *drafts: Draft, partition: int = 0) -> asyncio.Task[list[AppendResult]]:
        return asyncio.create_task(self.publisher.submit(partition, drafts))


@virtual_time
async def test_an_event_is_durable_when_it_is_answered_and_handed_on_right_after() -> None:
    desk = Desk()
    sent = desk.draft(
        payload=b"[1]", subject="shop:1", key="k", channels=("eu",), expires_at=desk.clock.now() + 60, depth=2
    )
    (result,) = await desk.publisher.submit(0, [sent])
    assert isinstance(result, Appended)
    (stored,) = await desk.log.read(0, 0, since=None)
    assert desk.handed == [], "whoever waits for the answer goes first"
    await asyncio.sleep(0)
    assert desk.handed == [stored], "what is handed on is what a tail would read"
    assert desk.telemetry.publish_batches == [1]
    assert (desk.telemetry.published_events, desk.telemetry.published_bytes) == (1, 3)
    assert (desk.publisher.pending_events, desk.publisher.pending_bytes) == (0, 0)


@virtual_time
async def test_it_is_pressed_while_more_than_a_few_events_wait_to_be_stored() -> None:
    desk = Desk()
    desk.log.open.clear()
    few = desk.submit(*[desk.draft() for _ in range(PRESSING_EVENTS)])
    await asyncio.sleep(0)
    assert not desk.publisher.pressed()
    one_more = desk.submit(desk.draft())
    await asyncio.sleep(0)
    assert desk.publisher.pressed()
    desk.log.open.set()
    await asyncio.gather(few, one_more)
    assert not desk.publisher.pressed()


@virtual_time
async def test_while_one_commit_is_under_way_the_next_batch_gathers() -> None:
    desk = Desk()
    desk.log.open.clear()
    tasks = [desk.submit(desk.draft(n % 4), partition=n % 4) for n in range(10)]
    await asyncio.sleep(1)
    assert len(desk.log.appends) == 1
    tasks += [desk.submit(desk.draft()) for _ in range(10)]
    desk.log.open.set()
    await asyncio.gather(*tasks)
    assert len(desk.log.appends) <= 3
    assert sum(len(a) for a in desk.log.appends) == 20


@virtual_time
async def test_after_a_commit_of_several_events_the_next_one_is_a_moment_away() -> None:
    desk = Desk()
    await desk.publisher.submit(0, [desk.draft() for _ in range(PRESSING_EVENTS)])
    await desk.publisher.submit(0, [desk.draft()])
    assert len(desk.log.appends) == 2, "after a few there is nothing to wait for"
    await desk.publisher.submit(0, [desk.draft() for _ in range(PRESSING_EVENTS + 1)])
    first = desk.submit(desk.draft())
    await asyncio.sleep(GATHER_SECONDS / 2)
    await asyncio.gather(first, desk.submit(desk.draft()))
    assert [len(append) for append in desk.log.appends[2:]] == [PRESSING_EVENTS + 1, 2]


async def after_a_crowd(
    processes: int, *, crowd: int = CROWDED_EVENTS, took: float = 0.002, every: float = 0.001, more: int = 60
) -> tuple[float, int]:
    """How long after a commit of a crowd the next one begins, and of how many events, where one comes each so many seconds."""
    desk = Desk(sharing=lambda: processes)
    desk.log.seconds = took
    await desk.publisher.submit(0, [desk.draft() for _ in range(crowd)])
    ended = asyncio.get_running_loop().time()
    tasks: list[asyncio.Task[list[AppendResult]]] = []
    while len(desk.log.appends) < 2:
        if len(tasks) < more:
            tasks.append(desk.submit(desk.draft()))
        await asyncio.sleep(every)
    await asyncio.gather(*tasks)
    return desk.log.began[1] - ended, len(desk.log.appends[1])


@virtual_time
async def test_where_many_events_come_to_several_processes_each_gathers_for_longer() -> None:
    alone, _ = await after_a_crowd(1)
    assert alone == pytest.approx(GATHER_SECONDS)
    of_two, two = await after_a_crowd(2, every=0.0005)
    of_four, four = await after_a_crowd(4, every=0.0005)
    assert 2 * 2 * 0.002 <= of_two <= 2 * 2 * 0.002 + 2 * GATHER_SECONDS
    assert 2 * 4 * 0.002 <= of_four <= 2 * 4 * 0.002 + 4 * GATHER_SECONDS
    assert 2 * two - 4 <= four


@virtual_time
async def test_it_gathers_no_longer_than_more_come_nor_than_it_may() -> None:
    silent, events = await after_a_crowd(2, more=1)
    assert silent == pytest.approx(2 * 2 * GATHER_SECONDS), "one look in which one came, and one in vain"
    assert events == 1
    slow, _ = await after_a_crowd(4, took=1.0, more=1_000)
    assert slow == pytest.approx(GATHER_SECONDS_MAX), "which is a multiple of four looks"
    many, events = await after_a_crowd(4, every=0.0001, more=1_000)
    assert many == pytest.approx(3 * 4 * GATHER_SECONDS), "in each look forty come"
    assert events >= GATHERED_EVENTS


@virtual_time
async def test_a_few_events_are_kept_a_moment_however_many_processes_there_are() -> None:
    few, _ = await after_a_crowd(4, crowd=CROWDED_EVENTS - 1, every=0.0005)
    assert few == pytest.approx(GATHER_SECONDS)


@virtual_time
async def test_one_flush_at_a_time_in_each_class_of_partitions() -> None:
    desk = Desk(classes=2)
    desk.log.open.clear()
    tasks = [desk.submit(desk.draft(n % 4), partition=n % 4) for n in range(16)]
    await asyncio.sleep(1)
    desk.log.open.set()
    await asyncio.gather(*tasks)
    assert desk.log.most == 2
    for drafts in desk.log.appends:
        assert len({APPS.index(app_of(d)) % 2 for d in drafts}) == 1


@virtual_time
async def test_a_flush_is_bounded_by_events_and_bytes() -> None:
    desk = Desk()
    desk.log.open.clear()
    first = desk.submit(desk.draft())
    await asyncio.sleep(0.1)
    many = [desk.submit(*[desk.draft() for _ in range(400)]) for _ in range(5)]
    large = [desk.submit(desk.draft(payload=b"x" * (FLUSH_BYTES_MAX // 3))) for _ in range(7)]
    await asyncio.sleep(0.1)
    desk.log.open.set()
    await asyncio.gather(first, *many, *large)
    for drafts in desk.log.appends:
        assert len(drafts) <= FLUSH_EVENTS_MAX
        assert sum(len(d.payload) for d in drafts) <= FLUSH_BYTES_MAX
    assert len(desk.log.appends) <= 8


@virtual_time
async def test_a_batch_larger_than_a_flush_goes_alone() -> None:
    desk = Desk()
    results = await desk.publisher.submit(0, [desk.draft() for _ in range(FLUSH_EVENTS_MAX + 1)])
    assert [r.seq for r in results if isinstance(r, Appended)] == list(range(1, FLUSH_EVENTS_MAX + 2))


@virtual_time
async def test_what_waits_is_bounded() -> None:
    desk = Desk(pending_events_max=3, pending_bytes_max=1_000)
    desk.log.open.clear()
    tasks = [desk.submit(desk.draft(payload=b"x" * 300, attributes=b"y" * 33)) for _ in range(3)]
    await asyncio.sleep(0.1)
    assert (desk.publisher.pending_events, desk.publisher.pending_bytes) == (3, 999)
    with pytest.raises(Overloaded) as refused:
        desk.publisher.admit(0)
    assert refused.value.retry_after == 1
    with pytest.raises(Overloaded):
        await desk.publisher.submit(0, [desk.draft()])
    desk.log.open.set()
    await asyncio.gather(*tasks)
    desk.publisher.admit(1_000)
    with pytest.raises(Overloaded):
        desk.publisher.admit(1_001)


@virtual_time
async def test_a_client_that_goes_away_cancels_nobody() -> None:
    desk = Desk()
    desk.log.open.clear()
    tasks = [desk.submit(desk.draft()) for _ in range(3)]
    await asyncio.sleep(0.1)
    tasks[0].cancel()
    tasks[1].cancel()
    await asyncio.sleep(0.1)
    desk.log.open.set()
    (result,) = await tasks[2]
    assert isinstance(result, Appended)
    await desk.publisher.close()
    assert len(desk.handed) == 3, "their events are in the log"
    assert (desk.publisher.pending_events, desk.publisher.pending_bytes) == (0, 0)


@pytest.mark.parametrize("doubts", [1, 3])
def test_a_commit_in_doubt_is_sent_again_identical(doubts: int) -> None:
    @virtual_time
    async def test() -> None:
        desk = Desk()
        desk.log.after = [InDoubt("the connection died")] * doubts
        (result,) = await desk.publisher.submit(0, [desk.draft()])
        assert isinstance(result, Appended)
        assert result.seq == 1
        assert len(desk.log.appends) == doubts + 1
        assert all(a == desk.log.appends[0] for a in desk.log.appends)
        await asyncio.sleep(0)
        assert [e.seq for e in desk.handed] == [1]
        assert desk.database.partitions[0].head == 1

    test()


@virtual_time
async def test_in_doubt_even_a_store_that_is_away_is_asked_until_it_tells() -> None:
    desk = Desk()
    desk.log.after = [InDoubt("the connection died")]
    desk.log.before = [None, *[StoreUnavailable("starting up")] * 5]
    (result,) = await desk.publisher.submit(0, [desk.draft()])
    assert isinstance(result, Appended)


@virtual_time
async def test_a_doubt_that_stays_is_told() -> None:
    desk = Desk()
    desk.log.after = [InDoubt("the connection died")] * 1_000
    before = desk.clock.boot()
    with pytest.raises(InDoubt):
        await desk.publisher.submit(0, [desk.draft()])
    assert DOUBT_SECONDS <= desk.clock.boot() - before < DOUBT_SECONDS + 2
    assert desk.publisher.pending_events == 0


@virtual_time
async def test_what_was_certainly_not_written_is_told_at_once() -> None:
    desk = Desk()
    desk.log.before = [StoreUnavailable("away")]
    with pytest.raises(StoreUnavailable):
        await desk.publisher.submit(0, [desk.draft()])
    assert len(desk.log.appends) == 1
    (result,) = await desk.publisher.submit(0, [desk.draft()])
    assert isinstance(result, Appended)


@virtual_time
async def test_that_nothing_can_be_stored_is_told_once_with_its_cause_and_so_is_the_end_of_it() -> None:
    desk = Desk()
    desk.log.before = [StoreUnavailable("No space left on device")] * 3
    with capture_logs() as logs:
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                await desk.publisher.submit(0, [desk.draft()])
            assert desk.publisher.failing_since is not None
        for _ in range(2):
            await desk.publisher.submit(0, [desk.draft()])
            assert desk.publisher.failing_since is None
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [
        ("publish.failing", "warning"),
        ("publish.works_again", "info"),
    ]
    assert logs[0]["error"] == "No space left on device"


@virtual_time
async def test_one_refused_group_never_fails_its_neighbours() -> None:
    desk = Desk()
    desk.log.open.clear()
    first = desk.submit(desk.draft())
    await asyncio.sleep(0.1)
    tasks = [desk.submit(desk.draft(), desk.draft(payload=b"bad" if n == 5 else b"1")) for n in range(9)]
    desk.log.open.set()
    results = await asyncio.gather(first, *tasks, return_exceptions=True)
    refused = [n for n, result in enumerate(results) if isinstance(result, StoreRejected)]
    assert refused == [6]
    assert len(desk.handed) == 1 + 8 * 2
    assert [e.seq for e in desk.handed] == list(range(1, 18)), "and leaves no gap"


@virtual_time
async def test_a_batch_with_a_key_that_was_used_otherwise_is_refused_alone_and_as_a_whole() -> None:
    desk = Desk()
    await desk.publisher.submit(0, [desk.draft(idempotency_key="k", fingerprint=b"f")])
    desk.log.open.clear()
    first = desk.submit(desk.draft())
    await asyncio.sleep(0.1)
    used = desk.draft(idempotency_key="k", fingerprint=b"g", together=True)
    tasks = [desk.submit(desk.draft(), used if n == 1 else desk.draft()) for n in range(3)]
    desk.log.open.set()
    results = await asyncio.gather(first, *tasks, return_exceptions=True)
    assert [n for n, result in enumerate(results) if isinstance(result, KeyReused)] == [2]
    assert [e.seq for e in desk.handed] == list(range(1, 7)), "the others of its flush are there, and nothing of it"


@virtual_time
async def test_a_missing_app_and_a_repeated_key_are_answers() -> None:
    desk = Desk()
    keyed = desk.draft(idempotency_key="k", fingerprint=b"f")
    await desk.publisher.submit(0, [keyed])
    missing = draft(AppId(uuid7(9, 9)), id=EventId(new_id(at=desk.clock.now())))
    again = desk.draft(idempotency_key="k", fingerprint=b"g")
    results = await desk.publisher.submit(0, [missing, again, desk.draft()])
    assert results[0] == AppMissing()
    assert isinstance(results[1], Repeated)
    assert (results[1].event_id, results[1].fingerprint) == (keyed.id, b"f")
    assert isinstance(results[2], Appended)
    await asyncio.sleep(0)
    assert len(desk.handed) == 2, "only what is new is handed on"


@virtual_time
async def test_a_key_that_is_just_being_used_is_a_conflict() -> None:
    desk = Desk()
    desk.log.open.clear()
    first = desk.submit(desk.draft(idempotency_key="k"))
    await asyncio.sleep(0.1)
    with pytest.raises(Conflict):
        await desk.publisher.submit(0, [desk.draft(idempotency_key="k")])
    other = desk.submit(desk.draft(1, idempotency_key="k"), partition=1)
    desk.log.open.set()
    await asyncio.gather(first, other)
    (result,) = await desk.publisher.submit(0, [desk.draft(idempotency_key="k")])
    assert isinstance(result, Repeated), "no longer in progress"


@virtual_time
async def test_a_hand_off_that_fails_is_told_in_the_log_and_not_to_the_client() -> None:
    desk = Desk()
    desk.fault = ZeroDivisionError()
    with capture_logs() as logs:
        (result,) = await desk.publisher.submit(0, [desk.draft()])
        await asyncio.sleep(0)
    assert isinstance(result, Appended)
    assert [entry["event"] for entry in logs] == ["publish.hand_off_failed"]


@virtual_time
async def test_a_bug_in_one_flush_does_not_strand_those_behind_it() -> None:
    desk = Desk()
    desk.log.before = [ZeroDivisionError()]
    desk.log.open.clear()
    first = desk.submit(desk.draft(idempotency_key="k"))
    await asyncio.sleep(0.1)
    second = desk.submit(desk.draft())
    await asyncio.sleep(0.1)
    with capture_logs() as logs:
        desk.log.open.set()
        with pytest.raises(StoreUnavailable):
            await first
        (result,) = await second
    assert isinstance(result, Appended)
    assert [entry["event"] for entry in logs] == ["publish.failed"]
    await desk.publisher.submit(0, [desk.draft(idempotency_key="k")])


@virtual_time
async def test_closing_waits_for_what_was_admitted_and_admits_nothing_more() -> None:
    desk = Desk()
    desk.log.open.clear()
    task = desk.submit(desk.draft())
    await asyncio.sleep(0.1)
    closing = asyncio.create_task(desk.publisher.close())
    await asyncio.sleep(0.1)
    with pytest.raises(Overloaded):
        await desk.publisher.submit(0, [desk.draft()])
    assert not closing.done()
    desk.log.open.set()
    await closing
    assert task.done() or isinstance((await task)[0], Appended)


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_every_accepted_event_is_in_the_log_exactly_once(data: st.DataObject) -> None:
    faults = st.sampled_from([None, None, InDoubt("?"), StoreUnavailable("away")])
    sizes = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=30))
    classes = data.draw(st.integers(1, 3))
    before = data.draw(st.lists(faults, max_size=20))
    after = data.draw(st.lists(st.sampled_from([None, InDoubt("?")]), max_size=20))

    async def test() -> None:
        desk = Desk(classes=classes)
        desk.log.before, desk.log.after = list(before), list(after)
        accepted: set[EventId] = set()

        async def publish(count: int, partition: int) -> None:
            drafts = [desk.draft(partition) for _ in range(count)]
            try:
                results = await desk.publisher.submit(partition, drafts)
            except PosthouseError:
                return
            assert all(isinstance(r, Appended) for r in results)
            accepted.update(d.id for d in drafts)

        await asyncio.gather(*[publish(size, n % 4) for n, size in enumerate(sizes)])
        for partition in desk.database.partitions:
            assert sorted(partition.events) == list(range(1, partition.head + 1)), "no gap"
        stored = [e.id for p in desk.database.partitions for e in p.events.values()]
        assert len(stored) == len(set(stored))
        assert accepted <= set(stored)
        assert accepted == {e.id for e in desk.handed}
        assert desk.publisher.pending_events == 0
        await until(lambda: desk.log.running == 0)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner, capture_logs():
        runner.run(test())


# Handing over to the owner of a partition


class Neighbour:
    """Owns partition 1, and remembers what is handed to it until the test answers."""

    def __init__(self) -> None:
        self.handed: list[tuple[list[Draft], Handed]] = []

    def hand(self, partition: int, drafts: Sequence[Draft], told: Handed) -> bool:
        if partition == 1:
            self.handed.append((list(drafts), told))
        return partition == 1


@virtual_time
async def test_what_a_neighbour_owns_is_handed_to_it_and_answered_when_it_is_durable_there() -> None:
    neighbour = Neighbour()
    desk = Desk(handing=neighbour)
    ours, theirs = desk.submit(desk.draft()), desk.submit(desk.draft(1, payload=b"[1]"), partition=1)
    await ours
    await asyncio.sleep(1)
    ((_, told),) = neighbour.handed
    assert not theirs.done()
    assert (desk.publisher.pending_events, desk.publisher.pending_bytes) == (1, 3), "it counts until it is answered"
    there = Appended(1, 7, 1, desk.clock.now())
    told([there])
    assert await theirs == [there]
    assert [len(appended) for appended in desk.log.appends] == [1], "nothing of it is appended here"
    assert (desk.publisher.pending_events, desk.publisher.handed_events, desk.publisher.handed_back_events) == (0, 1, 0)


@virtual_time
async def test_what_a_neighbour_says_nothing_of_is_appended_here_even_if_it_is_there_already() -> None:
    neighbour = Neighbour()
    desk = Desk(handing=neighbour)
    lost, doubtful = (desk.submit(desk.draft(1), partition=1) for _ in range(2))
    await asyncio.sleep(1)
    (_, first), (drafts, second) = neighbour.handed
    (there,) = await MemoryLog(desk.database).append(drafts)  # it was appended, and its answer was lost
    first(None)
    second(None)
    (here,) = await lost
    assert isinstance(here, Appended)
    assert await doubtful == [there], "its place is the one that it has"
    assert len(await desk.log.read(1, 0, since=None)) == 2
    assert desk.publisher.handed_back_events == 2


@virtual_time
async def test_an_event_with_an_idempotency_key_one_without_an_app_and_a_large_one_are_appended_where_they_came() -> (
    None
):
    neighbour = Neighbour()
    desk = Desk(handing=neighbour)
    await desk.submit(desk.draft(1, idempotency_key="k"), partition=1)
    await desk.submit(draft(None, id=EventId(new_id(at=desk.clock.now()))), partition=1)
    await desk.submit(desk.draft(1, payload=b"x" * (HANDED_BYTES_MAX + 1)), partition=1)
    assert neighbour.handed == []


@virtual_time
async def test_what_was_handed_over_is_never_handed_on() -> None:
    neighbour = Neighbour()
    desk = Desk(handing=neighbour)
    await desk.publisher.take(1, [desk.draft(1)])
    assert neighbour.handed == []
    assert len(desk.log.appends) == 1


@virtual_time
async def test_closing_waits_for_what_was_handed_over() -> None:
    neighbour = Neighbour()
    desk = Desk(handing=neighbour)
    task = desk.submit(desk.draft(1), partition=1)
    await asyncio.sleep(0)
    closing = asyncio.create_task(desk.publisher.close())
    await asyncio.sleep(10)
    assert not closing.done()
    neighbour.handed[0][1](None)
    await closing
    assert task.done() or await task
    assert len(desk.log.appends) == 1, "it is durable before the end"
