"""Attempts at several URLs, and of several deliveries in one request: what each of them leaves on record."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from tests.fakes import EPOCH, Sent, a_delivery, an_endpoint, an_event, answer, failure, virtual_time
from tests.unit.send.test_sender import Desk, replying

from posthouse.domain.circuit import CircuitPolicy
from posthouse.domain.delivery import Attempt, AttemptOutcome, Delivery, DeliveryClass, Fate, Owed, OwedReason
from posthouse.domain.endpoint import Batch, Endpoint, OnExhausted, Ordering
from posthouse.domain.exchange import Fault, Result
from posthouse.domain.ids import EVENT, REQUEST, format_id, parse_id
from posthouse.domain.retry import Retry
from posthouse.ports.store import LateResult
from posthouse.send.peer import Peer

SECOND, THIRD = "https://example.com/second", "https://example.com/third"
RETRY = Retry((60.0,), 0.0)
SETTLED, OWED, AGAIN = Fate.SETTLED, Fate.OWED, Fate.AGAIN
LINE = 2


def batching(**fields: Any) -> Endpoint:
    return an_endpoint(**{"batch": Batch(10, 100_000, 0), "retry": RETRY} | fields)


def in_line(**fields: Any) -> Endpoint:
    return batching(ordering=Ordering.ENDPOINT, **fields)


def by_path(**results: Result) -> Callable[[Sent], Awaitable[Result]]:
    async def reply(sent: Sent) -> Result:
        return results["_" + sent.path.strip("/")]

    return reply


def refusing(*seqs: int) -> Callable[[Sent], Awaitable[Result]]:
    """A target that confirms all but these, in its answer's body."""

    async def reply(sent: Sent) -> Result:
        ids = [part["id"] for part in json.loads(sent.request.body)]
        wanted = {format_id(EVENT, an_event(seq).id) for seq in seqs}
        told = [{"id": id, "confirmed": False, "reason": "no such shop"} for id in ids if id in wanted]
        return answer(body=json.dumps({"results": told}).encode())

    return reply


async def written(desk: Desk) -> tuple[list[Attempt], dict[int, Owed]]:
    """All attempts, and the rows that are left, by `seq`."""
    await desk.written()
    rows: dict[int, Owed] = {}
    for batch in desk.store.written:
        rows |= {row.seq: row for row in batch.owed}
    return [attempt for batch in desk.store.written for attempt in batch.attempts], rows


def load_of(desk: Desk, *seqs: int, **fields: Any) -> list[Delivery]:
    return [desk.dispatched(event=an_event(seq), **fields) for seq in seqs]


# Several URLs


@virtual_time
async def test_a_url_that_is_down_is_an_attempt_and_the_next_is_asked_at_once() -> None:
    desk = Desk(by_path(_1=failure(), _second=answer(503), _third=answer(200)))
    peer = Peer(an_endpoint(fallback_urls=(SECOND, THIRD), retry=RETRY))
    (delivery,) = load_of(desk, 1)
    assert [(await desk.sender.attempt(peer, [delivery])).fates for _ in range(3)] == [[AGAIN], [AGAIN], (SETTLED,)]
    attempts, rows = await written(desk)
    assert [(a.url, a.outcome, a.number) for a in attempts] == [
        ("https://example.com/1", AttemptOutcome.FAILED, 1),
        (SECOND, AttemptOutcome.FAILED, 1),
        (THIRD, AttemptOutcome.DELIVERED, 1),
    ]
    assert rows == {}
    assert [row for batch in desk.store.written for row in batch.health] == [], "all in all it works"


