"""Expressions that a test scripts: what each text comes to, as a function of the event or as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from posthouse.domain.expression import Expression, Facts, Failed, FailedBecause, Outcome, Value


class ScriptedExpressions:
    """`ports.expressions.Expressions`. What raises KeyError has no value; `waits`: nothing is evaluated at once; `meanwhile` is
    called while something is evaluated in its own time."""

    def __init__(
        self,
        script: Mapping[str, Callable[[Facts], Any] | Any],
        *,
        waits: bool = False,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> None:
        self.script = script
        self.waits = waits
        self.meanwhile = meanwhile
        self.calls: list[tuple[str, ...]] = []

    def check(self, expression: Expression, *, path: str) -> None:
        """All are good."""

    def at_once(self, expressions: Sequence[Expression], facts: Facts) -> list[Outcome] | None:
        return None if self.waits else self._evaluated(expressions, facts)

    async def evaluate(self, expressions: Sequence[Expression], facts: Facts) -> list[Outcome]:
        self.meanwhile()
        return self._evaluated(expressions, facts)

    def _evaluated(self, expressions: Sequence[Expression], facts: Facts) -> list[Outcome]:
        self.calls.append(tuple(each.text for each in expressions))
        return [self._one(each.text, facts) for each in expressions]

    def _one(self, text: str, facts: Facts) -> Outcome:
        found = self.script[text]
        try:
            value = found(facts) if callable(found) else found
        except KeyError:
            return Failed(FailedBecause.ERROR, "no such field")
        return value if isinstance(value, Failed) else Value(value)
