"""Event types: what the platform can tell of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from posthouse.domain.access import Principal
from posthouse.domain.errors import Invalid, NotFound
from posthouse.domain.event_type import Visibility
from posthouse.domain.limits import DOCUMENT_BYTES_MAX, DOCUMENT_TYPES_MAX, SCHEMA_BYTES_MAX
from posthouse.domain.redaction import check_pointers
from posthouse.intake.parse import check_type
from posthouse.manage.access import admin_only, audit
from posthouse.manage.schema_check import SchemaCheck, check_schema, compiled
from posthouse.ports.clock import Clock
from posthouse.ports.event_types import EventType, EventTypeStore, EventTypeVersion

EventTypeCheck = Callable[[EventType | None], None]
"""Objects to the event type as it is at the moment of the change (None: there is none) by raising."""

NEWEST_VERSION: Final = 2**31 - 1
"""Where a list of versions begins: above every one."""


class EventTypeChange(msgspec.Struct, frozen=True, kw_only=True):
    """New values of an event type. `schema` is JSON Schema (an object or a boolean), None for none."""

    description: str | UnsetType = UNSET
    schema: dict[str, Any] | bool | UnsetType | None = UNSET
    examples: tuple[Any, ...] | UnsetType = UNSET
    visibility: Visibility | UnsetType = UNSET
    redact: tuple[str, ...] | UnsetType = UNSET
    archived: bool | UnsetType = UNSET


_DEFAULTS: Final[dict[str, Any]] = {
    "description": "",
    "schema": None,
    "examples": (),
    "visibility": Visibility.PUBLIC,
    "redact": (),
    "archived": False,
}


class EventTypes:
    """Everybody with a key reads what its holder may see of the catalogue; administrators change it.

    A schema that breaks those who rely on the old one may be set all the same: whether it does is what `check` is for.
    """

    def __init__(self, store: EventTypeStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def page(
        self,
        viewer: Principal,
        *,
        after: str,
        limit: int,
        archived: bool,
        visibility: Visibility | None,
        search: str | None = None,
    ) -> list[EventType]:
        return await self._store.event_types(
            viewer,
            after=after,
            limit=limit,
            archived=archived,
            visibility=visibility,
            search=search,
            now=self._clock.now(),
        )

    async def get(self, viewer: Principal, name: str) -> EventType:
        """Raises NotFound, the same for one that is not there and one that the viewer does not see."""
        found = await self._store.get_event_type(viewer, name, now=self._clock.now())
        if found is None:
            raise _not_found(name)
        return found

    async def versions(self, viewer: Principal, name: str, *, before: int, limit: int) -> list[EventTypeVersion]:
        """Newest first. Raises NotFound."""
        await self.get(viewer, name)
        return await self._store.event_type_versions(name, before=before, limit=limit)

    async def create(self, principal: Principal, name: str, change: EventTypeChange) -> EventType:
        """Raises Invalid, Conflict, Forbidden."""
        admin_only(principal)
        check_type(name, path="name")
        entry = _made(name, change, now=self._clock.now())
        return await self._store.create_event_type(entry, audit(principal, "event_type.created", name))

    async def put(
        self, principal: Principal, name: str, change: EventTypeChange, *, check: EventTypeCheck | None = None
    ) -> tuple[EventType, bool]:
        """The event type made, or replaced as a whole: what is not set takes its default, and it is not archived any more.
        And whether it was made. Raises Invalid, Forbidden, and what `check` does."""
        admin_only(principal)
        check_type(name, path="name")
        now = self._clock.now()
        whole = EventTypeChange(**_DEFAULTS | _given(change))

        def put(old: EventType | None) -> EventType:
            if check is not None:
                check(old)
            return _made(name, whole, now=now) if old is None else _changed(old, whole, now=now)

        return await self._store.put_event_type(
            name,
            put,
            made=audit(principal, "event_type.created", name),
            replaced=audit(principal, "event_type.replaced", name),
        )

    async def change(
        self, principal: Principal, name: str, change: EventTypeChange, *, check: EventTypeCheck | None = None
    ) -> EventType:
        """Raises Invalid, NotFound, Forbidden, and what `check` does."""
        admin_only(principal)
        now = self._clock.now()

        def changed(old: EventType) -> EventType:
            if check is not None:
                check(old)
            return _changed(old, change, now=now)

        entry = audit(principal, "event_type.changed", name, fields=list(_given(change)))
        stored = await self._store.change_event_type(name, changed, entry)
        if stored is None:
            raise _not_found(name)
        return stored

    async def archive(self, principal: Principal, name: str, *, check: EventTypeCheck | None = None) -> None:
        """Nothing more of this type is accepted; what was is delivered."""
        await self.change(principal, name, EventTypeChange(archived=True), check=check)

    async def check(self, principal: Principal, name: str, schema: dict[str, Any] | None) -> SchemaCheck:
        """What it would mean to give the type this schema; changes nothing. Raises Invalid, NotFound, Forbidden."""
        admin_only(principal)
        _text(schema)
        return await check_schema(self._store, await self.get(principal, name), schema)

    # For documents made of the catalogue

    async def version(self) -> int:
        """Another one whenever an event type changed."""
        return await self._store.catalogue_version()

    async def visible(self, viewer: Principal | None) -> tuple[list[str], bool]:
        """The names of what a viewer sees, without those that are archived, as many as a document holds; and whether there
        are more."""
        names = await self._store.visible_event_types(viewer, limit=DOCUMENT_TYPES_MAX + 1, now=self._clock.now())
        return names[:DOCUMENT_TYPES_MAX], len(names) > DOCUMENT_TYPES_MAX

    async def described(self, names: list[str]) -> list[EventType]:
        """Those of the names that a document has room for."""
        return await self._store.described_event_types(names, bytes_max=DOCUMENT_BYTES_MAX)


def _not_found(name: str) -> NotFound:
    return NotFound(f"there is no event type {name[:80]!r}", code="event_type_not_found")


def _given(change: EventTypeChange) -> dict[str, Any]:
    return {field: value for field in change.__struct_fields__ if (value := getattr(change, field)) is not UNSET}


def _made(name: str, change: EventTypeChange, *, now: float) -> EventType:
    return msgspec.structs.replace(_changed(EventType(name=name), change, now=now), version=1)


def _text(schema: dict[str, Any] | bool | None) -> str | None:
    """A schema as it is stored. Raises Invalid for one that is too large."""
    if schema is None:
        return None
    text = msgspec.json.encode(schema).decode()
    if len(text) > SCHEMA_BYTES_MAX:
        raise Invalid(f"a schema has at most {SCHEMA_BYTES_MAX} bytes; this has {len(text)}", path="schema")
    return text


def _changed(old: EventType, change: EventTypeChange, *, now: float) -> EventType:
    """The event type after a change. Raises Invalid where its schema is none or refuses its examples, or a pointer is none."""
    new = old
    if change.description is not UNSET:
        new = msgspec.structs.replace(new, description=change.description)
    if change.visibility is not UNSET:
        new = msgspec.structs.replace(new, visibility=change.visibility)
    if change.redact is not UNSET:
        check_pointers(change.redact, path="redact")
        new = msgspec.structs.replace(new, redact=tuple(dict.fromkeys(change.redact)))
    if change.schema is not UNSET:
        schema = _text(change.schema)
        known = None if old.schema is None else msgspec.json.decode(old.schema)
        if change.schema != known or (change.schema is None) != (old.schema is None):
            new = msgspec.structs.replace(new, schema=schema, version=old.version + 1)
    if change.examples is not UNSET:
        size = len(msgspec.json.encode(change.examples))
        if size > SCHEMA_BYTES_MAX:
            raise Invalid(
                f"examples have at most {SCHEMA_BYTES_MAX} bytes together; these have {size}", path="examples"
            )
        new = msgspec.structs.replace(new, examples=change.examples)
    if change.archived is not UNSET and change.archived != (old.archived_at is not None):
        new = msgspec.structs.replace(new, archived_at=now if change.archived else None)
    if new.schema is not None and (new.schema, new.examples) != (old.schema, old.examples):
        _check_examples(new.schema, new.examples)
    return new


def _check_examples(schema: str, examples: tuple[Any, ...]) -> None:
    validator = compiled(schema)
    for index, example in enumerate(examples):
        if not validator.is_valid(example):
            raise Invalid("this example does not fit the schema", path=f"examples[{index}]", code="schema_mismatch")
