"""Expressions that need no language: what each comes to is a function of what it looks at."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence

from posthouse.domain.expression import Expression, Facts, Failed, FailedBecause, Outcome, Value

FAILED = Failed(FailedBecause.ERROR, "no such field")


class FakeExpressions:
    """`ports.expressions.Expressions` by text. What is `heavy`, or an app wrote, is not evaluated at once; what is evaluated
    later waits for `gate`, if there is one."""

    def __init__(
        self, meanings: dict[str, Callable[[Facts], object]] | None = None, *, heavy: Collection[str] = ()
    ) -> None:
        self.meanings = meanings or {}
        self.heavy = set(heavy)
        self.gate: asyncio.Event | None = None
        self.at_once_calls: list[list[str]] = []
        self.evaluations: list[list[str]] = []

    def check(self, expression: Expression, *, path: str) -> None:
        """Anything goes."""

    def at_once(self, expressions: Sequence[Expression], facts: Facts) -> list[Outcome] | None:
        self.at_once_calls.append([expression.text for expression in expressions])
        if any(expression.by_app or expression.text in self.heavy for expression in expressions):
            return None
        return [self._outcome(expression, facts) for expression in expressions]

    async def evaluate(self, expressions: Sequence[Expression], facts: Facts) -> list[Outcome]:
        self.evaluations.append([expression.text for expression in expressions])
        if self.gate is not None:
            await self.gate.wait()
        return [self._outcome(expression, facts) for expression in expressions]

    def _outcome(self, expression: Expression, facts: Facts) -> Outcome:
        found = self.meanings[expression.text](facts)
        return found if isinstance(found, Failed) else Value(found)
