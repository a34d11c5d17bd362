"""Which language a caller prefers, and a message in it: whatever was filled in, and whatever else comes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from time import perf_counter
from typing import Any, Final

import jsonschema_rs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AwareDatetime, TypeAdapter, ValidationError

from posthouse.adapters.http.guard import Kind, explain
from posthouse.api.json_body import check_json
from posthouse.api.problems import InvalidFields, fields_of, problem_bytes
from posthouse.api.texts.accepted import CHINESE, ENGLISH, accepted, language_of
from posthouse.api.texts.catalogue import (
    HOLE,
    WHOLE,
    Catalogue,
    Template,
    chinese,
    read_sections,
)
from posthouse.domain.errors import Invalid, NotFound, Unauthorised
from posthouse.domain.limits import ACCEPT_LANGUAGE_LENGTH_MAX, TEXT_LENGTH_MAX, TRANSLATED_LENGTH_MAX
from posthouse.intake.parse import parse_batch, parse_event
from posthouse.wire.headers import RESERVED, check_headers
from posthouse.wire.target import parse_target

LONG: Final = "x" * TRANSLATED_LENGTH_MAX
# Words of English that a Chinese sentence may still hold: names of fields, types and formats, and what was filled in.
WORDS: Final = re.compile(r"[a-z]+ [a-z]+ [a-z]+")


def is_chinese(text: str) -> bool:
    return re.search(r"[\u4e00-\u9fff]", text) is not None and WORDS.search(text) is None


def refused(parse: Callable[..., object], *arguments: Any) -> str:
    with pytest.raises(Invalid) as caught:
        parse(*arguments)
    return str(caught.value)


# Accept-Language


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("zh-CN", CHINESE),
        ("zh", CHINESE),
        ("ZH-hans", CHINESE),
        ("zh-Hans-CN", CHINESE),
        ("zh-Hans-HK", CHINESE),
        ("zh-SG", CHINESE),
        ("zh-CN,zh;q=0.9,en;q=0.8,en-GB;q=0.7", CHINESE),
        ("en;q=0.8, zh-CN", CHINESE),
        ("fr-FR, zh;q=0.1", CHINESE),
        ("zh-CN ; q=0.5 , en; Q=0.4", CHINESE),
        ("zh, en", CHINESE),
        ("zh, *;q=0.5", CHINESE),
        ("*;q=0.5, zh;q=0.6", CHINESE),
        ("zh;q=1.000", CHINESE),
        ("zh;q=0.9,zh-CN;q=1,en;q=0.95", CHINESE),
        (",, zh ,,", CHINESE),
        ("en", ENGLISH),
        ("en, zh", ENGLISH),
        ("en-US,en;q=0.9,zh-CN;q=0.8", ENGLISH),
        ("zh;q=0", ENGLISH),
        ("zh;q=0.000", ENGLISH),
        ("zh;q=0.3, *;q=0.5", ENGLISH),
        ("zh-TW, zh-Hant;q=0.9, zh-HK;q=0.8", ENGLISH),
        ("*", ENGLISH),
        ("de", ENGLISH),
        ("", ENGLISH),
        ("zh;q=2", ENGLISH),
        ("zh;q=0.1234", ENGLISH),
        ("zh;q=-1", ENGLISH),
        ("zh;quality=1", ENGLISH),
        ("zhx", ENGLISH),
        ("zh-CN" + " " * ACCEPT_LANGUAGE_LENGTH_MAX, ENGLISH),
    ],
)
def test_the_preferred_language(header: str, language: str) -> None:
    assert accepted(header) == language


def test_the_header_may_come_in_several_lines() -> None:
    assert language_of([]) == ENGLISH
    assert language_of([(b"accept", b"zh")]) == ENGLISH
    assert language_of([(b"accept-language", b"en;q=0.5"), (b"host", b"h"), (b"accept-language", b"zh-CN")]) == CHINESE


@given(st.binary(max_size=200) | st.text("zhen-CNq=0.15;,* ", max_size=60).map(str.encode))
def test_no_header_is_an_error(value: bytes) -> None:
    assert language_of([(b"accept-language", value)]) in (ENGLISH, CHINESE)


# Templates


@pytest.mark.parametrize(
    ("template", "message", "filled"),
    [
        ("there is no app {}", "there is no app 'x'", ("'x'",)),
        ("there is no app {}", "there is no app ", ("",)),
        ("there is no app {}", "there is no ap", None),
        ("a {} b {} c", "a 1 b 2 c", ("1", "2")),
        ("a {} b {} c", "a 1 b 2 b 3 c", ("1", "2 b 3")),
        ("a {} b {} c", "a b c", None),
        ("{} is {}", "x is y", ("x", "y")),
        ("{} item{s} left", "1 item left", ("1",)),
        ("{} item{s} left", "2 items left", ("2",)),
        ("aa{}aa", "aaa", None),
        ("aa{}aa", "aaaa", ("",)),
        ("{}", "", ("",)),
    ],
)
def test_matching(template: str, message: str, filled: tuple[str, ...] | None) -> None:
    assert Template.of(template, "").match(message) == filled


@given(st.lists(st.text("ab ", min_size=1, max_size=3), min_size=2, max_size=5), st.data())
def test_whatever_fills_the_holes_the_template_matches(constants: list[str], data: st.DataObject) -> None:
    fills = [data.draw(st.text("ab c", max_size=5)) for _ in constants[1:]]
    message = constants[0] + "".join(fill + constant for fill, constant in zip(fills, constants[1:], strict=True))
    found = Template.of("{}".join(constants), "").match(message)
    assert found is not None
    again = constants[0] + "".join(fill + constant for fill, constant in zip(found, constants[1:], strict=True))
    assert again == message


SECTIONS: Final = read_sections("zh_cn")
HAN: Final = re.compile(r"[\u4e00-\u9fff]")
EVERY: Final = [text for name in WHOLE for text in SECTIONS[name]]
# What cannot be taken for a part of a template.
fills = st.text(st.characters(min_codepoint=0x41, exclude_characters="{}", exclude_categories=["Cs"]), max_size=20)


@given(st.sampled_from(EVERY), st.data())
def test_what_was_filled_in_stays(text: str, data: st.DataObject) -> None:
    filled: list[str] = []

    def fill(hole: re.Match[str]) -> str:
        if not hole[1]:
            filled.append("§" + data.draw(fills) + "§")
        return "s" if hole[1] else filled[-1]

    said = chinese().message(HOLE.sub(fill, text))
    assert HAN.search(said) or not any(HAN.search(SECTIONS[name].get(text, "")) for name in WHOLE)
    for one in filled:
        assert one in said


@given(st.text() | st.sampled_from(EVERY).flatmap(lambda text: st.text("{}: ;,'ab").map(text.__add__)))
def test_no_message_is_an_error(message: str) -> None:
    assert chinese().message(message) or not message


@pytest.mark.parametrize(
    "message", ["not known to the catalogue", "", "there is no app " + LONG, "{0} {1:parts}", "nobody knows", "\0"]
)
def test_what_has_no_chinese_stays_english(message: str) -> None:
    assert chinese().message(message) == message
    assert chinese().title(message) == message


def test_the_template_that_says_more_is_meant() -> None:
    entries = {"no {}": "1 {0}", "no {}; make it": "2 {0}", "{}; make it": "3 {0}", "no x": "4"}
    catalogue = Catalogue({"titles": {}, "messages": entries, "told": {}, "pydantic": {}, "msgspec": {}})
    said = [catalogue.message(text) for text in ("no a", "no a; make it", "x; make it", "no x", "nothing")]
    assert said == ["1 a", "2 a", "3 x", "4", "nothing"]


@pytest.mark.parametrize("message", [text.replace("{}", "a, b; c or 'd' ") * 50 for text in EVERY if "{}" in text])
def test_no_message_takes_long(message: str) -> None:
    started = perf_counter()
    chinese().message(message[:TRANSLATED_LENGTH_MAX])
    assert perf_counter() - started < 0.5


# What libraries say

MALFORMED: Final = [
    rb"""[1,] {"a":1,} {'a':1} {"a"1} {"a":1"b"} "open "\q" "\u12" 1,2 nope 01 - NaN 1e999 "\ud800" ["\u0000"] [1[2]""".split(),
    [b" ", b"{", b'"\x01"', b'"\xff"', b"1 2", b"[" * 200 + b"]" * 200],
]


