"""Attempts whose answers an endpoint judges by rules of its own: what is recorded, and what it says of the target."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from tests.fakes import EPOCH, Sent, an_endpoint, an_event, answer, until, virtual_time
from tests.judging import NO_KEY, UNAVAILABLE, ScriptedExpressions
from tests.unit.send.test_batches import refusing, written
from tests.unit.send.test_sender import OWNER, Desk, replying

from posthouse.domain.acknowledgement import Ack
from posthouse.domain.authentication import OAuth2Auth
from posthouse.domain.circuit import CircuitPolicy, CircuitState, Health
from posthouse.domain.delivery import AttemptOutcome, Fate, OwedReason
from posthouse.domain.endpoint import Batch, Endpoint
from posthouse.domain.exchange import Request, Result
from posthouse.domain.expression import Facts, Outcome
from posthouse.domain.limits import FAILING_DAYS_MAX
from posthouse.domain.named_keys import NamedKeys
from posthouse.domain.reaction import AnyRule, ConfirmRule, DisableRule, GiveUpRule, NotifyRule, RetryRule
from posthouse.domain.redaction import RedactAnswer
from posthouse.domain.retry import Retry
from posthouse.send.peer import Peer

CODE = Ack(when="code")
ANY_STATUS = Ack(status=("*",), when="code")
POLICY = CircuitPolicy(requests_min=2)
SECOND = "https://example.com/second"

OneOutcome = Outcome | bool | Callable[[Facts], bool]


def judging(ack: Ack | None = CODE, *rules: AnyRule, **fields: Any) -> Endpoint:
    return an_endpoint(**{"retry": Retry((60.0,), 0.0), "ack": ack, "on_response": rules} | fields)


def desk_of(result: Result, code: OneOutcome = False, **outcomes: OneOutcome) -> Desk:
    return Desk(replying(result), ScriptedExpressions({"code": code, "yes": True, **outcomes}))


@virtual_time
async def test_an_answer_that_is_refused_by_its_body_is_a_failed_attempt_and_comes_again() -> None:
    desk = desk_of(answer(200, body=b'{"code":1}'))
    peer = Peer(judging(), POLICY)
    told = await desk.sender.attempt(peer, [desk.dispatched()])
    await desk.written()
    (batch,) = desk.store.written
    (attempt,), (row,) = batch.attempts, batch.owed
    assert (attempt.outcome, attempt.reason, attempt.status) == (AttemptOutcome.FAILED, "not_acknowledged", 200)
    assert attempt.error == "ack.when is false"
    assert (row.number, row.due_at, row.reason) == (2, EPOCH + 60.0, OwedReason.FAILED)
    assert (list(told.fates), told.overloaded) == ([Fate.OWED], False)
    assert peer.failing_since == EPOCH


@pytest.mark.parametrize(
    ("status", "code", "reason", "state", "failing"),
    [
        (200, False, "not_acknowledged", CircuitState.CLOSED, True),
        (200, NO_KEY, "ack_failed", CircuitState.CLOSED, True),
        (200, UNAVAILABLE, "ack_failed", CircuitState.CLOSED, False),
        (200, True, "confirmed", CircuitState.CLOSED, False),
        (500, True, "confirmed", CircuitState.CLOSED, False),
        (500, False, "http_status", CircuitState.OPEN, True),
    ],
)
def test_what_a_judgement_says_of_the_target(
    status: int, code: OneOutcome, reason: str, state: CircuitState, failing: bool
) -> None:
    @virtual_time
    async def attempts() -> None:
        desk = desk_of(answer(status), code)
        peer = Peer(judging(ANY_STATUS), POLICY)
        for seq in range(1, 6):
            if peer.wait(desk.clock.now()) == 0:
                await desk.sender.attempt(peer, [desk.dispatched(event=an_event(seq))])
        recorded, _ = await written(desk)
        assert {attempt.reason for attempt in recorded} == {reason}
        assert peer.routes[0].circuit.state is state
        assert (peer.failing_since is not None) == failing

    attempts()


@virtual_time
async def test_a_confirmed_answer_says_nothing_else_of_the_target() -> None:
    desk = desk_of(answer(503, (b"retry-after", b"60")), code=True)
    peer = Peer(judging(ANY_STATUS))
    told = await desk.sender.attempt(peer, [desk.dispatched()])
    assert (told.overloaded, peer.calm, peer.failing_since) == (False, True, None)
    (attempt,), rows = await written(desk)
    assert (attempt.outcome, attempt.status, attempt.error, rows) == (AttemptOutcome.DELIVERED, 503, None, {})


@virtual_time
async def test_an_endpoint_that_has_confirmed_nothing_for_days_is_disabled_by_its_own_rule_too() -> None:
    desk = desk_of(answer(200))
    since = EPOCH - FAILING_DAYS_MAX * 86_400
    peer = Peer(judging(health=Health(failing_since=since)))
    await desk.sender.attempt(peer, [desk.dispatched()])
    assert desk.disabled == [peer]
    (attempt,), _ = await written(desk)
    assert (attempt.outcome, attempt.reason) == (AttemptOutcome.GAVE_UP, "not_acknowledged")


@virtual_time
async def test_words_of_our_own_are_not_masked_as_the_targets_body_is() -> None:
    desk = desk_of(answer(200, body=b'{"code":1}'))
    endpoint = judging(redact_answer=RedactAnswer(("/code",), ()))
    await desk.sender.attempt(Peer(endpoint), [desk.dispatched()])
    (attempt,), _ = await written(desk)
    assert (attempt.error, attempt.response_body) == ("ack.when is false", b'{"code":"[redacted]"}')


@virtual_time
async def test_an_endpoint_without_rules_asks_for_nothing() -> None:
    expressions = ScriptedExpressions({})
    desk = Desk(replying(answer(200)), expressions)
    await desk.sender.attempt(Peer(judging(None)), [desk.dispatched()])
    assert expressions.asked == []


# Rules, and the header


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        (ConfirmRule(when="yes"), "confirmed"),
        (RetryRule(when="yes"), "rule_retry"),
        (GiveUpRule(when="yes"), "rule_give_up"),
        (DisableRule(when="yes"), "rule_disable"),
    ],
)
def test_no_other_url_is_asked_where_a_rule_decides(rule: AnyRule, reason: str) -> None:
    @virtual_time
    async def attempted() -> None:
        desk = desk_of(answer(500))
        peer = Peer(judging(None, rule, fallback_urls=(SECOND,)))
        told = await desk.sender.attempt(peer, [desk.dispatched()])
        assert Fate.AGAIN not in told.fates
        (attempt,), _ = await written(desk)
        assert attempt.reason == reason

    attempted()


@pytest.mark.parametrize("rule", [RetryRule(when="no"), NotifyRule(when="yes")])
def test_other_urls_are_asked_where_none_does(rule: AnyRule) -> None:
    @virtual_time
    async def attempted() -> None:
        desk = desk_of(answer(500), no=False)
        peer = Peer(judging(CODE, rule, fallback_urls=(SECOND,)))
        delivery = desk.dispatched()
        assert list((await desk.sender.attempt(peer, [delivery])).fates) == [Fate.AGAIN]
        assert list((await desk.sender.attempt(peer, [delivery])).fates) == [Fate.OWED]
        recorded, _ = await written(desk)
        assert [(attempt.url, attempt.reason) for attempt in recorded] == [
            ("https://example.com/1", "http_status"),
            (SECOND, "http_status"),
        ]
        assert (
            recorded[0].error == "ack.when is false; the status is not 2xx" or recorded[0].error == "ack.when is false"
        )

    attempted()


@pytest.mark.parametrize("ack", [None, CODE])
def test_a_target_that_says_that_it_will_not_have_this_event_is_well(ack: Ack | None) -> None:
    @virtual_time
    async def attempted() -> None:
        rules = (GiveUpRule(when="yes"),)
        desk = desk_of(answer(404))
        peer = Peer(judging(ack, *rules, health=Health(failing_since=EPOCH - 100.0)))
        await desk.sender.attempt(peer, [desk.dispatched()])
        assert peer.failing_since is None
        desk = desk_of(answer(500))
        peer = Peer(judging(ack, *rules))
        await desk.sender.attempt(peer, [desk.dispatched()])
        assert peer.failing_since == EPOCH, "unless it is down"

    attempted()


@virtual_time
async def test_what_an_answer_asks_for_itself_is_on_record() -> None:
    desk = Desk(replying(answer(503, (b"posthouse-action", b"retry"))))
    await desk.sender.attempt(Peer(judging(None)), [desk.dispatched()])
    (attempt,), rows = await written(desk)
    assert (attempt.outcome, attempt.reason) == (AttemptOutcome.FAILED, "rule_retry")
    assert attempt.error == "Posthouse-Action says so"
    assert rows[1].due_at == EPOCH + 60.0


# Batches


def batch_of(desk: Desk) -> list[Any]:
    return [desk.dispatched(event=an_event(seq)) for seq in (1, 2)]


BATCH: dict[str, Any] = {"batch": Batch(10, 100_000, 0)}


@virtual_time
async def test_a_batch_is_judged_as_one_by_its_first_event() -> None:
    expressions = ScriptedExpressions({"code": False})
    desk = Desk(replying(answer(200)), expressions)
    load = batch_of(desk)
    told = await desk.sender.attempt(Peer(judging(**BATCH)), load)
    assert list(told.fates) == [Fate.OWED, Fate.OWED]
    ((_, facts),) = expressions.asked
    assert facts.event is load[0].event
    recorded, rows = await written(desk)
    assert [(attempt.reason, attempt.error) for attempt in recorded] == [("not_acknowledged", "ack.when is false")] * 2
    assert sorted(rows) == [1, 2]


@virtual_time
async def test_what_a_confirmed_batch_says_of_one_event_counts() -> None:
    refuse = refusing(2)

    async def reply(sent: Sent) -> Result:
        return msgspec.structs.replace(await refuse(sent), status=500)

    desk = Desk(reply, ScriptedExpressions({"code": True}))
    told = await desk.sender.attempt(Peer(judging(ANY_STATUS, **BATCH)), batch_of(desk))
    assert list(told.fates) == [Fate.SETTLED, Fate.OWED]
    recorded, _ = await written(desk)
    assert [(attempt.reason, attempt.error) for attempt in recorded] == [
        ("confirmed", None),
        ("refused", "no such shop"),
    ]


# While the expressions are evaluated


@virtual_time
async def test_a_process_that_ends_while_an_answer_is_judged_has_recorded_nothing_of_it() -> None:
    expressions = ScriptedExpressions({"code": True}, waits=True)
    expressions.open.clear()
    desk = Desk(replying(answer(200)), expressions)
    peer = Peer(judging(), POLICY)
    circuit = peer.routes[0].circuit
    while circuit.closed:
        circuit.ended(circuit.began(EPOCH), failed=True, now=EPOCH)
    await asyncio.sleep(10.0)
    task = asyncio.create_task(desk.sender.attempt(peer, [desk.dispatched()]))
    await until(lambda: expressions.waiting == 1)
    assert not circuit.admits(desk.clock.now()), "its probe is under way"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert circuit.admits(desk.clock.now()), "it is not under way any more"
    assert (desk.journal.unwritten, peer.failing_since) == (0, None)


@virtual_time
async def test_a_partition_that_was_lost_while_an_answer_is_judged_is_its_successors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expressions = ScriptedExpressions({"code": True}, waits=True)
    expressions.open.clear()
    desk = Desk(replying(answer(200)), expressions)
    late: list[Any] = []

    async def settle_late(results: Any, *, sender: bytes, now: float) -> bool:
        late.extend((each[0].reason, each[1]) for each in results)
        return sender == OWNER

    monkeypatch.setattr(desk.store, "settle_late", settle_late)
    delivery = desk.dispatched(fresh=False, row=True)
    task = asyncio.create_task(desk.sender.attempt(Peer(judging()), [delivery]))
    await until(lambda: expressions.waiting == 1)
    del desk.epochs[0]
    expressions.open.set()
    await task
    assert late == [("confirmed", None)], "the row, if it still says that we are sending, is ours to settle"
    assert desk.journal.unwritten == 0


class TokenTarget:
    """`ports.transport.Transport` to one that gives tokens, and refuses all of them."""

    def __init__(self) -> None:
        self.tokens = 0

    async def send(
        self, request: Request, *, may_write: Callable[[], bool] | None = None, once: bool = False, anew: bool = False
    ) -> Result:
        if request.target.path == "/token":
            self.tokens += 1
            return answer(200, body=b'{"access_token":"t%d","token_type":"Bearer"}' % self.tokens)
        return answer(401)

    async def close(self) -> None: ...


@pytest.mark.parametrize(
    ("rules", "fate", "reasons"),
    [
        ({}, Fate.AGAIN, ["http_status"]),
        ({"on_response": (DisableRule(when="yes"),)}, Fate.AGAIN, ["rule_disable"]),
        ({"ack": Ack(status=(401,))}, Fate.SETTLED, ["confirmed"]),
    ],
)
def test_a_token_is_renewed_before_a_rule_counts_unless_the_answer_confirms(
    rules: dict[str, Any], fate: Fate, reasons: list[str]
) -> None:
    @virtual_time
    async def attempted() -> None:
        desk = desk_of(answer())
        desk.sender._transport = desk.sender.tokens._transport = TokenTarget()
        auth = OAuth2Auth(token_url="https://example.com/token", client_id="c", key="k")
        endpoint = an_endpoint(auth=auth, keys=NamedKeys({"k": ("s",)}), **rules)
        told = await desk.sender.attempt(Peer(endpoint), [desk.dispatched()])
        assert list(told.fates) == [fate]
        recorded, _ = await written(desk)
        assert [attempt.reason for attempt in recorded] == reasons
        assert desk.disabled == []

    attempted()
