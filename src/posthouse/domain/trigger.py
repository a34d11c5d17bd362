"""Triggers: what is watched where, and what becomes an event of it. Times are unix seconds."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from posthouse.domain.errors import Conflict
from posthouse.domain.ids import TRIGGER, AppId, TriggerId, format_id


class TriggerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a trigger watches, and the events it makes.

    `settings` is a JSON object that the kind understands. `type`, `subject` and `key` are templates: `{new.status}` stands for
    what is there in what was seen. `when` and `map` are expressions over the event as it would be (`trigger.mapping`).
    """

    kind: str
    type: str
    settings: str = "{}"
    subject: str | None = None
    key: str | None = None
    when: str | None = None
    map: str | None = None


class TriggerState(StrEnum):
    """How a trigger is."""

    STARTING = "starting"  # nobody has worked on it yet
    ACTIVE = "active"
    PAUSED = "paused"
    FAILING = "failing"  # its source is down, or refuses us, or our own store does not answer: it is tried again
    STOPPED = "stopped"  # so much was set aside that somebody has to look first


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How it goes, as whoever works on a trigger wrote it down last.

    `published`, `repeated`, `left_out` (its `when` was false), `unverified` (nobody vouched for it) and `set_aside` count since
    it was made. `lag_seconds` is the age of the oldest that is not published, `pending` how many there are and `retained_bytes`
    what the source keeps for us: None where nobody knows.
    """

    state: TriggerState = TriggerState.STARTING
    error: str | None = None
    error_code: str | None = None
    failing_since: float | None = None
    retry_at: float | None = None
    failures: int = 0  # in a row
    published: int = 0
    repeated: int = 0
    left_out: int = 0
    set_aside: int = 0
    unverified: int = 0
    published_at: float | None = None
    lag_seconds: float | None = None
    pending: int | None = None
    retained_bytes: int | None = None
    alarm: str | None = None  # what somebody has to look at, although it goes on
    told_at: float | None = None


SETTINGS_UNREADABLE: Final = "settings_unreadable"


def trigger_busy() -> Conflict:
    """Somebody else is about to change what it watches, or winds it back."""
    return Conflict("another change of this trigger is under way; try again in a moment", code="trigger_busy")


class Trigger(msgspec.Struct, frozen=True, kw_only=True):
    """A trigger as it is stored. Without an app its events are the platform's.

    `position` is the source's own word for how far everything is in the log. `generation` counts how often it was rewound: what
    is seen again then is another event. `version` counts its changes. `unreadable` says why its settings do not open with the
    master keys that there are; then they are `null`, and None where they do.
    """

    id: TriggerId
    config: TriggerConfig
    uid: str | None = None
    name: str = ""
    app_id: AppId | None = None
    enabled: bool = True
    generation: int = 0
    version: int = 1
    position: str | None = None
    standing: Standing = Standing()
    created_at: float = 0.0
    updated_at: float = 0.0
    unreadable: str | None = None

    @property
    def reference(self) -> str:
        """Its uid; its id where it has none."""
        return self.uid or format_id(TRIGGER, self.id)


def opened(trigger: Trigger) -> Trigger:
    """The same. Raises Conflict (code `settings_unreadable`) where its settings do not open."""
    if trigger.unreadable is not None:
        raise Conflict(
            "the settings of this trigger do not open with the master keys of this server: start it with the one that sealed "
            "them (`posthouse doctor` names it), PUT the trigger with all of its settings, or delete it with force=true",
            code=SETTINGS_UNREADABLE,
        )
    return trigger


class TriggerFacts(msgspec.Struct, frozen=True):
    """How a trigger goes, for whoever measures."""

    reference: str
    kind: str
    standing: Standing
