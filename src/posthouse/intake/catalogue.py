"""What intake knows of apps and event types, through short caches."""

from __future__ import annotations

from typing import Final, NamedTuple

import jsonschema_rs
import msgspec

from posthouse.domain.cache_use import CacheFacts, CacheUse
from posthouse.domain.errors import Invalid, NotFound
from posthouse.domain.json_text import decoded
from posthouse.ports.catalogue import AppEntry, Catalogue
from posthouse.ports.clock import Clock
from posthouse.wire.json_schema import place_of
from posthouse.wire.schema_judge import Judge

TYPES_CACHED_MAX: Final = 10_000
APPS_CACHED_MAX: Final = 50_000
VERSION_SECONDS: Final = 1.0
SCHEMA_ERRORS_SHOWN: Final = 3
NOT_LOOKED_FOR: Final = "where is not told, since looking for it in so many values or alternatives would take long"
BACKTRACKS_MAX: Final = 10_000  # of a pattern with look-around, in a schema from before these were refused


class _Type:
    __slots__ = ("archived", "validator")

    def __init__(self, validator: Judge | None, archived: bool) -> None:
        self.validator = validator
        self.archived = archived


class CatalogueCache:
    """Event types and apps, forgotten when the catalogue's version moves, which is looked at once a second.

    An app's id and partition never change; that a uid still names it is checked again as the event is appended. Its quotas
    may change: an app that has some costs that look, and one that has none costs nothing, and gets its first ones with the
    look that the next event brings. What is not known is asked for anew each time, so that a thing just created is never
    missed.
    """

    def __init__(self, catalogue: Catalogue, clock: Clock, *, auto_create: bool = False) -> None:
        self._catalogue = catalogue
        self._clock = clock
        self._auto_create = auto_create
        self._types: dict[str, _Type] = {}
        self._apps: dict[str, AppEntry] = {}
        self._types_use = CacheUse()
        self._apps_use = CacheUse()
        self._version = 0
        self._version_at = -VERSION_SECONDS

    async def app(self, reference: str) -> AppEntry:
        """The app with this id or uid. Raises NotFound."""
        entry = self._apps.get(reference)
        if entry is not None and entry.quotas is not None:
            await self._fresh()
            entry = self._apps.get(reference)
        if entry is not None:
            self._apps_use.hits += 1
            return entry
        self._apps_use.misses += 1
        return await self._load_app(reference)

    def known_app(self, reference: str) -> AppEntry | None:
        """The app, where it is known and has no quotas: then nothing has to be looked up."""
        entry = self._apps.get(reference)
        if entry is None or entry.quotas is not None:
            return None
        self._apps_use.hits += 1
        return entry

    async def _load_app(self, reference: str) -> AppEntry:
        version = self._version
        entry = await self._catalogue.find_app(reference)
        if entry is None:
            raise NotFound(f"there is no app {reference[:80]!r}", code="app_not_found")
        if version == self._version:  # else its quotas may be from before the change, and would stay
            if len(self._apps) >= APPS_CACHED_MAX:
                self._apps.clear()
            self._apps[reference] = entry
        return entry

    def forget_app(self, reference: str) -> None:
        """The log said that this app is not there (any more)."""
        self._apps.pop(reference, None)

    def forget(self) -> None:
        """The store's history is another one: what was looked up may not be there, and versions be given again."""
        self._version = -1
        self._version_at = -VERSION_SECONDS
        self._types.clear()
        self._apps.clear()

    async def check(self, event_type: str, payload: bytes | None, *, path: str) -> None:
        """Raises NotFound for an unknown or archived type, Invalid for a payload that its schema refuses.

        A payload of None is not JSON; no schema can speak of it.
        """
        await self._fresh()
        entry = self._types.get(event_type)
        if entry is not None:
            self._types_use.hits += 1
        else:
            self._types_use.misses += 1
            entry = await self._load(event_type)
        if entry.archived:
            raise NotFound(
                f"the event type {event_type!r} is archived; publish another one", code="event_type_archived"
            )
        if entry.validator is not None and payload is not None:
            _check_schema(entry.validator, payload, path)

    def passes(self, event_type: str, payload: bytes) -> bool:
        """Whether it is known without looking anything up that `check` would let this pass."""
        if self._clock.boot() - self._version_at >= VERSION_SECONDS:
            return False
        entry = self._types.get(event_type)
        if entry is None or entry.archived:
            return False
        self._types_use.hits += 1
        return entry.validator is None or not faults_of(entry.validator, payload, most=1)

    @property
    def apps_cached(self) -> CacheFacts:
        return self._apps_use.facts(len(self._apps))

    @property
    def types_cached(self) -> CacheFacts:
        return self._types_use.facts(len(self._types))

    async def _fresh(self) -> None:
        now = self._clock.boot()
        if now - self._version_at < VERSION_SECONDS:
            return
        self._version_at = now
        version = await self._catalogue.version()
        if version != self._version:
            self._version = version
            self._types.clear()
            self._apps.clear()

    async def _load(self, name: str) -> _Type:
        version = self._version
        found = await self._catalogue.event_type(name)
        if found is None and self._auto_create:
            await self._catalogue.add_event_type(name)
            found = await self._catalogue.event_type(name)
        if found is None:
            raise NotFound(
                f"there is no event type {name!r}; create it with POST /v1/event-types, "
                "or start the server with --auto-create-event-types",
                code="event_type_not_found",
            )
        validator = None if found.schema is None else _stored_schema(found.schema)
        entry = _Type(validator, found.archived)
        if version == self._version:  # else this may be from before the change, and would stay
            if len(self._types) >= TYPES_CACHED_MAX:
                self._types.clear()
            self._types[name] = entry
        return entry


def compile_schema(schema: str) -> Judge:
    """A validator for JSON Schema text (`wire.json_schema`), of which patterns take linear time: whose data it judges may be
    anybody's.

    Raises ValueError.
    """
    return Judge(msgspec.json.decode(schema))


def _stored_schema(schema: str) -> Judge:
    """As `compile_schema`; one that was stored when patterns with look-around were taken judges on, and gives up early."""
    try:
        return compile_schema(schema)
    except ValueError:
        patterns = jsonschema_rs.FancyRegexOptions(backtrack_limit=BACKTRACKS_MAX)
        return Judge(msgspec.json.decode(schema), patterns=patterns)


def _check_schema(validator: Judge, payload: bytes, path: str) -> None:
    found = faults_of(validator, payload, most=SCHEMA_ERRORS_SHOWN)
    if found:
        told = "; ".join(one.told[:200] for one in found)
        raise Invalid(
            f"the data do not fit the event type's schema: {told}", path=path + found[0].place, code="schema_mismatch"
        )


class Fault(NamedTuple):
    """Where in the data (`.items[0].price`; empty: the data themselves), and what does not fit."""

    place: str
    told: str


def faults_of(validator: Judge, payload: bytes, *, most: int) -> list[Fault]:
    """Why these data do not fit, at most so many of the reasons; none where they do. What no schema can judge does not fit: a
    number beyond all that a double holds, or what is nested more deeply than the validator goes."""
    try:
        data = decoded(payload)
        if validator.is_valid(data):
            return []
        found = validator.errors_of(data, most=most)
        return [Fault(place_of(error), str(error.message)) for error in found] or [Fault("", NOT_LOOKED_FOR)]
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return [Fault("", f"no schema can judge them ({error})")]
