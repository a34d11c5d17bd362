"""Routes each event to its endpoints' lanes, leaving out what a predecessor already recorded."""

from __future__ import annotations

from collections.abc import Sequence

from posthouse.dispatch.configs import Configs
from posthouse.domain.delivery import Delivery, DeliveryClass, DeliveryKey
from posthouse.domain.event import Event
from posthouse.domain.ids import AppId
from posthouse.lane.lanes import Lanes
from posthouse.ports.clock import Clock
from posthouse.settle.progress import Progress


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

    def drop(self, partition: int) -> None:
        self._recorded.pop(partition, None)

    def ready(self, event: Event) -> bool:
        """Whether the event's app is configured here as new as the event asks."""
        return self._configs.router(event) is not None

    async def prepare(self, events: Sequence[Event]) -> None:
        """Make events ready, with one load for all their apps."""
        missing: dict[AppId, int] = {}
        for event in events:
            if self._configs.router(event) is None:
                missing[event.app_id] = max(event.config_version, missing.get(event.app_id, 0))
        if missing:
            await self._configs.load(missing)

    def dispatch(self, event: Event, epoch: int) -> None:
        """Offer the event to the lane of every endpoint it reaches."""
        endpoints = self._configs.known(event).route(event.type, event.channels)
        if self._recorded:
            endpoints = tuple(e for e in endpoints if not self._on_record(event, e.id))
        self._progress.opened(event, len(endpoints))
        boot = self._clock.boot()
        for endpoint in endpoints:
            delivery = Delivery(
                event=event,
                epoch=epoch,
                endpoint_id=endpoint.id,
                number=1,
                kind=DeliveryClass.LIVE,
                offered_at=boot,
                fresh=True,
                row=False,
            )
            self._lanes.offer(endpoint, delivery)

    def _on_record(self, event: Event, endpoint_id: bytes) -> bool:
        entry = self._recorded.get(event.partition)
        if entry is None:
            return False
        until, recorded = entry
        if event.seq > until:
            del self._recorded[event.partition]
            return False
        return (endpoint_id, event.id) in recorded
