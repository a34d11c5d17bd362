"""What `ports.store.Store` promises of ordered lines, of rates and of health, of every adapter."""

from __future__ import annotations

import math
from typing import Any

import pytest
from msgspec.structs import replace
from tests.making import app_of, attempt, config, new_endpoint, new_id, new_owner, owed
from tests.world_steps import ALL_DUE, LEASE, SOON, owns, publish
from tests.worlds import World

from posthouse.domain.circuit import HEALTHY, CircuitState, Health
from posthouse.domain.delivery import AttemptOutcome, HealthTurn, JournalBatch, Line, Owed, OwedReason
from posthouse.domain.event import Event
from posthouse.domain.ids import AttemptId, EndpointId
from posthouse.ports.store import Journalled, Page, Want

NOW = 10_000.0
BYTES = 1 << 30
INF = math.inf
ONE, OTHER = 6, -(2**62)
"""Two lines."""


class Desk:
    """An endpoint in partition 1, and the owner of everything."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.endpoint_id = new_endpoint()
        self.owner = new_owner()
        self.epochs: dict[int, int] = {}
        self.events: list[Event] = []

    async def begin(self, count: int = 6) -> None:
        self.events = await publish(self.world, count)
        self.epochs = await owns(self.world, self.owner)

    def row(self, seq: int, line: int = ONE, **fields: Any) -> Owed:
        return owed(self.events[seq - 1], self.endpoint_id, line=line, **fields)

    def line(self, number: int = ONE) -> Line:
        return (1, self.endpoint_id, number)

    def key(self, seq: int) -> tuple[int, EndpointId, Any]:
        return (1, self.endpoint_id, self.events[seq - 1].id)

    async def journal(
        self, *rows: Owed, settled: tuple[int, ...] = (), lines: tuple[int, ...] = (ONE,), **fields: Any
    ) -> Journalled:
        batch = JournalBatch(
            owner=self.owner,
            epochs=self.epochs,
            owed=rows,
            settled=tuple(self.key(seq) for seq in settled),
            lines=tuple(self.line(number) for number in lines),
        )
        return await self.world.store.journal(batch, now=NOW, lease_seconds=LEASE, **fields)

    async def page(self, *, now: float = NOW, limit: int = 100, bytes_max: int = BYTES, **fields: Any) -> Page:
        want = Want(1, self.endpoint_id, limit, **fields)
        (found,) = await self.world.store.page([want], now=now, bytes_max=bytes_max)
        return found

    async def rows(self) -> list[Owed]:
        """All rows, due or not, by `seq`."""
        found = await self.page(every=True)
        return sorted((row for row, _ in found.rows), key=lambda row: row.seq)

    async def dues(self) -> dict[int, float]:
        return {row.seq: row.due_at for row in await self.rows()}


@pytest.fixture
async def desk(world: World) -> Desk:
    made = Desk(world)
    await made.begin()
    return made


def seqs(page: Page) -> list[int]:
    return [row.seq for row, _ in page.rows]


# Putting in order


async def test_only_the_first_of_a_line_is_due(desk: Desk) -> None:
    result = await desk.journal(desk.row(2), desk.row(3), desk.row(1, due_at=NOW + 5))
    assert await desk.dues() == {1: NOW + 5, 2: INF, 3: INF}
    assert result.lines == {desk.line(): NOW + 5}


async def test_the_next_is_due_when_the_first_is_settled(desk: Desk) -> None:
    await desk.journal(*(desk.row(seq) for seq in (1, 2, 3)))
    result = await desk.journal(settled=(1,))
    assert await desk.dues() == {2: NOW, 3: INF}
    assert result.lines == {desk.line(): NOW}
    result = await desk.journal(settled=(2, 3))
    assert result.lines == {desk.line(): None}, "none is left"
    assert await desk.rows() == []


async def test_one_settled_in_the_middle_promotes_nobody(desk: Desk) -> None:
    await desk.journal(*(desk.row(seq, due_at=NOW + 5) for seq in (1, 2, 3)))
    assert (await desk.journal(settled=(2,))).lines == {desk.line(): NOW + 5}
    assert await desk.dues() == {1: NOW + 5, 3: INF}


async def test_an_earlier_one_that_comes_later_goes_first(desk: Desk) -> None:
    await desk.journal(desk.row(3, due_at=NOW - 5), desk.row(4))
    result = await desk.journal(desk.row(2, due_at=NOW + 7))
    assert await desk.dues() == {2: NOW + 7, 3: INF, 4: INF}
    assert result.lines == {desk.line(): NOW + 7}


async def test_what_comes_before_a_request_under_way_waits_for_it(desk: Desk) -> None:
    """An event that was found to belong to the line only when another had gone, after a hand-over."""
    await desk.journal(desk.row(2, due_at=NOW + 7, reason=OwedReason.IN_FLIGHT, sender=new_owner()), desk.row(3))
    assert (await desk.journal(desk.row(1))).lines == {desk.line(): NOW + 7}
    assert await desk.dues() == {1: INF, 2: NOW + 7, 3: INF}
    assert await desk.page() == Page((), NOW + 7)
    assert seqs(await desk.page(now=NOW + 8)) == [1, 2, 3], "nobody has heard of it: in order"
    assert seqs(await desk.page(now=NOW + 8, limit=1)) == [1]

    assert (await desk.journal(settled=(2,))).lines == {desk.line(): NOW}
    assert await desk.dues() == {1: NOW, 3: INF}


async def test_one_before_a_request_that_should_have_ended_goes_first(desk: Desk) -> None:
    await desk.journal(desk.row(2, due_at=NOW, reason=OwedReason.IN_FLIGHT, sender=new_owner()))
    await desk.journal(desk.row(1, due_at=NOW + 3))
    assert await desk.dues() == {1: NOW + 3, 2: INF}


async def test_a_retry_of_the_first_keeps_its_time(desk: Desk) -> None:
    await desk.journal(desk.row(1), desk.row(2))
    assert (await desk.journal(desk.row(1, number=3, due_at=NOW + 60))).lines == {desk.line(): NOW + 60}
    assert await desk.dues() == {1: NOW + 60, 2: INF}


async def test_a_blocked_one_stays_and_all_behind_it_wait(desk: Desk) -> None:
    blocked = desk.row(1, due_at=INF, reason=OwedReason.BLOCKED)
    assert (await desk.journal(blocked, desk.row(2))).lines == {desk.line(): INF}
    assert (await desk.journal(desk.row(3))).lines == {desk.line(): INF}
    assert await desk.dues() == {1: INF, 2: INF, 3: INF}
    assert (await desk.page(now=ALL_DUE)) == Page((), INF), "no page brings it"
    assert (await desk.journal(settled=(1,))).lines == {desk.line(): NOW}
    assert await desk.dues() == {2: NOW, 3: INF}


async def test_one_that_waited_behind_is_due_though_its_reason_says_so(desk: Desk) -> None:
    result = await desk.journal(desk.row(2, due_at=INF, reason=OwedReason.BEHIND))
    assert result.lines == {desk.line(): NOW}
    ((row, _),) = (await desk.page()).rows
    assert (row.reason, row.due_at) == (OwedReason.BEHIND, NOW)


async def test_lines_are_apart_and_what_is_of_none_is_left_alone(desk: Desk) -> None:
    rows = [desk.row(1), desk.row(2, OTHER), desk.row(3), desk.row(4, OTHER), desk.row(5, 0), desk.row(6, 0)]
    result = await desk.journal(*rows, lines=(ONE, OTHER))
    assert result.lines == {desk.line(): 1000.0, desk.line(OTHER): 1000.0}
    assert await desk.dues() == {1: 1000.0, 2: 1000.0, 3: INF, 4: INF, 5: 1000.0, 6: 1000.0}
    result = await desk.journal(settled=(1,), lines=(ONE,))
    assert result.lines.keys() == {desk.line()}, "only what changes is told"


async def test_lines_of_other_endpoints_are_apart(desk: Desk) -> None:
    other = Desk(desk.world)
    other.owner, other.epochs, other.events = desk.owner, desk.epochs, desk.events
    await desk.journal(desk.row(1), desk.row(2))
    assert (await other.journal(other.row(2), other.row(3))).lines == {other.line(): 1000.0}
    assert await desk.dues() == {1: 1000.0, 2: INF}


async def test_lines_of_a_partition_that_was_lost_are_left_alone(desk: Desk) -> None:
    await desk.journal(desk.row(1), desk.row(2))
    stale = replace_epochs(desk, -1)
    result = await stale.journal(settled=(1,))
    assert (result.held, dict(result.lines)) == (desk.epochs.keys() - {1}, {})
    assert await desk.dues() == {1: 1000.0, 2: INF}


def replace_epochs(desk: Desk, by: int) -> Desk:
    """The same desk, as it would be with another epoch of its partition."""
    other = Desk(desk.world)
    other.endpoint_id, other.owner, other.events = desk.endpoint_id, desk.owner, desk.events
    other.epochs = desk.epochs | {1: desk.epochs[1] + by}
    return other


async def test_a_batch_sent_again_tells_of_its_lines_all_the_same(desk: Desk) -> None:
    made = attempt(desk.events[0], desk.endpoint_id, outcome=AttemptOutcome.FAILED)
    batch = JournalBatch(
        owner=desk.owner,
        epochs=desk.epochs,
        attempts=(made,),
        owed=(desk.row(1, due_at=NOW + 3), desk.row(2)),
        lines=(desk.line(),),
        number=1,
    )
    for _ in range(2):
        result = await desk.world.store.journal(batch, now=NOW, lease_seconds=LEASE)
        assert result.lines == {desk.line(): NOW + 3}


async def test_a_line_can_be_changed_together_with_very_many_others(desk: Desk) -> None:
    rows = [desk.row(seq, line) for seq, line in ((1, 2), (2, 4), (3, 2), (4, -8), (5, 4))]
    result = await desk.journal(*rows, lines=(2, 4, -8, 10))
    assert result.lines == {desk.line(2): 1000.0, desk.line(4): 1000.0, desk.line(-8): 1000.0, desk.line(10): None}


# The late answer


def in_flight(desk: Desk, *seqs: int) -> list[Owed]:
    return [desk.row(seq, reason=OwedReason.IN_FLIGHT, sender=desk.owner, due_at=SOON) for seq in seqs]


async def test_a_late_answer_promotes_the_next(desk: Desk) -> None:
    await desk.journal(*in_flight(desk, 1), desk.row(2), desk.row(3))
    late = attempt(desk.events[0], desk.endpoint_id, number=2)
    assert await desk.world.store.settle_late([(late, None, ())], sender=desk.owner, now=NOW + 1)
    assert await desk.dues() == {2: NOW + 1, 3: INF}


async def test_a_late_failure_keeps_its_line_behind_it(desk: Desk) -> None:
    await desk.journal(*in_flight(desk, 1), desk.row(2))
    late = attempt(desk.events[0], desk.endpoint_id, number=2, outcome=AttemptOutcome.FAILED)
    retry = desk.row(1, number=3, due_at=SOON + 9)
    assert await desk.world.store.settle_late([(late, retry, ())], sender=desk.owner, now=NOW)
    assert await desk.dues() == {1: SOON + 9, 2: INF}
    blocked = desk.row(1, number=3, due_at=INF, reason=OwedReason.BLOCKED)
    await desk.journal(*in_flight(desk, 1))
    assert await desk.world.store.settle_late([(late_again(late), blocked, ())], sender=desk.owner, now=NOW)
    assert await desk.dues() == {1: INF, 2: INF}


def late_again(made: Any) -> Any:
    return replace(made, id=AttemptId(new_id()))


async def test_a_late_answer_to_a_batch_settles_all_of_it_before_the_next_is_due(desk: Desk) -> None:
    await desk.journal(*in_flight(desk, 1, 2, 3), desk.row(4))
    assert await desk.dues() == {1: SOON, 2: INF, 3: INF, 4: INF}
    results: list[Any] = [(attempt(desk.events[n], desk.endpoint_id, number=2), None, ()) for n in range(3)]
    strange = (attempt(desk.events[4], desk.endpoint_id, number=2), None, ())
    assert await desk.world.store.settle_late([strange, *results], sender=desk.owner, now=NOW)
    assert await desk.dues() == {4: NOW}
    assert {made.event_id for made in await desk.world.attempts()} == {event.id for event in desk.events[:3]}


async def test_after_a_crash_one_of_a_line_waits_until_its_request_is_over(desk: Desk) -> None:
    """What may still be under way must not arrive after the next."""
    await desk.journal(*in_flight(desk, 1), desk.row(2), desk.row(3, 0, reason=OwedReason.IN_FLIGHT, sender=desk.owner))
    dead, desk.owner = desk.owner, new_owner()
    claims = await desk.world.store.claim(desk.owner, limit=100, lease_seconds=LEASE, exclusive=True)
    desk.epochs = {claim.partition: claim.epoch for claim in claims}
    await desk.world.store.recover_in_flight(desk.owner, desk.epochs, previous=dead, now=NOW)
    assert await desk.dues() == {1: SOON, 2: INF, 3: NOW}


# Pages


async def test_with_the_first_of_a_line_come_those_behind_it_in_order(desk: Desk) -> None:
    await desk.journal(*(desk.row(seq) for seq in (3, 1, 5, 2, 4)))
    found = await desk.page()
    assert seqs(found) == [1, 2, 3, 4, 5]
    assert found.next_due in (None, INF)
    assert [event for _, event in found.rows] == desk.events[:5]


async def test_a_line_whose_first_is_not_due_brings_nothing(desk: Desk) -> None:
    await desk.journal(desk.row(1, due_at=NOW + 5), desk.row(2))
    assert await desk.page() == Page((), NOW + 5)


async def test_lines_and_single_rows_share_a_page(desk: Desk) -> None:
    rows = [desk.row(1), desk.row(2), desk.row(3, OTHER), desk.row(4, OTHER), desk.row(5, 0), desk.row(6, due_at=INF)]
    await desk.journal(*rows, lines=(ONE, OTHER))
    found = seqs(await desk.page())
    assert [seq for seq in found if seq in (1, 2, 6)] == [1, 2, 6]
    assert [seq for seq in found if seq in (3, 4)] == [3, 4]
    assert sorted(found) == [1, 2, 3, 4, 5, 6]
    assert set(seqs(await desk.page(limit=3))) == {1, 3, 5}, "the first of each before those behind"


async def test_a_page_is_no_longer_than_was_asked_for(desk: Desk) -> None:
    await desk.journal(*(desk.row(seq) for seq in range(1, 7)))
    found = await desk.page(limit=4)
    assert seqs(found) == [1, 2, 3, 4]
    assert found.next_due is not None
    assert seqs(await desk.page(limit=1)) == [1]


async def test_what_is_behind_one_in_memory_waits_for_it(desk: Desk) -> None:
    """Its first is held: the page brings none of its line as due."""
    await desk.journal(*(desk.row(seq) for seq in (1, 2, 3)))
    found = await desk.page(held=(desk.events[0].id,))
    assert seqs(found) == []


async def test_runs_are_bounded_by_bytes_too(desk: Desk) -> None:
    await desk.journal(*(desk.row(seq, payload_bytes=100) for seq in (1, 2, 3)))
    assert seqs(await desk.page(bytes_max=150)) == [1, 2]


async def test_every_row_of_an_endpoint_that_is_gone_comes_once(desk: Desk) -> None:
    """Those that wait behind others and those that block, too."""
    blocked = desk.row(4, OTHER, due_at=INF, reason=OwedReason.BLOCKED)
    rows = [desk.row(1), desk.row(2), desk.row(3), blocked, desk.row(5, OTHER), desk.row(6, 0, due_at=ALL_DUE)]
    await desk.journal(*rows, lines=(ONE, OTHER))
    found = await desk.page(every=True)
    assert sorted(seqs(found)) == [1, 2, 3, 4, 5, 6]
    assert found.next_due is None
    few = await desk.page(every=True, limit=4)
    assert len(seqs(few)) == 4
    assert few.next_due is not None


async def test_owed_endpoints_tell_of_one_that_only_waits(desk: Desk) -> None:
    await desk.journal(desk.row(1, due_at=INF, reason=OwedReason.BLOCKED), desk.row(2))
    assert await desk.world.store.owed_endpoints([1]) == [(1, desk.endpoint_id, INF)]


# Which lines have rows


async def test_lines_that_have_rows_are_told(desk: Desk) -> None:
    assert await desk.world.store.owed_lines(1, desk.endpoint_id, limit=10) == []
    rows = [desk.row(1), desk.row(2), desk.row(3, OTHER), desk.row(4, 0), desk.row(5, 8)]
    await desk.journal(*rows, lines=(ONE, OTHER, 8))
    lines = await desk.world.store.owed_lines(1, desk.endpoint_id, limit=10)
    assert sorted(lines) == [OTHER, ONE, 8]
    assert len(await desk.world.store.owed_lines(1, desk.endpoint_id, limit=2)) == 2
    assert await desk.world.store.owed_lines(2, desk.endpoint_id, limit=10) == []
    assert await desk.world.store.owed_lines(1, new_endpoint(), limit=10) == []
    await desk.journal(settled=(1, 2), lines=(ONE,))
    assert sorted(await desk.world.store.owed_lines(1, desk.endpoint_id, limit=10)) == [OTHER, 8]


# When it was sent to


async def test_the_last_attempt_of_an_endpoint_is_known(desk: Desk) -> None:
    store = desk.world.store
    assert await store.last_sent(1, desk.endpoint_id) is None
    # The id of an answer need not be of the time of its request.
    attempts = tuple(
        attempt(desk.events[n], desk.endpoint_id, id=AttemptId(new_id(at=SOON + 8 + n)), started_at=SOON + n * 5)
        for n in (1, 0)
    )
    other = attempt(desk.events[2], new_endpoint(), started_at=SOON + 9)
    batch = JournalBatch(owner=desk.owner, epochs=desk.epochs, attempts=(*attempts, other))
    await store.journal(batch, now=NOW, lease_seconds=LEASE)
    assert await store.last_sent(1, desk.endpoint_id) == SOON + 5
    assert await store.last_sent(2, desk.endpoint_id) is None
    # One that hung for long ends after one that began later.
    hung = attempt(desk.events[2], desk.endpoint_id, id=AttemptId(new_id(at=SOON + 20)), started_at=SOON + 1)
    await store.journal(replace(batch, attempts=(hung,)), now=NOW, lease_seconds=LEASE)
    assert await store.last_sent(1, desk.endpoint_id) == SOON + 5


async def test_while_a_request_may_be_under_way_nobody_knows_when_it_was_sent(desk: Desk) -> None:
    await desk.journal(*in_flight(desk, 1))
    assert await desk.world.store.last_sent(1, desk.endpoint_id) == INF
    await desk.journal(settled=(1,))
    assert await desk.world.store.last_sent(1, desk.endpoint_id) is None


async def test_rows_of_requests_that_a_process_has_under_way_are_told(desk: Desk) -> None:
    other = desk.row(2, reason=OwedReason.IN_FLIGHT, sender=new_id(), due_at=SOON)
    await desk.journal(*in_flight(desk, 1), other, desk.row(3))
    rows = {(1, desk.endpoint_id, desk.events[n].id) for n in range(4)}
    (mine,) = await desk.world.store.in_flight(desk.owner, rows)
    assert mine == (1, desk.endpoint_id, desk.events[0].id)
    assert await desk.world.store.in_flight(desk.owner, rows - {mine}) == set()
    assert await desk.world.store.in_flight(desk.owner, ()) == set()
    assert await desk.world.store.in_flight(desk.owner, [(2, *mine[1:])]) == set(), "of another partition"


# Health


async def test_an_endpoint_s_health_is_kept_whole(desk: Desk) -> None:
    await desk.world.put_endpoint(desk.endpoint_id, app_of(desk.events[0]), config())

    async def after(health: Health) -> Health:
        turn = HealthTurn(1, desk.endpoint_id, health)
        batch = JournalBatch(owner=desk.owner, epochs=desk.epochs, health=(turn,))
        await desk.world.store.journal(batch, now=NOW, lease_seconds=LEASE)
        (app,) = await desk.world.store.apps([app_of(desk.events[0])])
        return app.endpoints[0].health

    opened = Health(NOW, CircuitState.OPEN, NOW + 1, NOW + 2.5, 3, NOW + 60)
    assert await after(opened) == opened
    half = Health(NOW, CircuitState.HALF_OPEN, NOW + 1, None, 3, None)
    assert await after(half) == half
    assert await after(HEALTHY) == HEALTHY
    held = Health(held_until=NOW + 7)
    assert await after(held) == held


async def test_a_request_that_several_share_is_on_record(desk: Desk) -> None:
    request_id = new_id()
    attempts = tuple(attempt(event, desk.endpoint_id, request_id=request_id) for event in desk.events[:3])
    batch = JournalBatch(owner=desk.owner, epochs=desk.epochs, attempts=attempts)
    await desk.world.store.journal(batch, now=NOW, lease_seconds=LEASE)
    assert {made.request_id for made in await desk.world.attempts()} == {request_id}
