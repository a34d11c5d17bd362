"""The kinds of triggers that there are here: those that come with Posthouse, and those that other packages bring."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

import structlog

from posthouse.ports.sources import GROUP, TriggerKind

log = structlog.get_logger()

_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,31}\Z")
_WANTED: Final = ("check", "shown", "plan", "install", "remove", "rewind", "source")


def load_kinds(shipped: Iterable[TriggerKind], found: Iterable[EntryPoint] | None = None) -> dict[str, TriggerKind]:
    """All kinds, by name. A package whose kind cannot be used keeps nobody else from working: the log says what is wrong with
    it, and triggers of that kind wait."""
    kinds = {kind.name: kind for kind in shipped}
    for point in sorted(entry_points(group=GROUP) if found is None else found, key=lambda one: one.name):
        told = f"{point.name} = {point.value}"
        try:
            kind: Any = point.load()
            if isinstance(kind, type):
                kind = kind()
            _check(kind)
        except Exception as error:
            log.exception("trigger.kind_not_loaded", entry_point=told, error=str(error))
            continue
        if kind.name in kinds:
            log.error("trigger.kind_not_loaded", entry_point=told, error=f"there is a kind {kind.name!r} already")
            continue
        kinds[kind.name] = kind
    return kinds


def _check(kind: Any) -> None:
    """Raises TypeError for what cannot be a kind of source."""
    name = getattr(kind, "name", None)
    if not isinstance(name, str) or _NAME.match(name) is None:
        raise TypeError(f"its name is {name!r}, and not 1 to 32 lower-case letters, digits and -")
    missing = [wanted for wanted in _WANTED if not callable(getattr(kind, wanted, None))]
    if missing or not hasattr(kind, "expects"):
        raise TypeError(f"it lacks {', '.join(missing) or 'expects'}: see posthouse.ports.sources.SourceKind")
