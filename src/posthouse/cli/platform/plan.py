"""The difference between what is declared and what there is. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from posthouse.cli.platform.declared import Declared, Item
from posthouse.cli.platform.kinds import APP, EVENT_TYPE, GRANT, Kind, KindName, same
from posthouse.domain.operations import OPERATIONS_UID
from posthouse.domain.platform_routes import PLATFORM_UID

Action = Literal["create", "update", "delete"]

ORDER: Final[Sequence[KindName]] = ("event type", "app", "grant", "endpoint")
"""In which things are made and changed; they are deleted the other way round."""


class FieldChange(NamedTuple):
    """One value that becomes another."""

    path: str
    old: Any
    new: Any


_RESERVED: Final = {(APP.name, "", OPERATIONS_UID), (APP.name, "", PLATFORM_UID)}


@dataclass(frozen=True)
class There:
    """One thing on the server, as it shows it."""

    kind: Kind
    app: str  # as files refer to its app
    body: dict[str, Any]

    @property
    def reference(self) -> str:
        """Its name or uid; its id where it has none."""
        return str(self.body["name"] if self.kind is EVENT_TYPE else self.body.get("uid") or self.body["id"])

    @property
    def has_uid(self) -> bool:
        return self.kind is EVENT_TYPE or bool(self.body.get("uid"))

    @property
    def key(self) -> tuple[str, str, str]:
        return (self.kind.name, self.app, self.reference)


@dataclass(frozen=True)
class Change:
    """Something to be done. `item` is what is declared, `there` what the server has."""

    action: Action
    kind: Kind
    app: str
    reference: str
    fields: Sequence[FieldChange] = ()
    item: Item | None = None
    there: There | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        return (self.kind.name, self.app, self.reference)

    def __str__(self) -> str:
        return f"{self.kind.name} {f'{self.app}/' if self.app else ''}{self.reference}"


@dataclass(frozen=True)
class Plan:
    """What is to be done, in order; and what cannot be, by item."""

    changes: list[Change] = field(default_factory=list)
    impossible: list[tuple[Item, str]] = field(default_factory=list)


def plan(files: Declared, server: Mapping[tuple[str, str, str], There], *, prune: bool = False) -> Plan:
    """What makes the server as the files say. `server` has everything that the files speak of, by key."""
    found = Plan()
    declared = {item.key: item for item in files.items}
    for kind in ORDER:
        for item in files.items:
            if item.kind.name == kind:
                _add(found, item, server.get(item.key))
    if prune:
        going = {
            key
            for key, there in server.items()
            if key not in declared
            and there.has_uid
            and key not in _RESERVED
            and (there.kind.section, there.app) in files.sections
            and not there.body.get("archived")
        }
        for kind in reversed(ORDER):
            for key in sorted(going):
                there = server[key]
                if there.kind.name == kind:
                    found.changes.append(Change("delete", there.kind, there.app, there.reference, there=there))
    return found


def _add(found: Plan, item: Item, there: There | None) -> None:
    if there is None and item.by_id:
        found.impossible.append((item, "there is none with this id here; give it a uid to have it made"))
    elif there is None:
        fields = [FieldChange(name, None, value) for name, value in item.fields.items()]
        found.changes.append(Change("create", item.kind, item.app, item.reference, fields, item))
    elif (fields := differences(item, there)) and item.by_id and item.kind is GRANT:
        found.impossible.append(
            (item, "a grant without a uid cannot be changed; give it a uid, and remove the old one")
        )
    elif fields:
        found.changes.append(Change("update", item.kind, item.app, item.reference, fields, item, there))


def differences(item: Item, there: There) -> list[FieldChange]:
    """What would change, value by value."""
    found = [
        change
        for name, new in item.view.items()
        if name in there.body or new != _BLANK.get(name)
        for change in _compared(name, there.body.get(name), new)
    ]
    if there.body.get("archived"):
        found.insert(0, FieldChange("archived", True, False))
    return found


# Of a server that does not know the field yet: what it would say if it did.
_BLANK: Final[Mapping[str, Any]] = {"visibility": "public"}


def _compared(path: str, old: Any, new: Any) -> Iterator[FieldChange]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*old, *(name for name in new if name not in old)]:
            yield from _compared(f"{path}.{name}", old.get(name), new.get(name))
    elif not same(old, new):
        yield FieldChange(path, old, new)


def counted(changes: Sequence[Change]) -> str:
    """`2 to create, 1 to delete`."""
    words: Mapping[Action, str] = {"create": "to create", "update": "to change", "delete": "to delete"}
    counts = {action: sum(change.action == action for change in changes) for action in words}
    return ", ".join(f"{count} {words[action]}" for action, count in counts.items() if count) or "nothing to change"
