"""The buffer by itself: bounds, order, batches, and where refusals and retries leave each event."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posthouse_sdk import Event, Receipt, UnavailableError
from posthouse_sdk.publishing.buffer import EVENT_BYTES, Batch, Buffer, Settled
from posthouse_sdk.publishing.errors import refusal
from posthouse_sdk.publishing.exchange import Accepted, Again, Refused, Verdict

AT = datetime(2026, 1, 1, tzinfo=UTC)


def buffer(**more: Any) -> Buffer[int]:
    options: dict[str, Any] = {
        "events_max": 100, "bytes_max": 1_000_000, "batch_events": 10, "batch_bytes": 10_000, "keep_seconds": 60.0,
    }  # fmt: skip
    return Buffer(**options | more)


def put(into: Buffer[int], *numbers: int, **about: Any) -> None:
    for number in numbers:
        into.add(Event("a.b", {"n": number}, **about), number, now=0.0)


def taken(of: Buffer[int], now: float = 0.0) -> Batch[int]:
    found = of.take(now=now)
    assert isinstance(found, Batch)
    return found


def numbers(batch: Batch[int]) -> list[int]:
    return [entry.handle for entry in batch.entries]


def good(batch: Batch[int]) -> Accepted:
    return Accepted([Receipt(str(number), "a.b", AT) for number in numbers(batch)])


def settle(of: Buffer[int], batch: Batch[int], verdict: Verdict, now: float = 0.0) -> list[int]:
    return [settled.entry.handle for settled in of.settle(batch, verdict, now=now, draw=0.0)]


def test_batches_are_bounded_and_in_order() -> None:
    waiting = buffer(batch_events=3)
    put(waiting, 1, 2, 3, 4)
    first = taken(waiting)
    assert (numbers(first), first.call.path) == ([1, 2, 3], "/v1/events/batch")
    assert settle(waiting, first, good(first)) == [1, 2, 3]
    second = taken(waiting)
    assert (numbers(second), second.call.path) == ([4], "/v1/events")
    assert settle(waiting, second, good(second)) == [4]
    assert (waiting.take(now=0.0), waiting.events, waiting.bytes) == (None, 0, 0)


def test_batches_are_bounded_in_bytes() -> None:
    size = len(Event("a.b", {"n": 1}).body)
    waiting = buffer(batch_bytes=2 * size + 1)
    put(waiting, 1, 2, 3)
    assert numbers(taken(waiting)) == [1, 2]


def test_a_large_event_goes_alone() -> None:
    waiting = buffer(batch_bytes=100)
    waiting.add(Event("a.b", "x" * 1_000), 1, now=0.0)
    put(waiting, 2)
    assert numbers(taken(waiting)) == [1]


def test_each_app_is_a_line_and_they_take_turns() -> None:
    waiting = buffer(batch_events=2)
    put(waiting, 1, 2, 3)
    put(waiting, 4, app="acme")
    put(waiting, 5, app="beta")
    order = []
    while isinstance(found := waiting.take(now=0.0), Batch):
        order.append((found.app, numbers(found)))
        settle(waiting, found, good(found))
    assert order == [(None, [1, 2]), ("acme", [4]), ("beta", [5]), (None, [3])]


def test_what_is_not_json_goes_alone() -> None:
    waiting = buffer()
    put(waiting, 1)
    waiting.add(Event("a.b", b"x", content_type="text/plain"), 2, now=0.0)
    put(waiting, 3)
    for expected in ([1], [2], [3]):
        batch = taken(waiting)
        assert numbers(batch) == expected
        settle(waiting, batch, good(batch))


def test_the_same_key_twice_is_not_in_one_batch() -> None:
    waiting = buffer()
    put(waiting, 1, 2, idempotency_key="k")
    assert numbers(taken(waiting)) == [1]


def test_room() -> None:
    event = Event("a.b", {"n": 1}, idempotency_key="k")
    size = len(event.body) + EVENT_BYTES
    waiting = buffer(events_max=2, bytes_max=10 * size)
    for _ in range(2):
        assert waiting.has_room(event)
        waiting.add(event, 1, now=0.0)
    assert not waiting.has_room(event)
    batch = taken(waiting)
    assert not waiting.has_room(event), "what is under way is in memory, too"
    settle(waiting, batch, good(batch))
    assert waiting.has_room(event)
    small = buffer(bytes_max=size)
    assert small.has_room(Event("a.b", "x" * 10_000)), "where it is alone"
    small.add(event, 1, now=0.0)
    assert not small.has_room(event)


def test_what_is_tried_again_keeps_its_place_and_its_keys() -> None:
    waiting = buffer(batch_events=2)
    put(waiting, 1, 2, 3)
    first = taken(waiting)
    assert settle(waiting, first, Again("no", after=5.0)) == []
    put(waiting, 4)
    left = waiting.take(now=1.0)
    assert isinstance(left, float)
    assert left == pytest.approx(4.1)
    again = taken(waiting, now=5.2)
    assert (numbers(again), again.call.body) == ([1, 2], first.call.body)


def test_a_line_that_is_held_back_holds_up_no_other() -> None:
    waiting = buffer()
    put(waiting, 1, app="greedy")
    put(waiting, 2, app="modest")
    first = taken(waiting)
    settle(waiting, first, Again("quota", after=100.0, everywhere=False))
    second = taken(waiting)
    assert numbers(second) == [2]
    settle(waiting, second, Again("down", after=1.0))
    assert isinstance(waiting.take(now=0.5), float), "the server is down for all"
    assert numbers(taken(waiting, now=2.0)) == [2]


def test_pauses_grow_and_begin_anew_after_a_success() -> None:
    waiting = buffer(keep_seconds=1e9)
    put(waiting, 1)
    pauses = []
    now = 0.0
    for _ in range(12):
        settle(waiting, taken(waiting, now), Again("no"), now)
        pause = waiting.take(now=now)
        assert isinstance(pause, float)
        pauses.append(pause)
        now += pause + 0.001
    assert pauses == sorted(pauses)
    assert pauses[0] == pytest.approx(0.1)
    assert pauses[-1] == pytest.approx(7.5, abs=0.01)
    batch = taken(waiting, now)
    settle(waiting, batch, good(batch), now)
    put(waiting, 2)
    settle(waiting, taken(waiting, now), Again("no"), now)
    assert waiting.take(now=now) == pytest.approx(0.1)


def test_a_connection_from_before_is_tried_again_at_once() -> None:
    waiting = buffer()
    put(waiting, 1)
    settle(waiting, taken(waiting), Again("lost", reused=True))
    settle(waiting, taken(waiting), Again("lost", reused=True))
    assert isinstance(waiting.take(now=0.0), float), "once"


def test_what_waits_for_too_long_is_given_up() -> None:
    waiting = buffer(keep_seconds=10.0, batch_events=1)
    put(waiting, 1)
    waiting.add(Event("a.b", 1), 2, now=8.0)
    settled = waiting.settle(taken(waiting, 9.9), Again("down", in_doubt=True), now=9.9, draw=0.0)
    (only,) = settled
    assert only.entry.handle == 1
    assert isinstance(only.outcome, UnavailableError)
    assert only.outcome.in_doubt
    assert "down" in str(only.outcome)
    assert waiting.events == 1


def test_the_one_at_fault_is_taken_out() -> None:
    waiting = buffer()
    put(waiting, 1, 2, 3)
    batch = taken(waiting)
    assert settle(waiting, batch, Refused(refusal(422, "schema_mismatch", "no"), at=1)) == [2]
    assert numbers(taken(waiting)) == [1, 3]


@given(bad=st.sets(st.integers(0, 24)), batch_events=st.integers(1, 12))
@settings(max_examples=60)
def test_those_at_fault_are_found_though_nobody_names_them(bad: set[int], batch_events: int) -> None:
    waiting = buffer(batch_events=batch_events)
    put(waiting, *range(25))
    failed, published, requests = set(), [], 0
    while isinstance(batch := waiting.take(now=0.0), Batch):
        requests += 1
        verdict: Verdict = good(batch)
        if bad & set(numbers(batch)):
            verdict = Refused(refusal(422, "invalid", "no"))
        for number in settle(waiting, batch, verdict):
            (failed.add if isinstance(verdict, Refused) else published.append)(number)
    assert failed == bad
    assert published == [number for number in range(25) if number not in bad], "in order"
    assert requests <= 25 * 5


def test_a_type_that_is_not_there_takes_its_own_events_only() -> None:
    waiting = buffer()
    for number in range(6):
        waiting.add(Event("known" if number % 2 else "unknown", 1), number, now=0.0)
    failed = []
    while isinstance(batch := waiting.take(now=0.0), Batch):
        types = {entry.event.type for entry in batch.entries}
        verdict: Verdict = Refused(refusal(404, "event_type_not_found", "no")) if "unknown" in types else good(batch)
        settled = settle(waiting, batch, verdict)
        failed += settled if isinstance(verdict, Refused) else []
    assert failed == [0, 2, 4]


def test_one_type_that_is_not_there_is_asked_for_once() -> None:
    waiting = buffer()
    put(waiting, *range(10))
    assert settle(waiting, taken(waiting), Refused(refusal(404, "event_type_not_found", "no"))) == list(range(10))


@pytest.mark.parametrize(
    ("status", "code"), [(401, "unauthorised"), (403, "forbidden"), (404, "app_not_found"), (302, "redirect")]
)
def test_what_is_wrong_with_all_fails_all(status: int, code: str) -> None:
    waiting = buffer()
    put(waiting, 1, 2)
    assert settle(waiting, taken(waiting), Refused(refusal(status, code, "no"))) == [1, 2]


def test_a_batch_that_nobody_follows_up_is_put_back() -> None:
    waiting = buffer()
    put(waiting, 1, 2)
    batch = taken(waiting)
    put(waiting, 3)
    assert waiting.handles(batch) == [1, 2, 3]
    waiting.put_back(batch)
    given_up = waiting.give_up("the process ended")
    assert [settled.entry.handle for settled in given_up] == [1, 2, 3]
    assert all(isinstance(settled.outcome, UnavailableError) and settled.outcome.in_doubt for settled in given_up)
    assert (waiting.events, waiting.bytes) == (0, 0)


def test_nothing_is_lost_or_doubled_whatever_happens() -> None:
    """A random history: each event is settled once, those of one line in order, and the counts come to nothing."""
    for seed in range(200):
        chance = random.Random(seed)
        waiting = buffer(batch_events=chance.randint(1, 5), keep_seconds=1e9)
        settled: list[Settled[int]] = []
        count, now = 0, 0.0
        while count < 60 or waiting.events:
            now += chance.random()
            if count < 60 and chance.random() < 0.6:
                app = chance.choice([None, "a", "b"])
                waiting.add(Event("a.b", {"n": count}, app=app), count, now=now)
                count += 1
            if not isinstance(batch := waiting.take(now=now), Batch):
                now += batch or 0.0
                continue
            draw = chance.random()
            verdict: Verdict = good(batch)
            if draw < 0.3:
                verdict = Again("no", everywhere=draw < 0.15, reused=draw < 0.05)
            elif draw < 0.4 and batch.call.many:
                verdict = Refused(refusal(422, "invalid", "no"), chance.choice([None, 0]))
            elif draw < 0.45:
                waiting.put_back(batch)
                continue
            assert len(batch.entries) == len(json.loads(batch.call.body) if batch.call.many else [1])
            settled += waiting.settle(batch, verdict, now=now, draw=chance.random())
        assert sorted(one.entry.handle for one in settled) == list(range(60))
        for app in (None, "a", "b"):
            line = [
                one.entry.handle for one in settled if one.entry.event.app == app and isinstance(one.outcome, Receipt)
            ]
            assert line == sorted(line)
        assert waiting.bytes == 0
