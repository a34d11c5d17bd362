"""Expressions and data that mean harm: each is refused as it is written, or ends within the limits with a reason on record, and
the loop that serves was held by none of them."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Final

import pytest
from tests.unit.adapters.cel.samples import answered, apps, facts, operators

from posthouse.adapters.cel.expressions import CelExpressions, CelLimits
from posthouse.domain.errors import InvalidExpression
from posthouse.domain.expression import Facts, Failed, FailedBecause, Outcome, Use, Value

SECONDS: Final = 0.3
AT_ONCE_CPU_SECONDS_MAX: Final = 0.05  # ten times what is promised: the machine that tests may be slow, and full

S: Final = "event.data.s"
LONG: Final = facts({"s": "a" * 900_000, "t": "a" * 5_000 + "b"})
TEXT: Final = facts({"s": "a" * 7_000, "t": "a" * 3_000 + "b", "l": ["a" * 10] * 300})
LIST: Final = facts({"l": list(range(10_000)), "s": "x"})
SMALL_LIST: Final = facts({"l": list(range(1_500)), "m": [[n] for n in range(200)]})
MILLION: Final = facts(payload=b'{"l":[' + b"1," * 500_000 + b'1],"s":"x"}')
TEXTS: Final = facts({"l": ["a" * 1_000] * 900, "s": "," * 1_000})
DEEP: Final = facts(payload=b'{"d":' + b"[" * 50_000 + b"]" * 50_000 + b',"s":"x"}')
DEEP_OBJECTS: Final = facts(payload=b'{"d":' + b'{"a":' * 20_000 + b"1" + b"}" * 20_000 + b"}")
BIG_INTS: Final = facts(
    payload=b'{"n":' + b"9" * 300 + b',"m":-' + b"9" * 30 + b',"h":1e999,"l":[18446744073709551616]}'
)
SURROGATES: Final = facts(payload=b'{"s":"\\ud800x","\\udfff":1,"l":["\\udc00"]}')
NUL: Final = facts({"s": "a\0b", "\0": 1})
BROKEN: Final = facts(payload=b'{"s":')
NOT_TEXT: Final = facts(payload=b"\xff\xfe\x00", content_type="text/plain")
WIDE: Final = facts({f"k{n}": n for n in range(60_000)})
BODY_DEEP: Final = answered(b"[" * 30_000 + b"]" * 30_000)
BODY_LAUGHS: Final = answered(
    b'<!DOCTYPE l [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><l>&b;&b;&b;</l>',
    content_type=b"text/xml",
)

REFUSED: Final = "refused"
FAILS: Final = "fails"
ANY: Final = "any"

CORPUS: Final[list[tuple[str, str, Use, Facts, str]]] = [
    # name, text, use, facts, what becomes of it in a limited process: REFUSED as it is written, a value, or why not
    ("texts doubled in a chain", " + ".join([f"({S} + {S})"] * 12), Use.TEXT, LONG, FAILS),
    ("doubled and doubled", f"[{', '.join([S] * 110)}].join({S})", Use.TEXT, LONG, FAILS),
    ("replace that grows", f"{S}.replace('a', {S})", Use.TEXT, LONG, FAILS),
    ("replaces in a chain", S + ".replace('a', 'aaaaaaaaaa')" * 12, Use.TEXT, LONG, FAILS),
    ("replaces of nothing", S + ".replace('', 'aaaaaaaaaaaaaaaaaaaa')" * 8, Use.TEXT, LONG, FAILS),
    (
        "joins in a chain",
        "event.data.l.join(event.data.l.join(event.data.l.join(',')))",
        Use.TEXT,
        TEXTS,
        FAILS,
    ),
    ("split into letters", f"{S}.split('')", Use.VALUE, LONG, FAILS),
    ("split and join", f"{S}.split('').join({S})", Use.TEXT, LONG, FAILS),
    ("format of itself", f"'%s%s%s%s'.format([{S}, {S}, {S}, {S}])", Use.TEXT, LONG, FailedBecause.TOO_LARGE),
    ("quotes of quotes", "strings.quote(" * 25 + S + ")" * 25, Use.TEXT, TEXT, ANY),
    ("contains, n times m", f"{S}.contains(event.data.t)", Use.FILTER, LONG, ANY),
    ("contains of the long", f"({S} + 'c').contains({S} + 'b')", Use.FILTER, LONG, ANY),
    ("indexOf, n times m", f"{S}.indexOf(event.data.t) > 1", Use.FILTER, LONG, ANY),
    ("lastIndexOf, n times m", f"{S}.lastIndexOf(event.data.t) > 1", Use.FILTER, LONG, ANY),
    ("many contains", " || ".join([f"{S}.contains('aaaaaaaaaaaaab')"] * 40), Use.FILTER, LONG, ANY),
    ("a loop in a loop", "event.data.l.all(a, event.data.l.all(b, a <= b))", Use.FILTER, LIST, REFUSED),
    ("a loop in a loop's list", "event.data.m.map(a, a.filter(b, b > 0))", Use.VALUE, SMALL_LIST, REFUSED),
    ("four loops", "event.data.l" + ".filter(a, a > 0)" * 4, Use.VALUE, LIST, REFUSED),
    ("three loops", "event.data.l" + ".filter(a, a >= 0)" * 3, Use.VALUE, LIST, FAILS),
    ("maps in a loop", "event.data.l.map(a, {'a': a, 'b': a})", Use.VALUE, LIST, REFUSED),
    ("lists in a loop", "event.data.l.map(a, [a, a, a])", Use.VALUE, LIST, REFUSED),
    ("texts joined in a loop", f"event.data.l.map(a, {S} + {S})", Use.VALUE, LIST, REFUSED),
    ("the list in each of it", "event.data.l.map(a, event.data.l)", Use.VALUE, SMALL_LIST, FAILS),
    ("each in the list", "event.data.l.all(a, a in event.data.l)", Use.FILTER, SMALL_LIST, "true"),
    ("each against all", "event.data.l.all(a, event.data.m == event.data.m)", Use.FILTER, SMALL_LIST, ANY),
    ("ten thousand items", "event.data.l.all(a, a >= 0)", Use.FILTER, LIST, ANY),
    ("a million items", "event.data.l.size() > 1", Use.FILTER, MILLION, FailedBecause.TOO_LARGE),
    ("a million items beside", "event.data.s == 'x'", Use.FILTER, MILLION, "true"),
    ("a wide object", "event.data.k1 == 1", Use.FILTER, WIDE, "true"),
    ("a wide object, whole", "event.data.size() == 60000", Use.FILTER, WIDE, ANY),
    ("lists added up", " + ".join(["event.data.l"] * 20), Use.VALUE, LIST, FAILS),
    ("copies of all", f"[{', '.join(['event.data'] * 100)}]", Use.VALUE, TEXT, ANY),
    ("copies of a long text", f"[{', '.join([S] * 100)}]", Use.VALUE, LONG, FailedBecause.TOO_LARGE),
    ("a regex bomb", f"{S}.matches('(a*)*b')", Use.FILTER, LONG, ANY),
    ("a regex that repeats", f"{S}.matches('(a{{1,1000}}){{1,1000}}')", Use.FILTER, LONG, REFUSED),
    ("a regex that repeats less", f"{S}.matches('(.{{1,10}}){{1,10}}b$')", Use.FILTER, LONG, ANY),
    ("a long regex", f"{S}.matches('{'(a|b)' * 60}')", Use.FILTER, LONG, REFUSED),
    ("a regex of the data", "event.data.t.matches(event.data.s)", Use.FILTER, LONG, ANY),
    (
        "a regex put together",
        "event.data.t.matches('(' + event.data.t + '){100}')",
        Use.FILTER,
        TEXT,
        ANY,
    ),
    ("deep brackets", "(" * 900 + "true" + ")" * 900, Use.FILTER, TEXT, REFUSED),
    ("deep lists", "[" * 900 + "]" * 900, Use.VALUE, TEXT, REFUSED),
    ("many signs", "!" * 2_000 + "true", Use.FILTER, TEXT, ANY),
    ("many conditions", "true ? " * 200 + "true" + " : false" * 100, Use.FILTER, TEXT, REFUSED),
    ("many ands", " && ".join([f"{S} != 'b'"] * 80), Use.FILTER, LONG, ANY),
    ("a list of thousands", "event.data.n in [" + ",".join(["1"] * 950) + "]", Use.FILTER, BIG_INTS, ANY),
    ("data nested deeply", "event.data.d == 1", Use.FILTER, DEEP, FailedBecause.TOO_LARGE),
    ("data nested deeply, beside", "event.data.s == 'x'", Use.FILTER, DEEP, ANY),
    ("objects nested deeply", "has(event.data.d.a.a)", Use.FILTER, DEEP_OBJECTS, FailedBecause.TOO_LARGE),
    ("data nested deeply, as they are", "event.data", Use.VALUE, DEEP, FailedBecause.TOO_LARGE),
    ("large integers", "event.data.n > 1.0 && event.data.m < 1.0", Use.FILTER, BIG_INTS, "true"),
    ("infinite", "event.data.h", Use.VALUE, BIG_INTS, FailedBecause.WRONG_TYPE),
    ("half characters", f"{S} == '\ufffdx'", Use.FILTER, SURROGATES, "true"),
    ("half characters, whole", "event.data", Use.VALUE, SURROGATES, ANY),
    ("NUL in the data", f"{S} == 'a' || {S} == 'a\\u0000b'", Use.FILTER, NUL, "false"),
    ("NUL in the text", f"{S} == 'a\0b'", Use.FILTER, NUL, REFUSED),
    ("data that are no JSON", f"{S} == 'x'", Use.FILTER, BROKEN, FailedBecause.ERROR),
    ("data that are no text", "event.data == null", Use.FILTER, NOT_TEXT, "true"),
    ("numbers that overflow", "event.data.l.all(a, a * 9223372036854775807 > 0)", Use.FILTER, LIST, ANY),
    ("a division by zero", "1 / (event.data.l[0]) > 1", Use.FILTER, LIST, FailedBecause.ERROR),
    ("a date beyond all", "timestamp(9223372036854775807) > event.time", Use.FILTER, TEXT, FailedBecause.ERROR),
    ("a duration beyond all", "event.time + duration('315576000000s') > event.time", Use.FILTER, TEXT, ANY),
    ("an answer nested deeply", "response.body == null", Use.RULE, BODY_DEEP, "true"),
    ("an answer that laughs", "response.xml == null", Use.RULE, BODY_LAUGHS, "true"),
    ("a unicode storm", f"{S} == '" + "😀" * 1_000 + "'", Use.FILTER, LONG, "false"),
]


GROUP: Final = 11  # of the corpus, which share a process


@pytest.mark.parametrize("first", range(0, len(CORPUS), GROUP))
async def test_each_is_refused_or_ends_within_limits(first: int) -> None:
    made = CelExpressions(CelLimits(workers=1, seconds=SECONDS, memory_bytes=96 * 1024 * 1024))
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.002)

    ticking = asyncio.create_task(tick())
    try:
        for name, text, use, looked_at, becomes in CORPUS[first : first + GROUP]:
            if becomes == REFUSED:
                with pytest.raises(InvalidExpression):
                    made.check(apps(text, use), path="filter")
                continue
            made.check(apps(text, use), path="filter")
            held = time.thread_time()
            at_once = made.at_once([operators(text, use)], looked_at)
            held = time.thread_time() - held
            assert held < AT_ONCE_CPU_SECONDS_MAX, f"{name}: the loop was held"
            assert made.at_once([apps(text, use)], looked_at) is None, "what an app wrote is never evaluated here"
            for _ in range(
                5
            ):  # a machine that is full may need longer than the limit for what would end in another way
                (outcome,) = await made.evaluate([apps(text, use)], looked_at)
                if becomes != FailedBecause.TOO_LARGE or not was_cut_short(outcome):
                    break
            assert_became(name, outcome, becomes)
            if at_once is not None:
                assert at_once == [outcome]
        (healthy,) = await made.evaluate([apps("event.type == 'order.paid'")], facts({}))
        assert healthy == Value(True), "the next one is none the worse for it"
        assert ticks > 1, "the loop went on"
    finally:
        ticking.cancel()
        await made.close()


def was_cut_short(outcome: Outcome) -> bool:
    return isinstance(outcome, Failed) and outcome.because is FailedBecause.TOO_LONG


def assert_became(name: str, outcome: Outcome, becomes: str) -> None:
    match outcome:
        case Failed(because, detail):
            assert becomes in (because, FAILS, ANY), f"{name}: {outcome}"
            assert 5 < len(detail) < 200
            assert "aaaaaaaa" not in detail, "no data in it"
        case Value(value):
            assert becomes == ANY or json.dumps(value) == becomes, f"{name}: {str(value)[:100]}"
            assert len(json.dumps(value)) < 4_000_000


def test_the_corpus_is_large_enough() -> None:
    assert len(CORPUS) >= 40
    assert len({name for name, *_ in CORPUS}) == len(CORPUS)
