"""The port `Expressions`, with CEL: checked here, evaluated here where that certainly takes a few milliseconds at most, and
else in limited processes."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from posthouse.adapters.cel.resting import Resting
from posthouse.adapters.cel.sampling import Bounds, Sample, Sizes, TooMuch, joined, variables
from posthouse.adapters.cel.worker import ask, read_reply
from posthouse.adapters.limited.pool import NoReply, Pool, PoolLimits, Reply, Why
from posthouse.domain.cache_use import CacheFacts, CacheUse
from posthouse.domain.errors import InvalidExpression
from posthouse.domain.expression import Expression, Facts, Failed, FailedBecause, Outcome, Use
from posthouse.domain.limits import (
    AT_ONCE_BYTES_MAX,
    AT_ONCE_COMPILED_MAX,
    AT_ONCE_EXPRESSIONS_MAX,
    AT_ONCE_NODES_MAX,
    AT_ONCE_PAYLOAD_BYTES_MAX,
    EXPRESSION_KILLS_MAX,
    EXPRESSION_MEMORY_BYTES,
    EXPRESSION_SECONDS,
    EXPRESSION_WAITING_BYTES_MAX,
    EXPRESSION_WAITING_CALLS_MAX,
    EXPRESSION_WAITING_SECONDS_MAX,
    EXPRESSION_WORKERS,
    EXPRESSIONS_CACHED_MAX,
    PAYLOAD_BYTES_MAX,
)
from posthouse.ports.telemetry import Telemetry

if TYPE_CHECKING:
    from posthouse.adapters.cel.program import Program

WORKER: Final = "posthouse.adapters.cel.worker"

AT_ONCE: Final = Bounds(AT_ONCE_PAYLOAD_BYTES_MAX, AT_ONCE_BYTES_MAX, AT_ONCE_NODES_MAX)
AT_ONCE_COST_MAX: Final = 2_000_000  # nanoseconds, about, beside what conversion takes
NODE_COST: Final = 100  # nanoseconds, about, of looking at one value in a loop
SQUARE_COST: Final = 20  # the same for each value that a loop has added to its list, each time it adds one


class CelLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator may set."""

    workers: int = EXPRESSION_WORKERS
    memory_bytes: int = EXPRESSION_MEMORY_BYTES
    seconds: float = EXPRESSION_SECONDS
    payload_bytes_max: int = PAYLOAD_BYTES_MAX


