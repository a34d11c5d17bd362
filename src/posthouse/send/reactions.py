"""What a response rule makes happen: the values of its effects, and what is recorded of them with the attempt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, assert_never

import msgspec
from msgspec import UNSET

from posthouse.domain.action import AnyAction, Emit, Forward, Notify, SetMetadata, Throttle
from posthouse.domain.chaining import Did, Origin, Reaction, depth_of, effects_of, encode_reaction
from posthouse.domain.delivery import Attempt, Delivery, Effect
from posthouse.domain.endpoint import Endpoint
from posthouse.domain.endpoint import Throttle as ThrottleUntil
from posthouse.domain.errors import Invalid
from posthouse.domain.event import Event
from posthouse.domain.exchange import Answer, Failure, Result
from posthouse.domain.expression import Expression, Facts, Failed, Outcome, Value
from posthouse.domain.ids import EndpointId
from posthouse.domain.reaction import (
    AnyEffect,
    AnyRule,
    CallRule,
    EmitRule,
    ForwardRule,
    NotifyRule,
    SetRule,
    ThrottleRule,
)
from posthouse.domain.rules import effect_texts
from posthouse.ports.expressions import Expressions
from posthouse.send.judge import Judgement
from posthouse.settle.calls import NO_HANDLER, Calls
from posthouse.settle.chains import Chains
from posthouse.wire.answer import redacted_answer
from posthouse.wire.answered import payload_of

NO_VALUE: Final = "no value"
TOO_MANY: Final = "too many effects wait to be done"
STOPPED: Final = {
    "depth": "too many events follow from each other",
    "budget": "too many events in this minute",
}

Deed = tuple[AnyEffect, AnyAction | None, str]
"""An effect of a rule, what it comes to (None for a call, and where it comes to nothing), and why it comes to nothing."""


class Reacting(msgspec.Struct, frozen=True, gc=False):
    """A response rule that counts for an answer, with the values that it asked for: ready to be recorded."""

    rule: AnyRule
    place: str
    deeds: tuple[Deed, ...]
    answer: Answer  # masked as it goes on record

    @property
    def repeated(self) -> Reacting:
        """The same for the next event of the request: what the rule asks for is done once for an answer."""
        return self if not self.deeds else msgspec.structs.replace(self, deeds=())


class Reactions:
    """Evaluates effects before their attempt is settled, and records them with it. What has no value, or must not be published,
    is not done: the attempt says so, and operators are told. It never costs the delivery anything.

    `slow_down` is told of a rate at once, and says whether that is news; `has_room` says whether a partition may have more
    effects; `calls` is None where there is no callback handler.
    """

    def __init__(
        self,
        expressions: Expressions,
        chains: Chains,
        *,
        slow_down: Callable[[EndpointId, ThrottleUntil], bool] = lambda endpoint_id, throttle: True,
        has_room: Callable[[int], bool] = lambda partition: True,
        calls: Calls | None = None,
    ) -> None:
        self._expressions = expressions
        self._chains = chains
        self._slow_down = slow_down
        self._has_room = has_room
        self.calls = calls
        self.left_out = 0

    async def prepare(
        self, judgement: Judgement, endpoint: Endpoint, delivery: Delivery, result: Result
    ) -> Reacting | None:
        """Evaluate what the effects of the rule say that the answer meets; None where it meets none. In a batch `delivery` is
        the first one."""
        rule = judgement.rule
        if rule is None or isinstance(result, Failure):
            return None
        by_app = "on_response" in endpoint.by_app
        asked = [
            Expression(text, use, by_app) for effect in _effects(rule) for text, use in effect_texts(effect).values()
        ]
        outcomes: Sequence[Outcome] = ()
        if asked:
            facts = Facts(event=delivery.event, endpoint=endpoint, answer=result, number=delivery.number)
            outcomes = await self._expressions.evaluate(asked, facts)
        return _reacting(judgement, rule, endpoint, result, outcomes)

    def simple(self, judgement: Judgement, endpoint: Endpoint, result: Result) -> Reacting | None:
        """The same of a rule without expressions."""
        rule = judgement.rule
        if rule is None or isinstance(result, Failure):
            return None
        return _reacting(judgement, rule, endpoint, result, ())

    def record(
        self, reacting: Reacting, attempt: Attempt, endpoint: Endpoint, event: Event, now: float
    ) -> tuple[Attempt, tuple[Effect, ...]]:
        """The attempt with what became of the rule's effects, and those that are to be recorded with it."""
        origin: Origin | None = None
        effects: list[Effect] = []
        done: list[Did] = []
        for place, (rule, action, why) in enumerate(reacting.deeds):
            detail = _detail(rule)
            made: tuple[Effect, ...] = ()
            if not why and not self._has_room(attempt.partition):
                why = TOO_MANY
            if not why and isinstance(rule, CallRule):
                if self.calls is None:
                    why = NO_HANDLER
                else:
                    made, why = self.calls.asked_for(attempt, event, reacting.answer)
            elif not why and action is not None:
                origin = origin or _origin(reacting, attempt, endpoint, event, now)
                made, why = self._made(action, origin, place)
            if why and why != NO_HANDLER:
                self._left_out(attempt, _then(rule), why)
            effects += made
            done.append(Did(_then(rule), recorded=not why, detail=detail, why=why))
        reaction = Reaction(reacting.place, _then(reacting.rule), tuple(done))
        error = attempt.error
        if error is None:
            error = "; ".join([f"{did.then}: {did.why}" for did in done if did.why]) or None
        text = encode_reaction(reaction).decode()
        return msgspec.structs.replace(attempt, reaction=text, error=error), tuple(effects)

    def _made(self, action: AnyAction, origin: Origin, place: int) -> tuple[tuple[Effect, ...], str]:
        """What is recorded for an action, or why nothing is."""
        try:
            made = effects_of(action, origin, place=place)
        except Invalid as error:
            return (), f"{error.path}: {error}" if error.path else str(error)
        depth = depth_of(action, origin.depth)
        if depth is not None:
            stopped = self._chains.stops(origin.app_id, origin.endpoint_id, origin.event_id, depth)
            if stopped is not None:
                return (), STOPPED[stopped]
        if isinstance(action, Throttle):
            until = ThrottleUntil(action.per_second, origin.at + action.seconds)
            if not self._slow_down(origin.endpoint_id, until):
                return (), ""  # it goes at this rate already
        return made, ""

    def _left_out(self, attempt: Attempt, action: str, why: str) -> None:
        self.left_out += 1
        if why not in STOPPED.values():
            self._chains.troubled.callback_failed(
                attempt.app_id, attempt.endpoint_id, attempt.event_id, action=action, reason=why
            )


