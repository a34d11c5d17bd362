"""Templates read back: what their names stand for, whatever it is; and texts of strangers, in bounded time."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse_sdk.encryption.errors import SettingError
from posthouse_sdk.profiles.texts import Text

NAMES = st.lists(st.sampled_from(["nonce", "event.id", "message.id"]), min_size=1, max_size=3, unique=True)


@given(NAMES, st.data())
def test_what_is_written_is_read_back(names: list[str], data: st.DataObject) -> None:
    literal = st.text(alphabet="{}|<>", max_size=3)
    values = {name: data.draw(st.text(alphabet="abc\n驿", max_size=5)) for name in names}
    template = data.draw(literal).replace("{", "{{").replace("}", "}}")
    for name in names:
        template += f"{{{name}}}|" + data.draw(literal).replace("{", "{{").replace("}", "}}")
    text = Text(template, "")
    assert text.match(text.fill(values.__getitem__)) == values


@pytest.mark.parametrize(
    ("template", "text", "found"),
    [
        ("t={timestamp}", "t=1614265330", {"timestamp": "1614265330"}),
        ("t={timestamp}", "t=16142653301614265330", None),
        ("t={timestamp}", "t=-1", None),
        ("{nonce}{nonce}", "abab", {"nonce": "ab"}),
        ("{nonce}{nonce}", "abac", None),
        ("{nonce}-{timestamp}.{event.id}", "a-b-12.c.d", {"nonce": "a-b", "timestamp": "12", "event.id": "c.d"}),
        ("{nonce}-{event.id}.", "a-b.-c.", {"nonce": "a", "event.id": "b.-c"}),
        ("{{{nonce}}}", "{a}", {"nonce": "a"}),
        ("", "", {}),
        ("{nonce}", "x" * 20_000, None),
    ],
)
def test_texts(template: str, text: str, found: dict[str, str] | None) -> None:
    assert Text(template, "").match(text) == found


@pytest.mark.parametrize("template", ["{", "}", "{}", "a{b", "x" * 5_000])
def test_what_is_no_template_is_refused(template: str) -> None:
    with pytest.raises(SettingError):
        Text(template, "")


@pytest.mark.parametrize("count", [1, 2, 3, 6, 20])
def test_a_text_of_a_stranger_takes_no_long_time(count: int) -> None:
    text = Text("-".join([f"{{n{index}}}" for index in range(count)]) + "x", "")
    began = time.process_time()
    for length in (100, 16_384, 100_000):
        assert text.match("-" * length) is None
    assert time.process_time() - began < 5
