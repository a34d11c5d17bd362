"""Rows that fall due and are known to nobody: they would wait until their partition changes hands (invariant 2)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from tests.fakes import EPOCH

from posthouse.domain.delivery import Owed, RowKey
from posthouse.settle.backlog import OUT_OF_TURN_SECONDS

if TYPE_CHECKING:
    from tests.simulation.process import Process

UNKNOWN_SECONDS_MAX: Final = 8.0
"""A row may be unknown while an answer of the store is late or lost. What is told of it is asked for again soon."""


class Waiting:
    """Looks now and then at the rows of a process: it must speak for each, or be going to look at it when it is due."""

    def __init__(self) -> None:
        self._unknown: dict[RowKey, tuple[Owed, int, float]] = {}  # as what, under which epoch, since when

    def looks_at(self, process: Process, rows: Mapping[RowKey, Owed], now: float) -> Iterator[str]:
        world, backlog = process.world, process.engine.backlog
        if process.stalled or process.stopped:  # it goes on later, or hands over
            for key in [key for key in self._unknown if world.database.partitions[key[0]].owner == process.owner]:
                del self._unknown[key]
            return
        scheduled = set(backlog._heap)
        # By its own clock, which may be ahead of the database's: whose turn has not come yet is looked at again so much later.
        soon = process.clock.now() + OUT_OF_TURN_SECONDS
        for key, row in rows.items():
            partition, endpoint_id, event_id = key
            state = world.database.partitions[partition]
            if state.owner != process.owner:
                continue
            tail = process.engine.tails._tails.get(partition)
            if tail is None or tail.epoch != state.epoch:
                self._unknown.pop(key, None)  # it does not know yet what the partition owes, or has given it up
                continue
            line = backlog._lines.get(endpoint_id)
            if (
                row.due_at == math.inf
                or event_id in backlog._held.get(endpoint_id, ())
                or (
                    line is not None
                    and line.due_at is not None
                    and line.due_at <= max(row.due_at, soon)
                    and (line.waits or (line.due_at, endpoint_id) in scheduled)
                )
            ):
                self._unknown.pop(key, None)
                continue
            was, epoch, since = self._unknown.get(key, (row, state.epoch, now))
            if was != row or epoch != state.epoch:
                since = now
            self._unknown[key] = (row, state.epoch, since)
            if now - since > UNKNOWN_SECONDS_MAX:
                due_at = row.due_at - EPOCH
                yield f"{event_id.hex()[-6:]} for {endpoint_id.hex()[-4:]} is due at {due_at:.3f}, and nobody will look"
