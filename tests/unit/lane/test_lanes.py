"""All lanes together: each sends while it may, none stands in another's way, and what cannot wait becomes a row."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.fakes import BOOT, EPOCH, FakeClock, a_delivery, an_endpoint, until, virtual_time

from posthouse.domain.circuit import CircuitState, Health
from posthouse.domain.delivery import Delivery, DeliveryKey, Fate, OwedReason
from posthouse.domain.endpoint import Endpoint, Ordering
from posthouse.domain.ids import EndpointId
from posthouse.domain.limits import (
    CROWD_STARTS_MAX,
    LANE_FRESH_BUSY_MAX,
    LANE_FRESH_MAX,
    LANE_PAGED_MAX,
    LANE_SECONDS_MAX,
    LANES_IDLE_MAX,
    PRESSED_STARTS_MAX,
)
from posthouse.lane import lanes as lanes_module
from posthouse.lane import registry
from posthouse.lane.budget import Budget
from posthouse.lane.lane import Lane, Load
from posthouse.lane.lanes import PROMPT_STALLED_MAX, Lanes
from posthouse.send.peer import Peer
from posthouse.send.told import Told


class Desk:
    """Lanes whose requests end when the test says so: `answer`, or by themselves where `quick` holds the endpoint."""

    def __init__(self, **budget: int) -> None:
        self.started: list[Delivery] = []
        self.running: dict[DeliveryKey, asyncio.Future[None]] = {}
        self.spilled: list[tuple[Delivery, OwedReason]] = []
        self.marked: list[Delivery] = []
        self.drained: Counter[EndpointId] = Counter()
        self.quick: set[EndpointId] = set()
        self.seconds = 0.0
        self.fate = Fate.SETTLED
        self.may_start = True
        self.may_spill = True
        self.pressed = False
        self.busy = False
        self.budget = Budget(**budget)
        self.released: list[Delivery] = []
        self.adopted: list[Delivery] = []
        self.clock = FakeClock()
        self.lanes = Lanes(
            self.budget,
            self.clock,
            send=self.send,
            may_start=lambda: self.may_start,
            may_spill=lambda: self.may_spill,
            spill=lambda delivery, _, reason: self.spilled.append((delivery, reason)),
            release=self.released.append,
            mark_in_flight=self.mark,
            hand_over=self.mark,
            drained=lambda endpoint_id: self.drained.update([endpoint_id]),
            pressed=lambda: self.pressed,
            busy=lambda: self.busy,
        )

    async def send(self, _: Peer, load: Load) -> Told:
        (delivery,) = load
        assert delivery.key not in self.running, "sent twice at once"
        self.started.append(delivery)
        if delivery.endpoint_id in self.quick:
            await asyncio.sleep(self.seconds)
            return Told([Fate.SETTLED], self.seconds)
        future = self.running[delivery.key] = asyncio.get_running_loop().create_future()
        try:
            await future
        finally:
            del self.running[delivery.key]
        return Told([self.fate], 0.001, adopted=self.adopted)

    def mark(self, _: Lane, delivery: Delivery) -> None:
        self.marked.append(delivery)
        delivery.fresh = False
        delivery.row = delivery.marked = True

    def offer(self, endpoint: Endpoint, *seqs: int, **fields: Any) -> None:
        number = int.from_bytes(endpoint.id[12:], "big")
        for seq in seqs:
            self.lanes.offer(endpoint, a_delivery(seq, number, partition=endpoint.partition, **fields))

    def page_in(self, endpoint: Endpoint, *seqs: int, **fields: Any) -> None:
        number = int.from_bytes(endpoint.id[12:], "big")
        rows = [a_delivery(seq, number, partition=endpoint.partition, fresh=False, row=True, **fields) for seq in seqs]
        self.lanes.page_in(endpoint, rows)

    async def answer(self, *seqs: int, fault: Exception | None = None) -> None:
        """Let the requests for these events end."""
        await asyncio.sleep(0.001)
        for key, future in list(self.running.items()):
            if not seqs or int.from_bytes(key[1][8:], "big") & 0xFFFF in seqs:
                if fault is None:
                    future.set_result(None)
                else:
                    future.set_exception(fault)
        await asyncio.sleep(0.001)

    @property
    def seqs(self) -> list[int]:
        return [delivery.event.seq for delivery in self.started]

    def reasons(self) -> Counter[OwedReason]:
        return Counter(reason for _, reason in self.spilled)

    def sweep(self) -> None:
        self.lanes.sweep(asyncio.get_running_loop().time() + BOOT)


@virtual_time
async def test_a_lane_sends_as_many_at_once_as_its_endpoint_takes() -> None:
    desk = Desk()
    desk.offer(an_endpoint(concurrency=2), 1, 2, 3, 4)
    await asyncio.sleep(0.001)
    assert desk.seqs == [1, 2]
    await desk.answer(1)
    assert desk.seqs == [1, 2, 3]
    await desk.answer()
    await desk.answer()
    assert desk.seqs == [1, 2, 3, 4]
    assert (desk.lanes.in_flight, desk.lanes.bytes_in_flight, desk.lanes.waiting) == (0, 0, 0)
    assert desk.lanes._active == {}


@virtual_time
async def test_what_a_lane_cannot_hold_becomes_a_row() -> None:
    desk = Desk()
    desk.offer(an_endpoint(concurrency=1), *range(1, LANE_FRESH_MAX + 11))
    assert desk.reasons() == {OwedReason.LANE_FULL: 9}, "one is in flight"
    assert desk.lanes.waiting == LANE_FRESH_MAX


@virtual_time
async def test_a_lane_holds_more_where_it_is_not_for_its_target_that_it_fills() -> None:
    desk = Desk()
    desk.busy = True
    desk.offer(an_endpoint(concurrency=1), *range(1, LANE_FRESH_BUSY_MAX + 11))
    assert desk.reasons() == {OwedReason.LANE_FULL: 9}
    assert desk.lanes.waiting == LANE_FRESH_BUSY_MAX
    desk.busy = False
    desk.offer(an_endpoint(concurrency=1), LANE_FRESH_BUSY_MAX + 20)
    assert desk.reasons() == {OwedReason.LANE_FULL: 10}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"paused": True}, OwedReason.PAUSED),
        ({"verified": False}, OwedReason.UNVERIFIED),
        ({"enabled": False}, OwedReason.DISABLED),
        ({"url": "http://bad host/"}, OwedReason.OUR_FAULT),
    ],
)
def test_a_closed_lane_starts_nothing(fields: dict[str, Any], reason: OwedReason) -> None:
    @virtual_time
    async def test() -> None:
        desk = Desk()
        desk.offer(an_endpoint(**fields), 1)
        desk.page_in(an_endpoint(**fields), 2)
        assert [(d.event.seq, r) for d, r in desk.spilled] == [(1, reason)]
        assert [d.event.seq for d in desk.released] == [2], "its row is as it was"
        assert desk.lanes.room(an_endpoint(**fields)) == 0
        await asyncio.sleep(1)
        assert desk.started == []
        assert desk.lanes.paged_bytes == 0

    test()


@virtual_time
async def test_what_waited_for_two_seconds_becomes_a_row_and_what_runs_is_marked() -> None:
    desk = Desk()
    desk.offer(an_endpoint(concurrency=1), 1, 2)
    await asyncio.sleep(1.0)
    desk.offer(an_endpoint(concurrency=1), 3)
    await asyncio.sleep(1.0)
    desk.sweep()
    assert [d.event.seq for d in desk.marked] == [1]
    assert [(d.event.seq, r) for d, r in desk.spilled] == [(2, OwedReason.WAITED)]
    desk.sweep()
    assert len(desk.marked) == 1, "once"
    await desk.answer()
    assert desk.seqs == [1, 3]


@virtual_time
async def test_rows_may_wait_longer_than_two_seconds() -> None:
    desk = Desk()
    desk.page_in(an_endpoint(concurrency=1), 1, 2)
    await asyncio.sleep(60.0)
    desk.sweep()
    assert desk.spilled == []
    assert desk.marked == [], "they have a row"


@virtual_time
async def test_nothing_is_spilled_that_the_journal_could_not_take() -> None:
    desk = Desk()
    desk.offer(an_endpoint(concurrency=1), 1, 2, 3)
    desk.may_spill = False
    await asyncio.sleep(60.0)
    desk.sweep()
    assert desk.spilled == [], "while the store is away, memory keeps what it has"
    desk.may_spill = True
    desk.sweep()
    assert len(desk.spilled) == 2


@virtual_time
async def test_the_gate_holds_every_lane_and_opens_for_every_lane() -> None:
    desk = Desk()
    desk.may_start = False
    for n in range(1, 50):
        desk.offer(an_endpoint(n), n)
    await asyncio.sleep(1)
    assert desk.started == []
    desk.may_start = True
    desk.lanes.resume()
    await asyncio.sleep(0.001)
    assert len(desk.started) == 49


@virtual_time
async def test_the_sweep_finds_a_gate_that_opened_by_itself() -> None:
    desk = Desk()
    desk.may_start = False
    desk.offer(an_endpoint(), 1)
    desk.may_start = True
    desk.sweep()
    await asyncio.sleep(0.001)
    assert desk.seqs == [1]


@virtual_time
async def test_a_hundred_hanging_targets_leave_a_quick_one_its_room() -> None:
    desk = Desk(sockets_max=100, bytes_max=1 << 20)
    for n in range(1, 31):
        desk.offer(an_endpoint(n, concurrency=16), *range(1, 101))
    quick = an_endpoint(1000, concurrency=4)
    desk.quick = {quick.id}
    desk.seconds = 0.01
    waits = []
    for seq in range(1, 101):
        desk.offer(quick, seq)
        began = asyncio.get_running_loop().time()
        await until(lambda seq=seq: any(d.endpoint_id == quick.id and d.event.seq == seq for d in desk.started))  # type: ignore[misc]
        waits.append(asyncio.get_running_loop().time() - began)
        await asyncio.sleep(0.02)
    assert max(waits) < 0.05


@virtual_time
async def test_a_lane_that_is_refused_again_does_not_hide_those_behind_it() -> None:
    desk = Desk(sockets_max=8)
    hanging = [an_endpoint(n, concurrency=16) for n in (1, 2, 3)]
    for endpoint in hanging:
        desk.offer(endpoint, *range(1, 21))
    assert desk.lanes.in_flight >= 4, "the first half and shares of the second"
    # The gate closes; a quick lane is refused behind three lanes that are over their share.
    desk.may_start = False
    quick = an_endpoint(9)
    desk.quick = {quick.id}
    desk.offer(quick, 99)
    desk.may_start = True
    desk.sweep()
    await asyncio.sleep(0.001)
    assert 99 in desk.seqs


@virtual_time
async def test_one_end_of_a_request_looks_at_a_bounded_number_of_lanes() -> None:
    desk = Desk(sockets_max=10)
    first = an_endpoint(1, concurrency=16)
    desk.offer(first, *range(1, 11))
    asked = 0

    def may_start() -> bool:
        nonlocal asked
        asked += 1
        return True

    for n in range(2, 500):
        desk.offer(an_endpoint(n), n)
    desk.lanes._may_start = may_start
    await desk.answer(1)
    assert asked <= 2 * PROMPT_STALLED_MAX + 4


@virtual_time
async def test_a_lane_that_never_runs_dry_is_paged_its_rows() -> None:
    """Fresh traffic must not starve what is owed: room for rows is told while the workers go on."""
    desk = Desk()
    endpoint = an_endpoint(concurrency=2)
    desk.quick = {endpoint.id}
    desk.seconds = 0.01
    rows: deque[int] = deque(range(1_001, 1_201))

    def drained(endpoint_id: EndpointId) -> None:
        room = desk.lanes.room(endpoint)
        if rows and room:
            desk.page_in(endpoint, *[rows.popleft() for _ in range(min(room, len(rows)))])

    desk.lanes._drained = drained
    desk.page_in(endpoint, 1_000)
    for seq in range(1, 1_001):
        desk.offer(endpoint, seq)  # as fast as it can send
        await asyncio.sleep(0.005)
    assert set(range(1_000, 1_201)) <= set(desk.seqs)


@virtual_time
@pytest.mark.parametrize("row", [True, False])
async def test_what_was_adopted_as_its_result_was_on_its_way_is_owed_as_it_was(row: bool) -> None:
    """Its row is left to whoever pages it in; where there is none, it becomes one."""
    desk = Desk()
    endpoint = an_endpoint()
    desk.page_in(endpoint, 1)
    await asyncio.sleep(0.001)
    desk.lanes.drop([endpoint.partition])
    desk.lanes.taken([endpoint.partition])
    if row:
        desk.page_in(endpoint, 1, epoch=2)
    else:
        desk.offer(endpoint, 1, epoch=2)
    (delivery,) = desk.started
    assert delivery.epoch == 2, "it is not sent a second time"
    desk.adopted = [delivery]
    await desk.answer()
    assert desk.released == ([delivery] if row else [])
    assert [spilled for spilled, _ in desk.spilled] == ([] if row else [delivery])
    assert desk.lanes.paged_bytes == 0


@virtual_time
async def test_a_fault_of_ours_spends_no_attempt_and_stops_nothing() -> None:
    desk = Desk()
    with capture_logs() as logs:
        desk.offer(an_endpoint(concurrency=1), *range(1, 101))
        for _ in range(100):
            await desk.answer(fault=OSError("no file descriptor is left"))
    assert desk.reasons() == {OwedReason.OUR_FAULT: 100}
    assert (desk.lanes.in_flight, desk.lanes.bytes_in_flight) == (0, 0)
    assert 1 <= len(logs) <= 3, "it is told, but not a hundred times in a fifth of a second"


@virtual_time
async def test_another_revision_closes_opens_and_wakes_a_lane() -> None:
    desk = Desk()
    desk.offer(an_endpoint(concurrency=1), 1, 2)
    desk.page_in(an_endpoint(concurrency=1), 3)
    await asyncio.sleep(0.001)
    desk.lanes.configure([an_endpoint(paused=True)])
    assert [(d.event.seq, r) for d, r in desk.spilled] == [(2, OwedReason.PAUSED)]
    assert [d.event.seq for d in desk.released] == [3]
    assert desk.lanes.paged_bytes == 0
    before = desk.drained[an_endpoint().id]
    desk.lanes.configure([an_endpoint()])
    assert desk.drained[an_endpoint().id] == before + 1


@virtual_time
async def test_rows_without_a_lane_are_woken_when_their_endpoint_is_resumed() -> None:
    desk = Desk()
    paused = an_endpoint(paused=True)
    assert desk.lanes.room(paused) == 0
    assert len(desk.lanes) == 0, "an endpoint that is paused takes no lane"
    desk.lanes.configure([paused])
    assert desk.drained == {}
    desk.lanes.configure([an_endpoint()])
    assert desk.drained == {paused.id: 1}


@virtual_time
async def test_a_page_of_an_older_revision_does_not_reopen_a_lane() -> None:
    desk = Desk()
    older = an_endpoint()
    desk.lanes.room(older)
    desk.lanes.configure([an_endpoint(paused=True)])  # while the page was read
    desk.page_in(older, 1)
    assert [d.event.seq for d in desk.released] == [1]
    assert desk.reasons() == {}
    await asyncio.sleep(1)
    assert desk.started == []


@virtual_time
async def test_a_deleted_endpoints_lane_stops() -> None:
    desk = Desk()
    gone, stays = an_endpoint(1, concurrency=1), an_endpoint(2, concurrency=1)
    desk.offer(gone, 1, 2)
    desk.offer(stays, 3, 4)
    desk.lanes.keep_only({gone.app_id}, {stays.id})
    assert [(d.event.seq, r) for d, r in desk.spilled] == [(2, OwedReason.DISABLED)]
    await desk.answer()
    assert 4 in desk.seqs
    assert 2 not in desk.seqs


@virtual_time
async def test_a_target_that_ended_it_gets_nothing_more() -> None:
    desk = Desk()
    endpoint = an_endpoint(concurrency=1)
    desk.offer(endpoint, 1, 2)
    desk.lanes.disable(endpoint.id)
    desk.lanes.disable(an_endpoint(7).id)
    desk.offer(endpoint, 3)
    assert desk.reasons() == {OwedReason.DISABLED: 2}


@virtual_time
async def test_a_lost_partition_leaves_nothing_waiting() -> None:
    desk = Desk()
    desk.may_start = False
    here, there = an_endpoint(1), an_endpoint(2, partition=1)
    for endpoint in (here, there):
        desk.offer(endpoint, 1, 2)
        desk.page_in(endpoint, 3)
    desk.lanes.drop({0})
    assert len(desk.lanes) == 1
    assert desk.lanes.waiting == 3
    assert desk.lanes.paged_bytes == 7
    desk.may_start = True
    desk.lanes.resume()
    await asyncio.sleep(0.001)
    assert {d.event.partition for d in desk.started} == {1}
    assert desk.spilled == [], "the successor derives what waited"


@virtual_time
async def test_nothing_is_sent_twice_at_once_when_a_partition_is_taken_again() -> None:
    desk = Desk()
    endpoint = an_endpoint(concurrency=4)
    desk.offer(endpoint, 1)
    desk.page_in(endpoint, 2)
    await asyncio.sleep(0.001)
    desk.lanes.drop({0})
    # Derived afresh, both are offered again while their requests run.
    desk.offer(endpoint, 1, epoch=2)
    desk.page_in(endpoint, 2, 3, epoch=2)
    await asyncio.sleep(0.001)
    assert desk.seqs == [1, 2, 3]
    assert [d.epoch for d in desk.started] == [2, 2, 2], "the requests that run speak for them now"
    assert desk.lanes.paged_bytes == 0
    await desk.answer()
    desk.offer(endpoint, 1, epoch=3)  # long after: an ordinary delivery
    await asyncio.sleep(0.001)
    assert desk.seqs == [1, 2, 3, 1]


@virtual_time
async def test_a_lane_whose_partition_was_lost_goes_with_its_last_request() -> None:
    desk = Desk()
    desk.offer(an_endpoint(), 1)
    await asyncio.sleep(0.001)
    desk.lanes.drop({0})
    assert len(desk.lanes) == 1
    await desk.answer()
    assert len(desk.lanes) == 0
    assert desk.lanes._active == {}


@virtual_time
async def test_before_a_hand_over_everything_in_flight_is_marked() -> None:
    desk = Desk()
    desk.offer(an_endpoint(1), 1)
    desk.page_in(an_endpoint(2), 2)
    await asyncio.sleep(0.001)
    desk.lanes.leave({0})
    assert [d.event.seq for d in desk.marked] == [1, 2]
    finish = asyncio.create_task(desk.lanes.finish(10.0))
    await desk.answer(1)
    await finish
    assert (desk.lanes.in_flight, desk.running) == (0, {}), "and what goes on for too long is abandoned"


@virtual_time
async def test_what_is_to_go_again_leaves_with_its_partition() -> None:
    """Its row says that its request runs: the new owner would wait for the end of one that nobody makes."""
    desk = Desk()
    desk.offer(an_endpoint(1), 1)
    desk.offer(an_endpoint(2), 2)
    desk.offer(an_endpoint(3, partition=1), 3)
    await asyncio.sleep(LANE_SECONDS_MAX + 0.1)
    desk.sweep()
    assert [d.event.seq for d in desk.marked] == [1, 2, 3]
    desk.may_start, desk.fate = False, Fate.AGAIN
    await desk.answer(1, 3)
    assert desk.spilled == []
    desk.lanes.leave({0})
    assert [(d.event.seq, reason) for d, reason in desk.spilled] == [(1, OwedReason.WAITED)]
    await desk.answer(2)
    assert [d.event.seq for d, _ in desk.spilled] == [1, 2], "and what would only begin to wait"
    assert desk.lanes.waiting == 1, "other partitions stay"


@virtual_time
async def test_a_worker_that_is_done_makes_the_next_request_of_any_lane() -> None:
    desk = Desk()
    desk.offer(an_endpoint(1), 1)
    await desk.answer(1)
    (worker,) = desk.lanes._workers
    for number in (2, 3, 1):
        desk.offer(an_endpoint(number), number + 10)
        await desk.answer(number + 10)
        assert desk.lanes._workers == {worker}
    assert desk.seqs == [1, 12, 13, 11]
    desk.offer(an_endpoint(1), 21)
    desk.offer(an_endpoint(2), 22)
    assert len(desk.lanes._workers) == 2, "the one is taken, and so there is another"
    await desk.answer()
    assert desk.seqs == [1, 12, 13, 11, 21, 22]


@virtual_time
async def test_workers_that_rest_are_bounded_and_hold_no_delivery(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes_module, "RESTING_MAX", 2)
    desk = Desk()
    desk.offer(an_endpoint(concurrency=5), 1, 2, 3, 4, 5)
    await desk.answer()
    assert len(desk.lanes._workers) == len(desk.lanes._resting) == 2
    frames = [worker.get_coro().cr_frame for worker in desk.lanes._workers]  # type: ignore[union-attr]
    assert [frame.f_locals["load"] for frame in frames] == [[], []]


@virtual_time
async def test_workers_that_rest_end_with_the_lanes() -> None:
    desk = Desk()
    desk.offer(an_endpoint(concurrency=2), 1, 2)
    await desk.answer(1)
    finish = asyncio.create_task(desk.lanes.finish(10.0))
    await desk.answer(2)
    await asyncio.wait_for(finish, 1.0)
    assert desk.lanes._workers == set()


@virtual_time
async def test_rows_that_wait_are_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes_module, "PAGED_BYTES_MAX", 2_000)
    desk = Desk()
    desk.may_start = False
    hanging, idle = an_endpoint(1, concurrency=2), an_endpoint(2, concurrency=2)
    desk.page_in(hanging, 1, 2, 3, size=300)
    assert desk.lanes.paged_bytes == 900
    assert desk.lanes.room(hanging) == LANE_PAGED_MAX - 3
    desk.page_in(hanging, 4, size=300)
    assert desk.lanes.room(hanging) == 0, "it has some, and half of the memory is taken"
    assert desk.lanes.room(idle) == 2, "this one could send at once"
    desk.may_start = True
    desk.lanes.resume()
    await desk.answer()
    await desk.answer()
    assert desk.lanes.paged_bytes == 0
    assert desk.lanes.room(hanging) == LANE_PAGED_MAX


@virtual_time
async def test_idle_lanes_are_bounded_and_what_they_learnt_is_not_unlearnt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "LANES_IDLE_MAX", 100)
    desk = Desk()
    desk.lanes._lanes._evict_at = 100
    recovered = an_endpoint(1, health=Health(5.0))
    desk.lanes.lane(recovered).peer.failing_since = None
    desk.offer(an_endpoint(2), 1)
    for n in range(3, 1_000):
        desk.lanes.room(an_endpoint(n))
    assert len(desk.lanes) <= 100
    assert desk.lanes.lane(recovered).peer.failing_since is None, "five days later it would be taken for failing still"
    assert desk.lanes.lane(an_endpoint(2)).in_flight


@virtual_time
async def test_many_busy_lanes_are_not_looked_through_for_each_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    desk.may_start = False
    looks = 0
    evict = desk.lanes._lanes._evict

    def counted() -> None:
        nonlocal looks
        looks += 1
        evict()

    monkeypatch.setattr(desk.lanes._lanes, "_evict", counted)
    for n in range(1, LANES_IDLE_MAX * 3 // 2):
        desk.offer(an_endpoint(n), 1)
    assert looks < 10


# A crowd: one event for very many endpoints


@virtual_time
async def test_a_crowd_starts_a_few_in_each_turn_and_others_pass_between_them() -> None:
    desk = Desk()
    for number in range(1, 101):
        desk.lanes.offer(an_endpoint(number), a_delivery(1, number), crowd=True)
    assert desk.started == [], "nothing starts while the event is still being offered"
    single = an_endpoint(500)
    desk.offer(single, 7)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert 7 in desk.seqs[: CROWD_STARTS_MAX + 1], "what comes alone does not wait for the crowd"
    assert len(desk.started) <= 2 * CROWD_STARTS_MAX + 1
    await asyncio.sleep(0.001)
    assert len(desk.started) == 101, "nobody of the crowd is forgotten"
    await desk.answer()


@virtual_time
async def test_a_crowd_that_hangs_takes_one_half_of_the_sockets() -> None:
    desk = Desk(sockets_max=40)
    for number in range(1, 101):
        desk.lanes.offer(an_endpoint(number), a_delivery(1, number), crowd=True)
    await asyncio.sleep(0.001)
    assert len(desk.running) == 20
    desk.offer(an_endpoint(500), 7)
    await asyncio.sleep(0.001)
    assert 7 in desk.seqs
    await desk.answer(1)  # as it answers, the rest of it has its turn
    await asyncio.sleep(0.001)
    assert len(desk.started) > 21
    # What waited for two seconds becomes a row, as anything else.
    await asyncio.sleep(3)
    desk.sweep()
    assert desk.reasons() == Counter({OwedReason.WAITED: 101 - len(desk.started)})
    while desk.running:
        await desk.answer()


# While somebody waits for what they publish to be stored


@virtual_time
async def test_what_is_sent_gives_way_to_what_is_published() -> None:
    """A few start in each turn of the event loop, lane by lane, and none is forgotten."""
    desk = Desk()
    desk.pressed = True
    for number in range(1, 4):
        desk.offer(an_endpoint(number, concurrency=100), *range(1, 2 * PRESSED_STARTS_MAX + 1))
    turns = []
    while len(desk.started) < 6 * PRESSED_STARTS_MAX:
        before = len(desk.started)
        await asyncio.sleep(0)
        turns.append(len(desk.started) - before)
    assert max(turns) <= PRESSED_STARTS_MAX
    then = [delivery.endpoint_id for delivery in desk.started[PRESSED_STARTS_MAX : 4 * PRESSED_STARTS_MAX]]
    assert set(Counter(then).values()) == {PRESSED_STARTS_MAX}, "they come in turn"
    await asyncio.sleep(0.001)
    await desk.answer()


@virtual_time
async def test_meanwhile_what_comes_singly_passes_between_a_crowd_too() -> None:
    desk = Desk()
    desk.pressed = True
    for number in range(1, 101):
        desk.lanes.offer(an_endpoint(number), a_delivery(1, number), crowd=True)
    await asyncio.sleep(0)
    for number in range(500, 504):
        desk.offer(an_endpoint(number), 7)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert desk.seqs[: 5 * CROWD_STARTS_MAX].count(7) == 4
    assert len(desk.started) < 100
    await asyncio.sleep(0.001)
    assert len(desk.started) == 104
    await desk.answer()


@virtual_time
async def test_what_is_sent_meanwhile_may_have_all_sockets() -> None:
    desk = Desk(sockets_max=40)
    desk.pressed = True
    for number in range(1, 51):
        desk.offer(an_endpoint(number), 1)
    await asyncio.sleep(0.001)
    assert len(desk.running) == 40
    await desk.answer()
    await asyncio.sleep(0.001)
    assert len(desk.started) == 50
    await desk.answer()


@virtual_time
async def test_when_nobody_waits_any_more_all_of_it_starts() -> None:
    desk = Desk()
    desk.pressed = True
    desk.offer(an_endpoint(concurrency=100), *range(1, 4 * PRESSED_STARTS_MAX + 1))
    desk.pressed = False
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(desk.started) == 4 * PRESSED_STARTS_MAX
    await desk.answer()


@virtual_time
async def test_a_timer_that_comes_a_moment_too_early_is_not_the_last_one() -> None:
    desk = Desk()
    ill = an_endpoint(health=Health(EPOCH - 9, CircuitState.OPEN, EPOCH - 9, probe_at=EPOCH + 5))
    assert desk.lanes.room(ill) == 0, "it is to be left alone"
    lane = desk.lanes.lane(ill)
    lane.wake_never()
    desk.lanes._woken(lane)
    assert desk.lanes.room(ill) == 0
    desk.drained.clear()
    await asyncio.sleep(5.1)
    assert desk.drained == {ill.id: 1}
    assert desk.lanes.room(ill) == 1, "a probe"


@virtual_time
async def test_rows_do_not_wait_for_what_hangs_in_half_of_the_sockets() -> None:
    desk = Desk(sockets_max=8)
    desk.offer(an_endpoint(1, concurrency=4), 1, 2, 3, 4)
    desk.page_in(an_endpoint(2, concurrency=4), 11, 12)
    desk.page_in(an_endpoint(3, concurrency=4), 21, 22)
    desk.page_in(an_endpoint(4, concurrency=4), 31)
    await asyncio.sleep(1.0)
    assert desk.seqs == [1, 2, 3, 4, 11, 21], "one of each lane, and none from the last quarter"
    desk.offer(an_endpoint(5), 41)
    await asyncio.sleep(0.001)
    assert desk.seqs[6:] == [41]


@virtual_time
async def test_a_lane_that_has_just_ended_a_row_does_not_overtake_those_that_wait() -> None:
    desk = Desk(sockets_max=8)
    desk.offer(an_endpoint(1, concurrency=4), 1, 2, 3)
    desk.page_in(an_endpoint(2, concurrency=4), 11, 12, 13, 14)
    desk.page_in(an_endpoint(3, concurrency=4), 21, 22)
    desk.page_in(an_endpoint(4, concurrency=4), 31, 32)
    await asyncio.sleep(1.0)
    assert desk.seqs[3:] == [11, 21, 31]
    for expected in (12, 22, 32, 13):
        await desk.answer(desk.seqs[-3])
        await asyncio.sleep(1.0)
        assert desk.seqs[-1] == expected, "the one that has waited longest"


@virtual_time
async def test_rows_that_leave_memory_behind_one_that_waited_leave_room_for_others() -> None:
    """An ordered line of one that is fresh and of rows leaves as a whole: what was asked for meanwhile found no room."""
    desk = Desk()
    desk.may_start = False
    ordered = an_endpoint(ordering=Ordering.ENDPOINT)
    desk.offer(ordered, 1, line=2)
    desk.page_in(ordered, 2, 3, line=2)
    await asyncio.sleep(3)
    desk.drained.clear()
    desk.sweep()
    assert [delivery.event.seq for delivery in desk.released] == [2, 3]
    assert desk.reasons() == {OwedReason.WAITED: 1}
    assert desk.drained[ordered.id] > 0
    assert desk.lanes.room(ordered) > 0
