"""One request under its rules: heads and bodies in, events and misses out."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse_sdk.listening import Miss, Rule
from posthouse_sdk.listening.bodies import Body
from posthouse_sdk.listening.misses import UnreadableError
from posthouse_sdk.listening.observation import Finding, Head, Observation, Occurrence
from posthouse_sdk.listening.references import ABSENT
from posthouse_sdk.listening.rules import CompiledRule
from posthouse_sdk.listening.table import RuleTable

JSON = {"content-type": "application/json"}


def observation(
    *rules: Rule,
    headers: dict[str, str] | None = None,
    query: str = "",
    idempotency_header: str | None = "idempotency-key",
) -> Observation:
    head = Head("POST", "/orders/7", query, headers or {})
    matches = RuleTable(CompiledRule(rule) for rule in rules).find(head.method, head.path)
    return Observation(head, matches, body_bytes_max=1000, idempotency_header=idempotency_header)


def rule(**fields: Any) -> Rule:
    return Rule("POST", "/orders/{id}", fields.pop("event", "order_paid"), **fields)


def answered(
    seen: Observation, answer: Any = None, *, status: int = 200, request: Any = None, headers: dict[str, str] = JSON
) -> list[Finding]:
    """A whole request and its whole answer, each in two pieces."""
    for body, feed in ((request, seen.request.add), (answer, seen.answer)):
        if feed == seen.answer:
            found = seen.start(status, headers)
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        feed(raw[:3])
        feed(raw[3:])
        seen.request.ended = True
    return found + seen.end()


def made(findings: Iterable[Finding]) -> list[Any]:
    return [found.made.data if isinstance(found, Occurrence) else found.reason for found in findings]


def test_it_is_idle_where_the_head_rules_all_out() -> None:
    assert observation(rule(when={"header.x": "1"}), rule(when={"query.a": "2"}), query="a=1&a=2").is_idle
    assert not observation(rule(when={"header.x": "1"}), headers={"x": "1"}).is_idle
    assert not observation(rule(when={"query.a": "1"}), query="a=1&a=2").is_idle, "the first of several"


def test_what_needs_no_body_is_known_by_the_head() -> None:
    seen = observation(rule(data={"order": "{id}", "at": "{answer_header.location}"}))
    assert not seen.wants_request
    assert made(seen.start(200, {"location": "/x"})) == [{"order": "7", "at": "/x"}]
    assert seen.is_idle
    assert seen.end() == []


def test_the_status_decides() -> None:
    assert made(answered(observation(rule(data="none", status=201)), status=200)) == []
    assert made(answered(observation(rule(data="none", status="4xx")), status=404)) == [{}]


def test_what_needs_the_answer_is_known_at_its_end() -> None:
    seen = observation(rule())
    assert seen.start(200, JSON) == []
    seen.answer(b'{"id"')
    seen.answer(b": 7}")
    assert made(seen.end()) == [{"id": 7}]


def test_of_several_rules_each_is_by_itself() -> None:
    seen = observation(
        rule(data="none", event="a"), rule(event="b"), rule(data="both", event="c"), rule(event="d", when={"answer.x": 2}),
        headers=JSON,
    )  # fmt: skip
    found = answered(seen, {"x": 1}, request={"y": 2})
    assert [one.made.type for one in found if isinstance(one, Occurrence)] == ["a", "b", "c"]
    assert made(found) == [{}, {"x": 1}, {"request": {"y": 2}, "answer": {"x": 1}}]


def test_a_form_has_fields() -> None:
    seen = observation(
        rule(data="request"), headers={"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
    )
    assert seen.wants_request
    assert made(answered(seen, request="name=李&tag=a&tag=b&tag=c&empty=".encode())) == [
        {"name": "李", "tag": ["a", "b", "c"], "empty": ""}
    ]


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "text/csv", "application/octet-stream", ""])
def test_a_request_of_another_kind_is_not_kept(kind: str) -> None:
    seen = observation(rule(data="request"), headers={"content-type": kind})
    assert not seen.wants_request
    assert made(answered(seen, request=b"x")) == ["not_json"]


@pytest.mark.parametrize("kind", ["text/event-stream", "text/html", "application/x-ndjson", "application/jsonx"])
def test_an_answer_of_another_kind_is_not_waited_for(kind: str) -> None:
    seen = observation(rule())
    assert made(seen.start(200, {"content-type": kind})) == ["not_json"]
    assert not seen.wants_answer


def test_fields_of_what_has_none_are_not_there() -> None:
    seen = observation(
        rule(data="none", when={"answer.state": "paid"}), rule(data="none", when={"answer.x": {"exists": False}})
    )
    assert made(seen.start(200, {"content-type": "text/html"})) == [{}]


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "application/problem+json", "Application/JSON"])
def test_json_goes_by_several_names(kind: str) -> None:
    assert made(answered(observation(rule()), {"a": 1}, headers={"content-type": kind})) == [{"a": 1}]


@pytest.mark.parametrize(
    ("body", "headers", "found"),
    [
        (b'{"a": 1}', {}, {"a": 1}),
        (gzip.compress(b'{"a": 1}', mtime=0), {"content-encoding": "gzip"}, {"a": 1}),
        (zlib.compress(b'{"a": 1}'), {"content-encoding": "Deflate"}, {"a": 1}),
        (b'{"a": 1}', {"content-encoding": "identity"}, {"a": 1}),
        (b"x", {"content-encoding": "br"}, "encoded"),
        (b"no gzip", {"content-encoding": "gzip"}, "encoded"),
        (b'{"a"', {}, "not_json"),
        (b"\xff\xfe\xfa", {}, "not_json"),
        (b"[" * 900, {}, "not_json"),
        (b"", {}, "not_json"),
        (b"x" * 1001, {}, "too_large"),
        (b"", {"content-length": "1001"}, "too_large"),
        (gzip.compress(b"[" + b"1," * 5000 + b"1]", mtime=0), {"content-encoding": "gzip"}, "too_large"),
    ],
)
def test_an_answer_is_read_or_it_is_told_why_not(body: bytes, headers: dict[str, str], found: Any) -> None:
    assert made(answered(observation(rule()), body, headers=JSON | headers)) == [found]


def test_what_has_too_much_is_forgotten_and_not_kept() -> None:
    body = Body("answer", JSON, 10)
    kept = []
    for piece in (b"x" * 10, b"x"):
        body.add(piece)
        kept.append((body.keeps, body._pieces))
    assert kept == [(True, []), (False, [])], "one list, which was emptied"


def test_an_answer_that_breaks_off_makes_no_event_of_its_body() -> None:
    seen = observation(rule(), rule(data="none", status=404))
    assert seen.start(200, JSON) == []
    seen.answer(b'{"id": 7')
    assert made(seen.end(whole=False)) == ["cut_off"]


def test_what_never_began_to_be_answered_is_nothing() -> None:
    assert observation(rule()).end(whole=False) == []


def test_a_request_that_was_not_read_is_told() -> None:
    seen = observation(rule(data="request"), headers=JSON)
    assert seen.start(200, JSON) == []
    assert made(seen.end()) == ["unread"]


def test_a_request_may_be_read_while_it_is_answered() -> None:
    seen = observation(rule(data="request"), headers=JSON)
    assert seen.start(200, JSON) == []
    seen.request.add(b"{}")
    seen.request.ended = True
    assert made(seen.end()) == [{}]


def test_an_event_lacks_nothing_that_it_is_addressed_by() -> None:
    found = answered(observation(rule(subject="shop:{answer.shop}")), {"id": 7})
    assert [(miss.reason, miss.detail) for miss in found if isinstance(miss, Miss)] == [
        ("missing", "answer.shop is not there")
    ]


# Idempotency keys


def key_of(answer: Any = None, *, fields: dict[str, Any] | None = None, query: str = "", **headers: str) -> str:
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    (found,) = answered(observation(rule(**(fields or {})), headers=told, query=query), answer or {"id": 7})
    assert isinstance(found, Occurrence)
    return found.idempotency_key


def test_without_a_key_of_the_client_each_event_has_a_new_one() -> None:
    assert key_of() != key_of()


def test_a_clients_retry_has_the_same_key() -> None:
    key = key_of(idempotency_key="k", authorization="Bearer a")
    assert key == key_of(idempotency_key="k", authorization="Bearer a")
    assert len(key) == 64, "what an outbox in MySQL has room for"


def test_anything_else_has_another() -> None:
    keys = [
        key_of(idempotency_key="k"),
        key_of(idempotency_key="k2"),
        key_of(idempotency_key="k", authorization="Bearer a"),
        key_of(idempotency_key="k", authorization="Bearer b"),
        key_of(idempotency_key="k", cookie="session=a"),
        key_of(idempotency_key="k", x_api_key="a"),
        key_of({"id": 8}, idempotency_key="k"),
        key_of(query="a=1", idempotency_key="k"),
        key_of(fields={"event": "order_sent"}, idempotency_key="k"),
        key_of(fields={"subject": "s"}, idempotency_key="k"),
        key_of(fields={"name": "another"}, idempotency_key="k"),
    ]
    assert len(set(keys)) == len(keys)


def test_keys_of_clients_may_be_ignored() -> None:
    def key() -> str:
        (found,) = answered(observation(rule(), headers={"idempotency-key": "k"}, idempotency_header=None), {"id": 7})
        assert isinstance(found, Occurrence)
        return found.idempotency_key

    assert key() != key()


@given(st.binary(max_size=40), st.sampled_from(["", "gzip", "deflate", "br"]), st.booleans())
def test_no_body_breaks_it(data: bytes, encoding: str, form: bool) -> None:
    kind = "application/x-www-form-urlencoded" if form else "application/json"
    body = Body("request", {"content-type": kind, "content-encoding": encoding}, 30, forms=True)
    body.add(data)
    body.ended = True
    with suppress(UnreadableError):
        value = body.value()
        assert value is ABSENT or json.dumps(value)
