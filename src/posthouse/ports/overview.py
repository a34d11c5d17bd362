"""What an operator sees of the installation as a whole: what needs somebody, who serves, and what it stands on."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

import msgspec

from posthouse.domain.ids import AppId, EndpointId, TriggerId


class Kind(StrEnum):
    """Why something needs somebody."""

    ENDPOINT_DISABLED = "endpoint_disabled"  # not by hand
    CIRCUIT_OPEN = "circuit_open"
    BACKLOG = "backlog"  # it grows
    ENDPOINT_UNVERIFIED = "endpoint_unverified"
    TRIGGER_FAILING = "trigger_failing"


class Concern(msgspec.Struct, frozen=True, kw_only=True):
    """Something that needs somebody. `owed` is counted up to a bound, and None where it was not."""

    kind: Kind
    app_id: AppId | None = None
    app_uid: str | None = None
    app_name: str = ""
    endpoint_id: EndpointId | None = None
    trigger_id: TriggerId | None = None
    name: str = ""  # of the trigger; the endpoint's URL
    since: float | None = None
    reason: str | None = None
    owed: int | None = None


class ServerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A process that serves; of one of an earlier version no more is known than that it owns partitions."""

    id: bytes
    host: str | None
    pid: int | None
    role: str | None
    version: str | None
    started_at: float | None
    seen_at: float | None
    live_until: float | None  # as one that owns partitions
    partitions: int


class PartitionFacts(msgspec.Struct, frozen=True, kw_only=True):
    """`behind` events are not dispatched yet, the oldest of which may be so many seconds old."""

    id: int
    owner: bytes | None
    epoch: int
    lease_until: float | None
    head: int
    cursor: int
    behind: int
    age_seconds: float


class DatabaseFacts(msgspec.Struct, frozen=True, kw_only=True):
    version: str
    size_bytes: int
    started_at: float
    migration: int
    connections: int
    connections_max: int


class Presence(msgspec.Struct, frozen=True, kw_only=True):
    """What a process says of itself."""

    id: bytes
    host: str
    pid: int
    role: str
    version: str
    started_at: float


class Presences(Protocol):
    async def present(self, presence: Presence, *, kept_seconds: float) -> None:
        """This process is there; others that were not seen for so long are forgotten."""
        ...

    async def absent(self, process: bytes) -> None:
        """This process ends."""
        ...


class Overview(Protocol):
    async def concerns(self, kind: Kind, *, limit: int, rows_min: int, counted_max: int) -> list[Concern]:
        """At most so many of a kind, the newest first. A backlog is one of `rows_min` at least; what is owed is counted up to
        `counted_max`."""
        ...

    async def servers(self) -> list[ServerFacts]: ...

    async def partitions(self) -> list[PartitionFacts]: ...

    async def database(self) -> DatabaseFacts: ...