@virtual_time
async def test_where_all_are_down_the_attempt_is_spent_once() -> None:
    desk = Desk(replying(failure(Fault.CONNECT_TIMEOUT)))
    peer = Peer(an_endpoint(fallback_urls=(SECOND,), retry=RETRY))
    (delivery,) = load_of(desk, 1)
    assert [(await desk.sender.attempt(peer, [delivery])).fates for _ in range(2)] == [[AGAIN], (OWED,)]
    attempts, rows = await written(desk)
    assert [(a.url, a.number) for a in attempts] == [("https://example.com/1", 1), (SECOND, 1)]
    assert (rows[1].number, rows[1].due_at, rows[1].reason) == (2, EPOCH + 60, OwedReason.FAILED)
    assert peer.failing_since == EPOCH


@virtual_time
async def test_an_answer_about_the_event_is_an_answer() -> None:
    for status in (400, 404, 429, 302):
        desk = Desk(replying(answer(status)))
        (delivery,) = load_of(desk, 1)
        told = await desk.sender.attempt(Peer(an_endpoint(fallback_urls=(SECOND,), retry=RETRY)), [delivery])
        assert told.fates == (OWED,)
        assert len(desk.transport.sent) == 1


@virtual_time
async def test_a_url_whose_circuit_is_open_is_not_asked() -> None:
    desk = Desk(by_path(_1=answer(500), _second=answer(200)))
    peer = Peer(an_endpoint(fallback_urls=(SECOND,), retry=RETRY), CircuitPolicy(requests_min=1))
    (first, second) = load_of(desk, 1, 2)
    await desk.sender.attempt(peer, [first])
    await desk.sender.attempt(peer, [second])
    assert [sent.path for sent in desk.transport.sent] == ["/1", "/second"]


@virtual_time
async def test_where_no_circuit_lets_it_pass_no_attempt_is_spent() -> None:
    desk = Desk(replying(answer(500)))
    peer = Peer(an_endpoint(retry=RETRY), CircuitPolicy(requests_min=1))
    first, second = load_of(desk, 1, 2)
    await desk.sender.attempt(peer, [first])
    told = await desk.sender.attempt(peer, [second])
    assert (told.fates, told.seconds) == ([OWED], None)
    attempts, rows = await written(desk)
    assert len(attempts) == 1
    assert (rows[2].number, rows[2].reason) == (1, OwedReason.CIRCUIT_OPEN)


@virtual_time
async def test_a_partition_that_was_lost_meanwhile_sends_nothing_more() -> None:
    """Its successor sends it, by the first URL; the late answer settles the row."""
    desk = Desk()

    async def reply(sent: Sent) -> Result:
        del desk.epochs[0]
        return failure()

    late: list[LateResult] = []

    async def settle_late(results: Sequence[LateResult], **_: object) -> bool:
        late.extend(results)
        return True

    desk.transport.reply = reply
    desk.store.settle_late = settle_late  # type: ignore[method-assign]
    (delivery,) = load_of(desk, 1, fresh=False, row=True)
    told = await desk.sender.attempt(Peer(an_endpoint(fallback_urls=(SECOND,), retry=RETRY)), [delivery])
    assert told.fates == (OWED,)
    ((attempt, owed, _),) = late
    assert attempt.outcome is AttemptOutcome.FAILED
    assert owed is not None
    assert owed.number == 2


@virtual_time
async def test_all_of_a_batch_go_to_the_next_url_together() -> None:
    desk = Desk(by_path(_1=failure(), _second=answer(200)))
    peer = Peer(batching(fallback_urls=(SECOND,)))
    load = load_of(desk, 1, 2)
    assert (await desk.sender.attempt(peer, load)).fates == [AGAIN, AGAIN]
    assert (await desk.sender.attempt(peer, load)).fates == [SETTLED, SETTLED]
    attempts, _ = await written(desk)
    assert [(a.seq, a.outcome.value) for a in attempts] == [
        (1, "failed"),
        (2, "failed"),
        (1, "delivered"),
        (2, "delivered"),
    ]
    assert len({a.request_id for a in attempts}) == 2


# Batches


