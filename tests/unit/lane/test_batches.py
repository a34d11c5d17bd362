"""What goes in one request of an endpoint that takes batches, and when."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.fakes import BOOT, EPOCH, FakeClock, a_delivery, an_endpoint, an_event, until, virtual_time

from posthouse.domain.delivery import Delivery, DeliveryClass, Fate, OwedReason
from posthouse.domain.endpoint import Batch, Format, Ordering
from posthouse.domain.event import Event
from posthouse.domain.limits import MEASURED_FACTOR, TAKEN_APART_AT_ONCE_BYTES_MAX
from posthouse.lane.budget import Budget
from posthouse.lane.lane import Lane, Load
from posthouse.lane.lanes import Lanes
from posthouse.send.peer import Peer
from posthouse.send.told import Told
from posthouse.wire.batch import batch_body


def lane_of(batch: Batch, *deliveries: Delivery, **fields: Any) -> Lane:
    lane = Lane(an_endpoint(batch=batch, **fields))
    for delivery in deliveries:
        lane.queue.add(delivery)
    return lane


def seqs(load: Load) -> list[int]:
    return [delivery.event.seq for delivery in load]


def wait(lane: Lane) -> float:
    """Seconds until it may start."""
    now = asyncio.get_running_loop().time()
    return lane.wait(BOOT + now, EPOCH + now)


@virtual_time
async def test_a_full_one_goes_at_once_and_part_of_one_after_its_wait() -> None:
    lane = lane_of(Batch(3, 10_000, 200), *(a_delivery(n) for n in (1, 2)))
    assert wait(lane) == pytest.approx(0.2)
    await asyncio.sleep(0.15)
    assert wait(lane) == pytest.approx(0.05), "since the first came"
    lane.queue.add(a_delivery(3))
    assert wait(lane) <= 0
    lane.queue.add(a_delivery(4))
    assert seqs(lane.take()) == [1, 2, 3]
    assert wait(lane) == pytest.approx(0.2)
    await asyncio.sleep(0.2)
    assert wait(lane) <= 0
    assert seqs(lane.take()) == [4]


@virtual_time
async def test_rows_do_not_wait_for_more() -> None:
    lane = lane_of(Batch(3, 10_000, 200), a_delivery(1, fresh=False, row=True))
    assert wait(lane) == 0, "they have waited before"


@virtual_time
async def test_what_takes_long_to_be_measured_goes_in_smaller_ones() -> None:
    size = TAKEN_APART_AT_ONCE_BYTES_MAX // 4
    xml = lane_of(Batch(100, 1_000_000, 0), *(a_delivery(n, size=size) for n in range(1, 20)), format=Format.XML)
    assert seqs(xml.take()) == list(range(1, 4 * MEASURED_FACTOR + 1))
    plain = lane_of(Batch(100, 1_000_000, 0), *(a_delivery(n, size=size) for n in range(1, 20)))
    assert seqs(plain.take()) == list(range(1, 20))


@virtual_time
async def test_what_is_too_large_to_be_measured_goes_alone() -> None:
    large = TAKEN_APART_AT_ONCE_BYTES_MAX + 1
    sizes = (10, large, 10, 10)
    lane = lane_of(
        Batch(100, 1_000_000, 0), *(a_delivery(n, size=size) for n, size in enumerate(sizes, 1)), format=Format.XML
    )
    assert [seqs(lane.take()) for _ in range(3)] == [[1], [2], [3, 4]]


@pytest.mark.parametrize("format", [Format.JSON, Format.CLOUDEVENTS, Format.XML])
def test_a_body_is_never_larger_than_it_may_be(format: Format) -> None:
    @virtual_time
    async def test() -> None:
        events = [an_event(n, payload=b"[%b]" % (b"1" * (37 * n % 200))) for n in range(1, 40)]
        lane = lane_of(Batch(100, 1_500, 0), *(a_delivery(1, event=event) for event in events), format=format)
        renderer = lane.peer.routes[0].renderer
        assert renderer is not None

        def body(batched: list[Event]) -> bytes:
            return renderer.render_batch(batched, now=0, replay=False, request_id=bytes(16)).body

        sizes = []
        taken: list[int] = []
        while lane.queue.first() is not None:
            load = lane.take()
            taken += seqs(load)
            sizes.append(len(body([d.event for d in load])))
            following = lane.queue.first()
            if following is not None:
                assert len(body([*(d.event for d in load), following.event])) > 1_500, "no smaller, either"
        assert taken == list(range(1, 40))
        assert max(sizes) <= 1_500
        assert lane.requests == len(sizes), "a request each"

    test()


@virtual_time
async def test_one_that_is_larger_by_itself_goes_alone() -> None:
    big = an_event(2, payload=b"[%b]" % (b"1" * 5_000))
    lane = lane_of(Batch(100, 1_024, 0), a_delivery(1), a_delivery(2, event=big), a_delivery(3))
    assert [seqs(lane.take()) for _ in range(3)] == [[1], [2], [3]]


@virtual_time
async def test_one_byte_more_does_not_fit() -> None:
    events = [an_event(n) for n in (1, 2, 3)]
    exact = len(batch_body(events[:2], Format.JSON))
    for size, taken in ((exact, [1, 2]), (exact - 1, [1])):
        lane = lane_of(Batch(100, size, 0), *(a_delivery(1, event=event) for event in events))
        assert seqs(lane.take()) == taken


@virtual_time
async def test_enough_bytes_go_at_once() -> None:
    lane = lane_of(Batch(100, 1_024, 10_000), a_delivery(1, size=600))
    assert wait(lane) == pytest.approx(10.0)
    lane.queue.add(a_delivery(2, size=600))
    assert wait(lane) <= 0


@virtual_time
async def test_kinds_do_not_mix() -> None:
    """A request says in its head whether it is a replay."""
    replay: dict[str, Any] = {"kind": DeliveryClass.REPLAY, "fresh": False, "row": True}
    lane = lane_of(Batch(10, 10_000, 0), a_delivery(1), *(a_delivery(n, **replay) for n in (2, 3)), a_delivery(4))
    loads = []
    while lane.queue.first() is not None:
        loads.append(lane.take())
    assert all(len({d.kind for d in load}) == 1 for load in loads)
    assert sorted(n for load in loads for n in seqs(load)) == [1, 2, 3, 4]


@virtual_time
async def test_one_that_goes_to_another_url_goes_as_it_was() -> None:
    """What failed together stays together; what was not tried there does not join it."""
    lane = lane_of(Batch(10, 10_000, 0), a_delivery(1), a_delivery(2), fallback_urls=("https://example.com/b",))
    load = lane.take()
    for delivery in load:
        delivery.tried = 1
    lane.ended(load)
    lane.settle(load, [Fate.AGAIN, Fate.AGAIN])
    lane.queue.add(a_delivery(3))
    assert seqs(lane.take())[0] == 1
    assert 3 not in seqs(load)


@virtual_time
async def test_a_line_goes_together_and_in_its_order() -> None:
    batch = Batch(3, 10_000, 0)
    lane = lane_of(batch, *(a_delivery(n, line=6) for n in range(1, 6)), ordering=Ordering.ENDPOINT)
    first = lane.take()
    assert seqs(first) == [1, 2, 3]
    assert lane.queue.first() is None, "one request at a time"
    lane.ended(first)
    lane.settle(first, [Fate.SETTLED] * 3)
    assert seqs(lane.take()) == [4, 5]


@virtual_time
async def test_a_line_of_which_one_is_owed_leaves_memory() -> None:
    lane = lane_of(Batch(2, 10_000, 0), *(a_delivery(n, line=6) for n in range(1, 6)), ordering=Ordering.ENDPOINT)
    load = lane.take()
    lane.ended(load)
    again, behind = lane.settle(load, [Fate.SETTLED, Fate.OWED])
    assert (again, seqs(list(behind))) == ([], [3, 4, 5])
    assert lane.joins_rows(6)
    assert not lane.joins_rows(8)


@virtual_time
async def test_several_lines_go_in_one_request_and_each_goes_on_by_itself() -> None:
    lane = lane_of(Batch(4, 10_000, 0), *(a_delivery(10 * line + n, line=line) for line in (2, 4) for n in (1, 2, 3)))
    load = lane.take()
    assert seqs(load) == [21, 22, 23, 41]
    assert lane.queue.first() is None, "the rest is of lines that are under way"
    lane.ended(load)
    _, behind = lane.settle(load, [Fate.SETTLED, Fate.SETTLED, Fate.OWED, Fate.SETTLED])
    assert seqs(list(behind)) == [], "nothing waited behind the one that is owed"
    assert seqs(lane.take()) == [42, 43]


@virtual_time
async def test_there_is_room_for_two_requests_of_rows() -> None:
    lane = lane_of(Batch(500, 1_000_000, 0))
    assert lane.paged_room(0.0) == 1_000
    assert lane_of(Batch(2, 10_000, 0)).paged_room(0.0) == 64


# The timer


class Desk:
    """Lanes whose requests are confirmed at once."""

    def __init__(self) -> None:
        self.sent: list[tuple[float, list[int]]] = []
        self.spilled: list[tuple[int, OwedReason]] = []
        self.lanes = Lanes(
            Budget(),
            FakeClock(),
            send=self.send,
            may_start=lambda: True,
            may_spill=lambda: True,
            spill=lambda delivery, _, reason: self.spilled.append((delivery.event.seq, reason)),
            release=lambda _: None,
            mark_in_flight=lambda *_: None,
            hand_over=lambda *_: None,
            drained=lambda _: None,
        )

    async def send(self, _: Peer, load: Load) -> Told:
        self.sent.append((round(asyncio.get_running_loop().time(), 3), seqs(load)))
        return Told([Fate.SETTLED] * len(load), 0.001)


@virtual_time
async def test_the_timer_sends_what_did_not_fill_one() -> None:
    desk, endpoint = Desk(), an_endpoint(batch=Batch(3, 10_000, 200))
    for n in range(1, 6):
        desk.lanes.offer(endpoint, a_delivery(n))
    await until(lambda: len(desk.sent) == 2)
    assert desk.sent == [(0.0, [1, 2, 3]), (0.2, [4, 5])]
    assert desk.lanes.waiting == desk.lanes.in_flight == desk.lanes.bytes_in_flight == 0


@virtual_time
async def test_the_first_is_not_kept_waiting_by_those_after_it() -> None:
    desk, endpoint = Desk(), an_endpoint(batch=Batch(100, 10_000, 300), ordering=Ordering.KEY)
    for n in range(1, 8):
        desk.lanes.offer(endpoint, a_delivery(n, line=2 * (n % 3)))
        await asyncio.sleep(0.1)
    await until(lambda: sum(len(load) for _, load in desk.sent) == 7)
    for at, load in desk.sent:
        for n in load:
            assert at <= 0.1 * (n - 1) + 0.31, f"{n} waited longer: {desk.sent}"


@virtual_time
async def test_a_wait_is_not_cut_short_by_the_sweep() -> None:
    desk, endpoint = Desk(), an_endpoint(batch=Batch(100, 10_000, 1_900))
    desk.lanes.offer(endpoint, a_delivery(1))
    for _ in range(12):
        await asyncio.sleep(0.25)
        desk.lanes.sweep(asyncio.get_running_loop().time() + BOOT)
    assert desk.sent == [(1.9, [1])]
    assert desk.spilled == []
