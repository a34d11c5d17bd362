"""The deliveries of one endpoint in memory: bounded, and served in turn."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import uvloop
from tests.fakes import a_delivery, an_endpoint, virtual_time

from posthouse.domain.delivery import Delivery, OwedReason
from posthouse.domain.endpoint import Endpoint, Ordering, RateLimit
from posthouse.domain.limits import LANE_FRESH_MAX, LANE_PAGED_MAX
from posthouse.lane.lane import Lane


def add(lane: Lane, *deliveries: Delivery) -> None:
    for delivery in deliveries:
        lane.queue.add(delivery)


def next_size(lane: Lane) -> int:
    first = lane.queue.first()
    assert first is not None
    return lane.next_size(first)


@virtual_time
async def test_fresh_ones_and_rows_take_turns() -> None:
    lane = Lane(an_endpoint(concurrency=100))
    for seq in range(1, 5):
        lane.queue.add(a_delivery(seq))
        lane.queue.add(a_delivery(seq + 10, fresh=False, row=True))
    assert [lane.take()[0].event.seq for _ in range(8)] == [1, 11, 2, 12, 3, 13, 4, 14]


@virtual_time
async def test_a_lane_with_one_kind_serves_it() -> None:
    lane = Lane(an_endpoint(concurrency=100))
    add(lane, *(a_delivery(seq, fresh=False, row=True) for seq in (1, 2)))
    assert [lane.take()[0].event.seq for _ in range(2)] == [1, 2]
    add(lane, *(a_delivery(seq) for seq in (3, 4)))
    assert [lane.take()[0].event.seq for _ in range(2)] == [3, 4]


@virtual_time
async def test_what_is_in_flight_is_counted() -> None:
    lane = Lane(an_endpoint(concurrency=2))
    add(lane, *(a_delivery(seq, size=10 * seq) for seq in (1, 2, 3)))
    assert next_size(lane) == 10
    first = lane.take()
    assert next_size(lane) == 20
    lane.take()
    assert (lane.requests, lane.bytes_in_flight) == (2, 30)
    lane.ended(first)
    assert next_size(lane) == 30
    assert (lane.requests, lane.bytes_in_flight) == (1, 20)


@virtual_time
async def test_room_is_bounded_and_comes_back_in_pages() -> None:
    lane = Lane(an_endpoint())
    assert lane.paged_room(0.0) == LANE_PAGED_MAX
    add(lane, *(a_delivery(seq, row=True) for seq in range(LANE_PAGED_MAX // 2 + 1)))
    assert lane.paged_room(0.0) == 0, "not worth a query yet"
    lane.take()
    assert lane.paged_room(0.0) == LANE_PAGED_MAX // 2
    add(lane, *(a_delivery(seq) for seq in range(LANE_FRESH_MAX - 1)))
    assert lane.has_fresh_room
    lane.queue.add(a_delivery(1))
    assert not lane.has_fresh_room


@pytest.mark.parametrize(
    ("endpoint", "reason"),
    [
        (an_endpoint(paused=True), OwedReason.PAUSED),
        (an_endpoint(enabled=False), OwedReason.DISABLED),
        (an_endpoint(enabled=False, paused=True), OwedReason.DISABLED),
        (an_endpoint(verified=False), OwedReason.UNVERIFIED),
        (an_endpoint(verified=False, paused=True), OwedReason.PAUSED),
        (an_endpoint(url="gopher://example.com"), OwedReason.OUR_FAULT),
        (an_endpoint(url="gopher://example.com", enabled=False), OwedReason.DISABLED),
    ],
)
def test_a_closed_lane_says_why(endpoint: Endpoint, reason: OwedReason) -> None:
    lane = Lane(endpoint)
    assert lane.closed
    assert lane.closed_reason is reason
    assert lane.paged_room(0.0) == 0
    lane.configure(an_endpoint(revision=2), 0.0)
    assert lane.paged_room(0.0) == LANE_PAGED_MAX
    lane.configure(endpoint, 0.0)
    assert lane.paged_room(0.0) == 0


@virtual_time
async def test_a_request_that_still_runs_speaks_for_its_delivery() -> None:
    lane = Lane(an_endpoint())
    lane.queue.add(a_delivery(1))
    (running,) = lane.take()
    assert not lane.adopt(a_delivery(2, epoch=5))
    assert lane.adopt(a_delivery(1, epoch=5, fresh=False, row=True, number=2))
    assert (running.epoch, running.fresh, running.row, running.number) == (5, False, True, 2)


@virtual_time
async def test_a_lane_that_is_ours_again_knows_nothing_of_what_others_did() -> None:
    lane = Lane(an_endpoint(rate_limit=RateLimit(1.0, 5), ordering=Ordering.KEY), boot=0.0)
    lane.owe_line(6)
    assert lane.bucket is not None
    assert lane.bucket.wait(1_000.0) == 0.0
    lane.taken(1_000.0, all_owed=False)
    assert lane.bucket.wait(1_000.0) == 1.0, "they may have sent as much as it allows"
    assert not lane.joins_rows(6)
    lane.taken(1_000.0, all_owed=True)
    assert lane.joins_rows(8), "any line may have rows"


@pytest.mark.parametrize("fields", [{}, {"paused": True}, {"enabled": False}, {"url": "gopher://example.com"}])
def test_a_lane_that_is_ours_again_is_as_open_as_its_endpoint(fields: dict[str, Any]) -> None:
    """Whatever its target said to a request from before, that may never have been put on record."""
    lane = Lane(an_endpoint(**fields))
    lane.closed = True
    lane.taken(0.0, all_owed=False)
    assert lane.closed is bool(fields)


class _MomentLost:
    """A loop whose time is read, and a moment later something is done with it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def time(self) -> float:
        return self._loop.time() - 0.002

    def __getattr__(self, name: str) -> object:
        return getattr(self._loop, name)


def test_a_timer_that_is_due_as_it_is_set_can_be_set_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def wake() -> None:
        lane, woken = Lane(an_endpoint()), asyncio.Event()
        moment_lost = _MomentLost()
        monkeypatch.setattr("posthouse.lane.lane.asyncio.get_running_loop", lambda: moment_lost)
        for seconds in (1.0, 0.0, 0.0):
            lane.wake_in(lambda _: woken.set(), seconds)
        monkeypatch.undo()
        await asyncio.wait_for(woken.wait(), 5)

    uvloop.run(wake())
