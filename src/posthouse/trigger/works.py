"""The triggers of a process: it takes its share of all that there are, works on each in a task of its own, and lets go of
what it should not have any more. What a process had that died is taken by others as its lease ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Final, cast

import structlog

from posthouse.domain.errors import PosthouseError
from posthouse.domain.ids import AppId, TriggerId
from posthouse.domain.limits import (
    TRIGGER_LEASE_MARGIN_SECONDS,
    TRIGGER_LEASE_SECONDS,
    TRIGGER_LOOK_SECONDS,
    TRIGGER_PUT_OFF_SECONDS,
)
from posthouse.domain.trigger import Standing, Trigger, TriggerFacts
from posthouse.intake.catalogue import CatalogueCache
from posthouse.intake.observed import ObservedEvents
from posthouse.ports.clock import Clock, set_or_over
from posthouse.ports.expressions import Expressions
from posthouse.ports.sources import SourceKind, TriggerKind
from posthouse.ports.triggers import Taken, TriggerQueue
from posthouse.trigger.mapping import Mapping as DraftMapping
from posthouse.trigger.specs import spec_of
from posthouse.trigger.work import Work

log = structlog.get_logger()

END_SECONDS_MAX: Final = 10.0


def readable_kinds(kinds: Mapping[str, TriggerKind]) -> dict[str, SourceKind]:
    """Those of these that are read by whoever works on a trigger."""
    return {name: cast("SourceKind", kind) for name, kind in kinds.items() if hasattr(kind, "source")}


class Works:
    """Works on triggers until closed."""

    def __init__(
        self,
        queue: TriggerQueue,
        kinds: Mapping[str, SourceKind],
        door: ObservedEvents,
        catalogue: CatalogueCache,
        expressions: Expressions,
        clock: Clock,
        *,
        owner: bytes,
        payload_bytes_max: int,
        failing: Callable[[Trigger, Standing], None] = lambda _trigger, _standing: None,
        lease_seconds: float = TRIGGER_LEASE_SECONDS,
    ) -> None:
        self._queue = queue
        self._kinds = kinds
        self._door = door
        self._catalogue = catalogue
        self._expressions = expressions
        self._clock = clock
        self._owner = owner
        self._payload_bytes_max = payload_bytes_max
        self._failing = failing
        self._lease_seconds = lease_seconds
        self._good_until = 0.0  # by the boot clock: our leases last at least so long
        self._held: dict[TriggerId, tuple[Work, asyncio.Task[None]]] = {}
        self._woken = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    def facts(self) -> Iterable[TriggerFacts]:
        """How those go that are worked on here, for whoever measures."""
        return [
            TriggerFacts(work.trigger.reference, work.trigger.config.kind, work.standing)
            for work, _ in self._held.values()
        ]

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    def wake(self) -> None:
        """A trigger was made or changed."""
        self._woken.set()

    async def close(self) -> None:
        """End all work, and let others have it."""
        self._closing = True
        self.wake()
        if self._task is not None:
            await self._task
        await self._let_go(list(self._held))

    async def _run(self) -> None:
        while not self._closing:
            self._woken.clear()
            try:
                await self._look()
            except PosthouseError as error:
                log.warning("triggers.not_looked_at", error=str(error))
            except Exception:
                log.exception("triggers.not_looked_at")
            if not self._closing:
                await set_or_over(self._woken, TRIGGER_LOOK_SECONDS)

    async def _look(self) -> None:
        """Keep what is ours, take what we should have, let go of what we should not."""
        began = self._clock.boot()
        epochs = {trigger_id: work.taken.epoch for trigger_id, (work, _) in self._held.items()}
        if epochs:
            versions = await self._queue.renew(self._owner, epochs, lease_seconds=self._lease_seconds)
            self._good_until = began + self._lease_seconds - TRIGGER_LEASE_MARGIN_SECONDS
            await self._let_go(
                [
                    trigger_id
                    for trigger_id, (work, task) in self._held.items()
                    if versions.get(trigger_id) != work.trigger.version or task.done()
                ]
            )
        began = self._clock.boot()
        taken, share = await self._queue.claim(
            self._owner, self._kinds, held=len(self._held), lease_seconds=self._lease_seconds
        )
        if taken:
            if not self._held:
                self._good_until = began + self._lease_seconds - TRIGGER_LEASE_MARGIN_SECONDS
            bad: dict[TriggerId, int] = {}
            for one in taken:
                try:
                    self._begin(one)
                except Exception:
                    log.exception("trigger.not_begun", trigger=one.trigger.reference)
                    bad[one.trigger.id] = one.epoch
            if bad:
                await self._queue.put_off(self._owner, bad, seconds=TRIGGER_PUT_OFF_SECONDS)
        elif len(self._held) > share:
            await self._let_go(list(self._held)[share:])

    def _begin(self, taken: Taken) -> None:
        trigger = taken.trigger
        kind = self._kinds[trigger.config.kind]
        spec = spec_of(trigger)
        work = Work(
            taken,
            lambda: kind.source(spec),
            DraftMapping(
                trigger, self._expressions, self._clock, self._find_app, payload_bytes_max=self._payload_bytes_max
            ),
            self._door,
            self._queue,
            self._clock,
            may_go_on=lambda: self._clock.boot() < self._good_until,
            failing=self._failing,
        )
        self._held[trigger.id] = (work, asyncio.get_running_loop().create_task(work.run()))

    async def _find_app(self, reference: str) -> AppId:
        return (await self._catalogue.app(reference)).id

    async def _let_go(self, ids: list[TriggerId]) -> None:
        """End the work on these, and then release them: a source that is closed may be opened elsewhere at once."""
        if not ids:
            return
        gone = {trigger_id: self._held.pop(trigger_id) for trigger_id in ids}
        for _, task in gone.values():
            task.cancel()
        await asyncio.wait([task for _, task in gone.values()], timeout=END_SECONDS_MAX)
        for work, task in gone.values():
            if not task.done():
                log.error("trigger.not_ended", trigger=work.trigger.reference)
        ended = {trigger_id: work.taken.epoch for trigger_id, (work, task) in gone.items() if task.done()}
        try:
            await self._queue.release(self._owner, ended)
        except PosthouseError as error:
            log.warning("triggers.not_released", error=str(error))  # others have them when the leases end
