"""Whatever a target answers: it is read within bounds, judged, and nothing raises."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from posthouse.domain.acknowledgement import Ack, HeaderRule
from posthouse.domain.exchange import NO_TIMINGS, Answer
from posthouse.domain.expression import Failed, FailedBecause, Outcome, Value
from posthouse.domain.limits import ANSWER_VALUES_MAX, JSON_DEPTH_MAX
from posthouse.wire.acknowledgement import judge_ack
from posthouse.wire.action_header import NotUnderstood, action_of
from posthouse.wire.answers import read_answer, values_at_most

EXAMPLES = settings(max_examples=80, deadline=None)

CHARSETS = (
    "utf-8",
    "gbk",
    "big5",
    "utf-16",
    "utf-16-le",
    "utf-32",
    "iso-8859-1",
    "shift_jis",
    "iso-2022-jp",
    "rot13",
    "x",
)
PIECES = (
    b"<", b">", b"</a>", b"<a>", b"<a b='", b"&x;", b"<!DOCTYPE a [", b"]>", b"<![CDATA[", b"{", b"}", b"[", b"]", b'"', b":",
    b",", b"\\ud800", b"\\u0000", b"1e999", b"9" * 30, b"\xff\xfe", b"\xef\xbb\xbf", b"\0", b"\xe9", "站".encode("gbk"),
    b"<?xml version='1.0' encoding='gbk'?>", b"null", b"success", b" ",
)  # fmt: skip

bodies = st.binary(max_size=60) | st.lists(st.sampled_from(PIECES) | st.binary(max_size=4), max_size=30).map(b"".join)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=5), inside, max_size=3),
    max_leaves=12,
)


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    content_type = draw(
        st.binary(max_size=20) | st.sampled_from(CHARSETS).map(lambda c: b"text/xml; charset=" + c.encode())
    )
    action = draw(
        st.lists(st.sampled_from((b"retry", b"give_up", b"throttle; per_second=1", b"\xff", b";;", b"")), max_size=2)
    )
    headers = [(b"content-type", content_type), *[(b"posthouse-action", value) for value in action]]
    return Answer(draw(st.integers(100, 999)), tuple(headers), draw(bodies), NO_TIMINGS, truncated=draw(st.booleans()))


def _check(value: Any, depth: int = 0) -> int:
    """How many values it is made of: all of them such as an expression can take."""
    assert depth <= JSON_DEPTH_MAX + 1
    match value:
        case str():
            value.encode()  # raises for half a character
        case bool() | None | float():
            pass
        case int():
            assert -(2**63) <= value < 2**63
        case list():
            return 1 + sum(_check(each, depth + 1) for each in value)
        case dict():
            return 1 + sum(_check(name) + _check(each, depth + 1) for name, each in value.items())
        case _:
            raise AssertionError(type(value))
    return 1


def _values(value: Any) -> int:
    """How many of JSON, or elements and attributes of XML."""
    match value:
        case list():
            return 1 + sum(map(_values, value))
        case dict():
            return 1 + sum(map(_values, value.values()))
        case _:
            return 1


@EXAMPLES
@given(answers())
def test_any_answer_is_read(answer: Answer) -> None:
    read = read_answer(answer)
    assert _check(read.facts) <= 4 * ANSWER_VALUES_MAX
    for part in ("body", "xml"):
        if read.facts[part] is not None:
            assert _values(read.facts[part]) <= values_at_most(answer)
    for part in ("body", "xml"):
        if read.facts[part] is None:
            assert part in read.unreadable or answer.body.strip() != b""


@EXAMPLES
@given(values, st.sampled_from(("utf-8", "utf-16", "utf-32", "gb18030")), st.booleans())
def test_json_comes_back_in_any_charset(value: Any, charset: str, escaped: bool) -> None:
    text = json.dumps(value, ensure_ascii=escaped)
    headers = ((b"content-type", b"application/json; charset=" + charset.encode()),)
    read = read_answer(Answer(200, headers, text.encode(charset), NO_TIMINGS)).facts
    assert read["text"] == text
    assert read["body"] == _within_64_bits(value)


def _within_64_bits(value: Any) -> Any:
    match value:
        case int() if not isinstance(value, bool) and not -(2**63) <= value < 2**63:
            return float(value)
        case list():
            return [_within_64_bits(each) for each in value]
        case dict():
            return {name: _within_64_bits(each) for name, each in value.items()}
        case _:
            return value


FAILED: Outcome = Failed(FailedBecause.ERROR, "no such key")
outcomes: st.SearchStrategy[Outcome] = st.sampled_from((Value(True), Value(False), Value("x"), FAILED))
rules = st.recursive(
    st.builds(
        Ack,
        status=st.lists(st.sampled_from((200, 302, 404, 410, 500, "2xx", "3xx", "4xx", "*")), max_size=2).map(tuple),
        header=st.none() | st.builds(HeaderRule, name=st.just("Content-Type"), equals=st.none() | st.just("text/xml")),
        text=st.none() | st.sampled_from(("success", "")),
        when=st.sampled_from(("", "response.body.code == 0")),
    ),
    lambda inside: st.builds(
        lambda ack, any, all: Ack(status=ack.status, when=ack.when, any=tuple(any), all=tuple(all)),
        inside,
        st.lists(inside, max_size=2),
        st.lists(inside, max_size=2),
    ),
    max_leaves=5,
)


def _ways(ack: Ack, path: str) -> list[list[tuple[Ack, str]]]:
    """Each way to meet a rule: the rules on it."""
    ways = [[(ack, path)]]
    for index, each in enumerate(ack.all):
        ways = [way + more for way in ways for more in _ways(each, f"{path}.all[{index}]")]
    if ack.any:
        alternatives = [way for index, each in enumerate(ack.any) for way in _ways(each, f"{path}.any[{index}]")]
        ways = [way + more for way in ways for more in alternatives]
    return ways


def _plain(ack: Ack, answer: Answer, outcomes: dict[str, Outcome], *, failed_is: bool) -> bool:
    """The definition, word for word."""

    def holds(rule: Ack, path: str) -> bool:
        if rule.when:
            outcome = outcomes[f"{path}.when"]
            if not (failed_is if isinstance(outcome, Failed) else outcome.value is True):
                return False
        alone = Ack(status=rule.status or ("*", "3xx", 410), header=rule.header, text=rule.text)
        return judge_ack(alone, answer, {}).confirmed

    return any(
        all(holds(rule, path) for rule, path in way)
        and (any(rule.status for rule, _ in way) or 200 <= answer.status < 300)
        for way in _ways(ack, "ack")
    )


@EXAMPLES
@given(rules, answers(), st.data())
def test_a_rule_is_met_where_all_on_one_of_its_ways_holds(ack: Ack, answer: Answer, data: st.DataObject) -> None:
    paths = {path for way in _ways(ack, "ack") for _, path in way}
    came_to: dict[str, Outcome] = {f"{path}.when": data.draw(outcomes) for path in sorted(paths)}
    judged = judge_ack(ack, answer, came_to)
    assert judged.confirmed == _plain(ack, answer, came_to, failed_is=False)
    if not judged.confirmed:
        assert judged.undecided == _plain(ack, answer, came_to, failed_is=True)
        assert judged.words


@EXAMPLES
@given(answers())
def test_any_header_is_understood_or_not(answer: Answer) -> None:
    count = sum(name == b"posthouse-action" for name, _ in answer.headers)
    try:
        assert (action_of(answer) is None) == (count == 0)
    except NotUnderstood:
        assert count
