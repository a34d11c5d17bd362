"""The catalogue of event types: what it holds, who sees what of it, and whom a change concerns.

A change is one transaction: what changed, the version of the schema that is kept, its audit entry, and the counter by which
caches notice. As in `ports.directory`, changes are pure functions that the store applies to a locked row. Times are unix
seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from posthouse.domain.access import Principal
from posthouse.domain.event_type import Visibility
from posthouse.domain.ids import AppId, EndpointId, EventId

if TYPE_CHECKING:
    from posthouse.ports.directory import Audit  # which is made of this


class EventType(msgspec.Struct, frozen=True, kw_only=True):
    """A catalogue entry. `schema` is JSON Schema text; `version` counts the changes of the schema; `redact` are JSON pointers
    into payloads that are masked wherever one is shown."""

    name: str
    description: str = ""
    schema: str | None = None
    examples: tuple[Any, ...] = ()
    visibility: Visibility = Visibility.PUBLIC
    redact: tuple[str, ...] = ()
    version: int = 1
    created_at: float = 0.0
    updated_at: float = 0.0
    archived_at: float | None = None


class EventTypeVersion(msgspec.Struct, frozen=True, kw_only=True):
    """What the schema was from `created_at` on, until the next version; and its examples when it ended."""

    name: str
    version: int
    schema: str | None
    examples: tuple[Any, ...]
    created_at: float


class Subscriber(msgspec.Struct, frozen=True, kw_only=True):
    """An enabled endpoint that hears of a type."""

    id: EndpointId
    app_id: AppId
    app_uid: str | None
    uid: str | None
    url: str


class EventTypeStore(Protocol):
    """A viewer is who looks: an administrator sees all, an app what is public or granted to it, None what is public."""

    async def event_types(
        self,
        viewer: Principal | None,
        *,
        after: str,
        limit: int,
        archived: bool,
        visibility: Visibility | None,
        search: str | None,
        now: float,
    ) -> list[EventType]:
        """By name; `archived` includes those that are; with `search`, a text of their name or description, in whatever case."""
        ...

    async def get_event_type(self, viewer: Principal | None, name: str, *, now: float) -> EventType | None:
        """None, too, where the viewer does not see it."""
        ...

    async def create_event_type(self, entry: EventType, audit: Audit) -> EventType:
        """Raises Conflict where the name is taken."""
        ...

    async def change_event_type(
        self, name: str, change: Callable[[EventType], EventType], audit: Audit
    ) -> EventType | None: ...

    async def put_event_type(
        self, name: str, change: Callable[[EventType | None], EventType], *, made: Audit, replaced: Audit
    ) -> tuple[EventType, bool]:
        """What `change` makes of what is there, if anything is; and whether it was made now."""
        ...

    async def event_type_versions(self, name: str, *, before: int, limit: int) -> list[EventTypeVersion]:
        """Newest first, below `before`."""
        ...

    async def kept_versions(
        self, viewer: Principal, wanted: Mapping[str, int], *, now: float
    ) -> dict[str, tuple[int, bool]]:
        """Of each of these types that the viewer sees its newest version, and whether the wanted one is kept."""
        ...

    async def catalogue_version(self) -> int:
        """Changes whenever any event type does."""
        ...

    async def visible_event_types(self, viewer: Principal | None, *, limit: int, now: float) -> list[str]:
        """Names of those that are not archived, in order."""
        ...

    async def described_event_types(self, names: Sequence[str], *, bytes_max: int) -> list[EventType]:
        """Those of the names that there are, in order, as far as they come to no more than so many bytes (about)."""
        ...

    async def redactions(self, names: Collection[str]) -> dict[str, tuple[str, ...]]:
        """What is masked of payloads, of those of these types of which anything is."""
        ...

    async def subscribers(self, name: str, *, limit: int, counted_max: int) -> tuple[list[Subscriber], int]:
        """By app; and how many there are, counted up to a bound.

        Raises Invalid (code `query_too_broad`) where finding them takes too long.
        """
        ...

    async def recent_payloads(
        self, name: str, *, searched_max: int, limit: int, bytes_max: int
    ) -> list[tuple[EventId, bytes]]:
        """The newest stored events of the type whose payload is JSON, among the newest `searched_max` of all types."""
        ...