@pytest.mark.parametrize("body", [body for bodies in MALFORMED for body in bodies])
def test_malformed_json_is_told_in_chinese(body: bytes) -> None:
    for told in (refused(check_json, body, b"application/json"), refused(parse_event, body)):
        assert is_chinese(chinese().message(told)), told


@pytest.mark.parametrize(
    ("parse", "body"),
    [
        (parse_event, {"type": 1, "data": 1}),
        (parse_event, {"type": "a"}),
        (parse_event, {"type": "a", "data": 1, "x": 1}),
        (parse_event, []),
        (parse_event, {"type": "a", "data": 1, "expires_at": "soon"}),
        (parse_event, {"type": "a", "data": 1, "expires_at": "2026-01-02T03:04:05"}),
        (parse_event, {"type": "a", "data": 1, "channels": {}}),
        (parse_event, {"type": "a", "data": 1, "channels": [1]}),
        (parse_event, {"type": "a", "data": 1, "subject": ""}),
        (parse_event, {"type": "a b", "data": 1}),
        (lambda body: list(parse_batch(body)), []),
        (lambda body: list(parse_batch(body)), {}),
        (lambda body: list(parse_batch(body)), [1]),
    ],
)
def test_events_that_are_none_are_told_in_chinese(parse: Callable[[bytes], object], body: object) -> None:
    told = refused(parse, json.dumps(body).encode())
    assert is_chinese(chinese().message(told)), told


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-01-01T",
        "2026x01-01T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-02-30T00:00:00Z",
        "2026-aa-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "2026-01-01T00:00:00",
        "99999999999999999",
        "-99999999999999999",
        "aaaa-01-01T00:00:00Z",
        "nan",
    ],
)
def test_times_that_are_none_are_told_in_chinese(text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(AwareDatetime).validate_python(text)
    (found,) = caught.value.errors()
    message = str(fields_of([{**found, "loc": ("query", "since")}]))
    assert is_chinese(chinese().message(message)), message


SCHEMAS: Final[Sequence[tuple[dict[str, Any], Any]]] = [
    ({"type": "string"}, 5),
    ({"type": ["string", "null"]}, 5),
    ({"required": ["a"]}, {}),
    ({"additionalProperties": False, "properties": {"a": {}}}, {"x": 1}),
    ({"additionalProperties": False, "properties": {"a": {}}}, {"x": 1, "y": 2}),
    ({"unevaluatedProperties": False}, {"a": 1}),
    ({"unevaluatedItems": False}, [1]),
    ({"prefixItems": [{}], "items": False}, [1, 2]),
    ({"minimum": 5}, 1),
    ({"maximum": 5}, 7),
    ({"exclusiveMinimum": 5}, 5),
    ({"exclusiveMaximum": 5}, 5),
    ({"multipleOf": 2}, 3),
    ({"minLength": 3}, "a"),
    ({"maxLength": 1}, "abc"),
    ({"pattern": "^a"}, "b"),
    ({"format": "date-time"}, "x"),
    ({"enum": [1, 2]}, 3),
    ({"const": 1}, 2),
    ({"minItems": 2}, [1]),
    ({"maxItems": 1}, [1, 2]),
    ({"uniqueItems": True}, [1, 1]),
    ({"contains": {"const": 1}}, [2]),
    ({"minProperties": 2}, {"a": 1}),
    ({"maxProperties": 1}, {"a": 1, "b": 2}),
    ({"not": {"type": "string"}}, "a"),
    ({"oneOf": [{"type": "string"}]}, 1),
    ({"oneOf": [{}, {}]}, 1),
    ({"anyOf": [{"type": "string"}]}, 1),
]


@pytest.mark.parametrize(("schema", "data"), SCHEMAS)
def test_data_that_do_not_fit_are_told_in_chinese(schema: dict[str, Any], data: object) -> None:
    told = [error.message for error in jsonschema_rs.validator_for(schema, validate_formats=True).iter_errors(data)]
    assert told
    said = chinese().message("the data do not fit the event type's schema: " + "; ".join(told * 2))
    assert said.startswith("data 不符合事件类型的 schema：")
    assert is_chinese(said.partition("：")[2]), said


# What else is told in parts


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("host", ["", "hooks.example"])
def test_refused_addresses_are_told_in_chinese(kind: Kind, host: str) -> None:
    for address in ("127.0.0.1", "2001:db8::1"):
        told = "the URL cannot be delivered to: " + explain(ip_address(address), kind, host=host)
        said = chinese().message(told)
        assert is_chinese(re.sub("`[^`]+`", "", said)), said
        assert (address in said) is (host == "" or kind is Kind.LOOPBACK)
        assert host in said


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://a",
        "http://",
        "http://a b",
        "http://a#b",
        "http://u:p@a",
        "http://[::1",
        "http://[x]",
        "http://[fe80::1%25e]",
        "http://a:b:c",
        "http://a:99999",
        "http://a..b",
        "http://1.2",
        "http://a/" + "x" * 3_000,
        "http://a/" + "ä" * 2_000,
    ],
)
def test_urls_that_are_none_are_told_in_chinese(url: str) -> None:
    said = chinese().message(refused(parse_target, url))
    assert said.startswith("此 URL ")
    assert is_chinese(said), said