class CelExpressions:
    """Expressions in CEL. Nothing of the runtime is loaded before there is one.

    What `at_once` evaluates, it evaluates within about 5 ms: light expressions of the operator (`judging.py`), over few and
    small fields. Everything else has its limits from the process that it is evaluated in.
    """

    def __init__(self, limits: CelLimits | None = None) -> None:
        self._limits = limits or CelLimits()
        reply_bytes = 2 * self._limits.payload_bytes_max
        self.pool = Pool(
            WORKER,
            [str(self._limits.payload_bytes_max)],
            limits=PoolLimits(
                workers=self._limits.workers,
                memory_bytes=self._limits.memory_bytes,
                seconds=self._limits.seconds,
                reply_bytes=reply_bytes,
                waiting_calls=EXPRESSION_WAITING_CALLS_MAX,
                waiting_bytes=EXPRESSION_WAITING_BYTES_MAX,
                waiting_seconds=EXPRESSION_WAITING_SECONDS_MAX,
            ),
        )
        self._programs: OrderedDict[tuple[str, Use], Program | Failed] = OrderedDict()
        self._use = CacheUse()
        self._resting = Resting()

    async def close(self) -> None:
        """End the limited processes."""
        await self.pool.close()

    def watch(self, telemetry: Telemetry) -> None:
        """Let its gauges be read whenever somebody scrapes."""
        telemetry.watch_cache("expressions", lambda: self.cached)
        telemetry.watch("expression_calls_waiting", lambda: self.pool.waiting)
        telemetry.watch("expressions_resting", lambda: self._resting.count)
        telemetry.watch("expression_calls", lambda: self.pool.calls)
        telemetry.watch("expression_refusals", lambda: self.pool.refused)
        telemetry.watch("expression_kills", lambda: self.pool.ended)

    @property
    def cached(self) -> CacheFacts:
        """The compiled expressions."""
        return self._use.facts(len(self._programs))

    @property
    def resting(self) -> int:
        """Expressions that failed so hard, so often, that they are not evaluated for a while."""
        return self._resting.count

    def check(self, expression: Expression, *, path: str) -> None:
        """See the port."""
        from posthouse.adapters.cel.program import NotOne, Program, compile_expression

        key = (expression.text, expression.use)
        if isinstance(self._programs.get(key), Program):
            return
        try:
            program = compile_expression(*key)
        except NotOne as error:
            raise InvalidExpression(str(error), path=path, line=error.line, column=error.column) from None
        self._keep(key, program)

    def at_once(self, expressions: Sequence[Expression], facts: Facts) -> list[Outcome] | None:
        """See the port."""
        if len(expressions) > AT_ONCE_EXPRESSIONS_MAX:
            return None
        programs = []
        new = 0
        for expression in expressions:
            if expression.by_app:
                return None
            new += (expression.text, expression.use) not in self._programs
            if new > AT_ONCE_COMPILED_MAX:
                return None
            program = self._program(expression)
            if isinstance(program, Failed):
                return None
            if not program.looks.light:
                return None
            programs.append(program)
        if not programs:
            return []
        from posthouse.adapters.cel.evaluating import Evaluation, Exceeded
        from posthouse.adapters.cel.results import ResultBounds

        try:
            made, sizes = variables(Sample.of(facts), joined([program.looks for program in programs]), AT_ONCE)
            if _cost(programs, sizes) > AT_ONCE_COST_MAX:
                return None
            return Evaluation(made, ResultBounds(AT_ONCE_BYTES_MAX, AT_ONCE_NODES_MAX)).all(programs)
        except (TooMuch, Exceeded, ValueError):
            return None

    async def evaluate(self, expressions: Sequence[Expression], facts: Facts) -> list[Outcome]:
        """See the port."""
        for expression in expressions:
            if not expression.by_app and (expression.text, expression.use) not in self._programs:
                self._program(expression)
                await asyncio.sleep(0)  # others have their turn between one and the next
        outcomes = self.at_once(expressions, facts)
        if outcomes is not None:
            return outcomes
        sample = Sample.of(facts)
        return await self.evaluate_sample([(each.text, each.use) for each in expressions], sample)

    async def evaluate_sample(self, texts: Sequence[tuple[str, Use]], sample: Sample) -> list[Outcome]:
        """Evaluate over a sample, in a limited process. One outcome each."""
        owner = sample.app or ""
        outcomes: dict[tuple[str, Use], Outcome] = {}
        for text in texts:
            if self._resting.rests(owner, text):
                outcomes[text] = _RESTS
        left = [text for text in dict.fromkeys(texts) if text not in outcomes]
        together, why = await self._call(owner, left, sample)
        if why is None or len(left) == 1:
            outcomes.update(zip(left, together, strict=True))
            if why is None:
                self._resting.went_well(owner, left)
            elif why.begun:
                self._resting.struck(owner, left[0])
        elif not why.begun:
            outcomes.update(zip(left, together, strict=True))
        else:
            await self._apart(owner, left, sample, outcomes)
        return [outcomes[text] for text in texts]

    async def _apart(
        self, owner: str, texts: Sequence[tuple[str, Use]], sample: Sample, outcomes: dict[tuple[str, Use], Outcome]
    ) -> None:
        """One of them took its process with it: each by itself, until too many do."""
        kills = 1
        for text in texts:
            if kills >= EXPRESSION_KILLS_MAX:
                outcomes[text] = Failed(
                    FailedBecause.UNAVAILABLE, "others that were evaluated with it took all the time"
                )
                continue
            (outcome,), why = await self._call(owner, [text], sample)
            outcomes[text] = outcome
            if why is None:
                self._resting.went_well(owner, [text])
            elif why.begun:
                kills += 1
                self._resting.struck(owner, text)

    async def _call(
        self, owner: str, texts: Sequence[tuple[str, Use]], sample: Sample
    ) -> tuple[list[Outcome], Why | None]:
        """Of each what it came to; and why a process has no reply, where it has none."""
        if not texts:
            return [], None
        match await self.pool.call(owner, ask(sample, texts, self._limits.payload_bytes_max)):
            case Reply(data):
                return read_reply(data), None
            case NoReply(why, detail):
                return [_failed(why, detail)] * len(texts), why

    # Compiled expressions

    def _program(self, expression: Expression) -> Program | Failed:
        key = (expression.text, expression.use)
        known = self._programs.get(key)
        if known is not None:
            self._use.hits += 1
            self._programs.move_to_end(key)
            return known
        self._use.misses += 1
        from posthouse.adapters.cel.program import program_of

        known = program_of(*key)
        self._keep(key, known)
        return known

    def _keep(self, key: tuple[str, Use], program: Program | Failed) -> None:
        self._programs[key] = program
        self._programs.move_to_end(key)
        if len(self._programs) > EXPRESSIONS_CACHED_MAX:
            self._programs.popitem(last=False)


def _cost(programs: Sequence[Program], sizes: Sizes) -> int:
    """In nanoseconds, about."""
    by_size = by_nodes = by_square = 0
    for program in programs:
        looks = program.looks
        by_size += looks.by_size
        by_nodes += looks.by_nodes
        by_square += looks.by_square
    nodes = sizes.nodes
    return by_size * sizes.bytes + by_nodes * nodes * NODE_COST + by_square * nodes * nodes * SQUARE_COST


_RESTS: Final = Failed(FailedBecause.UNAVAILABLE, "it failed so often that it rests for a while")

_BECAUSE: Final = {
    Why.BUSY: FailedBecause.UNAVAILABLE,
    Why.UNAVAILABLE: FailedBecause.UNAVAILABLE,
    Why.TOO_LONG: FailedBecause.TOO_LONG,
    Why.MEMORY: FailedBecause.MEMORY,
    Why.DIED: FailedBecause.MEMORY,
    Why.TOO_LARGE: FailedBecause.TOO_LARGE,
    Why.RAISED: FailedBecause.ERROR,
}


def _failed(why: Why, detail: str) -> Failed:
    return Failed(_BECAUSE[why], detail)
