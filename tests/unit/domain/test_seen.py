"""Templates over what was seen."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import examples

from posthouse.domain.errors import Invalid
from posthouse.domain.seen import Missing, Template, readable

SEEN = b'{"op": "insert", "new": {"id": 7, "total": 12345678901234567890.10, "ok": true, "gone": null, "tags": ["a", "b"]}}'


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("order.{op}", "order.insert"),
        ("{new.id}", "7"),
        ("{ new . id }", "7"),
        ("{new.total}", "12345678901234567890.10"),
        ("{new.ok}", "true"),
        ("{new.tags.1}", "b"),
        ("{{{op}}}", "{insert}"),
        ("plain", "plain"),
        ("shop:{new.gone}", None),
        ("{new.gone.deeper}", None),
    ],
)
def test_filling_in(template: str, text: str | None) -> None:
    made = Template(template)
    assert made.fill(readable(SEEN)) == text
    assert made.varies == (template != "plain")


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("{old.id}", "there is no old; there is new, op"),
        ("{new.nothing}", "there is no new.nothing; there is gone, id"),
        ("{new}", "is an object"),
        ("{new.tags}", "is a list"),
        ("{new.tags.2}", "there is no new.tags.2"),
        ("{op.length}", "there is no op.length"),
    ],
)
def test_what_is_not_there_is_named(template: str, told: str) -> None:
    with pytest.raises(Missing, match=told.replace("(", r"\(")):
        Template(template).fill(readable(SEEN))


@pytest.mark.parametrize("text", ["", "x" * 513, "{", "a}b", "{}", "{a..b}", "{a", "{ }"])
def test_what_is_no_template(text: str) -> None:
    with pytest.raises(Invalid):
        Template(text)


NAMES = st.text(st.characters(exclude_characters="{}.", exclude_categories=("Cs", "Cc", "Z")), min_size=1, max_size=8)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=10)


@given(st.dictionaries(NAMES, TEXTS | st.integers(), min_size=1, max_size=4), TEXTS)
@settings(max_examples=examples(100))
def test_everything_that_is_seen_can_be_named(seen: dict[str, Any], around: str) -> None:
    escaped = around.replace("{", "{{").replace("}", "}}")
    for name, value in seen.items():
        assert Template(f"{escaped}{{{name}}}").fill(readable(json.dumps(seen).encode())) == f"{around}{value}"
