"""Expressions whose outcomes a test decides, for what judges answers by them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from posthouse.domain.expression import Expression, Facts, Failed, FailedBecause, Outcome, Value

NO_KEY = Failed(FailedBecause.ERROR, "no such key: code")
UNAVAILABLE = Failed(FailedBecause.UNAVAILABLE, "too many wait")


class ScriptedExpressions:
    """`ports.expressions.Expressions` whose outcomes are by text: of one that is not there `NO_KEY`. `waits`: none is
    evaluated at once, and those that are waited for only when `open`."""

    def __init__(self, outcomes: dict[str, Outcome | bool | Callable[[Facts], bool]], *, waits: bool = False) -> None:
        self.outcomes = outcomes
        self.waits = waits
        self.open = asyncio.Event()
        self.open.set()
        self.asked: list[tuple[list[Expression], Facts]] = []
        self.waiting = 0

    def check(self, expression: Expression, *, path: str) -> None:
        pass

    def at_once(self, expressions: Sequence[Expression], facts: Facts) -> list[Outcome] | None:
        return None if self.waits else self._outcomes(expressions, facts)

    async def evaluate(self, expressions: Sequence[Expression], facts: Facts) -> list[Outcome]:
        self.waiting += 1
        try:
            await self.open.wait()
        finally:
            self.waiting -= 1
        return self._outcomes(expressions, facts)

    def _outcomes(self, expressions: Sequence[Expression], facts: Facts) -> list[Outcome]:
        self.asked.append((list(expressions), facts))
        return [self._outcome(self.outcomes.get(expression.text, NO_KEY), facts) for expression in expressions]

    def _outcome(self, scripted: Outcome | bool | Callable[[Facts], bool], facts: Facts) -> Outcome:
        match scripted:
            case Value() | Failed():
                return scripted
            case bool():
                return Value(scripted)
            case _:
                return Value(scripted(facts))
