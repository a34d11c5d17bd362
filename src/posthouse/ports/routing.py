"""What explains the routing of an event that is not (yet) published."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

import msgspec

from posthouse.domain.endpoint import EndpointConfig
from posthouse.domain.ids import AppId, EndpointId


class Listener(msgspec.Struct, frozen=True):
    """An app, by both of its names."""

    app_id: AppId
    uid: str | None


class NearMiss(msgspec.Struct, frozen=True):
    """An app that no live grant covers, though something is granted to it: the subject, and then perhaps the type too, by a
    grant that has ended; or else the type."""

    app: Listener
    ended: bool
    subject_granted: bool


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint as routing looks at it."""

    id: EndpointId
    app_id: AppId
    uid: str | None
    config: EndpointConfig
    enabled: bool
    disabled_reason: str | None
    paused: bool
    verified: bool = True  # whether it has passed its handshake, where it has one


class RoutingView(Protocol):
    async def is_private(self, event_type: str) -> bool: ...

    async def covered_apps(self, event_type: str, subject: str | None, *, limit: int) -> list[Listener]:
        """The apps that a live grant covers, in the order of their ids."""
        ...

    async def near_misses(self, event_type: str, subject: str | None, *, limit: int) -> list[NearMiss]: ...

    async def endpoints(self, app_ids: Collection[AppId], *, limit: int) -> list[Candidate]:
        """All endpoints of these apps, by app, in the order of their creation."""
        ...
