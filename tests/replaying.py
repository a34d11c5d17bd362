"""A partition in which replays go on: an app with an endpoint, events with what became of them, and an owner."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Final

from tests.making import attempt, config, draft, new_app, new_endpoint, new_id, new_owner, owed
from tests.worlds import AUDIT, PostgresWorld

from posthouse.adapters.postgres.jobs import PostgresJobs
from posthouse.adapters.system.clock import SystemClock
from posthouse.dispatch.replays import Replays
from posthouse.domain.delivery import Attempt, AttemptOutcome, Cursor, DeliveryClass, JournalBatch, Owed
from posthouse.domain.event import Event
from posthouse.domain.ids import AppId, EventId, JobId
from posthouse.domain.replay import Replay, ReplayState, Select, Wanted
from posthouse.ports.jobs import Hold
from posthouse.ports.log import Announced, Appended

HOME: Final = 1
LEASE: Final = 3600.0


class Replaying:
    """One app and one endpoint of it, on a world of its own."""

    def __init__(self, world: PostgresWorld, **endpoint: Any) -> None:
        self.world = world
        self.jobs = PostgresJobs(world.database)
        self.clock = SystemClock()
        self.app_id = new_app()
        self.endpoint_id = new_endpoint()
        self.config = config(**endpoint)
        self.owner = new_owner()
        self.epochs: dict[int, int] = {}
        self.ended: list[Replay] = []
        self.runner = self.another()

    async def open(self) -> None:
        await self.world.put_app(self.app_id, partition=HOME)
        await self.world.put_endpoint(self.endpoint_id, self.app_id, self.config)
        await self.own(self.owner)

    async def own(self, owner: bytes) -> None:
        """Let this owner take everything, whoever has it."""
        claims = await self.world.store.claim(owner, limit=1000, lease_seconds=LEASE, exclusive=True)
        self.epochs.clear()
        self.epochs |= {claim.partition: claim.epoch for claim in claims}

    def another(self, owner: bytes | None = None) -> Replays:
        """A runner of an owner, with the epochs as they are now or, for this one's own, as they come to be."""
        epochs = self.epochs if owner is None else dict(self.epochs)
        return Replays(self.jobs, self.clock, owner=owner or self.owner, epochs=epochs, finished=self.ended.append)

    @property
    def hold(self) -> Hold:
        return Hold(self.owner, self.epochs[HOME])

    async def publish(self, *, app_id: AppId | None = None, platform: bool = False, **fields: Any) -> Event:
        """An event in the app's partition: the app's own, another one's there, or the platform's."""
        made = draft(None if platform else app_id or self.app_id, **fields)
        (result,) = await self.world.log.append([made])
        match result:
            case Announced(places=(place,)):
                partition, seq, created_at = place.partition, place.seq, result.created_at
            case Appended():
                partition, seq, created_at = result.partition, result.seq, result.created_at
            case _:
                raise AssertionError(result)
        return Event(
            id=made.id,
            partition=partition,
            seq=seq,
            app_id=made.app_id,
            type=made.type,
            payload=made.payload,
            content_type=made.content_type,
            created_at=created_at,
            config_version=0,
            key=made.key,
            channels=made.channels,
        )

    async def tried(self, event: Event, *outcomes: AttemptOutcome) -> None:
        """Put attempts on record, in this order."""
        attempts = [self._attempt(event, n + 1, outcome) for n, outcome in enumerate(outcomes)]
        await self.journal(attempts=tuple(attempts))

    def _attempt(self, event: Event, number: int, outcome: AttemptOutcome, **fields: Any) -> Attempt:
        return attempt(event, self.endpoint_id, app_id=self.app_id, number=number, outcome=outcome, **fields)

    async def owe(self, event: Event) -> None:
        await self.journal(owed=(owed(event, self.endpoint_id),))

    async def dispatched(self, event: Event) -> None:
        """Everything up to this event has been dispatched."""
        await self.journal(cursors=(Cursor(HOME, event.seq, event.created_at),))

    async def journal(self, **fields: Any) -> None:
        batch = JournalBatch(owner=self.owner, epochs=dict(self.epochs), **fields)
        assert (await self.world.store.journal(batch, now=0.0, lease_seconds=LEASE)).held

    async def replayed(self) -> list[Owed]:
        """The rows that replays have put in and nobody tried yet, in the order of their events."""
        rows = await self.world.database.fetch(
            "SELECT *, extract(epoch FROM due_at)::float8 AS due FROM delivery WHERE reason = 'replayed' ORDER BY seq"
        )
        return [
            Owed(
                partition=row["partition"],
                endpoint_id=row["endpoint_id"],
                event_id=row["event_id"],
                seq=row["seq"],
                number=row["number"],
                due_at=row["due"],
                reason=row["reason"],
                kind=DeliveryClass(row["kind"]),
                line=row["key_hash"],
                payload_bytes=row["payload_bytes"],
            )
            for row in rows
        ]

    async def deliver(self, rows: Iterable[Owed], events: dict[EventId, Event]) -> None:
        """The owner sends these, and journals it."""
        rows = list(rows)
        await self.journal(
            attempts=tuple(
                self._attempt(events[row.event_id], row.number, AttemptOutcome.DELIVERED, kind=row.kind) for row in rows
            ),
            settled=tuple((row.partition, row.endpoint_id, row.event_id) for row in rows),
        )

    def wanted(self, select: Select, **fields: Any) -> Wanted:
        now = time.time()
        made: dict[str, Any] = {
            "partition": HOME,
            "app_id": self.app_id,
            "endpoint_id": self.endpoint_id,
            "since": now - 3600,
            "until": now + 60,
        }
        return Wanted(select=select, **made | fields)

    async def ask(self, select: Select, *, live_max: int = 100, **fields: Any) -> Replay:
        replay = Replay(id=JobId(new_id()), wanted=self.wanted(select, **fields), state=ReplayState.PENDING)
        return await self.jobs.create(replay, AUDIT, live_max=live_max)

    async def now(self, replay: Replay) -> Replay:
        """As it is stored now."""
        found = await self.jobs.get(self.app_id, replay.id)
        assert found is not None
        return found
