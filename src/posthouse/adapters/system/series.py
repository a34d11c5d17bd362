"""The series that are read whenever somebody scrapes, each with what is told of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from posthouse.domain.trigger import Standing

GAUGES: Final = {
    "deliveries_owed": "Deliveries that wait in the store, over the whole installation.",
    "oldest_owed_seconds": "Age of the oldest event that is still owed to anybody; 0 where nothing is.",
    "deliveries_in_flight": "Requests that wait for their target's answer now.",
    "in_flight_bytes": "Payload bytes of the requests under way.",
    "lanes": "Endpoints with a lane in memory.",
    "owed_endpoints": "Endpoints that are owed something, of this process's partitions.",
    "partitions_owned": "Partitions that this process owns.",
    "leases_valid": "Whether this process may deliver: 0 while the database has not renewed its leases.",
    "processes_live": "Processes that share the partitions, as this one sees it.",
    "publish_pending_events": "Events accepted for appending whose commit is not done.",
    "publish_pending_bytes": "Payload bytes of those events.",
    "effects_pending": "What answers and attempts make happen that is recorded and not done, in the partitions owned here.",
    "filters_waiting_events": "Events of which it is not decided yet whom they reach: filters are evaluated.",
    "journal_unwritten_results": "Results in memory that are not in the store yet.",
    "event_loop_lag_seconds": "How late the event loop last woke up.",
    "oldest_snapshot_seconds": "Age of the oldest open snapshot in the database; a long one slows publishing.",
    "streams": "Live streams that are open here.",
    "expression_calls_waiting": "Calls of the limited processes for expressions that none of them has yet.",
    "writing_calls_waiting": "Requests that wait for a limited process to write them.",
    "expressions_resting": "Expressions that had their process killed so often that they are not evaluated for a while.",
    "callbacks_waiting": "Calls of callback handlers that are recorded and not done, of this process's partitions.",
    "handshakes_running": "Handshakes with endpoints that are being made here, beside those that somebody asked for.",
    "callbacks_running": "Calls of callback handlers under way here.",
}

COUNTERS: Final = {
    "publish_failed_events": "Events that were not stored, or whose commit stayed in doubt: their senders got 503.",
    "publish_handed_events": "Events handed to the worker that owns their partition, to be stored there.",
    "publish_handed_back_events": "Of these, events of which it told nothing in time: stored by the worker they came to.",
    "effects_done": "What answers and attempts made happen, that was done here.",
    "effects_failed": "What answers should have made happen and did not: each attempt, or an operational event, says why.",
    "platform_routed_events": "Events handed to the platform routes, once for each app that has no endpoint for them.",
    "platform_routes_left_out": "Apps for which a platform event was not handed to them: too many had no endpoint for it.",
    "callback_calls": "Calls of callback handlers that were made, each time.",
    "callback_failures": "Of these, calls that failed: a handler raised, took too long, or ended its process.",
    "callbacks_set_aside": "Calls that failed for the last time, and are not made again.",
    "callbacks_left_out": "Calls that were not recorded, since too many waited.",
    "database_replacements": "How often another history of the database was found: a standby that was promoted.",
    "log_rewinds": "Partitions whose log had lost its end: accepted events are gone.",
    "filter_failures": "Filters that had no value, once for each event and endpoint: `on_filter_error` was taken.",
    "schedule_refusals": "Events of schedules that were refused, each time: the schedule tells why.",
    "handshakes_confirmed": "Handshakes with endpoints that were passed.",
    "handshakes_refused": "Handshakes with endpoints that came to nothing, each try: the endpoint says why.",
    "expression_calls": "What was evaluated in the limited processes for expressions, each call with all its expressions.",
    "expression_refusals": "Of these, calls that were refused: too much waited, or they waited too long.",
    "expression_kills": "Of these, calls that took their process with them: by time, memory, or otherwise.",
    "writing_calls": "Requests that may take long to be written, and went to a limited process for that.",
    "writing_refusals": "Of these, requests that were refused: too much waited, or they waited too long.",
    "writing_kills": "Of these, requests that took their process with them: by time, memory, or otherwise.",
    "sign_in_failures": "Those who were not let in to the console here: a key or a link that is not known, or an app's key.",
    "schedule_skips": "Stretches of missed occurrences that were not made up for, as their schedules want it.",
}

CACHES: Final = frozenset(
    {
        "answer_headers",
        "api_keys",
        "app_configurations",
        "apps",
        "chinese_descriptions",
        "chinese_texts",
        "content_types",
        "data_keys",
        "documents",
        "event_types",
        "expressions",
        "ids",
        "inbound_sources",
        "oauth2_tokens",
        "redaction_pointers",
        "routes",
        "seconds",
        "target_addresses",
        "target_connections",
        "time_zones",
        "tls_contexts",
        "unknown_api_keys",
    }
)
"""What is told of each of them stands in one table: docs/internals/architecture.md, "Caches"."""

TRIGGERS: Final[Mapping[str, tuple[Any, str, Callable[[Standing], float | None]]]] = {
    "healthy": (
        GaugeMetricFamily,
        "Whether a trigger that is worked on here goes: 0 where its source fails, or too much was set aside.",
        lambda standing: float(standing.error is None),
    ),
    "published": (
        CounterMetricFamily,
        "Events that a trigger published, since it was made.",
        lambda standing: standing.published,
    ),
    "left_out": (
        CounterMetricFamily,
        "What a trigger saw and its `when` or `map` did not want, since it was made.",
        lambda standing: standing.left_out,
    ),
    "set_aside": (
        GaugeMetricFamily,
        "What a trigger saw and could be no event: it waits for somebody to look.",
        lambda standing: standing.set_aside,
    ),
    "unverified": (
        CounterMetricFamily,
        "Requests to an inbound trigger that nobody vouched for: a wrong signature, mostly.",
        lambda standing: standing.unverified,
    ),
    "lag_seconds": (
        GaugeMetricFamily,
        "Age of the oldest that a trigger's source has and that is not published; 0 where there is none.",
        lambda standing: standing.lag_seconds,
    ),
    "pending": (
        GaugeMetricFamily,
        "What a trigger's source has and that is not published, where it can be counted.",
        lambda standing: standing.pending,
    ),
    "retained_bytes": (
        GaugeMetricFamily,
        "What a trigger's source keeps because it is not published: the WAL of a replication slot.",
        lambda standing: standing.retained_bytes,
    ),
}
"""Series of each trigger that this process works on: there are 1,000 triggers at most."""
