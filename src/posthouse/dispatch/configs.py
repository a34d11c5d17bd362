"""Routing configuration of the apps whose events come by: a cache, right because events carry the version they need."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Sequence
from typing import Final

from posthouse.domain.endpoint import AppConfig, Endpoint
from posthouse.domain.event import Event
from posthouse.domain.ids import AppId, EndpointId
from posthouse.domain.limits import ROUTED_APPS_MAX
from posthouse.domain.routing import Router
from posthouse.ports.clock import Clock
from posthouse.ports.store import Store

GONE_VERSION: Final = 1 << 62  # of an app that does not exist any more: it never will again


class Configs:
    """Compiled configuration by app: at most `limit` apps, the least recently used leave first.

    An event is routed by a version at least as new as the one it was stamped with as it was appended, so that an endpoint
    created before a publish never misses it. Changes without an event come by `refresh`. `changed` is told the endpoints of
    every app that was loaded.
    """

    def __init__(
        self, store: Store, clock: Clock, *, changed: Callable[[Sequence[Endpoint]], None], limit: int = ROUTED_APPS_MAX
    ) -> None:
        self._store = store
        self._clock = clock
        self._changed = changed
        self._limit = limit
        self._routers: OrderedDict[AppId, Router] = OrderedDict()
        self._loading: Counter[AppId] = Counter()
        self._forgotten = 0

    def router(self, event: Event) -> Router | None:
        """The router for an event; None where `load` must come first."""
        router = self._current(event.app_id)
        if router is None or router.config.version < event.config_version:
            return None
        self._routers.move_to_end(event.app_id)
        return router

    def known(self, event: Event) -> Router:
        """The router that `router` or `load` found for the event, even if it has aged since."""
        return self._routers[event.app_id]

    def _current(self, app_id: AppId) -> Router | None:
        router = self._routers.get(app_id)
        if router is None:
            return None
        refresh_at = router.config.refresh_at
        return router if refresh_at is None or refresh_at > self._clock.now() else None

    async def load(self, app_ids: Collection[AppId]) -> dict[AppId, Router]:
        """Load apps, all in one snapshot. An app that is gone routes to nobody."""
        found = await self._snapshot(app_ids)
        loaded = {app_id: self._keep(app_id, found.get(app_id)) for app_id in app_ids}
        while len(self._routers) > self._limit:
            self._routers.popitem(last=False)
        return loaded

    async def _snapshot(self, app_ids: Collection[AppId]) -> dict[AppId, AppConfig]:
        self._loading.update(app_ids)
        try:
            while True:
                forgotten = self._forgotten
                configs = await self._store.apps(app_ids)
                if forgotten == self._forgotten:
                    return {config.app_id: config for config in configs}
        finally:
            self._loading.subtract(app_ids)
            self._loading = +self._loading

    def _keep(self, app_id: AppId, config: AppConfig | None) -> Router:
        known = self._routers.get(app_id)
        if config is None:
            config = AppConfig(app_id=app_id, partition=-1, version=GONE_VERSION)
        elif known is not None and known.config.version > config.version:
            return known  # two loads overtook each other
        router = self._routers[app_id] = Router(config)
        self._routers.move_to_end(app_id)
        self._changed(config.endpoints)
        return router

    async def refresh(self, app_ids: Collection[AppId]) -> set[EndpointId]:
        """These apps changed: load them, and keep those that are in use here. All the endpoints that the apps have now."""
        found = await self._snapshot(app_ids)
        present: set[EndpointId] = set()
        for app_id in app_ids:
            config = found.get(app_id)
            if app_id in self._routers or app_id in self._loading:
                config = self._keep(app_id, config).config
            elif config is not None:
                self._changed(config.endpoints)
            present.update(endpoint.id for endpoint in (() if config is None else config.endpoints))
        return present

    def forget(self, partitions: Collection[int]) -> None:
        """Partitions were taken: what is known of their apps may be from long ago, when they were last ours."""
        self._forgotten += 1
        for app_id in [a for a, router in self._routers.items() if router.config.partition in partitions]:
            del self._routers[app_id]

    async def find(self, endpoint_ids: Sequence[EndpointId]) -> dict[EndpointId, Endpoint | None]:
        """Endpoints by id; None for those that no longer exist."""
        apps = await self._store.endpoint_apps(endpoint_ids)
        known: dict[AppId, Router] = {}
        missing: set[AppId] = set()
        for endpoint_id, app_id in apps.items():
            router = self._current(app_id)
            if router is None or router.endpoint(endpoint_id) is None:
                missing.add(app_id)  # or the endpoint was created after its app was loaded here
            else:
                known[app_id] = router
                self._routers.move_to_end(app_id)
        if missing:
            known |= await self.load(missing)
        found: dict[EndpointId, Endpoint | None] = dict.fromkeys(endpoint_ids)
        for endpoint_id, app_id in apps.items():
            # The newest there is now: one that was known before the load may have changed during it.
            found[endpoint_id] = self._routers.get(app_id, known[app_id]).endpoint(endpoint_id)
        return found
