"""Rules as configuration: what is meant is read, what is wrong is told with its place; and the table finds them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse_sdk import ConfigurationError
from posthouse_sdk.listening import Listener, Memory, Rule
from posthouse_sdk.listening.references import ABSENT, MissingFieldError, Template, reference_of
from posthouse_sdk.listening.rules import CompiledRule, rule_of
from posthouse_sdk.listening.table import RuleTable


class Facts:
    """What is known, by root."""

    def __init__(self, **roots: Any) -> None:
        self._roots = roots

    def root(self, name: str) -> Any:
        return self._roots.get(name, ABSENT)


FACTS = Facts(
    path={"id": 7},
    query={"a.b": "x"},
    header={"x-shop": "42"},
    request={"items": [{"sku": "s1"}], "note": None, "ok": True},
    answer={"id": 7, "total": 9.5, "state": "paid", "shop": {"id": "s"}, "none": None, "empty": ""},
    answer_header={"location": "/orders/7"},
    status=201,
    method="POST",
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("id", 7),
        ("path.id", 7),
        ("query.a.b", "x"),
        ("header.X-Shop", "42"),
        ("answer_header.Location", "/orders/7"),
        ("request.items.0.sku", "s1"),
        ("request.items.1.sku", ABSENT),
        ("request.items.x", ABSENT),
        ("request.items.99999999999", ABSENT),
        ("request.note", None),
        ("answer.shop.id", "s"),
        ("answer.id.deeper", ABSENT),
        ("status", 201),
        ("method", "POST"),
    ],
)
def test_a_reference_finds_its_value(text: str, value: Any) -> None:
    assert reference_of(text, ["id"]).value(FACTS) == value


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("order_create", "order_create"),
        ("shop:{answer.shop.id}", "shop:s"),
        ("{id}-{method}-{status}", "7-POST-201"),
        ("{answer.total}/{request.ok}", "9.5/true"),
        ("{{{answer.state}}}", "{paid}"),
    ],
)
def test_a_template_is_filled(template: str, text: str) -> None:
    assert Template(template, ["id"]).filled(FACTS) == text


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{answer.gone}", "answer.gone is not there"),
        ("{answer.none}", "answer.none is null"),
        ("{answer.empty}", "answer.empty is empty"),
        ("{answer.shop}", "answer.shop is an object or a list"),
    ],
)
def test_a_text_is_not_made_of_nothing(template: str, said: str) -> None:
    with pytest.raises(MissingFieldError, match=said):
        Template(template, []).filled(FACTS)


@pytest.mark.parametrize(
    ("when", "holds"),
    [
        ({"answer.state": "paid"}, True),
        ({"answer.state": "open"}, False),
        ({"answer.gone": None}, False),
        ({"answer.none": None}, True),
        ({"request.ok": 1}, False),
        ({"request.ok": True}, True),
        ({"answer.id": 7.0}, True),
        ({"answer.state": {"not_equals": "open"}}, True),
        ({"answer.gone": {"not_equals": "open"}}, False),
        ({"answer.state": {"one_of": ["open", "paid"]}}, True),
        ({"answer.state": {"none_of": ["open", "paid"]}}, False),
        ({"answer.none": {"exists": True}}, True),
        ({"answer.gone": {"exists": False}}, True),
        ({"answer.gone": {"exists": True}}, False),
        ({"header.x-shop": {"starts_with": "4", "ends_with": "2"}}, True),
        ({"header.x-shop": {"starts_with": "4", "ends_with": "3"}}, False),
        ({"answer.id": {"starts_with": "7"}}, False),
        ({"answer.total": {"at_least": 9.5}}, True),
        ({"answer.total": {"at_most": 9}}, False),
        ({"request.ok": {"at_least": 0}}, False),
        ({"answer.state": {"at_least": 0}}, False),
        ({"id": 7}, True),
        ({"status": 201, "method": "POST"}, True),
    ],
)
def test_fields_are_tested(when: Mapping[str, Any], holds: bool) -> None:
    rule = CompiledRule(Rule("POST", "/orders/{id:int}", "order_create", when=when, data="none"))
    matched = rule.may_match(FACTS) and rule.matches_head(201, FACTS) and rule.made(FACTS) is not None
    assert matched is holds


@pytest.mark.parametrize(
    ("data", "made"),
    [
        ("answer", {"id": 7, "total": 9.5, "state": "paid", "shop": {"id": "s"}, "none": None, "empty": ""}),
        ("request", {"items": [{"sku": "s1"}], "note": None, "ok": True}),
        ("none", {}),
        (
            {
                "order": "{answer.id}",
                "text": "no {id}",
                "gone": "{answer.gone}",
                "shop": {"of": "{answer.shop}", "n": 1},
            },
            {"order": 7, "text": "no 7", "shop": {"of": {"id": "s"}, "n": 1}},
        ),
    ],
)
def test_data_are_made(data: Any, made: Any) -> None:
    found = CompiledRule(Rule("POST", "/orders/{id}", "order_create", data=data)).made(FACTS)
    assert found is not None
    assert found.data == made


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"method": "GET POST"}, r"^rules\[3\]\.method: 'GET POST' is no method"),
        ({"method": []}, r"method: there is none"),
        ({"path": "orders"}, r"^rules\[3\]\.path: a path begins with a slash"),
        ({"status": "20x"}, r"^rules\[3\]\.status: '20x' is no status; write 201, \"2xx\""),
        ({"status": 99}, "status: 99 is no status"),
        ({"status": True}, "status: True is no status"),
        ({"status": []}, "status: there is none"),
        ({"status": 2.5}, r"^rules\[3\]\.status: "),
        ({"event": "order create"}, r"^rules\[3\]\.event: an event type is made of letters"),
        ({"event": "order_{no}"}, r"event: 'no' is no parameter of the path \(there are: id\)"),
        ({"event": ""}, "event: it is a text that is not empty"),
        ({"subject": "shop:{answer.shop"}, "subject: .* a brace stands alone"),
        ({"subject": "{id!r}"}, "subject: .* a reference has no format"),
        ({"subject": "{id:>4}"}, "subject: .* a reference has no format"),
        ({"key": "{status.x}"}, "key: status has no fields"),
        ({"key": "{query}"}, r"key: 'query' names nothing yet; write query\.NAME"),
        ({"key": "{answer..id}"}, "key: .* two dots in a row"),
        ({"app": "{path.other}"}, "app: the path has no parameter 'other'"),
        ({"data": "all"}, r"^rules\[3\]\.data: it is one of answer, request, both, none"),
        ({"data": {"a": ["x"]}}, "data: a: a text, number"),
        ({"data": {"a": {"b": "{gone}"}}}, "data: 'gone' is no parameter"),
        ({"when": ["x"]}, r"^rules\[3\]\.when: it maps fields"),
        ({"when": {"answer.x": {}}}, "when: answer.x: nothing is asked of it"),
        ({"when": {"answer.x": {"matches": "x"}}}, "when: answer.x: matches is no test; there are equals"),
        ({"when": {"answer.x": {"one_of": "x"}}}, "when: answer.x: one_of is a list"),
        ({"when": {"answer.x": {"exists": 1}}}, "when: answer.x: exists is true or false"),
        ({"when": {"answer.x": {"starts_with": ""}}}, "when: answer.x: starts_with is a text"),
        ({"when": {"answer.x": {"at_least": "1"}}}, "when: answer.x: at_least is a number"),
        ({"when": {"answer.x": ["a"]}}, "when: answer.x: equals compares with"),
        ({"when": {"id": 7}}, "when: path.id: equals: what stands there is text; write '7'"),
        ({"when": {"query.n": {"at_least": 1}}}, "when: query.n: at_least: what stands there is text"),
        ({"when": {"body.n": 1}}, "when: 'body.n' is no parameter of the path"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(fields: dict[str, Any], said: str) -> None:
    told = {"method": "POST", "path": "/orders/{id}", "event": "order_create"} | fields
    with pytest.raises(ConfigurationError, match=said):
        CompiledRule(rule_of(told), "rules[3]")


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (
            {"method": "POST", "path": "/x", "event": "x", "pathes": 1},
            r"^rule\.pathes: a rule has no such field; it has ",
        ),
        ({"method": "POST", "path": "/x"}, r"^rule\.event: it is not there"),
        ("POST /x", "a rule maps names to values"),
    ],
)
def test_a_rule_of_plain_data_has_known_fields(told: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        rule_of(told)


def test_statuses_are_one_a_class_or_several() -> None:
    def statuses(status: Any) -> set[int]:
        return set(CompiledRule(Rule("GET", "/", "x", status=status)).statuses)

    assert statuses(201) == statuses("201") == {201}
    assert statuses("2xx") == set(range(200, 300))
    assert statuses([200, "5xx"]) == {200, *range(500, 600)}


def test_a_rule_says_what_it_needs() -> None:
    def needs(**fields: Any) -> tuple[bool, bool]:
        rule = CompiledRule(Rule("POST", "/orders/{id}", "x", **fields))
        return rule.needs_request, rule.needs_answer

    assert needs() == (False, True)
    assert needs(data="none") == (False, False)
    assert needs(data="none", subject="{request.x}") == (True, False)
    assert needs(data={"a": {"b": "{answer.x}"}}) == (False, True)
    assert needs(data="none", when={"request.x": 1, "query.a": "b"}) == (True, False)
    assert needs(data="both") == (True, True)


# The table


def table(*rules: tuple[str, str]) -> RuleTable:
    return RuleTable(
        CompiledRule(Rule(method.split(","), path, "x", name=f"{method} {path}")) for method, path in rules
    )


def test_the_table_finds_what_has_method_and_path() -> None:
    found = table(
        ("POST", "/orders"), ("post", "/orders"), ("POST,PUT", "/orders/{id}"), ("*", "/orders/{id:int}"), ("*", "/all")
    )

    def names(method: str, path: str) -> list[str]:
        return [match.rule.name for match in found.find(method, path)]

    assert names("POST", "/orders") == ["POST /orders", "post /orders"]
    assert names("GET", "/orders") == []
    assert names("PUT", "/orders/7") == ["POST,PUT /orders/{id}", "* /orders/{id:int}"]
    assert names("PUT", "/orders/x") == ["POST,PUT /orders/{id}"]
    assert names("DELETE", "/orders/7") == ["* /orders/{id:int}"]
    assert names("POST", "/all") == names("TRACE", "/all") == ["* /all"]
    assert [match.parameters for match in found.find("PUT", "/orders/7")] == [{"id": "7"}, {"id": 7}]


some_paths = st.sampled_from(["/a", "/a/b", "/{x}", "/a/{x}", "/{x}/b", "/{x:int}", "/{x:path}", "/a{x}", "/"])


@given(
    st.lists(st.tuples(st.sampled_from(["GET", "POST", "*", "GET,POST"]), some_paths), max_size=8),
    st.sampled_from(["GET", "POST", "PUT"]),
    st.lists(st.sampled_from(["a", "b", "7", "", "ab"]), max_size=3),
)
def test_the_table_finds_what_each_rule_alone_would(
    rules: list[tuple[str, str]], method: str, parts: list[str]
) -> None:
    path = "/" + "/".join(parts)
    alone = [
        f"{methods} {template}"
        for methods, template in rules
        if ("*" in methods or method in methods.split(","))
        and CompiledRule(Rule("*", template, "x")).path.match(path) is not None
    ]
    assert sorted(match.rule.name for match in table(*rules).find(method, path)) == sorted(alone)


# Listeners of plain data

RULE = {"method": "POST", "path": "/orders", "event": "order_create"}
REACH = {"url": "http://127.0.0.1:9", "api_key": "k"}


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ([], "it maps names to values"),
        ({"rules": [RULE], "memory": True, "retries": 1}, r"^listening\.retries: there is no such field"),
        ({"memory": True}, r"^listening\.rules: a list of rules"),
        ({"rules": "x", "memory": True}, r"^listening\.rules: a list of rules"),
        (
            {"rules": [RULE | {"when": {"x": 1}}], "memory": True},
            r"^rules\[0\] \(order_create\)\.when: 'x' is no parameter",
        ),
        ({"rules": [{"x": 1}], "memory": True}, r"^listening\.rules\[0\]\.x: a rule has no such field"),
        ({"rules": [RULE]}, "say where events wait: spool = "),
        ({"rules": [RULE], "spool": "/tmp/x.spool", "memory": True}, "one of the two"),
        ({"rules": [RULE], "spool": {"file": "x"}}, r"^listening\.spool\.file: there is no such field"),
        ({"rules": [RULE], "spool": {"relays": False}}, r"^listening\.spool\.path: it is not there"),
        ({"rules": [RULE], "spool": "/no/such/folder/x"}, "is no folder that this process may write to"),
        ({"rules": [RULE], "spool": {"path": "/tmp/x", "hold_seconds": "1"}}, "hold_seconds is seconds"),
        ({"rules": [RULE], "spool": {"path": "/tmp/x", "bytes_max": 7}}, "a spool has 1048576 bytes at least"),
        ({"rules": [RULE], "spool": "/tmp"}, "is no file that this process may write to"),
        ({"rules": [RULE], "memory": 7}, r"^listening\.memory: it maps names to values"),
        ({"rules": [RULE], "memory": {"when_full": "drop"}}, r"^listening\.memory\.when_full: there is no such field"),
        ({"rules": [RULE], "memory": True, "url": "nowhere"}, "https://posthouse.example"),
        ({"rules": [RULE], "memory": True, "body_bytes_max": 2**21}, "body_bytes_max is 1 to 1048576 bytes"),
        ({"rules": [RULE], "memory": True, "idempotency_header": 7}, "idempotency_header is the name of a header"),
    ],
)
def test_a_listener_of_plain_data_tells_what_is_wrong(told: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Listener.from_mapping({**REACH, **told} if isinstance(told, dict) else told)


def test_a_listener_of_plain_data_is_one() -> None:
    listener = Listener.from_mapping(
        {"rules": [RULE], "memory": {"buffer_events": 5}, "idempotency_header": "", **REACH}
    )
    assert [match.rule.name for match in listener.find("POST", "/orders")] == ["POST /orders -> order_create"]
    assert listener.gauges().observed == 0


@pytest.mark.parametrize(
    ("rules", "said"),
    [([], "1 to 1000 rules"), ([RULE], "a rule is a Rule"), ([Rule("GET", "/", "x")] * 1001, "1 to 1000")],
)
def test_a_listener_has_rules(rules: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Listener(rules, Memory(url=REACH["url"], api_key="k"))


def test_a_listener_has_a_sink() -> None:
    with pytest.raises(ConfigurationError, match="sink is a Spool, an Outbox or Memory"):
        Listener([Rule("GET", "/", "x")], "file.db")  # type: ignore[arg-type]
