"""Who hears of what: event types, apps, grants and endpoints."""

from __future__ import annotations

from typing import Final

from posthouse.cli.output import Column
from posthouse.cli.resources.words import METADATA, PLACES, SINCE, UID, UNTIL
from posthouse.cli.verbs import Option, Resource, Verb

APP_FIELDS: Final = (
    Option("name", "What people call it."),
    UID,
    Option("quotas", 'What it may use: {"publish_per_second": 100, "endpoints_max": 5}, as JSON.', "json"),
    METADATA,
)
APPS: Final = Resource(
    "apps",
    "The third parties: who receives events.",
    "app",
    (
        Verb(
            "list",
            "List the apps, newest first.",
            "apps",
            options=(Option("search", "The one with this id, or whose uid or name begins so."),),
            columns=(
                Column("id"),
                Column("uid"),
                Column("name", folds=True),
                Column("created_at", "created", spare=True),
            ),
        ),
        Verb("get", "Show an app.", "apps/{app}"),
        Verb("create", "Make an app.", "apps", "POST", options=APP_FIELDS, takes_data=True, done="made {id}"),
        Verb(
            "update",
            "Change an app; what is not given stays as it is.",
            "apps/{app}",
            "PATCH",
            options=APP_FIELDS,
            takes_data=True,
        ),
        Verb(
            "delete",
            "Delete an app with its endpoints, grants, schedules and keys. What it is owed is cancelled.",
            "apps/{app}",
            "DELETE",
            done="deleted {app}",
        ),
    ),
    PLACES,
)

GRANTS: Final = Resource(
    "grants",
    "What an app may hear of: event types and subjects.",
    "grant",
    (
        Verb(
            "list",
            "List the grants of an app, or of all.",
            "apps/{app}/grants",
            everywhere="grants",
            options=(Option("subject", "That cover this subject."), Option("type", "That cover this event type.")),
            columns=(
                Column("id"),
                Column("uid"),
                Column("types", folds=True),
                Column("subjects", folds=True),
                Column("expires_at", "expires", spare=True),
                Column("app", spare=True),
            ),
        ),
        Verb("get", "Show a grant.", "apps/{app}/grants/{grant}"),
        Verb(
            "add",
            "Let an app hear of these types of events about these subjects.",
            "apps/{app}/grants",
            "POST",
            options=(
                Option(
                    "type", "An event type, a beginning (order.*), or * for all; may be repeated.", "texts", "types"
                ),
                Option(
                    "subject",
                    "A subject, a beginning (shop:*), or * for all; may be repeated.",
                    "texts",
                    "subjects",
                ),
                Option("expires-at", "Until when: 2027-01-01T00:00:00Z, or in how long: 30m, 2h, 7d.", "deadline"),
                UID,
            ),
            takes_data=True,
            done="added {id}",
        ),
        Verb(
            "remove",
            "Take a grant back: what was not sent yet is not sent any more.",
            "apps/{app}/grants/{grant}",
            "DELETE",
            done="removed {grant}",
        ),
    ),
    PLACES,
)

