"""Routing configuration of the apps whose events come by: a cache, right because events carry the version they need."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from posthouse.domain.cache_use import CacheFacts, CacheUse
from posthouse.domain.endpoint import AppConfig, Endpoint
from posthouse.domain.ids import AppId, EndpointId
from posthouse.domain.limits import ROUTED_APPS_MAX
from posthouse.domain.routing import Router
from posthouse.ports.clock import Clock
from posthouse.ports.store import Store

GONE_VERSION: Final = 1 << 62  # of an app that does not exist any more: it never will again


class Configs:
    """Compiled configuration by app: at most `limit` apps, the least recently used leave first.

    An event of an app is routed by a version of it at least as new as the one it was stamped with as it was appended, so that
    an endpoint created before a publish never misses it. A platform event is stamped with the version of its partition: what
    is known of the partition's apps is as new as that one after `catch_up`, which also brings changes without an event.

    `changed` is told the endpoints of every app that was loaded, `only` that these endpoints are all that these apps have
    now, and `shrunk` of each app that has lost grants.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        changed: Callable[[Sequence[Endpoint]], None],
        only: Callable[[Collection[AppId], Collection[EndpointId]], None] = lambda apps, endpoints: None,
        shrunk: Callable[[AppConfig], None] = lambda app: None,
        limit: int | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._changed = changed
        self._only = only
        self._shrunk = shrunk
        self._limit = ROUTED_APPS_MAX if limit is None else limit
        self._routers: OrderedDict[AppId, Router] = OrderedDict()
        self._use = CacheUse()
        self._routes_use = CacheUse()
        self._loading: Counter[AppId] = Counter()
        self._forgotten = 0
        self._versions: dict[
            int, int
        ] = {}  # partition -> as of which version what is known of its apps is all there is
        self.pinned: set[AppId] = set()  # of which something waits to be routed: they stay known
        self._catching_up = asyncio.Lock()  # in order: an older state must not come after a newer one

    def router(self, app_id: AppId, version: int = 0) -> Router | None:
        """The router of an app, at this version or a newer one; None where `load` must come first."""
        router = self._current(app_id)
        if router is None or router.config.version < version:
            return None
        self._use.hits += 1
        self._routers.move_to_end(app_id)
        return router

    def knows(self, app_id: AppId) -> bool:
        """Whether `known` finds one."""
        return app_id in self._routers

    def known(self, app_id: AppId) -> Router:
        """The router that `router` or `load` found, even if it has aged since."""
        return self._routers[app_id]

    def _current(self, app_id: AppId) -> Router | None:
        router = self._routers.get(app_id)
        if router is None:
            return None
        refresh_at = router.config.refresh_at
        return router if refresh_at is None or refresh_at > self._clock.now() else None

    async def load(self, app_ids: Collection[AppId], *, needed: int = 0) -> dict[AppId, Router]:
        """Load apps, all in one snapshot. An app that is gone routes to nobody.

        `needed` is how many apps, these among them, the caller uses right after: so many stay, if more than the limit.
        """
        found = await self._snapshot(app_ids)
        self._use.misses += len(app_ids)
        loaded = {app_id: self._keep(app_id, found.get(app_id)) for app_id in app_ids}
        # One that is on its way stays, too: what comes may be older than what is known, and must not be taken for the newest.
        stay = self.pinned | self._loading.keys()
        while len(self._routers) > max(self._limit, needed) + len(stay):
            app_id, router = self._routers.popitem(last=False)
            if app_id in stay:
                self._routers[app_id] = router
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
        router = self._routers[app_id] = Router(config, self._routes_use)
        self._routers.move_to_end(app_id)
        self._changed(config.endpoints)
        return router

    async def refresh(self, app_ids: Collection[AppId]) -> list[AppConfig]:
        """These apps changed: load them, and keep those that are in use here. Those that are still there."""
        found = await self._snapshot(app_ids)
        for app_id in app_ids:
            config = found.get(app_id)
            if app_id in self._routers or app_id in self._loading:
                self._keep(app_id, config)
            elif config is not None:
                self._changed(config.endpoints)
        return list(found.values())

    def version(self, partition: int) -> int:
        """As of which version what is known of a partition's apps is complete; 0 for one that is not ours."""
        return self._versions.get(partition, 0)

    async def catch_up(self, partition: int, version: int) -> None:
        """Load what changed in a partition, unless it is as new as `version` already. Raises StoreUnavailable."""
        async with self._catching_up:
            while (since := self._versions.get(partition)) is not None and since < version:
                forgotten = self._forgotten
                now, changed = await self._store.changed_apps(partition, since_version=since)
                configs = await self.refresh(changed) if changed else []
                if forgotten != self._forgotten:
                    continue
                if partition in self._versions:  # it is ours still
                    self._versions[partition] = max(now, version)
                self._only(set(changed), {endpoint.id for config in configs for endpoint in config.endpoints})
                for config in configs:
                    if config.grants.version > since:
                        self._shrunk(config)

    def take(self, versions: Mapping[int, int]) -> None:
        """Partitions were taken, which had these versions before now: what is known of their apps may be from long ago, when
        they were last ours, and is forgotten."""
        self._forgotten += 1
        for app_id in [a for a, router in self._routers.items() if router.config.partition in versions]:
            del self._routers[app_id]
        self._versions.update(versions)

    def forget(self) -> None:
        """The store's history is another one: versions that were given may be given again, and apps that were gone be there."""
        self._forgotten += 1
        self._routers.clear()

    def drop(self, partitions: Collection[int]) -> None:
        """Partitions are no longer ours."""
        for partition in partitions:
            self._versions.pop(partition, None)

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
                self._use.hits += 1
                known[app_id] = router
                self._routers.move_to_end(app_id)
        if missing:
            known |= await self.load(missing)
        found: dict[EndpointId, Endpoint | None] = dict.fromkeys(endpoint_ids)
        for endpoint_id, app_id in apps.items():
            # The newest there is now: one that was known before the load may have changed during it.
            found[endpoint_id] = self._routers.get(app_id, known[app_id]).endpoint(endpoint_id)
        return found

    # For metrics

    @property
    def apps_cached(self) -> CacheFacts:
        """Apps: a hit is one that was there as new as it was needed, a miss one that was loaded."""
        return self._use.facts(len(self._routers))

    @property
    def routes_cached(self) -> CacheFacts:
        """Event types of apps: a hit is one that was routed by before."""
        return self._routes_use.facts(sum([router.routes for router in self._routers.values()]))
