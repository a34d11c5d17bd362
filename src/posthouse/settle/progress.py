"""How far each partition has come: the cursor, derived from what is still in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

from posthouse.domain.delivery import Cursor
from posthouse.domain.event import Event
from posthouse.domain.limits import (
    OUTSTANDING_BYTES_MAX,
    OUTSTANDING_DELIVERIES_MAX,
    OUTSTANDING_EVENTS_MAX,
    TRACKED_EVENTS_MAX,
)


class _Entry:
    __slots__ = ("bytes", "created_at", "remaining", "seq")

    def __init__(self, event: Event, remaining: int) -> None:
        self.seq = event.seq
        self.created_at = event.created_at
        self.bytes = len(event.payload) if event.attributes is None else event.size
        self.remaining = remaining


class Progress:
    """The events of owned partitions that were dispatched and that the cursor has not passed.

    `settled` is called as a delivery's result, or its row, goes into a journal batch; `advance` then says where that batch
    may move the cursor. `events`, `deliveries` and `payload_bytes` count what memory holds: an event that is settled and
    only waits for an earlier one, such as a request that hangs, is a mere position (`tracked`) and takes no room from others.
    """

    def __init__(self) -> None:
        self._open: dict[int, deque[_Entry]] = {}
        self._by_seq: dict[int, dict[int, _Entry]] = {}
        self._moved: set[int] = set()
        self.events = 0
        self.deliveries = 0
        self.payload_bytes = 0
        self.tracked = 0

    def take(self, partition: int) -> None:
        """Begin with a partition that was just claimed."""
        self._open[partition] = deque()
        self._by_seq[partition] = {}

    def drop(self, partitions: Collection[int]) -> None:
        """Forget partitions that are no longer ours."""
        for partition in partitions:
            self.tracked -= len(self._open.pop(partition, ()))
            for entry in self._by_seq.pop(partition, {}).values():
                self._leave(entry)
            self._moved.discard(partition)

    def opened(self, event: Event, deliveries: int) -> None:
        """An event was dispatched, in the order of `seq`, to this many deliveries (it may be none)."""
        entry = _Entry(event, deliveries)
        self._open[event.partition].append(entry)
        self.tracked += 1
        if deliveries:
            self._by_seq[event.partition][event.seq] = entry
            self.events += 1
            self.deliveries += deliveries
            self.payload_bytes += entry.bytes
        else:
            self._moved.add(event.partition)

    def settled(self, partition: int, seq: int) -> None:
        """One delivery of an event has a home in the store once the batch that is being made is written."""
        self.came_to(partition, seq, 0)

    def came_to(self, partition: int, seq: int, deliveries: int) -> None:
        """What was counted as one of an event's deliveries turned out to be so many."""
        entry = self._by_seq[partition][seq]
        entry.remaining += deliveries - 1
        self.deliveries += deliveries - 1
        if entry.remaining == 0:
            del self._by_seq[partition][seq]
            self._leave(entry)
            self._moved.add(partition)

    def _leave(self, entry: _Entry) -> None:
        self.events -= 1
        self.deliveries -= entry.remaining
        self.payload_bytes -= entry.bytes

    @property
    def has_room(self) -> bool:
        """Whether another event may be dispatched."""
        return (
            self.events < OUTSTANDING_EVENTS_MAX
            and self.deliveries < OUTSTANDING_DELIVERIES_MAX
            and self.payload_bytes < OUTSTANDING_BYTES_MAX
            and self.tracked < TRACKED_EVENTS_MAX
        )

    @property
    def moved(self) -> bool:
        """Whether `advance` might return anything."""
        return bool(self._moved)

    def advance(self) -> list[Cursor]:
        """The cursors that may move, each to the last event before the first that is unsettled."""
        cursors = []
        for partition in self._moved:
            entries = self._open[partition]
            last = None
            while entries and entries[0].remaining == 0:
                last = entries.popleft()
                self.tracked -= 1
            if last is not None:
                cursors.append(Cursor(partition, last.seq, last.created_at))
        self._moved.clear()
        return cursors
