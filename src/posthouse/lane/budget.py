"""The shared budget: sockets and payload bytes in flight, with a fair share for each lane.

Half of each resource is first come, first served. Of the other half, the less is left, the less may a lane have in flight
to start one more: a small part of what is left. So lanes that hang, in whatever order they came, stop growing while there
still is room, and a lane that has nothing in flight finds it.
"""

from __future__ import annotations

from typing import Final

from posthouse.domain.limits import IN_FLIGHT_BYTES_MAX, SOCKETS_MAX

SHARE: Final = 32  # above one half, a lane may hold a 32nd of what is left


class Budget:
    """Counts what is in flight over all lanes."""

    def __init__(self, *, sockets_max: int = SOCKETS_MAX, bytes_max: int = IN_FLIGHT_BYTES_MAX) -> None:
        self._sockets_max = sockets_max
        self._bytes_max = bytes_max
        self.sockets = 0
        self.bytes = 0

    @property
    def half_full(self) -> bool:
        """Whether what can wait should, so that the rest of the sockets is for what comes singly."""
        return self.sockets >= self._sockets_max // 2

    def admits_row(self, *, lane_sockets: int) -> bool:
        """Whether a lane with this much in flight may start a row: from the first half of the sockets, and its share of the
        next quarter. The last one is for what comes singly."""
        if not self.half_full:
            return True
        return lane_sockets * SHARE < 3 * self._sockets_max // 4 - self.sockets

    @property
    def full_for_rows(self) -> bool:
        """Whether no lane may start a row."""
        return self.sockets >= 3 * self._sockets_max // 4

    @property
    def full(self) -> bool:
        """Whether no lane may start anything."""
        return self.sockets >= self._sockets_max

    def admits(self, size: int, *, lane_sockets: int, lane_bytes: int) -> bool:
        """Whether a lane with this much in flight may start a request of `size` bytes."""
        sockets_left = self._sockets_max - self.sockets
        if sockets_left <= 0:
            return False
        if self.sockets >= self._sockets_max // 2 and lane_sockets * SHARE >= sockets_left:
            return False
        half = self._bytes_max // 2
        if self.bytes + size <= half:
            return True
        bytes_left = self._bytes_max - self.bytes
        if lane_sockets == 0:
            # Its first: a large one must leave as much again for others, but below one half any size is sent.
            return self.bytes <= half or 2 * size <= bytes_left
        return (lane_bytes + size) * SHARE <= bytes_left

    def take(self, size: int) -> None:
        self.sockets += 1
        self.bytes += size

    def give_back(self, size: int) -> None:
        self.sockets -= 1
        self.bytes -= size
