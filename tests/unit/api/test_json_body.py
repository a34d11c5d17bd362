"""Bodies: only strict JSON gets through."""

from __future__ import annotations

from time import perf_counter

import msgspec
import pytest

from posthouse.api import json_body
from posthouse.api.json_body import check_json
from posthouse.domain.errors import Invalid
from posthouse.domain.limits import BODY_DATA_VALUES_MAX, BODY_VALUES_MAX, JSON_DEPTH_MAX

JSON = b"application/json"


def refused(body: bytes, content_type: bytes | None = JSON, encoding: bytes | None = None) -> Invalid:
    with pytest.raises(Invalid) as caught:
        check_json(body, content_type, encoding)
    return caught.value


@pytest.mark.parametrize(
    ("body", "line", "column"),
    [
        (b'{"a": nope}', 1, 7),
        (b'{\n  "a": 1,\n  "b" 2\n}', 3, 7),
        (b'{"a": 1', 1, 8),
        (b'{"a": [1, 2,', 1, 13),
        (b"{'a': 1}", 1, 2),
        (b'{"a": 1,}', 1, 9),
        (b'{"a": "tab\there"}', 1, 11),
        (b'{"a": "\xc3\xa9" x}', 1, 11),
        (b"NaN", 1, 1),
        (b'{"a": 1} x', 1, 10),
    ],
)
def test_malformed_json_is_told_with_line_and_column(body: bytes, line: int, column: int) -> None:
    error = refused(body)
    assert error.code == "malformed_json"
    assert str(error).endswith(f"at line {line}, column {column}")


@pytest.mark.parametrize("body", [b'"\\ud800"', b'"\\ud800x"', b"1e999", b"[1e400]", b"9" * 5000, b"-"])
def test_what_no_json_is_is_refused(body: bytes) -> None:
    assert refused(body).code == "malformed_json"


def test_invalid_utf8_is_told_with_its_place() -> None:
    error = refused(b'{"a":\n"\xff"}')
    assert error.code == "malformed_json"
    assert "UTF-8" in str(error)
    assert str(error).endswith("line 2, column 2")


@pytest.mark.parametrize(
    "body", [b"[" * 10_000, b"[" * 10_000 + b"]" * 10_000, b'{"a":' * 10_000 + b"1" + b"}" * 10_000]
)
def test_deep_nesting_is_refused(body: bytes) -> None:
    assert refused(body).code == "malformed_json"


def test_the_depth_that_is_allowed_is_exact() -> None:
    check_json(b"[" * JSON_DEPTH_MAX + b"1" + b"]" * JSON_DEPTH_MAX, JSON)
    assert "too deeply" in str(refused(b"[" * (JSON_DEPTH_MAX + 1) + b"]" * (JSON_DEPTH_MAX + 1)))


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b'"\\u0000"', ""),
        (b'{"name": "a\\u0000b"}', "name"),
        (b'{"events": ["ok", "no\\u0000"]}', "events[1]"),
        (b'{"metadata": {"deep": [{"x": "\\u0000"}]}}', "metadata.deep[0].x"),
        (b'{"metadata": {"a\\u0000": 1}}', "metadata.a\0"),
    ],
)
def test_nul_is_refused_with_its_path(body: bytes, path: str) -> None:
    error = refused(body)
    assert error.path == path
    assert error.code == "invalid"


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        b"",
        b"text/plain",
        b"application/x-www-form-urlencoded",
        b"application/xml",
        b"application/json; charset=gbk",
    ],
)
def test_other_content_types_are_refused(content_type: bytes | None) -> None:
    assert refused(b"{}", content_type).code == "unsupported_media_type"


@pytest.mark.parametrize(
    "content_type",
    [
        JSON,
        b"Application/JSON",
        b"application/json; charset=UTF-8",
        b"application/merge-patch+json",
        b'application/json; charset="utf-8"',
    ],
)
def test_json_by_any_name_is_fine(content_type: bytes) -> None:
    check_json(b"{}", content_type)


def test_compressed_bodies_are_refused() -> None:
    assert refused(b"{}", JSON, b"gzip").code == "unsupported_media_type"
    check_json(b"{}", JSON, b"identity")


def test_no_body_is_fine_whatever_it_is_called() -> None:
    check_json(b"", None)
    check_json(b"", b"text/plain")


def test_long_keys_over_many_values_cost_no_more_than_they_are_long() -> None:
    body = msgspec.json.encode({"data": {"k" * 300_000: ["x"] * 90_000}})
    started = perf_counter()
    check_json(body, JSON)
    assert perf_counter() - started < 5.0


def values(count: int, *, each: bytes = b"1") -> bytes:
    return b"[%b]" % b",".join([each] * (count - 1))


@pytest.mark.parametrize(
    "body",
    [
        b'{"events":%b}' % values(BODY_VALUES_MAX + 1),
        b'{"a":%b,"b":%b}' % (values(BODY_VALUES_MAX - 100), values(200)),
        b"{%b}" % b",".join([b'"%d":1' % n for n in range(BODY_VALUES_MAX + 1)]),
        b'{"event":{"attributes":%b}}' % values(BODY_VALUES_MAX + 1),
        b'{"changes":{"data":%b}}' % values(BODY_VALUES_MAX + 1),
        b'{"data":%b}' % values(BODY_DATA_VALUES_MAX + 10, each=b"{}"),
        b'{"data":1,%b}' % b",".join([b'"%d":[[1,2],"",{}]' % n for n in range(BODY_VALUES_MAX // 4)]),
        values(BODY_DATA_VALUES_MAX + 10)[:-1],
    ],
)
def test_too_many_values_are_refused_before_anything_is_said_of_each(
    body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_body, "_decoded", lambda _: pytest.fail("it was read"))
    assert "too many values" in str(refused(body))


@pytest.mark.parametrize(
    "body",
    [
        b'{"data":%b}' % values(BODY_VALUES_MAX * 2),
        b'{"event":{"data":%b}}' % values(BODY_VALUES_MAX * 2),
        b'{"schema":{"enum":%b},"examples":[%b]}' % (values(BODY_VALUES_MAX), values(BODY_VALUES_MAX)),
        b'{"events":%b}' % values(BODY_VALUES_MAX - 10),
        b'{"description":"%b"}' % (b"[1,2]," * BODY_VALUES_MAX),
    ],
)
def test_data_may_have_more_of_them_and_texts_have_none(body: bytes) -> None:
    check_json(body, JSON)


def test_a_large_body_is_not_walked_through_unless_there_may_be_nul_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    large = values(BODY_DATA_VALUES_MAX - 1_000)
    with monkeypatch.context() as patched:
        patched.setattr(json_body, "_check_texts", lambda _: pytest.fail("it was walked through"))
        check_json(b'{"data":%b}' % large, JSON)
        too_deep = b"[" * JSON_DEPTH_MAX + b"]" * JSON_DEPTH_MAX
        assert "too deeply" in str(refused(b'{"data":[%b,%b]}' % (large, too_deep)))
    check_json(b'{"data":[%b,"\\\\u0000"]}' % large, JSON)
    assert refused(b'{"data":[%b,"\\u0000"]}' % large).path == "data[1]"
