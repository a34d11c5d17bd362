"""Positions: what is packed comes out again, and nothing else does."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.domain.ids import AttemptId
from posthouse.domain.position import BYTES_MAX, Position, pack, unpack

PARTITION = st.integers(min_value=0, max_value=4095)
EVENTS = st.dictionaries(PARTITION, st.integers(min_value=0, max_value=2**63 - 1), max_size=64)
ATTEMPTS = st.dictionaries(PARTITION, st.binary(min_size=16, max_size=16).map(AttemptId), max_size=64)
AT = st.integers(min_value=0, max_value=2**40).map(float)
POSITIONS = st.one_of(
    st.builds(Position, events=EVENTS, attempts=ATTEMPTS, at=AT),
    st.builds(Position, events=EVENTS, attempts=st.none(), at=AT),
    st.builds(Position, events=st.none(), attempts=ATTEMPTS, at=AT),
)


@given(POSITIONS)
def test_a_position_comes_out_as_it_went_in(position: Position) -> None:
    assert unpack(pack(position)) == position


def test_a_time_is_cut_downwards() -> None:
    assert unpack(pack(Position(events={0: 1}, attempts=None, at=17.9))).at == 17.0


def test_the_position_of_64_partitions_is_about_a_kilobyte() -> None:
    ids = {partition: AttemptId(bytes([partition * 3 + n for n in range(16)])) for partition in range(64)}
    events = {partition: 10_000_000 + 7919 * partition for partition in range(64)}
    assert len(pack(Position(events=events, attempts=ids, at=1.8e9))) < 1_600


@given(POSITIONS, st.data())
def test_a_position_cut_off_or_followed_by_something_is_none(position: Position, data: st.DataObject) -> None:
    whole = pack(position)
    for broken in (whole[: data.draw(st.integers(0, len(whole) - 1))], whole + b"\0"):
        with pytest.raises(ValueError, match=r"cut off|compressed"):
            unpack(broken)
    inner = zlib.decompress(whole)
    for broken in (inner[: data.draw(st.integers(0, len(inner) - 1))], inner + b"\0"):
        with pytest.raises(ValueError, match=r"cut off|followed"):
            unpack(zlib.compress(broken))


@pytest.mark.parametrize(
    "told",
    [
        b"",
        b"\x01",
        b"\x02\x01\x00\x00",
        b"\x01\x00\x00",
        b"\x01\x04\x00",
        b"\x01\x01" + b"\xff" * 20,
        b"\x01\x01\x00\x01\x00",
    ],
)
def test_what_no_position_packs_to_is_refused(told: bytes) -> None:
    with pytest.raises(ValueError, match=r"cut off|another version|without an end"):
        unpack(zlib.compress(told))


def test_a_bomb_is_not_inflated() -> None:
    with pytest.raises(ValueError, match="too long"):
        unpack(zlib.compress(bytes(BYTES_MAX * 4)))


@given(st.binary(max_size=64))
def test_noise_is_refused_and_nothing_worse(noise: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        unpack(noise)
