"""What a target's answer means to its endpoint: whether it confirms, and which response rule it meets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from posthouse.domain.callback import (
    ACK_FAILED,
    CONFIRMED,
    GONE,
    HTTP_STATUS,
    NOT_ACKNOWLEDGED,
    RULE_DISABLE,
    RULE_GIVE_UP,
    RULE_RETRY,
    classify,
)
from posthouse.domain.endpoint import Endpoint
from posthouse.domain.event import Event
from posthouse.domain.exchange import Answer, Failure, Result
from posthouse.domain.expression import Expression, Facts, Failed, FailedBecause, Outcome, Value
from posthouse.domain.reaction import AnyRule, ConfirmRule, DisableRule, GiveUpRule, RetryRule
from posthouse.domain.rules import judging
from posthouse.ports.expressions import Expressions
from posthouse.wire.acknowledgement import judge_ack
from posthouse.wire.action_header import HEADER, NotUnderstood, action_of
from posthouse.wire.batch import in_one_line

_TOLD: Final[dict[type[AnyRule], str]] = {
    ConfirmRule: CONFIRMED,
    RetryRule: RULE_RETRY,
    GiveUpRule: RULE_GIVE_UP,
    DisableRule: RULE_DISABLE,
}
_TRUE: Final = Value(True)

NOT_OPENED: Final = "the answer does not open by the endpoint's encryption, as decrypt_answer requires"


class Judgement(msgspec.Struct, frozen=True, gc=False):
    """`reason` is `confirmed`, or why the attempt failed; `words` say more, for a person and without anything of the answer.
    `rule` is the response rule that the answer meets, and `place` where it stands: `on_response[1]`, or the
    name of the header in which the target said so itself. `ours`: it does not confirm for want of our own means."""

    reason: str
    words: str | None = None
    rule: AnyRule | None = None
    place: str = ""
    ours: bool = False

    @property
    def settled(self) -> bool:
        """Whether the rule decides what becomes of the delivery: then no other URL is asked."""
        return type(self.rule) in _TOLD

    @property
    def content(self) -> bool:
        """Whether the target is well though it does not confirm: it said that this event is not to be sent again."""
        return type(self.rule) is GiveUpRule


CONFIRMS: Final = Judgement(CONFIRMED)


def plainly(result: Result) -> Judgement:
    """What an answer means to an endpoint that says nothing of its own of answers: by its status, and what it asks for itself.
    The latter is looked for only where it does not confirm."""
    if isinstance(result, Answer):
        if 200 <= result.status < 300:
            return CONFIRMS  # nearly all, and so without another call
        return _with_header(Judgement(classify(result)), result)
    return Judgement(classify(result))


def elsewhere(result: Result) -> Judgement:
    """What an answer means that did not come from the endpoint, but from where its own answer was forwarded to: delivered or
    not, by the status. It says nothing of the endpoint."""
    reason = classify(result)
    return CONFIRMS if reason == CONFIRMED else Judgement(HTTP_STATUS if reason == GONE else reason)


class Judge:
    """Judges answers by the rules of their endpoints.

    Rules are about answers: where none came, none of them is met, whatever it says. Those of an endpoint (`ack`, and the `when`
    of each of `on_response`) are evaluated together, and an expression without a value is one that is not true. In a batch
    `event` is the first one.
    """

    def __init__(self, expressions: Expressions) -> None:
        self._expressions = expressions

    async def judge(self, endpoint: Endpoint, event: Event, result: Result, number: int) -> Judgement:
        """What this means as the answer to attempt `number`. It may take as long as expressions may; nothing depends on whether
        it comes to an end, as nothing is on record before."""
        if isinstance(result, Answer) and result.sealed:
            return _not_opened(result)
        if isinstance(result, Failure) or (endpoint.ack is None and not endpoint.on_response):
            return plainly(result)
        outcomes = await self._outcomes(
            judging(endpoint), Facts(event=event, endpoint=endpoint, answer=result, number=number)
        )
        judgement = _acknowledged(endpoint, result, outcomes)
        for index, rule in enumerate(endpoint.on_response):
            place = f"on_response[{index}]"
            outcome = outcomes[f"{place}.when"] if rule.when else _TRUE
            if isinstance(outcome, Failed):
                # A field that is not there is the usual way for a rule not to be meant. Anything else is worth a word.
                if outcome.because is not FailedBecause.ERROR:
                    judgement = _saying(judgement, f"{place}.when has no value: {outcome.detail}")
            elif outcome.value is True:
                return _with_rule(judgement, rule, place)
        return _with_header(judgement, result)

    async def _outcomes(self, found: Sequence[tuple[str, Expression]], facts: Facts) -> Mapping[str, Outcome]:
        if not found:
            return {}
        outcomes = await self._expressions.evaluate([expression for _, expression in found], facts)
        return {path: outcome for (path, _), outcome in zip(found, outcomes, strict=True)}


def _not_opened(answer: Answer) -> Judgement:
    """Of an answer that had to be encrypted, and does not open: nothing is met that it says."""
    usual = classify(answer)
    return Judgement(ACK_FAILED if usual == CONFIRMED else usual, NOT_OPENED)


def _acknowledged(endpoint: Endpoint, answer: Answer, outcomes: Mapping[str, Outcome]) -> Judgement:
    """By the status and `ack`. An answer that is not 2xx keeps the reason that it has without the rule."""
    usual = classify(answer)
    if endpoint.ack is None:
        return CONFIRMS if usual == CONFIRMED else Judgement(usual)
    acknowledged = judge_ack(endpoint.ack, answer, outcomes)
    if acknowledged.confirmed:
        return CONFIRMS
    ours = acknowledged.undecided and any(
        isinstance(outcome, Failed) and outcome.because is FailedBecause.UNAVAILABLE
        for path, outcome in outcomes.items()
        if path.startswith("ack.")
    )
    if usual == CONFIRMED:
        usual = ACK_FAILED if acknowledged.undecided else NOT_ACKNOWLEDGED
    return Judgement(usual, in_one_line(acknowledged.words), ours=ours)


def _saying(judgement: Judgement, words: str) -> Judgement:
    if judgement.words is not None:
        words = f"{judgement.words}; {words}"
    return msgspec.structs.replace(judgement, words=in_one_line(words))


def _with_rule(judgement: Judgement, rule: AnyRule, place: str) -> Judgement:
    reason = _TOLD.get(type(rule))
    if reason is None:  # an effect: what becomes of the delivery is as it was
        return msgspec.structs.replace(judgement, rule=rule, place=place)
    return Judgement(reason, None if reason == CONFIRMED else f"{place} says so", rule, place)


def _with_header(judgement: Judgement, answer: Answer) -> Judgement:
    """With what the answer asks for itself."""
    try:
        rule = action_of(answer)
    except NotUnderstood as error:
        return _saying(judgement, str(error))
    return judgement if rule is None else _with_rule(judgement, rule, HEADER)
