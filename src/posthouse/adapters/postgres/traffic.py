"""Counters by spans of time, on PostgreSQL."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import asyncpg

from posthouse.adapters.postgres.database import Database
from posthouse.adapters.postgres.queries import Queries
from posthouse.domain.ids import AppId, EndpointId
from posthouse.domain.latency import added
from posthouse.domain.traffic import Count, Grid, Level
from posthouse.ports.inspect import Where
from posthouse.ports.traffic import Order, Point, Scope

SQL = Queries("traffic.sql")


class PostgresTraffic:
    """`ports.traffic.TrafficBook` and `ports.traffic.TrafficView` on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, counts: Sequence[Count]) -> None:
        await self._database.execute(SQL.add, [_row(count) for count in counts])

    async def everything(self, grid: Grid) -> list[Point]:
        asked = (grid.minutes, grid.since, grid.until, grid.step)
        points = [Point() for _ in grid.times()]
        for row in await self._database.read(SQL.everything, *asked):
            point = points[row["place"]]
            point.published, point.owed = row["published"], row["owed"]
            point.delivered, point.failed, point.gave_up = row["delivered"], row["failed"], row["gave_up"]
        for row in await self._database.read(SQL.everything_latency, *asked):
            points[row["place"]].latency = tuple(row["latency"])
        return points

    async def of_app(self, where: Where, grid: Grid) -> list[Point]:
        return await self._of(Level.APP, where.app_id, grid)

    async def of_endpoint(self, scope: Scope, grid: Grid) -> list[Point]:
        if grid.minutes > 1:
            return await self._of(Level.ENDPOINT, scope.id, grid)
        rows = await self._database.read(SQL.minutes_of_endpoint, scope.partition, scope.id, grid.since, grid.until)
        return _points(rows, grid)

    async def _of(self, level: Level, scope: bytes, grid: Grid) -> list[Point]:
        rows = await self._database.read(SQL.of_scope, level, grid.minutes, scope, [*grid.spans()])
        return _points(rows, grid)

    async def endpoints(self, where: Where | None, ids: Collection[EndpointId]) -> list[Scope]:
        rows = await self._database.read(SQL.scopes, list(ids), None if where is None else where.app_id)
        return [_scope(row) for row in rows]

    async def first_endpoints(self, where: Where | None, grid: Grid, order: Order, *, limit: int) -> list[Scope]:
        app_id = None if where is None else where.app_id
        rows = await self._database.read(
            SQL.first_endpoints, grid.minutes, grid.since, grid.until, app_id, order.value, limit
        )
        return [_scope(row) for row in rows]

    async def first_apps(self, grid: Grid, order: Order, *, limit: int) -> list[Scope]:
        rows = await self._database.read(SQL.first_apps, grid.minutes, grid.since, grid.until, order.value, limit)
        return [_scope(row) for row in rows]

    async def series(self, scopes: Sequence[Scope], grid: Grid) -> list[list[Point]]:
        found = [[Point() for _ in grid.times()] for _ in scopes]
        if _by_minute(scopes, grid):
            rows = await self._database.read(SQL.minute_series, *_places(scopes), grid.since, grid.until)
        else:
            rows = await self._database.read(SQL.series, *_spans(scopes, grid))
        for row in rows:
            _count(found[row["ord"] - 1][grid.place(row["at"])], row)
        return found

    async def latencies(self, scopes: Sequence[Scope], grid: Grid) -> list[tuple[int, ...]]:
        found: list[tuple[int, ...]] = [()] * len(scopes)
        if _by_minute(scopes, grid):
            rows = await self._database.read(SQL.minute_latencies, *_places(scopes), grid.since, grid.until)
        else:
            rows = await self._database.read(SQL.latencies, *_spans(scopes, grid))
        for row in rows:
            found[row["ord"] - 1] = tuple(row["latency"])
        return found


def _row(c: Count) -> tuple[object, ...]:
    """A `traffic_record` (migrations/0025_traffic.sql)."""
    return (
        c.level, c.minutes, c.at, c.scope, c.partition, c.app_id, c.published, c.delivered, c.failed, c.gave_up, c.owed,
        c.latency,
    )  # fmt: skip


def _scope(row: asyncpg.Record) -> Scope:
    return Scope(
        id=row["id"],
        app_id=AppId(row["app_id"]),
        partition=row["partition"],
        uid=row["uid"],
        url=row["url"],
        app_uid=row["app_uid"],
        app_name=row["app_name"],
    )


def _points(rows: Iterable[asyncpg.Record], grid: Grid) -> list[Point]:
    points = [Point() for _ in grid.times()]
    for row in rows:
        point = points[grid.place(row["at"])]
        _count(point, row)
        point.latency = added(point.latency, row["latency"])
    return points


def _count(point: Point, row: asyncpg.Record) -> None:
    point.delivered += row["delivered"]
    point.failed += row["failed"]
    point.gave_up += row["gave_up"]
    if row["owed"] is not None:
        point.owed = max(point.owed or 0, row["owed"])


def _level(scopes: Sequence[Scope]) -> Level:
    return Level.APP if all(scope.url is None for scope in scopes) else Level.ENDPOINT


def _by_minute(scopes: Sequence[Scope], grid: Grid) -> bool:
    """The minutes of endpoints lie where the journal counts them."""
    return grid.minutes == 1 and _level(scopes) is Level.ENDPOINT


def _places(scopes: Sequence[Scope]) -> tuple[list[int], list[bytes]]:
    return [scope.partition for scope in scopes], [scope.id for scope in scopes]


def _spans(scopes: Sequence[Scope], grid: Grid) -> tuple[Level, int, list[bytes], list[int]]:
    return _level(scopes), grid.minutes, [scope.id for scope in scopes], [*grid.spans()]
