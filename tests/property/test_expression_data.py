"""What expressions are given of any payload: nothing in it hurts the runtime, and what they come to is what is in it."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.unit.adapters.cel.samples import event

from posthouse.adapters.cel.evaluating import Evaluation
from posthouse.adapters.cel.program import compile_expression
from posthouse.adapters.cel.results import ResultBounds
from posthouse.adapters.cel.sampling import Bounds, Sample, TooMuch, joined, variables
from posthouse.domain.expression import Facts, Failed, FailedBecause, Use, Value

WHOLE = compile_expression("event.data", Use.VALUE)
ONE = compile_expression("event.data.a", Use.VALUE)
BOUNDS = Bounds(payload_bytes=1_000_000, bytes=100_000, nodes=1_000)
RESULTS = ResultBounds(bytes=1_000_000, nodes=10_000)

TEXTS = st.text(st.characters(), max_size=8)  # with NUL and halves of characters
LEAVES = st.none() | st.booleans() | st.integers() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | TEXTS
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4))


def borne(value: Any) -> Any:
    """What is left of a value: the definition."""
    match value:
        case str():
            return re.sub("[\0\ud800-\udfff]", "\ufffd", value)
        case bool():
            return value
        case int():
            return value if -(2**63) <= value < 2**63 else float(value)
        case dict():
            return {borne(key): borne(each) for key, each in value.items()}
        case list():
            return [borne(each) for each in value]
        case _:
            return value


def infinite(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(infinite, value.values()))
    if isinstance(value, list):
        return any(map(infinite, value))
    return isinstance(value, float) and math.isinf(value)


def payload(value: Any) -> bytes:
    """JSON, with an escape for what is no character, and a number that is too large for what is infinite."""
    return _TEXT_OR_INFINITY.sub(
        lambda found: "1e999" if found[0] == "Infinity" else found[0], json.dumps(value)
    ).encode()


_TEXT_OR_INFINITY = re.compile(r'"(?:[^"\\]|\\.)*"|Infinity')


@settings(max_examples=150, deadline=None)
@given(VALUES)
@example({"Infinity": "-Infinity"})
@example({"a\\": [math.inf, '"Infinity']})
def test_data_come_through_as_far_as_they_can(value: Any) -> None:
    sample = Sample.of(Facts(event=event(payload=payload(value))))
    made, _ = variables(sample, joined([WHOLE.looks]), BOUNDS)
    (outcome,) = Evaluation(made, RESULTS).all([WHOLE])
    expected = borne(value)
    if infinite(expected):
        assert isinstance(outcome, Failed)
        assert outcome.because is FailedBecause.WRONG_TYPE
        return
    assert outcome == Value(expected)
    assert json.loads(json.dumps(outcome.value)) == expected


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), VALUES), st.integers(0, 2_000))
def test_a_field_is_the_same_whether_or_not_it_is_cut_out(value: dict[str, Any], filling: int) -> None:
    sample = Sample.of(Facts(event=event(payload=payload(value | {"z": "x" * filling}))))
    whole, _ = variables(sample, joined([WHOLE.looks]), BOUNDS)
    cut, _ = variables(sample, joined([ONE.looks]), BOUNDS)
    assert Evaluation(whole, RESULTS).all([ONE]) == Evaluation(cut, RESULTS).all([ONE])


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200) | VALUES.map(payload), st.integers(0, 5_000), st.sampled_from(["[", '{"a":', "[{}"]))
def test_bytes_of_any_kind_are_refused_at_worst(tail: bytes, depth: int, opening: str) -> None:
    for raw in (tail, opening.encode() * depth + tail):
        sample = Sample.of(Facts(event=event(payload=raw)))
        for program in (WHOLE, ONE):
            try:
                made, _ = variables(sample, joined([program.looks]), BOUNDS)
            except (TooMuch, ValueError):
                continue
            assert len(Evaluation(made, RESULTS).all([program])) == 1
