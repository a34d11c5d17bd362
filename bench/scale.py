"""How much is measured: enough for figures, or just enough to see that everything works."""

from __future__ import annotations

from typing import Final, NamedTuple

SOAK_PARTS_MIN: Final = 6
"""Without the first fifth there are five left, which a trend takes."""


class Scale(NamedTuple):
    """The sizes of all measurements."""

    runs: int
    apps: int
    events: int
    mission_events: int
    floor_count: int
    paced_rate: int
    paced_seconds: int
    hostile_rate: int
    hostile_seconds: int
    batch_sizes: tuple[int, ...]
    batch_held_out: tuple[int, ...]
    batch_samples: int
    drain_delay_ms: int
    drain_concurrency: tuple[int, ...]
    drain_rounds: tuple[int, ...]  # an endpoint is owed so many deliveries for each request that may run at once
    drain_held_out: tuple[tuple[int, int], ...]  # (rounds, concurrency)
    drain_samples: int
    drain_mission_events: int
    audience_events: int
    crowd_apps: int
    crowd_grants: int
    crowd_rate: int
    crowd_seconds: int
    drain_beyond: tuple[tuple[int, int, int], ...]  # (deliveries, concurrency, ms until the target answers)
    isolation_apps: int  # of ten endpoints each
    isolation_rate: int
    isolation_control_seconds: int
    isolation_seconds: int
    isolation_large_seconds: int
    many_apps: int
    many_endpoints: int  # in each of them
    many_rate: int
    many_seconds: int
    relay_events: int
    relay_rates: tuple[int, ...]  # commits a second
    relay_seconds: int
    workers: tuple[int, ...]  # the first of them is one
    worker_rounds: int  # each with all of them: one differs from the next by a third
    soak_parts: int
    soak_part_seconds: float
    stored_apps: int  # of ten endpoints each
    stored_events: int  # of each of them, with an attempt for each of those ten
    stored_rest_seconds: float  # after the start of a server, before what counts
    backlog_apps: int  # of ten dead endpoints each
    backlog_events: int  # owed to each of those ten
    backlog_rate: int
    backlog_seconds: int
    backlog_calm_seconds: float  # in which nobody publishes
    backlog_pages: int
    list_requests: int  # of each list
    charted_endpoints: int  # of which something went on all the time
    console_views: int
    console_seconds: int


FULL: Final = Scale(
    runs=3,
    apps=20,
    events=30_000,
    mission_events=1_500,
    floor_count=30_000,
    paced_rate=2_000,
    paced_seconds=8,
    hostile_rate=500,
    hostile_seconds=5,
    batch_sizes=(1, 25, 50, 100, 200, 400, 700, 1_000),
    batch_held_out=(150, 300, 850),
    batch_samples=25,
    drain_delay_ms=20,
    drain_concurrency=(4, 16),
    drain_rounds=(25, 50, 75, 100, 150, 200),
    drain_held_out=((60, 4), (125, 4), (60, 16), (125, 16), (100, 8)),
    drain_samples=2,
    drain_mission_events=100,
    audience_events=4_000,
    crowd_apps=10_000,
    crowd_grants=1_000_000,
    crowd_rate=200,
    crowd_seconds=4,
    drain_beyond=((6_400, 64, 20), (9_000, 256, 20), (9_000, 16, 0)),
    isolation_apps=200,
    isolation_rate=1_000,
    isolation_control_seconds=6,
    isolation_seconds=14,
    isolation_large_seconds=12,
    many_apps=1_000,
    many_endpoints=100,
    many_rate=500,
    many_seconds=3,
    relay_events=20_000,
    relay_rates=(100, 1_000),
    relay_seconds=4,
    workers=(1, 2, 4),
    worker_rounds=7,
    soak_parts=20,
    soak_part_seconds=30.0,
    stored_apps=1_000,
    stored_events=1_000,
    stored_rest_seconds=30.0,
    backlog_apps=1_000,
    backlog_events=100,
    backlog_rate=500,
    backlog_seconds=5,
    backlog_calm_seconds=4.0,
    backlog_pages=100,
    list_requests=30,
    charted_endpoints=10_000,
    console_views=9,
    console_seconds=15,
)

QUICK: Final = Scale(
    runs=1,
    apps=8,
    events=1_500,
    mission_events=60,
    floor_count=1_000,
    paced_rate=500,
    paced_seconds=1,
    hostile_rate=100,
    hostile_seconds=1,
    batch_sizes=(1, 10, 25, 50, 100),
    batch_held_out=(40,),
    batch_samples=2,
    drain_delay_ms=20,
    drain_concurrency=(2, 4),
    drain_rounds=(5, 10, 15, 20, 25),
    drain_held_out=((12, 4),),
    drain_samples=1,
    drain_mission_events=20,
    audience_events=200,
    crowd_apps=200,
    crowd_grants=2_000,
    crowd_rate=50,
    crowd_seconds=1,
    drain_beyond=((400, 256, 20),),
    isolation_apps=10,
    isolation_rate=200,
    isolation_control_seconds=1,
    isolation_seconds=2,
    isolation_large_seconds=1,
    many_apps=20,
    many_endpoints=50,
    many_rate=100,
    many_seconds=1,
    relay_events=500,
    relay_rates=(100,),
    relay_seconds=1,
    workers=(1, 2),
    worker_rounds=1,
    soak_parts=7,
    soak_part_seconds=0.3,
    stored_apps=10,
    stored_events=20,
    stored_rest_seconds=0.1,
    backlog_apps=10,
    backlog_events=10,
    backlog_rate=100,
    backlog_seconds=1,
    backlog_calm_seconds=0.3,
    backlog_pages=5,
    list_requests=3,
    charted_endpoints=50,
    console_views=1,
    console_seconds=2,
)
