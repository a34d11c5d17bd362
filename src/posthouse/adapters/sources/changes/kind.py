"""The kind `changes` of triggers: rows that change in PostgreSQL, read from its log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from posthouse.adapters.sources.changes import settings as known
from posthouse.domain.errors import Invalid, SourceRefused
from posthouse.ports.sources import Plan, Source, Spec

if TYPE_CHECKING:
    from types import ModuleType

DRIVER_MISSING: Final = (
    "change capture reads PostgreSQL with psycopg, which is not installed here: pip install 'posthouse[changes]'"
)


class ChangesKind:
    """`SourceKind`. What needs psycopg is imported where it is needed: it is an extra."""

    @property
    def name(self) -> str:
        return known.KIND

    @property
    def expects(self) -> Mapping[str, Any]:
        return known.EXPECTS

    def check(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        return known.check(settings)

    def shown(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        return known.shown(settings)

    async def plan(self, spec: Spec) -> Plan:
        _need_driver()
        from posthouse.adapters.sources.changes.place import at

        async with at(spec) as place:
            return await place.plan()

    async def install(self, spec: Spec, *, before: Spec | None = None) -> None:
        _need_driver()
        from posthouse.adapters.sources.changes.place import install

        await install(spec, before)

    async def remove(self, spec: Spec) -> None:
        _need_driver()
        from posthouse.adapters.sources.changes.place import at

        async with at(spec) as place:
            await place.remove()

    async def rewind(self, spec: Spec, to: float | None) -> str | None:
        if to is not None:
            raise Invalid(
                "the log of a database cannot be gone back to by time. Without a time, all rows that are there now "
                "are published "
                "again, as op snapshot"
            )
        _need_driver()
        from posthouse.adapters.sources.changes.place import at

        async with at(spec) as place:
            return await place.rewind()

    def source(self, spec: Spec) -> Source:
        _need_driver()
        from posthouse.adapters.sources.changes.source import ChangesSource

        return ChangesSource(spec)


def _need_driver() -> ModuleType:
    """Raises SourceRefused where psycopg, or the libpq beneath it, is not there."""
    try:
        import psycopg
    except ImportError as error:
        raise SourceRefused(DRIVER_MISSING, code="driver_missing") from error
    return psycopg
