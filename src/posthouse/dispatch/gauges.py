"""The gauges of a process."""

from __future__ import annotations

from posthouse.dispatch.engine import Engine
from posthouse.dispatch.janitor import Janitor
from posthouse.dispatch.verifier import Verifier
from posthouse.domain.cache_use import of_function
from posthouse.domain.ids import format_id
from posthouse.domain.occurrences import zone_of
from posthouse.domain.redaction import pointer_tree
from posthouse.intake.catalogue import CatalogueCache
from posthouse.intake.publisher import Publisher
from posthouse.ports.clock import Clock
from posthouse.ports.telemetry import Telemetry
from posthouse.wire.answer import header_lines
from posthouse.wire.render import content_type_bytes
from posthouse.wire.standard import to_the_second


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
    telemetry.watch("effects_pending", lambda: engine.effects.pending)
    telemetry.watch("effects_done", lambda: engine.effects.done)
    telemetry.watch("effects_failed", lambda: engine.effects.refused + engine.outcomes.reactions.left_out)
    telemetry.watch("filters_waiting_events", lambda: engine.filtering.events)
    telemetry.watch("filter_failures", lambda: engine.filtering.failures)
    telemetry.watch("platform_routed_events", lambda: engine.platform.handed)
    telemetry.watch("platform_routes_left_out", lambda: engine.platform.left_out)
    telemetry.watch("journal_unwritten_results", lambda: engine.journal.unwritten)
    telemetry.watch("event_loop_lag_seconds", lambda: janitor.late_seconds)
    telemetry.watch("oldest_snapshot_seconds", lambda: janitor.oldest_snapshot_seconds)
    calls = engine.calls
    if calls is not None:
        telemetry.watch("callbacks_waiting", lambda: calls.pending)
        telemetry.watch("callbacks_running", lambda: calls.running)
        telemetry.watch("callback_calls", lambda: calls.made)
        telemetry.watch("callback_failures", lambda: calls.failed)
        telemetry.watch("callbacks_set_aside", lambda: calls.set_aside)
        telemetry.watch("callbacks_left_out", lambda: calls.left_out)


def watch_handshakes(telemetry: Telemetry, verifier: Verifier) -> None:
    """The same for what a verifier makes, and what is made because somebody asks."""
    telemetry.watch("handshakes_confirmed", lambda: verifier.handshakes.confirmed)
    telemetry.watch("handshakes_refused", lambda: verifier.handshakes.refused)
    telemetry.watch("handshakes_running", lambda: verifier.running)


def watch_caches(telemetry: Telemetry, engine: Engine, catalogue: CatalogueCache) -> None:
    """The same for the caches on an event's way. Those at its ends, of the API and of the transport, are watched where they
    are made."""
    telemetry.watch_cache("app_configurations", lambda: engine.configs.apps_cached)
    telemetry.watch_cache("routes", lambda: engine.configs.routes_cached)
    telemetry.watch_cache("event_types", lambda: catalogue.types_cached)
    telemetry.watch_cache("apps", lambda: catalogue.apps_cached)
    telemetry.watch_cache("oauth2_tokens", lambda: engine.sender.tokens.cached)
    telemetry.watch_cache("content_types", of_function(content_type_bytes))
    telemetry.watch_cache("seconds", of_function(to_the_second))
    telemetry.watch_cache("ids", of_function(format_id))
    telemetry.watch_cache("answer_headers", of_function(header_lines))
    telemetry.watch_cache("redaction_pointers", of_function(pointer_tree))
    telemetry.watch_cache("time_zones", of_function(zone_of))
