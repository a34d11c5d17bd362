"""What is recorded is written: together, in order, once, and only while it is ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.fakes import EPOCH, FakeClock, FakeTelemetry, ScriptedStore, a_delivery, an_endpoint, until, virtual_time
from tests.making import attempt

from posthouse.adapters.memory import MemoryDatabase
from posthouse.domain.circuit import Health
from posthouse.domain.delivery import (
    Attempt,
    AttemptOutcome,
    Delivery,
    DeliveryKey,
    Effect,
    EffectKind,
    HealthTurn,
    JournalBatch,
    OwedReason,
)
from posthouse.domain.errors import InDoubt, StoreUnavailable
from posthouse.domain.limits import JOURNAL_LINGER_SECONDS, UNWRITTEN_RESULTS_MAX
from posthouse.ports.store import Journalled
from posthouse.send.owing import owed_row
from posthouse.settle.journal import (
    CURSOR_SECONDS,
    LINGERING_PROCESSES_MAX,
    RETRY_SECONDS_MAX,
    ROLLUP_SECONDS,
    Journal,
    Released,
)
from posthouse.settle.progress import Progress


class Desk:
    """A journal over a scripted store; two partitions are owned under epoch 1."""

    def __init__(self) -> None:
        clock = FakeClock()
        self.store = ScriptedStore(MemoryDatabase(clock=clock.now, partitions=4))
        self.progress = Progress()
        self.epochs = {0: 1, 1: 1}
        for partition in self.epochs:
            self.progress.take(partition)
        self.telemetry = FakeTelemetry()
        self.held: set[DeliveryKey] = set()
        self.answers: list[tuple[JournalBatch, set[int], Released]] = []
        self.rooms = 0
        self.processes = 1
        self.journal = Journal(
            self.store,
            clock,
            self.telemetry,
            self.progress,
            owner=b"o" * 16,
            epochs=self.epochs,
            hold=lambda _, key, __: self.held.add(key),
            written=self.written,
            room=self.room,
            sharing=lambda: self.processes,
        )

    def written(self, batch: JournalBatch, result: Journalled, released: Released) -> None:
        self.answers.append((batch, result.held, released))
        self.held -= {key for _, key in released}

    def room(self) -> None:
        self.rooms += 1

    def dispatched(self, seq: int = 1, **fields: Any) -> Delivery:
        delivery = a_delivery(seq, **fields)
        self.progress.opened(delivery.event, 1)
        return delivery

    def deliver(self, delivery: Delivery, **fields: Any) -> bool:
        return self.journal.record(delivery, made(delivery, **fields), None)

    def fail(self, delivery: Delivery, due_at: float = EPOCH + 60) -> bool:
        row = owed_row(delivery, an_endpoint(), number=delivery.number + 1, due_at=due_at, reason=OwedReason.FAILED)
        return self.journal.record(delivery, made(delivery, outcome=AttemptOutcome.FAILED), row)

    def mark(self, delivery: Delivery) -> None:
        self.journal.mark_in_flight(
            delivery,
            owed_row(
                delivery, an_endpoint(), number=1, due_at=EPOCH + 20, reason=OwedReason.IN_FLIGHT, sender=b"o" * 16
            ),
        )


def made(delivery: Delivery, **fields: Any) -> Attempt:
    return attempt(delivery.event, delivery.endpoint_id, **{"started_at": EPOCH} | fields)


@asynccontextmanager
async def running() -> AsyncIterator[Desk]:
    desk = Desk()
    task = asyncio.create_task(desk.journal.run())
    try:
        yield desk
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@virtual_time
async def test_what_comes_together_is_written_together() -> None:
    async with running() as desk:
        for seq in range(1, 6):
            desk.deliver(desk.dispatched(seq))
            await asyncio.sleep(0.001)
        await desk.journal.flush()
        (batch,) = desk.store.written
        assert len(batch.attempts) == 5
        assert [(c.partition, c.seq) for c in batch.cursors] == [(0, 5)]
        assert batch.epochs == {0: 1}
        assert batch.owed == ()
        assert batch.settled == ()
        assert desk.telemetry.journal_batches == [5]
        assert desk.journal.unwritten == 0


@virtual_time
@pytest.mark.parametrize("processes", [1, 3, 100])
async def test_results_gather_for_as_much_longer_as_there_are_processes_that_share_them(processes: int) -> None:
    async with running() as desk:
        desk.processes = processes
        seconds = JOURNAL_LINGER_SECONDS * min(processes, LINGERING_PROCESSES_MAX)
        desk.deliver(desk.dispatched())
        await asyncio.sleep(seconds - 0.001)
        assert not desk.store.written
        await asyncio.sleep(0.002)
        assert len(desk.store.written) == 1
        desk.deliver(desk.dispatched(2))
        await desk.journal.flush()
        assert len(desk.store.written) == 2, "whoever waits for it does not wait for others"


@virtual_time
async def test_what_was_done_under_another_epoch_is_not_recorded() -> None:
    async with running() as desk:
        desk.epochs[0] = 2
        assert not desk.deliver(a_delivery(1))
        assert not desk.fail(a_delivery(2))
        desk.mark(a_delivery(3))
        stranger = a_delivery(4, partition=3)
        desk.journal.owe(stranger, owed_row(stranger, an_endpoint(), number=1, due_at=0, reason=OwedReason.WAITED))
        await desk.journal.flush()
        assert desk.store.batches == []
        assert desk.held == set(), "nor does memory speak for it"


@virtual_time
async def test_a_row_is_held_from_its_change_until_that_is_written() -> None:
    async with running() as desk:
        desk.store.open.clear()
        spilled, failed, confirmed = desk.dispatched(1), desk.dispatched(2), desk.dispatched(3)
        desk.journal.owe(spilled, owed_row(spilled, an_endpoint(), number=1, due_at=EPOCH, reason=OwedReason.LANE_FULL))
        desk.fail(failed)
        desk.deliver(confirmed)
        await until(lambda: len(desk.store.batches) == 1)
        assert desk.held == {spilled.key, failed.key}, "the store may show them already; a fast success has no row"
        desk.store.open.set()
        await desk.journal.flush()
        assert desk.held == set()
        (batch,) = desk.store.written
        assert {o.key for o in batch.owed} == {spilled.key, failed.key}
        assert [c.seq for c in batch.cursors] == [3]


@virtual_time
async def test_a_mark_and_its_result_are_folded_into_one_change() -> None:
    async with running() as desk:
        delivery = desk.dispatched(1)
        desk.mark(delivery)
        assert (delivery.row, delivery.fresh) == (True, False)
        desk.deliver(delivery)
        await desk.journal.flush()
        (batch,) = desk.store.written
        assert batch.owed == ()
        assert batch.settled == ((0, *delivery.key),)
        assert [c.seq for c in batch.cursors] == [1]


@virtual_time
async def test_the_cursor_passes_a_marked_request_and_its_row_goes_with_its_result() -> None:
    async with running() as desk:
        delivery = desk.dispatched(1)
        desk.mark(delivery)
        await desk.journal.flush()
        assert desk.held == {delivery.key}, "memory goes on speaking for it"
        desk.fail(delivery)
        await desk.journal.flush()
        first, second = desk.store.written
        assert [o.reason for o in first.owed] == [OwedReason.IN_FLIGHT]
        assert [c.seq for c in first.cursors] == [1]
        assert [o.reason for o in second.owed] == [OwedReason.FAILED]
        assert second.cursors == ()
        assert desk.held == set()


@virtual_time
async def test_a_failed_batch_is_tried_again_before_any_later_one() -> None:
    async with running() as desk:
        desk.store.faults = [StoreUnavailable("away"), InDoubt("doubtful"), StoreUnavailable("away")]
        desk.deliver(desk.dispatched(1))
        await until(lambda: len(desk.store.batches) == 2)
        desk.deliver(desk.dispatched(2))
        await desk.journal.flush()
        assert [b.attempts[0].seq for b in desk.store.batches] == [1, 1, 1, 1, 2]
        assert [b.number for b in desk.store.batches] == [1, 1, 1, 1, 2], "it is the same one, whatever is known of it"
        assert [b.attempts[0].seq for b in desk.store.written] == [1, 2]


@virtual_time
async def test_one_refused_result_never_holds_up_its_neighbours() -> None:
    async with running() as desk:
        desk.store.refuses = lambda batch: any(a.response_body == b"bad" for a in batch.attempts)
        deliveries = [desk.dispatched(seq) for seq in range(1, 10)]
        desk.fail(deliveries[0])
        for delivery in deliveries[1:]:
            desk.deliver(delivery, response_body=b"bad" if delivery.event.seq == 5 else b"good")
        await desk.journal.flush()
        written = [a for b in desk.store.written for a in b.attempts]
        assert [a.seq for a in written] == list(range(1, 10)), "in order, each once"
        bad = written[4]
        assert (bad.response_body, bad.response_headers) == (None, None)
        assert bad.error is not None
        assert all(a.response_body == b"good" for a in written[5:])
        assert [o.seq for b in desk.store.written for o in b.owed] == [1]
        numbers = [b.number for b in desk.store.written]
        assert numbers == sorted(set(numbers)), "each part has a number of its own: one that is overtaken does nothing"
        assert [c.seq for b in desk.store.written for c in b.cursors] == [9]
        assert desk.store.written[-1].cursors, "the cursor comes last: before it a crash derives what is missing"
        assert len(desk.answers) == 1, "to the rest of the engine it is one batch"


@virtual_time
async def test_counters_that_are_refused_cost_no_answer() -> None:
    async with running() as desk:
        desk.store.refuses = lambda batch: bool(batch.rollups)
        desk.deliver(desk.dispatched(1), response_body=b"good")
        await desk.journal.flush()
        assert [a.response_body for a in desk.store.written[-1].attempts] == [b"good"]


@virtual_time
async def test_what_cannot_be_written_at_all_waits_and_nothing_is_skipped() -> None:
    async with running() as desk:
        desk.store.refuses = lambda _: True
        desk.deliver(desk.dispatched(1))
        await asyncio.sleep(3600 * RETRY_SECONDS_MAX)
        assert desk.store.written == []
        assert len(desk.store.batches) > 1_000, "without end"
        desk.deliver(desk.dispatched(2))
        desk.store.refuses = lambda _: False
        await desk.journal.flush()
        assert [a.seq for b in desk.store.written for a in b.attempts] == [1, 2]


@virtual_time
async def test_what_is_unwritten_is_capped() -> None:
    async with running() as desk:
        desk.store.open.clear()
        desk.deliver(desk.dispatched(1))
        await until(lambda: len(desk.store.batches) == 1)
        for seq in range(2, UNWRITTEN_RESULTS_MAX):
            desk.deliver(desk.dispatched(seq))
        assert desk.journal.has_room is True
        desk.deliver(desk.dispatched(UNWRITTEN_RESULTS_MAX))
        assert desk.journal.unwritten == UNWRITTEN_RESULTS_MAX, "what is being written counts"
        assert (desk.journal.has_room, desk.rooms) == (False, 0)
        desk.store.open.set()
        await desk.journal.flush()
        assert (desk.journal.unwritten, desk.rooms) == (0, 1), "the lanes are told"


@virtual_time
async def test_after_a_burst_results_gather_again() -> None:
    async with running() as desk:
        for seq in range(1, 1_001):
            desk.deliver(desk.dispatched(seq))
        await asyncio.sleep(0.005)
        before = len(desk.store.batches)
        for seq in range(1_001, 2_001):
            desk.deliver(desk.dispatched(seq))
            await asyncio.sleep(0.001)
        assert len(desk.store.batches) - before < 60, "a second of a steady stream, 20 ms a batch"


@virtual_time
async def test_a_lost_partition_is_told_and_its_results_are_forgotten() -> None:
    async with running() as desk:
        desk.store.lost = {1}
        mine, lost = desk.dispatched(1), desk.dispatched(1, partition=1)
        desk.deliver(mine)
        desk.deliver(lost)
        await desk.journal.flush()
        assert [held for _, held, _ in desk.answers] == [{0}]
        # What came since then goes when the ownership says so.
        for partition in (0, 1):
            delivery = desk.dispatched(2, partition=partition)
            desk.journal.record(
                delivery,
                made(delivery),
                owed_row(delivery, an_endpoint(), number=2, due_at=0, reason=OwedReason.FAILED),
                effects=(
                    Effect(
                        id=made(delivery).id,
                        partition=partition,
                        endpoint_id=delivery.endpoint_id,
                        kind=EffectKind.DISABLE_ENDPOINT,
                        reason="gone",
                    ),
                ),
                health=HealthTurn(partition, delivery.endpoint_id, Health(EPOCH)),
            )
        del desk.epochs[1]
        desk.journal.forget({1})
        desk.progress.drop({1})
        await desk.journal.flush()
        batch = desk.store.written[-1]
        for part in (batch.attempts, batch.owed, batch.effects, batch.health, batch.rollups, batch.cursors):
            assert {x.partition for x in part} <= {0}
        assert len(batch.attempts) == len(batch.owed) == len(batch.effects) == len(batch.health) == 1
        assert batch.epochs == {0: 1}


@virtual_time
async def test_a_cursor_alone_is_written_once_a_second() -> None:
    async with running() as desk:
        for seq in range(1, 301):
            desk.progress.opened(a_delivery(seq).event, 0)
            desk.journal.moved()
            await asyncio.sleep(0.01)
        await asyncio.sleep(CURSOR_SECONDS)
        assert 3 <= len(desk.store.written) <= 5
        assert desk.store.written[-1].cursors[0].seq == 300


@virtual_time
async def test_counters_are_written_though_no_attempt_follows() -> None:
    async with running() as desk:
        desk.deliver(desk.dispatched(1))
        await desk.journal.flush()
        for seq in range(2, 5):
            desk.deliver(desk.dispatched(seq))
        desk.fail(desk.dispatched(5))
        desk.deliver(desk.dispatched(6), outcome=AttemptOutcome.GAVE_UP)
        await asyncio.sleep(2 * ROLLUP_SECONDS)
        totals = [(r.delivered, r.failed, r.gave_up) for b in desk.store.written for r in b.rollups]
        assert [sum(column) for column in zip(*totals, strict=True)] == [4, 1, 1]
        assert desk.store.batches[-1].attempts == ()


@virtual_time
async def test_counters_alone_are_sent_again_in_doubt_as_they_were() -> None:
    async with running() as desk:
        desk.deliver(desk.dispatched(1))
        await desk.journal.flush()
        desk.deliver(desk.dispatched(2))
        await until(lambda: len(desk.store.written) == 2)
        desk.store.faults = [InDoubt("it may have been counted")]
        await asyncio.sleep(2 * ROLLUP_SECONDS)
        first, second = desk.store.batches[-2:]
        assert first.rollups
        assert second == first


@virtual_time
async def test_a_flush_waits_for_what_is_being_written() -> None:
    async with running() as desk:
        desk.store.open.clear()
        desk.deliver(desk.dispatched(1))
        await until(lambda: len(desk.store.batches) == 1)
        flush = asyncio.create_task(desk.journal.flush())
        await asyncio.sleep(1)
        assert not flush.done()
        desk.store.open.set()
        await flush
        await desk.journal.flush()  # and with nothing to write it returns
