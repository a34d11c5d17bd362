"""What a process does beside delivering, over PostgreSQL: housekeeping, counting for charts, and saying that it is there."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from socket import gethostname
from typing import Final

from posthouse import __version__
from posthouse.adapters.postgres.database import Database
from posthouse.adapters.postgres.overview import PostgresOverview
from posthouse.adapters.postgres.traffic import PostgresTraffic
from posthouse.adapters.postgres.upkeep import PostgresUpkeep
from posthouse.adapters.system.clock import SystemClock
from posthouse.adapters.system.keyring import Sealer
from posthouse.config import Settings
from posthouse.dispatch.engine import Engine
from posthouse.dispatch.janitor import Janitor
from posthouse.dispatch.traffic import TrafficWriter
from posthouse.domain.errors import PosthouseError
from posthouse.domain.event import Event
from posthouse.domain.limits import BACKLOG_ROWS_MIN, BACKLOGS_TOLD_MAX, LAST_WORK_SECONDS_MAX, SERVERS_KEPT_SECONDS
from posthouse.intake.publisher import Publisher
from posthouse.intake.quotas import QuotaGate
from posthouse.manage.overview import ECHO_PATH, Installation
from posthouse.manage.traffic import TrafficCharts
from posthouse.ports.directory import Directory
from posthouse.ports.overview import Presence
from posthouse.ports.store import Store
from posthouse.process import anchor
from posthouse.settle.traffic import Traffic

NEAR_HOSTS: Final = frozenset({"127.0.0.1", "localhost", "0.0.0.0"})  # noqa: S104 - where a server is reached at 127.0.0.1

Shown = str | int | float | bool | None


class Keeping:
    """`published` and `traffic` are told what is to be counted; `count` writes it until cancelled. To be closed once the engine
    has stopped: what its last results add is written then."""

    def __init__(self, database: Database, clock: SystemClock, settings: Settings, *, owner: bytes) -> None:
        self.traffic = Traffic(clock, process=owner)
        self._book = PostgresTraffic(database)
        self._presences = PostgresOverview(database, clock)
        self._clock = clock
        self._settings = settings
        self._writer: TrafficWriter | None = None
        self._presence = Presence(
            id=owner,
            host=gethostname(),
            pid=os.getpid(),
            role=settings.role,
            version=__version__,
            started_at=clock.now(),
        )

    def published(self, events: Sequence[Event]) -> None:
        """These are in the log: one without an app as often as there are partitions that it is in, and counts once."""
        self.traffic.published(len({event.id for event in events}))

    def janitor(self, upkeep: PostgresUpkeep, quotas: QuotaGate) -> Janitor:
        """Who keeps the house."""
        return Janitor(
            upkeep,
            self._clock,
            retention_days=self._settings.retention_days,
            anchor=lambda: anchor(self._clock, upkeep),
            measure=quotas.measure,
            present=lambda: self._presences.present(self._presence, kept_seconds=SERVERS_KEPT_SECONDS),
            counted=self.traffic.owed,
        )

    def charts(self, directory: Directory, database: Database) -> TrafficCharts:
        """What reads what is counted."""
        return TrafficCharts(directory, PostgresTraffic(database))

    async def installation(
        self,
        database: Database,
        store: Store,
        *,
        embedded: bool,
        port: int,
        warnings: Callable[[], Sequence[tuple[str, str]]],
    ) -> Installation:
        """What operators are told of all of it; `port` is that of this server."""
        settings = self._settings
        near = settings.allow_loopback_targets or settings.allow_private_targets
        here = settings.host in NEAR_HOSTS and settings.role != "worker"
        return Installation(
            PostgresOverview(database, self._clock),
            version=__version__,
            process=self._presence.id,
            settings=shown(settings, embedded=embedded, partitions=await store.partitions()),
            warnings=warnings,
            echo_url=f"http://127.0.0.1:{port}{ECHO_PATH}" if near and here else None,
        )

    async def count(self, engine: Engine) -> None:
        """Write what was counted, and what endpoints are owed, until cancelled."""
        self._writer = TrafficWriter(
            self._book,
            self.traffic,
            self._clock,
            backlogs=lambda: engine.backlog.most_owed(BACKLOGS_TOLD_MAX, rows_min=BACKLOG_ROWS_MIN),
        )
        await self._writer.run()

    async def close(self) -> None:
        if self._writer is not None:
            await _briefly(self._writer.write)
        await _briefly(lambda: self._presences.absent(self._presence.id))


def cautions(publisher: Publisher, engine: Engine, sealer: Sealer) -> list[tuple[str, str]]:
    """What an operator must know of although this process can do its work: a code and the words of each."""
    said = (
        ("publishing_fails", _what_is_refused(publisher)),
        ("log_rewound", _what_was_lost(engine)),
        ("secrets_unreadable", sealer.what_is_unreadable()),
    )
    return [(code, detail) for code, detail in said if detail is not None]


def _what_is_refused(publisher: Publisher) -> str | None:
    if publisher.failing_since is None:
        return None
    return "the last events that came could not be stored, and were answered with 503: the log says why (`publish.failing`)"


def _what_was_lost(engine: Engine) -> str | None:
    if not (rewinds := engine.tails.rewinds):
        return None
    return f"the log of {rewinds} partitions had lost its end: events that were accepted are gone"


async def _briefly(work: Callable[[], Awaitable[object]]) -> None:
    """Do what is of use as a process ends, and no more than that: where the database is away nobody waits for it."""
    with suppress(PosthouseError, TimeoutError):
        async with asyncio.timeout(LAST_WORK_SECONDS_MAX):
            await work()


def shown(settings: Settings, *, embedded: bool, partitions: int) -> dict[str, Shown]:
    """The settings that operators look for, and that are no secret."""
    return {
        "database": "embedded" if embedded else "external",
        "partitions": partitions,
        "role": settings.role,
        "workers": settings.workers,
        "public_url": settings.public_url or None,
        "allow_private_targets": settings.allow_private_targets,
        "allow_loopback_targets": settings.allow_loopback_targets,
        "allowed_networks": ", ".join(map(str, settings.allowed_networks)) or None,
        "proxies": ", ".join(settings.proxies) or None,
        "auto_create_event_types": settings.auto_create_event_types,
        "payload_bytes_max": settings.payload_bytes_max,
        "owed_per_endpoint_max": settings.owed_per_endpoint_max,
        "sockets_max": settings.sockets_max,
        "retention_days": settings.retention_days,
        "expression_processes": settings.expression_processes,
        "callbacks": ", ".join(settings.callbacks) or None,
    }
