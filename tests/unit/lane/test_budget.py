"""Fair shares: lanes that hang never take the room of one that is quick."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from posthouse.lane.budget import Budget


def test_alone_a_lane_may_take_half_of_the_sockets() -> None:
    budget = Budget(sockets_max=100, bytes_max=1000)
    held = 0
    while budget.admits(1, lane_sockets=held, lane_bytes=held) and held < 50:
        budget.take(1)
        held += 1
    assert held == 50


@given(st.integers(1, 40), st.integers(1, 64))
def test_however_many_lanes_hang_a_new_one_finds_room(hanging: int, each: int) -> None:
    budget = Budget(sockets_max=100, bytes_max=10_000_000)
    held = [0] * hanging
    progress = True
    while progress:
        progress = False
        for lane in range(hanging):
            if held[lane] < each and budget.admits(10, lane_sockets=held[lane], lane_bytes=held[lane] * 10):
                budget.take(10)
                held[lane] += 1
                progress = True
    assert budget.admits(10, lane_sockets=0, lane_bytes=0)


@given(st.integers(1, 20), st.integers(1, 100_000))
def test_bytes_are_bounded_and_a_small_payload_finds_room(hanging: int, size: int) -> None:
    budget = Budget(sockets_max=10_000, bytes_max=1_000_000)
    held = [0] * hanging
    progress = True
    while progress:
        progress = False
        for lane in range(hanging):
            if budget.admits(size, lane_sockets=held[lane], lane_bytes=held[lane] * size):
                budget.take(size)
                held[lane] += 1
                progress = True
        assert budget.bytes <= 1_000_000
    for lane in range(hanging):
        for _ in range(held[lane]):
            budget.give_back(size)
    assert (budget.sockets, budget.bytes) == (0, 0)


@given(st.lists(st.integers(1, 64), min_size=1, max_size=100))
def test_lanes_that_begin_to_hang_one_after_the_other_leave_room(wants: list[int]) -> None:
    budget = Budget(sockets_max=1_000, bytes_max=64_000_000)
    for want in wants:
        held = 0
        while held < want and budget.admits(1_000, lane_sockets=held, lane_bytes=held * 1_000):
            budget.take(1_000)
            held += 1
        assert held >= 1
    assert budget.admits(1_000, lane_sockets=0, lane_bytes=0)


@given(st.lists(st.integers(100_000, 1_000_000), min_size=1, max_size=200))
@example([1_000_000] * 200)
def test_large_payloads_leave_room_for_small_ones(sizes: list[int]) -> None:
    budget = Budget(sockets_max=1_000, bytes_max=64_000_000)
    for size in sizes:  # each of another lane, whose target hangs
        if budget.admits(size, lane_sockets=0, lane_bytes=0):
            budget.take(size)
    assert budget.bytes <= 64_000_000
    assert budget.admits(10_000, lane_sockets=0, lane_bytes=0)


def test_the_whole_is_never_exceeded() -> None:
    budget = Budget(sockets_max=2, bytes_max=100)
    assert budget.admits(101, lane_sockets=0, lane_bytes=0), "alone, even one larger than the whole is sent"
    budget.take(101)
    assert not budget.admits(1, lane_sockets=0, lane_bytes=0)
    budget.give_back(101)
    budget.take(1)
    budget.take(1)
    assert not budget.admits(1, lane_sockets=0, lane_bytes=0)
