"""Lanes whose targets fail, ask for time, and come back: what they send when, and what leaves memory meanwhile."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from tests.fakes import BOOT, EPOCH, FakeClock, a_delivery, an_endpoint, until, virtual_time

from posthouse.domain.circuit import CircuitPolicy, CircuitState
from posthouse.domain.delivery import Delivery, Fate, OwedReason
from posthouse.domain.endpoint import Endpoint, Ordering, RateLimit
from posthouse.domain.ids import EndpointId
from posthouse.domain.limits import LANE_PAGED_MAX
from posthouse.lane.budget import Budget
from posthouse.lane.lane import Lane, Load
from posthouse.lane.lanes import Lanes
from posthouse.send.peer import Peer
from posthouse.send.told import Told

SECOND = "https://example.com/second"
POLICY = CircuitPolicy(requests_min=3, probe_seconds=5.0, recovery_requests=3)
LINE = 2


class Desk:
    """Lanes whose requests take `seconds` and end as `fate` says. `up` is whether the target is; `held` what it asks for."""

    def __init__(self) -> None:
        self.sent: list[tuple[float, int]] = []
        self.running = self.most = 0
        self.up = True
        self.asks: float | None = None
        self.overloaded = False
        self.seconds = 0.01
        self.fate: Callable[[Delivery], Fate] = lambda _: Fate.SETTLED if self.up else Fate.OWED
        self.gate = asyncio.Event()
        self.gate.set()
        self.spilled: list[tuple[int, OwedReason]] = []
        self.released: list[int] = []
        self.drained: Counter[EndpointId] = Counter()
        self.owned_since = BOOT
        self.clock = FakeClock()
        self.lanes = Lanes(
            Budget(),
            self.clock,
            send=self.send,
            may_start=lambda: True,
            may_spill=lambda: True,
            spill=lambda delivery, _, reason: self.spilled.append((delivery.event.seq, reason)),
            release=lambda delivery: self.released.append(delivery.event.seq),
            mark_in_flight=self.mark,
            hand_over=self.mark,
            drained=lambda endpoint_id: self.drained.update([endpoint_id]),
            owned_since=lambda _: self.owned_since,
            circuits=POLICY,
        )

    @staticmethod
    def mark(_: Lane, delivery: Delivery) -> None:
        delivery.fresh, delivery.row, delivery.marked = False, True, True

    async def send(self, peer: Peer, load: Load) -> Told:
        now = self.clock.now()
        index = peer.choose(load[0], now, 0.0)
        if index is None:
            return Told([Fate.OWED] * len(load))
        self.sent += [(round(now - EPOCH, 3), delivery.event.seq) for delivery in load]
        self.running += 1
        self.most = max(self.most, self.running)
        circuit = peer.routes[index].circuit
        token, down, asks = circuit.began(now), not self.up, self.asks
        try:
            await asyncio.sleep(self.seconds)
            await self.gate.wait()
        finally:
            self.running -= 1
        now = self.clock.now()
        until_when = None if asks is None else now + asks
        peer.ended(circuit, token, confirmed=not down, down=down, held_until=until_when, now=now)
        return Told([self.fate(delivery) for delivery in load], self.seconds, self.overloaded or asks is not None)

    def offer(self, endpoint: Endpoint, *seqs: int, **fields: Any) -> None:
        for seq in seqs:
            self.lanes.offer(endpoint, a_delivery(seq, **fields))

    def page_in(self, endpoint: Endpoint, *seqs: int, **fields: Any) -> None:
        self.lanes.page_in(endpoint, [a_delivery(seq, fresh=False, row=True, **fields) for seq in seqs])

    def sweep(self) -> None:
        self.lanes.sweep(asyncio.get_running_loop().time() + BOOT)

    @property
    def seqs(self) -> list[int]:
        return [seq for _, seq in self.sent]


async def opened(desk: Desk, endpoint: Endpoint) -> Lane:
    """Its circuit opened now."""
    desk.up = False
    desk.offer(endpoint, 1, 2, 3)
    lane = desk.lanes.lane(endpoint)
    await until(lambda: lane.peer.routes[0].circuit.state is CircuitState.OPEN)
    await until(lambda: not lane.in_flight)
    desk.sent.clear()
    desk.spilled.clear()
    return lane


# The rate


@virtual_time
async def test_a_lane_sends_at_its_rate_and_rests_on_one_timer() -> None:
    desk, endpoint = Desk(), an_endpoint(rate_limit=RateLimit(2.0, 1))
    desk.offer(endpoint, *range(1, 6))
    await until(lambda: len(desk.sent) == 3)
    assert [at for at, _ in desk.sent] == [0.5, 1.0, 1.5]
    await asyncio.sleep(0.6)
    desk.sweep()
    assert desk.spilled == [(5, OwedReason.RATE_LIMITED)]
    assert desk.lanes.waiting == 0


@virtual_time
async def test_a_lane_that_is_lost_and_taken_again_keeps_its_pace() -> None:
    """Its partition went and came back while a request ran; what it sent since then is known to it alone."""
    desk, endpoint = Desk(), an_endpoint(rate_limit=RateLimit(1.0, 3), concurrency=10)
    await asyncio.sleep(10.0)
    desk.gate.clear()
    desk.offer(endpoint, 1)
    await asyncio.sleep(0.1)
    desk.lanes.drop({0})
    desk.owned_since = desk.clock.boot()
    desk.lanes.taken([0])
    await asyncio.sleep(10.0)
    desk.gate.set()
    desk.offer(endpoint, 2, 3, 4, epoch=2)
    await until(lambda: desk.running == 0)
    desk.offer(endpoint, 5, 6, 7, epoch=2)
    await asyncio.sleep(0.5)
    assert desk.seqs == [1, 2, 3, 4], "the burst is spent"
    await until(lambda: len(desk.sent) == 7)
    times = [at for at, seq in desk.sent if seq > 4]
    assert all(later - before >= 0.999 for before, later in pairwise(times))


# What a target asks for


@virtual_time
async def test_retry_after_holds_the_whole_lane_and_then_it_begins_with_one() -> None:
    desk, endpoint = Desk(), an_endpoint(concurrency=4)
    desk.asks, desk.up = 10.0, True
    desk.offer(endpoint, 1)
    await asyncio.sleep(0.02)
    desk.asks = None
    desk.offer(endpoint, 2)
    desk.page_in(endpoint, 3, 4)
    assert desk.lanes.room(endpoint) == 0
    assert desk.spilled == [(2, OwedReason.HELD)]
    await asyncio.sleep(9.9)
    assert desk.seqs == [1]
    before = desk.drained[endpoint.id]
    await until(lambda: len(desk.sent) == 3)
    assert [at for at, _ in desk.sent[1:]] == [10.01, 10.01]
    assert desk.drained[endpoint.id] > before, "its rows come, too"


@pytest.mark.parametrize("quiet", ["held", "open"])
@virtual_time
async def test_a_timer_that_fires_a_little_early_is_set_again(quiet: str) -> None:
    """The wall clock was put back meanwhile. With no rows in memory and nothing fresh, nobody else would look at the lane."""
    desk, endpoint = Desk(), an_endpoint()
    if quiet == "open":
        await opened(desk, endpoint)
    else:
        desk.asks = 5.0
        desk.offer(endpoint, 1)
    await asyncio.sleep(1.0)
    now, asked = desk.clock.now, desk.drained[endpoint.id]
    desk.clock.now = lambda: now() - 0.5  # type: ignore[method-assign]
    rooms: list[float] = []

    def drained(_: EndpointId) -> None:
        if desk.lanes.room(endpoint):
            rooms.append(round(now() - EPOCH, 1))

    desk.lanes._drained = drained
    await asyncio.sleep(60.0)
    assert rooms[:1] == [5.5]
    assert asked == desk.drained[endpoint.id]


# The circuit


@virtual_time
async def test_while_the_circuit_is_open_nothing_is_sent_and_everything_is_owed() -> None:
    desk, endpoint = Desk(), an_endpoint(concurrency=4)
    await opened(desk, endpoint)
    desk.offer(endpoint, *range(10, 20))
    assert desk.spilled == [(seq, OwedReason.CIRCUIT_OPEN) for seq in range(10, 20)]
    assert desk.lanes.room(endpoint) == 0
    await asyncio.sleep(4.9)
    assert desk.sent == []
    assert desk.lanes.waiting == 0


@virtual_time
async def test_a_probe_is_one_row_and_what_follows_is_ramped() -> None:
    desk, endpoint = Desk(), an_endpoint(concurrency=16)
    lane = await opened(desk, endpoint)
    rows = list(range(100, 160))

    def drained(endpoint_id: EndpointId) -> None:
        room = desk.lanes.room(endpoint)
        taken, rows[:room] = rows[:room], []
        if taken:
            rooms.append((room, len(taken)))
            desk.page_in(endpoint, *taken)

    rooms: list[tuple[int, int]] = []
    desk.lanes._drained = drained
    desk.seconds = 0.1
    await asyncio.sleep(5.0)
    assert len(desk.sent) == 1, "one probe"
    assert rooms == [(1, 1)]
    await until(lambda: len(desk.sent) == 1 and not lane.in_flight, "it fails")
    assert lane.peer.routes[0].circuit.state is CircuitState.OPEN
    desk.up, desk.most = True, 0
    await until(lambda: len(desk.sent) >= 61 - 1 and not lane.in_flight)
    at_once = Counter(at for at, _ in desk.sent[1:])
    begins = sorted(at_once)
    assert at_once[begins[0]] == 1, "the second probe is one, too"
    assert [at_once[at] for at in begins][:3] == sorted([at_once[at] for at in begins][:3]), "more and more"
    assert desk.most <= 16
    assert lane.peer.calm


@virtual_time
async def test_a_lane_with_a_url_that_works_takes_rows_while_another_is_down() -> None:
    desk, endpoint = Desk(), an_endpoint(concurrency=4, fallback_urls=(SECOND,))
    lane = desk.lanes.lane(endpoint)
    for _ in range(3):
        circuit = lane.peer.routes[0].circuit
        lane.peer.ended(circuit, circuit.began(EPOCH), confirmed=None, down=True, held_until=None, now=EPOCH)
    assert not lane.peer.calm
    assert desk.lanes.room(endpoint) == LANE_PAGED_MAX
    desk.offer(endpoint, 1)
    await until(lambda: len(desk.sent) == 1)
    assert desk.spilled == []


@virtual_time
async def test_enabled_again_a_lane_sends_at_once() -> None:
    desk, endpoint = Desk(), an_endpoint()
    await opened(desk, endpoint)
    desk.up = True
    desk.lanes.configure([an_endpoint(enabled=False)])
    desk.lanes.configure([an_endpoint()])
    desk.offer(an_endpoint(), 7)
    await until(lambda: desk.seqs == [7])


# Adaptive concurrency


@virtual_time
async def test_it_comes_down_and_goes_up_and_never_exceeds_its_cap() -> None:
    desk, endpoint = Desk(), an_endpoint(concurrency=8)
    desk.seconds = 0.1
    limits = []
    for seq in range(1, 900):
        desk.overloaded = 200 < seq < 400
        desk.offer(endpoint, seq)
        await asyncio.sleep(0.012)
        limits.append(desk.lanes.lane(endpoint).concurrency.limit)
    assert desk.most <= 8
    assert limits[150] == 8
    assert min(limits[200:420]) == 1
    assert limits[-1] == 8


# Ordered lines


@virtual_time
async def test_a_line_goes_one_by_one_and_others_beside_it() -> None:
    desk, endpoint = Desk(), an_endpoint(ordering=Ordering.KEY, concurrency=8)
    desk.seconds = 0.1
    for seq in range(1, 4):
        desk.offer(endpoint, seq, line=2)
        desk.offer(endpoint, 10 + seq, line=4)
    desk.offer(endpoint, 21, 22)
    await until(lambda: len(desk.sent) == 8 and not desk.running)
    assert [seq for _, seq in desk.sent if seq < 10] == [1, 2, 3]
    assert [seq for _, seq in desk.sent if 10 < seq < 20] == [11, 12, 13]
    assert [at for at, seq in desk.sent if seq in (1, 11, 21, 22)] == [0.0] * 4
    assert [at for at, seq in desk.sent if seq in (3, 13)] == [0.2, 0.2]


@virtual_time
async def test_the_failure_of_a_first_sends_its_line_to_the_store_and_others_go_on() -> None:
    desk, endpoint = Desk(), an_endpoint(ordering=Ordering.KEY)
    desk.fate = lambda delivery: Fate.OWED if delivery.event.seq == 1 else Fate.SETTLED
    desk.offer(endpoint, 1, 2, 3, line=2)
    desk.offer(endpoint, 11, line=4)
    await asyncio.sleep(0.1)
    desk.offer(endpoint, 4, line=2)
    assert desk.seqs == [1, 11]
    assert desk.spilled == [(seq, OwedReason.BEHIND) for seq in (2, 3, 4)]
    desk.offer(endpoint, 12, line=4)
    desk.lanes.line_emptied(endpoint.id, 2)
    desk.offer(endpoint, 5, line=2)
    await asyncio.sleep(0.1)
    assert desk.seqs == [1, 11, 12, 5]


@virtual_time
async def test_a_line_that_has_waited_leaves_as_a_whole_behind_the_one_under_way() -> None:
    desk, endpoint = Desk(), an_endpoint(ordering=Ordering.ENDPOINT)
    desk.gate.clear()
    desk.offer(endpoint, 1, 2, line=LINE)
    await asyncio.sleep(1.9)
    desk.offer(endpoint, 3, line=LINE)
    await asyncio.sleep(0.2)
    desk.sweep()
    assert desk.spilled == [(2, OwedReason.BEHIND), (3, OwedReason.BEHIND)]
    desk.offer(endpoint, 4, line=LINE)
    assert desk.spilled[-1] == (4, OwedReason.BEHIND), "it stands behind the rows"
    desk.gate.set()
    await until(lambda: not desk.running)
    desk.page_in(endpoint, 2, 3, line=LINE)
    await until(lambda: desk.seqs == [1, 2, 3])


@virtual_time
async def test_a_closed_lane_leaves_a_line_in_its_order_and_only_its_first_is_due() -> None:
    desk, endpoint = Desk(), an_endpoint(ordering=Ordering.ENDPOINT, rate_limit=RateLimit(0.001, 1))
    desk.offer(endpoint, 1, 2, 3, line=LINE)
    desk.lanes.configure([an_endpoint(ordering=Ordering.ENDPOINT, paused=True)])
    assert desk.spilled == [(1, OwedReason.PAUSED), (2, OwedReason.BEHIND), (3, OwedReason.BEHIND)]


# Another URL


@virtual_time
async def test_what_goes_to_another_url_goes_first() -> None:
    desk, endpoint = Desk(), an_endpoint(concurrency=1, fallback_urls=(SECOND,))

    def fate(delivery: Delivery) -> Fate:
        if delivery.event.seq == 1 and not delivery.tried:
            delivery.tried = 1
            return Fate.AGAIN
        return Fate.SETTLED

    desk.fate = fate
    desk.offer(endpoint, 1, 2, 3)
    await until(lambda: len(desk.sent) == 4)
    assert desk.seqs == [1, 1, 2, 3]


@pytest.mark.parametrize(("row", "marked"), [(False, False), (True, False), (False, True)])
def test_what_would_go_to_another_url_of_a_lane_that_was_closed_leaves_memory(row: bool, marked: bool) -> None:
    """It would wait there for as long as the lane is closed: for ever, where the endpoint was deleted. A row that says that
    its request runs says so no more."""

    @virtual_time
    async def test() -> None:
        desk, endpoint = Desk(), an_endpoint(fallback_urls=(SECOND,))
        desk.fate = lambda _: Fate.AGAIN
        desk.gate.clear()
        if row:
            desk.page_in(endpoint, 1)
        else:
            desk.offer(endpoint, 1)
        await asyncio.sleep(2.1 if marked else 0.1)
        desk.sweep()
        desk.lanes.configure([an_endpoint(fallback_urls=(SECOND,), paused=True)])
        desk.gate.set()
        await until(lambda: not desk.running)
        await asyncio.sleep(0.01)
        assert (desk.released, desk.spilled) == (([1], []) if row else ([], [(1, OwedReason.PAUSED)]))
        assert (desk.lanes.waiting, desk.lanes.paged_bytes) == (0, 0)
        assert desk.seqs == [1]

    test()


@virtual_time
async def test_what_runs_since_before_its_partition_was_lost_is_not_sent_beside_it_in_another_line() -> None:
    """Its endpoint has another order by now: the line that it was in keeps nothing back any more."""
    desk = Desk()
    desk.gate.clear()
    desk.offer(an_endpoint(ordering=Ordering.ENDPOINT), 1, line=LINE)
    await asyncio.sleep(0.1)
    desk.lanes.drop({0})
    desk.lanes.taken([0])
    desk.offer(an_endpoint(ordering=Ordering.KEY), 1, line=8, epoch=2)
    desk.offer(an_endpoint(), 1, epoch=2)
    await asyncio.sleep(0.1)
    assert desk.seqs == [1]
    desk.gate.set()
    await until(lambda: not desk.running)
    desk.offer(an_endpoint(), 2, epoch=2)
    await until(lambda: desk.seqs == [1, 2] and not desk.running)
    await asyncio.sleep(0.1)
    assert (desk.lanes.in_flight, desk.lanes.bytes_in_flight, desk.lanes.waiting) == (0, 0, 0)