@pytest.mark.parametrize("header", [*RESERVED, "webhook-id", "", "a b"])
def test_headers_that_cannot_be_set_are_told_in_chinese(header: str) -> None:
    said = chinese().message(refused(check_headers, [(header, "x")]))
    assert is_chinese(said), said


# Problems


def test_a_problem_in_chinese() -> None:
    status, headers, body = problem_bytes(NotFound("there is no app 'x'", code="app_not_found"), CHINESE)
    assert {(b"content-language", b"zh-CN"), (b"vary", b"Accept-Language")} <= set(headers)
    assert msgspec.json.decode(body) == {
        "type": "about:blank",
        "title": "未找到",
        "status": 404,
        "code": "app_not_found",
        "detail": "没有应用 'x'",
    }
    assert status == 404


def test_every_field_is_told_in_chinese() -> None:
    error = InvalidFields(
        [("a", "this field is missing"), ("b", f"a description has at most {TEXT_LENGTH_MAX} characters")]
    )
    problem = msgspec.json.decode(problem_bytes(error, CHINESE)[2])
    assert problem["detail"] == "缺少此字段"
    assert problem["path"] == "a"
    assert problem["errors"] == [
        {"path": "a", "detail": "缺少此字段"},
        {"path": "b", "detail": f"描述最多 {TEXT_LENGTH_MAX} 个字符"},
    ]


