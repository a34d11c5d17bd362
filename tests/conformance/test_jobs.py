"""Replays on PostgreSQL: their steps, who may take them, and what they leave alone."""

from __future__ import annotations

import time
from typing import Any
from unittest.mock import patch

import pytest
from msgspec.structs import replace
from tests.making import config, grant, new_app, new_endpoint, new_id, new_owner, owed
from tests.replaying import HOME, Replaying
from tests.worlds import AUDIT, PostgresWorld

from posthouse.adapters.postgres.upkeep import PostgresUpkeep
from posthouse.domain.delivery import AttemptOutcome, DeliveryClass, OwedReason
from posthouse.domain.endpoint import Ordering
from posthouse.domain.errors import Conflict
from posthouse.domain.event import Event
from posthouse.domain.ids import EventId, JobId
from posthouse.domain.order import line_of
from posthouse.domain.replay import (
    BEHIND_ANOTHER,
    ENDPOINT_DISABLED,
    ENDPOINT_GONE,
    TRANSITIONS,
    Bounds,
    Replay,
    ReplayState,
    Select,
    Turn,
    Wanted,
)

DELIVERED, FAILED, GAVE_UP = AttemptOutcome.DELIVERED, AttemptOutcome.FAILED, AttemptOutcome.GAVE_UP
INFINITY = float("inf")


@pytest.fixture
async def at(postgres_world: PostgresWorld) -> Replaying:
    made = Replaying(postgres_world)
    await made.open()
    return made


async def some(at: Replaying, count: int, **fields: Any) -> list[Event]:
    events = [await at.publish(**fields) for _ in range(count)]
    await at.dispatched(events[-1])
    return events


async def rounds(at: Replaying, count: int = 10) -> None:
    for _ in range(count):
        await at.runner.round()


def ids(events: list[Event]) -> list[EventId]:
    return [event.id for event in events]


async def put_in(at: Replaying) -> list[EventId]:
    return [row.event_id for row in await at.replayed()]


async def test_it_is_run_from_beginning_to_end(at: Replaying) -> None:
    events = await some(at, 5)
    replay = await at.ask(Select.ALL)
    assert (replay.state, replay.bounds, replay.total, replay.sent) == (ReplayState.PENDING, None, None, 0)
    before = time.time()
    await rounds(at)
    rows = await at.replayed()
    assert [row.event_id for row in rows] == ids(events)
    assert {(row.reason, row.kind, row.number, row.line) for row in rows} == {("replayed", "replay", 1, 0)}
    assert all(before - 1 <= row.due_at <= time.time() + 1 for row in rows)
    found = await at.now(replay)
    assert (found.state, found.scanned, found.selected, found.sent, found.total) == (ReplayState.RUNNING, 5, 5, 0, 5)
    known = {event.id: event for event in events}
    await at.deliver(rows[:3], known)
    await rounds(at)
    assert (await at.now(replay)).sent == 3
    assert at.ended == []
    await at.deliver(rows[3:], known)
    await rounds(at)
    found = await at.now(replay)
    assert (found.state, found.sent, found.finished_at is not None) == (ReplayState.FINISHED, 5, True)
    assert [ended.id for ended in at.ended] == [replay.id]


async def test_the_three_selections(at: Replaying) -> None:
    confirmed, lost, missed, failing, lost_again = await some(at, 5)
    await at.tried(confirmed, GAVE_UP, DELIVERED)
    await at.tried(lost, FAILED, GAVE_UP)
    await at.tried(failing, FAILED)
    await at.owe(failing)
    await at.tried(lost_again, DELIVERED, GAVE_UP)
    expected = {
        Select.FAILED: [lost, lost_again],
        Select.MISSING: [missed],
        Select.ALL: [confirmed, lost, missed, lost_again],
    }
    for select, events in expected.items():
        replay = await at.ask(select)
        await rounds(at)
        assert await put_in(at) == ids(events), select
        await at.jobs.turn(replay, Turn.CANCEL, AUDIT, now=time.time())
        assert await put_in(at) == []
    assert len(await at.world.attempts()) == 7, "what was taken back leaves no attempt"