ENDPOINT_FIELDS: Final = (
    UID,
    Option("description", "What it is."),
    Option("profile", "A preset of how it is spoken to, such as github: `posthouse profiles list`."),
    Option("setting", "NAME=VALUE that its profile has to be told; may be repeated.", "pairs", "profile_settings"),
    Option("event", "An event type it hears, or a beginning: order.*; may be repeated.", "texts", "events"),
    Option("channel", "It hears events that share a channel with it; may be repeated.", "texts", "channels"),
    Option("header", "NAME=VALUE, sent with each request; may be repeated.", "pairs", "headers"),
    Option("retry", 'When a failure is tried again: {"schedule": [5, 300]}, as JSON.', "json"),
    Option("timeouts", 'Seconds: {"connect": 5, "first_byte": 10, "total": 15}, as JSON.', "json"),
    Option("concurrency", "Requests at the same time, at most.", "whole"),
    Option("rate-limit", 'Requests a second, at most: {"per_second": 50, "burst": 100}, as JSON.', "json"),
    Option("ordering", "Which deliveries wait for the one before them: none, endpoint (all) or key."),
    Option("on-exhausted", "What an ordered line does after its first delivery's last attempt: skip or block."),
    Option("batch", 'Events in one request: {"max_events": 100, "max_wait_ms": 200}, as JSON.', "json"),
    Option("fallback-url", "Tried where the URLs before are down; may be repeated.", "texts", "fallback_urls"),
    Option("equal-urls", 'URLs as good as its own: [{"url": "https://…", "weight": 2}], as JSON.', "json"),
    Option("balance", "How one of the equal URLs is chosen: weighted (by chance) or sticky (by key)."),
    Option("max-age", "Seconds after which an event that is not delivered is given up.", "number"),
    Option("format", "How events are written: json or cloudevents."),
    Option("redact-answer", 'Masked of its answers: {"body": ["/token"], "headers": ["Set-Cookie"]}, as JSON.', "json"),
    Option("enabled", "Whether events go to it.", "flag"),
    METADATA,
)
ONE_ENDPOINT: Final = "apps/{app}/endpoints/{endpoint}"
ENDPOINTS: Final = Resource(
    "endpoints",
    "Target URLs, and how to speak to them.",
    "endpoint",
    (
        Verb(
            "list",
            "List the endpoints of an app, or of all.",
            "apps/{app}/endpoints",
            everywhere="endpoints",
            options=(
                Option("enabled", "true: those that are enabled; false: those that are not."),
                Option("state", "paused, circuit_open or unverified."),
                Option("search", "The one with this id, or whose uid or URL begins so."),
            ),
            columns=(
                Column("id"),
                Column("uid"),
                Column("url", folds=True),
                Column("enabled"),
                Column("disabled_reason", "why not", spare=True),
                Column("paused", spare=True),
                Column("events", folds=True, spare=True),
                Column("failing_since", spare=True),
                Column("circuit.state", "circuit", spare=True),
                Column("ordering", spare=True),
                Column("app", spare=True),
            ),
        ),
        Verb("get", "Show an endpoint.", ONE_ENDPOINT),
        Verb(
            "create",
            "Make an endpoint. Its signing secret is in the answer.",
            "apps/{app}/endpoints",
            "POST",
            options=(
                Option("target", "The target URL.", field="url", positional=True),
                *ENDPOINT_FIELDS,
                Option("secret", "whsec_… or whsk_…; by default one is made."),
                Option("keys", 'Named keys: {"token": "…"}, as JSON; @FILE reads a file.', "json"),
            ),
            takes_data=True,
            done="made {id}",
        ),
        Verb(
            "update",
            "Change an endpoint; what is not given stays as it is.",
            ONE_ENDPOINT,
            "PATCH",
            options=(Option("target", "The new target URL.", field="url"), *ENDPOINT_FIELDS),
            takes_data=True,
        ),
        Verb(
            "delete",
            "Delete an endpoint. What it is owed is cancelled.",
            ONE_ENDPOINT,
            "DELETE",
            done="deleted {endpoint}",
        ),
        Verb(
            "pause",
            "Hold an endpoint's deliveries back; they are kept.",
            f"{ONE_ENDPOINT}/pause",
            "POST",
            done="paused {endpoint}",
            quiet=True,
        ),
        Verb(
            "resume",
            "Let a paused endpoint go on.",
            f"{ONE_ENDPOINT}/resume",
            "POST",
            done="{endpoint} goes on",
            quiet=True,
        ),
        Verb(
            "verify",
            "Make an endpoint's handshake now, and show what it comes to. Exit code 1: it failed.",
            f"{ONE_ENDPOINT}/verify",
            "POST",
            fails=lambda answer: answer["reason"] is not None,
        ),
        Verb(
            "test",
            "Send an endpoint one signed event now, and show what it answers; just once. Exit code 1: it was not confirmed.",
            f"{ONE_ENDPOINT}/test",
            "POST",
            options=(
                Option("type", "Of this event type: its first example is sent."),
                Option("data", "Send these data instead, as JSON.", kind="json"),
            ),
            fails=lambda answer: answer["outcome"] != "delivered",
        ),
        Verb(
            "preview",
            "Show the request that an event would be to an endpoint, and whether it would hear of it. Nothing is sent.",
            f"{ONE_ENDPOINT}/preview",
            "POST",
            options=(
                Option("event", "Of this event, which was published."),
                Option("type", "Of one as it might be, of this event type: its first example is shown."),
                Option("data", "With these data instead, as JSON.", kind="json"),
                Option("subject", "With this subject."),
                Option("key", "With this key."),
                Option("source", "With this source."),
                Option("channels", "In this channel; may be repeated.", kind="texts"),
                Option("attributes", "With this attribute, as NAME=VALUE; may be repeated.", kind="pairs"),
            ),
        ),
        Verb(
            "secret",
            "Print an endpoint's signing secret. That it was looked at is on record.",
            f"{ONE_ENDPOINT}/secret",
            reveal="secret",
        ),
        Verb(
            "rotate-secret",
            "Give an endpoint a new signing secret, and print it; the old one signs too for a while.",
            f"{ONE_ENDPOINT}/secret/rotate",
            "POST",
            options=(
                Option("secret", "The new secret (whsec_… or whsk_…); by default one is made."),
                Option("overlap-seconds", "How long the old one signs too (default: a day).", "whole"),
            ),
            reveal="secret",
            done="the ones before it sign until {others_expire_at}",
        ),
        Verb(
            "stats",
            "Show what became of an endpoint's attempts, by default in the last 24 hours.",
            f"{ONE_ENDPOINT}/stats",
            options=(SINCE, UNTIL),
        ),
        Verb(
            "revisions",
            "List what an endpoint was before, newest first.",
            f"{ONE_ENDPOINT}/revisions",
            columns=(
                Column("revision"),
                Column("created_at", "since"),
                Column("config.url", folds=True),
                Column("config.events", folds=True),
            ),
        ),
    ),
    PLACES,
)