def test_a_fault_of_ours_is_told_in_chinese_and_nothing_of_it() -> None:
    problem = msgspec.json.decode(problem_bytes(ValueError("secret"), CHINESE)[2])
    assert (problem["title"], problem["code"]) == ("服务器内部错误", "internal_error")
    assert is_chinese(problem["detail"])


def test_english_is_what_nobody_asked_for() -> None:
    _, headers, body = problem_bytes(Unauthorised("send an API key: Authorization: Bearer <key>"))
    assert (b"content-language", b"en") in headers
    assert msgspec.json.decode(body)["title"] == "Unauthorized"


@pytest.mark.parametrize(
    ("english", "told"),
    [
        ('there is no field "a"', "没有字段“a”"),
        ("error: a division by zero", "error：除以零"),
        (
            'its filters have no value (error: there is no field "a"), and the event is sent all the same (on_filter_error)',
            "其过滤器无法求值（error：没有字段“a”），事件照样发送（on_filter_error）",
        ),
        (
            "its grant for order.created and the subject shop:1 has ended; grant it anew",
            "其授权（order.created，主体 shop:1）已到期；请重新授权",
        ),
        ("now also null, no longer string", "现在也可以是 null，不再是 string"),
        ("new: 1, 2, 3, 4, 5 and 2 more", "新增：1, 2, 3, 4, 5，另有 2 个"),
        ("it came to a list, and not to true or false", "结果是列表，而不是 true 或 false"),
        ("transform.headers.X-A: a division by zero", "transform.headers.X-A：除以零"),
        ('transform.schema: "a" is a required property', 'transform.schema：缺少必填属性 "a"'),
    ],
)
def test_what_answers_tell_beside_errors(english: str, told: str) -> None:
    assert chinese().message(english) == told
