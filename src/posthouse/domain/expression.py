"""Expressions (CEL): what an endpoint's configuration may compute, and what became of computing it.

An expression looks at facts and changes nothing. Whoever wrote it, it cannot hold the server: what is not known to be small is
evaluated in a limited process (`ports/expressions.py`), and whatever goes wrong is a `Failed`, never an exception.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from posthouse.domain.endpoint import Endpoint
from posthouse.domain.event import Event
from posthouse.domain.exchange import Answer
from posthouse.domain.ids import AppId


class Use(StrEnum):
    """What an expression is for: which variables it has, and what it must come to.

    `event`, `app` and `endpoint` are there always; `response` and `attempt` where an answer has come.
    """

    FILTER = "filter"  # bool, without an answer
    VALUE = "value"  # any JSON value, without an answer
    TEXT = "text"  # text, number or bool, which is written as one; without an answer
    RULE = "rule"  # bool, of an answer
    ANSWER_VALUE = "answer_value"  # any JSON value, of an answer
    ANSWER_TEXT = "answer_text"  # text, number or bool, of an answer

    @property
    def of_answer(self) -> bool:
        """Whether it looks at `response` and `attempt`."""
        return self in (Use.RULE, Use.ANSWER_VALUE, Use.ANSWER_TEXT)


class Expression(msgspec.Struct, frozen=True, gc=False):
    """A text, what it is for, and whether a key of an app wrote it rather than the operator: then no more than the limited
    processes ever evaluate it."""

    text: str
    use: Use
    by_app: bool = False


class Facts(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What expressions look at together. Several that share their facts share the work of making them readable."""

    event: Event
    endpoint: Endpoint | None = None  # None: only of the event, for whichever endpoint
    answer: Answer | None = None
    number: int = 1  # of the attempt
    app_id: AppId | None = None  # whose endpoints ask, where neither `endpoint` nor the event says it


class FailedBecause(StrEnum):
    """Why an expression has no value."""

    ERROR = "error"  # a field that is not there, a division by zero, …
    WRONG_TYPE = "wrong_type"  # it came to something else than its use asks for
    TOO_LARGE = "too_large"  # what it looks at, or what it came to
    TOO_LONG = "too_long"  # its deadline
    MEMORY = "memory"
    UNAVAILABLE = "unavailable"  # it failed so often that it rests for a while, or too many wait


class Value(msgspec.Struct, frozen=True, gc=False):
    """What an expression came to: null, bool, int, float, text, or lists and objects of these."""

    value: Any


class Failed(msgspec.Struct, frozen=True, gc=False):
    """`detail` is for a person: short, and without the values it looked at."""

    because: FailedBecause
    detail: str

    @property
    def told(self) -> str:
        """Both, in one line."""
        return f"{self.because.value}: {self.detail}"


Outcome = Value | Failed