def _effects(rule: AnyRule) -> tuple[AnyEffect, ...]:
    own: tuple[AnyEffect, ...] = (rule,) if isinstance(rule, AnyEffect) else ()
    return own + rule.also


def _reacting(
    judgement: Judgement, rule: AnyRule, endpoint: Endpoint, answer: Answer, outcomes: Sequence[Outcome]
) -> Reacting:
    """`outcomes` are those of the expressions of the rule's effects, in order."""
    left = iter(outcomes)
    deeds = tuple([_deed(effect, {name: next(left) for name in effect_texts(effect)}) for effect in _effects(rule)])
    rules = endpoint.redact_answer
    return Reacting(rule, judgement.place, deeds, answer if rules is None else redacted_answer(answer, rules))


def _deed(effect: AnyEffect, outcomes: dict[str, Outcome]) -> Deed:
    values: dict[str, Any] = {}
    for name, outcome in outcomes.items():
        match outcome:
            case Value(value):
                values[name] = value
            case Failed(because, detail):
                return effect, None, f"{name}: {NO_VALUE} ({because.value}): {detail}"
            case _:
                assert_never(outcome)
    match effect:
        case EmitRule():
            action: AnyAction = Emit(
                effect.type,
                data=values.get("data", UNSET),
                subject=_text(values, "subject"),
                key=_text(values, "key"),
            )
        case ForwardRule():
            action = Forward(effect.endpoint, effect.url, effect.type, values.get("data", UNSET))
        case NotifyRule():
            action = Notify(str(values.get("message", "")))
        case SetRule():
            action = SetMetadata(values)
        case ThrottleRule():
            action = Throttle(effect.per_second, effect.seconds)
        case CallRule():
            return effect, None, ""
        case _:
            assert_never(effect)
    return effect, action, ""


def _text(values: dict[str, Any], name: str) -> Any:
    """A value of a field that is a text, as text."""
    if name not in values:
        return UNSET
    value = values[name]
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _origin(reacting: Reacting, attempt: Attempt, endpoint: Endpoint, event: Event, now: float) -> Origin:
    payload, content_type = payload_of(reacting.answer)
    return Origin(
        id=attempt.id,
        attempt=attempt.id,
        partition=attempt.partition,
        app_id=endpoint.app_id,
        endpoint_id=endpoint.id,
        event_id=event.id,
        event_type=event.type,
        subject=event.subject,
        key=event.key,
        depth=event.depth,
        payload=payload,
        content_type=content_type,
        at=now,
    )


def _then(rule: AnyRule) -> str:
    """What a rule says, as it is configured."""
    tag = type(rule).__struct_config__.tag
    assert isinstance(tag, str), "every rule has one"
    return tag


def _detail(rule: AnyEffect) -> str:
    match rule:
        case EmitRule() | ForwardRule():
            return rule.type
        case ThrottleRule():
            return f"{rule.per_second:g}/s"
        case _:
            return ""
