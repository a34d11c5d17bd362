"""What response rules make happen, as it is recorded with the attempt."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from tests.fakes import EPOCH, FakeClock, an_endpoint, an_event, answer, virtual_time
from tests.judging import ScriptedExpressions
from tests.unit.send.test_sender import Desk, replying

from posthouse.domain.chaining import Values, read_publication
from posthouse.domain.delivery import AttemptOutcome, Effect, EffectKind, JournalBatch
from posthouse.domain.endpoint import Batch, Endpoint, Throttle
from posthouse.domain.exchange import Answer
from posthouse.domain.expression import Failed, FailedBecause, Value
from posthouse.domain.ids import AppId, EndpointId, EventId, effect_id
from posthouse.domain.limits import CHAIN_DEPTH_MAX
from posthouse.domain.reaction import (
    AnyRule,
    CallRule,
    ConfirmRule,
    EmitRule,
    ForwardRule,
    NotifyRule,
    SetRule,
    ThrottleRule,
)
from posthouse.domain.redaction import RedactAnswer
from posthouse.send.peer import Peer
from posthouse.send.reactions import Reactions
from posthouse.settle.batches import halves, reduced
from posthouse.settle.chains import Chains, Silent
from posthouse.wire.answered import payload_of

NO_VALUE = Failed(FailedBecause.ERROR, "no such key: no")


def desk_of(result: Answer, **values: Any) -> Desk:
    return Desk(replying(result), ScriptedExpressions({name: Value(value) for name, value in values.items()}))


async def one(desk: Desk, endpoint: Endpoint, seq: int = 1, **event: Any) -> JournalBatch:
    await desk.sender.attempt(Peer(endpoint), [desk.dispatched(seq=seq, event=an_event(seq, **event))])
    await desk.written()
    (batch,) = desk.store.written
    return batch


def ruled(*rules: AnyRule, **fields: Any) -> Endpoint:
    return an_endpoint(on_response=rules, **fields)


def reaction_of(batch: JournalBatch) -> Any:
    return json.loads(batch.attempts[0].reaction or "null")


@virtual_time
async def test_what_a_rule_asks_for_is_recorded_with_its_attempt() -> None:
    desk = desk_of(answer(200, body=b'{"a":1}'), data={"n": 1}, key=5, message="sold out", a=[1])
    also = (SetRule(metadata={"a": "a"}), NotifyRule(message="message"), ForwardRule(url="http://x/y"))
    batch = await one(desk, ruled(EmitRule(type="order.paid", data="data", key="key", also=also)), depth=2)
    (attempt,) = batch.attempts
    assert attempt.outcome is AttemptOutcome.DELIVERED
    emit, merge, notify, forward = batch.effects
    assert [effect.kind for effect in batch.effects] == [
        EffectKind.PUBLISH,
        EffectKind.SET,
        EffectKind.EMIT,
        EffectKind.PUBLISH,
    ]
    assert len({effect.id for effect in batch.effects} | {attempt.id}) == 5
    assert emit.id == effect_id(attempt.id, 32)
    made = read_publication(emit.data or b"")
    assert (made.payload, made.key, made.depth, made.cause) == (b'{"n":1}', "5", 3, attempt.event_id)
    assert msgspec.json.decode(merge.data or b"", type=Values) == Values({"a": [1]})
    assert json.loads(notify.data or b"")["message"] == "sold out"
    sent_on = read_publication(forward.data or b"")
    assert (sent_on.url, sent_on.payload, sent_on.content_type) == ("http://x/y", b'{"a":1}', "application/json")
    assert [did["recorded"] for did in reaction_of(batch)["effects"]] == [True] * 4


@virtual_time
async def test_what_cannot_be_done_is_said_and_costs_the_delivery_nothing() -> None:
    told: list[tuple[str, str]] = []

    class Hears(Silent):
        def callback_failed(
            self, app_id: AppId, endpoint_id: EndpointId, event: EventId, *, action: str, reason: str
        ) -> None:
            told.append((action, reason))

    desk = desk_of(answer(200), nul="a\0b", wide={"a": "x\0"}, surrogate="\ud800")
    desk.outcomes.reactions._chains.troubled = Hears()
    rules = (
        EmitRule(type="a", data="missing"),
        EmitRule(type="a", subject="nul"),
        SetRule(metadata={"a": "wide"}),
        EmitRule(type="a", data="surrogate"),
        CallRule(),
        NotifyRule(message="nul"),
    )
    batch = await one(desk, ruled(ConfirmRule(also=rules)))
    (attempt,) = batch.attempts
    assert attempt.outcome is AttemptOutcome.DELIVERED
    done = reaction_of(batch)["effects"]
    assert [did["recorded"] for did in done] == [False, False, False, False, False, True]
    assert [action for action, _ in told] == ["emit", "emit", "set", "emit"]
    assert attempt.error is not None
    assert attempt.error.startswith("emit: data: no value (error)")
    (effect,) = batch.effects
    assert json.loads(effect.data or b"")["message"] == "a b"


@virtual_time
async def test_an_event_too_far_down_a_chain_is_not_recorded() -> None:
    for depth, recorded in ((CHAIN_DEPTH_MAX - 1, 1), (CHAIN_DEPTH_MAX, 0)):
        batch = await one(desk_of(answer(200)), ruled(EmitRule(type="a")), depth=depth)
        assert len(batch.effects) == recorded
        assert reaction_of(batch)["effects"][0]["recorded"] is bool(recorded)


@virtual_time
async def test_a_minute_has_a_budget_for_each_app() -> None:
    clock = FakeClock()
    chains = Chains(clock, per_minute_max=2)
    first, second, endpoint, event = AppId(bytes(16)), AppId(b"2" * 16), EndpointId(bytes(16)), EventId(bytes(16))
    asked = [chains.stops(app, endpoint, event, 1) for app in (first, first, first, second)]
    assert asked == [None, None, "budget", None]
    await clock.sleep(60.0)
    assert chains.stops(first, endpoint, event, 1) is None
    assert chains.stopped == 1


@virtual_time
async def test_what_operators_are_told_counts_in_the_budget_and_is_not_deeper() -> None:
    desk = desk_of(answer(200))
    desk.outcomes.reactions = Reactions(ScriptedExpressions({}), Chains(desk.clock, per_minute_max=1))
    batch = await one(desk, ruled(NotifyRule(also=(NotifyRule(),))), depth=CHAIN_DEPTH_MAX)
    assert len(batch.effects) == 1
    assert [did.get("why", "") for did in reaction_of(batch)["effects"]] == ["", "too many events in this minute"]


@virtual_time
async def test_where_too_many_wait_none_is_recorded() -> None:
    desk = desk_of(answer(200))
    desk.outcomes.reactions = Reactions(ScriptedExpressions({}), Chains(desk.clock), has_room=lambda partition: False)
    batch = await one(desk, ruled(NotifyRule()))
    assert batch.effects == ()
    assert reaction_of(batch)["effects"][0]["why"] == "too many effects wait to be done"


@virtual_time
async def test_a_rate_that_holds_already_is_not_recorded_anew() -> None:
    desk = desk_of(answer(200))
    slowed: list[tuple[EndpointId, Throttle]] = []
    for news in (True, False):

        def slow_down(endpoint_id: EndpointId, throttle: Throttle, news: bool = news) -> bool:
            slowed.append((endpoint_id, throttle))
            return news

        desk.outcomes.reactions = Reactions(ScriptedExpressions({}), Chains(desk.clock), slow_down=slow_down)
        desk.store.written.clear()
        batch = await one(desk, ruled(ThrottleRule(per_second=2, seconds=30)))
        assert [effect.kind for effect in batch.effects] == ([EffectKind.THROTTLE] if news else [])
        assert reaction_of(batch)["effects"][0]["recorded"] is True
    assert slowed[0][1] == Throttle(2, EPOCH + 30)


@virtual_time
async def test_what_is_masked_on_record_is_masked_in_what_is_sent_on() -> None:
    endpoint = ruled(ForwardRule(endpoint="x"), redact_answer=RedactAnswer(body=("/secret",)))
    batch = await one(desk_of(answer(200, body=b'{"secret":"s","a":1}')), endpoint)
    assert b'"s"' not in read_publication(batch.effects[0].data or b"").payload


@virtual_time
async def test_a_batch_makes_it_happen_once() -> None:
    desk = desk_of(answer(200))
    load = [desk.dispatched(seq=seq, event=an_event(seq)) for seq in (1, 2, 3)]
    await desk.sender.attempt(Peer(ruled(NotifyRule(), batch=Batch())), load)
    await desk.written()
    (batch,) = desk.store.written
    assert len(batch.effects) == 1
    assert ["effects" in json.loads(attempt.reaction or "") for attempt in batch.attempts] == [True, False, False]


@pytest.mark.parametrize(
    ("body", "named", "content_type"),
    [
        (b'{"a": 1}', "application/json; charset=utf-8", "application/json"),
        (b'{"a": 1}', "application/problem+json", "application/json"),
        (b'{"a": 1}', None, "application/json"),
        (b"{", "application/json", "text/plain; charset=utf-8"),
        (b"<a/>", "text/xml", "text/xml"),
        (b"\xb4\xed", "text/plain; charset=gbk", "text/plain; charset=gbk"),
        (b"\xb4\xed", None, "application/octet-stream"),
        (b"ok", "nonsense", "text/plain; charset=utf-8"),
        (b"[" * 60_000, None, "text/plain; charset=utf-8"),
    ],
)
def test_an_answer_is_sent_on_as_what_it_is(body: bytes, named: str | None, content_type: str) -> None:
    headers = () if named is None else ((b"content-type", named.encode()),)
    assert payload_of(msgspec.structs.replace(answer(200, body=body), headers=headers)) == (body, content_type)


def test_an_answer_without_a_body_is_null() -> None:
    assert payload_of(None) == payload_of(answer(200)) == (b"null", "application/json")


@virtual_time
async def test_effects_go_with_their_attempts_when_a_batch_is_halved() -> None:
    """One that is on record without them would have lost them."""
    desk = desk_of(answer(200))
    batches = []
    for number in (1, 2):
        desk.store.written.clear()
        desk.clock._count = number << 20  # ids of one process are never close together
        batches.append(await one(desk, ruled(NotifyRule()), number))
    attempts = tuple(batch.attempts[0] for batch in batches)
    effects: tuple[Effect, ...] = tuple(batch.effects[0] for batch in batches)
    whole = msgspec.structs.replace(batches[0], attempts=attempts, effects=effects[::-1], rollups=())
    early, late = halves(whole)
    assert (early.effects, late.effects) == ((effects[0],), (effects[1],))
    bare = reduced(early)
    while bare is not None and bare.effects:
        bare = reduced(bare)
    assert bare is not None
    assert (len(bare.attempts), bare.effects) == (1, ())
