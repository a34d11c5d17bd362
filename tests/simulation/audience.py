"""Whom an event must reach, and whom it may, worked out from the history of configuration and not from the engine's routing.

An endpoint must get an event if every configuration that it had from before the event was published until its partition's
cursor came by would have routed the event to it; it may get it if any of them would.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from tests.simulation.filtering import passes

from posthouse.adapters.memory import MemoryDatabase
from posthouse.domain.endpoint import EndpointConfig
from posthouse.domain.event import Event
from posthouse.domain.grant import Grant
from posthouse.domain.ids import AppId, EndpointId
from posthouse.domain.routing import matches_type


class Route(NamedTuple):
    """By what an endpoint was routed to for a while."""

    types: tuple[str, ...]
    filter: EndpointConfig  # of which the filters count


class Audience:
    """Tell it of each change of configuration; `changes` counts them."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        self.changes = 0
        self._routes: defaultdict[EndpointId, list[tuple[int, Route | None]]] = defaultdict(list)
        self._grants: list[tuple[int, list[Grant]]] = [(0, [])]
        self._of_app: defaultdict[AppId, list[EndpointId]] = defaultdict(list)
        self.must: dict[tuple[int, int], set[EndpointId]] = {}  # by position

    def endpoint_changed(self, endpoint_id: EndpointId) -> None:
        """An endpoint was made, changed, disabled or deleted."""
        self.changes += 1
        state = self._database.endpoints[endpoint_id]
        routes = self._routes[endpoint_id]
        if not routes:
            self._of_app[state.app_id].append(endpoint_id)
        config = state.config
        only = EndpointConfig(url="", filter=config.filter, filters=config.filters)
        route = Route(config.events, only) if state.enabled and not state.deleted else None
        if not routes or routes[-1][1] != route:
            routes.append((self.changes, route))
            for (partition, seq), must in self.must.items():
                if endpoint_id in must:
                    log = self._database.partitions[partition]
                    if seq > log.cursor and not _matches(route, log.events[seq]):
                        must.discard(endpoint_id)

    def grants_changed(self) -> None:
        self.changes += 1
        self._grants.append((self.changes, list(self._database.grants.values())))

    def never_had_one(self, app_id: AppId) -> bool:
        """Whether an app never had an endpoint."""
        return not self._of_app[app_id]

    def must_of(self, app_id: AppId, position: tuple[int, int]) -> bool:
        """Whether any endpoint of an app must get the event there."""
        return not self.must[position].isdisjoint(self._of_app[app_id])

    def _since(self, endpoint_id: EndpointId, changes: int) -> list[Route | None]:
        """The routes of an endpoint from then on."""
        routes = self._routes[endpoint_id]
        first = sum(change <= changes for change, _ in routes) - 1
        return [route for _, route in (routes if first < 0 else routes[first:])] + ([None] if first < 0 else [])

    def appended(self, event: Event, *, changes: int, began_at: float) -> Iterator[str]:
        """An event is in the log; its statement began when there had been so many changes. What is wrong with its audience."""
        if event.app_id is None:
            yield from self._wrong_audience(event, changes, began_at)
        apps = event.audience if event.app_id is None else (event.app_id,)
        self.must[event.partition, event.seq] = {
            endpoint_id
            for app_id in apps
            for endpoint_id in self._of_app[app_id]
            if all(_matches(route, event) for route in self._since(endpoint_id, changes))
        }

    def _wrong_audience(self, event: Event, changes: int, began_at: float) -> Iterator[str]:
        first = max(i for i, (change, _) in enumerate(self._grants) if change <= changes)
        states = [grants for _, grants in self._grants[first:]]
        at = event.created_at
        here = {app.id for app in self._database.apps.values() if app.partition == event.partition}

        def covered(grants: list[Grant], now: float) -> set[AppId]:
            return {g.app_id for g in grants if g.covers(event.type, event.subject, now=now)} & here

        must = set.intersection(*(covered(grants, at + 1.0) for grants in states))
        may = set.union(*(covered(grants, began_at) for grants in states))
        if not must <= set(event.audience) <= may:
            yield f"{event.seq} of partition {event.partition} has an audience that no grants explain"

    def may(self, endpoint_id: EndpointId, event: Event, changes: int) -> bool:
        """Whether an event that was published then may reach an endpoint at all."""
        apps = event.audience if event.app_id is None else (event.app_id,)
        return self._database.endpoints[endpoint_id].app_id in apps and any(
            _matches(route, event) for route in self._since(endpoint_id, changes)
        )


def _matches(route: Route | None, event: Event) -> bool:
    return route is not None and matches_type(route.types, event.type) and passes(route.filter, event)
