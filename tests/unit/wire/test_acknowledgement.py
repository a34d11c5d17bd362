"""Which answers a rule takes for a confirmation, what it says where it does not, and which rules may be stored."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from posthouse.domain.acknowledgement import Ack, HeaderRule
from posthouse.domain.configuration import read
from posthouse.domain.endpoint import EndpointConfig
from posthouse.domain.errors import Invalid
from posthouse.domain.exchange import NO_TIMINGS, Answer
from posthouse.domain.expression import Failed, FailedBecause, Outcome, Value
from posthouse.domain.limits import ACK_DEPTH_MAX, ACK_RULES_MAX, ACK_STATUSES_MAX, TEXT_LENGTH_MAX
from posthouse.manage.rules_check import check_rules
from posthouse.wire.acknowledgement import Acknowledged, check_ack, judge_ack


def rule(value: Any) -> Ack:
    ack = read(value, Ack, "ack")
    check_ack(ack)
    assert isinstance(ack, Ack)
    return ack


def answer(status: int = 200, body: bytes = b"", *headers: tuple[bytes, bytes], truncated: bool = False) -> Answer:
    return Answer(status, headers, body, NO_TIMINGS, truncated=truncated)


def judged(value: Any, given: Answer, **outcomes: Outcome) -> Acknowledged:
    return judge_ack(rule(value), given, {path.replace("_", "."): outcome for path, outcome in outcomes.items()})


STATUSES = (200, 204, 299, 301, 302, 304, 400, 404, 409, 410, 429, 500, 503, 599)


@pytest.mark.parametrize(
    ("ack", "confirm"),
    [
        ({"text": ""}, {200, 204, 299}),
        ({"status": ["2xx"]}, {200, 204, 299}),
        ({"status": [204]}, {204}),
        ({"status": [200, 409]}, {200, 409}),
        ({"status": ["5xx", 404]}, {404, 500, 503, 599}),
        ({"status": ["4xx"]}, {400, 404, 409, 429}),
        ({"status": ["4xx", 410]}, {400, 404, 409, 410, 429}),
        ({"status": ["3xx"]}, {301, 302, 304}),
        ({"status": [302]}, {302}),
        ({"status": ["*"]}, set(STATUSES) - {301, 302, 304, 410}),
        ({"status": ["*", "3xx", 410]}, set(STATUSES)),
        ({"any": [{"status": [409]}, {"text": ""}]}, {200, 204, 299, 409}),
        ({"all": [{"status": [409, 500]}, {"text": ""}]}, {409, 500}),
        ({"status": [409, 500], "any": [{"text": ""}, {"status": [409]}]}, {409, 500}),
        ({"all": [{"text": ""}], "any": [{"status": [404]}, {"text": ""}]}, {200, 204, 299, 404}),
        ({"all": [{"any": [{"status": [404]}, {"text": ""}]}, {"text": ""}]}, {200, 204, 299, 404}),
        (
            {"all": [{"any": [{"status": [404]}, {"text": ""}]}, {"status": ["*"]}]},
            set(STATUSES) - {301, 302, 304, 410},
        ),
        ({"status": [200], "all": [{"status": [404]}]}, set()),
    ],
)
def test_which_statuses_confirm(ack: Any, confirm: set[int]) -> None:
    assert {status for status in STATUSES if judged(ack, answer(status)).confirmed} == confirm


@pytest.mark.parametrize(
    ("ack", "body", "confirms"),
    [
        ({"text": "success"}, b"success", True),
        ({"text": "success"}, b"\xef\xbb\xbf success\r\n", True),
        ({"text": " success "}, b"success", True),
        ({"text": "success"}, b"SUCCESS", False),
        ({"text": "success", "ignore_case": True}, b"SUCCESS", True),
        ({"text": "straße", "ignore_case": True}, b"STRASSE", True),
        ({"text": "success"}, b'"success"', False),
        ({"text": "success"}, b"success!", False),
        ({"text": "success"}, b"", False),
        ({"text": ""}, b" \n", True),
        ({"text": ""}, b"x", False),
    ],
)
def test_text(ack: Any, body: bytes, confirms: bool) -> None:
    told = judged(ack, answer(200, body))
    assert (told.confirmed, told.words) == (confirms, "" if confirms else "ack.text is not the body")


@pytest.mark.parametrize("charset", ["gbk", "gb18030", "big5", "utf-8", "utf-16"])
def test_text_in_another_charset(charset: str) -> None:
    given = answer(200, "成功".encode(charset), (b"content-type", f"text/plain;charset={charset}".encode()))
    assert judged({"text": "成功"}, given).confirmed


def test_a_text_whose_end_was_not_read_is_not_the_body() -> None:
    told = judged({"text": "success"}, answer(200, b"success", truncated=True))
    assert not told.confirmed
    assert told.words == "ack.text: only the first 65536 bytes of the body are read"


@pytest.mark.parametrize(
    ("header", "headers", "words"),
    [
        ({"name": "X-Ok"}, [(b"x-ok", b"")], ""),
        ({"name": "x-ok", "equals": "Yes"}, [(b"x-ok", b" yES ")], ""),
        ({"name": "x-ok", "equals": "yes"}, [(b"x-ok", b"no"), (b"x-ok", b"yes")], ""),
        ({"name": "x-ok", "equals": "站"}, [(b"x-ok", "站".encode())], ""),
        ({"name": "X-Ok"}, [(b"x-no", b"1")], "ack.header: there is no X-Ok"),
        ({"name": "x-ok", "equals": "yes"}, [(b"x-ok", b"no, yes")], "ack.header: x-ok has another value"),
    ],
)
def test_headers(header: Any, headers: list[tuple[bytes, bytes]], words: str) -> None:
    told = judged({"header": header}, answer(200, b"", *headers))
    assert (told.confirmed, told.words) == (not words, words)


NO_KEY = Failed(FailedBecause.ERROR, "no such key: code")


def test_an_expression_that_is_not_true_says_why() -> None:
    ack = {"when": "response.body.code == 0"}
    json = answer(200, b'{"code":1}')
    assert judged(ack, json, ack_when=Value(True)).confirmed
    assert judged(ack, json, ack_when=Value(False)) == Acknowledged(False, False, "ack.when is false")
    assert judged(ack, json, ack_when=Value(1)) == Acknowledged(False, False, "ack.when is false")
    told = judged(ack, answer(200, b"oops"), ack_when=NO_KEY)
    assert told == Acknowledged(False, True, "ack.when has no value: no such key: code (the body is not JSON)")
    told = judged({"when": "response['xml'].a == '1'"}, answer(200, b"<a>"), ack_when=NO_KEY)
    assert told.words.endswith("(the body is not well-formed XML: no element found: line 1, column 3)")
    told = judged(ack, answer(200, b"x" * 60_000), ack_when=NO_KEY)
    assert told.words == "ack.when has no value: no such key: code", "a large body is not read for the words"
    told = judged(ack, answer(200, b"x" * 60_000, truncated=True), ack_when=NO_KEY)
    assert told.words.endswith("(only the first 65536 bytes of the body are read)")


def test_an_expression_without_a_value_is_to_blame_only_where_it_would_have_helped() -> None:
    ack = {"text": "ok", "when": "response.body.code == 0"}
    assert judged(ack, answer(200, b"ok"), ack_when=NO_KEY).undecided
    assert not judged(ack, answer(200, b"no"), ack_when=NO_KEY).undecided
    assert not judged(ack, answer(500, b"ok"), ack_when=NO_KEY).undecided
    either = {"any": [{"when": "response.body.code == 0"}, {"text": "ok"}]}
    outcomes = {"ack.any[0].when": NO_KEY}
    assert judge_ack(rule(either), answer(200, b"ok"), outcomes).confirmed
    told = judge_ack(rule(either), answer(200, b"no"), outcomes)
    assert told.undecided
    assert (
        told.words
        == "ack.any[0].when has no value: no such key: code (the body is not JSON); ack.any[1].text is not the body"
    )


def test_all_that_does_not_hold_is_told() -> None:
    ack = {"status": [202], "header": {"name": "x-ok"}, "text": "ok", "all": [{"text": "fine"}]}
    assert judged(ack, answer(404, b"no")).words == (
        "ack.status does not name 404; ack.header: there is no x-ok; ack.text is not the body; ack.all[0].text is not the body"
    )
    assert judged({"text": "ok"}, answer(500, b"ok")).words == "the status is not 2xx"


# What may be stored


def nested(depth: int) -> Any:
    value: Any = {"text": "ok"}
    for _ in range(depth - 1):
        value = {"any": [value]}
    return value


@pytest.mark.parametrize(
    ("value", "path", "text"),
    [
        ({}, "ack", "a rule says something"),
        ({"any": []}, "ack", "a rule says something"),
        ({"ignore_case": True}, "ack", "a rule says something"),
        ({"status": [200], "ignore_case": True}, "ack.ignore_case", "belongs to text"),
        ({"all": [{"text": "a"}, {}]}, "ack.all[1]", "a rule says something"),
        ({"status": [199]}, "ack.status[0]", "from 200 to 599"),
        ({"status": [200, 600]}, "ack.status[1]", "from 200 to 599"),
        ({"status": ["1xx"]}, "ack.status[0]", "from 2xx to 5xx"),
        ({"status": ["2XX"]}, "ack.status[0]", "from 2xx to 5xx"),
        ({"status": ["200"]}, "ack.status[0]", "from 2xx to 5xx"),
        ({"status": [True]}, "ack.status[0]", "expected int | str"),
        ({"status": 200}, "ack.status", "expected array"),
        ({"status": [200] * (ACK_STATUSES_MAX + 1)}, "ack.status", f"at most {ACK_STATUSES_MAX}"),
        ({"header": {"name": "x y"}}, "ack.header.name", "not the name of a header"),
        ({"header": {"name": ""}}, "ack.header.name", "not the name of a header"),
        ({"header": {"name": "x-é"}}, "ack.header.name", "not the name of a header"),
        (
            {"any": [{"header": {"name": "x", "equals": "y" * (TEXT_LENGTH_MAX + 1)}}]},
            "ack.any[0].header.equals",
            "at most",
        ),
        ({"text": "y" * (TEXT_LENGTH_MAX + 1)}, "ack.text", "at most"),
        ({"texts": "y"}, "ack.texts", "unknown field"),
        (nested(ACK_DEPTH_MAX + 1), "ack" + ".any[0]" * ACK_DEPTH_MAX, "nested at most"),
        ({"any": [{"text": "ok"}] * ACK_RULES_MAX}, "ack", f"at most {ACK_RULES_MAX}"),
    ],
)
def test_a_bad_rule_is_refused_where_it_is_bad(value: Any, path: str, text: str) -> None:
    with pytest.raises(Invalid, match=text.replace("|", r"\|")) as caught:
        rule(value)
    assert caught.value.path == path


def test_rules_at_their_limits_may_be_stored() -> None:
    rule(nested(ACK_DEPTH_MAX))
    rule({"any": [{"text": "ok"}] * (ACK_RULES_MAX - 1), "ignore_case": True, "text": ""})
    rule({"header": {"name": "x" * 128, "equals": "y" * TEXT_LENGTH_MAX}, "status": [200] * ACK_STATUSES_MAX})


def test_only_a_rule_that_is_new_is_looked_at() -> None:
    bad = EndpointConfig(url="https://example.com/", ack=Ack())
    good = EndpointConfig(url="https://example.com/", ack=Ack(header=HeaderRule(name="x")))
    with pytest.raises(Invalid) as caught:
        check_rules(good, bad)
    assert caught.value.path == "ack"
    check_rules(bad, good)
    check_rules(bad, msgspec.structs.replace(bad, url="https://example.com/other"))
    check_rules(bad, msgspec.structs.replace(bad, ack=None))
