"""The schemas of the versions of event types that endpoints pin."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping

from posthouse.adapters.postgres.database import Database
from posthouse.adapters.postgres.queries import Queries
from posthouse.domain.endpoint import EndpointConfig

SQL = Queries("pinned.sql")

Pin = tuple[str, int]
"""The name of an event type, and a version of it."""


async def schemas_of(database: Database, pins: Collection[Pin]) -> dict[Pin, str]:
    """JSON texts. A version without a schema is left out, and so is one that is not kept any more: there is nothing then that
    it would not have known. A version's schema never changes, so this need not be of the snapshot that the pins are of."""
    if not pins:
        return {}
    names, versions = zip(*pins, strict=True)
    rows = await database.fetch(SQL.schemas, list(names), list(versions))
    # One text in memory for all endpoints of all apps that pin the same.
    return {(row["name"], row["version"]): sys.intern(row["schema"]) for row in rows}


def pinned_by(config: EndpointConfig, schemas: Mapping[Pin, str]) -> dict[str, str]:
    """Those of one endpoint, by event type."""
    return {pin[0]: schemas[pin] for pin in config.payload_versions.items() if pin in schemas}
