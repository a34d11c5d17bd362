"""Evaluates expressions over one sample: in this process, now, whatever it takes. Who calls it sees to the limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from posthouse.adapters.cel.names import TIME, variables_of
from posthouse.adapters.cel.program import Program, activation
from posthouse.adapters.cel.results import Exceeded, ResultBounds, failed_as, outcome_of
from posthouse.domain.expression import Failed, FailedBecause, Outcome


class Evaluation:
    """The variables of a sample, which expressions share: those that look at the event alone share their conversion."""

    def __init__(self, made: dict[str, Any], bounds: ResultBounds) -> None:
        self._made = made
        self._bounds = bounds
        self._shared: dict[bool, Any] = {}
        self._known: dict[int, Outcome] = {}

    def all(self, programs: Sequence[Program]) -> list[Outcome]:
        """One outcome each. A program that stands there more than once is evaluated once. Raises Exceeded."""
        return [self._once(program) for program in programs]

    def _once(self, program: Program) -> Outcome:
        outcome = self._known.get(id(program))
        if outcome is None:
            outcome = self._known[id(program)] = self._evaluate(program)
        return outcome

    def _evaluate(self, program: Program) -> Outcome:
        of_answer = program.use.of_answer
        try:
            shared = self._shared.get(of_answer)
            if shared is None:
                shared = self._shared[of_answer] = self._activation(program)
            return outcome_of(program, program.run.eval(shared), self._bounds)
        except RuntimeError as error:
            return failed_as(str(error), program)
        except (ValueError, TypeError, OverflowError) as error:  # a value that Python has no form for
            return failed_as(type(error).__name__, program)
        except MemoryError:
            return Failed(FailedBecause.MEMORY, "it needs more memory than there is for it")

    def _activation(self, program: Program) -> Any:
        known = {TIME, *variables_of(program.use)}
        return activation(program.use, {name: value for name, value in self._made.items() if name in known})


__all__ = ["Evaluation", "Exceeded"]
