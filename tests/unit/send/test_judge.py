"""What an answer means to an endpoint that says something of answers, and to one that does not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.fakes import an_endpoint, an_event, answer, failure, virtual_time
from tests.judging import NO_KEY, UNAVAILABLE, ScriptedExpressions

from posthouse.domain.acknowledgement import Ack
from posthouse.domain.exchange import Fault, Result
from posthouse.domain.expression import Expression, Failed, FailedBecause, Outcome, Use
from posthouse.domain.limits import ERROR_LENGTH_MAX
from posthouse.domain.reaction import (
    AnyRule,
    ConfirmRule,
    DisableRule,
    EmitRule,
    GiveUpRule,
    NotifyRule,
    RetryRule,
    ThrottleRule,
)
from posthouse.ports.expressions import NO_EXPRESSIONS
from posthouse.send.judge import CONFIRMS, Judge, Judgement, plainly

CODE = Ack(when="code")
TOO_LONG = Failed(FailedBecause.TOO_LONG, "it took longer than 100 ms")


def judged(result: Result, ack: Ack | None = None, *rules: AnyRule, **outcomes: Outcome | bool) -> Judgement:
    expressions = ScriptedExpressions(dict(outcomes))
    endpoint = an_endpoint(ack=ack, on_response=rules)
    return asyncio.run(Judge(expressions).judge(endpoint, an_event(), result, 1))


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (answer(200), "confirmed"),
        (answer(299), "confirmed"),
        (answer(302), "redirect"),
        (answer(404), "http_status"),
        (answer(410), "gone"),
        (failure(Fault.DNS_TIMEOUT), "dns_timeout"),
    ],
)
def test_without_rules_the_status_decides(result: Result, reason: str) -> None:
    assert plainly(result) == judged(result) == Judgement(reason)


@pytest.mark.parametrize(
    ("status", "ack", "code", "reason"),
    [
        (200, CODE, True, "confirmed"),
        (200, CODE, False, "not_acknowledged"),
        (200, CODE, NO_KEY, "ack_failed"),
        (200, Ack(status=(202,)), False, "not_acknowledged"),
        (500, CODE, True, "http_status"),
        (500, CODE, NO_KEY, "http_status"),
        (500, Ack(status=(200, 500), when="code"), True, "confirmed"),
        (500, Ack(status=(200, 500), when="code"), False, "http_status"),
        (302, Ack(status=("*",)), False, "redirect"),
        (302, Ack(status=("3xx",)), False, "confirmed"),
        (410, Ack(status=("*",)), False, "gone"),
        (410, Ack(status=(410,)), False, "confirmed"),
    ],
)
def test_an_acknowledgement_rule(status: int, ack: Ack, code: Outcome | bool, reason: str) -> None:
    told = judged(answer(status), ack, code=code)
    assert (told.reason, told.rule, told.ours) == (reason, None, False)
    assert (told.words is None) == (reason == "confirmed")


def test_no_rule_is_about_what_is_no_answer() -> None:
    for rule in (ConfirmRule(), DisableRule(when="yes"), NotifyRule()):
        told = judged(failure(Fault.CONNECT_FAILED), Ack(status=("*",)), rule, yes=True)
        assert told == Judgement("connect_failed")


@pytest.mark.parametrize("status", [200, 302, 410, 500])
@pytest.mark.parametrize(
    ("rule", "reason", "settled", "content"),
    [
        (ConfirmRule(when="yes"), "confirmed", True, False),
        (RetryRule(when="yes", after=5), "rule_retry", True, False),
        (GiveUpRule(when="yes"), "rule_give_up", True, True),
        (DisableRule(when="yes"), "rule_disable", True, False),
    ],
)
def test_a_rule_that_decides_does_so_whatever_the_status(
    status: int, rule: AnyRule, reason: str, settled: bool, content: bool
) -> None:
    for ack, code in ((None, False), (CODE, True), (CODE, False), (CODE, NO_KEY)):
        told = judged(answer(status), ack, rule, yes=True, code=code)
        words = None if reason == "confirmed" else "on_response[0] says so"
        assert told == Judgement(reason, words, rule, "on_response[0]")
        assert (told.settled, told.content) == (settled, content)


def test_a_rule_that_only_does_something_leaves_the_reason() -> None:
    rule = EmitRule(when="yes", type="order.answered")
    assert judged(answer(200), None, rule, yes=True) == Judgement("confirmed", None, rule, "on_response[0]")
    told = judged(answer(200), CODE, rule, yes=True, code=False)
    assert told == Judgement("not_acknowledged", "ack.when is false", rule, "on_response[0]")
    assert not told.settled


def test_the_first_rule_that_is_true_counts() -> None:
    rules = (RetryRule(when="no"), NotifyRule(when="broken"), GiveUpRule(when="yes"), ConfirmRule())
    told = judged(answer(500), None, *rules, yes=True, no=False)
    assert (told.rule, told.place) == (rules[2], "on_response[2]")
    told = judged(answer(500), None, *rules, yes=False, no=False)
    assert (told.rule, told.place, told.reason) == (rules[3], "on_response[3]", "confirmed")
    assert judged(answer(200), None, *rules[:3], no=False) == CONFIRMS, "without a value is not true"
    assert judged(answer(200), None, RetryRule(when="one"), one=Failed(FailedBecause.WRONG_TYPE, "int")).rule is None


def test_a_rule_that_could_not_be_evaluated_is_told_of_though_the_answer_confirms() -> None:
    told = judged(answer(200), None, EmitRule(when="slow", type="a"), slow=TOO_LONG)
    assert told == Judgement("confirmed", "on_response[0].when has no value: it took longer than 100 ms")
    told = judged(answer(200), CODE, EmitRule(when="slow", type="a"), slow=TOO_LONG, code=False)
    assert told.words == "ack.when is false; on_response[0].when has no value: it took longer than 100 ms"


def test_what_failed_for_want_of_our_own_means_says_nothing_of_the_target() -> None:
    told = judged(answer(200), CODE, code=UNAVAILABLE)
    assert (told.reason, told.ours) == ("ack_failed", True)
    assert not judged(answer(200), CODE, code=TOO_LONG).ours
    assert not judged(answer(200), CODE, RetryRule(when="yes"), code=False, yes=UNAVAILABLE).ours
    alone = asyncio.run(Judge(NO_EXPRESSIONS).judge(an_endpoint(ack=CODE), an_event(), answer(200), 1))
    assert (alone.reason, alone.ours) == ("ack_failed", True)


def test_the_header_of_an_answer_counts_where_no_rule_does() -> None:
    slow = (b"posthouse-action", b"throttle; per_second=1")
    stop = (b"posthouse-action", b"give_up")
    rule = RetryRule(when="yes")
    assert plainly(answer(200, stop)) == CONFIRMS, "an answer that confirms is not looked at"
    assert plainly(answer(503, stop)) == Judgement(
        "rule_give_up", "Posthouse-Action says so", GiveUpRule(), "Posthouse-Action"
    )
    assert plainly(answer(410, (b"posthouse-action", b"retry"))).reason == "rule_retry"
    assert plainly(answer(429, slow)) == Judgement(
        "http_status", None, ThrottleRule(per_second=1.0), "Posthouse-Action"
    )
    assert judged(answer(200, stop), CODE, code=True).reason == "rule_give_up"
    assert judged(answer(200, stop), None, rule, yes=False).reason == "rule_give_up"
    assert judged(answer(200, stop), None, rule, yes=True).place == "on_response[0]"
    bad = (b"posthouse-action", b"confirm")
    words = "Posthouse-Action has a word or parameters that are not known"
    assert plainly(answer(503, bad)) == Judgement("http_status", words)
    assert judged(answer(200, bad), CODE, code=False).words == f"ack.when is false; {words}"


def test_words_are_short_and_in_one_line() -> None:
    detail = "a\0b\n" + "x" * 1_000
    told = judged(answer(200), CODE, code=Failed(FailedBecause.ERROR, detail))
    assert told.words is not None
    assert told.words.startswith("ack.when has no value: a b xxx")
    assert len(told.words) <= ERROR_LENGTH_MAX


@pytest.mark.parametrize("waits", [False, True])
@virtual_time
async def test_all_expressions_are_evaluated_together(waits: bool) -> None:
    expressions = ScriptedExpressions({"code": True, "yes": True}, waits=waits)
    nested = Ack(when="code", any=(Ack(when="other"), Ack(all=(Ack(when="code"),))))
    rules = (NotifyRule(when="yes", message="'m'"), EmitRule(type="a", data="event.data"), RetryRule(when="no"))
    endpoint = an_endpoint(ack=nested, on_response=rules, by_app=("ack",))
    event, result = an_event(), answer(200)
    told = await Judge(expressions).judge(endpoint, event, result, 3)
    assert (told.reason, told.place) == ("confirmed", "on_response[0]")
    ((asked, facts),) = expressions.asked
    assert asked == [
        *[Expression(text, Use.RULE, by_app=True) for text in ("code", "other", "code")],
        *[Expression(text, Use.RULE) for text in ("yes", "no")],
    ]
    assert (facts.event, facts.endpoint, facts.answer, facts.number) == (event, endpoint, result, 3)


@virtual_time
async def test_nothing_is_evaluated_where_there_is_nothing_to_evaluate() -> None:
    expressions = ScriptedExpressions({})
    judge = Judge(expressions)
    fields: list[dict[str, Any]] = [{}, {"ack": Ack(text="")}, {"on_response": (NotifyRule(),)}]
    for each in fields:
        await judge.judge(an_endpoint(**each), an_event(), answer(200), 1)
    await judge.judge(an_endpoint(ack=CODE), an_event(), failure(), 1)
    assert expressions.asked == []
