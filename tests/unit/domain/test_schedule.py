"""What a schedule does next: on time, late, after downtime, after a crash, after a refusal."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from tests.making import new_id

from posthouse.domain.errors import Invalid
from posthouse.domain.ids import EventId, ScheduleId
from posthouse.domain.limits import SCHEDULE_BACKOFF_SECONDS, SCHEDULE_CAUGHT_UP_MAX
from posthouse.domain.occurrences import Timing
from posthouse.domain.schedule import (
    CatchUp,
    Schedule,
    ScheduleConfig,
    begun,
    changed,
    check_placeholders,
    payload_of,
    plan,
    settled,
    wakes_at,
)
from posthouse.domain.verdict import Postponed, Published, Refused

T0 = 1_800_000_000  # a whole minute


def schedule(catch_up: CatchUp = CatchUp.LAST, *, data: str = "{}", **timing: Any) -> Schedule:
    config = ScheduleConfig(timing=Timing(**timing or {"every": 60}), type="a", data=data, catch_up=catch_up)
    return begun(Schedule(id=ScheduleId(new_id()), config=config), now=T0)


def event(at: float) -> EventId:
    return EventId(new_id(at=at))


def drained(made: Schedule, now: float, most: int = 10_000) -> tuple[Schedule, list[int]]:
    """Everything that is done at a time, each firing succeeding."""
    fired: list[int] = []
    for _ in range(most):
        turn = plan(made, now=now, published=False, event_id=event(now))
        made = msgspec.structs.replace(made, progress=turn.progress)
        if turn.fire is None:
            return made, fired
        fired.append(turn.fire - T0)
        assert turn.progress.pending_event is not None
        made, _ = settled(made, turn.fire, Published(turn.progress.pending_event), now=now, again_seconds=1)
    raise AssertionError("it does not end")


def test_it_begins_with_the_next_occurrence() -> None:
    made = schedule()
    assert made.progress.due_at == wakes_at(made.progress) == T0 + 60
    assert plan(made, now=T0 + 59.9, published=False, event_id=event(T0)).fire is None
    made, fired = drained(made, T0 + 60.0)
    assert (fired, made.progress.due_at, made.progress.fired) == ([60], T0 + 120, 1)
    assert made.progress.last is not None
    assert made.progress.last.scheduled_at == T0 + 60


@pytest.mark.parametrize(
    ("catch_up", "fired", "skipped"),
    [
        # At 630, 570 and 600 are not older than a minute: those are on time, whatever else was missed.
        (CatchUp.NONE, [570, 600, 630], (30, 570)),
        (CatchUp.LAST, [570, 600, 630], (30, 570)),
        (CatchUp.ALL, list(range(30, 631, 30)), None),
    ],
)
def test_after_downtime(catch_up: CatchUp, fired: list[int], skipped: tuple[int, int] | None) -> None:
    made, found = drained(schedule(catch_up, every=30), T0 + 630)
    assert found == fired
    known = made.progress
    if skipped is None:
        assert known.skipped_from is None
    else:
        assert (known.skipped_from, known.skipped_until) == (T0 + skipped[0], T0 + skipped[1])


@pytest.mark.parametrize(
    ("catch_up", "fired"),
    [(CatchUp.NONE, []), (CatchUp.LAST, [9 * 3600]), (CatchUp.ALL, [h * 3600 for h in range(1, 10)])],
)
def test_after_downtime_with_nothing_just_due(catch_up: CatchUp, fired: list[int]) -> None:
    made, found = drained(schedule(catch_up, every=3600), T0 + 9.5 * 3600)
    assert (found, made.progress.due_at) == (fired, T0 + 10 * 3600)


def test_all_is_bounded() -> None:
    hours = SCHEDULE_CAUGHT_UP_MAX + 500
    made, found = drained(schedule(CatchUp.ALL, every=3600), T0 + hours * 3600 + 100)
    assert found == [h * 3600 for h in range(1, SCHEDULE_CAUGHT_UP_MAX + 1)] + [hours * 3600]
    assert made.progress.skipped_from == T0 + (SCHEDULE_CAUGHT_UP_MAX + 1) * 3600
    again, found = drained(made, T0 + (hours + 3) * 3600 + 100)
    assert len(found) == 3  # it was caught up: the next downtime counts anew
    assert again.progress.caught_up < 10


def test_its_end() -> None:
    made, found = drained(schedule(every=60, ends_at=T0 + 130), T0 + 600)
    assert found == [120]
    assert made.progress.due_at is None
    assert wakes_at(made.progress) is None
    made, found = drained(schedule(CatchUp.NONE, every=60, ends_at=T0 + 130), T0 + 600)
    assert (found, made.progress.skipped_until) == ([], T0 + 600)


def test_what_was_taken_and_published_is_not_fired_again() -> None:
    made = schedule()
    first = plan(made, now=T0 + 60, published=False, event_id=event(T0 + 60))
    taken = msgspec.structs.replace(made, progress=first.progress)
    # Its process died. A day later, far beyond the life of an idempotency key:
    found = plan(taken, now=T0 + 86_400 * 2 + 30, published=True, event_id=event(T0 + 86_400 * 2))
    assert found.fire == T0 + 86_400 * 2
    assert found.progress.fired == 1
    assert found.progress.last is not None
    assert found.progress.last.event_id == first.progress.pending_event


def test_what_was_taken_and_not_published_is_fired_under_the_same_id_while_that_is_fresh() -> None:
    made = schedule(CatchUp.ALL)
    first = plan(made, now=T0 + 60, published=False, event_id=event(T0 + 60))
    taken = msgspec.structs.replace(made, progress=first.progress)
    soon = plan(taken, now=T0 + 75, published=False, event_id=event(T0 + 75))
    assert (soon.fire, soon.progress.pending_event) == (T0 + 60, first.progress.pending_event)
    later = plan(taken, now=T0 + 900, published=False, event_id=event(T0 + 900))
    assert later.fire == T0 + 60
    assert later.progress.pending_event != first.progress.pending_event  # the log would not take it any more


def test_refusals_back_off_and_are_told() -> None:
    made = schedule(every=86_400)
    now = T0 + 86_400.0
    for times, wait in enumerate((*SCHEDULE_BACKOFF_SECONDS, SCHEDULE_BACKOFF_SECONDS[-1]), 1):
        turn = plan(made, now=now, published=False, event_id=event(now))
        assert turn.fire == T0 + 86_400
        made = msgspec.structs.replace(made, progress=turn.progress)
        made, wake_at = settled(made, turn.fire, Refused("schema_mismatch", "no"), now=now, again_seconds=1)
        assert wake_at == wakes_at(made.progress) == now + wait
        assert (made.progress.failures, made.progress.failure_code) == (times, "schema_mismatch")
        now += wait
    mended = changed(made, msgspec.structs.replace(made, name="mended"), now=now)
    assert wakes_at(mended.progress) == T0 + 86_400  # at once
    mended, found = drained(mended, now)
    assert found == [86_400]
    assert mended.progress.failure is None


def test_our_own_fault_is_nobodys_failure() -> None:
    made = schedule()
    turn = plan(made, now=T0 + 60, published=False, event_id=event(T0 + 60))
    made = msgspec.structs.replace(made, progress=turn.progress)
    after, wake_at = settled(made, T0 + 60, Postponed("down"), now=T0 + 60, again_seconds=1)
    assert (after, wake_at) == (made, T0 + 61)
    assert after.progress.pending_event is not None


def test_other_times_count_from_now_on() -> None:
    made = schedule(CatchUp.ALL, every=60)
    timing = msgspec.structs.replace(made.config.timing, every=None, cron="@daily")
    other = msgspec.structs.replace(made, config=msgspec.structs.replace(made.config, timing=timing))
    found = changed(made, other, now=T0 + 500)
    assert found.progress.due_at == T0 - T0 % 86_400 + 86_400
    paused = changed(made, msgspec.structs.replace(made, enabled=False), now=T0 + 500)
    assert paused.progress.due_at is None
    resumed = changed(paused, msgspec.structs.replace(paused, enabled=True), now=T0 + 1000)
    assert resumed.progress.due_at == T0 + 1020


def test_a_change_while_it_is_being_fired() -> None:
    made = schedule()
    turn = plan(made, now=T0 + 60, published=False, event_id=event(T0 + 60))
    taken = msgspec.structs.replace(made, progress=turn.progress)
    timing = msgspec.structs.replace(made.config.timing, every=7)
    other = msgspec.structs.replace(taken, config=msgspec.structs.replace(made.config, timing=timing))
    found = changed(taken, other, now=T0 + 60.5)
    assert turn.progress.pending_event is not None
    after, _ = settled(found, T0 + 60, Published(turn.progress.pending_event), now=T0 + 61, again_seconds=1)
    assert (after.progress.due_at, after.progress.fired) == (T0 + 63, 1)


def test_placeholders() -> None:
    data = json.dumps({"day": "{{local_date}}", "at": ["{{ scheduled_time }}|{{local_time}}"], "n": 1.5, "x": "{not}"})
    made = schedule(cron="0 1 * * *", timezone="Asia/Shanghai", data=data)
    assert made.progress.due_at is not None
    assert json.loads(payload_of(made, made.progress.due_at)) == {
        "day": "2027-01-16",
        "at": ["2027-01-15T17:00:00Z|2027-01-16T01:00:00+08:00"],
        "n": 1.5,
        "x": "{not}",
    }
    assert payload_of(schedule(data='{"n":  1.50}'), T0) == b'{"n":  1.50}'
    with pytest.raises(Invalid) as refused:
        check_placeholders({"a": [{"b": "{{when}}"}]})
    assert refused.value.path == "data.a[0].b"
