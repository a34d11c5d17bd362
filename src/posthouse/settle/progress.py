"""How far each partition has come: the cursor, derived from what is still in memory."""

from __future__ import annotations

from collections import deque

from posthouse.domain.delivery import Cursor
from posthouse.domain.event import Event


class _Entry:
    __slots__ = ("bytes", "created_at", "remaining", "seq")

    def __init__(self, event: Event, remaining: int) -> None:
        self.seq = event.seq
        self.created_at = event.created_at
        self.bytes = len(event.payload)
        self.remaining = remaining


class Progress:
    """The events of owned partitions that were dispatched and that the cursor has not passed.

    `settled` is called as a delivery's result, or its row, goes into a journal batch; `advance` then says where that batch
    may move the cursor. What is outstanding is counted in events and payload bytes, for the tail to stop at its limits.
    """

    def __init__(self) -> None:
        self._open: dict[int, deque[_Entry]] = {}
        self._by_seq: dict[int, dict[int, _Entry]] = {}
        self._moved: set[int] = set()
        self.events = 0
        self.payload_bytes = 0

    def take(self, partition: int) -> None:
        """Begin with a partition that was just claimed."""
        self._open[partition] = deque()
        self._by_seq[partition] = {}

    def drop(self, partition: int) -> None:
        """Forget a partition that is no longer ours."""
        for entry in self._open.pop(partition, ()):
            self.events -= 1
            self.payload_bytes -= entry.bytes
        self._by_seq.pop(partition, None)
        self._moved.discard(partition)

    def opened(self, event: Event, deliveries: int) -> None:
        """An event was dispatched, in the order of `seq`, to this many deliveries (it may be none)."""
        entry = _Entry(event, deliveries)
        self._open[event.partition].append(entry)
        self.events += 1
        self.payload_bytes += entry.bytes
        if deliveries:
            self._by_seq[event.partition][event.seq] = entry
        else:
            self._moved.add(event.partition)

    def settled(self, partition: int, seq: int) -> None:
        """One delivery of an event has a home in the store once the batch that is being made is written."""
        entries = self._by_seq.get(partition)
        entry = None if entries is None else entries.get(seq)
        if entries is None or entry is None:
            return
        entry.remaining -= 1
        if entry.remaining == 0:
            del entries[seq]
            self._moved.add(partition)

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
                self.events -= 1
                self.payload_bytes -= last.bytes
            if last is not None:
                cursors.append(Cursor(partition, last.seq, last.created_at))
        self._moved.clear()
        return cursors
