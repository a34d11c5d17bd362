"""The world of a history: a database, processes, apps with endpoints, clients that publish and operators that change things."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Final, NamedTuple

from msgspec.structs import replace
from tests.fakes import EPOCH
from tests.simulation.checker import Checker
from tests.simulation.faults import Network, Statement, Weather, statement
from tests.simulation.filtering import FILTERED, FILTERING_SECONDS, NO_RULE, Rule
from tests.simulation.memory import BYTES_MAX, SOCKETS_MAX
from tests.simulation.process import Process
from tests.simulation.scheduler import elsewhere, heard
from tests.simulation.targets import Targets

from posthouse.adapters.memory import MemoryDatabase, MemoryStore
from posthouse.domain.delivery import Attempt, DeliveryClass, DeliveryKey, Owed, OwedReason
from posthouse.domain.endpoint import Batch, EndpointConfig, Format, OnExhausted, Ordering, RateLimit
from posthouse.domain.errors import PosthouseError
from posthouse.domain.event import Draft, Event
from posthouse.domain.filters import OnFilterError
from posthouse.domain.grant import Grant
from posthouse.domain.ids import AppId, EndpointId, EventId, GrantId, uuid7
from posthouse.domain.limits import IN_FLIGHT_BYTES_MAX as BYTES_MAX_USUAL
from posthouse.domain.limits import SOCKETS_MAX as SOCKETS_MAX_USUAL
from posthouse.domain.operations import OPERATIONS_APP
from posthouse.domain.order import line_of
from posthouse.domain.platform_routes import PLATFORM_APP, PLATFORM_UID
from posthouse.domain.retry import RetrySettings
from posthouse.lane.budget import Budget
from posthouse.ports.log import Announced, Appended, AppendResult, Repeated

PARTITIONS: Final = 3
APPS: Final = 4
ENDPOINTS: Final = 2
ROUTED: Final = 0.3  # of histories have a platform route
NEW_ENDPOINTS_MAX: Final = 3
DELETED_MAX: Final = 2
CONCURRENCY_MAX: Final = (3, 6)
PATIENCE_SECONDS: Final = 20.0  # of a client
ORDERINGS: Final = (Ordering.NONE, Ordering.KEY, Ordering.ENDPOINT)
RETRY: Final = RetrySettings(schedule=(1.0,) * 100)
IMPATIENT: Final = RetrySettings(schedule=(0.5, 1.0))
TYPES: Final = ("order.created", "order.paid")
SUBJECTS: Final = (None, "shop:1", "shop:2")
KEYS: Final = (None, "a", "b", "c")
FILTERS: Final = ((), (), (), ("order.*",), ("order.paid",))
OWED_CAP: Final = 15


class Flow(NamedTuple):
    """How an endpoint is served, for a whole history."""

    ordering: Ordering
    rate_limit: RateLimit | None
    batch: Batch | None
    format: Format
    fallback: bool
    exhausts: OnExhausted | None  # None: it has more attempts than any history needs

    @classmethod
    def drawn(cls, draw: random.Random, ordering: Ordering) -> Flow:
        return cls(
            ordering,
            draw.choice((None, None, None, RateLimit(20.0, 1), RateLimit(4.0, 5), RateLimit(0.7))),
            draw.choice((None, None, Batch(3, 2_000, 300), Batch(100, 700, 50))),
            draw.choice((Format.JSON, Format.CLOUDEVENTS)),
            draw.random() < 0.4,
            draw.choice((None, OnExhausted.SKIP, OnExhausted.BLOCK)),
        )


PLAIN: Final = Flow(Ordering.NONE, None, None, Format.JSON, fallback=False, exhausts=None)


class World:
    """Everything that there is. `limits` are those that hold in this history; `canaries` are endpoints that are always well."""

    def __init__(self, seed: int, weather: Weather, *, small_budget: bool, slow_limits: bool) -> None:
        self.random = random.Random(seed)
        self.weather = weather
        self.network = Network(random.Random(seed + 1), weather)
        self.database = MemoryDatabase(clock=self.clock, partitions=PARTITIONS, hook=self.network.hook)
        self.database.lives = lambda owner: owner in self.sessions()
        self.checker = Checker(self, self.database)
        self.targets = Targets(self)
        self.network.committed = self.checker.committed
        self.network.changes = lambda: self.checker.audience.changes
        self.processes: list[Process] = []
        # Where bytes are short, too, sockets never are.
        self.budget = (SOCKETS_MAX, self.random.choice((BYTES_MAX, BYTES_MAX_USUAL))) if small_budget else None
        self.sockets_max = SOCKETS_MAX if small_budget else SOCKETS_MAX_USUAL
        self.owed_max = OWED_CAP if self.random.random() < 0.1 else 1_000_000
        self.canary_seconds = 75.0 if slow_limits else 6.0
        self.concurrency_max = self.random.choice(CONCURRENCY_MAX)
        # By statement: told as it is about to be asked.
        self.asked: defaultdict[str, list[Callable[[Process, Sequence[Any]], None]]] = defaultdict(list)
        self.disturbed = 0.0
        self.keys: dict[EventId, tuple[AppId | None, str]] = {}
        self.published = 0
        self.resent: Counter[DeliveryKey] = Counter()
        self.cancelled: set[DeliveryKey] = set()
        self.endpoints: dict[str, EndpointId] = {}  # by path
        self.flows: dict[EndpointId, Flow] = {}
        self.canaries: set[EndpointId] = set()
        self.revisions: Counter[EndpointId] = Counter()
        self.filters: dict[EndpointId, tuple[str, ...]] = {}
        self.ruling = random.Random(seed + 6)  # draws of their own: the other histories stay as they were
        self.filtered = self.ruling.random() < FILTERED
        self.rules: dict[EndpointId, Rule] = {}
        self.filtering_seconds = FILTERING_SECONDS  # at most, of a filter that is not slow
        self.connecting: dict[EndpointId, float] = {}  # so many seconds it takes to get the next connection
        self.deleted: set[EndpointId] = set()
        self.grants: list[tuple[Grant, float]] = []  # every one that there was, and when it ended or will
        self.busying = random.Random(seed + 10)
        self.routed = random.Random(seed + 8).random() < ROUTED
        self.apps = [AppId(uuid7(5, a + 1)) for a in range(APPS + self.routed)]  # with routes, the last has no endpoint

    # What time it is, who is there

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def clock(self) -> float:
        """The database's."""
        try:
            return EPOCH + self.now()
        except RuntimeError:  # before the beginning
            return EPOCH

    def alive(self) -> list[Process]:
        return [process for process in self.processes if not process.dead]

    def serving(self) -> list[Process]:
        """Those that a client may find."""
        return [process for process in self.alive() if not process.stopped]

    def process(self, owner: bytes | None) -> Process | None:
        return next((process for process in self.processes if process.owner == owner), None)

    def sessions(self) -> set[bytes]:
        """Whom the database has a session of: one that is stopped, too."""
        return {process.owner for process in self.alive() if not process.session_lost}

    def owner_of(self, endpoint_id: EndpointId) -> bytes | None:
        return self.database.partitions[self.database.apps[self.database.endpoints[endpoint_id].app_id].partition].owner

    def connecting_seconds(self, endpoint_id: EndpointId) -> float:
        """How long it takes to get a connection: now and then longer than a lease has left."""
        if self.network.trouble and endpoint_id in self.connecting:
            return self.connecting.pop(endpoint_id)
        long = self.network.trouble and endpoint_id not in self.canaries and self.random.random() < self.weather.slow
        return self.random.random() * (4.0 if long else 0.01)

    def disturbed_at(self) -> float:
        """When anything last went wrong for anybody."""
        return max(self.disturbed, *(process.disturbed_at for process in self.processes))

    def wake(self, partitions: list[int], sender: Process) -> None:
        """The notice that follows a publish: to whoever owns the partitions, a moment later, if it is not lost."""
        if partitions and self.random.random() >= self.weather.deaf:
            for process in self.alive():
                if process is not sender:
                    process.run(self._nudged(process, partitions))

    async def _nudged(self, process: Process, partitions: list[int]) -> None:
        await asyncio.sleep(self.random.random() * self.weather.latency)
        process.engine.tails.nudge(partitions)

    def begin(self) -> None:
        """One more process."""
        budget = None if self.budget is None else Budget(sockets_max=self.budget[0], bytes_max=self.budget[1])
        process = Process(self, len(self.processes) + 1, budget=budget, owed_max=self.owed_max)
        self.processes.append(process)
        process.run(process.begin())

    # Configuration

    def install(self) -> None:
        self.database.put_app(OPERATIONS_APP, partition=0, uid="operations")
        self._make(OPERATIONS_APP, 0, PLAIN)
        if self.routed:
            self.database.put_app(PLATFORM_APP, partition=0, uid=PLATFORM_UID)
            self._make(PLATFORM_APP, 99, PLAIN)
        for a, app_id in enumerate(self.apps):
            self.database.put_app(app_id, partition=a % PARTITIONS)
            for e in range(ENDPOINTS if a < APPS else 0):
                self._make(app_id, a * 100 + e + 1, Flow.drawn(self.random, ORDERINGS[(a + e) % len(ORDERINGS)]))
            if a < PARTITIONS:
                self.canaries.add(self._make(app_id, a * 100 + 50, PLAIN))
            self.grant(app_id)

    def _make(self, app_id: AppId, number: int, flow: Flow) -> EndpointId:
        endpoint_id = EndpointId(uuid7(6, number))
        self.targets.moods[endpoint_id] = self.targets.second_moods[endpoint_id] = "good"
        self.flows[endpoint_id] = flow
        self.filters[endpoint_id] = ()
        if flow is not PLAIN and self.filtered:
            self.rules[endpoint_id] = Rule.drawn(self.ruling)
        self.configure(endpoint_id, app_id)
        return endpoint_id

    def make(self, app_id: AppId, flow: Flow) -> EndpointId:
        """Somebody makes another endpoint."""
        return self._make(app_id, 1_000 + len(self.flows), flow)

    def changeable(self) -> list[EndpointId]:
        """Endpoints that may have to bear something."""
        return sorted(e for e in self.flows if self.flows[e] is not PLAIN and e not in self.deleted)

    def configure(self, endpoint_id: EndpointId, app_id: AppId, *, enabled: bool = True, paused: bool = False) -> None:
        """Give an endpoint another revision."""
        self.revisions[endpoint_id] += 1
        path = f"/{endpoint_id.hex()}/{self.revisions[endpoint_id]}"
        self.endpoints[path] = self.endpoints[f"{path}/second"] = endpoint_id
        flow = self.flows[endpoint_id]
        rule = self.rules.get(endpoint_id, NO_RULE)
        config = EndpointConfig(
            url=f"https://example.com{path}",
            events=self.filters[endpoint_id],
            filter=rule.filter,
            filters=rule.filters,
            on_filter_error=rule.on_error,
            by_app=rule.by_app,
            retry=RETRY if flow.exhausts is None else IMPATIENT,
            concurrency=self.random.randint(self.concurrency_max - 1, self.concurrency_max),
            ordering=flow.ordering,
            rate_limit=flow.rate_limit,
            batch=flow.batch if self.random.random() < 0.8 else None,
            format=flow.format,
            fallback_urls=(f"https://example.com{path}/second",) if flow.fallback else (),
            on_exhausted=flow.exhausts or OnExhausted.SKIP,
        )
        state = self.database.endpoints.get(endpoint_id)
        if enabled and state is not None and not state.enabled:
            self.targets.forgiven(endpoint_id)
        self.database.put_endpoint(endpoint_id, app_id, config, enabled=enabled, paused=paused)
        if enabled and not paused:
            self.checker.changed_at.pop(endpoint_id, None)
        else:
            self.checker.changed_at.setdefault(endpoint_id, self.now())
        self.checker.audience.endpoint_changed(endpoint_id)

    def hasten(self, endpoint_id: EndpointId) -> bool:
        """A slow rate would make the end of a history long and dull. Whether it had one."""
        flow = self.flows[endpoint_id]
        if flow.rate_limit is None or flow.rate_limit.per_second >= 20.0:
            return False
        self.flows[endpoint_id] = flow._replace(rate_limit=RateLimit(20.0, 5))
        self.targets.count_anew(endpoint_id)
        return True

    def reconfigure(self) -> None:
        """Somebody changes, pauses, disables, deletes or makes an endpoint."""
        draw = self.random
        endpoint_id = draw.choice(self.changeable())
        app_id = self.database.endpoints[endpoint_id].app_id
        what = draw.random()
        if what < 0.1:
            self.delete(endpoint_id)
        elif what < 0.25 and len(self.flows) < APPS * ENDPOINTS + PARTITIONS + 1 + NEW_ENDPOINTS_MAX:
            app_id = draw.choice(self.apps)
            self.make(app_id, Flow.drawn(draw, draw.choice(ORDERINGS)))
        else:
            if draw.random() < 0.3:
                self.filters[endpoint_id] = draw.choice(FILTERS)
            if self.filtered and self.ruling.random() < 0.3:
                self.rules[endpoint_id] = Rule.drawn(self.ruling)
            self.configure(endpoint_id, app_id, enabled=draw.random() < 0.9, paused=draw.random() < 0.4)

    def delete(self, endpoint_id: EndpointId) -> None:
        if len(self.deleted) < DELETED_MAX and endpoint_id not in self.deleted:
            self.deleted.add(endpoint_id)
            self.database.delete_endpoint(endpoint_id)
            self.checker.changed_at.setdefault(endpoint_id, self.now())
            self.checker.audience.endpoint_changed(endpoint_id)

    def deleted_soon(self, endpoint_ids: Collection[EndpointId]) -> None:
        """One of these may be deleted in a moment, as something is written of it."""
        draw = self.random
        found = sorted(set(endpoint_ids).intersection(self.changeable()))
        if found and self.network.trouble and draw.random() < self.weather.configure / 30:
            elsewhere(self._delete_in(draw.random(), draw.choice(found)))

    async def _delete_in(self, seconds: float, endpoint_id: EndpointId) -> None:
        await asyncio.sleep(seconds)
        self.delete(endpoint_id)

    def grant(self, app_id: AppId) -> None:
        """An app may have something of what is published for the platform, perhaps for a while."""
        draw = self.random
        expires_at = self.clock() + draw.random() * 20 if draw.random() < 0.2 else None
        grant = Grant(
            id=GrantId(uuid7(8, len(self.grants) + 1)),
            app_id=app_id,
            types=draw.choice((("*",), ("order.created",), ("order.*",))),
            subjects=draw.choice((("*",), ("shop:1",), ("shop:*",))),
            expires_at=expires_at,
        )
        self.database.put_grant(grant)
        if expires_at is not None:
            self.database.bump_config(app_id)
        self.grants.append((grant, expires_at or float("inf")))
        self.checker.audience.grants_changed()

    def revoke(self) -> None:
        live = [n for n, (grant, _) in enumerate(self.grants) if grant.id in self.database.grants]
        if live:
            n = self.random.choice(live)
            grant, ends_at = self.grants[n]
            self.grants[n] = (grant, min(ends_at, self.clock()))
            self.database.remove_grant(grant.id)
            self.checker.audience.grants_changed()

    def lost_grant_at(self, app_id: AppId, event: Event) -> float | None:
        """When (unix seconds) an app last lost a grant that covered an event; None: it never did."""
        ends = [
            ends_at
            for grant, ends_at in self.grants
            if grant.app_id == app_id and ends_at <= self.clock() and grant.covers(event.type, event.subject, now=0.0)
        ]
        return max(ends, default=None)

    def may_give_up(self, attempt: Attempt) -> bool:
        """Whether a live delivery may end without having been made."""
        event = self.database.partitions[attempt.partition].events[attempt.seq]
        flow = self.flows[attempt.endpoint_id]
        match attempt.reason:
            case "expired":
                soon = self.clock() + self.weather.skew
                return self.owed_max == OWED_CAP or (event.expires_at is not None and event.expires_at <= soon)
            case "cancelled":
                return attempt.endpoint_id in self.deleted or attempt.key in self.cancelled
            case "filter_failed":
                return (attempt.key, OnFilterError.SKIP) in self.checker.defaulted
            case "revoked":
                return event.app_id is None and self.lost_grant_at(attempt.app_id, event) is not None
            case _:
                return attempt.sent and (attempt.status == 410 or (flow.exhausts is not None and attempt.number == 3))

    # Clients

    async def publish(
        self,
        app_id: AppId | None,
        count: int,
        *,
        types: Sequence[str] = TYPES,
        keys: Sequence[str | None] = KEYS,
    ) -> None:
        """Publish, for an app or for the platform; with an idempotency key, until it is known to be published."""
        draw = self.random
        self.published += 1
        key = f"key {self.published}" if draw.random() < 0.3 else None
        drafts = [
            Draft(
                id=EventId(bytes(16)),
                app_id=app_id,
                type=draw.choice(types),
                payload=b"{}",
                subject=draw.choice(SUBJECTS),
                key=draw.choice(keys),
                expires_at=self.clock() + draw.random() * 20 if draw.random() < 0.05 else None,
                idempotency_key=None if key is None else f"{key}.{n}",
            )
            for n in range(count)
        ]
        for _ in range(4 if key else 1):
            process = draw.choice(self.serving())
            sent = [replace(draft, id=EventId(process.clock.new_id())) for draft in drafts]
            self.keys |= {d.id: (app_id, d.idempotency_key) for d in sent if d.idempotency_key is not None}
            partition = 0 if app_id is None else self.database.apps[app_id].partition
            asked = process.run(process.publisher.submit(partition, sent))
            asked.add_done_callback(heard)
            hangs_up = draw.random() < 0.1
            await asyncio.wait({asked}, timeout=draw.random() * 0.05 if hangs_up else PATIENCE_SECONDS)
            if hangs_up and not asked.done():
                asked.cancel()
            if not asked.done() or asked.cancelled() or asked.exception() is not None:
                if asked.done() and not isinstance(asked.exception(), PosthouseError | None):
                    self.checker.wrong(f"publishing failed with {asked.exception()!r}")
                continue
            self._answered(sent, asked.result())
            return

    def _answered(self, drafts: Sequence[Draft], results: Sequence[AppendResult]) -> None:
        """A client has its answers, one for each event, in order."""
        if len(results) != len(drafts):
            self.checker.wrong(f"{len(drafts)} events have {len(results)} answers")
        for draft, result in zip(drafts, results, strict=False):
            match result:
                case Appended():
                    if (result.partition, result.seq) not in self.database.positions.get(draft.id, ()):
                        self.checker.wrong("an event is not where its answer says")
                    self.checker.accepts(draft.id)
                case Announced():
                    self.checker.accepts(draft.id)
                case Repeated():
                    if self.keys.get(result.event_id) != (draft.app_id, draft.idempotency_key):
                        self.checker.wrong("an idempotency key is answered with another's event")
                    self.checker.accepts(result.event_id)
                case _:
                    self.checker.wrong("an app that is there is said not to be")

    # Operators

    def operate(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Somebody writes to the database beside the engine."""

        async def run() -> None:
            now = Statement(name, None, {}, ((), {}), self.checker.audience.changes, self.now())
            statement.set(now)
            await work()

        elsewhere(run())

    def resend(self) -> None:
        """As the API does: a row for something that was settled, below the cursor."""
        settled = [k for k in self.checker.confirmed if k[0] not in self.deleted and k[1] in self.database.positions]
        if settled:
            self.resend_of(*self.random.choice(settled))

    def resend_of(self, endpoint_id: EndpointId, event_id: EventId) -> None:
        self.operate("resend", lambda: self._resend(endpoint_id, event_id))

    async def _resend(self, endpoint_id: EndpointId, event_id: EventId) -> None:
        home = self.database.apps[self.database.endpoints[endpoint_id].app_id].partition
        for partition, seq in self.database.positions[event_id]:
            if partition == home:
                event = self.database.partitions[partition].events[seq]
                row = Owed(
                    partition=partition,
                    endpoint_id=endpoint_id,
                    event_id=event_id,
                    seq=seq,
                    number=1,
                    due_at=self.clock(),
                    reason=OwedReason.RESENT,
                    kind=DeliveryClass.REPLAY,
                    line=line_of(self.flows[endpoint_id].ordering, event.key, DeliveryClass.REPLAY),
                )
                await self._owe(row)

    async def _owe(self, row: Owed) -> None:
        """What is owed already is due now, unless others of its line come first."""
        database, key = self.database, (row.partition, row.endpoint_id, row.event_id)
        async with database.transaction("resend") as transaction:
            await transaction.lock_rows([row.partition])
            above = row.seq > database.partitions[row.partition].cursor
            await transaction.commits()
            if above or (row.kind is DeliveryClass.LIVE and key not in database.owed):
                return
            before = database.owed.get(key, row)
            if before.kind is DeliveryClass.REPLAY:
                self.resent[row.key] += before is row
            if before.reason is not OwedReason.IN_FLIGHT:
                reason = OwedReason.RESENT if before.reason is OwedReason.BLOCKED else before.reason
                before = replace(before, due_at=min(before.due_at, self.clock()), reason=reason)
            database.owed[key] = before
            if before.line:
                MemoryStore(database).order([(before.partition, before.endpoint_id, before.line)], self.clock())
            database.poke(before.partition)

    def release_blocked(self) -> None:
        """An operator sends again what its line stands for."""
        for row in list(self.database.owed.values()):
            if row.reason is OwedReason.BLOCKED:
                self.operate("resend", lambda row=row: self._owe(row))  # type: ignore[misc]

    def cancel(self) -> None:
        """As the API does: one owed delivery is given up."""
        rows = [row for row in self.database.owed.values() if row.kind is DeliveryClass.LIVE]
        if rows:
            held = [
                row for row in rows if any(row.event_id in p.engine.backlog.held(row.endpoint_id) for p in self.alive())
            ]
            row = self.random.choice(held if held and self.random.random() < 0.7 else rows)
            self.cancel_of(row)

    def cancel_of(self, row: Owed) -> None:
        self.operate("cancel", lambda: self._cancel(row))

    async def _cancel(self, row: Owed) -> None:
        database, key = self.database, (row.partition, row.endpoint_id, row.event_id)
        async with database.transaction("cancel") as transaction:
            await transaction.lock_rows([row.partition])
            await transaction.commits()
            now = database.owed.get(key)
            if now is None or now.reason is OwedReason.IN_FLIGHT:
                return
            self.cancelled.add(row.key)
            database.give_up(now, now=self.clock(), reason="cancelled")
            if row.line:
                MemoryStore(database).order([(row.partition, row.endpoint_id, row.line)], self.clock())
            database.poke(row.partition)
