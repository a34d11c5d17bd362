"""The triggers of a process, schedules among them, over PostgreSQL: those who work on them, and those who manage them."""

from __future__ import annotations

import asyncio
from typing import NamedTuple, Protocol, cast

from posthouse.adapters.postgres.database import Database
from posthouse.adapters.postgres.inbound import PostgresInbound
from posthouse.adapters.postgres.schedules import PostgresSchedules
from posthouse.adapters.postgres.triggers import PostgresTriggers
from posthouse.api.gate import App
from posthouse.api.inbound import InboundRoutes
from posthouse.domain.inbound import KIND as INBOUND
from posthouse.intake.catalogue import CatalogueCache
from posthouse.intake.observed import ObservedEvents
from posthouse.intake.operations import Operators
from posthouse.manage.refusals import Refusals
from posthouse.manage.schedules import Schedules
from posthouse.manage.trigger_change import TriggerChecks
from posthouse.manage.triggers import Triggers
from posthouse.ports.clock import Clock
from posthouse.ports.directory import Directory
from posthouse.ports.expressions import Expressions
from posthouse.ports.sealing import Sealer
from posthouse.ports.sources import TriggerKind
from posthouse.ports.telemetry import Telemetry
from posthouse.trigger.entrances import InletKind
from posthouse.trigger.gateway import Gateway
from posthouse.trigger.runner import Runner
from posthouse.trigger.schedules import ScheduledEvents
from posthouse.trigger.works import Works, readable_kinds


class Databases(Protocol):
    """Of `adapters.postgres.pools.Pools` those that triggers go by: what is worked on is looked for over and over by `polling`
    and taken by `reading`."""

    reading: Database
    polling: Database
    managing: Database


class Watching(NamedTuple):
    """To be started where this process may deliver, `answering` where it answers requests, and closed."""

    runner: Runner
    works: Works
    gateway: Gateway
    schedules: Schedules
    triggers: Triggers
    refusals: Refusals

    @classmethod
    def over(
        cls,
        databases: Databases,
        sealer: Sealer,
        kinds: dict[str, TriggerKind],
        telemetry: Telemetry,
        operators: Operators,
        *,
        door: ObservedEvents,
        catalogue: CatalogueCache,
        directory: Directory,
        expressions: Expressions,
        clock: Clock,
        owner: bytes,
        payload_bytes_max: int,
    ) -> Watching:
        """`kinds` are of this process."""
        working, polling, managing = databases.reading, databases.polling, databases.managing
        scheduled = ScheduledEvents(
            PostgresSchedules(working, polling=polling), door, clock, telemetry, failing=operators.schedule_failing
        )
        telemetry.watch("schedule_refusals", lambda: scheduled.refusals)
        telemetry.watch("schedule_skips", lambda: scheduled.skips)
        runner = Runner(scheduled, clock)
        works = Works(
            PostgresTriggers(working, sealer, polling=polling),
            readable_kinds(kinds),
            door,
            catalogue,
            expressions,
            clock,
            owner=owner,
            payload_bytes_max=payload_bytes_max,
            failing=operators.trigger_failing,
        )
        gateway = Gateway(
            PostgresInbound(managing, sealer),
            cast("InletKind | None", kinds.get(INBOUND)),
            door,
            catalogue,
            expressions,
            clock,
            payload_bytes_max=payload_bytes_max,
            failing=operators.trigger_failing,
        )
        telemetry.watch_triggers(lambda: [*works.facts(), *gateway.facts()])
        telemetry.watch_cache("inbound_sources", lambda: gateway.cached)

        def woken() -> None:
            works.wake()
            gateway.forget()

        book = PostgresTriggers(managing, sealer)
        triggers = Triggers(book, TriggerChecks(directory, kinds, catalogue, expressions), clock, woken=woken)
        return cls(
            runner,
            works,
            gateway,
            Schedules(directory, PostgresSchedules(managing), door, clock, woken=runner.wake),
            triggers,
            Refusals(triggers, book, door, catalogue, expressions, clock, payload_bytes_max=payload_bytes_max),
        )

    def answering(self, next_app: App, *, body_seconds: float) -> App:
        """`next_app`, in front of which requests of other systems are answered from now on."""
        self.gateway.start()
        return InboundRoutes(next_app, self.gateway, body_seconds=body_seconds)

    def start(self) -> None:
        self.runner.start()
        self.works.start()

    async def close(self) -> None:
        """End what is under way, and let others have it."""
        await asyncio.gather(self.runner.close(), self.works.close(), self.gateway.close())
