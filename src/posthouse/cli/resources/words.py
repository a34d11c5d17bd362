"""What several resources have in common."""

from __future__ import annotations

from typing import Final

from posthouse.cli.verbs import Option

APP: Final = "The app's id or uid."
PLACES: Final = {
    "app": APP,
    "grant": "The grant's id or uid.",
    "endpoint": "The endpoint's id or uid.",
    "name": "The key's name, such as legacy.",
    "event_type": "The event type's name, such as order.created.",
    "event": "The event's id (evt_…).",
    "attempt": "The attempt's id (att_…).",
    "replay": "The replay's id (rpl_…).",
    "schedule": "The schedule's id or uid.",
    "trigger": "The trigger's id or uid.",
    "profile": "The profile's name, such as github.",
    "key": "The key's id, as `posthouse keys list` shows it.",
}
UID: Final = Option("uid", "Your own name for it; it can stand for the id everywhere.")
METADATA: Final = Option("metadata", "Anything you like to keep with it, as a JSON object.", "json")
OF_TYPE: Final = Option("type", "Of this event type.")
OF_SUBJECT: Final = Option("subject", "About this subject, such as shop:42.")
OF_ENDPOINT: Final = Option("endpoint", "Of this endpoint: id or uid.")
SINCE: Final = Option("since", "From this time on: 2026-11-24T22:00:00Z, or as long ago: 30m, 2h, 7d.", "time")
UNTIL: Final = Option("until", "Before this time, given likewise.", "time")
