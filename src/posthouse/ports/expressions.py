"""Expressions: checked as they are written, evaluated within limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from posthouse.domain.expression import Expression, Facts, Failed, FailedBecause, Outcome


class Expressions(Protocol):
    def check(self, expression: Expression, *, path: str) -> None:
        """Whether it may be stored.

        Raises InvalidExpression with `path` and the position in the text: a syntax error, an unknown variable, a type that
        cannot be what its use asks for, or one of the static limits. It may take a few milliseconds.
        """
        ...

    def at_once(self, expressions: Sequence[Expression], facts: Facts) -> list[Outcome] | None:
        """Evaluate all of them now, one outcome each, in order, without waiting and within a few milliseconds. None where that
        is not certain: an app wrote one of them, one needs more than that, or the facts are large. It is for those who cannot
        wait: others `evaluate` them."""
        ...

    async def evaluate(self, expressions: Sequence[Expression], facts: Facts) -> list[Outcome]:
        """One outcome each, in order: `at_once` where that can be, and else in a limited process. What cannot be evaluated is
        `Failed`."""
        ...


class NoExpressions:
    """`Expressions` where nothing evaluates any: they have no value."""

    def check(self, expression: Expression, *, path: str) -> None:
        """It may be stored."""

    def at_once(self, expressions: Sequence[Expression], facts: Facts) -> list[Outcome] | None:
        return _no_values(expressions)

    async def evaluate(self, expressions: Sequence[Expression], facts: Facts) -> list[Outcome]:
        return _no_values(expressions)


def _no_values(expressions: Sequence[Expression]) -> list[Outcome]:
    return [Failed(FailedBecause.UNAVAILABLE, "nothing here evaluates expressions") for _ in expressions]


NO_EXPRESSIONS: Final = NoExpressions()
