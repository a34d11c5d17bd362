"""Follow-ups that the journal recorded with the attempts that caused them, each done once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Final

import structlog

from posthouse.domain.chaining import Publication, draft_of_publication, read_publication, read_throttle
from posthouse.domain.delivery import Effect, EffectKind
from posthouse.domain.endpoint import Throttle
from posthouse.domain.errors import Invalid, NotFound, PosthouseError, StoreRejected
from posthouse.domain.event import JSON_CONTENT, Draft, Event
from posthouse.domain.ids import AppId, EndpointId, EventId
from posthouse.domain.limits import EFFECTS_PENDING_MAX, TAIL_READ_BYTES_MAX
from posthouse.domain.operations import draft_of
from posthouse.domain.platform_routes import Handover, draft_of_handover, read_handover
from posthouse.intake.publisher import events_of
from posthouse.ports.clock import Clock
from posthouse.ports.store import Store
from posthouse.settle.chains import Silent, Troubled

log = structlog.get_logger()

EFFECTS_AT_ONCE: Final = 100
RETRY_SECONDS: Final = 1.0
LINGER_SECONDS: Final = 0.1  # what comes together is one commit

Check = Callable[[str, bytes | None], Awaitable[None]]
"""(event type, its payload, None where that is not JSON): raises NotFound for an unknown type, Invalid for data that its schema
refuses."""


async def _anything(event_type: str, payload: bytes | None) -> None:
    """Nothing is refused: there is no catalogue."""


class Effects:
    """Does the effects of the partitions in `epochs`, the live map of those that are owned; calls of handlers are for others.

    Doing one and removing its record are one transaction: whoever does it again, after a doubtful commit or beside another
    owner, finds nothing left to do. `published` is told of the events that were made; should that get lost, their tail finds
    them. `throttled` hears of a rate that is stored now.

    What can never be done is removed and `troubled` told: an unknown event type, data that a schema refuses, an endpoint that
    is not there. What cannot be done now is tried again.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        epochs: Mapping[int, int],
        published: Callable[[list[Event]], object],
        throttled: Callable[[EndpointId, Throttle], object] = lambda endpoint_id, throttle: None,
        pending_max: int = EFFECTS_PENDING_MAX,
    ) -> None:
        self._store = store
        self._clock = clock
        self._epochs = epochs
        self._published = published
        self._throttled = throttled
        self._pending_max = pending_max
        self._pending: Counter[int] = Counter()  # by partition; about so many
        self._due = asyncio.Event()
        self._more = False
        self.check: Check = _anything
        self.troubled: Troubled = Silent()
        self.done = 0
        self.refused = 0

    # What is waiting

    def wake(self) -> None:
        """There may be something to do: the journal recorded it, or a partition was taken."""
        self._due.set()

    async def take(self, partitions: Collection[int]) -> None:
        """These partitions were taken, or written to from outside: look what is there. Raises StoreUnavailable."""
        counted = await self._store.count_effects(partitions)
        for partition in self._epochs.keys() & set(partitions):  # others were lost meanwhile
            self._pending[partition] = counted.get(partition, 0)
        self._due.set()

    def drop(self, partitions: Collection[int]) -> None:
        """These are not ours any more."""
        for partition in partitions:
            self._pending.pop(partition, None)

    def recorded(self, effects: Sequence[Effect]) -> None:
        """The journal, or what came of a call of handlers, put these on record."""
        mine = [effect.partition for effect in effects if effect.kind is not EffectKind.CALL]
        if mine:
            self._pending.update(mine)
            self._due.set()

    def has_room(self, partition: int) -> bool:
        """Whether more may be recorded of what answers make happen there."""
        return self._pending[partition] < self._pending_max

    @property
    def pending(self) -> int:
        """How many are recorded and not done, in the partitions that are owned."""
        return self._pending.total()

    # Doing

    async def run(self) -> None:
        """Do what is recorded until cancelled."""
        while True:
            await self._due.wait()
            if not self._more:
                await self._clock.sleep(LINGER_SECONDS)
            self._due.clear()
            try:
                effects = await self._store.effects(list(self._epochs), limit=EFFECTS_AT_ONCE)
                if not effects:
                    self._pending.clear()  # what is counted is about right, and must not stay wrong
                self._more = len(effects) == EFFECTS_AT_ONCE
                await self._do(effects)
                if self._more:
                    self._due.set()
            except PosthouseError as error:
                self._more = False
                log.warning("effects.failed", error=str(error))
                await self._clock.sleep(RETRY_SECONDS)
                self._due.set()

    async def _do(self, effects: Sequence[Effect]) -> None:
        """One that cannot be done now does not keep back the others. Raises the last such error."""
        failed: PosthouseError | None = None
        publications: list[tuple[Effect, Draft]] = []
        values: dict[EndpointId, list[Effect]] = {}
        handed: list[tuple[Effect, Handover]] = []
        for effect in effects:
            try:
                match effect.kind:
                    case EffectKind.EMIT:
                        publications.append((effect, draft_of(effect, EventId(self._clock.new_id()))))
                    case EffectKind.PUBLISH:
                        draft = await self._draft(effect)
                        if draft is not None:
                            publications.append((effect, draft))
                    case EffectKind.ROUTE:
                        handed.append((effect, read_handover(effect.data or b"{}")))
                    case EffectKind.SET:
                        values.setdefault(effect.endpoint_id, []).append(effect)
                    case EffectKind.THROTTLE:
                        await self._store.throttle_endpoint(effect)
                        self._throttled(effect.endpoint_id, read_throttle(effect.data or b"{}"))
                        self._did(effect)
                    case EffectKind.DISABLE_ENDPOINT:
                        await self._store.disable_endpoint(effect)
                        log.info("endpoint.disabled", endpoint=effect.endpoint_id.hex(), reason=effect.reason)
                        self._did(effect)
                    case EffectKind.CALL:
                        pass
            except PosthouseError as error:
                failed = error
        for each in values.values():
            try:
                await self._set(each)
            except PosthouseError as error:
                failed = error
        if publications:
            await self._publish(publications)
        while handed:
            await self._hand_over(_first_of(handed))
        if failed is not None:
            raise failed

    def _did(self, *effects: Effect) -> None:
        self.done += len(effects)
        self._left(effects)

    def _left(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            self._pending[effect.partition] = max(self._pending[effect.partition] - 1, 0)

    async def _draft(self, effect: Effect) -> Draft | None:
        """The event that an effect publishes; None where it never will be: then it is removed."""
        publication = read_publication(effect.data or b"{}")
        is_json = publication.content_type == JSON_CONTENT
        try:
            await self.check(effect.reason, publication.payload if is_json else None)
        except (Invalid, NotFound) as error:
            # What is forwarded need not be in the catalogue: nobody subscribes to it.
            if not (isinstance(error, NotFound) and publication.forwarded):
                await self._refuse(effect, publication, str(error))
                return None
        only = None
        if publication.url:
            only = effect.endpoint_id
        elif publication.endpoint:
            only = await self._store.endpoint_named(AppId(publication.app), publication.endpoint)
            if only is None:
                await self._refuse(effect, publication, f"there is no endpoint {publication.endpoint!r}")
                return None
        return draft_of_publication(effect, publication, EventId(self._clock.new_id()), only=only)

    async def _refuse(self, effect: Effect, publication: Publication, reason: str) -> None:
        await self._store.drop_effects([effect])
        self._left([effect])
        self.refused += 1
        self.troubled.callback_failed(
            AppId(publication.app),
            effect.endpoint_id,
            EventId(publication.cause),
            action="forward" if publication.forwarded else "emit",
            reason=reason,
        )

    async def _hand_over(self, handed: Sequence[tuple[Effect, Handover]]) -> None:
        """Publish these events in the app of the platform routes. They were accepted once, so that no catalogue is asked."""
        keys = [(effect.partition, EventId(handover.event)) for effect, handover in handed]
        events = await self._store.events(list(dict.fromkeys(keys)))
        publications = [
            (effect, draft_of_handover(handover, events[key], EventId(self._clock.new_id())))
            for (effect, handover), key in zip(handed, keys, strict=True)
            if key in events
        ]
        if len(publications) < len(handed):
            there = {effect.id for effect, _ in publications}
            await self._lose([effect for effect, _ in handed if effect.id not in there], "retention dropped the event")
        if publications:
            await self._publish(publications)

    async def _lose(self, effects: Sequence[Effect], reason: str) -> None:
        await self._store.drop_effects(effects)
        self._left(effects)
        self.refused += len(effects)
        log.error("platform_routes.not_published", events=len(effects), reason=reason)

    async def _set(self, effects: Sequence[Effect]) -> None:
        """Values of one endpoint, in one change of it."""
        too_much = await self._store.merge_metadata(effects)
        self._left(effects)
        self.done += len(effects) - len(too_much)
        self.refused += len(too_much)
        if too_much:
            log.warning("metadata.full", endpoint=effects[0].endpoint_id.hex(), left_out=len(too_much))

    async def _publish(self, publications: Sequence[tuple[Effect, Draft]]) -> None:
        """Publish, under ids made now: the log takes none that is older than some minutes, and an effect may be, after an
        outage. One that the store refuses does not keep back the others."""
        effects = [effect for effect, _ in publications]
        drafts = [draft for _, draft in publications]
        try:
            results = await self._store.publish_effects(effects, drafts)
        except StoreRejected:
            if len(effects) > 1:
                await self._publish_by_halves(publications)
                return
            (effect,) = effects
            if effect.kind is EffectKind.EMIT:
                raise
            if effect.kind is EffectKind.ROUTE:
                await self._lose([effect], "the store refuses these data")
                return
            await self._refuse(effect, read_publication(effect.data or b"{}"), "the store refuses these data")
            return
        self._did(*effects)
        events = [
            event
            for draft, result in zip(drafts, results, strict=True)
            if result is not None
            for event in events_of(draft, result)
        ]
        if events:
            self._published(events)

    async def _publish_by_halves(self, publications: Sequence[tuple[Effect, Draft]]) -> None:
        middle = len(publications) // 2
        refused: StoreRejected | None = None
        for half in (publications[:middle], publications[middle:]):
            try:
                await self._publish(half)
            except StoreRejected as error:
                refused = error
        if refused is not None:
            raise refused


def _first_of(handed: list[tuple[Effect, Handover]]) -> list[tuple[Effect, Handover]]:
    """Take away the first of these, so many as memory may hold at once: one at least."""
    size = count = 0
    while count < len(handed) and (not count or size + handed[count][1].size <= TAIL_READ_BYTES_MAX):
        size += handed[count][1].size
        count += 1
    first = handed[:count]
    del handed[:count]
    return first
