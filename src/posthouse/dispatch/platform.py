"""Platform routes, as they are known in every process, and which events are handed to them."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Final

import structlog

from posthouse.dispatch.configs import GONE_VERSION
from posthouse.domain.delivery import Delivery, DeliveryClass, DeliveryKey
from posthouse.domain.endpoint import AppConfig, Endpoint
from posthouse.domain.errors import PosthouseError
from posthouse.domain.event import Event
from posthouse.domain.ids import AppId, AttemptId
from posthouse.domain.limits import PLATFORM_COPIES_MAX
from posthouse.domain.platform_routes import PLATFORM_APP, RESERVED_APPS, handed_over, was_handed
from posthouse.domain.routing import Router
from posthouse.ports.clock import Clock
from posthouse.ports.store import Store
from posthouse.settle.journal import Journal

log = structlog.get_logger()

REFRESH_SECONDS: Final = 1.0
TELL_SECONDS: Final = 10.0
_NOBODY: Final = Router(AppConfig(app_id=PLATFORM_APP, partition=0, version=0))


class PlatformRoutes:
    """The endpoints of the reserved app, whoever owns its partition: as new as about a second ago.

    `on`: there are any. While there is none nothing else is to be asked.
    """

    def __init__(self, store: Store, clock: Clock, journal: Journal) -> None:
        self._store = store
        self._clock = clock
        self._journal = journal
        self._router = _NOBODY
        self._tell_at = 0.0
        self.on = False
        self.handed = 0  # events, once for each app
        self.left_out = 0  # apps of events that more apps have than are handed over

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """The routes as they are known here."""
        return self._router.config.endpoints

    async def load(self) -> None:
        """Raises StoreUnavailable."""
        for config in await self._store.apps([PLATFORM_APP]):
            if config.version != self._router.config.version:
                self._router = Router(config)
                self.on = any(endpoint.enabled for endpoint in config.endpoints)

    async def run(self) -> None:
        """Follow what operators change until cancelled."""
        while True:
            await self._clock.sleep(REFRESH_SECONDS)
            try:
                await self.load()
            except PosthouseError as error:
                log.warning("platform_routes.not_loaded", error=str(error))  # those that are known still count

    def takes(self, event: Event, routers: Sequence[Router], recorded: Set[DeliveryKey] | None) -> Sequence[AppId]:
        """The apps for which the event is handed over: those of `routers` none of whose enabled endpoints listens to it, and
        `PLATFORM_APP` where it is an event of the platform for nobody. None where no platform route listens to it."""
        if event.only is not None or not self._router.route(event.type, event.channels):
            return ()
        if event.app_id is None and not event.audience:
            return () if recorded is not None and was_handed(PLATFORM_APP, event, recorded) else (PLATFORM_APP,)
        apps = [
            router.config.app_id
            for router in routers
            if not router.route(event.type, event.channels)
            and router.config.app_id not in RESERVED_APPS
            and router.config.version != GONE_VERSION
        ]
        if len(apps) > PLATFORM_COPIES_MAX:
            self._tell(event, len(apps) - PLATFORM_COPIES_MAX)
            del apps[PLATFORM_COPIES_MAX:]
        return apps

    def _tell(self, event: Event, left_out: int) -> None:
        self.left_out += left_out
        if self._clock.boot() >= self._tell_at:
            self._tell_at = self._clock.boot() + TELL_SECONDS
            log.error("platform_routes.too_many_apps", event_id=event.id.hex(), type=event.type, left_out=left_out)

    def hand(self, event: Event, epoch: int, apps: Sequence[AppId]) -> None:
        """Put on record that the event is handed over for these apps. Progress counts that already."""
        now, boot = self._clock.now(), self._clock.boot()
        for app_id in apps:
            attempt, effect = handed_over(AttemptId(self._clock.new_id()), event, app_id, now=now)
            delivery = Delivery(event, epoch, attempt.endpoint_id, 1, DeliveryClass.LIVE, boot, fresh=True, row=False)
            self._journal.record(delivery, attempt, None, effects=(effect,), counted=False)
            self.handed += 1
