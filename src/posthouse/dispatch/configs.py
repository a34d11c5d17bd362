"""Routing configuration of the apps whose events come by: a cache, right because events carry the version they need."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence

from posthouse.domain.endpoint import AppConfig, Endpoint
from posthouse.domain.event import Event
from posthouse.domain.ids import AppId, EndpointId
from posthouse.domain.limits import ROUTED_APPS_MAX
from posthouse.domain.routing import Router
from posthouse.ports.clock import Clock
from posthouse.ports.store import Store


class Configs:
    """Compiled configuration by app: at most `limit` apps, the least recently used leave first.

    An event is routed by a version at least as new as the one it was stamped with as it was appended, so that an endpoint
    created before a publish never misses it. Changes without an event come by `refresh`. `changed` is told the endpoints of
    every app that was loaded anew.
    """

    def __init__(
        self, store: Store, clock: Clock, *, changed: Callable[[Sequence[Endpoint]], None], limit: int = ROUTED_APPS_MAX
    ) -> None:
        self._store = store
        self._clock = clock
        self._changed = changed
        self._limit = limit
        self._routers: OrderedDict[AppId, Router] = OrderedDict()

    def router(self, event: Event) -> Router | None:
        """The router for an event; None where `load` must come first."""
        router = self._routers.get(event.app_id)
        if router is None or router.config.version < event.config_version:
            return None
        if router.config.refresh_at is not None and router.config.refresh_at <= self._clock.now():
            return None
        self._routers.move_to_end(event.app_id)
        return router

    def known(self, event: Event) -> Router:
        """The router that `router` or `load` found for the event, even if it has aged since."""
        return self._routers[event.app_id]

    async def load(self, app_ids: Collection[AppId], *, at_least: int = 0) -> None:
        """Load apps, all in one snapshot. An app that is gone routes to nobody."""
        found = {config.app_id: config for config in await self._store.apps(app_ids)}
        for app_id in app_ids:
            config = found.get(app_id)
            known = self._routers.get(app_id)
            if config is None:
                config = AppConfig(app_id=app_id, partition=-1, version=max(at_least, 1 << 62))
            elif known is not None and known.config.version > config.version:
                continue  # two loads overtook each other
            self._routers[app_id] = Router(config)
            self._routers.move_to_end(app_id)
            self._changed(config.endpoints)
        while len(self._routers) > self._limit:
            self._routers.popitem(last=False)

    async def refresh(self, app_ids: Collection[AppId]) -> None:
        """These apps changed: load those that are known here."""
        known = [app_id for app_id in app_ids if app_id in self._routers]
        if known:
            await self.load(known)

    async def find(self, endpoint_ids: Sequence[EndpointId]) -> dict[EndpointId, Endpoint | None]:
        """Endpoints by id; None for those that no longer exist."""
        apps = await self._store.endpoint_apps(endpoint_ids)
        missing = {app_id for app_id in apps.values() if app_id not in self._routers}
        if missing:
            await self.load(missing)
        found: dict[EndpointId, Endpoint | None] = dict.fromkeys(endpoint_ids)
        for endpoint_id, app_id in apps.items():
            router = self._routers.get(app_id)
            endpoint = None if router is None else router.endpoint(endpoint_id)
            if endpoint is None:
                # It was created after the app was loaded here.
                await self.load([app_id])
                endpoint = self._routers[app_id].endpoint(endpoint_id)
            found[endpoint_id] = endpoint
        return found
