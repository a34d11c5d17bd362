"""What is evaluated at once and what is not; what expressions see and come to; and what those that take processes with them
cost others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from tests.unit.adapters.cel.samples import ENDPOINT, answered, apps, event, facts, operators

from posthouse.adapters.cel import evaluating, program, results
from posthouse.adapters.cel.expressions import CelExpressions, CelLimits
from posthouse.adapters.cel.resting import Resting
from posthouse.domain.expression import Facts, Failed, FailedBecause, Outcome, Use, Value
from posthouse.domain.limits import (
    AT_ONCE_EXPRESSIONS_MAX,
    AT_ONCE_NODES_MAX,
    EXPRESSION_KILLS_MAX,
    EXPRESSION_REST_SECONDS,
    EXPRESSION_STRIKES_MAX,
    EXPRESSIONS_CACHED_MAX,
)

SPIN = "event.data.s.split('').map(c, c).size() > 0"
"""Takes far longer than it may: `map` over so many letters."""


@pytest.fixture
async def made() -> AsyncIterator[CelExpressions]:
    expressions = CelExpressions(CelLimits(workers=2, seconds=5.0))
    yield expressions
    await expressions.close()


@pytest.fixture
async def hasty() -> AsyncIterator[CelExpressions]:
    # So much memory that what takes too long does not meet that limit first.
    expressions = CelExpressions(CelLimits(workers=1, seconds=0.3, memory_bytes=4 << 30))
    yield expressions
    await expressions.close()


def one(expressions: CelExpressions, text: str, looked_at: Facts, use: Use = Use.FILTER) -> Outcome | None:
    outcomes = expressions.at_once([operators(text, use)], looked_at)
    return None if outcomes is None else outcomes[0]


# At once, or not


@pytest.mark.parametrize(
    "text",
    [
        "event.data.a == 1",
        "event.data.s.contains('pai') && event.data.s.matches('^pa')",
        "event.data.l.exists(i, i.n > 1 && i.s in ['x', 'y'])",
        "event.data.s.replace('a', 'b') == 'x'",
        "event.data.s + '/' + event.type == 'x'",
    ],
)
async def test_light_ones_are_evaluated_at_once(made: CelExpressions, text: str) -> None:
    assert isinstance(one(made, text, facts({"a": 1, "s": "paid", "l": [{"n": 2, "s": "x"}]})), Value)
    assert made.pool.processes == 0


@pytest.mark.parametrize(
    "text",
    [
        "event.data.s.contains(event.data.t)",
        "event.data.s.contains('" + "a" * 100 + "')",
        "event.data.s.matches(event.data.t)",
        "event.data.s.replace('a', 'bb') == ''",
        "event.data.s.split(',').size() == 1",
        "event.data.l.join(',') == ''",
        "'%s'.format([event.data.s]) == ''",
        "strings.quote(event.data.s) == ''",
        "event.data.l.exists(i, i in event.data.l)",
        "event.data.l.exists(i, event.data.s.contains('a'))",
        "event.data.l.exists(i, event.data.l == event.data.m)",
        "event.data.s" + " + event.data.s" * 12 + " == ''",
    ],
)
async def test_what_may_take_long_is_not(made: CelExpressions, text: str) -> None:
    looked_at = facts({"s": "a", "t": "a", "l": ["a"], "m": []})
    assert one(made, text, looked_at) is None
    (outcome,) = await made.evaluate([operators(text)], looked_at)
    assert isinstance(outcome, Value)
    assert made.pool.processes == 1


async def test_what_an_app_wrote_is_not_and_takes_others_along(made: CelExpressions) -> None:
    assert made.at_once([operators("event.data.a == 1"), apps("event.data.a == 2")], facts({"a": 1})) is None


async def test_only_the_fields_that_are_named_count(made: CelExpressions) -> None:
    large = facts({"a": 1, "l": list(range(AT_ONCE_NODES_MAX + 1)), "t": "x" * 300_000})
    for text in ("event.data.a == 1", "event['data']['a'] == 1", "has(event.data.a)", "!has(event.data.nothing)"):
        assert one(made, text, large) == Value(True)
    for text in ("event.data.l.size() > 1", "event.data.t != ''", "event.data.size() > 1", "size(event) > 1"):
        assert one(made, text, large) is None
        assert await made.evaluate([operators(text)], large) == [Value(True)]


async def test_many_expressions_at_once_are_not_evaluated_here(made: CelExpressions) -> None:
    looked_at = facts({"a": 1})
    few = [operators(f"event.data.a == {n}") for n in range(AT_ONCE_EXPRESSIONS_MAX)]
    for expression in few:
        made.check(expression, path="filter")
    assert made.at_once(few, looked_at) == [Value(n == 1) for n in range(AT_ONCE_EXPRESSIONS_MAX)]
    assert made.at_once([*few, operators("event.data.a == 0")], looked_at) is None


async def test_the_same_text_is_evaluated_once(made: CelExpressions, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    whole = results.outcome_of

    def counted(of: program.Program, *rest: Any) -> Outcome:
        ran.append(of.type)
        return whole(of, *rest)

    monkeypatch.setattr(evaluating, "outcome_of", counted)
    assert made.at_once([operators("event.data.a == 1")] * 50, facts({"a": 1})) == [Value(True)] * 50
    assert len(ran) == 1


async def test_compiled_ones_are_kept_and_bounded(made: CelExpressions) -> None:
    for _ in range(3):
        one(made, "event.data.a == 1", facts({"a": 1}))
    assert made.cached == (1, 2, 1)
    for n in range(EXPRESSIONS_CACHED_MAX + 5):
        made._keep((str(n), Use.FILTER), Failed(FailedBecause.ERROR, "…"))
    assert made.cached.entries == EXPRESSIONS_CACHED_MAX


# What they see


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("event.id", "evt_"),
        ("event.type", "order.paid"),
        ("event.subject", None),
        ("event.key", "k-1"),
        ("event.time", "2023-11-14T22:13:20.250000Z"),
        ("event.time - timestamp('2023-11-14T22:13:18Z')", "2.25s"),
        ("duration('-90m')", "-5400s"),
        ("event.data.a", {"b": [1, 2.5, None, "é", True]}),
        ("{'z': 1, 'a': [event.data.a.b[0], event.type]}", {"a": [1, "order.paid"], "z": 1}),
        ("{1: 'x', 'k': 2u}", {"1": "x", "k": 2}),
        ("{true: 'y'}", {"true": "y"}),
        ("b'\\xff\\x00'", "/wA="),
        ("type(event.data.a)", "map"),
        ("event.attributes", {"ext": "1"}),
        ("event.source", "/shop"),
        ("endpoint.id", "ep_"),
        ("app.id", "app_"),
    ],
)
async def test_what_they_see_and_come_to(made: CelExpressions, text: str, value: Any) -> None:
    seen = Facts(
        event=msgspec.structs.replace(
            event({"a": {"b": [1, 2.5, None, "é", True]}}), source="/shop", attributes=b'{"ext":"1"}'
        ),
        endpoint=ENDPOINT,
    )
    for outcome in (one(made, text, seen, Use.VALUE), (await made.evaluate([apps(text, Use.VALUE)], seen))[0]):
        assert isinstance(outcome, Value)
        if isinstance(value, str) and value.endswith("_"):
            assert str(outcome.value).startswith(value)
        else:
            assert outcome.value == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("response.status == 503 && attempt.number == 3", True),
        ("response.body.code == 7", True),
        ("response.body.code", 7),
        ("response.headers['content-type']", "application/json"),
        ("response.text.size()", 10),
        ("response.xml == null", True),
    ],
)
async def test_what_they_see_of_an_answer(made: CelExpressions, text: str, value: Any) -> None:
    looked_at = answered(b'{"code":7}', status=503)
    assert one(made, text, looked_at, Use.ANSWER_VALUE) == Value(value)
    assert await made.evaluate([apps(text, Use.ANSWER_VALUE)], looked_at) == [Value(value)]


@pytest.mark.parametrize(
    ("text", "use", "value"),
    [
        ("event.data.n", Use.TEXT, "5"),
        ("event.data.f", Use.TEXT, "2.5"),
        ("event.data.n * 1 == 5", Use.TEXT, "true"),
        ("event.data.n / 1", Use.TEXT, "5"),
        ("double(event.data.n)", Use.TEXT, "5"),
        ("event.time", Use.TEXT, "2023-11-14T22:13:20.250000Z"),
        ("event.data.big", Use.VALUE, 1e30),
    ],
)
async def test_texts_are_written_as_such(made: CelExpressions, text: str, use: Use, value: Any) -> None:
    assert one(made, text, facts({"n": 5, "f": 2.5, "big": 10**30}), use) == Value(value)


# What fails


@pytest.mark.parametrize(
    ("text", "use", "because", "detail"),
    [
        ("event.data.nope == 1", Use.FILTER, "error", 'there is no field "nope"'),
        ("event.data.m[event.data.s] == 1", Use.FILTER, "error", "a key that is not there"),
        (
            "event.data.s.x == 1",
            Use.FILTER,
            "error",
            "a field of something that is no object (has(…) says whether it is there)",
        ),
        ("event.data.l[7] == 1", Use.FILTER, "error", "an index that is not in the list, or is none"),
        ("event.data.s + event.data.n == ''", Use.FILTER, "error", "+ is not for (string, int)"),
        ("event.data.n.startsWith('a')", Use.FILTER, "error", "startsWith is not for int and (string)"),
        ("event.data.s && true", Use.FILTER, "error", "&& is not for what it got"),
        ("event.data.n / 0 == 1", Use.FILTER, "error", "a division by zero"),
        ("int(event.data.s) == 1", Use.FILTER, "error", "a text that is not what it is converted to"),
        ("event.data.s", Use.FILTER, "wrong_type", "it came to a text, and not to true or false"),
        ("event.data.m", Use.TEXT, "wrong_type", "it came to a map, and not to a text, a number or a bool"),
        ("event.subject", Use.TEXT, "wrong_type", "it came to null, and not to a text, a number or a bool"),
        ("0.0 / 0.0", Use.VALUE, "wrong_type", "it came to something that is no number (NaN), or infinite"),
        ("[1.0 / 0.0]", Use.VALUE, "wrong_type", "it came to something that is no number (NaN), or infinite"),
    ],
)
async def test_why_one_has_no_value(made: CelExpressions, text: str, use: Use, because: str, detail: str) -> None:
    looked_at = facts({"s": "secret", "n": 1, "l": [1], "m": {"k": 1}})
    told = Failed(FailedBecause(because), detail)
    assert one(made, text, looked_at, use) == told
    assert await made.evaluate([apps(text, use)], looked_at) == [told]
    assert "secret" not in told.detail


async def test_without_an_endpoint_it_has_none(made: CelExpressions) -> None:
    outcome = one(made, "endpoint.id == 'x'", facts({}))
    assert outcome == Failed(FailedBecause.ERROR, "a variable that is not there: here is no endpoint, or no app")


async def test_one_that_is_stored_though_it_may_not_be_any_more_fails(made: CelExpressions) -> None:
    assert await made.evaluate([operators("event.data.a ==")], facts({})) == [
        Failed(FailedBecause.ERROR, "line 1, column 16: the expression is not complete here")
    ]


# Those that take a process with them


async def test_only_the_one_that_takes_too_long_fails(hasty: CelExpressions) -> None:
    looked_at = facts({"s": "a" * 60_000})
    several = [apps("event.data.s != ''"), apps(SPIN), apps("event.type == 'x'"), apps("event.data.s != ''")]
    good, spun, false, again = await hasty.evaluate(several, looked_at)
    assert (good, false, again) == (Value(True), Value(False), Value(True))
    assert isinstance(spun, Failed)
    assert spun.because in (FailedBecause.TOO_LONG, FailedBecause.TOO_LARGE)


class Asleep(CelExpressions):
    """Its pool does with some texts what hostile ones do, without their work."""

    def __init__(self, *, kills: set[str]) -> None:
        super().__init__(CelLimits(workers=1, seconds=0.3))
        self.kills = kills
        self.asked: list[list[str]] = []

    async def _call(self, owner: str, texts: Any, sample: Any) -> Any:
        from posthouse.adapters.limited.pool import Why

        self.asked.append([text for text, _ in texts])
        if any(text in self.kills for text, _ in texts):
            return [Failed(FailedBecause.TOO_LONG, "it was not done")] * len(texts), Why.TOO_LONG
        return [Value(True)] * len(texts), None


async def test_when_several_do_the_rest_is_not_tried_for_ever() -> None:
    kills = {f"event.data.k == {n}" for n in range(10)}
    made = Asleep(kills=kills)
    outcomes = await made.evaluate([apps(text) for text in sorted(kills)], facts({}))
    assert len(made.asked) == EXPRESSION_KILLS_MAX
    assert [outcome.because for outcome in outcomes if isinstance(outcome, Failed)] == [
        *[FailedBecause.TOO_LONG] * (EXPRESSION_KILLS_MAX - 1),
        *[FailedBecause.UNAVAILABLE] * (10 - EXPRESSION_KILLS_MAX + 1),
    ]


async def test_one_that_does_it_again_and_again_rests() -> None:
    made = Asleep(kills={"event.data.bad"})
    now = [0.0]
    made._resting = Resting(lambda: now[0])
    bad, good = apps("event.data.bad"), apps("event.data.good")
    for _ in range(EXPRESSION_STRIKES_MAX):
        await made.evaluate([bad], facts({}))
    asked = len(made.asked)
    first, second = await made.evaluate([bad, good], facts({}))
    assert first == Failed(FailedBecause.UNAVAILABLE, "it failed so often that it rests for a while")
    assert second == Value(True)
    assert made.asked[asked:] == [["event.data.good"]]
    assert made.resting == 1
    now[0] = EXPRESSION_REST_SECONDS + 1
    assert made.resting == 0
    made.kills.clear()
    assert await made.evaluate([bad], facts({})) == [Value(True)]


async def test_another_app_is_none_the_worse_for_it() -> None:
    made = Asleep(kills={"event.data.bad"})
    for _ in range(EXPRESSION_STRIKES_MAX):
        await made.evaluate([apps("event.data.bad")], facts({}))
    made.kills.clear()
    other = Facts(event=msgspec.structs.replace(event({}), app_id=b"o" * 16))
    assert await made.evaluate([apps("event.data.bad")], other) == [Value(True)]


async def test_calls_of_one_app_do_not_fill_the_pool(made: CelExpressions) -> None:
    hog = [made.evaluate([apps(f"event.data.a == {n}")], facts({"a": 1})) for n in range(20)]
    other = Facts(event=msgspec.structs.replace(event({"a": 1}), app_id=b"o" * 16))
    *_, last = await asyncio.gather(*hog, made.evaluate([apps("event.data.a == 1")], other))
    assert last == [Value(True)]


async def test_closed_it_says_so(made: CelExpressions) -> None:
    await made.close()
    assert await made.evaluate([apps("event.data.a == 1")], facts({"a": 1})) == [
        Failed(FailedBecause.UNAVAILABLE, "the limited processes are shut down")
    ]


def test_nothing_of_the_runtime_is_loaded_before_there_is_an_expression() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from posthouse.adapters.cel.expressions import CelExpressions; c = CelExpressions(); "
        "c.at_once([], None); print('cel_expr_python' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
