"""What files declare: items, each with its place."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from posthouse.cli.platform.documents import Document, Path_, Place, Problem, refuse
from posthouse.cli.platform.kinds import (
    APP,
    ENDPOINT_KIND,
    EVENT_TYPE,
    GRANT,
    Fields,
    Kind,
    Known,
    Wrong,
    check_reference,
    shipped_profiles,
)

_TOP: Final = (EVENT_TYPE, APP)
_WITHIN_APP: Final = (GRANT, ENDPOINT_KIND)
_LEFT_OUT: Final = {
    "triggers": "triggers are no part of a file, since their settings hold secrets that a server never shows again: "
    "`posthouse triggers create` makes one",
    "schedules": "schedules are no part of a file: `posthouse schedules create` makes one",
}


@dataclass(frozen=True)
class Item:
    """One thing that is declared. `reference` is its name or uid, or its id where it has none (`by_id`)."""

    kind: Kind
    app: str  # the reference of its app; empty where it belongs to none
    reference: str
    by_id: bool
    fields: Fields  # as given
    view: Fields  # as the server would show it
    place: Place

    @property
    def key(self) -> tuple[str, str, str]:
        return (self.kind.name, self.app, self.reference)

    def __str__(self) -> str:
        return f"{self.kind.name} {f'{self.app}/' if self.app else ''}{self.reference}"


@dataclass(frozen=True)
class Declared:
    """All that is declared. `sections` are the lists that files speak of at all: (section, app)."""

    items: list[Item] = field(default_factory=list)
    sections: set[tuple[str, str]] = field(default_factory=set)


def declared(documents: Iterable[Document], known: Known = shipped_profiles) -> Declared:
    """Everything in these documents. Raises Invalid, with the place of each thing that is wrong."""
    found = _Finder(known)
    for document in documents:
        found.document(document)
    if found.problems:
        raise refuse(found.problems)
    return found.declared


class _Finder:
    def __init__(self, known: Known) -> None:
        self._known = known
        self.declared = Declared()
        self.problems: list[Problem] = []
        self._places: dict[tuple[str, str, str], Place] = {}

    def document(self, document: Document) -> None:
        if not isinstance(document.value, dict):
            self._wrong(document, (), "", "should be a mapping with event_types and apps")
            return
        known = [kind.section for kind in _TOP]
        for name, value in document.value.items():
            kind = next((kind for kind in _TOP if kind.section == name), None)
            if name in _LEFT_OUT:
                self._wrong(document, (name,), name, _LEFT_OUT[name])
            elif kind is None:
                self._unknown(document, (name,), name, name, known)
            else:
                self._section(document, kind, "", value, (name,), name)

    def _section(self, document: Document, kind: Kind, app: str, value: Any, path: Path_, shown: str) -> None:
        self.declared.sections.add((kind.section, app))
        if value is None:
            return
        if not isinstance(value, list):
            self._wrong(document, path, shown, "should be a list: each entry begins with a dash")
            return
        for index, entry in enumerate(value):
            self._entry(document, kind, app, entry, (*path, index), shown)

    def _entry(self, document: Document, kind: Kind, app: str, entry: Any, path: Path_, section: str) -> None:
        if not isinstance(entry, dict):
            self._wrong(document, path, f"{section}[{path[-1]}]", "should be a mapping")
            return
        named = "name" if kind is EVENT_TYPE else "uid"
        reference = self._reference(document, kind, entry, path, section, named)
        if reference is None:
            return
        shown = f"{section}[{reference}]"
        key = (kind.name, app, reference)
        place = document.place(path)
        if (before := self._places.setdefault(key, place)) != place:
            self._wrong(document, path, shown, f"is declared twice; the other one is at {before}")
            return
        within = _WITHIN_APP if kind is APP else ()
        inner = {other.section for other in within}
        identity = {named} if kind is EVENT_TYPE else {"uid", "id"}
        fields = {name: value for name, value in entry.items() if name not in inner | identity}
        for name in fields.keys() - kind.fields:
            if name == "secret":
                told = "a secret does not belong in a file: one is made, and `posthouse endpoints secret` shows it"
                self._wrong(document, (*path, name), shown, told)
            elif name == "keys" and kind is ENDPOINT_KIND:
                told = "keys do not belong in a file: `posthouse endpoints keys put` gives an endpoint one"
                self._wrong(document, (*path, name), shown, told)
            else:
                known = sorted(kind.fields | inner | identity)
                self._unknown(document, (*path, name), f"{shown}.{name}", name, known)
        if fields.keys() <= kind.fields:
            self._item(document, kind, app, reference, fields, path, shown)
        for other in within:
            if other.section in entry:
                inside = (*path, other.section)
                self._section(document, other, reference, entry[other.section], inside, f"{shown}.{other.section}")

    def _reference(
        self, document: Document, kind: Kind, entry: Fields, path: Path_, section: str, named: str
    ) -> str | None:
        shown = f"{section}[{path[-1]}]"
        names = [name for name in (named, "id") if name in entry and not (name == "id" and kind is EVENT_TYPE)]
        if len(names) != 1:
            told = (
                f"has no {named}; give it one, so that it can be found again"
                if not names
                else "has both a uid and an id; give one of them"
            )
            self._wrong(document, path, shown, told)
            return None
        value = entry[names[0]]
        where = (*path, names[0])
        if not isinstance(value, str):
            self._wrong(document, where, f"{shown}.{names[0]}", "should be text")
            return None
        told_why = (
            (None if kind.is_id(value) else f"is no id of this kind; what you name yourself is a {named}")
            if names[0] == "id"
            else check_reference(kind, value)
        )
        if told_why is not None:
            self._wrong(document, where, f"{shown}.{names[0]}", told_why)
            return None
        return value

    def _item(
        self, document: Document, kind: Kind, app: str, reference: str, fields: Fields, path: Path_, shown: str
    ) -> None:
        try:
            view = kind.view(fields, self._known)
        except Wrong as wrong:
            for inner, told in wrong.problems:
                self._wrong(document, (*path, *inner), _joined(shown, inner), told)
            return
        view = {name: value for name, value in view.items() if name not in kind.kept or name in fields}
        by_id = kind.is_id(reference)
        self.declared.items.append(Item(kind, app, reference, by_id, fields, view, document.place(path)))

    def _unknown(self, document: Document, path: Path_, shown: str, name: str, known: Iterable[str]) -> None:
        names = list(known)
        close = difflib.get_close_matches(name, names, n=1)
        told = f"did you mean {close[0]}?" if close else f"known are {', '.join(names)}"
        self._wrong(document, path, shown, f"this field is not known; {told}")

    def _wrong(self, document: Document, path: Path_, shown: str, told: str) -> None:
        self.problems.append(Problem(document.place(path), shown, told))


def _joined(shown: str, inner: Path_) -> str:
    for part in inner:
        shown += f"[{part}]" if isinstance(part, int) else f".{part}"
    return shown
