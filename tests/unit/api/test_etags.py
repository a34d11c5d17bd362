"""Entity tags: another one whenever the answer is; and conditions as RFC 9110 reads them."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.responses import Response
from pydantic import BaseModel

from posthouse.api.etags import Conditions, etag_of, parse_tags, tagged
from posthouse.domain.errors import Invalid, PreconditionFailed


class Thing(BaseModel):
    name: str
    more: dict[str, Any] = {}


def named(name: str) -> Thing:
    return Thing(name=name)


def test_a_tag_is_strong_short_and_of_the_whole_answer() -> None:
    tag = etag_of(Thing(name="a"))
    assert tag[0] == tag[-1] == '"'
    assert len(tag) == 18
    assert parse_tags(tag, header="If-Match") == (tag,)
    assert etag_of(Thing(name="a")) == tag
    assert etag_of(Thing(name="b")) != tag
    assert etag_of(Thing(name="a", more={"x": 1})) != tag
    assert etag_of(Thing(name="a", more={"x": 1, "y": 2})) == etag_of(Thing(name="a", more={"y": 2, "x": 1}))


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("*", ("*",)),
        (" * ", ("*",)),
        ('"a"', ('"a"',)),
        ('""', ('""',)),
        ('"a","b"', ('"a"', '"b"')),
        ('"a" ,\t"b"', ('"a"', '"b"')),
        (', "a", , "b",', ('"a"', '"b"')),
        ('"a,b"', ('"a,b"',)),
        ('"*"', ('"*"',)),
        ('W/"a", "b"', ('W/"a"', '"b"')),
        ('"\xe9"', ('"\xe9"',)),
    ],
)
def test_lists_of_tags(text: str, tags: tuple[str, ...]) -> None:
    assert parse_tags(text, header="If-Match") == tags


@pytest.mark.parametrize(
    "text", ["", " ", ",", "a", '"a', 'a"', '"a" "b"', '"a""b"', '*, "a"', '"a", *', 'w/"a"', "W/a", '"a b"', '"\x7f"']
)
def test_what_is_no_list_of_tags(text: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_tags(text, header="If-Match")
    assert (refused.value.path, refused.value.code) == ("If-Match", "malformed_request")


@pytest.mark.parametrize(
    ("match", "none_match", "current", "holds"),
    [
        (None, None, '"a"', True),
        (None, None, None, True),
        ('"a"', None, '"a"', True),
        ('"b", "a"', None, '"a"', True),
        ('"b"', None, '"a"', False),
        ('W/"a"', None, '"a"', False),  # a weak one says too little
        ("*", None, '"a"', True),
        ("*", None, None, False),
        ('"a"', None, None, False),
        (None, "*", None, True),
        (None, "*", '"a"', False),
        (None, '"a"', '"a"', False),
        (None, 'W/"a"', '"a"', False),
        (None, '"b"', '"a"', True),
        (None, '"a"', None, True),
        ('"a"', '"a"', '"a"', False),
        ('"a"', '"b"', '"a"', True),
    ],
)
def test_conditions_of_a_change(match: str | None, none_match: str | None, current: str | None, holds: bool) -> None:
    conditions = Conditions(
        None if match is None else parse_tags(match, header="If-Match"),
        None if none_match is None else parse_tags(none_match, header="If-None-Match"),
    )
    if holds:
        conditions.check(current)
    else:
        with pytest.raises(PreconditionFailed):
            conditions.check(current)


def test_what_is_asked_of_nothing_costs_no_hash() -> None:
    assert Conditions().on(named) is None


def test_a_change_function_checks_the_thing_it_is_given() -> None:
    check = Conditions(match=(etag_of(Thing(name="a")),)).on(named)
    assert check is not None
    check("a")
    for other in ("b", None):
        with pytest.raises(PreconditionFailed):
            check(other)


def test_a_get_answers_what_the_client_does_not_have() -> None:
    thing = Thing(name="a")
    tag = etag_of(thing)
    response = Response()
    assert Conditions().answer(response, thing) is thing
    assert response.headers["etag"] == tag
    assert Conditions(none_match=('"other"',)).answer(Response(), thing) is thing
    for tags in ((tag,), ("*",), (f"W/{tag}",), ('"other"', tag)):
        known = Conditions(none_match=tags).answer(Response(), thing)
        assert isinstance(known, Response)
        assert (known.status_code, known.headers["etag"], known.body) == (304, tag, b"")
    with pytest.raises(PreconditionFailed):
        Conditions(match=('"other"',)).answer(Response(), thing)


def test_a_change_is_answered_with_the_tag_of_what_it_made() -> None:
    response = Response()
    tagged(response, Thing(name="a"))
    assert response.headers["etag"] == etag_of(Thing(name="a"))
