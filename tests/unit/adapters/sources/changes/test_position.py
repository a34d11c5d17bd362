"""Places in the log, timelines, and the position."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.adapters.sources.changes.position import (
    POSITION_LENGTH_MAX,
    Position,
    SnapshotProgress,
    Timelines,
    decoded,
    format_lsn,
    parse_lsn,
)
from posthouse.domain.errors import SourceRefused

HISTORY = "1\t0/3000000\tno recovery target specified\n\n2\t0/5000028\tbefore 2026-11-28 20:31:34+00\n"


@given(st.integers(0, 2**64 - 1))
def test_a_place_comes_back(lsn: int) -> None:
    assert parse_lsn(format_lsn(lsn)) == lsn


@pytest.mark.parametrize("text", ["", "0", "0/", "/0", "0/123456789", "x/1", "0/1\n", "-1/0"])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_lsn(text)


def test_a_place_is_on_the_timeline_that_had_it_first() -> None:
    lines = Timelines(3, HISTORY)
    assert [lines.of(lsn) for lsn in (0, 0x2FFFFFF, 0x3000000, 0x5000027, 0x5000028)] == [1, 1, 2, 2, 3]
    assert Timelines(1).of(2**60) == 1


def test_what_was_read_elsewhere_counts_up_to_where_the_two_part() -> None:
    lines = Timelines(3, HISTORY)
    assert lines.common(3, 0x9000000) == 0x9000000
    assert lines.common(2, 0x4000000) == 0x4000000
    assert lines.common(2, 0x9000000) == 0x5000028  # a standby was promoted that lacked the end
    assert lines.common(1, 0x9000000) == 0x3000000
    assert lines.common(7, 0x9000000) == 0  # nobody knows where that one left


def test_a_position_comes_back() -> None:
    position = Position(
        system="1",
        timeline=2,
        lsn="0/1",
        commit="0/2",
        changes=3,
        slot="0/0",
        snapshot=SnapshotProgress(("a.b",), ("1",)),
    )
    assert decoded(position.encoded()) == position


def test_a_position_is_never_too_long() -> None:
    tables = tuple(f"public.{'t' * 50}{n}" for n in range(20))
    position = Position(system="1", timeline=1, lsn="0/1", snapshot=SnapshotProgress(tables, ("k" * 4_000,)))
    assert decoded(position.encoded()).snapshot == SnapshotProgress(tables)
    many = Position(system="1", timeline=1, lsn="0/1", snapshot=SnapshotProgress(tables * 5))
    assert decoded(many.encoded()).snapshot == SnapshotProgress()
    assert len(many.encoded()) <= POSITION_LENGTH_MAX


@pytest.mark.parametrize(
    "text", ["", "{}", "12", '{"system":"1","timeline":1,"lsn":"there"}', '{"system":"1","timeline":1}']
)
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(SourceRefused, match="Rewind"):
        decoded(text)
