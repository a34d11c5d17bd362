"""What went on over a time: of everything, of an app, of an endpoint; and where it went worst."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from posthouse.domain.access import Principal
from posthouse.domain.errors import Invalid
from posthouse.domain.ids import APP, ENDPOINT, EndpointId, format_id, parse_id
from posthouse.domain.latency import added
from posthouse.domain.limits import STATS_SECONDS_MAX
from posthouse.domain.traffic import Grid, chart_grid, ranking_grid, row_grid
from posthouse.manage.access import admin_only, endpoint_not_found, endpoint_of, find_app
from posthouse.ports.directory import App, Directory
from posthouse.ports.inspect import Where
from posthouse.ports.traffic import Order, Point, Scope, TrafficView


class Chart(msgspec.Struct, frozen=True):
    """Points over a time. `whole`: of everything, so that what was published and is owed is known."""

    grid: Grid
    points: list[Point]
    whole: bool

    def total(self) -> Point:
        """All points together."""
        return total(self.points)


class Row(msgspec.Struct, frozen=True):
    """An endpoint or an app over a time."""

    scope: Scope
    points: list[Point]
    total: Point


class Rows(msgspec.Struct, frozen=True):
    grid: Grid
    rows: list[Row]


class TrafficCharts:
    """Of everything to an administrator; of its own to the key of an app."""

    def __init__(self, directory: Directory, view: TrafficView) -> None:
        self._directory = directory
        self._view = view

    async def chart(
        self, principal: Principal, *, since: float, until: float, app: str | None, endpoint: str | None
    ) -> Chart:
        """Raises NotFound, Invalid (the span is too long)."""
        _check_span(since, until)
        where = await self._where(principal, app)
        grid = chart_grid(since, until)
        if endpoint is not None:
            (scope,) = await self._scopes(where, [endpoint])
            return Chart(grid, await self._view.of_endpoint(scope, grid), whole=False)
        if where is not None:
            return Chart(grid, await self._view.of_app(where, grid), whole=False)
        return Chart(grid, await self._view.everything(grid), whole=True)

    async def endpoints(
        self,
        principal: Principal,
        *,
        since: float,
        until: float,
        app: str | None,
        endpoints: Sequence[str],
        order: Order,
        limit: int,
    ) -> Rows:
        """These endpoints, or else those that come first. Which these are is told of whole ten minutes, hours or days, as the
        time is long, so that an endpoint may be among them for what was shortly before. Raises NotFound, Invalid."""
        _check_span(since, until)
        where = await self._where(principal, app)
        if endpoints:
            scopes = await self._scopes(where, endpoints)
        else:
            scopes = await self._view.first_endpoints(where, ranking_grid(since, until), order, limit=limit)
        return await self._rows(scopes, row_grid(since, until), order)

    async def apps(
        self, principal: Principal, *, since: float, until: float, apps: Sequence[str], order: Order, limit: int
    ) -> Rows:
        """These apps, or else those that come first. Raises Forbidden, NotFound, Invalid."""
        admin_only(principal)
        _check_span(since, until)
        if apps:
            found = {app.id: app for app in [await find_app(self._directory, principal, each) for each in apps]}
            scopes = [_scope(app) for app in found.values()]
        else:
            scopes = await self._view.first_apps(ranking_grid(since, until), order, limit=limit)
        return await self._rows(scopes, row_grid(since, until), order)

    async def _rows(self, scopes: Sequence[Scope], grid: Grid, order: Order) -> Rows:
        if not scopes:
            return Rows(grid, [])
        series = await self._view.series(scopes, grid)
        latencies = await self._view.latencies(scopes, grid)
        rows = []
        for scope, points, latency in zip(scopes, series, latencies, strict=True):
            whole = total(points)
            whole.latency = latency
            rows.append(Row(scope, points, whole))
        rows.sort(key=lambda row: _place(row.total, order))
        return Rows(grid, rows)

    async def _where(self, principal: Principal, app: str | None) -> Where | None:
        if app is None:
            if principal.app_id is None:
                return None
            app = format_id(APP, principal.app_id)
        found = await find_app(self._directory, principal, app)
        return Where(found.id, found.partition)

    async def _scopes(self, where: Where | None, references: Sequence[str]) -> list[Scope]:
        """The endpoints of these references, in their order. A uid is looked for in its app."""
        ids = [await self._endpoint_id(where, reference) for reference in references]
        found = {scope.id: scope for scope in await self._view.endpoints(where, set(ids))}
        for endpoint_id, reference in zip(ids, references, strict=True):
            if endpoint_id not in found:
                raise endpoint_not_found(reference)
        return [found[endpoint_id] for endpoint_id in dict.fromkeys(ids)]

    async def _endpoint_id(self, where: Where | None, reference: str) -> EndpointId:
        raw = parse_id(ENDPOINT, reference)
        if raw is not None:
            return EndpointId(raw)
        if where is None:
            raise Invalid(
                "an endpoint is looked for in its app; name it by its id, or say which app with app", path="?endpoint"
            )
        return (await endpoint_of(self._directory, where.app_id, reference)).id


def _scope(app: App) -> Scope:
    return Scope(
        id=app.id, app_id=app.id, partition=app.partition, uid=None, url=None, app_uid=app.uid, app_name=app.name
    )


def total(points: Sequence[Point]) -> Point:
    """All points together; what was owed is no sum."""
    whole = Point()
    for point in points:
        whole.published += point.published
        whole.delivered += point.delivered
        whole.failed += point.failed
        whole.gave_up += point.gave_up
        whole.latency = added(whole.latency, point.latency)
    return whole


def _place(point: Point, order: Order) -> tuple[int, int]:
    """Where a row comes, the smallest first."""
    ill = point.failed + point.gave_up
    return (-ill if order is Order.FAILED else 0, -(point.delivered + ill))


def _check_span(since: float, until: float) -> None:
    if not 0 < until - since <= STATS_SECONDS_MAX:
        raise Invalid(f"must be before until, by at most {STATS_SECONDS_MAX / 86_400:g} days", path="?since")
