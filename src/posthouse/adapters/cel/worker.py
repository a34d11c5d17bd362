"""The main of the limited processes that evaluate expressions. What they are asked is written by `ask`, their reply read by
`read_reply`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from posthouse.adapters.cel.sampling import Bounds, Sample, TooMuch, joined, variables
from posthouse.adapters.limited.serving import serve
from posthouse.domain.expression import Failed, FailedBecause, Outcome, Use, Value
from posthouse.domain.limits import EXPRESSION_DATA_NODES_MAX


class Asked(msgspec.Struct, array_like=True, frozen=True):
    sample: Sample
    expressions: list[tuple[str, Use]]
    payload_bytes_max: int


class Came(msgspec.Struct, array_like=True, frozen=True):
    """An outcome: of what it failed, or the value."""

    because: FailedBecause | None
    detail: str = ""
    value: Any = None


_encode: Final = msgspec.msgpack.Encoder().encode
_asked: Final = msgspec.msgpack.Decoder(Asked).decode
_came: Final = msgspec.msgpack.Decoder(list[Came]).decode


def ask(sample: Sample, expressions: Sequence[tuple[str, Use]], payload_bytes_max: int) -> bytes:
    """A request of a limited process."""
    return _encode(Asked(sample, list(expressions), payload_bytes_max))


def read_reply(reply: bytes) -> list[Outcome]:
    """What it replies. Raises ValueError."""
    return [Value(came.value) if came.because is None else Failed(came.because, came.detail) for came in _came(reply)]


def prepare(arguments: Sequence[str]) -> Callable[[bytes], bytes]:
    """What answers requests."""
    # Here and not above, so that who only asks does not load the runtime.
    from posthouse.adapters.cel.evaluating import Evaluation
    from posthouse.adapters.cel.program import Program, program_of
    from posthouse.adapters.cel.results import Exceeded, ResultBounds

    result_bounds = ResultBounds(bytes=int(arguments[0]), nodes=EXPRESSION_DATA_NODES_MAX)
    programs: dict[tuple[str, Use], Program | Failed] = {}

    def known_program(text: str, use: Use) -> Program | Failed:
        known = programs.get((text, use))
        if known is None:
            if len(programs) >= PROGRAMS_MAX:
                programs.pop(next(iter(programs)))
            known = programs[text, use] = program_of(text, use)
        return known

    def answer(request: bytes) -> bytes:
        asked = _asked(request)
        found = [known_program(text, use) for text, use in asked.expressions]
        usable = [program for program in found if isinstance(program, Program)]
        bounds = Bounds(asked.payload_bytes_max, asked.payload_bytes_max, EXPRESSION_DATA_NODES_MAX)
        failed: Failed | None = None
        evaluation: Evaluation | None = None
        try:
            made, _ = variables(asked.sample, joined(program.looks for program in usable), bounds)
            evaluation = Evaluation(made, result_bounds)
        except TooMuch as reason:
            failed = Failed(FailedBecause.TOO_LARGE, str(reason))
        except ValueError:
            failed = Failed(FailedBecause.ERROR, "the data are not what their content type says")
        came: list[Came] = []
        for program in found:
            if isinstance(program, Failed):
                outcome: Outcome = program
            elif evaluation is None:
                assert failed is not None
                outcome = failed
            else:
                try:
                    (outcome,) = evaluation.all([program])
                except Exceeded:
                    outcome = Failed(FailedBecause.TOO_LARGE, "what it came to is too large")
            came.append(_told(outcome))
        return _encode(came)

    return answer


def _told(outcome: Outcome) -> Came:
    return Came(None, "", outcome.value) if isinstance(outcome, Value) else Came(outcome.because, outcome.detail)


PROGRAMS_MAX: Final = 2_000

if __name__ == "__main__":
    serve(prepare)
