"""Request bodies into events, strictly."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.domain.errors import Invalid, TooLarge
from posthouse.domain.limits import (
    ATTRIBUTES_MAX,
    BATCH_EVENTS_MAX,
    CHANNELS_MAX,
    IDEMPOTENCY_KEY_LENGTH_MAX,
    JSON_AT_ONCE_BYTES_MAX,
    JSON_DEPTH_MAX,
)
from posthouse.intake import parse as parsing
from posthouse.intake.malformed import check_depth, values_at_most
from posthouse.intake.parse import EventBody, attributes_json, check_idempotency_key, parse_event

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def parse_batch(body: bytes) -> list[EventBody]:
    return list(parsing.parse_batch(body))


def parse_lines(body: bytes) -> list[EventBody]:
    return list(parsing.parse_lines(body))


def refused(body: bytes | dict[str, Any], parse: Any = parse_event) -> Invalid:
    with pytest.raises(Invalid) as caught:
        parse(body if isinstance(body, bytes) else json.dumps(body).encode())
    return caught.value


@given(values, st.booleans())
def test_data_go_through_byte_for_byte(data: object, pretty: bool) -> None:
    text = json.dumps(data, indent=2 if pretty else None, ensure_ascii=False)
    body = b'{ "data" :  ' + text.encode() + b' , "type":"order.created" }'
    event = parse_event(body)
    assert json.loads(bytes(event.data)) == json.loads(body)["data"]
    assert bytes(event.data) in body


def test_every_field_is_read() -> None:
    event = parse_event(
        b'{"type":"a.b","data":{},"subject":"shop:1","key":"k","channels":["x","y"],'
        b'"expires_at":"2026-01-02T03:04:05Z","attributes":{"a":"b"}}'
    )
    assert (event.type, event.subject, event.key, event.channels) == ("a.b", "shop:1", "k", ("x", "y"))
    assert event.expires_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert attributes_json(event.attributes) == b'{"a":"b"}'
    assert attributes_json({}) is None


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"type": "order created"}, "type"),
        ({"type": ""}, "type"),
        ({"type": 1}, "type"),
        ({"subject": ""}, "subject"),
        ({"subject": "x" * 1_000}, "subject"),
        ({"subject": "a\u0000b"}, "subject"),
        ({"key": "a\u001fb"}, "key"),
        ({"channels": ["ok", ""]}, "channels[1]"),
        ({"channels": ["a\u001fb"]}, "channels[0]"),
        ({"channels": ["x"] * (CHANNELS_MAX + 1)}, "channels"),
        ({"expires_at": "2026-01-02T03:04:05"}, "expires_at"),
        ({"expires_at": 5}, "expires_at"),
        ({"attributes": {"a": ""}}, "attributes.a"),
        ({"attributes": {f"a{n}": "b" for n in range(ATTRIBUTES_MAX + 1)}}, "attributes"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(change: dict[str, Any], path: str) -> None:
    good = {"type": "order.created", "data": {}}
    assert refused(good | change).path == path
    assert refused(json.dumps([good, good | change]).encode(), parse_batch).path.startswith(f"[1].{path}"[:6])
    lines = json.dumps(good).encode() + b"\n\n" + json.dumps(good | change).encode() + b"\n"
    assert refused(lines, parse_lines).path == f"[1].{path}"


@pytest.mark.parametrize("missing", ["type", "data"])
def test_a_field_that_is_required_is_named(missing: str) -> None:
    body = {"type": "order.created", "data": {}}
    del body[missing]
    error = refused(body)
    assert error.path == missing


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b"", "line 1, column 1"),
        (b'{"type":"a","data":', "line 1, column 20"),
        (b'{"type":"a",\n "data":{"x":}}', "line 2, column 14"),
        (b'{"type":"a","data":"\xff"}', "line 1, column 21"),
        ('{"type":"ä","data":nope}'.encode(), "line 1, column 20"),
    ],
)
def test_malformed_json_is_located(body: bytes, place: str) -> None:
    error = refused(body)
    assert error.code == "malformed_json"
    assert place in str(error)


def test_lines_count_from_the_start_of_the_body() -> None:
    body = b'{"type":"a","data":1}\n\n{"type":"a","data":}\n'
    assert "line 3" in str(refused(body, parse_lines))


def nested(levels: int, inner: str = "1") -> bytes:
    """Data of so many levels, lists and objects in turn."""
    opened = ['{"a":' if level % 2 else "[" for level in range(levels)]
    closed = ["}" if level % 2 else "]" for level in reversed(range(levels))]
    return "".join([*opened, inner, *closed]).encode()


@pytest.mark.parametrize("inner", ["1", '"]}" ', '"\\\\\\"]]"'], ids=["plain", "brackets in a text", "quotes in it"])
def test_data_may_be_so_deep_and_no_deeper(inner: str) -> None:
    body = b'{"type":"a.b","data":%b}'
    assert bytes(parse_event(body % nested(JSON_DEPTH_MAX, inner)).data) == nested(JSON_DEPTH_MAX, inner)
    error = refused(body % nested(JSON_DEPTH_MAX + 1, inner))
    assert (error.path, error.code) == ("data", "malformed_json")
    assert "within 128 levels" in str(error)
    error = refused(b"[%b,%b]" % (body % nested(1), body % nested(JSON_DEPTH_MAX + 1, inner)), parse_batch)
    assert error.path == "[1].data"


def test_texts_cannot_hide_how_deep_it_is() -> None:
    """Their brackets, taken for real ones, would be closed at once."""
    deep = '["]",' * (JSON_DEPTH_MAX + 1) + "1" + ',"["]' * (JSON_DEPTH_MAX + 1)
    assert refused(b'{"type":"a.b","data":%b}' % deep.encode()).path == "data"


@given(values, st.integers(1, 6))
def test_how_deep_it_is_and_how_much_is_known_without_reading_it(value: object, indent: int) -> None:
    def depth(inner: object) -> int:
        held = list(inner.values()) if isinstance(inner, dict) else inner
        return 1 + max(map(depth, held), default=0) if isinstance(held, list) else 0

    def count(inner: object) -> int:
        held = list(inner.values()) if isinstance(inner, dict) else inner
        return 1 + sum(map(count, held)) if isinstance(held, list) else 1

    text = json.dumps(value, indent=indent, ensure_ascii=False).encode()
    around = JSON_DEPTH_MAX - depth(value)
    wrapped = b'["[",' * around + text + b"]" * around
    check_depth(wrapped, path="")
    with pytest.raises(Invalid):
        check_depth(b"[%b]" % wrapped, path="")
    assert count(value) <= values_at_most(text) <= 2 * count(value) + text.count(b",") + text.count(b"[")


HOSTILE = {
    "deep lists": b"[" + b",".join([b"[" * 127 + b"]" * 127] * 2_000) + b"]",
    "uneven lists": b"[" + b",".join([b"[" * n + b"]" * n for n in (1, 100, 3, 127, 50)] * 1_000) + b"]",
    "brackets in texts": b"[" + b",".join([b'"[",["]"]'] * 20_000) + b"]",
    "escaped quotes": b"[" + b",".join([b'"\\"[\\\\",[]'] * 20_000) + b"]",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_no_text_makes_the_look_at_its_depth_take_more_than_one_pass(text: bytes) -> None:
    passes = 0

    def counted(_frame: Any, what: str, _about: Any) -> None:
        nonlocal passes
        passes += what == "c_call"

    before = sys.getprofile()
    sys.setprofile(counted)
    try:
        check_depth(text, path="")
    finally:
        sys.setprofile(before)
    assert passes < 20, "each goes over it once"


def test_events_of_a_large_batch_are_read_as_they_are_asked_for() -> None:
    good = b'{"type":"a.b","data":"%b"}' % (b"x" * 1_000)
    small, large = [b"[%b]" % b",".join([good, good.replace(b"a.b", b"a b"), *[good] * n]) for n in (1, 600)]
    assert next(parsing.parse_batch(large)).type == "a.b"
    assert len(parse_batch(b"[%b]" % b",".join([good] * 600))) == 600
    for body in (small, large):
        assert refused(body, parse_batch).path == "[1].type"
    unknown = large.replace(b"a b", b'a","n":1,"m":"')
    assert refused(unknown, parse_batch).path == "[1].n"
    lines = b"\n".join([good] * 600 + [b"{"])
    read = parsing.parse_lines(lines)
    assert [next(read).type for _ in range(600)] == ["a.b"] * 600
    with pytest.raises(Invalid, match="line 601"):
        next(read)


def test_of_what_is_no_batch_nothing_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsing, "_elements", None)
    for element in (b"1", b"[1]", b"{}", b'{"type":"a.b"}'):
        assert refused(b"[%b]" % b",".join([element] * JSON_AT_ONCE_BYTES_MAX), parse_batch).path.startswith("[0]")
    with pytest.raises(TooLarge):
        parse_batch(b"[%b]" % b",".join([b'{"type":1,"data":1}'] * JSON_AT_ONCE_BYTES_MAX))


def test_what_is_large_and_malformed_is_located_too() -> None:
    much = b"[%b" % (b'{"type":1,"data":1},\n' * JSON_AT_ONCE_BYTES_MAX)
    line = JSON_AT_ONCE_BYTES_MAX + 1
    for rest, why in ((b"{", "ends in the middle of a value"), (b"x]", "malformed JSON: invalid character")):
        error = refused(much + rest, parse_batch)
        assert error.code == "malformed_json"
        assert why in str(error)
        assert f"line {line}," in str(error)


def test_much_that_is_not_deep_goes_through() -> None:
    data = json.dumps([{"items": [{"n": number, "says": ":-] {" * 3}]} for number in range(500)]).encode()
    assert bytes(parse_event(b'{"type":"a.b","data":%b}' % data).data) == data


def test_deep_nesting_is_refused_and_not_a_crash() -> None:
    depth = 100_000
    error = refused(b'{"type":"a","data":' + b"[" * depth + b"]" * depth + b"}")
    assert error.code == "malformed_json"


@given(st.binary(max_size=200))
def test_no_body_is_an_error_of_ours(body: bytes) -> None:
    for parse in (parse_event, parse_batch, parse_lines):
        with suppress(Invalid, TooLarge):
            parse(body)


def test_batches_are_bounded_and_not_empty() -> None:
    one = b'{"type":"a","data":1}'
    assert len(parse_batch(b"[" + b",".join([one] * BATCH_EVENTS_MAX) + b"]")) == BATCH_EVENTS_MAX
    assert len(parse_lines(b"\r\n".join([one] * BATCH_EVENTS_MAX))) == BATCH_EVENTS_MAX
    for parse, body in (
        (parse_batch, b"[" + b",".join([one] * 1_001) + b"]"),
        (parse_lines, b"\n".join([one] * 1_001)),
    ):
        with pytest.raises(TooLarge, match="1000"):
            parse(body)
    for parse, body in ((parse_batch, b"[]"), (parse_lines, b"\n \n")):
        with pytest.raises(Invalid, match="no event"):
            parse(body)


@pytest.mark.parametrize("key", ["", "a\nb", "\x00", "k" * (IDEMPOTENCY_KEY_LENGTH_MAX + 1)])
def test_an_idempotency_key_is_printable_and_short(key: str) -> None:
    with pytest.raises(Invalid):
        check_idempotency_key(key)
    check_idempotency_key("k" * IDEMPOTENCY_KEY_LENGTH_MAX)
