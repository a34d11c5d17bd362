"""A lease is trusted less long than the store grants it, and a partition has one owner."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from tests.fakes import FakeClock, VirtualLoop, until, virtual_time

from posthouse.adapters.memory import MemoryDatabase, MemoryStore, Step
from posthouse.dispatch.ownership import RENEW_SECONDS, ROUND_SECONDS, Ownership
from posthouse.domain.errors import InDoubt, StoreUnavailable
from posthouse.domain.limits import HAND_OVER_PARTITIONS_MAX, LEASE_MARGIN_SECONDS, LEASE_SECONDS
from posthouse.ports.store import Claim


class Store:
    """A store with a hook that the test sets, and a list of what was asked of it."""

    def __init__(self, partitions: int = 4) -> None:
        self.clock = FakeClock()
        self.database = MemoryDatabase(clock=self.clock.now, partitions=partitions, hook=self.hook)
        self.asked: list[str] = []
        self.faults: dict[tuple[str, Step], list[Exception]] = {}
        self.slow: dict[str, asyncio.Event] = {}

    async def hook(self, operation: str, step: Step) -> None:
        if step in (Step.READ, Step.BEFORE_COMMIT):
            self.asked.append(operation)
            if operation in self.slow:
                await self.slow[operation].wait()
        if self.faults.get((operation, step)):
            raise self.faults[operation, step].pop(0)


class Process:
    def __init__(self, store: Store, name: bytes = b"a", *, exclusive: bool = False) -> None:
        self.store = store
        self.owner = name * 16
        self.taken: list[Claim] = []
        self.lost: list[set[int]] = []
        self.fault: Exception | None = None
        self.dead: set[bytes] = set()
        self.ownership = Ownership(
            MemoryStore(store.database),
            store.clock,
            owner=self.owner,
            exclusive=exclusive,
            taken=self.take,
            lost=lambda partitions: self.lost.append(set(partitions)),
            dead=self.seen_dead,
        )

    async def take(self, claims: Sequence[Claim]) -> None:
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault
        self.taken += claims

    async def seen_dead(self, owners: Collection[bytes]) -> set[bytes]:
        return self.dead & set(owners)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Ownership]:
        await self.ownership.start()
        task = asyncio.create_task(self.ownership.run())
        try:
            yield self.ownership
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@virtual_time
async def test_everything_free_is_taken_at_once() -> None:
    process = Process(Store())
    async with process.running() as ownership:
        assert ownership.epochs == {0: 1, 1: 1, 2: 1, 3: 1}
        assert ownership.valid
        assert [claim.previous for claim in process.taken] == [None] * 4


@virtual_time
async def test_a_lease_is_trusted_from_before_it_was_asked_for_and_less_a_margin() -> None:
    store = Store()
    process = Process(store)
    await process.ownership.start()
    store.slow["renew"] = asyncio.Event()
    before = store.clock.boot()
    renewal = asyncio.create_task(process.ownership.renew())
    await asyncio.sleep(3.0)  # the store is slow to answer
    store.slow["renew"].set()
    await renewal
    await asyncio.sleep(before + LEASE_SECONDS - LEASE_MARGIN_SECONDS - store.clock.boot() - 0.01)
    valid_then = process.ownership.valid
    await asyncio.sleep(0.02)
    assert (valid_then, process.ownership.valid) == (True, False)


@virtual_time
async def test_leases_go_on_while_they_are_renewed() -> None:
    process = Process(Store())
    async with process.running() as ownership:
        for _ in range(200):
            await asyncio.sleep(0.5)
            assert ownership.valid
        assert process.lost == []
        assert process.store.asked.count("renew") < 200 * 0.5 / RENEW_SECONDS + 2


@virtual_time
async def test_a_renewal_that_fails_is_tried_again_long_before_the_lease_ends() -> None:
    store = Store()
    process = Process(store)
    async with process.running() as ownership:
        store.faults["renew", Step.BEFORE_COMMIT] = [StoreUnavailable("away") for _ in range(6)]
        for _ in range(100):
            await asyncio.sleep(0.1)
            assert ownership.valid


@virtual_time
async def test_nothing_starts_once_the_lease_may_have_ended() -> None:
    store = Store()
    process = Process(store)
    async with process.running() as ownership:
        store.faults["renew", Step.BEFORE_COMMIT] = [StoreUnavailable("away") for _ in range(100)]
        await asyncio.sleep(LEASE_SECONDS - LEASE_MARGIN_SECONDS + 0.1)
        assert (ownership.valid, len(ownership.epochs)) == (False, 4), "though nobody took them"
        store.faults.clear()
        await until(lambda: ownership.valid)
        assert process.lost == []


@virtual_time
async def test_a_process_that_was_stopped_past_its_lease_starts_nothing() -> None:
    process, successor = Process(Store()), Process
    async with process.running() as ownership:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.skip(LEASE_SECONDS + 1)
        assert not ownership.valid, "before it had any chance to run"
        other = successor(process.store, b"b")
        await other.ownership.start()
        assert len(other.ownership.epochs) == 4
        await until(lambda: bool(process.lost))
        assert process.lost == [{0, 1, 2, 3}]
        assert ownership.epochs == {}


@virtual_time
async def test_what_another_process_owns_is_left_to_it_until_it_is_free() -> None:
    store = Store(1)
    first, second = Process(store, b"a"), Process(store, b"b")
    async with first.running() as one, second.running() as two:
        await asyncio.sleep(60)
        assert (len(one.epochs), len(two.epochs)) == (1, 0)
        assert two.valid, "it holds nothing, and would be right to start nothing"
        await one.close()
        await one.release()
        at = store.clock.boot()
        await until(lambda: len(two.epochs) == 1)
        assert store.clock.boot() - at <= 1.0, "a planned hand-over within a second"
        assert first.lost == [{0}]
        assert [claim.previous for claim in second.taken] == [None]
        assert not one.valid
        await asyncio.sleep(60)
        assert one.epochs == {}, "it claims nothing any more"


@virtual_time
async def test_a_dead_processs_partitions_are_taken_before_their_leases_end() -> None:
    store = Store()
    first, second = Process(store, b"a"), Process(store, b"b")
    await first.ownership.start()
    async with second.running() as two:
        second.dead = {first.owner}
        await asyncio.sleep(2 * ROUND_SECONDS)
        assert len(two.epochs) == 4
        assert {claim.previous for claim in second.taken} == {first.owner}
        assert {claim.epoch for claim in second.taken} == {2}


@virtual_time
async def test_the_holder_of_the_data_directory_takes_everything_once() -> None:
    store = Store()
    await Process(store, b"a").ownership.start()
    process = Process(store, b"b", exclusive=True)
    async with process.running() as ownership:
        assert len(ownership.epochs) == 4
        epochs = dict(ownership.epochs)
        await asyncio.sleep(60)
        assert ownership.epochs == epochs, "and never from itself"


@virtual_time
async def test_a_lost_session_stops_sends_until_it_is_back_and_renewed() -> None:
    process = Process(Store())
    async with process.running() as ownership:
        process.dead = {process.owner}  # anybody could have our lock now
        ownership.suspend()
        valid = [ownership.valid]
        await asyncio.sleep(5)
        valid.append(ownership.valid)
        process.dead = set()
        await asyncio.sleep(2 * ROUND_SECONDS)
        valid.append(ownership.valid)
        assert valid == [False, False, True], "a renewal alone is not enough"
        assert len(ownership.epochs) == 4


@virtual_time
async def test_a_session_lost_during_a_renewal_is_not_overlooked() -> None:
    store = Store()
    process = Process(store)
    await process.ownership.start()
    store.slow["renew"] = asyncio.Event()
    renewal = asyncio.create_task(process.ownership.renew())
    await asyncio.sleep(0.1)
    process.ownership.suspend()
    store.slow["renew"].set()
    await renewal
    valid = [process.ownership.valid]
    await process.ownership.renew()
    assert [*valid, process.ownership.valid] == [False, True]


@virtual_time
async def test_a_session_lost_before_a_claim_is_not_overlooked() -> None:
    store = Store()
    process = Process(store)
    store.slow["processes"] = asyncio.Event()
    start = asyncio.create_task(process.ownership.start())
    await asyncio.sleep(0.1)
    process.ownership.suspend()  # others may count it dead: what it takes now they take at once
    store.slow["processes"].set()
    await start
    valid = [process.ownership.valid]
    await process.ownership.renew()
    assert [*valid, process.ownership.valid] == [False, True]
    assert len(process.ownership.epochs) == 4


@virtual_time
async def test_what_was_sent_before_a_crash_may_not_be_on_record_however_often_it_is_handed_over_since() -> None:
    store = Store(partitions=1)
    crashed, second, third, fourth = (Process(store, name) for name in (b"a", b"b", b"c", b"d"))
    await crashed.ownership.start()
    assert [claim.on_record_seconds for claim in crashed.taken] == [math.inf]
    await asyncio.sleep(LEASE_SECONDS + 1)
    for process in (second, third, fourth):
        await process.ownership.start()
        await asyncio.sleep(3.0)
        await process.ownership.close()
        await process.ownership.release()
    assert [p.taken[0].on_record_seconds for p in (second, third, fourth)] == pytest.approx([0.0, 3.0, 6.0])


@virtual_time
async def test_a_partition_that_others_took_is_told_as_lost() -> None:
    store = Store()
    process = Process(store)
    async with process.running() as ownership:
        store.database.partitions[2].owner = b"z" * 16
        store.database.partitions[2].epoch += 1
        store.database.partitions[2].lease_until = store.clock.now() + 3600
        await asyncio.sleep(RENEW_SECONDS + 1)
        assert process.lost == [{2}]
        assert sorted(ownership.epochs) == [0, 1, 3]
        assert ownership.valid


@virtual_time
async def test_partitions_that_could_not_be_derived_are_given_up_and_taken_again() -> None:
    store = Store()
    process = Process(store)
    process.fault = StoreUnavailable("away")
    with pytest.raises(StoreUnavailable):
        await process.ownership.start()
    assert process.ownership.epochs == {}
    assert process.lost == [{0, 1, 2, 3}]
    assert store.asked.count("renew") == 1, "all at once: the store may take long to say no"
    async with process.running() as ownership:
        assert set(ownership.epochs.values()) == {2}


@virtual_time
async def test_a_claim_in_doubt_is_found_again_when_its_lease_ends() -> None:
    store = Store()
    process = Process(store)
    store.faults["claim", Step.AFTER_COMMIT] = [InDoubt("it may have happened")]
    with pytest.raises(InDoubt):
        await process.ownership.start()
    async with process.running() as ownership:
        assert ownership.epochs == {}
        await until(lambda: len(ownership.epochs) == 4, seconds=LEASE_SECONDS + 1)
        assert ownership.valid


@virtual_time
async def test_an_abandoned_partition_is_taken_and_derived_afresh() -> None:
    process = Process(Store())
    async with process.running() as ownership:
        await ownership.abandon([1, 3])
        assert process.lost == [{1, 3}]
        await asyncio.sleep(2 * ROUND_SECONDS)
        assert ownership.epochs == {0: 1, 1: 2, 2: 1, 3: 2}
        await ownership.abandon([99])
        assert process.lost == [{1, 3}]


@virtual_time
async def test_closing_waits_for_the_round_under_way() -> None:
    store = Store()
    first, second = Process(store, b"a"), Process(store, b"b")
    await first.ownership.start()
    async with second.running() as two:
        store.slow["claim"] = asyncio.Event()
        second.dead = {first.owner}
        await asyncio.sleep(2 * ROUND_SECONDS)
        closing = asyncio.create_task(two.close())
        await asyncio.sleep(0.1)
        assert not closing.done()
        store.slow["claim"].set()
        await closing
        assert len(two.epochs) == 4, "what was claimed meanwhile is known, and so is released"
        await two.release()
        assert all(partition.owner is None for partition in store.database.partitions)


# Shares


def spread(*processes: Process) -> list[int]:
    return sorted(len(process.ownership.epochs) for process in processes)


@virtual_time
async def test_partitions_spread_evenly_as_processes_join_leave_and_die() -> None:
    store = Store(16)
    one, two, three, four = (Process(store, name) for name in (b"d", b"a", b"c", b"b"))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(one.running())
        assert spread(one) == [16]
        await stack.enter_async_context(two.running())
        await until(lambda: spread(one, two) == [8, 8])
        await stack.enter_async_context(three.running())
        await until(lambda: spread(one, two, three) == [5, 5, 6])
        dying = await AsyncExitStack().__aenter__()
        await dying.enter_async_context(four.running())
        await until(lambda: spread(one, two, three, four) == [4] * 4)
        assert one.ownership.live == 4
        at = store.clock.boot()
        await dying.aclose()  # nothing is released
        for process in (one, two, three):
            process.dead = {four.owner}
        await until(lambda: spread(one, two, three) == [5, 5, 6])
        assert store.clock.boot() - at < 2 * ROUND_SECONDS, "its lock could be had: nobody waited for its lease"
        await three.ownership.close()
        await three.ownership.release()
        await until(lambda: spread(one, two) == [8, 8])
        held = [partition.owner for partition in store.database.partitions]
        assert None not in held
        for process in (one, two):
            assert all(held[partition] == process.owner for partition in process.ownership.epochs)


@virtual_time
async def test_a_process_that_hangs_no_longer_counts_when_its_time_is_over() -> None:
    store = Store(6)
    one, two = Process(store, b"a"), Process(store, b"b")
    await one.ownership.start()
    async with two.running() as running:
        await asyncio.sleep(LEASE_SECONDS - 1)
        assert spread(two) == [0], "it may still be about to hand over"
        await until(lambda: len(running.epochs) == 6)
        assert running.live == 1


@virtual_time
async def test_a_few_partitions_at_a_time_are_stopped_before_they_are_given_away() -> None:
    store = Store(4 * HAND_OVER_PARTITIONS_MAX)
    one, two = Process(store, b"a"), Process(store, b"b")
    stopped: list[tuple[set[int], bool]] = []

    async def leave(partitions: Collection[int]) -> None:
        held = all(store.database.partitions[p].owner == one.owner for p in partitions)
        stopped.append((set(partitions), held))

    one.ownership._leave = leave
    async with one.running(), two.running():
        await until(lambda: spread(one, two) == [2 * HAND_OVER_PARTITIONS_MAX] * 2)
        assert [(len(partitions), held) for partitions, held in stopped] == [(HAND_OVER_PARTITIONS_MAX, True)] * 2
        assert [set(lost) for lost in one.lost] == [partitions for partitions, _ in stopped]


@virtual_time
async def test_word_of_a_change_saves_the_wait_for_the_next_round() -> None:
    store = Store()
    one, two = Process(store, b"a"), Process(store, b"b")
    one.ownership._changed, two.ownership._changed = two.ownership.wake, one.ownership.wake
    async with one.running():
        await asyncio.sleep(0.1)
        at = store.clock.boot()
        async with two.running():
            await until(lambda: spread(one, two) == [2, 2])
            assert store.clock.boot() - at < 0.1


@virtual_time
async def test_partitions_that_cannot_be_stopped_in_time_are_left_to_their_leases() -> None:
    store = Store(2)
    one, two = Process(store, b"a"), Process(store, b"b")
    one.ownership._leave = lambda _: asyncio.sleep(3600)
    async with one.running(), two.running():
        await until(lambda: spread(one, two) == [1, 1])
        assert [claim.previous for claim in two.taken] == [one.owner], "as after a crash: not all may be on record"
