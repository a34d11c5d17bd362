"""Follow-ups that the journal recorded with the attempts that caused them, each done once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import structlog

from posthouse.domain.delivery import Effect, EffectKind
from posthouse.domain.errors import PosthouseError, StoreRejected
from posthouse.domain.event import Event
from posthouse.domain.ids import EventId
from posthouse.domain.operations import draft_of
from posthouse.intake.publisher import events_of
from posthouse.ports.clock import Clock
from posthouse.ports.store import Store

log = structlog.get_logger()

EFFECTS_AT_ONCE: Final = 100
RETRY_SECONDS: Final = 1.0
LINGER_SECONDS: Final = 0.1  # what comes together is one commit


class Effects:
    """Does the effects of the partitions in `epochs`, the live map of those that are owned.

    Doing one and removing its record are one transaction: whoever does it again, after a doubtful commit or beside another
    owner, finds nothing left to do. `published` is told of the events that were made; should that get lost, their tail finds
    them.
    """

    def __init__(
        self, store: Store, clock: Clock, *, epochs: Mapping[int, int], published: Callable[[list[Event]], object]
    ) -> None:
        self._store = store
        self._clock = clock
        self._epochs = epochs
        self._published = published
        self._due = asyncio.Event()

    def wake(self) -> None:
        """There may be something to do: the journal recorded it, or a partition was taken."""
        self._due.set()

    async def run(self) -> None:
        """Do what is recorded until cancelled."""
        while True:
            await self._due.wait()
            await self._clock.sleep(LINGER_SECONDS)
            self._due.clear()
            try:
                effects = await self._store.effects(list(self._epochs), limit=EFFECTS_AT_ONCE)
                await self._do(effects)
                if len(effects) == EFFECTS_AT_ONCE:
                    self._due.set()
            except PosthouseError as error:
                log.warning("effects.failed", error=str(error))
                await self._clock.sleep(RETRY_SECONDS)
                self._due.set()

    async def _do(self, effects: Sequence[Effect]) -> None:
        emits = []
        for effect in effects:
            if effect.kind is EffectKind.EMIT:
                emits.append(effect)
            else:
                await self._store.disable_endpoint(effect)
                log.info("endpoint.disabled", endpoint=effect.endpoint_id.hex(), reason=effect.reason)
        if emits:
            await self._emit(emits)

    async def _emit(self, effects: Sequence[Effect]) -> None:
        """Publish, under ids made now: the log takes none that is older than some minutes, and an effect may be, after an
        outage. One that the store refuses does not keep back the others."""
        drafts = [draft_of(effect, EventId(self._clock.new_id())) for effect in effects]
        try:
            results = await self._store.publish_effects(effects, drafts)
        except StoreRejected:
            if len(effects) == 1:
                raise
            await self._emit_by_halves(effects)
            return
        events = [
            event
            for draft, result in zip(drafts, results, strict=True)
            if result is not None
            for event in events_of(draft, result)
        ]
        if events:
            self._published(events)

    async def _emit_by_halves(self, effects: Sequence[Effect]) -> None:
        middle = len(effects) // 2
        refused: StoreRejected | None = None
        for half in (effects[:middle], effects[middle:]):
            try:
                await self._emit(half)
            except StoreRejected as error:
                refused = error
        if refused is not None:
            raise refused
