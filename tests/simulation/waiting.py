"""Rows that fall due and are known to nobody, or are held in memory for nothing: they would wait until their partition changes
hands (invariant 2). And rows that are said to be under way, and are not: they would wait for as long as a request may take."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Final, TypeVar

from tests.fakes import EPOCH

from posthouse.domain.delivery import DeliveryKey, Owed, OwedReason, RowKey
from posthouse.domain.ids import EndpointId
from posthouse.settle.backlog import OUT_OF_TURN_SECONDS

if TYPE_CHECKING:
    from tests.simulation.process import Process

K = TypeVar("K")

UNKNOWN_SECONDS_MAX: Final = 8.0
"""A row may be unknown while an answer of the store is late or lost. What is told of it is asked for again soon."""


UNKNOWN_CALM_SECONDS_MAX: Final = 2.5
"""Where it was told of all rows, and nothing is late or lost meanwhile, it is known sooner."""


IDLE_SECONDS_MAX: Final = 1.0
"""What is held is in a lane, under way or on its way into the store: it goes from one to the other at once."""


UNTOLD_SECONDS_MAX: Final = 1.5
"""Who waits for room is told as there is any, at once."""


class Waiting:
    """Looks now and then at the rows of a process: it must speak for each, or be going to look at it when it is due."""

    def __init__(self) -> None:
        self._unknown: dict[RowKey, tuple[Owed, int, float]] = {}  # as what, under which epoch, since when
        self._untold: dict[tuple[Process, EndpointId], float] = {}  # since when
        self._idle: dict[tuple[Process, DeliveryKey], float] = {}  # since when
        self._ended: dict[tuple[Process, RowKey], float] = {}  # since when

    def looks_at(
        self, process: Process, rows: Mapping[RowKey, Owed], marked: Mapping[RowKey, int], now: float
    ) -> Iterator[str]:
        """`marked`: under which epoch rows were written that say that their request runs."""
        world, backlog = process.world, process.engine.backlog
        if process.stalled or process.stopped:  # it goes on later, or hands over
            for key in [key for key in self._unknown if world.database.partitions[key[0]].owner == process.owner]:
                del self._unknown[key]
            return
        yield from self._looks_at_held(process, now)
        yield from self._looks_at_marked(process, rows, marked, now)
        yield from self._looks_at_room(process, now)
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
                or endpoint_id in backlog._asked  # just now
                or event_id in backlog._held.get(endpoint_id, ())
                or (
                    line is not None
                    and line.due_at is not None
                    and line.due_at <= max(row.due_at, soon)
                    and (_is_told(process, endpoint_id) if line.waits else (line.due_at, endpoint_id) in scheduled)
                )
            ):
                self._unknown.pop(key, None)
                continue
            was, epoch, since = self._unknown.get(key, (row, state.epoch, now))
            if was != row or epoch != state.epoch:
                since = now
            if process.writing is not None and process.writing_since <= since:
                since = now  # it has not heard yet what it has made due: until the whole batch is written it may take a while
            self._unknown[key] = (row, state.epoch, since)
            told = process.engine._pokes.get(partition) == state.poke and not backlog.still.locked()
            calm = told and process.disturbed_at <= since
            if now - since > (UNKNOWN_CALM_SECONDS_MAX if calm else UNKNOWN_SECONDS_MAX):
                due_at = row.due_at - EPOCH
                yield f"{event_id.hex()[-6:]} for {endpoint_id.hex()[-4:]} is due at {due_at:.3f}, and nobody will look"

    def _looks_at_room(self, process: Process, now: float) -> Iterator[str]:
        lanes = process.engine.lanes._lanes
        waiting = {endpoint_id for endpoint_id, line in process.engine.backlog._lines.items() if line.waits}
        untold = [e for e in sorted(waiting) if lanes.get(e) is not None and not _is_told(process, e)]
        for endpoint_id in _so_for_long(self._untold, process, untold, now, UNTOLD_SECONDS_MAX):
            yield f"rows of {endpoint_id.hex()[-4:]} wait for room, which there is, and nobody will say so"

    def _looks_at_held(self, process: Process, now: float) -> Iterator[str]:
        held = {
            (endpoint_id, event_id) for endpoint_id, ids in process.engine.backlog._held.items() for event_id in ids
        }
        idle = held - _busy_with(process) if held else held
        for key in _so_for_long(self._idle, process, idle, now, IDLE_SECONDS_MAX):
            yield f"{key[1].hex()[-6:]} for {key[0].hex()[-4:]} is held in memory, and nothing becomes of it"

    def _looks_at_marked(
        self, process: Process, rows: Mapping[RowKey, Owed], marked: Mapping[RowKey, int], now: float
    ) -> Iterator[str]:
        epochs = process.engine.ownership.epochs
        running = {
            key
            for key, row in rows.items()
            if (row.reason, row.sender) == (OwedReason.IN_FLIGHT, process.owner)
            and key[0] in epochs
            and marked[key] == epochs[key[0]]
        }
        busy = _busy_with(process) if running else set()
        ended = {key for key in running if key[1:] not in busy}
        for key in _so_for_long(self._ended, process, ended, now, IDLE_SECONDS_MAX):
            yield f"{key[2].hex()[-6:]} for {key[1].hex()[-4:]} is said to be under way, and is not"


def _so_for_long(
    since: dict[tuple[Process, K], float], process: Process, keys: Collection[K], now: float, seconds_max: float
) -> list[K]:
    """Those of a process's keys that were among them for longer than that, at each look; `since` remembers when they came."""
    for known in [known for known in since if known[0] is process and known[1] not in keys]:
        del since[known]
    return [key for key in keys if now - since.setdefault((process, key), now) > seconds_max]


def _busy_with(process: Process) -> set[DeliveryKey]:
    """What is in its lanes and in its journal."""
    engine = process.engine
    busy = set(engine.journal._buffer.rows)
    if process.writing is not None:
        busy.update([owed.key for owed in process.writing.owed], [key[1:] for key in process.writing.settled])
    for lane in engine.lanes._lanes:
        queue = lane.queue
        waiting = [*queue._fresh, *queue._paged, *[d for line in queue._lines.values() for d in line.waiting]]
        busy.update(lane.in_flight, [delivery.key for delivery in waiting])
    return busy


def _is_told(process: Process, endpoint_id: EndpointId) -> bool:
    """Whether something will say that there is room for its rows: the end of a request, a timer, a change of the endpoint."""
    state = process.world.database.endpoints[endpoint_id]
    lane = process.engine.lanes._lanes.get(endpoint_id)
    if lane is None or lane.closed or state.deleted or state.paused or not state.enabled:
        return lane is not None or state.deleted or state.paused or not state.enabled
    return bool(len(lane.queue) or lane.requests or lane.timer is not None)
