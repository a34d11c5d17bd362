"""Event types: what the platform can tell of."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from posthouse.domain.access import Principal
from posthouse.domain.errors import Invalid, NotFound
from posthouse.domain.limits import SCHEMA_BYTES_MAX
from posthouse.intake.catalogue import compile_schema
from posthouse.intake.parse import check_type
from posthouse.manage.access import admin_only, audit
from posthouse.ports.clock import Clock
from posthouse.ports.directory import Directory, EventType


class EventTypeChange(msgspec.Struct, frozen=True, kw_only=True):
    """New values of an event type. `schema` is JSON Schema (an object or a boolean), None for none."""

    description: str | UnsetType = UNSET
    schema: dict[str, Any] | bool | UnsetType | None = UNSET
    examples: tuple[Any, ...] | UnsetType = UNSET
    archived: bool | UnsetType = UNSET


class EventTypes:
    """Everybody with a key reads the catalogue; administrators change it."""

    def __init__(self, directory: Directory, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock

    async def page(self, *, after: str, limit: int, archived: bool) -> list[EventType]:
        return await self._directory.event_types(after=after, limit=limit, archived=archived)

    async def get(self, name: str) -> EventType:
        found = await self._directory.get_event_type(name)
        if found is None:
            raise _not_found(name)
        return found

    async def create(self, principal: Principal, name: str, change: EventTypeChange) -> EventType:
        """Raises Invalid, Conflict, Forbidden."""
        admin_only(principal)
        check_type(name, path="name")
        entry = _changed(EventType(name=name), change, now=self._clock.now())
        return await self._directory.create_event_type(
            msgspec.structs.replace(entry, version=1), audit(principal, "event_type.created", name)
        )

    async def change(self, principal: Principal, name: str, change: EventTypeChange) -> EventType:
        """Raises Invalid, NotFound, Forbidden."""
        admin_only(principal)
        now = self._clock.now()
        fields = [field for field in change.__struct_fields__ if getattr(change, field) is not UNSET]
        changed = await self._directory.change_event_type(
            name,
            lambda old: _changed(old, change, now=now),
            audit(principal, "event_type.changed", name, fields=fields),
        )
        if changed is None:
            raise _not_found(name)
        return changed

    async def archive(self, principal: Principal, name: str) -> None:
        """Nothing more of this type is accepted; what was is delivered."""
        await self.change(principal, name, EventTypeChange(archived=True))


def _not_found(name: str) -> NotFound:
    return NotFound(f"there is no event type {name[:80]!r}", code="event_type_not_found")


def _changed(old: EventType, change: EventTypeChange, *, now: float) -> EventType:
    """The event type after a change. Raises Invalid where its schema is none, or refuses its examples."""
    new = old
    if change.description is not UNSET:
        new = msgspec.structs.replace(new, description=change.description)
    if change.schema is not UNSET:
        schema = None if change.schema is None else msgspec.json.encode(change.schema).decode()
        if schema is not None and len(schema) > SCHEMA_BYTES_MAX:
            raise Invalid(f"a schema has at most {SCHEMA_BYTES_MAX} bytes; this has {len(schema)}", path="schema")
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
    try:
        validator = compile_schema(schema)
    except ValueError as error:
        told = str(error).partition("\n")[0][:300]
        raise Invalid(f"this is not a JSON Schema: {told}", path="schema", code="invalid_schema") from None
    for index, example in enumerate(examples):
        if not validator.is_valid(example):
            raise Invalid("this example does not fit the schema", path=f"examples[{index}]", code="schema_mismatch")
