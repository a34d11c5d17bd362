"""What happened: events, attempts, what is owed, and the audit."""

from __future__ import annotations

from typing import Final

from posthouse.cli.output import Column
from posthouse.cli.resources.words import OF_ENDPOINT, OF_SUBJECT, OF_TYPE, PLACES, SINCE, UNTIL
from posthouse.cli.verbs import Option, Resource, Verb

ONE_REPLAY: Final = "apps/{app}/replays/{replay}"
ATTEMPT_COLUMNS: Final = (
    Column("id"),
    Column("attempt", "try"),
    Column("outcome"),
    Column("reason"),
    Column("status"),
    Column("timings.total_ms", "ms"),
    Column("type", folds=True, spare=True),
    Column("started_at", "started", spare=True),
    Column("endpoint", spare=True),
    Column("event", spare=True),
    Column("app", spare=True),
)
EVENTS: Final = Resource(
    "events",
    "What was published.",
    "event",
    (
        Verb(
            "list",
            "List the events of an app, or of all, newest first.",
            "apps/{app}/events",
            everywhere="events",
            options=(OF_TYPE, OF_SUBJECT, SINCE, UNTIL),
            columns=(
                Column("id"),
                Column("type", folds=True),
                Column("subject", folds=True),
                Column("created_at", "created"),
                Column("payload_bytes", "bytes", spare=True),
                Column("key", spare=True),
                Column("app", spare=True),
            ),
        ),
        Verb(
            "get",
            "Show an event with its data, and where it went.",
            "apps/{app}/events/{event}",
            everywhere="events/{event}",
        ),
        Verb(
            "attempts",
            "List the attempts to deliver an event.",
            "apps/{app}/events/{event}/attempts",
            everywhere="events/{event}/attempts",
            columns=ATTEMPT_COLUMNS,
        ),
    ),
    PLACES,
)
ATTEMPTS: Final = Resource(
    "attempts",
    "What was tried, and what came of it.",
    "attempt",
    (
        Verb(
            "list",
            "List the attempts of an app, or of all, newest first.",
            "apps/{app}/attempts",
            everywhere="attempts",
            options=(
                OF_ENDPOINT,
                Option("outcome", "delivered, failed or gave_up."),
                OF_TYPE,
                SINCE,
                UNTIL,
            ),
            columns=ATTEMPT_COLUMNS,
        ),
        Verb(
            "get",
            "Show an attempt with its request and the answer.",
            "apps/{app}/attempts/{attempt}",
            everywhere="attempts/{attempt}",
        ),
    ),
    PLACES,
)
DELIVERIES: Final = Resource(
    "deliveries",
    "What is still owed.",
    "delivery",
    (
        Verb(
            "list",
            "List what is owed to an app, or to all.",
            "apps/{app}/deliveries",
            everywhere="deliveries",
            options=(OF_ENDPOINT, Option("reason", "Waiting for this reason, such as failed, paused or blocked.")),
            columns=(
                Column("event"),
                Column("endpoint"),
                Column("attempt", "try"),
                Column("reason"),
                Column("due_at", "due", spare=True),
                Column("type", folds=True, spare=True),
                Column("eta_seconds", "eta", spare=True),
                Column("app", spare=True),
            ),
        ),
        Verb(
            "resend",
            "Send an event to an endpoint again.",
            "apps/{app}/deliveries/resend",
            "POST",
            options=(
                Option("event", "The event's id (evt_…).", positional=True),
                Option("endpoint", "To this endpoint: id or uid.", required=True),
            ),
            done="{event} will be sent again",
            quiet=True,
        ),
        Verb(
            "cancel",
            "Do not send an event to an endpoint any more; a blocked line goes on.",
            "apps/{app}/deliveries/cancel",
            "POST",
            options=(
                Option("event", "The event's id (evt_…).", positional=True),
                Option("endpoint", "To this endpoint: id or uid.", required=True),
            ),
            done="{event} is not owed any more",
            quiet=True,
        ),
    ),
    PLACES,
)
REPLAYS: Final = Resource(
    "replays",
    "Past events that are sent again, in the background.",
    "replay",
    (
        Verb(
            "list",
            "List replays, newest first.",
            "apps/{app}/replays",
            everywhere="replays",
            columns=(
                Column("id"),
                Column("state"),
                Column("select"),
                Column("progress.sent", "sent"),
                Column("progress.total", "total"),
                Column("eta_seconds", "eta", spare=True),
                Column("created_at", "created", spare=True),
                Column("endpoint", spare=True),
                Column("app", spare=True),
            ),
        ),
        Verb("get", "Show a replay, and how far it is.", "apps/{app}/replays/{replay}"),
        Verb(
            "create",
            "Start a replay; `posthouse replay` does the same and watches.",
            "apps/{app}/replays",
            "POST",
            options=(
                Option("endpoint", "To this endpoint: id or uid.", positional=True),
                Option(
                    "since",
                    "Events from this time on: 2026-11-24T22:00:00Z, or as long ago: 30m, 2h, 7d.",
                    "time",
                    required=True,
                ),
                Option("until", "Events before this time, given likewise (default: now).", "time"),
                Option("select", "failed (the last attempt gave up), missing (never tried) or all.", required=True),
                Option("type", "Only of these event types: order.created, order.*; may be repeated.", "texts", "types"),
            ),
            done="{id} is under way",
        ),
        Verb(
            "pause",
            "Put nothing more in; what it has put in is still sent.",
            f"{ONE_REPLAY}/pause",
            "POST",
            done="{id} is {state}",
        ),
        Verb("resume", "Let a replay go on where it was.", f"{ONE_REPLAY}/resume", "POST", done="{id} is {state}"),
        Verb(
            "cancel",
            "End a replay, and take back what was not tried yet.",
            f"{ONE_REPLAY}/cancel",
            "POST",
            done="{id} is {state}",
        ),
    ),
    PLACES,
)
AUDIT: Final = Resource(
    "audit",
    "Who changed or revealed what.",
    "entry",
    (
        Verb(
            "list",
            "List the entries, newest first.",
            "audit",
            options=(
                Option("actor", "Done with this key (its id), or by system."),
                Option(
                    "action", "Of this action, or of a kind of them: endpoint.created, endpoint. with a dot at the end."
                ),
                Option("object", "Done to this: an id, or the name of an event type."),
                SINCE,
                UNTIL,
            ),
            columns=(
                Column("at"),
                Column("action"),
                Column("object"),
                Column("actor.name", "by", folds=True, spare=True),
                Column("actor.id", "key", spare=True),
                Column("detail", folds=True, spare=True),
            ),
        ),
    ),
    PLACES,
)