@virtual_time
async def test_one_answer_settles_all_each_with_an_attempt_of_the_same_request() -> None:
    desk = Desk(replying(answer(201)))
    load = load_of(desk, 1, 2, 3)
    assert (await desk.sender.attempt(Peer(batching()), load)).fates == [SETTLED] * 3
    attempts, rows = await written(desk)
    assert [(a.seq, a.outcome, a.status) for a in attempts] == [(n, AttemptOutcome.DELIVERED, 201) for n in (1, 2, 3)]
    assert len({a.id for a in attempts}) == 3
    (request_id,) = {a.request_id for a in attempts}
    (sent,) = desk.transport.sent
    assert request_id is not None
    assert parse_id(REQUEST, sent.headers["webhook-id"]) == request_id
    assert sent.event_ids == [an_event(n).id for n in (1, 2, 3)]
    assert rows == {}


@virtual_time
async def test_an_endpoint_that_takes_batches_gets_one_even_of_one() -> None:
    desk = Desk()
    await desk.sender.attempt(Peer(batching()), load_of(desk, 1))
    assert desk.transport.sent[0].headers["webhook-id"].startswith("req_")
    assert len(json.loads(desk.transport.sent[0].request.body)) == 1


@virtual_time
async def test_what_was_batched_is_sent_as_a_batch_though_the_endpoint_takes_none_any_more() -> None:
    """Another revision came between taking and sending: none of the load may be lost."""
    desk = Desk()
    load = load_of(desk, 1, 2)
    assert (await desk.sender.attempt(Peer(an_endpoint(retry=RETRY)), load)).fates == [SETTLED] * 2
    assert desk.transport.sent[0].event_ids == [an_event(1).id, an_event(2).id]


@virtual_time
async def test_a_failure_is_one_of_each() -> None:
    desk = Desk(replying(answer(500)))
    load = [*load_of(desk, 1), *load_of(desk, 2, number=2)]
    assert (await desk.sender.attempt(Peer(batching()), load)).fates == [OWED, SETTLED]
    attempts, rows = await written(desk)
    assert [a.outcome for a in attempts] == [AttemptOutcome.FAILED, AttemptOutcome.GAVE_UP]
    assert rows.keys() == {1}


@virtual_time
async def test_what_a_target_refuses_is_tried_again_and_its_words_are_kept() -> None:
    desk = Desk(refusing(2))
    peer = Peer(batching())
    assert (await desk.sender.attempt(peer, load_of(desk, 1, 2, 3))).fates == [SETTLED, OWED, SETTLED]
    attempts, rows = await written(desk)
    assert [(a.outcome.value, a.reason, a.error) for a in attempts] == [
        ("delivered", "confirmed", None),
        ("failed", "refused", "no such shop"),
        ("delivered", "confirmed", None),
    ]
    assert (rows[2].number, rows[2].due_at) == (2, EPOCH + 60)
    assert peer.failing_since is None, "the target works"


@virtual_time
async def test_of_a_line_what_follows_a_refused_one_comes_again_behind_it_and_spends_nothing() -> None:
    desk = Desk(refusing(2))
    load = load_of(desk, 1, 2, 3, line=LINE)
    assert (await desk.sender.attempt(Peer(in_line()), load)).fates == [SETTLED, OWED, OWED]
    attempts, rows = await written(desk)
    assert [(a.seq, a.outcome.value, a.reason) for a in attempts] == [
        (1, "delivered", "confirmed"),
        (2, "failed", "refused"),
        (3, "failed", "behind"),
    ]
    assert (rows[2].number, rows[2].due_at, rows[2].reason) == (2, EPOCH + 60, OwedReason.FAILED)
    assert (rows[3].number, rows[3].due_at, rows[3].reason) == (1, math.inf, OwedReason.BEHIND)


@virtual_time
async def test_of_other_lines_nothing_waits_for_a_refused_one() -> None:
    desk = Desk(refusing(1))
    load = [*load_of(desk, 1, line=4), *load_of(desk, 2, line=6), *load_of(desk, 3), *load_of(desk, 4, line=4)]
    fates = (await desk.sender.attempt(Peer(batching(ordering=Ordering.KEY)), load)).fates
    assert fates == [OWED, SETTLED, SETTLED, OWED]


