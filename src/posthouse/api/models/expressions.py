"""Trying an expression."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from pydantic import Field

from posthouse.api.models.common import Answer, Body, Instant
from posthouse.api.texts.reading import Said
from posthouse.domain.expression import Use
from posthouse.domain.limits import EXPRESSION_LENGTH_MAX, TEXT_LENGTH_MAX
from posthouse.manage.expressions import SampleAnswer, SampleEvent, Tried

UseName = Literal["filter", "value", "text", "rule", "answer_value", "answer_text"]

_Text = Annotated[str | None, Field(json_schema_extra={"maxLength": TEXT_LENGTH_MAX})]


class ExpressionEvent(Body):
    """The event that it looks at. What is left out is made up, or null."""

    id: Annotated[str | None, Field(description="Default: a new one.", examples=["evt_06b1v8k3m5x0000000000000"])] = (
        None
    )
    type: Annotated[str | None, Field(description="Default: event.sample.", examples=["order.paid"])] = None
    subject: _Text = None
    time: Annotated[Instant | None, Field(description="When it was published. Default: now.")] = None
    key: _Text = None
    source: _Text = None
    data: Annotated[Any, Field(description="Its data, as JSON. Default: {}.", examples=[{"total": 120}])] = None
    attributes: Annotated[
        dict[str, str] | None, Field(description="Its CloudEvents extension attributes. Default: none.")
    ] = None

    def sample(self) -> SampleEvent:
        """As it is tried."""
        return SampleEvent(
            id=self.id,
            type=SampleEvent().type if self.type is None else self.type,
            subject=self.subject,
            time=None if self.time is None else self.time.timestamp(),
            key=self.key,
            source=self.source,
            payload=msgspec.json.encode(self.data) if "data" in self.model_fields_set else b"{}",
            attributes=self.attributes,
        )


class ExpressionResponse(Body):
    """The answer that it looks at, where its use is one of an answer."""

    status: Annotated[int | None, Field(ge=100, le=599, description="Default: 200.")] = None
    headers: Annotated[
        dict[str, str] | None,
        Field(description="Default: none.", examples=[{"content-type": "application/json"}]),
    ] = None
    body: Annotated[str | None, Field(description="As text. Default: empty.", examples=['{"code":0}'])] = None
    attempt: Annotated[int | None, Field(ge=1, le=1_000, description="attempt.number. Default: 1.")] = None

    def sample(self) -> SampleAnswer:
        """As it is tried."""
        return SampleAnswer(
            status=self.status or 200,
            headers=self.headers or {},
            body=(self.body or "").encode(),
            attempt=self.attempt or 1,
        )


class ExpressionCheck(Body):
    """An expression, and what to try it with."""

    expression: Annotated[
        str,
        Field(json_schema_extra={"maxLength": EXPRESSION_LENGTH_MAX}, examples=["event.data.total > 100"]),
    ]
    use: Annotated[
        UseName | None,
        Field(
            description="What it is for, which says what it may look at and what it must come to. filter: true or false of an "
            "event; value: any JSON; text: a text, a number or a bool; rule, answer_value and answer_text: the same with "
            "response and attempt. Default: filter.",
        ),
    ] = None
    event: ExpressionEvent | None = None
    response: ExpressionResponse | None = None

    def wanted_use(self) -> Use:
        """What it is for."""
        return Use.FILTER if self.use is None else Use(self.use)


class ExpressionAnswer(Answer):
    """What it came to, or why it came to nothing."""

    ok: Annotated[bool, Field(description="Whether it has a value.")]
    value: Annotated[Any, Field(description="The value, where it is ok.")] = None
    type: Annotated[Literal["null", "bool", "number", "text", "list", "object"] | None, Field(description="Its type.")]
    because: Annotated[
        Literal["invalid", "error", "wrong_type", "too_large", "too_long", "memory", "unavailable"] | None,
        Field(description="Why it has no value; invalid: it could not be stored either."),
    ]
    detail: Annotated[Said | None, Field(description="The same for a person.")]
    line: Annotated[int | None, Field(description="Where in the text, counted from 1.")]
    column: Annotated[int | None, Field(description="Where in the line, counted from 1 in characters.")]

    @classmethod
    def of(cls, tried: Tried) -> ExpressionAnswer:
        """As it is told."""
        return cls.model_validate(msgspec.structs.asdict(tried))
