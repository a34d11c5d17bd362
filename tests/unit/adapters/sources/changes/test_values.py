"""Values as PostgreSQL writes them, as JSON."""

from __future__ import annotations

from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.adapters.sources.changes.values import NUMBER_DIGITS_MAX, encode_for

TEXT = 25
TEXTS = 1009
CASES: list[tuple[int, str, str]] = [
    (16, "t", "true"),
    (16, "f", "false"),
    (21, "-32768", "-32768"),
    (20, "9223372036854775807", "9223372036854775807"),
    (701, "1e+20", "1e+20"),
    (701, "-0", "-0"),
    (701, "NaN", '"NaN"'),
    (700, "Infinity", '"Infinity"'),
    (701, "-Infinity", '"-Infinity"'),
    (1700, "12345678901234567890.123456789012345678900", "12345678901234567890.123456789012345678900"),
    (1700, "NaN", '"NaN"'),
    (1700, "1" * (NUMBER_DIGITS_MAX + 1), '"' + "1" * (NUMBER_DIGITS_MAX + 1) + '"'),
    (25, 'a "b" \\ \n 驿站', '"a \\"b\\" \\\\ \\n 驿站"'),
    (1042, "ab   ", '"ab   "'),
    (3802, '{"a": [1, null]}', '{"a": [1, null]}'),
    (114, '{"a":  1}', '{"a":  1}'),
    (114, '"\\u9a7f"', '"\\u9a7f"'),
    (114, '"\\ud800"', '"\\"\\\\ud800\\""'),  # half of a pair: no JSON elsewhere, so a text
    (17, "\\x00ff10", '"AP8Q"'),
    (17, "\\x", '""'),
    (1082, "2026-11-28", '"2026-11-28"'),
    (1114, "2026-11-28 20:31:34.5", '"2026-11-28T20:31:34.5"'),
    (1184, "2026-11-28 20:31:34.123456+00", '"2026-11-28T20:31:34.123456+00:00"'),
    (1184, "0044-03-15 12:00:00+00 BC", '"0044-03-15T12:00:00+00:00 BC"'),
    (1184, "infinity", '"infinity"'),
    (1186, "1 day 02:00:00", '"1 day 02:00:00"'),
    (2950, "0198c5a0-0000-7000-8000-000000000000", '"0198c5a0-0000-7000-8000-000000000000"'),
    (1007, "{}", "[]"),
    (1007, "{1,NULL,3}", "[1,null,3]"),
    (1007, "{{1,2},{3,4}}", "[[1,2],[3,4]]"),
    (1007, "[0:1]={1,2}", "[1,2]"),
    (1000, "{t,f}", "[true,false]"),
    (TEXTS, '{a,"b c","NULL",NULL,"","q\\"\\\\",驿}', '["a","b c","NULL",null,"","q\\"\\\\","驿"]'),
    (3807, '{"{\\"a\\": 1}",NULL}', '[{"a": 1},null]'),
    (1185, '{"2026-11-28 20:31:34+00"}', '["2026-11-28T20:31:34+00:00"]'),
    (1001, '{"\\\\x00ff"}', '["AP8="]'),
    (600, "(1,2)", '"(1,2)"'),  # a point, and whatever else there is
    (99_999, "{a,b}", '"{a,b}"'),
]


@pytest.mark.parametrize(("number", "written", "encoded"), CASES)
def test_a_value(number: int, written: str, encoded: str) -> None:
    assert encode_for(number)(written.encode()).decode() == encoded
    msgspec.json.decode(encoded)


def test_a_domain_is_what_is_beneath_it() -> None:
    assert encode_for(70_000, "int4")(b"7") == b"7"
    assert encode_for(70_000, "_int4")(b"{7}") == b"[7]"
    assert encode_for(70_000, "mood")(b"fine") == b'"fine"'


def test_what_is_not_utf_8_is_still_json() -> None:
    for number in (TEXT, 114):
        assert isinstance(msgspec.json.decode(encode_for(number)(b'"\xff"')), str)


@given(st.text())
def test_any_text_comes_back(value: str) -> None:
    assert (
        msgspec.json.decode(encode_for(TEXT)(value.encode("utf-8", "replace")))
        == value.encode("utf-8", "replace").decode()
    )


def _written(items: list[str | None]) -> str:
    """An array as PostgreSQL writes it."""
    return "{" + ",".join("NULL" if item is None else _quoted(item) for item in items) + "}"


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


@given(st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"]))))
def test_any_array_comes_back(items: list[str | None]) -> None:
    assert msgspec.json.decode(encode_for(TEXTS)(_written(items).encode())) == items


@given(st.binary(max_size=60))
def test_garbage_in_an_array_is_an_error_that_is_expected(value: bytes) -> None:
    for written in (value, b"{" + value, b"{" + value + b"}"):
        with suppress(ValueError, IndexError):
            encode_for(TEXTS)(written)
