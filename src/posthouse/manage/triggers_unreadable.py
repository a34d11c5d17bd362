"""Triggers whose settings do not open with the master keys that there are: administrators see, pause, replace and delete them
all the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec

from posthouse.domain.errors import Conflict, SetupError
from posthouse.domain.ids import TriggerId
from posthouse.domain.trigger import Trigger
from posthouse.ports.directory import Audit
from posthouse.ports.triggers import TriggerBook

SETTINGS_UNREADABLE: Final = "settings_unreadable"


class UnreadableTrigger(Trigger, frozen=True, kw_only=True):
    """All of it but its settings. These are `null` here, so that nobody takes them for any; `why` says what does not open, and
    what would open it."""

    why: str


Unopened = Callable[[Trigger, SetupError], Trigger]
"""What stands for a trigger whose settings did not open, and are `null`."""


class Book(TriggerBook, Protocol):
    """Where `unopened` is given, it is asked of each trigger whose settings do not open; else that raises SetupError."""

    async def page(self, *, before: bytes, limit: int, unopened: Unopened | None = None) -> list[Trigger]: ...

    async def get(self, reference: str, *, unopened: Unopened | None = None) -> Trigger | None: ...

    async def change(
        self,
        trigger_id: TriggerId,
        change: Callable[[Trigger], Trigger],
        audit: Audit | None,
        *,
        holder: bytes | None = None,
        unopened: Unopened | None = None,
    ) -> Trigger | None:
        """Settings that did not open stay as they are, unless `change` gives others."""
        ...


def unreadable(trigger: Trigger, error: SetupError) -> UnreadableTrigger:
    """An `Unopened`."""
    return UnreadableTrigger(**_fields(trigger), why=str(error))


def opened(trigger: Trigger) -> Trigger:
    """The same. Raises Conflict (code `settings_unreadable`) where its settings do not open."""
    if isinstance(trigger, UnreadableTrigger):
        raise Conflict(
            "the settings of this trigger do not open with the master keys of this server: start it with the one that sealed "
            "them (`posthouse doctor` names it), PUT the trigger with all of its settings, or delete it with force=true",
            code=SETTINGS_UNREADABLE,
        )
    return trigger


def without_settings(trigger: Trigger) -> Trigger:
    """The same, as one that never had any settings."""
    return msgspec.structs.replace(
        Trigger(**_fields(trigger)), config=msgspec.structs.replace(trigger.config, settings="{}")
    )


def _fields(trigger: Trigger) -> dict[str, Any]:
    return {name: getattr(trigger, name) for name in Trigger.__struct_fields__}
