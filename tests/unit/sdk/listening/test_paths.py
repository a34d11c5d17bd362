"""Path templates do what a naive reading of them does, whatever the path."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import examples

from posthouse_sdk.listening.paths import PathTemplate

ALPHABET = "ab1-/."


@pytest.mark.parametrize(
    ("template", "path", "found"),
    [
        ("/orders", "/orders", {}),
        ("/orders", "/orders/", None),
        ("/orders/{id}", "/orders/7", {"id": "7"}),
        ("/orders/{id}", "/orders/", None),
        ("/orders/{id}", "/orders/7/lines", None),
        ("/orders/<id>", "/orders/张", {"id": "张"}),
        ("/orders/{id:int}", "/orders/007", {"id": 7}),
        ("/orders/<int:id>/", "/orders/7/", {"id": 7}),
        ("/orders/<int:id>/", "/orders/x/", None),
        ("/orders/{id:int}", "/orders/" + "9" * 21, None),
        ("/orders/{id:int}", "/orders/٣", None),
        ("/files/{name}.json", "/files/a.b.json", {"name": "a.b"}),
        ("/files/{name}.json", "/files/.json", None),
        ("/v1.0/x", "/v1a0/x", None),
        ("/<slug:s>/<uuid:u>", "/a-b/0b6e1d8a-0000-4000-8000-00000000000F",
         {"s": "a-b", "u": "0b6e1d8a-0000-4000-8000-00000000000F"}),
        ("/static/{rest:path}", "/static/a/b\nc", {"rest": "a/b\nc"}),
        ("/static/<path:rest>/end", "/static/a/end/end", {"rest": "a/end"}),
        ("/{a}/{b}", "/1/2", {"a": "1", "b": "2"}),
    ],
)  # fmt: skip
def test_a_path_is_matched(template: str, path: str, found: dict[str, Any] | None) -> None:
    assert PathTemplate(template).match(path) == found


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("orders", "begins with a slash"),
        ("", "begins with a slash"),
        (7, "begins with a slash"),
        ("/" + "x" * 1024, "at most 1024 characters"),
        ("/{id:float}", "no kind 'float'; there are str, int"),
        ("/{id}/{id}", "id is there twice"),
        ("/{a}-{b}", "one parameter at most"),
        ("/{a:path}/{b:path}", "one parameter of kind path"),
        ("/{a", r"\{ stands alone"),
        ("/{7}", r"\{ stands alone"),
        ("/<int:>", "< stands alone"),
    ],
)
def test_what_is_no_template_is_told(template: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        PathTemplate(template)


segments = st.one_of(
    st.text("ab1-.", min_size=1, max_size=3),
    st.tuples(
        st.text("ab", max_size=1), st.sampled_from(["{%s}", "{%s:int}", "<%s>", "<slug:%s>"]), st.text(".b", max_size=1)
    ),
)


@st.composite
def templates(draw: st.DrawFn) -> tuple[str, list[Any]]:
    """A template, and its segments: a text, or (prefix, kind, suffix, name)."""
    text, read = "", list[Any]()
    for index, segment in enumerate(draw(st.lists(segments, max_size=3))):
        if isinstance(segment, str):
            text += f"/{segment}"
            read.append(segment)
        else:
            prefix, form, suffix = segment
            name = f"p{index}"
            text += f"/{prefix}{form % name}{suffix}"
            kind = "int" if "int" in form else "slug" if "slug" in form else "str"
            read.append((prefix, kind, suffix, name))
    return (text, read) if text else ("/", [""])


def naive(read: list[Any], path: str) -> dict[str, Any] | None:
    """Segment by segment, as a person would."""
    given_segments = path.split("/")[1:]
    if not path.startswith("/") or len(given_segments) != len(read):
        return None
    found: dict[str, Any] = {}
    for wanted, segment in zip(read, given_segments, strict=True):
        if isinstance(wanted, str):
            if segment != wanted:
                return None
            continue
        prefix, kind, suffix, name = wanted
        value = segment[len(prefix) : len(segment) - len(suffix)]
        if (
            not (segment.startswith(prefix) and segment.endswith(suffix) and value)
            or segment != prefix + value + suffix
        ):
            return None
        if kind == "int" and not all(character in "0123456789" for character in value):
            return None
        if kind == "slug" and "." in value:
            return None
        found[name] = int(value) if kind == "int" else value
    return found


@settings(max_examples=examples(300))
@given(templates(), st.lists(st.text("ab1-.", max_size=4), max_size=4))
def test_it_matches_what_a_naive_reading_does(template: tuple[str, list[Any]], parts: list[str]) -> None:
    text, read = template
    path = "/" + "/".join(parts)
    assert PathTemplate(text).match(path) == naive(read, path)


@settings(max_examples=examples(200))
@given(templates(), st.data())
def test_it_matches_what_is_made_by_it(template: tuple[str, list[Any]], data: st.DataObject) -> None:
    text, read = template
    values = {
        "int": st.text("0123456789", min_size=1, max_size=20),
        "slug": st.text("ab-_", min_size=1),
        "str": st.text("ab.", min_size=1),
    }
    path = "".join(
        f"/{one}" if isinstance(one, str) else f"/{one[0]}{data.draw(values[one[1]])}{one[2]}" for one in read
    )
    found = PathTemplate(text).match(path)
    assert found is not None
    assert found == naive(read, path)
