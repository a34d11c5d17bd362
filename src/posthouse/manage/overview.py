"""What needs somebody, and the installation as a whole: for administrators."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from posthouse.domain.access import Principal
from posthouse.domain.ids import EndpointId
from posthouse.domain.limits import ATTENTION_SHOWN_MAX, BACKLOG_ROWS_MIN, OWED_COUNTED_MAX
from posthouse.manage.access import admin_only
from posthouse.ports.overview import Concern, DatabaseFacts, Kind, Overview, PartitionFacts, ServerFacts

ECHO_PATH: Final = "/echo"


class Attention(msgspec.Struct, frozen=True):
    """`more` are the kinds of which there are more than are told."""

    concerns: list[Concern]
    more: list[Kind]


class SystemFacts(msgspec.Struct, frozen=True, kw_only=True):
    """`settings` are those that are no secret, of the process that answers; `warnings` as /readyz tells them."""

    version: str
    process: bytes
    servers: list[ServerFacts]
    partitions: list[PartitionFacts]
    database: DatabaseFacts
    settings: Mapping[str, str | int | float | bool | None]
    warnings: Sequence[tuple[str, str]]
    echo_url: str | None


class Installation:
    """The installation, as one process sees it. At `echo_url` it answers deliveries itself, where it may be a target."""

    def __init__(
        self,
        overview: Overview,
        *,
        version: str,
        process: bytes,
        settings: Mapping[str, str | int | float | bool | None],
        warnings: Callable[[], Sequence[tuple[str, str]]],
        echo_url: str | None = None,
    ) -> None:
        self.echo_url = echo_url
        self._overview = overview
        self._version = version
        self._process = process
        self._settings = settings
        self._warnings = warnings

    async def attention(self, principal: Principal) -> Attention:
        """Raises Forbidden."""
        admin_only(principal)
        told: list[Concern] = []
        more = []
        known: set[EndpointId] = set()  # an endpoint is told of once: what is owed to one whose circuit is open grows
        for kind in Kind:
            found = await self._overview.concerns(
                kind, limit=ATTENTION_SHOWN_MAX + 1, rows_min=BACKLOG_ROWS_MIN, counted_max=OWED_COUNTED_MAX
            )
            told += [
                each
                for each in found[:ATTENTION_SHOWN_MAX]
                if each.endpoint_id is None or each.endpoint_id not in known
            ]
            known.update(each.endpoint_id for each in found if each.endpoint_id is not None)
            if len(found) > ATTENTION_SHOWN_MAX:
                more.append(kind)
        return Attention(told, more)

    async def system(self, principal: Principal) -> SystemFacts:
        """Raises Forbidden."""
        admin_only(principal)
        return SystemFacts(
            version=self._version,
            process=self._process,
            servers=await self._overview.servers(),
            partitions=await self._overview.partitions(),
            database=await self._overview.database(),
            settings=self._settings,
            warnings=self._warnings(),
            echo_url=self.echo_url,
        )