EVENT_TYPE_FIELDS: Final = (
    Option("description", "What it means that it happens."),
    Option("schema", "JSON Schema that the data must fit, as JSON; @FILE reads a file.", "json"),
    Option("examples", "Data that fit, as a JSON array; @FILE reads a file.", "json"),
    Option("visibility", "public, granted (only apps with a grant see it) or private."),
    Option("redact", "A JSON pointer into its data that is shown masked: /card/number; may be repeated.", "texts"),
)
EVENT_TYPES: Final = Resource(
    "event-types",
    "The catalogue: what can happen.",
    "event_type",
    (
        Verb(
            "list",
            "List the event types by name.",
            "event-types",
            options=(
                Option("archived", "With those that are archived.", "flag"),
                Option("search", "Whose name or description has this in it."),
            ),
            columns=(
                Column("name"),
                Column("version", spare=True),
                Column("visibility", spare=True),
                Column("description", folds=True),
                Column("archived", spare=True),
            ),
        ),
        Verb("get", "Show an event type.", "event-types/{event_type}"),
        Verb(
            "create",
            "Make an event type.",
            "event-types",
            "POST",
            options=(
                Option("name", "Its name, such as order.created.", positional=True),
                *EVENT_TYPE_FIELDS,
            ),
            takes_data=True,
            done="made {name}",
        ),
        Verb(
            "update",
            "Change an event type; what is not given stays as it is.",
            "event-types/{event_type}",
            "PATCH",
            options=(*EVENT_TYPE_FIELDS, Option("archived", "Whether it is archived.", "flag")),
            takes_data=True,
        ),
        Verb(
            "delete",
            "Archive an event type: nothing more of it is accepted.",
            "event-types/{event_type}",
            "DELETE",
            done="archived {event_type}",
        ),
        Verb(
            "versions",
            "List the versions of an event type's schema.",
            "event-types/{event_type}/versions",
            columns=(Column("version"), Column("created_at", "since"), Column("schema", folds=True)),
        ),
        Verb(
            "check",
            "Say what a changed schema would break, and for whom, before it is changed. Exit code 1: it breaks something.",
            "event-types/{event_type}/check",
            "POST",
            options=(Option("schema", "The JSON Schema to be, as JSON; @FILE reads a file.", "json", required=True),),
            fails=lambda answer: "breaks" in (answer["consumers"], answer["publishers"]),
        ),
    ),
    PLACES,
)
