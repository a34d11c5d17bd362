"""What came of an attempt is on record, and so is what remains owed."""

from __future__ import annotations

import msgspec
import pytest
from tests.fakes import (
    EPOCH,
    an_endpoint,
    an_event,
    answer,
    failure,
    virtual_time,
)
from tests.making import owed as owed_of
from tests.unit.send.test_sender import ENDPOINT, OWNER, Desk, replying

from posthouse.domain.circuit import Health
from posthouse.domain.delivery import (
    AttemptOutcome,
    EffectKind,
    HealthTurn,
    OwedReason,
)
from posthouse.domain.errors import StoreUnavailable
from posthouse.domain.exchange import Fault
from posthouse.domain.limits import FAILING_DAYS_MAX
from posthouse.domain.redaction import RedactAnswer
from posthouse.send.owing import owed_row
from posthouse.send.peer import Peer


@virtual_time
async def test_what_an_endpoint_redacts_of_answers_is_not_recorded() -> None:
    desk = Desk(replying(answer(200, (b"set-cookie", b"s"), body=b'{"token": "t", "ok": 1}')))
    rules = RedactAnswer(("/token",), ("Set-Cookie",))
    await desk.sender.attempt(Peer(msgspec.structs.replace(ENDPOINT, redact_answer=rules)), [desk.dispatched()])
    await desk.written()
    (attempt,) = desk.store.written[0].attempts
    assert (attempt.outcome, attempt.status) == (AttemptOutcome.DELIVERED, 200)
    assert attempt.response_headers == b"set-cookie: [redacted]\r\n"
    assert attempt.response_body == b'{"token":"[redacted]","ok":1}'


@virtual_time
async def test_a_failure_leaves_a_row_for_the_next_attempt() -> None:
    desk = Desk(replying(failure(Fault.CONNECT_TIMEOUT)))
    peer = Peer(ENDPOINT)
    await desk.sender.attempt(peer, [desk.dispatched()])
    await desk.written()
    (batch,) = desk.store.written
    (attempt,), (row,), (health,) = batch.attempts, batch.owed, batch.health
    assert (attempt.outcome, attempt.reason) == (AttemptOutcome.FAILED, "connect_timeout")
    assert (attempt.error, attempt.response_body, attempt.response_headers) == ("refused", None, None)
    assert (row.number, row.due_at, row.reason, row.sender) == (2, EPOCH + 60, OwedReason.FAILED, None)
    assert health == HealthTurn(0, ENDPOINT.id, Health(EPOCH))
    assert peer.failing_since == EPOCH


@virtual_time
async def test_the_last_attempt_gives_up_and_its_row_goes() -> None:
    desk = Desk(replying(answer(500)))
    await desk.sender.attempt(Peer(ENDPOINT), [desk.dispatched(number=2, fresh=False, row=True)])
    await desk.written()
    (batch,) = desk.store.written
    assert [(a.outcome, a.reason) for a in batch.attempts] == [(AttemptOutcome.GAVE_UP, "http_status")]
    assert batch.owed == ()
    assert len(batch.settled) == 1


@virtual_time
async def test_gone_disables_at_once_and_on_record() -> None:
    desk = Desk(replying(answer(410)))
    peer = Peer(ENDPOINT)
    await desk.sender.attempt(peer, [desk.dispatched()])
    assert desk.disabled == [peer]
    await desk.written()
    (batch,) = desk.store.written
    effect, told = batch.effects
    assert (effect.id, effect.kind, effect.reason) == (batch.attempts[0].id, EffectKind.DISABLE_ENDPOINT, "gone")
    assert (told.kind, told.reason) == (EffectKind.EMIT, "endpoint.disabled"), "the operators hear of it"
    assert batch.attempts[0].outcome is AttemptOutcome.GAVE_UP
    assert batch.owed == ()


@virtual_time
async def test_gone_closes_nothing_where_its_partition_was_lost_meanwhile() -> None:
    """Nobody has it on record, so that nothing would ever open the lane again."""
    desk = Desk(replying(answer(410)))
    delivery = desk.dispatched()
    del desk.epochs[0]
    await desk.sender.attempt(Peer(ENDPOINT), [delivery])
    await desk.written()
    assert desk.disabled == []
    assert desk.store.batches == []


