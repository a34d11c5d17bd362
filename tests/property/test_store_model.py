"""PostgreSQL and the reference model, through the same random histories: what can be observed is the same."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, Final, TypeVar

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from msgspec.structs import replace
from tests.installed import installed
from tests.making import attempt, config, draft, new_app, new_endpoint, new_id, new_owner, owed
from tests.postgres import PostgresServer
from tests.world_steps import ALL_DUE
from tests.worlds import MemoryWorld, PostgresWorld, World

from posthouse.domain.delivery import (
    Attempt,
    AttemptOutcome,
    Cursor,
    DeliveryClass,
    Effect,
    EffectKind,
    Health,
    JournalBatch,
    Owed,
    OwedReason,
    Rollup,
)
from posthouse.domain.errors import PosthouseError
from posthouse.domain.event import Draft, Event
from posthouse.domain.ids import AttemptId
from posthouse.ports.log import AppendResult, AppMissing
from posthouse.ports.store import Claim, Want

T = TypeVar("T")

PARTITIONS: Final = 3
LEASE: Final = 3600.0
EXPIRED: Final = -1.0
LATER: Final = float(int(time.time())) + 1000.0  # after the installation, whose time the two do not share
MINUTE: Final = int(LATER // 60)

indexes = st.integers(0, 2)
leases = st.sampled_from([LEASE, LEASE, EXPIRED])
# What happens to a delivery in a journal batch.
fates = st.sampled_from(["delivered", "failed", "gave up", "owed", "in flight", "settled"])
changes = st.lists(
    st.tuples(st.integers(0, 30), indexes, fates, st.integers(0, 4)),
    unique_by=lambda change: change[:2],
    max_size=6,
)


class StoreMachine(RuleBasedStateMachine):
    """Three partitions, three apps in two of them, three endpoints, two owners."""

    def __init__(self, runner: asyncio.Runner, real: PostgresWorld) -> None:
        super().__init__()
        self.runner = runner
        self.model = MemoryWorld(partitions=PARTITIONS)
        self.real = real
        self.runner.run(real.clear())
        self.owners = [new_owner(), new_owner()]
        self.epochs: list[dict[int, int]] = [{}, {}]  # as each owner knows them: they may have been lost since
        self.batches: list[list[Draft]] = []
        self.journals: list[JournalBatch] = []
        self.events: list[Event] = []
        self.due = 0
        self.apps = [new_app() for _ in range(3)]
        self.endpoints = [new_endpoint() for _ in range(3)]
        for app_id, endpoint_id, partition in zip(self.apps, self.endpoints, (0, 1, 1), strict=True):
            self.both(lambda w, a=app_id, p=partition: w.put_app(a, partition=p, uid=f"uid {p}" if p == 0 else None))
            self.both(lambda w, e=endpoint_id, a=app_id: w.put_endpoint(e, a, config()))

    def both(self, call: Callable[..., Awaitable[T]]) -> list[T | type[PosthouseError]]:
        """What the model and PostgreSQL answer, or which error they raise."""

        async def ask(world: World) -> T | type[PosthouseError]:
            try:
                return await call(world)
            except PosthouseError as error:
                return type(error)

        return [self.runner.run(ask(world)) for world in (self.model, self.real)]

    def same(self, call: Callable[..., Awaitable[T]], view: Callable[[Any], object] = lambda answer: answer) -> T:
        """The same, which must not differ, as seen through `view`."""
        expected, found = self.both(call)
        assert view(found) == view(expected)
        return found  # type: ignore[return-value]

    # The log

    @rule(asked=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.booleans()), min_size=1, max_size=5))
    def publish(self, asked: list[tuple[int, int, bool]]) -> None:
        batch: dict[object, Draft] = {}
        for number, (app, key, named) in enumerate(asked):
            app_id = self.apps[app] if app < 3 else new_app()
            idempotency_key = f"key {key}" if key else None
            # Two drafts of one call never share a key of an app.
            batch[(app, key) if key else number] = draft(
                app_id,
                payload=bytes(key * 50),
                app_uid="uid 0" if named else None,
                idempotency_key=idempotency_key,
                fingerprint=new_id(),
            )
        self.batches.append(list(batch.values()))
        self.append(self.batches[-1])

    @precondition(lambda self: self.batches)
    @rule(data=st.data())
    def publish_again(self, data: st.DataObject) -> None:
        self.append(data.draw(st.sampled_from(self.batches)))

    def append(self, batch: list[Draft]) -> None:
        self.same(lambda w: w.log.append(batch), _without_times)
        self.events = [
            event for p in range(PARTITIONS) for event in self.runner.run(self.model.log.read(p, 0, since=None))
        ]

    # Ownership

    @rule(owner=st.integers(0, 1), limit=st.integers(1, 3), lease=leases, exclusive=st.booleans(), dead=st.booleans())
    def claim(self, owner: int, limit: int, lease: float, exclusive: bool, dead: bool) -> None:
        claims = self.same(
            lambda w: w.store.claim(
                self.owners[owner],
                limit=limit,
                lease_seconds=lease,
                exclusive=exclusive and limit == 3,
                dead=[self.owners[1 - owner]] if dead else [],
            ),
            _sorted_claims,
        )
        self.epochs[owner] |= {claim.partition: claim.epoch for claim in claims}

    @rule(owner=st.integers(0, 1), lease=leases)
    def renew(self, owner: int, lease: float) -> None:
        self.same(lambda w: w.store.renew(self.owners[owner], self.epochs[owner], lease_seconds=lease))

    @rule(owner=st.integers(0, 1), partition=indexes)
    def release(self, owner: int, partition: int) -> None:
        epochs = {p: epoch for p, epoch in self.epochs[owner].items() if p == partition}
        self.same(lambda w: w.store.release(self.owners[owner], epochs))

    # The journal

    @precondition(lambda self: self.events)
    @rule(owner=st.integers(0, 1), changes=changes, lease=leases)
    def journal(self, owner: int, changes: list[tuple[int, int, str, int]], lease: float) -> None:
        made = [self.fate(owner, *change) for change in changes]
        keys = [key for key, _, _ in made]
        if len(set(keys)) < len(keys):
            return
        attempts = tuple(a for _, a, _ in made if a is not None)
        rows = tuple(row for _, _, row in made if row is not None)
        settled = tuple(key for key, _, row in made if row is None)
        latest = {p: max((e.seq for e in self.events if e.partition == p), default=0) for p in range(PARTITIONS)}
        batch = JournalBatch(
            owner=self.owners[owner],
            epochs=dict(self.epochs[owner]),
            attempts=attempts,
            owed=rows,
            settled=settled,
            cursors=tuple(Cursor(p, max(0, latest[p] - len(made)), LATER + latest[p]) for p in range(PARTITIONS)),
            effects=tuple(_effect(a) for a in attempts if a.outcome is AttemptOutcome.GAVE_UP),
            health=tuple({a.endpoint_id: _health(a) for a in attempts}.values()),
            rollups=tuple({a.endpoint_id: _rollup(a) for a in attempts}.values()),
        )
        self.journals.append(batch)
        self.same(lambda w: w.store.journal(batch, lease_seconds=lease))

    @precondition(lambda self: self.journals)
    @rule(data=st.data(), again=st.booleans())
    def journal_again(self, data: st.DataObject, again: bool) -> None:
        batch = data.draw(st.sampled_from(self.journals))
        self.same(lambda w: w.store.journal(batch, lease_seconds=LEASE, again=again))

    def fate(
        self, owner: int, event_number: int, endpoint: int, fate: str, due: int
    ) -> tuple[tuple[int, Any, Any], Attempt | None, Owed | None]:
        event = self.events[event_number % len(self.events)]
        endpoint_id = self.endpoints[endpoint]
        self.due += 1  # no two rows are due at the same time: their order would be anybody's
        due_at = due * 100 + self.due / 1000
        row = owed(event, endpoint_id, due_at=due_at, number=due + 1)
        made = attempt(event, endpoint_id, started_at=LATER, number=due + 1)
        key = (event.partition, endpoint_id, event.id)
        match fate:
            case "delivered":
                return key, made, None
            case "failed":
                return key, replace(made, outcome=AttemptOutcome.FAILED, reason="http_status"), row
            case "gave up":
                return key, replace(made, outcome=AttemptOutcome.GAVE_UP, reason="exhausted", sent=due > 1), None
            case "owed":
                return key, None, replace(row, reason=OwedReason.LANE_FULL, kind=DeliveryClass.REPLAY)
            case "in flight":
                return key, None, replace(row, reason=OwedReason.IN_FLIGHT, sender=self.owners[owner])
            case _:
                return key, None, None

    @precondition(lambda self: self.rows())
    @rule(data=st.data(), owner=st.integers(0, 1), over=st.booleans(), number=st.integers(0, 3))
    def settle_late(self, data: st.DataObject, owner: int, over: bool, number: int) -> None:
        row = data.draw(st.sampled_from(self.rows()))
        event = next(event for event in self.events if event.id == row.event_id)
        made = attempt(event, row.endpoint_id, number=row.number if number else 9, started_at=LATER)
        retry = None if over else replace(row, number=row.number + 1, reason=OwedReason.FAILED, sender=None)
        self.same(lambda w: w.store.settle_late(made, retry, sender=self.owners[owner]))

    def rows(self) -> list[Owed]:
        return sorted(self.model.database.owed.values(), key=lambda row: row.due_at)

    @rule(owner=st.integers(0, 1), previous=st.integers(0, 1))
    def recover(self, owner: int, previous: int) -> None:
        # Alike due times would be in anybody's order, so those due at once are recovered only one at a time.
        running = [r for r in self.rows() if r.sender == self.owners[previous]]
        if len(running) > 1:
            return
        self.due += 1
        now = self.due / 1000
        self.same(
            lambda w: w.store.recover_in_flight(
                self.owners[owner], self.epochs[owner], previous=self.owners[previous], now=now
            )
        )

    # Configuration

    @rule(endpoint=indexes, url=indexes, enabled=st.booleans(), paused=st.booleans())
    def configure(self, endpoint: int, url: int, enabled: bool, paused: bool) -> None:
        changed = config(f"https://example.com/{url}")
        endpoint_id, app_id = self.endpoints[endpoint], self.apps[endpoint]
        self.same(lambda w: w.put_endpoint(endpoint_id, app_id, changed, enabled=enabled, paused=paused))

    @rule(endpoint=indexes, expires_at=st.sampled_from([None, LATER + 9000, LATER - 9000]))
    def add_secret(self, endpoint: int, expires_at: float | None) -> None:
        key = new_id()
        self.same(lambda w: w.put_secret(self.endpoints[endpoint], key, expires_at=expires_at))

    @precondition(lambda self: self.model.database.effects)
    @rule(data=st.data())
    def do_effect(self, data: st.DataObject) -> None:
        effect = self.model.database.effects[data.draw(st.sampled_from(sorted(self.model.database.effects)))]
        self.same(lambda w: w.store.disable_endpoint(effect))

    # What can be seen

    @rule(
        limits=st.lists(st.integers(1, 4), min_size=6, max_size=6),
        now=st.sampled_from([0.5, 150.0, 350.0, 1000.0]),
        bytes_max=st.sampled_from([1, 60, 200, 1 << 30]),
        held=st.sets(st.integers(0, 30), max_size=5),
    )
    def page(self, limits: list[int], now: float, bytes_max: int, held: set[int]) -> None:
        holding = tuple(event.id for n, event in enumerate(self.events) if n in held)
        lines = [(partition, endpoint_id) for partition in (0, 1) for endpoint_id in self.endpoints]
        wants = [Want(*line, limit, holding) for line, limit in zip(lines, limits, strict=True)]
        expected, found = self.both(lambda w: w.store.page(wants, now=now, bytes_max=bytes_max))
        assert isinstance(expected, list)
        assert isinstance(found, list)
        for exact, page in zip(expected, found, strict=True):
            assert [(row, _timeless(event)) for row, event in page.rows] == [
                (row, _timeless(event)) for row, event in exact.rows
            ]
            if exact.next_due is not None:  # it may be early, and never late
                assert page.next_due is not None
                assert page.next_due <= max(exact.next_due, now)

    @invariant()
    def nothing_differs(self) -> None:
        partitions = range(PARTITIONS)
        self.same(lambda w: w.log.heads(partitions))
        self.same(lambda w: w.store.owners())
        self.same(lambda w: w.attempts())
        self.same(lambda w: w.rollups())
        self.same(lambda w: w.store.apps(self.apps))
        self.same(lambda w: w.store.effects(partitions, limit=5))
        self.same(lambda w: w.store.owed_endpoints(partitions), sorted)
        self.same(lambda w: w.store.changed_apps(1, since_version=4), sorted)
        for p in (0, 1):
            self.same(lambda w, p=p: w.log.read(p, 0, since=None), lambda events: [_timeless(e) for e in events])
            self.same(lambda w, p=p: w.store.recorded(p, after=Cursor(p, 1, 0.0), until=6))
        wants = [Want(p, endpoint_id, 1000) for p in (0, 1) for endpoint_id in self.endpoints]
        self.same(
            lambda w: w.store.page(wants, now=ALL_DUE, bytes_max=1 << 40),
            lambda pages: [[row for row, _ in page.rows] for page in pages],
        )


def _timeless(event: Event | None) -> Event | None:
    """The two clocks are not the same one."""
    return None if event is None else replace(event, created_at=0.0)


def _without_times(answers: list[AppendResult]) -> list[AppendResult]:
    return [answer if isinstance(answer, AppMissing) else replace(answer, created_at=0.0) for answer in answers]


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


def _health(made: Attempt) -> Health:
    confirmed = made.outcome is AttemptOutcome.DELIVERED
    return Health(made.partition, made.endpoint_id, None if confirmed else LATER - made.number)


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


def test_postgres_is_what_the_model_is(postgres_server: PostgresServer) -> None:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        dsn = runner.run(postgres_server.fresh_database())
        postgres = runner.run(stack.enter_async_context(installed(dsn, partitions=PARTITIONS)))

        class Bound(StoreMachine):
            def __init__(self) -> None:
                super().__init__(runner, PostgresWorld(postgres))

        try:
            run_state_machine_as_test(
                Bound,
                settings=settings(
                    max_examples=60,
                    stateful_step_count=30,
                    derandomize=True,
                    database=None,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            runner.run(stack.aclose())
