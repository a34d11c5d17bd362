"""Attempts whose answers come encrypted: what is judged is what is in them, and what is recorded is what came."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.encrypting import settings
from tests.fakes import an_endpoint, an_event, answer, virtual_time
from tests.judging import ScriptedExpressions
from tests.unit.send.test_batches import load_of, written
from tests.unit.send.test_sender import Desk, replying
from tests.unit.wire.test_encrypted_answers import dingtalk
from tests.unit.wire.test_encryption import DINGTALK, DINGTALK_KEY

from posthouse.domain.acknowledgement import Ack
from posthouse.domain.delivery import AttemptOutcome
from posthouse.domain.encryption import DecryptAnswer
from posthouse.domain.endpoint import Batch, Endpoint, Secret
from posthouse.domain.exchange import Answer, Result
from posthouse.domain.ids import EVENT, format_id
from posthouse.domain.named_keys import NO_KEYS, NamedKeys
from posthouse.domain.reaction import ConfirmRule
from posthouse.send.judge import NOT_OPENED
from posthouse.send.peer import Peer
from posthouse_sdk.signatures import HMAC_KEY_BYTES

SUCCESS = Ack(text="success")


def encrypted(decrypt: str, **fields: Any) -> Endpoint:
    keys = NamedKeys({"k": (DINGTALK_KEY,)})
    given: dict[str, Any] = {
        "encryption": settings(DINGTALK),
        "decrypt_answer": DecryptAnswer(decrypt),
        "keys": keys,
        "secrets": (Secret("v1", bytes(HMAC_KEY_BYTES)),),
    }
    return an_endpoint(**given | fields)


async def attempted(endpoint: Endpoint, result: Result, expressions: ScriptedExpressions) -> tuple[Any, Peer]:
    desk = Desk(replying(result), expressions)
    peer = Peer(endpoint)
    await desk.sender.attempt(peer, [desk.dispatched()])
    (attempt,), _ = await written(desk)
    return attempt, peer


@pytest.mark.parametrize(
    ("decrypt", "ack", "body", "status", "reason", "error"),
    [
        ("optional", SUCCESS, dingtalk("success"), 200, "confirmed", None),
        ("optional", SUCCESS, b"success", 200, "confirmed", None),
        ("optional", SUCCESS, dingtalk("fail"), 200, "not_acknowledged", "ack.text is not the body"),
        ("optional", None, b"whatever", 200, "confirmed", None),
        ("required", SUCCESS, dingtalk("success"), 200, "confirmed", None),
        ("required", None, dingtalk("whatever"), 200, "confirmed", None),
        ("required", None, dingtalk("whatever"), 500, "http_status", None),
        ("required", SUCCESS, b"success", 200, "ack_failed", NOT_OPENED),
        ("required", None, b"success", 200, "ack_failed", NOT_OPENED),
        ("required", None, b"", 204, "ack_failed", NOT_OPENED),
        ("required", Ack(status=("*",)), b"oops", 502, "http_status", NOT_OPENED),
        ("never", SUCCESS, dingtalk("success"), 200, "not_acknowledged", "ack.text is not the body"),
    ],
)
def test_what_an_answer_means(
    decrypt: str, ack: Ack | None, body: bytes, status: int, reason: str, error: str | None
) -> None:
    @virtual_time
    async def attempts() -> None:
        attempt, _ = await attempted(encrypted(decrypt, ack=ack), answer(status, body=body), ScriptedExpressions({}))
        assert (attempt.reason, attempt.error, attempt.response_body or b"") == (reason, error, body)

    attempts()


@virtual_time
async def test_expressions_see_the_text_and_the_record_has_what_came() -> None:
    expressions = ScriptedExpressions({"code": lambda facts: facts.answer is not None and facts.answer.body == b"7"})
    came = answer(200, (b"content-type", b"application/json"), body=dingtalk("7"))
    attempt, _ = await attempted(encrypted("required", ack=Ack(when="code")), came, expressions)
    assert (attempt.outcome, attempt.response_body) == (AttemptOutcome.DELIVERED, came.body)
    assert attempt.response_headers == b"content-type: application/json\r\n"


@virtual_time
async def test_what_does_not_open_meets_no_rule_and_asks_for_nothing() -> None:
    expressions = ScriptedExpressions({"yes": True})
    for endpoint in (
        encrypted("required", on_response=(ConfirmRule(when="yes"),)),
        encrypted("required", ack=Ack(when="yes")),
        encrypted("required"),
    ):
        came = answer(200, (b"posthouse-action", b"give_up"), body=b"success")
        attempt, _ = await attempted(endpoint, came, expressions)
        assert (attempt.outcome, attempt.reason, attempt.reaction) == (AttemptOutcome.FAILED, "ack_failed", None)
    assert expressions.asked == []


@virtual_time
async def test_what_is_said_of_the_events_of_a_batch_is_read_too() -> None:
    refused = format_id(EVENT, an_event(2).id)
    told = json.dumps({"results": [{"id": refused, "confirmed": False, "reason": "no such shop"}]})
    # Of requests the fake target reads the ids alone.
    body = {"kind": "json", "template": [{"id": refused, "encrypt": "{ciphertext}"}]}
    desk = Desk(replying(answer(body=b"[%b]" % dingtalk(told))))
    endpoint = encrypted("required", batch=Batch(), encryption=settings(DINGTALK | {"body": body}))
    await desk.sender.attempt(Peer(endpoint), load_of(desk, 1, 2))
    attempts, rows = await written(desk)
    assert [(attempt.seq, attempt.reason) for attempt in attempts] == [(1, "confirmed"), (2, "refused")]
    assert list(rows) == [2]


@virtual_time
async def test_a_key_that_comes_is_one_that_opens() -> None:
    desk = Desk(replying(answer(body=dingtalk())))
    peer = Peer(encrypted("required", keys=NO_KEYS))
    assert (peer.usable, peer.opener) == (False, None)
    peer.configure(encrypted("required", ack=SUCCESS))
    await desk.sender.attempt(peer, [desk.dispatched()])
    (attempt,), _ = await written(desk)
    assert attempt.reason == "confirmed"


def test_an_answer_that_is_taken_as_it_comes_is_not_copied() -> None:
    assert Peer(encrypted("never")).opener is None
    assert isinstance(answer(), Answer)
    assert not answer().sealed


class Called:
    """What handlers would be told of answers."""

    def __init__(self) -> None:
        self.results: list[Result] = []

    def caused(self, attempt: object, endpoint: object, event: object, result: Result, others: object) -> tuple[()]:
        self.results.append(result)
        return ()


@pytest.mark.parametrize(
    ("decrypt", "body", "seen"),
    [
        ("required", dingtalk("success"), b"success"),
        ("required", b"success", b""),
        ("optional", b"success", b"success"),
        ("never", b"success", b"success"),
    ],
)
def test_handlers_see_what_rules_see(decrypt: str, body: bytes, seen: bytes) -> None:
    @virtual_time
    async def attempts() -> None:
        desk = Desk(replying(answer(body=body)))
        called = Called()
        desk.outcomes.reactions.calls = called  # type: ignore[assignment]
        await desk.sender.attempt(Peer(encrypted(decrypt)), [desk.dispatched()])
        (result,) = called.results
        assert isinstance(result, Answer)
        assert result.body == seen

    attempts()
