"""Routes each event to its endpoints' lanes, leaving out what a predecessor already recorded."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from posthouse.dispatch.configs import Configs
from posthouse.domain.delivery import Delivery, DeliveryClass, DeliveryKey
from posthouse.domain.endpoint import Endpoint
from posthouse.domain.event import Event
from posthouse.domain.ids import AppId
from posthouse.domain.limits import CROWD_ENDPOINTS_MIN
from posthouse.domain.order import UNORDERED, line_of
from posthouse.lane.lanes import Lanes
from posthouse.ports.clock import Clock
from posthouse.settle.progress import Progress

_LIVE: Final = DeliveryClass.LIVE


class Dispatcher:
    """Turns events into deliveries. `recorded` holds, per partition just taken, up to which `seq` what is on record."""

    def __init__(self, configs: Configs, lanes: Lanes, progress: Progress, clock: Clock) -> None:
        self._configs = configs
        self._lanes = lanes
        self._progress = progress
        self._clock = clock
        self._recorded: dict[int, tuple[int, set[DeliveryKey]]] = {}

    def take(self, partition: int, until: int, recorded: set[DeliveryKey]) -> None:
        """A partition was claimed: of its events up to `until`, these deliveries have a home already."""
        if recorded:
            self._recorded[partition] = (until, recorded)

    def drop(self, partitions: Collection[int]) -> None:
        for partition in partitions:
            self._recorded.pop(partition, None)

    def ready(self, event: Event) -> bool:
        """Whether the event's apps are configured here as new as the event asks."""
        if event.app_id is not None:
            return self._configs.router(event.app_id, event.config_version) is not None
        return event.config_version <= self._configs.version(event.partition) and all(
            self._configs.router(app_id) is not None for app_id in event.audience
        )

    async def prepare(self, events: Sequence[Event]) -> None:
        """Make events ready, with one load for all their apps."""
        needed: set[AppId] = set()
        missing: set[AppId] = set()
        for event in events:
            if event.app_id is not None:
                needed.add(event.app_id)
                if self._configs.router(event.app_id, event.config_version) is None:
                    missing.add(event.app_id)
            else:
                needed.update(event.audience)
                if event.config_version > self._configs.version(event.partition):
                    await self._configs.catch_up(event.partition, event.config_version)
        missing.update([app_id for app_id in needed if self._configs.router(app_id) is None])
        if missing:
            await self._configs.load(missing, needed=len(needed))

    def _route(self, event: Event) -> tuple[Endpoint, ...]:
        if event.app_id is not None:
            router = self._configs.known(event.app_id)
            if event.only is not None:
                # A forwarded answer: it is for that endpoint, whatever it listens to, and for nobody else.
                endpoint = router.endpoint(event.only)
                return (endpoint,) if endpoint is not None and endpoint.enabled else ()
            return router.route(event.type, event.channels)
        routers = [self._configs.known(app_id) for app_id in event.audience]
        return tuple([endpoint for router in routers for endpoint in router.route(event.type, event.channels)])

    def dispatch(self, event: Event, epoch: int) -> None:
        """Offer the event to the lane of every endpoint it reaches."""
        endpoints = self._route(event)
        if self._recorded and (entry := self._recorded.get(event.partition)) is not None:
            until, recorded = entry
            endpoints = tuple(e for e in endpoints if (e.id, event.id) not in recorded)
            if event.seq >= until:
                del self._recorded[event.partition]
        self._progress.opened(event, len(endpoints))
        boot = self._clock.boot()
        crowd = len(endpoints) >= CROWD_ENDPOINTS_MIN
        for endpoint in endpoints:
            delivery = Delivery(
                event=event,
                epoch=epoch,
                endpoint_id=endpoint.id,
                number=1,
                kind=_LIVE,
                offered_at=boot,
                fresh=True,
                row=False,
                line=line_of(endpoint.ordering, event.key, _LIVE) if endpoint.ordered else UNORDERED,
            )
            self._lanes.offer(endpoint, delivery, crowd=crowd)
