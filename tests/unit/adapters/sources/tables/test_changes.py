"""A change of a row as the runner is told of it, and how long to wait for the next one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.adapters.sources.tables.change import KEY_LENGTH_MAX, SHOWN_KEY_LENGTH_MAX, Change, observed
from posthouse.adapters.sources.tables.pauses import Pauses
from posthouse.adapters.sources.tables.place import check_id
from posthouse.domain.limits import PAYLOAD_BYTES_MAX


def change(op: str = "insert", old: str | None = None, new: str | None = None, **more: Any) -> Change:
    return Change(1, "u-1", op, "public", "orders", "7", old, new, None, 1_700_000_000.25)._replace(**more)


def test_it_says_when_and_what() -> None:
    seen = observed(change(new='{"id": 7, "n": 1.50}'))
    assert (seen.key, seen.event_key, seen.at) == ("u-1", "7", 1_700_000_000.25)
    assert (seen.data or b"").startswith(b'{"op":"insert","schema":"public","table":"orders","key":"7","old":null,')
    assert b'"new":{"id": 7, "n": 1.50}' in (seen.data or b""), "as the database wrote it"
    assert json.loads(seen.data or b"")["at"] == "2023-11-14T22:13:20.250000Z"
    assert json.loads(seen.seen) == {**json.loads(seen.data or b""), "row": {"id": 7, "n": 1.5}}


def test_an_update_says_what_changed() -> None:
    seen = observed(change("update", '{"a":1,"b":2,"gone":3}', '{"b":2,"a":1.0,"new":null}'))
    assert json.loads(seen.data or b"")["changed"] == ["a", "new", "gone"]


@pytest.mark.parametrize("broken", ["[1]", "{", '{"a":}', "", None])
def test_what_cannot_be_read_is_cut(broken: str | None) -> None:
    seen = json.loads(observed(change("update", broken, '{"a":1}')).seen)
    assert (seen["cut"], seen["old"], seen["new"], seen["row"]) == (["old"], None, {"a": 1}, {"a": 1})
    assert seen["changed"] == []
    seen = json.loads(observed(change("delete", broken)).seen)
    assert (seen["cut"], seen["old"], seen["row"]) == (["old"], None, None)
    seen = json.loads(observed(change("update", '{"a":1}', broken)).seen)
    assert seen["cut"] == ["old", "new"], "the old row alone would say the opposite"


SIZES = st.integers(0, PAYLOAD_BYTES_MAX)


@given(sizes=st.tuples(SIZES, SIZES, st.integers(0, 20_000)), op=st.sampled_from(["insert", "update", "delete"]))
def test_what_is_published_is_never_too_large(sizes: tuple[int, int, int], op: str) -> None:
    old, new = (json.dumps({"a": "x" * size}) for size in sizes[:2])
    rows = {"insert": (None, new), "update": (old, new), "delete": (old, None)}[op]
    seen = observed(change(op, *rows, key='"' * sizes[2], table="\\" * 64))
    assert len(seen.data or b"") <= PAYLOAD_BYTES_MAX
    assert "cut" in json.loads(seen.data or b"") or all(len(row or "") <= PAYLOAD_BYTES_MAX for row in rows)


def test_many_names_that_changed_have_their_room() -> None:
    names = [f"column_{number:060}" for number in range(1_600)]
    old, new = (json.dumps(dict.fromkeys(names, "x" * size)) for size in (230, 231))
    seen = observed(change("update", old, new))
    assert len(seen.data or b"") <= PAYLOAD_BYTES_MAX
    told = json.loads(seen.data or b"")
    assert told["cut"] == ["old"]
    assert told["changed"] == []


def test_a_long_key_is_told_by_its_hash() -> None:
    assert observed(change(new="{}", key="x" * KEY_LENGTH_MAX)).event_key == "x" * KEY_LENGTH_MAX
    long = observed(change(new="{}", key="x" * (KEY_LENGTH_MAX + 1))).event_key or ""
    assert long.startswith("sha256:")
    assert len(long) == 71
    assert observed(change(new="{}", key="")).event_key is None
    longer = observed(change(new="{}", key="x" * (SHOWN_KEY_LENGTH_MAX + 1)))
    assert json.loads(longer.seen)["cut"] == ["key"]
    assert json.loads(longer.seen)["key"] == longer.event_key


def test_pauses_grow_while_nothing_comes() -> None:
    now = [0.0]
    pauses = Pauses(lambda: now[0], 0.01, 0.1)
    assert [round(pauses.next(), 4) for _ in range(8)] == [0.01, 0.015, 0.0225, 0.0338, 0.0506, 0.0759, 0.1, 0.1]
    pauses.came(0)
    assert pauses.next() == 0.1
    pauses.came(1)
    assert pauses.next() == 0.01


def test_it_is_busy_as_long_as_much_comes() -> None:
    now = [0.0]
    pauses = Pauses(lambda: now[0], 0.01, 0.1)
    busy = list[bool]()
    for changes, at in ((99, 0.0), (1, 0.0), (0, 0.9), (0, 1.0)):
        now[0] = at
        pauses.came(changes)
        busy.append(pauses.is_busy)
    assert busy == [False, True, True, False]


@pytest.mark.parametrize("odd", ["", "a;b", "A", "x" * 41, 'a"', "é"])
def test_an_id_is_letters_and_digits(odd: str) -> None:
    with pytest.raises(ValueError, match="no id of a trigger"):
        check_id(odd)
