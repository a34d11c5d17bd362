"""A payload as people read it: a line for each value, bounded, and in Markdown no more than text."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from tests.fakes import an_event

from posthouse.domain.errors import Invalid
from posthouse.domain.formats import TimeText
from posthouse.domain.limits import READABLE_BYTES_MAX, READABLE_LINE_LENGTH_MAX
from posthouse.wire.formats.readable import MORE, Style, escaped, readable
from posthouse.wire.formats.shape import RawSource, Shape, parsed

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=20)
    | st.sampled_from(["[a](b)", "**x**", "<b>", "\n# h"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=30,
)


def lines_of(value: Any, style: Style = Style.TEXT) -> list[str]:
    payload = json.dumps(value).encode()
    return readable(an_event(payload=payload), parsed(payload), style).split("\n")


@pytest.mark.parametrize(
    ("value", "lines"),
    [
        ({"id": 7, "b": {"c": [1, 2.50, "x"], "d": True}}, ["id: 7", "b.c: 1, 2.5, x", "b.d: true"]),
        ([{"a": 1}, {"a": 2}], ["0.a: 1", "1.a: 2"]),
        ({"a": None, "b": "", "c": [], "d": {}, "e": [None], "f": 0, "g": False}, ["f: 0", "g: false"]),
        ({"a": " x\r\n\ty\x00\u2028z "}, ["a: x y z"]),
        ({"a": [[1], [2]]}, ["a.0: 1", "a.1: 2"]),
        ("text", ["text"]),
        (7, ["7"]),
        ([1, 2], ["1, 2"]),
        (None, [""]),
    ],
)
def test_a_line_for_each_value(value: Any, lines: list[str]) -> None:
    assert lines_of(value) == lines


@given(values)
def test_lines_are_bounded_and_hold_no_controls(value: Any) -> None:
    for style in Style:
        text = "\n".join(lines_of(value, style))
        assert len(text.encode()) <= READABLE_BYTES_MAX + len(MORE.encode()) + 1
        for line in text.split("\n"):
            assert not any(ord(character) < 32 or character in "\x7f\u2028\u2029" for character in line)


@pytest.mark.parametrize(
    "value",
    [
        {f"field {n}": "x" * 100 for n in range(1_000)},
        {"a": [{"b": None}] * 100_000, "c": 1},
        {"k" * 100_000: {"l" * 100_000: "驿" * 100_000}},
        list(range(100_000)),
    ],
)
def test_what_is_large_ends_in_a_sign_of_that(value: Any) -> None:
    lines = lines_of(value)
    assert lines[-1].endswith(MORE)
    assert len("\n".join(lines).encode()) <= READABLE_BYTES_MAX + len(MORE.encode()) + 1
    assert all(len(line) <= 2 * READABLE_LINE_LENGTH_MAX + 4 for line in lines)


@given(st.text(max_size=40), st.text(alphabet="[]()*`<>!\\_ab &", max_size=40))
def test_nothing_in_a_value_is_markdown(name: str, value: str) -> None:
    text = readable(an_event(), {name: value, "last": "1"}, Style.MARKDOWN)
    inner = [child for token in MarkdownIt("commonmark").parse(text) for child in token.children or []]
    kinds = {child.type for child in inner}
    assert not {"link_open", "image", "code_inline", "html_inline"} & kinds
    assert all(child.tag != "em" or "_" in name + value for child in inner)


def test_escaped_is_a_line() -> None:
    assert escaped("a\n[b](c) *d* `e` <f> \\") == r"a \[b\](c) \*d\* \`e\` \<f> \\"


@pytest.mark.parametrize(
    ("payload", "content_type", "line"),
    [
        (b"\x00\x01", "image/png", "image/png, 2 bytes"),
        ("驿\n站".encode(), "text/plain", "驿 站"),
        (b"\xff", "text/plain", "\ufffd"),
    ],
)
def test_what_is_no_json(payload: bytes, content_type: str, line: str) -> None:
    assert readable(an_event(payload=payload, content_type=content_type), None, Style.TEXT) == line


def shape(text: str) -> Shape:
    return Shape({"text": text}, known={"event.subject"}, time=TimeText(), path="format.body")


def test_it_stands_in_a_text_among_others() -> None:
    event, told = an_event(payload=b'{"a":"[x]"}'), {"event.subject": "*s*"}
    assert shape("{event.subject}\n{data:text}!").fill(event, told, RawSource()) == {"text": "*s*\na: [x]!"}
    assert shape("{event.subject}\n{data:markdown}").fill(event, told, RawSource()) == {
        "text": "\\*s\\*\n- **a**: \\[x\\]"
    }
    assert shape("{{data:text}}").fill(event, told, RawSource()) == {"text": "{data:text}"}


@pytest.mark.parametrize("text", ["{data:text}{data:markdown}", "{data:html}", "x{data}"])
def test_what_is_refused(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        shape(text)
    assert caught.value.path == "format.body.text"