async def test_what_the_endpoint_does_not_match_is_not_missing(at: Replaying) -> None:
    await at.world.put_endpoint(at.endpoint_id, at.app_id, config(events=("order.*",), channels=("eu",)), paused=True)
    right = await at.publish(type="order.created", channels=("eu", "us"))
    await at.publish(type="order.created", channels=("us",))
    await at.publish(type="order.created")
    tried = await at.publish(type="user.created", channels=("eu",))
    await at.tried(tried, GAVE_UP)
    await at.dispatched(tried)
    replay = await at.ask(Select.MISSING)
    await rounds(at)
    assert await put_in(at) == [right.id]
    await at.jobs.turn(replay, Turn.CANCEL, AUDIT, now=time.time())
    await at.ask(Select.ALL, types=("order.created", "user.*"))
    await rounds(at)
    assert await put_in(at) == [right.id, tried.id]


async def test_only_the_apps_own_events_and_those_that_its_grants_still_cover(at: Replaying) -> None:
    other = new_app()
    await at.world.put_app(other, partition=HOME)
    kept, gone = grant(at.app_id, "order.*", "shop:1"), grant(at.app_id, "order.*", "shop:2")
    for one in (kept, gone, grant(other, "*", "*")):
        await at.world.put_grant(one)
    covered = await at.publish(platform=True, subject="shop:1")
    revoked = await at.publish(platform=True, subject="shop:2")
    await at.publish(platform=True, subject="shop:3")
    await at.publish(app_id=other)
    own = await at.publish()
    await at.tried(revoked, GAVE_UP)
    await at.dispatched(own)
    await at.world.remove_grant(gone)
    replay = await at.ask(Select.ALL)
    await rounds(at)
    assert await put_in(at) == [covered.id, own.id]
    assert (await at.now(replay)).scanned == 3


async def test_the_span_is_that_of_the_ids(at: Replaying) -> None:
    now = time.time()
    events = [await at.publish(id=EventId(new_id(at=now + n))) for n in (-200, -100, -50, -100.5, -10)]
    await at.dispatched(events[-1])
    await at.ask(Select.ALL, since=now - 101, until=now - 50)
    await rounds(at)
    assert await put_in(at) == [events[1].id, events[3].id]


async def test_what_was_not_dispatched_is_waited_for(at: Replaying) -> None:
    first, second, third = [await at.publish() for _ in range(3)]
    await at.dispatched(first)
    replay = await at.ask(Select.ALL)
    await rounds(at)
    assert await put_in(at) == [first.id]
    late = await at.publish()
    await at.tried(second, DELIVERED)
    await at.owe(third)
    await at.dispatched(late)
    await rounds(at)
    assert await put_in(at) == [first.id, second.id], "third is owed, and the late one came after it began"
    assert (await at.now(replay)).exhausted


async def test_a_row_that_is_owed_stays_as_it_is(at: Replaying) -> None:
    (event,) = await some(at, 1)
    replay = await at.ask(Select.ALL)
    await at.runner.round()
    (work,) = await at.jobs.live([HOME], after=bytes(16), limit=10)
    scan = await at.jobs.scan(work.replay.wanted, after=0, until=event.seq, limit=10)
    row = owed(event, at.endpoint_id)
    await at.journal(owed=(row,))
    chosen = [candidate for candidate in scan.candidates if not candidate.owed]
    assert len(chosen) == 1, "it was looked at before"
    found = await at.jobs.advance(at.hold, work, chosen, scanned=1, position=scan.reached, now=0.0)
    assert found is not None
    assert found.selected == 0
    assert await at.world.database.fetchval("SELECT reason FROM delivery") == OwedReason.FAILED.value
    assert replay.id == work.replay.id


