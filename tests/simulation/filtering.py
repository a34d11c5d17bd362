"""Filters of the simulation: a rule is `MANNER:KEYS`, true of events whose key is among the letters; the manner says how it is
evaluated."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from posthouse.domain.endpoint import EndpointConfig
from posthouse.domain.event import Event
from posthouse.domain.expression import Expression, Facts, Failed, FailedBecause, Outcome, Value
from posthouse.domain.filters import Dialect, Filters, OnFilterError

if TYPE_CHECKING:
    from tests.simulation.process import Process

FAILED: Final = Failed(FailedBecause.ERROR, "it fails now and then")
MANNERS: Final = ("quick", "shaky", "late", "flaky", "dialect")
"""At once; at once, and it fails now and then; later; later, and it fails now and then; without an expression."""

KEYS: Final = ("a", "ab", "bc", "abc")
FILTERED: Final = 0.5  # of the histories
LARGE: Final = 0.1  # of the events, for whose filters there is no time at once
FAILS: Final = 0.15
SLOW: Final = 0.05
FILTERING_SECONDS: Final = 0.2
SLOW_SECONDS_MAX: Final = 5.0  # more than an event waits


class Rule(NamedTuple):
    """What an endpoint's filter is, for a while."""

    filter: str = ""
    filters: Filters = ()
    on_error: OnFilterError = OnFilterError.DELIVER
    by_app: tuple[str, ...] = ()

    @classmethod
    def drawn(cls, draw: random.Random) -> Rule:
        if draw.random() < 0.3:
            return NO_RULE
        manner, keys, on_error = draw.choice(MANNERS), draw.choice(KEYS), draw.choice(list(OnFilterError))
        if manner == "dialect":
            return cls(filters=(Dialect(any=tuple(Dialect(exact={"key": key}) for key in keys)),), on_error=on_error)
        return cls(f"{manner}:{keys}", on_error=on_error, by_app=("filter",) if draw.random() < 0.2 else ())


NO_RULE: Final = Rule()


def passes(config: EndpointConfig, event: Event) -> bool:
    """Whether an event is one for an endpoint that is configured so, by its filter."""
    keys = config.filter.partition(":")[2]
    for dialect in config.filters:
        keys = "".join(each.exact["key"] for each in dialect.any or () if each.exact)
    return not keys or (event.key is not None and event.key in keys)


class SimExpressions:
    """`ports.expressions.Expressions` of one process: some rules it evaluates at once, others later, and some fail."""

    def __init__(self, process: Process, seed: int) -> None:
        self._process = process
        self._random = random.Random(seed)

    def check(self, expression: Expression, *, path: str) -> None:
        """Nobody asks."""

    def at_once(self, expressions: Sequence[Expression], facts: Facts) -> list[Outcome] | None:
        if self._random.random() < LARGE or any(e.by_app or e.text[0] not in "qs" for e in expressions):
            return None
        return [self._outcome(expression, facts.event) for expression in expressions]

    async def evaluate(self, expressions: Sequence[Expression], facts: Facts) -> list[Outcome]:
        world = self._process.world
        slow = world.network.trouble and self._random.random() < SLOW
        await asyncio.sleep(self._random.random() * (SLOW_SECONDS_MAX if slow else world.filtering_seconds))
        return [self._outcome(expression, facts.event) for expression in expressions]

    def _outcome(self, expression: Expression, event: Event) -> Outcome:
        manner, _, keys = expression.text.partition(":")
        if manner in ("shaky", "flaky") and self._random.random() < FAILS:
            return FAILED
        return Value(event.key is not None and event.key in keys)
