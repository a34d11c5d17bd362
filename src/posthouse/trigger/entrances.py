"""The entrances of a process: for each inbound trigger what takes its requests, made when the first one comes and kept until
the trigger is another one.

Which triggers there are is read at most once a second, and for a name that is not among them somewhat more often: so whoever
guesses names costs ten small reads a second, however many he tries.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final, Protocol

import structlog

from posthouse.domain.cache_use import CacheFacts, CacheUse
from posthouse.domain.endpoint import RateLimit
from posthouse.domain.errors import (
    Invalid,
    NotFound,
    Overloaded,
    PosthouseError,
    QuotaExceeded,
    SetupError,
    StoreUnavailable,
)
from posthouse.domain.ids import AppId, TriggerId
from posthouse.domain.inbound import KIND
from posthouse.domain.limits import (
    INBOUND_CACHED_MAX,
    INBOUND_LOOK_SECONDS,
    INBOUND_MISS_SECONDS,
    INBOUND_PAUSED_SECONDS,
)
from posthouse.domain.trigger import Trigger
from posthouse.intake.catalogue import CatalogueCache
from posthouse.ports.clock import Clock
from posthouse.ports.expressions import Expressions
from posthouse.ports.inbound import InboundBook, Listed
from posthouse.ports.sources import Spec
from posthouse.trigger.mapping import Mapping
from posthouse.trigger.specs import spec_of
from posthouse.trigger.tallies import Count, Tallies
from posthouse.wire.inbound import Inlet

log = structlog.get_logger()

SOURCE_NOT_FOUND: Final = "source_not_found"
SOURCE_PAUSED: Final = "source_paused"
SOURCE_RATE: Final = "source_rate"


class InletKind(Protocol):
    """The kind `inbound`, as far as it is asked here."""

    def inlet(self, spec: Spec, *, clock: Callable[[], float]) -> Inlet:
        """What judges the requests to a trigger. Raises Invalid with a path in its settings."""
        ...


class Rate:
    """How many more requests of a source are taken: a token bucket on the boot clock, full as it begins."""

    def __init__(self, limit: RateLimit, *, now: float) -> None:
        self._limit = limit
        self._tokens = float(limit.capacity)
        self._at = now

    def take(self, now: float) -> None:
        """Raises QuotaExceeded, with the seconds after which there is room."""
        self._tokens = min(self._tokens + (now - self._at) * self._limit.per_second, float(self._limit.capacity))
        self._at = now
        if self._tokens < 1 - 1e-9:
            raise too_many(math.ceil((1 - self._tokens) / self._limit.per_second))
        self._tokens -= 1


class Entrance:
    """What takes the requests of one trigger."""

    def __init__(self, trigger: Trigger, inlet: Inlet, mapping: Mapping, count: Count, *, now: float) -> None:
        self.trigger: Final = trigger
        self.settings: Final = inlet.settings
        self.inlet: Final = inlet
        self.mapping: Final = mapping
        self.count: Final = count
        limit = inlet.settings.rate_limit
        self.rate: Final = None if limit is None else Rate(limit, now=now)
        self._under_way = 0
        self._taking: dict[str, asyncio.Event] = {}

    @asynccontextmanager
    async def alone(self, key: str) -> AsyncIterator[None]:
        """While what this key names is being stored; whoever comes with the same meanwhile waits, and then finds it there."""
        while (other := self._taking.get(key)) is not None:
            await other.wait()
        done = self._taking[key] = asyncio.Event()
        try:
            yield
        finally:
            del self._taking[key]
            done.set()

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """While a request is under way. Raises QuotaExceeded where there are too many."""
        if self._under_way >= self.settings.concurrency:
            raise too_many(1)
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1


class Entrances:
    """Finds the entrance of a trigger."""

    def __init__(
        self,
        book: InboundBook,
        tallies: Tallies,
        kind: InletKind | None,
        catalogue: CatalogueCache,
        expressions: Expressions,
        clock: Clock,
        *,
        payload_bytes_max: int,
        cached_max: int = INBOUND_CACHED_MAX,
    ) -> None:
        self._book = book
        self._tallies = tallies
        self._kind = kind
        self._catalogue = catalogue
        self._expressions = expressions
        self._clock = clock
        self._payload_bytes_max = payload_bytes_max
        self._cached_max = cached_max
        self._listed: dict[str, Listed] = {}
        self._listed_at = -math.inf
        self._looking = asyncio.Lock()
        self._making = asyncio.Lock()
        self._entrances: OrderedDict[TriggerId, Entrance] = OrderedDict()
        self._use = CacheUse()

    @property
    def cached(self) -> CacheFacts:
        return self._use.facts(len(self._entrances))

    @property
    def listed(self) -> list[Listed]:
        """Those that there were at the last look."""
        return list({each.id: each for each in self._listed.values()}.values())

    def forget(self) -> None:
        """A trigger was made or changed: look before the next one is answered."""
        self._listed_at = -math.inf

    async def find(self, reference: str) -> Entrance:
        """By id or uid. Raises NotFound, Overloaded (it is paused, or cannot be used as it is), StoreUnavailable."""
        asked_at = self._clock.boot()
        found = (await self.look(asked_at - INBOUND_LOOK_SECONDS)).get(reference)
        if found is None:  # somebody may just have made it
            found = (await self.look(asked_at)).get(reference)
        if found is None:
            raise NotFound("there is no such source", code=SOURCE_NOT_FOUND)
        if not found.enabled:
            raise paused()
        entrance = self._entrances.get(found.id)
        if entrance is not None and entrance.trigger.version >= found.version:
            self._use.hits += 1
            self._entrances.move_to_end(found.id)
            return entrance
        self._use.misses += 1
        async with self._making:
            entrance = self._entrances.get(found.id)
            if entrance is None or entrance.trigger.version < found.version:
                entrance = await self._made(found.id)
        if not entrance.trigger.enabled:
            raise paused()
        return entrance

    async def look(self, since: float) -> dict[str, Listed]:
        """Which triggers there are, by id and by uid, as it was at `since` (boot clock) or later. Raises StoreUnavailable."""
        if self._listed_at >= since:
            return self._listed
        async with self._looking:
            if self._listed_at < since:
                await self._clock.sleep(
                    max(0.0, min(self._listed_at + INBOUND_MISS_SECONDS - self._clock.boot(), INBOUND_MISS_SECONDS))
                )
                began = self._clock.boot()
                listed = await self._book.listed()
                self._listed = {each.id_text: each for each in listed} | {
                    each.uid: each for each in listed if each.uid is not None
                }
                self._listed_at = began
                there = {each.id for each in listed}
                self._tallies.keep_only(there)
                for gone in self._entrances.keys() - there:
                    del self._entrances[gone]
        return self._listed

    async def _made(self, trigger_id: TriggerId) -> Entrance:
        """Raises NotFound, Overloaded, StoreUnavailable."""
        count = self._tallies.of(trigger_id)
        trigger: Trigger | None = None
        try:
            trigger = await self._book.get(trigger_id)
            if trigger is None:
                raise NotFound("there is no such source", code=SOURCE_NOT_FOUND)
            if self._kind is None:
                raise SetupError(f"this process has no kind {KIND!r}")
            entrance = self._entrance(trigger, self._kind, count)
        except (NotFound, StoreUnavailable):
            raise
        except PosthouseError as error:
            where = f"{error.path}: " if isinstance(error, Invalid) and error.path else ""
            log.warning("inbound.unusable", trigger_id=trigger_id.hex(), error=f"{where}{error}")
            told = f"it cannot be used as it is: {where}{error}"
            if trigger is None:
                count.failed(error.code, told, now=self._clock.now())
            else:
                self._tallies.failed(trigger, error.code, told)
            raise not_now() from error
        count.well()
        self._entrances[trigger_id] = entrance
        self._entrances.move_to_end(trigger_id)
        if len(self._entrances) > self._cached_max:
            self._entrances.popitem(last=False)
        return entrance

    def _entrance(self, trigger: Trigger, kind: InletKind, count: Count) -> Entrance:
        inlet = kind.inlet(spec_of(trigger), clock=self._clock.now)
        mapping = Mapping(
            trigger, self._expressions, self._clock, self._find_app, payload_bytes_max=self._payload_bytes_max
        )
        return Entrance(trigger, inlet, mapping, count, now=self._clock.boot())

    async def _find_app(self, reference: str) -> AppId:
        return (await self._catalogue.app(reference)).id


def too_many(seconds: int) -> QuotaExceeded:
    return QuotaExceeded("this source sends faster than it may", code=SOURCE_RATE, retry_after=max(seconds, 1))


def not_now() -> Overloaded:
    """What a sender is told of whatever is wrong here; what it is stands with the trigger."""
    return Overloaded("this source cannot be taken from now; send it again later", retry_after=INBOUND_PAUSED_SECONDS)


def paused() -> Overloaded:
    error = Overloaded("this source is paused; send it again later", retry_after=INBOUND_PAUSED_SECONDS)
    error.code = SOURCE_PAUSED
    return error