@virtual_time
async def test_one_that_is_refused_for_the_last_time_blocks_its_line_or_is_skipped() -> None:
    for on_exhausted, fates in ((OnExhausted.BLOCK, [OWED, OWED]), (OnExhausted.SKIP, [SETTLED, SETTLED])):
        desk = Desk(refusing(1))
        load = [*load_of(desk, 1, line=LINE, number=2), *load_of(desk, 2, line=LINE, number=2)]
        assert (await desk.sender.attempt(Peer(in_line(on_exhausted=on_exhausted)), load)).fates == fates
        attempts, rows = await written(desk)
        if on_exhausted is OnExhausted.BLOCK:
            assert (rows[1].reason, rows[1].due_at) == (OwedReason.BLOCKED, math.inf)
            assert (rows[2].reason, rows[2].number) == (OwedReason.BEHIND, 2), "it is not its own doing"
        else:
            assert rows == {}
            assert [a.outcome.value for a in attempts] == ["gave_up", "delivered"]


@virtual_time
async def test_of_a_batch_those_that_are_over_go_no_further_and_the_rest_goes_again() -> None:
    desk = Desk()
    old = an_event(2, expires_at=EPOCH - 1)
    load = [*load_of(desk, 1), desk.dispatched(event=old), *load_of(desk, 3)]
    told = await desk.sender.attempt(Peer(batching()), load)
    assert (told.fates, told.seconds) == ([AGAIN, SETTLED, AGAIN], None)
    assert desk.transport.sent == []
    attempts, _ = await written(desk)
    assert [(a.seq, a.outcome.value, a.reason, a.sent) for a in attempts] == [(2, "gave_up", "expired", False)]


@virtual_time
async def test_a_late_answer_to_a_batch_settles_its_rows_together() -> None:
    """One after the other, the successor would send the second while the first is being settled."""
    desk = Desk()
    calls: list[list[int]] = []

    async def settle_late(results: Sequence[LateResult], **_: object) -> bool:
        calls.append([attempt.seq for attempt, _, _ in results])
        return True

    desk.store.settle_late = settle_late  # type: ignore[method-assign]
    load = load_of(desk, 1, 2, 3, fresh=False, row=True, line=LINE)
    del desk.epochs[0]
    await desk.sender.attempt(Peer(in_line()), load)
    assert calls == [[1, 2, 3]]


# Lines


@virtual_time
async def test_on_an_ordered_line_the_last_attempt_blocks_or_skips() -> None:
    for on_exhausted, ordering, blocked in (
        (OnExhausted.BLOCK, Ordering.ENDPOINT, True),
        (OnExhausted.SKIP, Ordering.ENDPOINT, False),
        (OnExhausted.BLOCK, Ordering.NONE, False),
    ):
        desk = Desk(replying(answer(500)))
        endpoint = an_endpoint(on_exhausted=on_exhausted, ordering=ordering, retry=RETRY)
        (delivery,) = load_of(desk, 1, number=2, line=LINE if ordering is Ordering.ENDPOINT else 0)
        told = await desk.sender.attempt(Peer(endpoint), [delivery])
        attempts, rows = await written(desk)
        assert told.fates == ((OWED,) if blocked else (SETTLED,))
        assert [a.outcome.value for a in attempts] == ["failed" if blocked else "gave_up"]
        if blocked:
            assert (rows[1].reason, rows[1].due_at, rows[1].number) == (OwedReason.BLOCKED, math.inf, 3)


@virtual_time
async def test_what_is_ordered_may_be_written_only_while_it_is_ours_wherever_it_stands_in_a_batch() -> None:
    desk = Desk()
    asked: list[bool] = []
    send = desk.transport.send

    async def watched(request: Any, *, may_write: Any = None, **_: bool) -> Result:
        asked.append(may_write is not None)
        return await send(request, may_write=may_write)

    desk.transport.send = watched  # type: ignore[method-assign]
    await desk.sender.attempt(Peer(batching()), load_of(desk, 1, 2))
    await desk.sender.attempt(Peer(batching(ordering=Ordering.KEY)), [*load_of(desk, 3), *load_of(desk, 4, line=LINE)])
    await desk.sender.attempt(Peer(in_line()), load_of(desk, 5, line=LINE))
    assert asked == [False, True, True]


