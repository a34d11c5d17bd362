"""Every resource command: `posthouse apps list`, `posthouse endpoints pause ledger --app acme`, …

They are tables. What a verb is, and how it becomes a command, is told in `cli/verbs.py`.
"""

from __future__ import annotations

from typing import Final

from posthouse.cli.resources.configuration import APPS, ENDPOINTS, EVENT_TYPES, GRANTS
from posthouse.cli.resources.endpoint_keys import ENDPOINT_KEYS
from posthouse.cli.resources.expressions import EXPRESSIONS
from posthouse.cli.resources.keys import KEYS
from posthouse.cli.resources.profiles import PROFILES
from posthouse.cli.resources.schedules import SCHEDULES
from posthouse.cli.resources.traffic import ATTEMPTS, AUDIT, DELIVERIES, EVENTS, REPLAYS
from posthouse.cli.resources.triggers import TRIGGERS
from posthouse.cli.verbs import build

RESOURCES: Final = (
    APPS,
    GRANTS,
    ENDPOINTS,
    ENDPOINT_KEYS,
    EVENT_TYPES,
    EVENTS,
    ATTEMPTS,
    DELIVERIES,
    REPLAYS,
    SCHEDULES,
    TRIGGERS,
    PROFILES,
    EXPRESSIONS,
    KEYS,
    AUDIT,
)

apps = build(APPS)
grants = build(GRANTS)
endpoints = build(ENDPOINTS, ENDPOINT_KEYS)
event_types = build(EVENT_TYPES)
events = build(EVENTS)
attempts = build(ATTEMPTS)
deliveries = build(DELIVERIES)
replays = build(REPLAYS)
schedules = build(SCHEDULES)
triggers = build(TRIGGERS)
profiles = build(PROFILES)
profiles.command("posthouse.cli.profiles:check", name="check", help="Say whether a profile's file can be used.")
expressions = build(EXPRESSIONS)
keys = build(KEYS)
keys.command("posthouse.cli.rekey:rekey", name="rekey", help="Seal everything anew after the master key was changed.")
audit = build(AUDIT)
