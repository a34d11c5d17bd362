"""What intake must know of the configuration before it accepts an event. Read through short caches."""

from __future__ import annotations

from typing import Protocol

import msgspec

from posthouse.domain.ids import AppId
from posthouse.domain.quota import Quotas


class EventTypeEntry(msgspec.Struct, frozen=True):
    """A catalogue entry as intake needs it. `schema` is JSON Schema text, None where any payload will do."""

    name: str
    schema: str | None
    archived: bool


class AppEntry(msgspec.Struct, frozen=True, gc=False):
    """An app as intake needs it. Id and partition never change; a uid may move, so appending checks it again. Without
    quotas nothing of it is counted."""

    id: AppId
    partition: int
    uid: str | None
    quotas: Quotas | None = None


class Catalogue(Protocol):
    async def find_app(self, reference: str) -> AppEntry | None:
        """The app with this id (`app_…`) or uid."""
        ...

    async def event_type(self, name: str) -> EventTypeEntry | None: ...

    async def add_event_type(self, name: str) -> None:
        """Make an event type without a schema, if it does not exist (`--auto-create-event-types`)."""
        ...

    async def version(self) -> int:
        """Changes whenever any event type does, or any app's quotas."""
        ...