@virtual_time
async def test_five_days_of_failures_disable() -> None:
    desk = Desk(replying(answer(500)))
    endpoint = an_endpoint(health=Health(EPOCH - FAILING_DAYS_MAX * 86_400))
    await desk.sender.attempt(Peer(endpoint), [desk.dispatched()])
    await desk.written()
    assert [e.reason for e in desk.store.written[0].effects] == ["failing_for_days", "endpoint.disabled"]


@virtual_time
async def test_the_answer_of_a_lost_partition_settles_its_own_row_and_nothing_else() -> None:
    desk = Desk(replying(answer(500)))
    marked, other = desk.dispatched(seq=1, fresh=False, row=True), desk.dispatched(seq=2, fresh=False, row=True)
    for delivery, reason in ((marked, OwedReason.IN_FLIGHT), (other, OwedReason.FAILED)):
        row = owed_row(delivery, ENDPOINT, number=1, due_at=EPOCH + 20, reason=reason, sender=OWNER)
        desk.database.owed[0, *delivery.key] = row
    del desk.epochs[0]
    for delivery in (marked, other):
        await desk.sender.attempt(Peer(ENDPOINT), [delivery])
    assert desk.store.batches == []
    assert [a.key for a in desk.database.attempts.values()] == [marked.key]
    row = desk.database.owed[0, *marked.key]
    assert (row.number, row.reason, row.due_at) == (2, OwedReason.FAILED, EPOCH + 60)
    assert desk.database.owed[0, *other.key].reason is OwedReason.FAILED
    assert desk.database.owed[0, *other.key].number == 1


@virtual_time
async def test_a_late_answer_of_a_fresh_delivery_writes_nothing() -> None:
    desk = Desk()
    delivery = desk.dispatched()
    del desk.epochs[0]
    await desk.sender.attempt(Peer(ENDPOINT), [delivery])
    assert desk.database.attempts == {}


@virtual_time
async def test_what_is_ours_again_as_its_late_answer_is_put_on_record_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    delivery = desk.dispatched(fresh=False, row=True)

    async def settle_late(*_: object, **__: object) -> bool:
        delivery.epoch += 2  # adopted: its partition was lost, and taken again
        assert desk.outcomes.late.settling == {delivery.key}, "no row is to say that it is under way"
        return True

    monkeypatch.setattr(desk.store, "settle_late", settle_late)
    del desk.epochs[0]
    assert list((await desk.sender.attempt(Peer(ENDPOINT), [delivery])).adopted) == [delivery]
    assert not desk.outcomes.late.settling


@virtual_time
async def test_a_late_answer_that_the_store_does_not_take_is_no_fault_of_the_send(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = Desk()

    async def away(*_: object, **__: object) -> bool:
        raise StoreUnavailable("away")

    monkeypatch.setattr(desk.store, "settle_late", away)
    delivery = desk.dispatched(fresh=False, row=True)
    del desk.epochs[0]
    await desk.sender.attempt(Peer(ENDPOINT), [delivery])


@virtual_time
async def test_a_row_whose_event_or_endpoint_is_gone_is_settled_all_the_same() -> None:
    desk = Desk()
    event = an_event(1)
    row = owed_of(event, ENDPOINT.id, number=4)
    desk.outcomes.abandon(row, None, None, epoch=1, reason="expired")
    desk.outcomes.abandon(owed_of(an_event(2), ENDPOINT.id), an_event(2), None, epoch=1, reason="cancelled")
    desk.outcomes.abandon(owed_of(an_event(3), ENDPOINT.id), None, ENDPOINT, epoch=1, reason="expired")
    await desk.written()
    (batch,) = desk.store.written
    assert [(a.seq, a.outcome, a.reason, a.sent) for a in batch.attempts] == [
        (1, AttemptOutcome.GAVE_UP, "expired", False),
        (2, AttemptOutcome.GAVE_UP, "cancelled", False),
        (3, AttemptOutcome.GAVE_UP, "expired", False),
    ]
    assert batch.attempts[0].number == 4
    assert batch.attempts[1].app_id == event.app_id
    assert batch.attempts[2].url == ENDPOINT.url
    assert len(batch.settled) == 3
