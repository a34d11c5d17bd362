"""What may be stored: for each refusal the place, and words that say what to do."""

from __future__ import annotations

import pytest
from tests.unit.adapters.cel.samples import operators

from posthouse.adapters.cel.expressions import CelExpressions
from posthouse.domain.errors import InvalidExpression
from posthouse.domain.expression import Use

X = "event.data.x"
LOOP = "event.data.l.exists(i, i.ok)"


@pytest.mark.parametrize(
    ("text", "use"),
    [
        ("event.type == 'order.paid' && event.data.total > 100.0", Use.FILTER),
        ("event.data.items.exists(i, i.sku in ['a', 'b'] && i.n > 1)", Use.FILTER),
        ("event.data.flag", Use.FILTER),
        ("event.time > timestamp('2024-01-01T00:00:00Z') && event.time.getHours('Asia/Shanghai') < 8", Use.FILTER),
        ("has(event.data.customer.name) && event.subject.startsWith('shop:')", Use.FILTER),
        ("event['data']['total'] > 1", Use.FILTER),
        ("app.id == 'app_1' || endpoint.id == 'ep_1'", Use.FILTER),
        ("event.data.email.matches('^[a-z]{2,20}@example[.]com$')", Use.FILTER),
        ("{'id': event.data.id, 'lines': event.data.items.map(i, i.sku)}", Use.VALUE),
        ("event.data.items.filter(i, i.n > 1).map(i, i.n * 2)", Use.VALUE),
        ("event.data.items.map(i, int(i.n) + int(i.m))", Use.VALUE),
        ("event.data.ok ? 'a' : 'b'", Use.TEXT),
        ("'%s-%d'.format([event.data.a, event.data.b])", Use.TEXT),
        ("math.greatest(event.data.a, 5)", Use.TEXT),
        ("event.time", Use.TEXT),
        ("response.status == 200 && response.body.code == 0", Use.RULE),
        ("response.xml.xml.return_code == 'SUCCESS' || attempt.number > 3", Use.RULE),
        ("response.headers['x-retry'] == 'no'", Use.RULE),
        ("response.body.delay", Use.ANSWER_TEXT),
        ("event", Use.VALUE),
        ("{'int': int, 'type': type(1)}", Use.VALUE),
    ],
)
def test_these_may_be_stored(text: str, use: Use) -> None:
    CelExpressions().check(operators(text, use), path="filter")


@pytest.mark.parametrize(
    ("text", "use", "told"),
    [
        ("event.data.a ==", Use.FILTER, "line 1, column 16: the expression is not complete here"),
        ("event.data.a = 1", Use.FILTER, "line 1, column 14: syntax error: token recognition error at: '= '"),
        (
            "event.type == 'a'\n  && evnt.key == 'b'",
            Use.FILTER,
            'line 2, column 6: there is no variable or function "evnt"; the',
        ),
        (
            "event.dat.x == 1",
            Use.FILTER,
            'line 1, column 1: "event" has no field "dat"; it has id, type, subject, time',
        ),
        ("app.name == 'x'", Use.FILTER, 'line 1, column 1: "app" has no field "name"; it has id'),
        (
            "response.status == 200",
            Use.FILTER,
            'there is no variable or function "response"; the variables are event, app',
        ),
        ("response.code == 200", Use.RULE, '"response" has no field "code"; it has status, headers, body, xml, text'),
        ("event.data.a.floor()", Use.FILTER, 'line 1, column 19: there is no variable or function "floor"'),
        ("'a' + 1 == 'b'", Use.FILTER, "line 1, column 5: + is not for (string, int)"),
        ("'yes'", Use.FILTER, "it must come to true or false, and this comes to a text; compare it with something"),
        ("size(event.data.l)", Use.RULE, "it must come to true or false, and this comes to an integer"),
        (
            "event.data.l.map(i, i)",
            Use.TEXT,
            "it must come to a text, a number or a bool, and this comes to a list; try",
        ),
        ("b'abc'", Use.TEXT, "it must come to a text, a number or a bool, and this comes to bytes"),
        (f"{LOOP} && " * 3 + LOOP, Use.FILTER, "an expression has at most 3 of the macros all, exists, map, …"),
        (
            "event.data.l.all(i, i.m.exists(j, j > 1))",
            Use.FILTER,
            "line 1, column 31: a macro such as exists or map does not stand inside another one",
        ),
        ("event.data.l.map(i, {'a': i})", Use.VALUE, "line 1, column 21: no map is built inside a macro"),
        (
            "event.data.l.map(i, [i, i])",
            Use.VALUE,
            "line 1, column 21: no list but of constants is built inside a macro",
        ),
        ("event.data.l.map(i, i.a + i.a)", Use.VALUE, "line 1, column 25: nothing is joined inside a macro"),
        ("event.data.l.map(i, 'x' + i)", Use.VALUE, "line 1, column 25: nothing is joined inside a macro"),
        ("event.data.l.map(i, i.join(','))", Use.VALUE, "join does not stand inside a macro"),
        (
            "event.data.l.map(event, event)",
            Use.VALUE,
            '"event" is what stands for one of a list here; give it another name',
        ),
        (
            "event.data.a.matches('(')",
            Use.FILTER,
            "line 1, column 22: this is no regular expression that RE2 knows: missing",
        ),
        ("event.data.a.matches('(a{100}){100}')", Use.FILTER, "a regular expression repeats things at most 100 times"),
        (f"event.data.a.matches('{'a' * 300}')", Use.FILTER, "a regular expression has at most 256 characters"),
        (
            "google.protobuf.Duration{seconds: 1}",
            Use.VALUE,
            'no message is made in an expression, and "google.protobuf',
        ),
        ("(" * 40 + "true" + ")" * 40, Use.FILTER, "it is nested too deeply: at most 32 levels"),
        (" + ".join([X] * 60), Use.VALUE, "it is nested too deeply: at most 32 levels"),
        ("'" + "a" * 2_100 + "' == event.type", Use.FILTER, "an expression has at most 2048 characters"),
        ("event.type == 'a\0'", Use.FILTER, "line 1, column 17: the character NUL stands here"),
        ("event.type == '\ud800'", Use.FILTER, "line 1, column 16: half a character (a lone surrogate) stands here"),
        ("", Use.FILTER, "line 1, column 1: the expression is not complete here"),
        ("99999999999999999999 > 1", Use.FILTER, "line 1, column 1: invalid int literal"),
        ("event.time.year == 1", Use.FILTER, "line 1, column 11: expression of type 'google.protobuf.Timestamp'"),
    ],
)
def test_these_may_not(text: str, use: Use, told: str) -> None:
    with pytest.raises(InvalidExpression) as refused:
        CelExpressions().check(operators(text, use), path="filters[0].cel")
    assert told in str(refused.value)
    assert refused.value.path == "filters[0].cel"
    assert "<input>" not in str(refused.value)
    assert "INVALID_ARGUMENT" not in str(refused.value)
    assert len(str(refused.value)) < 400


def test_columns_are_counted_in_characters() -> None:
    with pytest.raises(InvalidExpression) as refused:
        CelExpressions().check(operators("'😀é' == 'x' && event.nope == 1"), path="filter")
    assert (refused.value.line, refused.value.column) == (1, 16)
