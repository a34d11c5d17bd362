"""Routes each event to its endpoints' lanes, leaving out what a predecessor already recorded."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final

from posthouse.dispatch.configs import Configs
from posthouse.dispatch.filtering import Filtering
from posthouse.dispatch.platform import PlatformRoutes
from posthouse.domain.delivery import Delivery, DeliveryClass, DeliveryKey
from posthouse.domain.endpoint import Endpoint
from posthouse.domain.event import Event
from posthouse.domain.expression import Failed
from posthouse.domain.ids import AppId
from posthouse.domain.limits import CROWD_ENDPOINTS_MIN
from posthouse.domain.order import UNORDERED, line_of
from posthouse.domain.platform_routes import was_handed
from posthouse.domain.routing import Router
from posthouse.lane.lanes import Lanes
from posthouse.ports.clock import Clock
from posthouse.send.ending import FILTER_FAILED
from posthouse.settle.progress import Progress

_LIVE: Final = DeliveryClass.LIVE


class Dispatcher:
    """Turns events into deliveries. `recorded` holds, per partition just taken, up to which `seq` what is on record.

    Where filters have to be asked, `filtering` decides, perhaps later. It is told of what is on record: nobody else writes of
    what the cursor has not passed, so that this stays as it was when the partition was taken. `give_up` settles what is not to
    be sent, with a reason and words. What `platform` takes is handed to the platform routes.
    """

    def __init__(
        self,
        configs: Configs,
        lanes: Lanes,
        progress: Progress,
        clock: Clock,
        filtering: Filtering,
        platform: PlatformRoutes,
        *,
        give_up: Callable[[Delivery, Endpoint, str, str], None],
    ) -> None:
        self._configs = configs
        self._lanes = lanes
        self._progress = progress
        self._clock = clock
        self._filtering = filtering
        self._platform = platform
        self._give_up = give_up
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
        while missing:
            await self._configs.load(missing, needed=len(needed))
            # Others may have been loaded meanwhile, and some of these left. One that has aged since is known all the same.
            missing = {app_id for app_id in needed if not self._configs.knows(app_id)}

    def dispatch(self, event: Event, epoch: int) -> None:
        """Offer the event to the lane of every endpoint it reaches, as far as that is known now."""
        if event.app_id is not None:
            routers: Sequence[Router] = (self._configs.known(event.app_id),)
            filtered = routers[0].filtered
        else:
            routers = [self._configs.known(app_id) for app_id in event.audience]
            filtered = any(router.filtered for router in routers)
        recorded: set[DeliveryKey] | None = None
        if self._recorded and (entry := self._recorded.get(event.partition)) is not None:
            until, recorded = entry
            if event.seq >= until:
                del self._recorded[event.partition]
            routers = [r for r in routers if not was_handed(r.config.app_id, event, recorded)]
        handed = self._platform.takes(event, routers, recorded) if self._platform.on else ()
        if filtered or (self._filtering.turns and any(self._filtering.waits(r.config.app_id) for r in routers)):
            self._filter(event, epoch, routers, recorded, handed)
            return
        if event.only is not None:
            endpoints: Sequence[Endpoint] = [e for router in routers for e in router.only(event.only)]
        elif len(routers) == 1:
            endpoints = routers[0].route(event.type, event.channels)
        else:
            endpoints = [endpoint for router in routers for endpoint in router.route(event.type, event.channels)]
        if recorded is not None:
            endpoints = [e for e in endpoints if (e.id, event.id) not in recorded]
        self._progress.opened(event, len(endpoints) + len(handed))
        self.offer(event, epoch, endpoints)
        if handed:
            self._platform.hand(event, epoch, handed)

    def _filter(
        self,
        event: Event,
        epoch: int,
        routers: Sequence[Router],
        recorded: set[DeliveryKey] | None,
        handed: Sequence[AppId],
    ) -> None:
        known = None if recorded is None else lambda endpoint: (endpoint.id, event.id) in recorded
        decided = self._filtering.decide(event, epoch, routers, known)
        count = len(decided.reached) + len(decided.skipped) + len(decided.turns) + len(handed)
        self._progress.opened(event, count)
        self.offer(event, epoch, decided.reached)
        for endpoint, failed in decided.skipped:
            self.skip(event, epoch, endpoint, failed)
        if handed:
            self._platform.hand(event, epoch, handed)
        self._filtering.add(decided.turns)

    def offer(self, event: Event, epoch: int, endpoints: Sequence[Endpoint]) -> None:
        """Offer an event to these endpoints' lanes. Progress counts the deliveries already."""
        boot = self._clock.boot()
        crowd = len(endpoints) >= CROWD_ENDPOINTS_MIN
        for endpoint in endpoints:
            self._lanes.offer(endpoint, _delivery(event, epoch, endpoint, boot), crowd=crowd)

    def skip(self, event: Event, epoch: int, endpoint: Endpoint, failed: Failed) -> None:
        """Give a delivery up, as its filter has no value. Progress counts it already."""
        self._give_up(_delivery(event, epoch, endpoint, self._clock.boot()), endpoint, FILTER_FAILED, failed.told)


def _delivery(event: Event, epoch: int, endpoint: Endpoint, boot: float) -> Delivery:
    return Delivery(
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
