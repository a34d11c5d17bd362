"""The gauges of a process."""

from __future__ import annotations

from posthouse.dispatch.engine import Engine
from posthouse.dispatch.janitor import Janitor
from posthouse.intake.publisher import Publisher
from posthouse.ports.clock import Clock
from posthouse.ports.telemetry import Telemetry


def watch(telemetry: Telemetry, engine: Engine, publisher: Publisher, janitor: Janitor, clock: Clock) -> None:
    """Let the gauges be read whenever somebody scrapes."""

    def oldest_owed_seconds() -> float:
        oldest_at = janitor.owed.oldest_at
        return 0.0 if oldest_at is None else max(clock.now() - oldest_at, 0.0)

    telemetry.watch("deliveries_owed", lambda: janitor.owed.rows)
    telemetry.watch("oldest_owed_seconds", oldest_owed_seconds)
    telemetry.watch("deliveries_in_flight", lambda: engine.lanes.in_flight)
    telemetry.watch("in_flight_bytes", lambda: engine.lanes.bytes_in_flight)
    telemetry.watch("lanes", lambda: len(engine.lanes))
    telemetry.watch("owed_endpoints", lambda: engine.backlog.endpoints)
    telemetry.watch("partitions_owned", lambda: len(engine.ownership.epochs))
    telemetry.watch("leases_valid", lambda: engine.ownership.valid)
    telemetry.watch("log_rewinds", lambda: engine.tails.rewinds)
    telemetry.watch("publish_failed_events", lambda: publisher.failed_events)
    telemetry.watch("publish_handed_events", lambda: publisher.handed_events)
    telemetry.watch("publish_handed_back_events", lambda: publisher.handed_back_events)
    telemetry.watch("processes_live", lambda: engine.ownership.live if engine.ownership.epochs else None)
    telemetry.watch("publish_pending_events", lambda: publisher.pending_events)
    telemetry.watch("publish_pending_bytes", lambda: publisher.pending_bytes)
    telemetry.watch("journal_unwritten_results", lambda: engine.journal.unwritten)
    telemetry.watch("event_loop_lag_seconds", lambda: janitor.late_seconds)
    telemetry.watch("oldest_snapshot_seconds", lambda: janitor.oldest_snapshot_seconds)
