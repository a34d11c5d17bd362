"""Request bodies into events, strictly."""

from __future__ import annotations

import json
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
    JSON_DEPTH_MAX,
)
from posthouse.intake.parse import attributes_json, check_idempotency_key, parse_batch, parse_event, parse_lines

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


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
