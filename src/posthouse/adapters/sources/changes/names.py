"""What is made in a database for a trigger, and how it is called."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

import msgspec

from posthouse.adapters.sources.changes.catalog import Catalog, Publication
from posthouse.adapters.sources.changes.settings import Settings, own_name
from posthouse.ports.sources import Spec

_MARK: Final = re.compile(r"slot made at ([0-9A-F]+/[0-9A-F]+)")


class Names(msgspec.Struct, frozen=True):
    """`dsn` is with the name that our connections have; `owns_…` is whether it is ours to make and to drop."""

    dsn: str
    application: str
    slot: str
    publication: str
    owns_slot: bool
    owns_publication: bool

    async def mark(self, catalog: Catalog) -> str | None:
        """Where in the log our slot was made, as our publication says; None where nobody knows."""
        if not (self.owns_slot and self.owns_publication):
            return None
        return mark_of(await catalog.publication(self.publication))


def names_of(spec: Spec, settings: Settings) -> Names:
    own = own_name(spec.id)
    application = f"posthouse {spec.id}"[:63]
    separator = "&" if "?" in settings.dsn else "?"
    return Names(
        dsn=f"{settings.dsn}{separator}application_name={quote(application)}",
        application=application,
        slot=settings.slot or own,
        publication=settings.publication or own,
        owns_slot=settings.slot is None,
        owns_publication=settings.publication is None,
    )


def mark_of(publication: Publication | None) -> str | None:
    found = None if publication is None else _MARK.search(publication.comment or "")
    return None if found is None else found[1]


def comment_of(spec: Spec, made_at: str | None) -> str:
    """What our publication says of itself. Without `made_at` the slot is older than the publication."""
    return f"Trigger {spec.id} of Posthouse" + (f"; slot made at {made_at}" if made_at else "")
