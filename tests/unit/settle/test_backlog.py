"""What is owed is paged in once, when it is due and there is room, and nothing of it is forgotten."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from msgspec.structs import replace
from tests.fakes import EPOCH, FakeClock, an_endpoint, an_event, until, virtual_time
from tests.making import owed

from posthouse.adapters.memory import MemoryDatabase, MemoryStore, Step
from posthouse.domain.delivery import Delivery, DeliveryClass, DeliveryKey, Owed, OwedReason
from posthouse.domain.endpoint import Endpoint
from posthouse.domain.errors import StoreUnavailable
from posthouse.domain.event import Event
from posthouse.domain.ids import EndpointId, EventId
from posthouse.ports.store import Page, Want
from posthouse.settle.backlog import LANES_PER_TURN, ORPHANS_PER_PAGE, PAGE_ENDPOINTS_MAX, SMALL_PAGE_ROWS, Backlog

KB = 1024


class PagingStore(MemoryStore):
    """The reference store; remembers what was asked for, and waits before and after it looks."""

    def __init__(self, database: MemoryDatabase) -> None:
        super().__init__(database)
        self.wanted: list[list[Want]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.answer = asyncio.Event()
        self.answer.set()
        self.bytes_max = 0

    async def page(self, wants: Sequence[Want], *, now: float, bytes_max: int) -> list[Page]:
        self.wanted.append(list(wants))
        self.bytes_max = bytes_max
        await self.open.wait()
        pages = await super().page(wants, now=now, bytes_max=bytes_max)
        await self.answer.wait()
        return pages


class SettableClock(FakeClock):
    """One that is set back by `back` seconds."""

    back = 0.0

    def now(self) -> float:
        return super().now() - self.back


class Desk:
    """A backlog of one partition, whose lanes are numbers: how many rows each takes."""

    def __init__(self, *endpoints: Endpoint) -> None:
        self.clock = SettableClock()
        self.database = MemoryDatabase(clock=self.clock.now, partitions=4)
        self.store = PagingStore(self.database)
        self.endpoints: dict[EndpointId, Endpoint] = {e.id: e for e in endpoints}
        self.rooms: dict[EndpointId, int] = {e.id: 10_000 for e in endpoints}
        self.epochs = {0: 1, 1: 1}
        self.memory = 1 << 30
        self.asked: Callable[[Endpoint], object] = lambda endpoint: None  # is told whose room is wanted
        self.paged: list[Delivery] = []
        self.orphans: list[tuple[Owed, Event | None]] = []
        self.backlog = Backlog(
            self.store,
            self.clock,
            epochs=self.epochs,
            find=self.find,
            room=self.room,
            memory=lambda: self.memory,
            page_in=self.page_in,
            orphaned=self.orphaned,
        )

    def room(self, endpoint: Endpoint) -> int:
        self.asked(endpoint)
        return self.rooms[endpoint.id]

    def orphaned(self, row: Owed, event: Event | None, _: Endpoint | None) -> None:
        self.orphans.append((row, event))
        self.memory = 0 if self.memory == 1 else self.memory

    def page_in(self, endpoint: Endpoint, deliveries: list[Delivery]) -> None:
        self.paged += deliveries
        self.rooms[endpoint.id] -= len(deliveries)

    async def find(self, ids: Sequence[EndpointId]) -> dict[EndpointId, Endpoint | None]:
        await self.database.reading("find")
        return {endpoint_id: self.endpoints.get(endpoint_id) for endpoint_id in ids}

    def row(
        self, endpoint: Endpoint, seq: int, *, due_in: float = 0.0, told: bool = True, **fields: object
    ) -> DeliveryKey:
        """Somebody is owed an event; the backlog is told of it as the journal does."""
        event = an_event(seq, partition=endpoint.partition)
        self.database.partitions[endpoint.partition].events[seq] = event
        row = owed(event, endpoint.id, due_at=self.clock.now() + due_in, **fields)
        self.database.owed[row.partition, row.endpoint_id, row.event_id] = row
        if told:
            self.backlog.owe(row.partition, row.endpoint_id, row.due_at)
        return row.key

    def settle(self, key: DeliveryKey, partition: int = 0) -> None:
        """Its result was journalled."""
        del self.database.owed[partition, key[0], key[1]]
        self.backlog.release(key)

    @property
    def keys(self) -> list[DeliveryKey]:
        return [delivery.key for delivery in self.paged]


@asynccontextmanager
async def running(*endpoints: Endpoint) -> AsyncIterator[Desk]:
    desk = Desk(*endpoints)
    task = asyncio.create_task(desk.backlog.run())
    try:
        yield desk
    finally:
        task.cancel()
        ended = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(ended[0], asyncio.CancelledError), ended


ONE, TWO = an_endpoint(1), an_endpoint(2)


@virtual_time
async def test_a_row_is_paged_in_when_it_is_due() -> None:
    async with running(ONE) as desk:
        key = desk.row(ONE, 1, due_in=60.0, number=3, kind=DeliveryClass.REPLAY)
        await asyncio.sleep(59.9)
        assert desk.paged == []
        await asyncio.sleep(0.2)
        (delivery,) = desk.paged
        assert delivery.key == key
        assert (delivery.number, delivery.kind, delivery.epoch) == (3, DeliveryClass.REPLAY, 1)
        assert (delivery.row, delivery.fresh) == (True, False)


@virtual_time
async def test_a_clock_that_is_set_back_by_an_hour_delays_nothing_that_is_long_due() -> None:
    async with running(ONE, TWO) as desk:
        desk.rooms[ONE.id] = 1
        rows = [desk.row(ONE, seq, due_in=-7200.0) for seq in (1, 2)]
        soon = desk.row(TWO, 3, due_in=60.0)
        await until(lambda: desk.keys == rows[:1])
        desk.clock.back = 3600.0
        desk.rooms[ONE.id] = 1
        desk.backlog.drained(ONE.id)
        await asyncio.sleep(1.5)
        assert desk.keys == rows
        await asyncio.sleep(3700.0)
        assert desk.keys == [*rows, soon], "what was to be due later is, by the clock"


@virtual_time
async def test_no_row_is_paged_in_twice_before_its_result_is_written() -> None:
    async with running(ONE) as desk:
        key = desk.row(ONE, 1)
        await until(lambda: desk.keys == [key])
        for _ in range(5):
            desk.backlog.owe(0, ONE.id, desk.clock.now())
            await asyncio.sleep(1)
        assert desk.keys == [key]
        # Its attempt failed, and it is owed again.
        desk.settle(key)
        desk.row(ONE, 1)
        await until(lambda: desk.keys == [key, key])


@virtual_time
async def test_a_row_that_memory_takes_while_a_page_is_read_is_left_out() -> None:
    async with running(ONE) as desk:
        desk.store.answer.clear()
        first, second = desk.row(ONE, 1), desk.row(ONE, 2)
        await until(lambda: len(desk.store.wanted) == 1)
        desk.backlog.hold(0, first)
        desk.store.answer.set()
        await until(lambda: desk.keys == [second])


@virtual_time
async def test_a_page_from_before_its_line_was_written_is_read_anew() -> None:
    endpoint = an_endpoint(1)
    async with running(endpoint) as desk:
        desk.store.answer.clear()
        late = desk.row(endpoint, 9, line=5)
        other = desk.row(endpoint, 8, line=6)
        await until(lambda: bool(desk.store.wanted))
        await asyncio.sleep(0)
        # It was read. Meanwhile one that comes before it is written, which makes it wait.
        first = desk.row(endpoint, 7, line=5, told=False)
        desk.database.owed[0, late[0], late[1]] = replace(desk.database.owed[0, late[0], late[1]], due_at=math.inf)
        desk.backlog.rewritten((0, endpoint.id, 5))
        desk.backlog.owe(0, endpoint.id, desk.clock.now())
        desk.store.answer.set()
        await until(lambda: len(desk.paged) >= 3)
        assert desk.keys == [other, first, late]


@virtual_time
async def test_rows_without_room_wait_for_their_lane_alone() -> None:
    async with running(ONE, TWO) as desk:
        desk.rooms[ONE.id] = 0
        first, second = desk.row(ONE, 1), desk.row(TWO, 1)
        await until(lambda: desk.keys == [second])
        await asyncio.sleep(60)
        assert len(desk.store.wanted) == 1, "no query is made for a lane that is closed"
        desk.rooms[ONE.id] = 1
        desk.backlog.drained(ONE.id)
        await until(lambda: desk.keys == [second, first])


@virtual_time
async def test_a_lane_gets_as_many_as_it_takes_and_the_rest_later() -> None:
    async with running(ONE) as desk:
        keys = [desk.row(ONE, seq, told=False) for seq in range(1, 8)]
        desk.rooms[ONE.id] = 3
        desk.backlog.owe(0, ONE.id, EPOCH)
        await asyncio.sleep(5)
        assert len(desk.paged) == 3
        desk.rooms[ONE.id] = 10
        desk.backlog.drained(ONE.id)
        await until(lambda: len(desk.paged) == 7)
        assert sorted(desk.keys) == sorted(keys)


@virtual_time
async def test_a_page_that_fails_forgets_nothing() -> None:
    async with running(ONE, TWO) as desk:
        first, second = desk.row(ONE, 1), desk.row(TWO, 1)
        await until(lambda: len(desk.paged) == 2)
        desk.store.open.clear()
        desk.row(ONE, 2)
        await until(lambda: len(desk.store.wanted) > 1)
        # Meanwhile the last row that was held is settled: nothing but the page speaks for the endpoint.
        desk.settle(first)

        async def away(operation: str, step: Step) -> None:
            raise StoreUnavailable("away")

        desk.database.hook = away
        desk.store.open.set()
        await asyncio.sleep(0.5)
        desk.database.hook = None
        await until(lambda: len(desk.paged) == 3)
        assert second in desk.keys


@virtual_time
async def test_a_store_that_is_away_is_asked_again() -> None:
    async with running(ONE) as desk:
        faults = 3

        async def sometimes(operation: str, step: Step) -> None:
            nonlocal faults
            if faults and operation == "find":
                faults -= 1
                raise StoreUnavailable("away")

        desk.database.hook = sometimes
        key = desk.row(ONE, 1)
        await until(lambda: desk.keys == [key])


@virtual_time
async def test_a_lost_partition_is_forgotten_with_what_was_held_of_it() -> None:
    elsewhere = an_endpoint(3, partition=1)
    async with running(ONE, elsewhere) as desk:
        key, other = desk.row(ONE, 1), desk.row(elsewhere, 1)
        await until(lambda: len(desk.paged) == 2)
        assert desk.backlog.endpoints == 2, "they are owed something, though no further row is due"
        del desk.epochs[0]
        desk.backlog.drop({0})
        assert desk.backlog.endpoints == 1
        # Taken again: what was held under the old epoch is not held any more.
        desk.epochs[0] = 3
        await desk.backlog.take([0])
        await until(lambda: len(desk.paged) == 3)
        assert desk.paged[-1].key == key
        assert desk.paged[-1].epoch == 3
        assert desk.keys.count(other) == 1


@virtual_time
async def test_a_page_of_a_partition_that_was_lost_meanwhile_is_dropped() -> None:
    async with running(ONE) as desk:
        desk.store.answer.clear()
        desk.row(ONE, 1)
        await until(lambda: len(desk.store.wanted) == 1)
        desk.epochs[0] = 2
        desk.backlog.drop({0})
        desk.store.answer.set()
        await asyncio.sleep(5)
        assert desk.paged == []
        assert desk.backlog.endpoints == 0
        await desk.backlog.take([0])
        await until(lambda: [d.epoch for d in desk.paged] == [2])


@virtual_time
async def test_a_partition_that_is_lost_while_its_lanes_are_made_is_not_paged() -> None:
    """They are made a few in a turn of the event loop, between which anything may happen."""
    endpoints = [an_endpoint(number) for number in range(1, 3 * LANES_PER_TURN)]
    elsewhere = an_endpoint(500, partition=1)
    async with running(*endpoints, elsewhere) as desk:

        def lose(endpoint: Endpoint) -> None:
            if endpoint.id == endpoints[LANES_PER_TURN].id and desk.epochs.pop(0, None) is not None:
                asyncio.get_running_loop().call_soon(desk.backlog.drop, {0})

        desk.asked = lose
        for seq, endpoint in enumerate(endpoints, start=1):
            desk.row(endpoint, seq)
        key = desk.row(elsewhere, 1)
        await until(lambda: desk.keys == [key])
        assert [{want.partition for want in wants} for wants in desk.store.wanted] == [{1}]
        assert desk.backlog.endpoints == 1


@virtual_time
async def test_a_row_that_is_let_go_of_while_lanes_are_made_is_paged() -> None:
    """Its endpoint is due already, and its lane was the first to be made."""
    endpoints = [an_endpoint(number) for number in range(1, 3 * LANES_PER_TURN)]
    async with running(*endpoints) as desk:
        first = endpoints[0]
        desk.backlog.hold(0, key := desk.row(first, 100, told=False))

        def leave(endpoint: Endpoint) -> None:
            if endpoint.id == endpoints[LANES_PER_TURN].id:
                desk.asked = lambda _: None
                asyncio.get_running_loop().call_soon(desk.backlog.leave, 0, key)

        desk.asked = leave
        for seq, endpoint in enumerate(endpoints, start=1):
            desk.row(endpoint, seq)
        await until(lambda: len(desk.paged) == len(endpoints) + 1)
        assert key in desk.keys


@virtual_time
async def test_a_partition_that_comes_back_while_lanes_are_made_is_paged_anew() -> None:
    """What was found before may have been changed under another owner."""
    endpoints = [an_endpoint(number) for number in range(1, 3 * LANES_PER_TURN)]
    async with running(*endpoints) as desk:
        last, asked = endpoints[-1], list[Endpoint]()

        def come_back() -> None:
            desk.epochs[0] = 2
            desk.backlog.drop({0})
            desk.endpoints[last.id] = replace(last, paused=True)
            for endpoint in endpoints:
                desk.backlog.owe(0, endpoint.id, desk.clock.now())

        def lose(endpoint: Endpoint) -> None:
            if desk.epochs[0] == 1 and endpoint.id == endpoints[LANES_PER_TURN].id:
                asyncio.get_running_loop().call_soon(come_back)
            if desk.epochs[0] == 2:
                asked.append(endpoint)

        desk.asked = lose
        for seq, endpoint in enumerate(endpoints, start=1):
            desk.row(endpoint, seq)
        await until(lambda: len(desk.paged) == len(endpoints))
        assert {delivery.epoch for delivery in desk.paged} == {2}
        assert len(asked) == len(endpoints)
        assert asked[-1].paused, "as it is now"
        assert [len(wants) for wants in desk.store.wanted] == [len(endpoints)]


@virtual_time
async def test_an_endpoint_that_is_opened_while_lanes_are_made_is_asked_for_room_as_it_is_now() -> None:
    endpoints = [an_endpoint(number) for number in range(1, 3 * LANES_PER_TURN)]
    last, opened = replace(endpoints[-1], paused=True), endpoints[-1]
    async with running(*endpoints[:-1], last) as desk:

        def open_it(endpoint: Endpoint) -> None:
            desk.rooms[last.id] = 0 if endpoint is last else 1
            if endpoint.id == endpoints[LANES_PER_TURN].id:
                asyncio.get_running_loop().call_soon(desk.backlog.configured, [opened, an_endpoint(900)])

        desk.asked = open_it
        for seq, endpoint in enumerate(endpoints, start=1):
            desk.row(endpoint, seq)
        await until(lambda: len(desk.paged) == len(endpoints))


@virtual_time
async def test_rows_of_an_endpoint_that_is_deleted_while_lanes_are_made_come_to_an_end() -> None:
    endpoints = [an_endpoint(number) for number in range(1, 3 * LANES_PER_TURN)]
    last = endpoints[-1]
    async with running(*endpoints) as desk:
        asked: list[EndpointId] = []

        def delete(endpoint: Endpoint) -> None:
            asked.append(endpoint.id)
            if endpoint.id == endpoints[LANES_PER_TURN].id:
                others = {each.id for each in endpoints if each is not last}
                asyncio.get_running_loop().call_soon(desk.backlog.keep_only, {last.app_id}, others)

        desk.asked = delete
        for seq, endpoint in enumerate(endpoints, start=1):
            desk.row(endpoint, seq)
        await until(lambda: len(desk.paged) == len(endpoints) - 1 and len(desk.orphans) == 1)
        assert last.id not in asked, "nobody needs a lane for it"


@virtual_time
async def test_small_pages_are_fewer() -> None:
    """Each costs the store as much as a large one."""
    async with running(ONE) as desk:

        async def pages_in_a_second(rows_each: int) -> int:
            before = len(desk.store.wanted)
            for _ in range(100):
                for _ in range(rows_each):
                    desk.row(ONE, len(desk.database.owed) + 1)
                await asyncio.sleep(0.01)
            await until(lambda: len(desk.paged) == len(desk.database.owed))
            return len(desk.store.wanted) - before

        assert await pages_in_a_second(1) <= 12
        assert await pages_in_a_second(SMALL_PAGE_ROWS) >= 30


@virtual_time
async def test_what_was_written_from_outside_is_learnt() -> None:
    async with running(ONE) as desk:
        desk.row(ONE, 1, due_in=3600)
        key = desk.row(ONE, 2, told=False, reason=OwedReason.RESENT)
        await asyncio.sleep(5)
        assert desk.paged == []
        await desk.backlog.take([0])
        await until(lambda: desk.keys == [key])


@virtual_time
async def test_a_delivery_that_is_sent_again_before_its_end_is_heard_of_gets_its_page() -> None:
    async with running(ONE) as desk:
        key = desk.row(ONE, 1)
        await until(lambda: desk.keys == [key])
        # Its end is written, and its row is gone; another one is written from outside, and only then does memory hear of it.
        desk.row(ONE, 1, told=False, reason=OwedReason.RESENT)
        await desk.backlog.take([0])
        await asyncio.sleep(5)
        assert desk.keys == [key], "memory still speaks for the row that was there"
        desk.backlog.release(key)
        await until(lambda: desk.keys == [key, key])
        looked = len(desk.store.wanted)
        desk.settle(key)
        await asyncio.sleep(5)
        assert len(desk.store.wanted) == looked, "once is enough"


@virtual_time
async def test_what_nobody_can_receive_is_settled() -> None:
    async with running(ONE) as desk:
        gone = an_endpoint(9)
        desk.row(gone, 1)
        desk.row(ONE, 2)
        del desk.database.partitions[0].events[2]  # past retention
        await until(lambda: len(desk.orphans) == 2)
        assert {(row.endpoint_id, event is None) for row, event in desk.orphans} == {(gone.id, False), (ONE.id, True)}
        assert desk.paged == []


@virtual_time
async def test_what_a_predecessor_still_sends_to_a_deleted_endpoint_is_left_to_it_until_it_is_due() -> None:
    async with running() as desk:
        gone = an_endpoint(9)
        sent = desk.row(gone, 1, due_in=30.0, reason=OwedReason.IN_FLIGHT, sender=b"another", told=False)
        settled_late = desk.row(gone, 2, due_in=30.0, reason=OwedReason.IN_FLIGHT, sender=b"another", told=False)
        waits = desk.row(gone, 3)
        await until(lambda: [row.key for row, _ in desk.orphans] == [waits])
        desk.settle(waits)
        await asyncio.sleep(20)
        del desk.database.owed[0, settled_late[0], settled_late[1]]
        assert len(desk.orphans) == 1
        asked = len(desk.store.wanted)
        assert asked < 5, "nobody looks again and again"
        await until(lambda: len(desk.orphans) == 2)
        assert desk.orphans[1][0].key == sent
        assert desk.clock.now() >= EPOCH + 30.0


@virtual_time
async def test_a_deleted_endpoint_with_many_rows_does_not_flood_the_journal() -> None:
    async with running(ONE) as desk:
        gone = [an_endpoint(n) for n in (8, 9)]
        for endpoint in gone:
            for seq in range(1, ORPHANS_PER_PAGE + 101):
                desk.row(endpoint, seq, told=False)
            desk.backlog.owe(0, endpoint.id, EPOCH)
        desk.memory = 0
        while len(desk.orphans) < 2 * (ORPHANS_PER_PAGE + 100):
            before = len(desk.orphans)
            desk.memory = 1  # the journal has written what there was
            desk.backlog.roomier()
            await until(lambda before=before: len(desk.orphans) > before)  # type: ignore[misc]
        assert all(sum(want.limit for want in wants) <= ORPHANS_PER_PAGE for wants in desk.store.wanted)
        assert len({row.key for row, _ in desk.orphans}) == len(desk.orphans)


@virtual_time
async def test_rows_of_a_closed_lane_are_settled_when_its_endpoint_is_deleted() -> None:
    async with running(ONE, TWO) as desk:
        desk.rooms = {ONE.id: 0, TWO.id: 0}
        desk.row(ONE, 1)
        desk.row(TWO, 1)
        await asyncio.sleep(1)
        del desk.endpoints[ONE.id]
        desk.backlog.keep_only({ONE.app_id}, {TWO.id})
        await until(lambda: [row.endpoint_id for row, _ in desk.orphans] == [ONE.id])
        await asyncio.sleep(5)
        assert desk.paged == []


@virtual_time
async def test_nothing_is_paged_in_without_memory() -> None:
    async with running(ONE) as desk:
        desk.memory = 0
        desk.row(ONE, 1)
        await asyncio.sleep(30)
        assert desk.store.wanted == []
        desk.memory = 5 * KB
        at = asyncio.get_running_loop().time()
        desk.backlog.roomier()
        await until(lambda: len(desk.paged) == 1)
        assert asyncio.get_running_loop().time() - at < 0.1, "it is told rather than found"
        assert desk.store.bytes_max == 5 * KB


@virtual_time
async def test_many_endpoints_come_in_pages_earliest_first() -> None:
    endpoints = [an_endpoint(n) for n in range(1, 3 * PAGE_ENDPOINTS_MAX)]
    async with running(*endpoints) as desk:
        for n, endpoint in enumerate(endpoints):
            desk.row(endpoint, n + 1, due_in=-n)
        await until(lambda: len(desk.paged) == len(endpoints))
        assert [len(wants) for wants in desk.store.wanted] == [PAGE_ENDPOINTS_MAX, PAGE_ENDPOINTS_MAX, 99]
        assert desk.store.wanted[0][0].endpoint_id == endpoints[-1].id


@virtual_time
async def test_memory_is_one_entry_an_endpoint_however_often_its_times_change() -> None:
    async with running(ONE, TWO) as desk:
        desk.row(ONE, 1, due_in=100_000)
        for seq in range(2, 2_000):
            key = desk.row(ONE, seq, due_in=0.001)
            await until(lambda key=key: key in desk.keys[-1:])  # type: ignore[misc]
            desk.settle(key)
        assert desk.backlog.endpoints == 1
        assert len(desk.backlog._heap) < 3 * PAGE_ENDPOINTS_MAX
        assert desk.backlog._held == {}


@virtual_time
async def test_an_endpoint_that_is_owed_nothing_takes_no_memory() -> None:
    async with running(ONE) as desk:
        key = desk.row(ONE, 1)
        await until(lambda: desk.keys == [key])
        desk.settle(key)
        assert desk.backlog.endpoints == 0
        desk.backlog.release((ONE.id, EventId(bytes(16))))  # a stranger's
        desk.backlog.drained(TWO.id)


@virtual_time
async def test_what_a_page_says_of_a_line_that_was_put_in_order_meanwhile_is_of_the_past() -> None:
    async with running(ONE) as desk:
        desk.store.answer.clear()
        first = desk.row(ONE, 2, line=2)
        await until(lambda: len(desk.store.wanted) == 1)
        await asyncio.sleep(0.01)
        # The page was read. Now one that comes before it is written, and is the first of the line.
        second = desk.row(ONE, 1, line=2)
        row = desk.database.owed[0, ONE.id, first[1]]
        desk.database.owed[0, ONE.id, first[1]] = replace(row, due_at=math.inf)
        desk.backlog.rewritten((0, ONE.id, 2))
        desk.store.answer.set()
        await until(lambda: len(desk.keys) == 2)
        assert desk.keys == [second, first]


@virtual_time
async def test_who_relies_on_what_memory_speaks_for_waits_for_the_page_under_way() -> None:
    async with running(ONE) as desk:
        desk.store.answer.clear()
        key = desk.row(ONE, 1)
        await until(lambda: len(desk.store.wanted) == 1)
        asking = asyncio.create_task(desk.backlog.still.acquire())
        await asyncio.sleep(1)
        assert not asking.done()
        desk.store.answer.set()
        await asking
        assert desk.backlog.held(ONE.id) == [key[1]]
        desk.row(ONE, 2)
        await asyncio.sleep(10)
        assert desk.keys == [key], "nothing is paged in meanwhile"
        desk.backlog.still.release()
        await until(lambda: len(desk.keys) == 2)


@virtual_time
async def test_endpoints_take_turns_where_a_page_has_room_for_few() -> None:
    """A large backlog that fell due first does not keep the others waiting until it is gone."""
    large, small = an_endpoint(1), an_endpoint(2)
    async with running(large, small) as desk:
        desk.memory = 2 * KB
        for seq in range(1, 9):
            desk.row(large, seq, due_in=-9, payload_bytes=KB, told=False)
        for seq in (11, 12):
            desk.row(small, seq, due_in=-1, payload_bytes=KB, told=False)
        await desk.backlog.take([0])
        await until(lambda: len(desk.paged) >= 4)
        assert [delivery.endpoint_id for delivery in desk.paged[:4]].count(small.id) == 2


@virtual_time
async def test_who_got_nothing_of_a_page_comes_before_those_who_did() -> None:
    endpoints = [an_endpoint(number) for number in range(1, 6)]
    async with running(*endpoints) as desk:
        desk.memory = 1
        for number, endpoint in enumerate(endpoints):
            for seq in range(1, 4):
                desk.row(endpoint, 10 * number + seq, due_in=number - 9, payload_bytes=KB, told=False)
        await desk.backlog.take([0])
        await until(lambda: len(desk.paged) >= 5)
        assert {delivery.endpoint_id for delivery in desk.paged[:5]} == set(desk.endpoints)
