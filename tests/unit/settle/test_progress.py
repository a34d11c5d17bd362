"""The cursor never passes an event one of whose deliveries has no home."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from posthouse.domain.event import Event
from posthouse.domain.ids import AppId, EventId
from posthouse.settle.progress import Progress


def event(seq: int, partition: int = 0) -> Event:
    return Event(
        id=EventId(seq.to_bytes(16, "big")), partition=partition, seq=seq, app_id=AppId(bytes(16)), type="t", payload=b"12345",
        content_type="application/json", created_at=float(seq), config_version=1,
    )  # fmt: skip


@given(st.lists(st.integers(0, 3), max_size=20), st.randoms(use_true_random=False))
def test_the_cursor_is_the_end_of_the_settled_prefix(fanouts: list[int], chance: object) -> None:
    progress = Progress()
    progress.take(0)
    owed: list[int] = []
    left: dict[int, int] = {}
    for seq, fanout in enumerate(fanouts, 1):
        progress.opened(event(seq), fanout)
        owed += [seq] * fanout
        left[seq] = fanout
    chance.shuffle(owed)  # type: ignore[attr-defined]
    cursor = 0
    steps: list[int | None] = [None, *owed]
    for settled in steps:
        if settled is not None:
            progress.settled(0, settled)
            left[settled] -= 1
        for moved in progress.advance():
            assert moved.seq > cursor, "a cursor only moves forward"
            assert moved.at == float(moved.seq)
            cursor = moved.seq
        expected = 0
        while left.get(expected + 1) == 0:
            expected += 1
        assert cursor == expected
    assert progress.events == 0
    assert progress.payload_bytes == 0


def test_what_memory_holds_is_counted_and_what_is_settled_is_a_mere_position() -> None:
    progress = Progress()
    progress.take(0)
    progress.opened(event(1), 1)
    progress.opened(event(2), 1)
    progress.settled(0, 2)
    progress.advance()
    assert (progress.events, progress.payload_bytes, progress.tracked) == (1, 5, 2)
    progress.settled(0, 1)
    progress.advance()
    assert (progress.events, progress.payload_bytes, progress.tracked) == (0, 0, 0)


def test_a_lost_partition_is_forgotten() -> None:
    progress = Progress()
    progress.take(0)
    progress.take(1)
    progress.opened(event(1), 1)
    progress.opened(event(1, partition=1), 1)
    progress.drop([0])
    assert progress.advance() == []
    progress.settled(1, 1)
    assert [c.partition for c in progress.advance()] == [1]
    assert (progress.events, progress.payload_bytes) == (0, 0)