async def test_a_step_is_taken_once_and_by_the_owner_only(at: Replaying) -> None:
    events = await some(at, 2)
    await at.ask(Select.ALL)
    await at.runner.round()
    (work,) = await at.jobs.live([HOME], after=bytes(16), limit=10)
    scan = await at.jobs.scan(work.replay.wanted, after=work.replay.position, until=events[-1].seq, limit=1)
    assert scan.reached == events[0].seq
    stale, owner = at.hold, new_owner()
    await at.own(owner)
    step: dict[str, Any] = {"scanned": 1, "position": scan.reached, "now": 0.0}
    assert await at.jobs.advance(stale, work, scan.candidates, **step) is None
    assert (
        await at.jobs.begin(stale, work.replay, work.replay.bounds or await at.jobs.bounds(work.replay.wanted)) is None
    )
    assert await at.jobs.settle(stale, work.replay, Turn.FAIL) is None
    assert await put_in(at) == []
    at.owner = owner
    assert await at.jobs.advance(at.hold, work, scan.candidates, **step) is not None
    assert await at.jobs.advance(at.hold, work, scan.candidates, **step) is None, "a commit in doubt is not repeated"
    assert await put_in(at) == ids(events[:1])
    at.runner = at.another(owner)
    await rounds(at)
    assert await put_in(at) == ids(events), "the successor goes on where it was"


