"""The triggers of a process, over PostgreSQL: those who work on them, and those who manage them."""

from __future__ import annotations

from typing import NamedTuple

from posthouse.adapters.postgres.database import Database
from posthouse.adapters.postgres.inbound import PostgresInbound
from posthouse.adapters.postgres.triggers import PostgresTriggers
from posthouse.intake.catalogue import CatalogueCache
from posthouse.intake.observed import ObservedEvents
from posthouse.manage.endpoints import NO_PROFILES
from posthouse.manage.profiles import Profiles
from posthouse.manage.refusals import Refusals
from posthouse.manage.trigger_change import TriggerChecks
from posthouse.manage.triggers import Triggers
from posthouse.ports.clock import Clock
from posthouse.ports.directory import Directory
from posthouse.ports.expressions import Expressions
from posthouse.ports.sealing import Sealer
from posthouse.ports.sources import TriggerKind
from posthouse.trigger.gateway import Gateway
from posthouse.trigger.works import Works, readable_kinds


class Watching(NamedTuple):
    """`works` has to be started where this process may deliver, and closed; `gateway` where it answers requests."""

    works: Works
    gateway: Gateway
    triggers: Triggers
    refusals: Refusals

    @classmethod
    def over(
        cls,
        working: Database,
        managing: Database,
        sealer: Sealer,
        kinds: dict[str, TriggerKind],
        *,
        door: ObservedEvents,
        catalogue: CatalogueCache,
        directory: Directory,
        expressions: Expressions,
        clock: Clock,
        owner: bytes,
        payload_bytes_max: int,
        profiles: Profiles = NO_PROFILES,
        public_url: str = "",
    ) -> Watching:
        works = Works(
            PostgresTriggers(working, sealer),
            readable_kinds(kinds),
            door,
            catalogue,
            expressions,
            clock,
            owner=owner,
            payload_bytes_max=payload_bytes_max,
        )
        gateway = Gateway(
            PostgresInbound(managing, sealer),
            profiles.get,
            door,
            catalogue,
            expressions,
            clock,
            public_url=public_url,
            payload_bytes_max=payload_bytes_max,
        )

        def woken() -> None:
            works.wake()
            gateway.forget()

        book = PostgresTriggers(managing, sealer)
        triggers = Triggers(book, TriggerChecks(directory, kinds, catalogue, expressions), clock, woken=woken)
        refusals = Refusals(triggers, book, door, catalogue, expressions, clock, payload_bytes_max=payload_bytes_max)
        return cls(works, gateway, triggers, refusals)
