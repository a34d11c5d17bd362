"""Counters by spans of time: written beside the journal, read by charts (`domain/traffic.py`)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import StrEnum
from typing import Protocol

import msgspec

from posthouse.domain.ids import AppId, EndpointId
from posthouse.domain.traffic import Count, Grid
from posthouse.ports.inspect import Where


class TrafficBook(Protocol):
    async def add(self, counts: Sequence[Count]) -> None:
        """Add counters to what is there; several processes may at once. Raises StoreUnavailable."""
        ...


class Order(StrEnum):
    """Which come first."""

    FAILED = "failed"  # where most attempts failed
    ATTEMPTS = "attempts"  # where there were most


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint or app, and what people call it."""

    id: bytes
    app_id: AppId
    partition: int
    uid: str | None
    url: str | None  # of an endpoint
    app_uid: str | None
    app_name: str


class Point(msgspec.Struct, kw_only=True):
    """What went on from a time on, until the next point."""

    published: int = 0
    delivered: int = 0
    failed: int = 0
    gave_up: int = 0
    owed: int | None = None
    latency: tuple[int, ...] = ()


class TrafficView(Protocol):
    """What was counted. Reads end within a bounded time; one that would take longer raises Invalid (code `query_too_broad`)."""

    async def everything(self, grid: Grid) -> list[Point]:
        """One point for each of the grid."""
        ...

    async def of_app(self, where: Where, grid: Grid) -> list[Point]: ...

    async def of_endpoint(self, scope: Scope, grid: Grid) -> list[Point]: ...

    async def endpoints(self, where: Where | None, ids: Collection[EndpointId]) -> list[Scope]:
        """Those of these that there are or were, of one app or of all."""
        ...

    async def first_endpoints(self, where: Where | None, grid: Grid, order: Order, *, limit: int) -> list[Scope]:
        """Which endpoints with attempts in that time come first, of those that are there."""
        ...

    async def first_apps(self, grid: Grid, order: Order, *, limit: int) -> list[Scope]: ...

    async def series(self, scopes: Sequence[Scope], grid: Grid) -> list[list[Point]]:
        """Of each endpoint, or each app, its points, without latencies."""
        ...

    async def latencies(self, scopes: Sequence[Scope], grid: Grid) -> list[tuple[int, ...]]:
        """Of each the latencies over the whole time."""
        ...