async def test_the_endpoints_line_stays_short(at: Replaying) -> None:
    events = await some(at, 25)
    known = {event.id: event for event in events}
    replay = await at.ask(Select.ALL)
    sent: list[EventId] = []
    with patch.multiple("posthouse.dispatch.replays", REPLAY_OUTSTANDING_ROWS_MAX=8, REPLAY_STEP_EVENTS_MAX=5):
        while (await at.now(replay)).state is not ReplayState.FINISHED:
            await rounds(at, 5)
            rows = await at.replayed()
            assert len(rows) <= 8
            half = rows[: max(1, len(rows) * 2 // 3)]
            sent += [row.event_id for row in half]
            if rows:
                await at.deliver(half, known)
    assert sent == ids(events)
    found = await at.now(replay)
    assert (found.scanned, found.selected, found.sent, found.total) == (25, 25, 25, 25)


async def test_a_long_stretch_of_others_events_is_passed(at: Replaying) -> None:
    other = new_app()
    await at.world.put_app(other, partition=HOME)
    first = await at.publish()
    for _ in range(20):
        await at.publish(app_id=other)
    last = await at.publish()
    await at.dispatched(last)
    await at.ask(Select.ALL)
    with patch.multiple("posthouse.adapters.postgres.jobs", REPLAY_STEP_POSITIONS_MAX=4):
        await rounds(at)
    assert await put_in(at) == [first.id, last.id]


@pytest.mark.parametrize("ordering", [Ordering.ENDPOINT, Ordering.KEY])
async def test_on_an_ordered_endpoint_the_first_of_each_line_is_due(at: Replaying, ordering: Ordering) -> None:
    await at.world.put_endpoint(at.endpoint_id, at.app_id, config(ordering=ordering))
    events = [await at.publish(key=key) for key in ("a", "b", "a", None, "b")]
    await at.dispatched(events[-1])
    replay = await at.ask(Select.ALL)
    await rounds(at)
    rows = await at.replayed()
    assert [row.event_id for row in rows] == ids(events)
    assert [row.line for row in rows] == [line_of(ordering, event.key, DeliveryClass.REPLAY) for event in events]
    due = [row.due_at < INFINITY for row in rows]
    assert due == (
        [True, False, False, False, False] if ordering is Ordering.ENDPOINT else [True, True, False, True, False]
    )
    await at.journal(
        settled=((HOME, at.endpoint_id, rows[0].event_id),),
        lines=((HOME, at.endpoint_id, rows[0].line),),
    )
    rows = await at.replayed()
    by_line: dict[int, list[float]] = {}
    for row in rows:
        by_line.setdefault(row.line, []).append(row.due_at)
    for line, dues in by_line.items():
        assert line == 0 or (dues[0] < INFINITY and all(due == INFINITY for due in dues[1:]))
    await at.jobs.turn(replay, Turn.CANCEL, AUDIT, now=time.time())
    assert await at.replayed() == []


# Turns


async def test_paused_it_stands_and_resumed_it_goes_on(at: Replaying) -> None:
    events = await some(at, 6)
    known = {event.id: event for event in events}
    replay = await at.ask(Select.ALL)
    with patch.multiple("posthouse.dispatch.replays", REPLAY_OUTSTANDING_ROWS_MAX=4):
        await rounds(at)
        await at.jobs.turn(replay, Turn.PAUSE, AUDIT, now=time.time())
        await at.deliver(await at.replayed(), known)
        await rounds(at)
        assert await at.replayed() == []
        paused = await at.now(replay)
        assert (paused.state, paused.selected, paused.sent) == (ReplayState.PAUSED, 4, 4)
        await at.jobs.turn(replay, Turn.RESUME, AUDIT, now=time.time())
        await rounds(at)
    assert await put_in(at) == ids(events[4:])
    assert (await at.now(replay)).state is ReplayState.RUNNING


async def test_cancelled_it_takes_back_what_was_not_tried(at: Replaying) -> None:
    events = await some(at, 4)
    known = {event.id: event for event in events}
    replay = await at.ask(Select.ALL)
    await rounds(at)
    await at.deliver((await at.replayed())[:1], known)
    resent = await at.publish()
    await at.owe(resent)
    found = await at.jobs.turn(replay, Turn.CANCEL, AUDIT, now=time.time())
    assert found is not None
    assert (found.state, found.selected, found.sent) == (ReplayState.CANCELLED, 4, 1)
    assert await at.world.database.fetchval("SELECT count(*) FROM delivery") == 1, "what others put in stays"
    await rounds(at)
    assert await at.replayed() == []
    with pytest.raises(Conflict, match="this replay is cancelled"):
        await at.jobs.turn(replay, Turn.RESUME, AUDIT, now=time.time())
    again = await at.jobs.turn(replay, Turn.CANCEL, AUDIT, now=time.time())
    assert again == found
    assert at.ended == []


async def test_replays_of_an_endpoint_go_one_after_the_other(at: Replaying) -> None:
    events = await some(at, 2)
    known = {event.id: event for event in events}
    other = new_endpoint()
    await at.world.put_endpoint(other, at.app_id, config())
    first, second = await at.ask(Select.ALL), await at.ask(Select.ALL)
    third = await at.ask(Select.ALL, endpoint_id=other)
    await rounds(at)
    assert [(await at.now(one)).reason for one in (first, second, third)] == [None, BEHIND_ANOTHER, None]
    assert (await at.now(second)).state is ReplayState.PENDING
    assert (await at.now(third)).selected == 2
    mine = [row for row in await at.replayed() if row.endpoint_id == at.endpoint_id]
    await at.deliver(mine, known)
    await rounds(at)
    assert (await at.now(first)).state is ReplayState.FINISHED
    assert ((await at.now(second)).state, (await at.now(second)).reason) == (ReplayState.RUNNING, None)
    assert (await at.now(second)).selected == 2


async def test_many_go_on_in_turn(at: Replaying) -> None:
    await some(at, 3)
    replays = []
    for _ in range(7):
        endpoint_id = new_endpoint()
        await at.world.put_endpoint(endpoint_id, at.app_id, config())
        replays.append(await at.ask(Select.ALL, endpoint_id=endpoint_id))
    with patch.multiple("posthouse.dispatch.replays", REPLAYS_READ_MAX=2):
        await rounds(at, 20)
    assert {(await at.now(one)).selected for one in replays} == {3}


async def test_a_disabled_endpoint_pauses_it_and_a_deleted_one_fails_it(at: Replaying) -> None:
    await some(at, 1)
    replay = await at.ask(Select.ALL)
    await at.world.put_endpoint(at.endpoint_id, at.app_id, at.config, enabled=False)
    await rounds(at)
    found = await at.now(replay)
    assert (found.state, found.reason) == (ReplayState.PAUSED, ENDPOINT_DISABLED)
    await at.jobs.turn(replay, Turn.RESUME, AUDIT, now=time.time())
    await at.world.delete_endpoint(at.endpoint_id)
    await rounds(at)
    found = await at.now(replay)
    assert (found.state, found.reason) == (ReplayState.FAILED, ENDPOINT_GONE)
    assert [ended.state for ended in at.ended] == [ReplayState.FAILED]


async def test_an_app_has_so_many_and_no_more(at: Replaying) -> None:
    first = await at.ask(Select.ALL, live_max=2)
    await at.ask(Select.ALL, live_max=2)
    with pytest.raises(Conflict, match="2 replays that have not ended"):
        await at.ask(Select.ALL, live_max=2)
    await at.jobs.turn(first, Turn.CANCEL, AUDIT, now=time.time())
    await at.ask(Select.ALL, live_max=2)


async def test_they_are_listed_and_dropped_when_they_are_old(at: Replaying) -> None:
    replays = [await at.ask(Select.ALL, types=("a.*",)) for _ in range(3)]
    listed = await at.jobs.page(at.app_id, before=b"\xff" * 16, limit=2)
    assert [one.id for one in listed] == [replays[2].id, replays[1].id]
    assert listed[0].wanted == replays[2].wanted
    assert [one.id for one in await at.jobs.page(at.app_id, before=listed[-1].id, limit=2)] == [replays[0].id]
    assert await at.jobs.page(new_app(), before=b"\xff" * 16, limit=2) == []
    assert await at.jobs.get(new_app(), replays[0].id) is None
    assert await at.jobs.get(at.app_id, JobId(new_id())) is None
    await at.jobs.turn(replays[0], Turn.CANCEL, AUDIT, now=time.time())
    upkeep = PostgresUpkeep(at.world.database)
    assert await upkeep.drop_jobs(before=time.time() - 10) == 0
    assert await upkeep.drop_jobs(before=time.time() + 10) == 1
    assert await at.jobs.get(at.app_id, replays[0].id) is None
    gone = await at.jobs.turn(replays[0], Turn.CANCEL, AUDIT, now=time.time())
    assert gone is None


# Positions


async def test_positions_are_found_by_time(at: Replaying) -> None:
    database = at.world.database
    events = await some(at, 40)
    start = events[0].created_at - 39_000
    await database.execute(
        "UPDATE event SET created_at = to_timestamp($1::float8 + 1000 * (seq - 1)) WHERE partition = $2", start, HOME
    )

    async def position(seconds: float) -> int:
        found = await database.fetchval("SELECT position_at($1, to_timestamp($2))", HOME, start + seconds)
        return int(found)

    first = events[0].seq
    for n in range(40):
        assert await position(1000 * n) == first + n - 1
        assert await position(1000 * n + 0.5) == first + n
    assert await position(-(10**6)) == first - 1
    assert await position(10**6) == events[-1].seq
    await database.execute("DELETE FROM event WHERE partition = $1 AND seq <= $2", HOME, first + 9)
    assert await position(0) == first + 9, "right before the oldest that is kept"
    assert await position(20_000) == first + 19
    await database.execute("DELETE FROM event")
    assert await position(0) == await position(10**6) == events[-1].seq
    assert await database.fetchval("SELECT position_at($1, now())", HOME + 1) == 0


def test_every_pair_of_state_and_turn_is_decided() -> None:
    assert TRANSITIONS.keys() == {(state, turn) for state in ReplayState for turn in Turn}
    for (state, _), after in TRANSITIONS.items():
        assert state.live or after in (None, state), "what has ended stays"


def test_what_is_left_is_estimated_from_what_was_looked_at() -> None:
    wanted = Wanted(
        partition=HOME, app_id=new_app(), endpoint_id=new_endpoint(), select=Select.ALL, since=0.0, until=1.0
    )
    replay = Replay(id=JobId(new_id()), wanted=wanted, state=ReplayState.RUNNING)
    assert replay.total is None
    begun = replace(replay, bounds=Bounds(100, 300), position=100)
    assert begun.total is None
    on_its_way = replace(begun, position=150, selected=10, untried=4)
    assert (on_its_way.total, on_its_way.sent, on_its_way.exhausted) == (40, 6, False)
    done = replace(begun, position=300, selected=35)
    assert (done.total, done.exhausted) == (35, True)
    assert replace(begun, bounds=Bounds(300, 300), position=300).total == 0
