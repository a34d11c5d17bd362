"""Shares are even, are all there is, and move little."""

from __future__ import annotations

import pytest

from posthouse.domain.share import share_of


def shares(processes: list[bytes], partitions: int) -> list[int]:
    return [share_of(process, processes, partitions) for process in processes]


@pytest.mark.parametrize("partitions", [1, 2, 7, 64, 4096])
@pytest.mark.parametrize("count", [1, 2, 3, 5, 64, 100])
def test_shares_differ_by_one_at_most_and_are_all_there_is(count: int, partitions: int) -> None:
    found = shares([bytes([n]) for n in range(count)], partitions)
    assert sum(found) == partitions
    assert max(found) - min(found) <= 1


def test_the_first_by_id_have_one_more_whatever_order_they_are_told_in() -> None:
    assert shares([b"c", b"a", b"b"], 8) == [2, 3, 3]


def test_a_process_counts_itself_in_though_nobody_says_that_it_lives() -> None:
    assert share_of(b"a", [], 64) == 64
    assert share_of(b"b", [b"a"], 5) == 2
    assert share_of(b"b", [b"a", b"b"], 5) == 2


def test_a_process_that_joins_takes_from_others_and_gives_to_none() -> None:
    before = shares([bytes([n]) for n in range(5)], 64)
    after = shares([bytes([n]) for n in range(6)], 64)
    assert all(late <= early for early, late in zip(before, after, strict=False))
