"""Trying an expression: what it comes to of a sample, or why it comes to nothing."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec

from posthouse.domain.access import Principal
from posthouse.domain.endpoint import Endpoint
from posthouse.domain.errors import Invalid, InvalidExpression, Overloaded
from posthouse.domain.event import JSON_CONTENT, Event
from posthouse.domain.exchange import NO_TIMINGS, Answer
from posthouse.domain.expression import Expression, Facts, Failed, Use, Value
from posthouse.domain.ids import EVENT, ID_BYTES, AppId, EndpointId, EventId, parse_id
from posthouse.domain.limits import EXPRESSION_TRIALS_MAX, RESPONSE_HEADERS_MAX, RESPONSE_READ_BYTES_MAX
from posthouse.ports.clock import Clock
from posthouse.ports.expressions import Expressions

INVALID: Final = "invalid"


class SampleEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event that an expression is tried with. What is left out is made up."""

    id: str | None = None
    type: str = "event.sample"
    subject: str | None = None
    time: float | None = None  # unix seconds
    key: str | None = None
    source: str | None = None
    content_type: str = JSON_CONTENT
    payload: bytes = b"{}"
    attributes: dict[str, str] | None = None


class SampleAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer of a target."""

    status: int = 200
    headers: dict[str, str] = {}
    body: bytes = b""
    attempt: int = 1


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """`ok`: it came to `value`, of this `type`. Else `because` and `detail` say why not, with the place where it is one in the
    text."""

    ok: bool
    value: Any = None
    type: str | None = None
    because: str | None = None
    detail: str | None = None
    line: int | None = None
    column: int | None = None


class ExpressionTrials:
    """Anybody with a key tries expressions. Each is evaluated in a limited process, whoever wrote it."""

    def __init__(self, expressions: Expressions, clock: Clock) -> None:
        self._expressions = expressions
        self._clock = clock
        self._turns = asyncio.Semaphore(EXPRESSION_TRIALS_MAX)

    async def run(
        self, principal: Principal, text: str, use: Use, event: SampleEvent, answer: SampleAnswer | None
    ) -> Tried:
        """Raises Invalid (of the sample), Overloaded."""
        if self._turns.locked():
            raise Overloaded(f"{EXPRESSION_TRIALS_MAX} expressions are tried already; try again shortly")
        async with self._turns:
            expression = Expression(text, use, by_app=True)
            facts = self._facts(principal, event, answer if use.of_answer else None, use)
            try:
                self._expressions.check(expression, path="expression")
            except InvalidExpression as error:
                return Tried(ok=False, because=INVALID, detail=error.reason, line=error.line, column=error.column)
            (outcome,) = await self._expressions.evaluate([expression], facts)
        match outcome:
            case Value(value):
                return Tried(ok=True, value=value, type=_type_of(value))
            case Failed(because, detail):
                return Tried(ok=False, because=because.value, detail=detail)

    def _facts(self, principal: Principal, event: SampleEvent, answer: SampleAnswer | None, use: Use) -> Facts:
        now = self._clock.now()
        app_id = principal.app_id or AppId(bytes(ID_BYTES))
        endpoint = Endpoint(id=EndpointId(bytes(ID_BYTES)), app_id=app_id, partition=0, revision=1, url="")
        given = None if event.id is None else parse_id(EVENT, event.id)
        if event.id is not None and given is None:
            raise Invalid("must be an event's id, such as evt_06b1v8k3m5x…", path="event.id")
        made = Event(
            EventId(given or self._clock.new_id()),
            0,
            0,
            app_id,
            event.type,
            event.payload,
            event.content_type,
            now if event.time is None else event.time,
            0,
            subject=event.subject,
            key=event.key,
            source=event.source,
            attributes=None if event.attributes is None else msgspec.json.encode(event.attributes),
        )
        if not use.of_answer:
            return Facts(event=made, endpoint=endpoint)
        answered = answer or SampleAnswer()
        if len(answered.body) > RESPONSE_READ_BYTES_MAX:
            raise Invalid(f"of an answer at most {RESPONSE_READ_BYTES_MAX} bytes are read", path="response.body")
        if len(answered.headers) > RESPONSE_HEADERS_MAX:
            raise Invalid(f"an answer has at most {RESPONSE_HEADERS_MAX} headers", path="response.headers")
        headers = tuple([(name.lower().encode(), value.encode()) for name, value in answered.headers.items()])
        return Facts(
            event=made,
            endpoint=endpoint,
            answer=Answer(answered.status, headers, answered.body, NO_TIMINGS),
            number=answered.attempt,
        )


def _type_of(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "bool"
        case int() | float():
            return "number"
        case str():
            return "text"
        case list():
            return "list"
        case _:
            return "object"
