"""PostgreSQL and the reference model, through the same random histories: what can be observed is the same.

A history is made by its seed: `pytest "…::test_histories[7]"` repeats one, and its steps are in the report.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from random import Random
from typing import Any, Final, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.examples import examples
from tests.installed import installed
from tests.making import attempt, config, draft, grant, new_app, new_endpoint, new_id, new_owner, owed
from tests.world_steps import ALL_DUE
from tests.worlds import MemoryWorld, PostgresWorld, World

from posthouse.domain.circuit import Health
from posthouse.domain.delivery import (
    Attempt,
    AttemptOutcome,
    Cursor,
    DeliveryClass,
    Effect,
    EffectKind,
    HealthTurn,
    JournalBatch,
    Owed,
    OwedReason,
    Rollup,
)
from posthouse.domain.errors import PosthouseError
from posthouse.domain.event import Draft, Event
from posthouse.domain.grant import Grant
from posthouse.domain.ids import AppId, AttemptId, EndpointId, EventId
from posthouse.ports.log import Announced, AppendResult, AppMissing, Placed
from posthouse.ports.store import Claim, Page, Want

T = TypeVar("T")

STEPS: Final = 80
PARTITIONS: Final = 3
HOMES: Final = (0, 1, 1)  # the partition of each app
LEASE: Final = 3600.0
SUBJECTS: Final = (None, "shop:1", "shop:1:x", "user:7")
EXPIRED: Final = -1.0
LATER: Final = float(int(time.time())) + 1000.0  # after the installation, whose time the two do not share
MINUTE: Final = int(LATER // 60)
FATES: Final = ("delivered", "failed", "gave up", "owed", "in flight", "settled")


class History:
    """Three partitions, three apps in two of them, two endpoints each, two owners, and steps drawn at random."""

    def __init__(self, rng: Random, real: PostgresWorld) -> None:
        self.rng = rng
        self.model = MemoryWorld(partitions=PARTITIONS)
        self.real = real
        self.owners = [new_owner(), new_owner()]
        self.epochs: list[dict[int, int]] = [{}, {}]  # as each owner knows them: they may have been lost since
        self.batches: list[list[Draft]] = []
        self.journals: list[JournalBatch] = []
        self.events: list[Event] = []
        self.due = 0
        self.apps = [new_app() for _ in range(3)]
        self.endpoints = {new_endpoint(): app_id for app_id in self.apps for _ in range(2)}
        self.grants: list[Grant] = []
        self.told: list[str] = []
        self.weights: dict[Callable[[], Awaitable[None]], int] = {
            self.publish: 6,
            self.publish_again: 2,
            self.claim: 3,
            self.renew: 1,
            self.release: 1,
            self.journal: 12,
            self.journal_again: 3,
            self.settle_late: 3,
            self.recover: 1,
            self.configure: 2,
            self.add_secret: 1,
            self.grant: 3,
            self.revoke: 2,
            self.hasten: 1,
            self.do_effect: 2,
            self.page: 5,
        }

    async def run(self) -> None:
        """The whole history; what differs fails, and is told with the steps that led to it."""
        for world in (self.model, self.real):
            for app_id, partition in zip(self.apps, HOMES, strict=True):
                await world.put_app(app_id, partition=partition, uid="uid" if partition == 0 else None)
            await world.make_private("secret")
            for endpoint_id, app_id in self.endpoints.items():
                await world.put_endpoint(endpoint_id, app_id, config())
        try:
            for _ in range(STEPS):
                (step,) = self.rng.choices(list(self.weights), list(self.weights.values()))
                self.told.append(step.__name__)
                await step()
                await self.nothing_differs()
            await self.last_cursors()
        except BaseException as error:
            error.add_note("after: " + "; ".join(self.told))
            raise

    async def both(self, call: Callable[[World], Awaitable[T]]) -> tuple[T | type[PosthouseError], ...]:
        """What the model and PostgreSQL answer, or which error they raise."""

        async def ask(world: World) -> T | type[PosthouseError]:
            try:
                return await call(world)
            except PosthouseError as error:
                return type(error)

        return await ask(self.model), await ask(self.real)

    async def same(
        self, call: Callable[[World], Awaitable[T]], view: Callable[[Any], object] = lambda answer: answer
    ) -> T | type[PosthouseError]:
        """The same, which must not differ, as seen through `view`."""
        expected, found = await self.both(call)
        if isinstance(expected, type) or isinstance(found, type):
            assert found == expected
        else:
            assert view(found) == view(expected)
        return found

    def owner(self) -> int:
        return self.rng.randrange(2)

    def lease(self) -> float:
        return self.rng.choice((LEASE, LEASE, LEASE, EXPIRED))

    # The log

    async def publish(self) -> None:
        batch: dict[object, Draft] = {}
        for number in range(self.rng.randint(1, 5)):
            app, key = self.rng.randrange(6), self.rng.randrange(4)
            app_id = self.apps[app] if app < 3 else new_app() if app == 3 else None
            # Two drafts of one call never share a key of an app.
            batch[(app_id, key) if key else number] = draft(
                app_id,
                payload=bytes(key * 50),
                app_uid="uid" if self.rng.random() < 0.3 and app_id is not None else None,
                type=self.rng.choice(("order.created", "order.paid", "secret")),
                subject=self.rng.choice(SUBJECTS),
                idempotency_key=f"key {key}" if key else None,
                fingerprint=new_id(),
            )
        self.batches.append(list(batch.values()))
        await self.append(self.batches[-1])

    async def publish_again(self) -> None:
        if self.batches:
            await self.append(self.rng.choice(self.batches))

    async def append(self, batch: list[Draft]) -> None:
        await self.same(lambda w: w.log.append(batch), _without_times)
        logs = [await self.model.log.read(partition, 0, since=None) for partition in range(PARTITIONS)]
        # An event for nobody has no deliveries; and its partition depends on its id, which chance must not.
        self.events = [event for log in logs for event in log if event.app_id is not None or event.audience]

    # Ownership

    async def claim(self) -> None:
        owner, limit, lease = self.owner(), self.rng.randint(1, 3), self.lease()
        dead = [self.owners[1 - owner]] if self.rng.random() < 0.3 else []
        exclusive = limit == 3 and self.rng.random() < 0.3
        claims = await self.same(
            lambda w: w.store.claim(
                self.owners[owner], limit=limit, lease_seconds=lease, exclusive=exclusive, dead=dead
            ),
            _sorted_claims,
        )
        assert isinstance(claims, list)
        self.epochs[owner] |= {claim.partition: claim.epoch for claim in claims}

    async def renew(self) -> None:
        owner, lease = self.owner(), self.lease()
        await self.same(lambda w: w.store.renew(self.owners[owner], self.epochs[owner], lease_seconds=lease))

    async def release(self) -> None:
        owner, partition = self.owner(), self.rng.randrange(PARTITIONS)
        epochs = {p: epoch for p, epoch in self.epochs[owner].items() if p == partition}
        await self.same(lambda w: w.store.release(self.owners[owner], epochs))

    # The journal

    async def journal(self) -> None:
        if not self.events:
            return
        owner, lease = self.owner(), self.lease()
        made = dict(self.fate(owner) for _ in range(self.rng.randint(0, 6)))
        attempts = tuple(a for a, _ in made.values() if a is not None)
        latest = {p: max((e.seq for e in self.events if e.partition == p), default=0) for p in range(PARTITIONS)}
        batch = JournalBatch(
            owner=self.owners[owner],
            epochs=dict(self.epochs[owner]),
            number=len(self.journals) + 1 if self.rng.random() < 0.7 else 0,
            attempts=attempts,
            owed=tuple(row for _, row in made.values() if row is not None),
            settled=tuple(key for key, (_, row) in made.items() if row is None),
            cursors=tuple(
                Cursor(p, max(0, seq - self.rng.randrange(4)), LATER + seq)
                for p, seq in latest.items()
                if self.rng.random() < 0.7
            ),
            effects=tuple(_effect(a) for a in attempts if a.outcome is AttemptOutcome.GAVE_UP),
            health=tuple({a.endpoint_id: _health(a) for a in attempts}.values()),
            rollups=tuple({(a.endpoint_id, a.partition): _rollup(a) for a in attempts}.values()),
        )
        self.journals.append(batch)
        self.told[-1] += f" {len(attempts)}+{len(made) - len(attempts)}"
        await self.same(lambda w: w.store.journal(batch, now=0.0, lease_seconds=lease))

    async def journal_again(self) -> None:
        if self.journals:
            batch = self.rng.choice(self.journals[-4:])
            await self.same(lambda w: w.store.journal(batch, now=0.0, lease_seconds=LEASE))

    def fate(self, owner: int) -> tuple[tuple[int, EndpointId, EventId], tuple[Attempt | None, Owed | None]]:
        """What becomes of some delivery: its key, the attempt that was made, and what remains owed."""
        event = self.rng.choice(self.events[-12:])
        apps = event.audience or [event.app_id]
        endpoint_id = self.rng.choice([e for e, app_id in self.endpoints.items() if app_id in apps])
        number = self.rng.randint(1, 5)
        self.due += 1  # no two rows are due at the same time: their order would be anybody's
        row = owed(event, endpoint_id, due_at=number * 100 + self.due / 1000, number=number)
        made = attempt(event, endpoint_id, started_at=LATER, number=number, app_id=self.endpoints[endpoint_id])
        key = (event.partition, endpoint_id, event.id)
        match self.rng.choice(FATES):
            case "delivered":
                return key, (made, None)
            case "failed":
                return key, (replace(made, outcome=AttemptOutcome.FAILED, reason="http_status"), row)
            case "gave up":
                return key, (replace(made, outcome=AttemptOutcome.GAVE_UP, reason="expired", sent=number > 1), None)
            case "owed":
                return key, (None, replace(row, reason=OwedReason.LANE_FULL, kind=DeliveryClass.REPLAY))
            case "in flight":
                return key, (None, replace(row, reason=OwedReason.IN_FLIGHT, sender=self.owners[owner]))
            case _:
                return key, (None, None)

    def rows(self) -> list[Owed]:
        return sorted(self.model.database.owed.values(), key=lambda row: row.due_at)

    async def settle_late(self) -> None:
        running = [row for row in self.rows() if row.sender is not None] or self.rows()
        if not running:
            return
        row = self.rng.choice(running)
        event = next(e for e in self.events if (e.id, e.partition) == (row.event_id, row.partition))
        sender = row.sender if row.sender is not None and self.rng.random() < 0.8 else self.owners[0]
        number = row.number if self.rng.random() < 0.7 else row.number + 1
        app_id = self.endpoints[row.endpoint_id]
        made = attempt(event, row.endpoint_id, number=number, started_at=LATER, app_id=app_id)
        retry = replace(row, number=row.number + 1, reason=OwedReason.FAILED, sender=None)
        left = retry if self.rng.random() < 0.5 else None
        await self.same(lambda w: w.store.settle_late([(made, left, ())], sender=sender, now=0.0))

    async def recover(self) -> None:
        owner, previous = self.owner(), self.owner()
        running = [row for row in self.rows() if row.sender == self.owners[previous]]
        if len(running) > 1:
            return  # they would all be due at the same time
        self.due += 1
        now = self.due / 1000
        await self.same(
            lambda w: w.store.recover_in_flight(
                self.owners[owner], self.epochs[owner], previous=self.owners[previous], now=now
            )
        )

    # Configuration

    async def configure(self) -> None:
        endpoint_id, app_id = self.rng.choice(list(self.endpoints.items()))
        changed = config(f"https://example.com/{self.rng.randrange(3)}")
        enabled, paused = self.rng.random() < 0.5, self.rng.random() < 0.5
        await self.same(lambda w: w.put_endpoint(endpoint_id, app_id, changed, enabled=enabled, paused=paused))

    async def add_secret(self) -> None:
        endpoint_id, key = self.rng.choice(list(self.endpoints)), new_id()
        expires_at = self.rng.choice((None, LATER + 9000, LATER - 9000))
        await self.same(lambda w: w.put_secret(endpoint_id, key, expires_at=expires_at))

    async def grant(self) -> None:
        made = grant(
            self.rng.choice(self.apps),
            self.rng.choice(("*", "order.*", "order.paid secret")),
            self.rng.choice(("*", "shop:*", "shop:1 shop:2", "shop:1:*")),
            expires_at=self.rng.choice((None, None, LATER + 9000, LATER - 9000)),
        )
        self.grants.append(made)
        await self.same(lambda w: w.put_grant(made))

    async def revoke(self) -> None:
        if self.grants:
            gone = self.grants.pop(self.rng.randrange(len(self.grants)))
            await self.same(lambda w: w.remove_grant(gone))

    async def hasten(self) -> None:
        owner, partition = self.owner(), self.rng.randrange(2)
        endpoint_id, app_id = self.rng.choice(list(self.endpoints.items()))
        epoch = self.epochs[owner].get(partition, 0)
        rows = [row for row in self.rows() if row.endpoint_id == endpoint_id]
        if len(rows) > 1:
            return  # they would all be due at the same time
        self.due += 1
        now = self.due / 1000
        await self.same(
            lambda w: w.store.hasten_revoked(self.owners[owner], epoch, partition, app_id, endpoint_id, now=now)
        )

    async def do_effect(self) -> None:
        effects = self.model.database.effects
        if effects:
            effect = effects[self.rng.choice(sorted(effects))]
            await self.same(lambda w: w.store.disable_endpoint(effect))

    # What can be seen

    async def page(self) -> None:
        now = self.rng.choice((50.0, 150.0, 350.0, 1000.0))
        bytes_max = self.rng.choice((1, 60, 200, 1 << 30))
        wants = [
            Want(
                partition,
                endpoint_id,
                self.rng.randint(1, 4),
                tuple(event.id for event in self.events if self.rng.random() < 0.1),
            )
            for partition in (0, 1)
            for endpoint_id in self.endpoints
        ]
        expected, found = await self.both(lambda w: w.store.page(wants, now=now, bytes_max=bytes_max))
        assert isinstance(expected, list)
        assert isinstance(found, list)
        for exact, page in zip(expected, found, strict=True):
            assert _rows(page) == _rows(exact)
            if exact.next_due is not None:  # it may be early, and never late
                assert page.next_due is not None
                assert page.next_due <= max(exact.next_due, now)

    async def nothing_differs(self) -> None:
        partitions = range(PARTITIONS)
        await self.same(lambda w: w.log.heads(partitions))
        await self.same(lambda w: w.store.processes())
        await self.same(lambda w: w.attempts())
        await self.same(lambda w: w.rollups())
        await self.same(lambda w: w.store.apps(self.apps))
        await self.same(lambda w: w.store.effects(partitions, limit=5))
        await self.same(lambda w: w.store.owed_endpoints(partitions), sorted)
        await self.same(lambda w: w.store.changed_apps(1, since_version=4), lambda found: (found[0], sorted(found[1])))
        await self.same(lambda w: w.store.newest_attempt(partitions))
        for app_id in self.apps:
            for subject in SUBJECTS:
                await self.same(partial(self.covered, app_id, subject))
        for partition in (0, 1):
            await self.see(partition)
        wants = [Want(p, endpoint_id, 1000) for p in (0, 1) for endpoint_id in self.endpoints]
        await self.same(
            lambda w: w.store.page(wants, now=ALL_DUE, bytes_max=1 << 40), lambda pages: [_rows(p) for p in pages]
        )

    async def covered(self, app_id: AppId, subject: str | None, world: World) -> bool:
        return await world.store.covered(app_id, "order.paid", subject)

    async def see(self, partition: int) -> None:
        await self.same(
            lambda w: w.log.read(partition, 0, since=None), lambda events: [_timeless(event) for event in events]
        )
        await self.same(lambda w: w.store.recorded(partition, after=Cursor(partition, 1, 0.0), until=12))

    async def last_cursors(self) -> None:
        await self.same(
            lambda w: w.store.claim(new_owner(), limit=PARTITIONS, lease_seconds=LEASE, exclusive=True),
            _sorted_claims,
        )


def _rows(page: Page) -> list[tuple[Owed, Event | None]]:
    return [(row, _timeless(event)) for row, event in page.rows]


def _timeless(event: Event | None) -> Event | None:
    """The two clocks are not the same one."""
    if event is None:
        return None
    version = event.config_version if event.app_id is not None or event.audience else 0
    return replace(event, created_at=0.0, config_version=version)


def _without_times(answers: list[AppendResult]) -> list[AppendResult]:
    # Nor do the two count configuration from the same version where an event is for nobody.
    timed = [answer if isinstance(answer, AppMissing) else replace(answer, created_at=0.0) for answer in answers]
    return [replace(a, places=tuple(map(_unversioned, a.places))) if isinstance(a, Announced) else a for a in timed]


def _unversioned(place: Placed) -> Placed:
    return place if place.audience else replace(place, config_version=0)


def _sorted_claims(claims: list[Claim]) -> list[Claim]:
    claims = sorted(claims, key=lambda claim: claim.partition)
    return [c if c.cursor.seq else replace(c, cursor=replace(c.cursor, at=0.0)) for c in claims]


def _effect(made: Attempt) -> Effect:
    return Effect(
        id=AttemptId(made.id),
        partition=made.partition,
        endpoint_id=made.endpoint_id,
        kind=EffectKind.DISABLE_ENDPOINT,
        reason=made.reason,
    )


def _health(made: Attempt) -> HealthTurn:
    confirmed = made.outcome is AttemptOutcome.DELIVERED
    return HealthTurn(made.partition, made.endpoint_id, Health(None if confirmed else LATER - made.number))


def _rollup(made: Attempt) -> Rollup:
    return Rollup(
        partition=made.partition,
        minute=MINUTE + made.number % 2,
        app_id=made.app_id,
        endpoint_id=made.endpoint_id,
        delivered=int(made.outcome is AttemptOutcome.DELIVERED),
        failed=int(made.outcome is AttemptOutcome.FAILED),
        gave_up=int(made.outcome is AttemptOutcome.GAVE_UP),
        total_us=made.number,
    )


@pytest.fixture
async def real(database: str) -> AsyncIterator[PostgresWorld]:
    async with installed(database, partitions=PARTITIONS) as postgres:
        yield PostgresWorld(postgres)


@pytest.mark.parametrize("seed", range(examples(8)))
async def test_histories(real: PostgresWorld, seed: int) -> None:
    await History(Random(seed), real).run()


@settings(max_examples=examples(2), deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(chance=st.randoms(use_true_random=False))
async def test_histories_that_shrink(real: PostgresWorld, chance: Random) -> None:
    """The same, drawn by hypothesis: what it finds it makes as short as it can."""
    await real.clear()
    await History(chance, real).run()
