"""The shared budget: sockets and payload bytes in flight, with a fair share for each lane.

Half of each resource is first come, first served; the other half is only given to lanes below their share of it. So a
hundred lanes that hang can hold at most the first half and their own shares: a lane that is quick always finds room.
"""

from __future__ import annotations

from posthouse.domain.limits import IN_FLIGHT_BYTES_MAX, SOCKETS_MAX


class Budget:
    """Counts what is in flight over all lanes."""

    def __init__(self, *, sockets_max: int = SOCKETS_MAX, bytes_max: int = IN_FLIGHT_BYTES_MAX) -> None:
        self._sockets_max = sockets_max
        self._bytes_max = bytes_max
        self.sockets = 0
        self.bytes = 0

    @property
    def full(self) -> bool:
        """Whether no lane may start anything."""
        return self.sockets >= self._sockets_max

    def admits(self, size: int, *, lane_sockets: int, lane_bytes: int, lanes: int) -> bool:
        """Whether a lane with this much in flight may start a request of `size` bytes while `lanes` lanes are active."""
        if self.full:
            return False
        if self.sockets >= self._sockets_max // 2 and lane_sockets >= max(self._sockets_max // 2 // max(lanes, 1), 1):
            return False
        half = self._bytes_max // 2
        size = min(size, half)  # one that is larger than the whole budget has to be sent too
        if self.bytes + size <= half:
            return True
        # A lane with nothing in flight may always send one, within the whole: shares smaller than one payload would
        # otherwise stop it for good.
        return self.bytes + size <= self._bytes_max and (
            lane_sockets == 0 or lane_bytes + size <= half // max(lanes, 1)
        )

    def take(self, size: int) -> None:
        self.sockets += 1
        self.bytes += size

    def give_back(self, size: int) -> None:
        self.sockets -= 1
        self.bytes -= size