@virtual_time
async def test_what_is_ordered_is_not_written_once_its_partition_was_handed_over() -> None:
    desk = Desk()
    may: list[bool] = []
    send = desk.transport.send

    async def slow(request: Any, *, may_write: Any = None, **_: bool) -> Result:
        may.append(may_write())
        desk.epochs.clear()  # the leases of others still hold
        may.append(may_write())
        return await send(request)

    desk.transport.send = slow  # type: ignore[method-assign]
    await desk.sender.attempt(Peer(in_line()), load_of(desk, 1, line=LINE))
    assert may == [True, False]


# Age, and what a target asks for


@virtual_time
async def test_what_is_too_old_for_its_endpoint_is_given_up() -> None:
    desk = Desk()
    await asyncio.sleep(100.0)
    young, old = an_event(1, created_at=EPOCH + 41), an_event(2, created_at=EPOCH + 39)
    peer = Peer(an_endpoint(max_age=60.0, retry=RETRY))
    for event in (young, old):
        await desk.sender.attempt(peer, [desk.dispatched(event=event)])
    attempts, _ = await written(desk)
    assert [(a.seq, a.reason) for a in attempts] == [(1, "confirmed"), (2, "expired")]
    await desk.sender.attempt(peer, [a_delivery(event=old, kind=DeliveryClass.REPLAY, row=True, fresh=False)])
    attempts, _ = await written(desk)
    assert attempts[-1].reason == "confirmed", "asked for again, it is wanted"


@virtual_time
async def test_a_row_is_looked_at_when_it_expires() -> None:
    desk = Desk(replying(answer(500)))
    event = an_event(1, created_at=EPOCH, expires_at=EPOCH + 50)
    await desk.sender.attempt(Peer(an_endpoint(max_age=20.0, retry=RETRY)), [desk.dispatched(event=event)])
    _, rows = await written(desk)
    assert (rows[1].due_at, rows[1].expires_at) == (EPOCH + 20, EPOCH + 20), "the earlier of the two"


@virtual_time
async def test_retry_after_with_429_or_503_holds_the_endpoint_and_with_others_does_not() -> None:
    for status, header, held in (
        (429, b"30", EPOCH + 30),
        (503, b"30", EPOCH + 30),
        (503, b"Fri, 15 Jan 2027 08:00:40 GMT", EPOCH + 40),
        (503, b"999999999", EPOCH + 86_400),
        (500, b"30", 0.0),
        (503, b"soon", 0.0),
    ):
        desk = Desk(replying(answer(status, (b"retry-after", header))))
        peer = Peer(an_endpoint(retry=RETRY))
        told = await desk.sender.attempt(peer, load_of(desk, 1))
        assert peer.held_until == held, (status, header)
        assert told.overloaded is (status in (429, 503))
        await desk.written()
        (turn,) = [turn for batch in desk.store.written for turn in batch.health]
        assert turn.health.held_until == (held or None)


@virtual_time
async def test_signs_of_overload_are_told() -> None:
    for result, overloaded in (
        (answer(200), False),
        (answer(500), False),
        (answer(502), True),
        (answer(504), True),
        (failure(Fault.CONNECT_FAILED), False),
        (failure(Fault.FIRST_BYTE_TIMEOUT), True),
        (failure(Fault.TOTAL_TIMEOUT), True),
    ):
        desk = Desk(replying(result))
        told = await desk.sender.attempt(Peer(an_endpoint(retry=RETRY)), load_of(desk, 1))
        assert (told.overloaded, told.seconds) == (overloaded, 0.001)
