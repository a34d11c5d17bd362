"""What leaves a lane's memory: which requests get a row as they run, and which do not."""

from __future__ import annotations

from typing import cast

from tests.fakes import FakeClock, a_delivery, an_endpoint, virtual_time

from posthouse.dispatch.leaving import Leaving
from posthouse.domain.delivery import Delivery, DeliveryKey, Owed, OwedReason
from posthouse.lane.lane import Lane
from posthouse.settle.backlog import Backlog
from posthouse.settle.journal import Journal

OWNER = b"o" * 16


class Marks:
    """Of a journal, what is told of requests under way."""

    def __init__(self) -> None:
        self.rows: list[Owed] = []

    def mark_in_flight(self, delivery: Delivery, owed: Owed) -> None:
        self.rows.append(owed)


@virtual_time
async def test_a_request_that_was_answered_after_its_partition_had_moved_on_gets_no_row() -> None:
    """Its delivery is ours again by then, and nothing more comes of the request: nobody would look at such a row for long."""
    marks, settling, delivery = Marks(), set[DeliveryKey](), a_delivery()
    leaving = Leaving(
        cast(Journal, marks),
        cast(Backlog, None),
        FakeClock(),
        owner=OWNER,
        epochs={0: 1},
        asking=(),
        settling=settling,
    )
    lane = Lane(an_endpoint())
    settling.add(delivery.key)
    leaving.mark_in_flight(lane, delivery)
    leaving.hand_over(lane, delivery)
    assert marks.rows == []
    settling.clear()
    leaving.mark_in_flight(lane, delivery)
    assert [(row.key, row.reason, row.sender) for row in marks.rows] == [(delivery.key, OwedReason.IN_FLIGHT, OWNER)]
