"""The deliveries of one endpoint in memory: bounded, and served in turn."""

from __future__ import annotations

import pytest
from tests.fakes import a_delivery, an_endpoint, virtual_time

from posthouse.domain.delivery import OwedReason
from posthouse.domain.endpoint import Endpoint
from posthouse.domain.limits import LANE_FRESH_MAX, LANE_PAGED_MAX
from posthouse.lane.lane import Lane


@virtual_time
async def test_fresh_ones_and_rows_take_turns() -> None:
    lane = Lane(an_endpoint(concurrency=100))
    for seq in range(1, 5):
        lane.fresh.append(a_delivery(seq))
        lane.paged.append(a_delivery(seq + 10, fresh=False, row=True))
    assert [lane.take().event.seq for _ in range(8)] == [1, 11, 2, 12, 3, 13, 4, 14]


@virtual_time
async def test_a_lane_with_one_kind_serves_it() -> None:
    lane = Lane(an_endpoint(concurrency=100))
    lane.paged.extend(a_delivery(seq, fresh=False, row=True) for seq in (1, 2))
    assert [lane.take().event.seq for _ in range(2)] == [1, 2]
    lane.fresh.extend(a_delivery(seq) for seq in (3, 4))
    assert [lane.take().event.seq for _ in range(2)] == [3, 4]


@virtual_time
async def test_what_is_in_flight_is_counted_and_bounded() -> None:
    lane = Lane(an_endpoint(concurrency=2))
    lane.fresh.extend(a_delivery(seq, size=10 * seq) for seq in (1, 2, 3))
    assert lane.next_size() == 10
    first = lane.take()
    assert lane.next_size() == 20
    lane.take()
    assert lane.next_size() is None, "two are under way"
    assert lane.bytes_in_flight == 30
    lane.finished(first)
    assert lane.next_size() == 30
    assert lane.bytes_in_flight == 20


@virtual_time
async def test_room_is_bounded_and_comes_back_in_pages() -> None:
    lane = Lane(an_endpoint())
    assert lane.paged_room == LANE_PAGED_MAX
    lane.paged.extend(a_delivery(seq, row=True) for seq in range(LANE_PAGED_MAX // 2 + 1))
    assert lane.paged_room == 0, "not worth a query yet"
    lane.paged.popleft()
    assert lane.paged_room == LANE_PAGED_MAX // 2
    lane.fresh.extend(a_delivery(seq) for seq in range(LANE_FRESH_MAX - 1))
    assert lane.has_fresh_room
    lane.fresh.append(a_delivery(1))
    assert not lane.has_fresh_room


@pytest.mark.parametrize(
    ("endpoint", "reason"),
    [
        (an_endpoint(paused=True), OwedReason.PAUSED),
        (an_endpoint(enabled=False), OwedReason.DISABLED),
        (an_endpoint(enabled=False, paused=True), OwedReason.DISABLED),
        (an_endpoint(url="gopher://example.com"), OwedReason.OUR_FAULT),
        (an_endpoint(url="gopher://example.com", enabled=False), OwedReason.DISABLED),
    ],
)
def test_a_closed_lane_says_why(endpoint: Endpoint, reason: OwedReason) -> None:
    lane = Lane(endpoint)
    assert lane.closed is True
    assert lane.closed_reason is reason
    assert lane.paged_room == 0
    assert lane.next_size() is None
    lane.configure(an_endpoint(revision=2))
    assert lane.next_size() is None, "there is nothing to send"
    assert lane.paged_room == LANE_PAGED_MAX
    lane.configure(endpoint)
    assert lane.paged_room == 0


@virtual_time
async def test_a_request_that_still_runs_speaks_for_its_delivery() -> None:
    lane = Lane(an_endpoint())
    lane.fresh.append(a_delivery(1))
    running = lane.take()
    assert not lane.adopt(a_delivery(2, epoch=5))
    assert lane.adopt(a_delivery(1, epoch=5, fresh=False, row=True, number=2))
    assert (running.epoch, running.fresh, running.row, running.number) == (5, False, True, 2)
