"""What a process holds in memory, against the limits it runs under (invariant 7)."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tests.simulation.process import Process

UNWRITTEN: Final = "posthouse.settle.journal.UNWRITTEN_RESULTS_MAX"
CRAMPED: Final = {
    "posthouse.dispatch.engine.PAGED_BYTES_MAX": 60,
    "posthouse.dispatch.tail.OFFERED_EVENTS_MAX": 5,
    "posthouse.lane.lane.LANE_FRESH_MAX": 6,
    "posthouse.lane.lane.LANE_PAGED_MAX": 4,
    "posthouse.lane.lane.LANE_LINES_OWED_MAX": 2,
    "posthouse.lane.registry.LANES_IDLE_MAX": 4,
    "posthouse.lane.lanes.PAGED_BYTES_MAX": 60,
    "posthouse.settle.backlog.PAGE_ENDPOINTS_MAX": 2,
    "posthouse.settle.journal.JOURNAL_RESULTS_MAX": 10,
    "posthouse.settle.journal.UNWRITTEN_RESULTS_MAX": 20,
    "posthouse.settle.progress.OUTSTANDING_EVENTS_MAX": 30,
    "posthouse.settle.progress.TRACKED_EVENTS_MAX": 60,
}
"""Limits so small that each is met all the time."""

PAGED: Final = {
    "posthouse.dispatch.engine.PAGED_BYTES_MAX": 60,
    "posthouse.lane.lanes.PAGED_BYTES_MAX": 60,
}
"""One limit: where it is drawn for one of them it holds for both, or one lane could take all the memory for rows. A page comes
every tenth of a second: with room for ten rows all who are owed much would wait for each other."""

LANES: Final = ("posthouse.lane.lane.LANE_FRESH_MAX", "posthouse.lane.lane.LANE_PAGED_MAX")
"""Those of a lane: a plot is about lanes that are full."""

CRAMPED_FILTERING: Final = {
    "posthouse.dispatch.filtering.FILTERING_EVENTS_MAX": 4,
    "posthouse.dispatch.filtering.FILTERING_APP_EVENTS_MAX": 2,
    "posthouse.dispatch.filtering.FILTERING_AT_ONCE_MAX": 1,
}
"""Drawn apart from the others."""

CRAMPED_BUSY: Final = {
    "posthouse.dispatch.engine.OUTSTANDING_BUSY_MAX": 8,
    "posthouse.lane.lanes.LANE_FRESH_BUSY_MAX": 9,
}
"""Drawn apart from all others."""

LONG_TURNS: Final = {
    "posthouse.dispatch.configs.ROUTED_APPS_MAX": 2,
    "posthouse.dispatch.tail.CROWD_ENDPOINTS_MIN": 2,
    "posthouse.settle.backlog.LANES_PER_TURN": 1,
    "tests.simulation.process.TURN_SECONDS_MAX": 0.3,
}
"""Whoever does so much lets others have a turn of the loop, which takes its time, and in which anything may happen."""

SOCKETS_MAX: Final = 20
BYTES_MAX: Final = 60
UNDER_WAY_MAX: Final = 250
SLOWING: Final = frozenset(
    {
        "posthouse.settle.progress.OUTSTANDING_EVENTS_MAX",
        "posthouse.settle.progress.TRACKED_EVENTS_MAX",
        "posthouse.settle.journal.UNWRITTEN_RESULTS_MAX",
        "posthouse.lane.lane.LANE_FRESH_MAX",
        "posthouse.settle.backlog.PAGE_ENDPOINTS_MAX",
        "posthouse.dispatch.engine.OUTSTANDING_BUSY_MAX",
        "tests.simulation.process.TURN_SECONDS_MAX",
    }
)
"""At these, whoever is well waits for others by design."""


@contextmanager
def patched(limits: Mapping[str, float]) -> Iterator[None]:
    """Run under these limits."""
    before: list[tuple[Any, str, Any]] = []
    for path, value in limits.items():
        module_name, name = path.rsplit(".", 1)
        module = importlib.import_module(module_name)
        before.append((module, name, getattr(module, name)))
        setattr(module, name, value)
    try:
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)


def limit(path: str) -> int:
    """A limit as it is now."""
    module_name, name = path.rsplit(".", 1)
    found = getattr(importlib.import_module(module_name), name)
    assert isinstance(found, int)
    return found


def too_much(process: Process, sockets_max: int) -> Iterator[str]:
    """What is above its limit. Some limits are looked at before a thing is added, and may be passed by that one."""
    engine = process.engine
    held = {
        "posthouse.settle.progress.OUTSTANDING_EVENTS_MAX": engine.progress.events,
        "posthouse.settle.progress.TRACKED_EVENTS_MAX": engine.progress.tracked,
        "posthouse.dispatch.tail.OFFERED_EVENTS_MAX": engine.tails._offered_events,
        "posthouse.dispatch.filtering.FILTERING_EVENTS_MAX": engine.filtering.events,
    }
    for path, count in held.items():
        if count > limit(path) + len(
            process.world.database.partitions
        ):  # each tail may have looked before another added
            yield f"{count} of {path}"
    if engine.lanes.in_flight > sockets_max:
        yield f"{engine.lanes.in_flight} requests in flight"
    fresh_max = limit("posthouse.lane.lane.LANE_FRESH_MAX")
    if process.clock.busy_seconds:
        fresh_max = max(fresh_max, limit("posthouse.lane.lanes.LANE_FRESH_BUSY_MAX"))
    for lane in engine.lanes._lanes:
        if lane.queue.fresh > fresh_max + lane.concurrency.limit * 100:
            yield f"{lane.queue.fresh} fresh deliveries in a lane"
    # What is in flight ends though the journal may not be written, and what waits in a lane that is closed leaves it.
    unwritten_max = limit("posthouse.settle.journal.UNWRITTEN_RESULTS_MAX") + UNDER_WAY_MAX
    if engine.journal.unwritten > unwritten_max:
        yield f"{engine.journal.unwritten} unwritten results"
    lines = len(process.world.flows)  # there may have been so many
    if len(engine.backlog._heap) > 2 * lines + limit("posthouse.settle.backlog.PAGE_ENDPOINTS_MAX") + 1:
        yield f"{len(engine.backlog._heap)} entries in its backlog's heap"
