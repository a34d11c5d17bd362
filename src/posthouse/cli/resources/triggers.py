"""What is watched elsewhere, and becomes events."""

from __future__ import annotations

from typing import Any, Final

from posthouse.cli.output import Column
from posthouse.cli.resources.words import PLACES, UID
from posthouse.cli.verbs import Option, Resource, Variant, Verb

_LISTS: Final = frozenset({"on", "columns", "tables"})
_SETTINGS: Final = ("dsn", "table", "tables", "on", "columns", "snapshot")

EVENTS: Final = (
    UID,
    Option("name", "What people call it."),
    Option("type", "The type of its events; order.{op} says what was done."),
    Option("subject", "Their subject: a column's name, or a text with fields such as shop:{row.shop_id}."),
    Option("event-key", "Their key, likewise (default: the primary key).", field="key"),
    Option("for-app", "The app that they are for (default: every app that a grant covers).", field="app"),
    Option("when", "What becomes an event, in CEL: event.data.new.total > 100."),
    Option("map", "What the event should be otherwise, in CEL: an object with type, subject, key, app or data."),
    Option("enabled", "Whether it is worked on.", "flag"),
)
WATCHED: Final = (
    Option(
        "dsn", "The database: postgresql://…, mysql://… or sqlite:///path; @FILE or - hides it from others.", "secret"
    ),
    Option("table", "The table that is watched, such as public.orders."),
    Option("tables", "The tables, of kind changes: public.orders,public.items."),
    Option("on", "What is watched for: insert,update,delete (default: all)."),
    Option("columns", "Only these columns: id,status."),
    Option("snapshot", "Publish the rows that are there, too, of kind changes.", "flag"),
    Option("settings", "Other settings of its kind, as JSON; `posthouse triggers kinds` tells them.", "json"),
)
WHICH: Final = (
    Option("id", "This one, ref_…; may be given several times (default: all of it).", "texts", field="ids"),
)


def of_kind(fields: dict[str, Any]) -> dict[str, Any]:
    """The body, where settings have a place of their own, lists are written with commas, and a word is a column."""
    settings = fields.pop("settings", None) or {}
    for name in _SETTINGS:
        if name in fields:
            value = fields.pop(name)
            settings[name] = [one.strip() for one in value.split(",")] if name in _LISTS else value
    if settings:
        fields["settings"] = settings
    for name in ("subject", "key"):
        text = fields.get(name)
        if isinstance(text, str) and text.isidentifier():
            fields[name] = f"{{row.{text}}}"
    return fields


TRIGGERS: Final = Resource(
    "triggers",
    "What is watched elsewhere, such as tables, and becomes events.",
    "trigger",
    (
        Verb(
            "list",
            "List the triggers, newest first, with their health and how far behind they are.",
            "triggers",
            columns=(
                Column("id"),
                Column("uid"),
                Column("kind"),
                Column("type"),
                Column("state"),
                Column("lag.seconds", "lag", spare=True),
                Column("lag.pending", "pending", spare=True),
                Column("counts.published", "published", spare=True),
                Column("counts.set_aside", "set aside"),
                Column("failure.detail", "failure", folds=True),
            ),
        ),
        Verb("get", "Show a trigger: how it goes, and why it does not.", "triggers/{trigger}"),
        Verb(
            "create",
            "Watch something: what happens there is published.",
            "triggers",
            "POST",
            options=(
                Option("kind", "What is watched: table (default), changes, inbound, or a kind that a package brings."),
                *EVENTS,
                *WATCHED,
            ),
            takes_data=True,
            done="made {id}",
            body=lambda fields: of_kind({"kind": "table"} | fields),
            variant=Variant(
                "print-sql", "Make nothing: print the statements that would make it ready.", "triggers/plan", "install"
            ),
        ),
        Verb(
            "update",
            "Change a trigger; what is not given stays as it is.",
            "triggers/{trigger}",
            "PATCH",
            options=(*EVENTS, *WATCHED),
            takes_data=True,
            body=of_kind,
        ),
        Verb(
            "delete",
            "Delete a trigger, and what was made where it watches.",
            "triggers/{trigger}",
            "DELETE",
            done="deleted {trigger}",
            variant=Variant(
                "force", "Though what was made there cannot be removed: it stays.", "triggers/{trigger}?force=true"
            ),
        ),
        Verb("sql", "Print the statements that make a trigger ready.", "triggers/{trigger}/plan", prints="install"),
        Verb("kinds", "Show what can be watched, and the settings of each kind.", "trigger-kinds"),
        Verb(
            "pause",
            "Let a trigger rest; what happens meanwhile is published when it is resumed.",
            "triggers/{trigger}/pause",
            "POST",
            done="paused {trigger}",
            quiet=True,
        ),
        Verb(
            "resume",
            "Let a paused trigger go on, from where it was.",
            "triggers/{trigger}/resume",
            "POST",
            done="{trigger} goes on",
            quiet=True,
        ),
        Verb(
            "rewind",
            "Publish again what happened since a time, or all that there is, as new events.",
            "triggers/{trigger}/rewind",
            "POST",
            options=(
                Option("to", "To this time: 2026-11-24T22:00:00Z, or as long ago: 30m, 2h, 7d (default: all).", "time"),
            ),
            done="{trigger} goes back",
            quiet=True,
        ),
        Verb(
            "refused",
            "List what a trigger saw and set aside, since it could be no event.",
            "triggers/{trigger}/refusals",
            columns=(
                Column("id"),
                Column("code"),
                Column("reason", folds=True),
                Column("tries", spare=True),
                Column("at", spare=True),
                Column("created_at", "set aside"),
            ),
        ),
        Verb(
            "retry",
            "Publish what was set aside, once what was wrong is mended.",
            "triggers/{trigger}/refusals/retry",
            "POST",
            options=WHICH,
            done="{published} published, {refused} refused again",
            quiet=True,
        ),
        Verb(
            "discard",
            "Let what was set aside be, for good.",
            "triggers/{trigger}/refusals/discard",
            "POST",
            options=WHICH,
            done="{discarded} discarded",
            quiet=True,
        ),
    ),
    PLACES,
)
