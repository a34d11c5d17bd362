"""Events that are published at certain times."""

from __future__ import annotations

from typing import Final

from posthouse.cli.output import Column
from posthouse.cli.resources.words import PLACES, UID
from posthouse.cli.verbs import Option, Resource, Verb

FIELDS: Final = (
    UID,
    Option("name", "What people call it."),
    Option("cron", "When: 30 6 * * MON-FRI, or @hourly, @daily, @weekly, @monthly, @yearly."),
    Option("every", "Or how often, in seconds.", "whole"),
    Option("timezone", "In which time zone cron counts, such as Asia/Shanghai (default: UTC)."),
    Option("type", "The event's type."),
    Option("for-app", "The app that the events are for (default: every app that a grant covers).", field="app"),
    Option("subject", "The event's subject, such as shop:42."),
    Option("event-key", "The event's key, by which endpoints may keep order.", field="key"),
    Option("event-data", "The event's data, as JSON; @FILE reads a file.", "json", field="data"),
    Option("catch-up", "What becomes of occurrences that were missed: none, last (default) or all."),
    Option("starts-at", "Not before: 2027-01-01T00:00:00Z, or in how long: 30m, 2h, 7d.", "deadline"),
    Option("ends-at", "Only before this time, given likewise.", "deadline"),
    Option("enabled", "Whether it is fired.", "flag"),
)
SCHEDULES: Final = Resource(
    "schedules",
    "Events that are published at certain times.",
    "schedule",
    (
        Verb(
            "list",
            "List the schedules, newest first.",
            "schedules",
            options=(Option("for-app", "Whose events are for this app alone: id or uid.", field="app"),),
            columns=(
                Column("id"),
                Column("uid"),
                Column("cron"),
                Column("every", spare=True),
                Column("timezone", spare=True),
                Column("type"),
                Column("state"),
                Column("next_at", "next"),
                Column("last_firing.scheduled_at", "last", spare=True),
                Column("refusal.code", "refused", spare=True),
            ),
        ),
        Verb("get", "Show a schedule: when it is due, what it fired last, why it fails.", "schedules/{schedule}"),
        Verb(
            "create",
            "Let an event be published at certain times.",
            "schedules",
            "POST",
            options=FIELDS,
            takes_data=True,
            done="made {id}; due {next_at}",
        ),
        Verb(
            "update",
            "Change a schedule; what is not given stays as it is.",
            "schedules/{schedule}",
            "PATCH",
            options=FIELDS,
            takes_data=True,
        ),
        Verb("delete", "Delete a schedule.", "schedules/{schedule}", "DELETE", done="deleted {schedule}"),
        Verb(
            "pause",
            "Let a schedule rest; what it does not fire meanwhile is not made up for.",
            "schedules/{schedule}/pause",
            "POST",
            done="paused {schedule}",
            quiet=True,
        ),
        Verb(
            "resume",
            "Let a paused schedule go on, from now.",
            "schedules/{schedule}/resume",
            "POST",
            done="{schedule} goes on; due {next_at}",
            quiet=True,
        ),
        Verb(
            "next",
            "Show when a schedule is due next.",
            "schedules/{schedule}/next",
            options=(
                Option("count", "How many times at most (default: 10).", "whole"),
                Option("after", "After this time: 2027-01-01T00:00:00Z, or in how long: 30m, 2h, 7d.", "deadline"),
            ),
        ),
        Verb(
            "run",
            "Publish a schedule's event now, beside its times.",
            "schedules/{schedule}/run",
            "POST",
            done="published {event}",
        ),
    ),
    PLACES,
)
