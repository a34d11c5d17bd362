"""Several processes on one store, in virtual time, with everything going wrong at random: the invariants hold.

Each seed is one history: processes are killed, taken for dead while they live, and restarted; the store fails before and
after its commits; targets hang, fail, ask for time, refuse parts of a batch and recover; endpoints are paused, changed and
deleted. Each endpoint has a pace, an order, batches, a second URL and a patience of its own, by chance. Then all is mended,
and what was accepted has arrived (or was given up where it may be), within the bounds that the design gives for repeats.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import math
import os
import random
from collections import Counter, defaultdict
from collections.abc import Collection, Coroutine
from typing import Any, Final, NamedTuple

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs
from tests.fakes import FakeClock, FakeTelemetry, FakeTransport, Sent, VirtualLoop, answer, failure, until

from posthouse.adapters.memory import MemoryDatabase, MemoryLog, MemoryStore, Step
from posthouse.dispatch.configs import Configs
from posthouse.dispatch.engine import Engine
from posthouse.domain.circuit import CircuitPolicy
from posthouse.domain.delivery import Attempt, AttemptOutcome, Delivery, DeliveryClass, JournalBatch, Owed, OwedReason
from posthouse.domain.endpoint import Batch, EndpointConfig, Format, OnExhausted, Ordering, RateLimit
from posthouse.domain.errors import InDoubt, PosthouseError, StoreUnavailable
from posthouse.domain.event import Draft, Event
from posthouse.domain.exchange import Answer, Fault, Result
from posthouse.domain.ids import EVENT, AppId, EndpointId, EventId, format_id, uuid7
from posthouse.domain.order import UNORDERED, line_of
from posthouse.domain.retry import RetrySettings
from posthouse.intake.publisher import Publisher
from posthouse.lane.budget import Budget
from posthouse.ports.log import Appended
from posthouse.ports.store import Journalled
from posthouse.settle.journal import Released

PARTITIONS: Final = 3
APPS: Final = 4
ENDPOINTS: Final = 2
STEPS: Final = 60
SEEDS: Final = int(os.environ.get("POSTHOUSE_SEEDS", "20"))
ORDERINGS: Final = (Ordering.NONE, Ordering.KEY, Ordering.ENDPOINT)
RETRY: Final = RetrySettings(schedule=(1.0,) * 100)
IMPATIENT: Final = RetrySettings(schedule=(0.5, 1.0))
CIRCUITS: Final = CircuitPolicy(
    requests_min=4, window_seconds=5.0, probe_seconds=0.5, probe_seconds_max=2.0, recovery_requests=3
)
CONCURRENCY_MAX: Final = 3
MOODS: Final = ("good", "good", "slow", "hanging", "failing", "flaky", "broken", "asking")

_process: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


class Flow(NamedTuple):
    """How an endpoint is served, for a whole history."""

    rate_limit: RateLimit | None
    batch: Batch | None
    format: Format
    fallback: bool
    exhausts: OnExhausted | None  # None: it has more attempts than any history needs

    @classmethod
    def drawn(cls, draw: random.Random) -> Flow:
        return cls(
            draw.choice((None, None, None, RateLimit(20.0, 1), RateLimit(4.0, 5), RateLimit(0.7))),
            draw.choice((None, None, Batch(3, 2_000, 300), Batch(100, 700, 50))),
            draw.choice((Format.JSON, Format.CLOUDEVENTS)),
            draw.random() < 0.4,
            draw.choice((None, OnExhausted.SKIP, OnExhausted.BLOCK)),
        )


class CountingEngine(Engine):
    """Says what may be repeated as partitions are lost: what is in flight, and what is unwritten; and what was given up."""

    world: World
    process: Process

    def watch(self, world: World, process: Process) -> None:
        self.world, self.process = world, process
        record = self.journal.record

        def watched(delivery: Delivery, attempt: Attempt, owed: Owed | None, **more: Any) -> bool:
            ours = record(delivery, attempt, owed, **more)
            if ours and attempt.outcome is AttemptOutcome.GAVE_UP:
                world.given_up[attempt.key].append(process)
            return ours

        self.journal.record = watched  # type: ignore[method-assign]

    @property
    def events_in_flight(self) -> int:
        return sum(len(lane.in_flight) for lane in self.lanes._lanes)

    def _lost(self, partitions: Collection[int]) -> None:
        self.world.repeats_allowed += self.journal.unwritten
        if not self._stopping:
            self.world.repeats_allowed += self.events_in_flight
        super()._lost(partitions)

    def _written(self, batch: JournalBatch, result: Journalled, released: Released) -> None:
        self.world.repeats_allowed += sum(attempt.partition not in result.held for attempt in batch.attempts)
        super()._written(batch, result, released)


class Process:
    """One process: an engine and a publisher. When killed, its tasks end where they are and nothing of it goes on."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.dead = False
        self.session_lost = False
        self.tasks: set[asyncio.Task[Any]] = set()
        self.running: set[tuple[EndpointId, EventId]] = set()
        self.requests: Counter[EndpointId] = Counter()
        clock = FakeClock(seed=world.next_seed())
        self.owner = clock.new_id()
        log, store = MemoryLog(world.database), MemoryStore(world.database)
        self.transport = FakeTransport(self.reply)
        self.engine = CountingEngine(
            event_log=log,
            store=store,
            transport=self.transport,
            clock=clock,
            telemetry=FakeTelemetry(),
            owner=self.owner,
            exclusive=False,
            dead=self.seen_dead,
            circuits=CIRCUITS,
        )
        self.engine.watch(world, self)
        self.clock = clock
        self.publisher = Publisher(log, clock, FakeTelemetry(), appended=self.appended)

    def appended(self, events: list[Event]) -> None:
        self.engine.offer(events)

    async def seen_dead(self, owners: Collection[bytes]) -> set[bytes]:
        alive = {p.owner for p in self.world.processes if not p.dead and not p.session_lost}
        return set(owners) - alive

    def run(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        context = contextvars.copy_context()
        context.run(_process.set, self)
        return asyncio.get_running_loop().create_task(work, context=context)

    async def start(self) -> None:
        while True:
            try:
                await self.engine.start()
                return
            except StoreUnavailable:
                await asyncio.sleep(0.2)

    def kill(self) -> None:
        self.world.repeats_allowed += self.engine.events_in_flight + self.engine.journal.unwritten
        self.dead = True
        self.bury()

    def bury(self) -> None:
        for task in list(self.tasks):
            task.cancel()

    async def reply(self, sent: Sent) -> Result:
        if self.dead:
            await asyncio.get_running_loop().create_future()  # a ghost sends nothing
        if self.session_lost:
            self.world.repeats_allowed += len(sent.event_ids)  # its successor may send the same
        return await self.world.reply(self, sent)


class World:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.clock = FakeClock(seed=1)
        self.database = MemoryDatabase(clock=self.clock.now, partitions=PARTITIONS, hook=self.hook)
        self.processes: list[Process] = []
        self.trouble = True
        self.repeats_allowed = 0
        self.largest = 1  # events of one request
        self.accepted: dict[EventId, AppId] = {}
        self.doubtful: set[EventId] = set()
        self.expires: dict[EventId, float] = {}
        self.resent: Counter[tuple[EndpointId, EventId]] = Counter()
        self.confirmed: Counter[tuple[EndpointId, EventId]] = Counter()
        self.violations: list[str] = []
        self.endpoints: dict[str, EndpointId] = {}  # by path
        self.flows: dict[EndpointId, Flow] = {}
        self.moods: dict[EndpointId, str] = {}
        self.second_moods: dict[EndpointId, str] = {}  # of its other URL
        self.given_up: defaultdict[tuple[EndpointId, EventId], list[Process]] = defaultdict(list)
        self.sent_at: defaultdict[EndpointId, list[float]] = defaultdict(list)
        self.held: dict[tuple[Process, EndpointId], tuple[object, float]] = {}  # in which lane, until when
        self.revisions: Counter[EndpointId] = Counter()
        self.deleted: set[EndpointId] = set()
        self._seeds = 1

    def next_seed(self) -> int:
        self._seeds += 1
        return self._seeds

    # The store's trouble

    async def hook(self, operation: str, step: Step) -> None:
        process = _process.get()
        if process is not None and process.dead:
            await asyncio.get_running_loop().create_future()  # a ghost does nothing
        chance = self.random.random()
        await asyncio.sleep(self.random.random() * 0.02)
        if not self.trouble:
            return
        if chance < 0.005:
            await asyncio.sleep(self.random.random() * 4)
        elif chance < 0.03:
            if operation == "settle_late":
                self.repeats_allowed += self.largest
            if step is Step.AFTER_COMMIT:
                raise InDoubt("the connection died after the commit")
            if step is Step.BEFORE_COMMIT and chance < 0.02:
                raise InDoubt("the connection died before the commit")
            raise StoreUnavailable("no connection")

    # Targets

    async def reply(self, process: Process, sent: Sent) -> Result:
        endpoint_id = self.endpoints[sent.path]
        keys = [(endpoint_id, event_id) for event_id in sent.event_ids]
        for key in keys:
            if key in process.running:
                self.violations.append(f"one process sends {key} twice at once")
        process.running.update(keys)
        self.largest = max(self.largest, len(keys))
        process.requests[endpoint_id] += 1
        if process.requests[endpoint_id] > CONCURRENCY_MAX:
            self.violations.append(f"{process.requests[endpoint_id]} requests at once")
        self.look_at_pace(process, endpoint_id, sent.path)
        if b"webhook-replay" not in sent.request.head:
            for place, event_id in enumerate(sent.event_ids):
                self.look_at_order(endpoint_id, event_id, sent.event_ids[:place])
        try:
            result = await self.answered(endpoint_id, sent)
        finally:
            process.running.difference_update(keys)
            process.requests[endpoint_id] -= 1
        if isinstance(result, Answer) and result.status == 503:
            self.held[process, endpoint_id] = (process.engine.lanes._lanes.get(endpoint_id), self.clock.now() + 2.0)
        return result

    async def answered(self, endpoint_id: EndpointId, sent: Sent) -> Result:
        mood = self.mood_of(endpoint_id, sent.path)
        await asyncio.sleep(self.random.random() * 0.05)
        if mood == "slow":
            await asyncio.sleep(3.0)
        elif mood == "hanging":
            await asyncio.sleep(10.0)
            return failure(Fault.TOTAL_TIMEOUT)
        elif mood == "broken":
            raise OSError("no file descriptor is left")
        elif mood == "asking":
            return answer(503, (b"retry-after", b"2"))
        elif mood == "failing" or (mood == "flaky" and self.random.random() < 0.3):
            return answer(500)
        refused = set()
        if mood == "flaky" and len(sent.event_ids) > 1:
            refused = {event_id for event_id in sent.event_ids if self.random.random() < 0.2}
        ordered = self.database.endpoints[endpoint_id].config.ordering is not Ordering.NONE
        for event_id in sent.event_ids:
            if event_id not in refused:
                self.confirmed[endpoint_id, event_id] += 1
                self.repeats_allowed += bool(ordered and refused)  # what is behind a refused one comes again
        told = [{"id": format_id(EVENT, event_id), "confirmed": False, "reason": "no"} for event_id in refused]
        return answer(body=json.dumps({"results": told}).encode())

    def mood_of(self, endpoint_id: EndpointId, path: str) -> str:
        return (self.second_moods if path.endswith("/second") else self.moods)[endpoint_id]

    def look_at_pace(self, process: Process, endpoint_id: EndpointId, path: str) -> None:
        """Rate limits hold whoever owns a lane; what a target asks for holds its lane."""
        app_id = self.database.endpoints[endpoint_id].app_id
        owner = self.database.partitions[self.database.apps[app_id].partition].owner
        if owner != process.owner:
            return  # it is taken for dead and does not know yet: nobody can know that of it
        if self.mood_of(endpoint_id, path) != "broken":  # then nothing was sent
            self.sent_at[endpoint_id].append(self.clock.boot())
        lane, until = self.held.get((process, endpoint_id), (None, 0.0))
        if (
            lane is not None
            and lane is process.engine.lanes._lanes.get(endpoint_id)
            and self.clock.now() < until - 0.001
        ):
            self.violations.append(f"{endpoint_id.hex()} asked to be left alone for {until - self.clock.now()} s more")

    def look_at_rate(self, endpoint_id: EndpointId) -> None:
        """In no span of w seconds were there more than rate · w + burst requests."""
        limit = self.flows[endpoint_id].rate_limit
        if limit is not None:
            least = math.inf
            for n, at in enumerate(sorted(self.sent_at[endpoint_id])):
                least = min(least, n - limit.per_second * at)
                if n + 1 - limit.per_second * at - least > limit.capacity + 1e-6:
                    self.violations.append(f"too many requests to {endpoint_id.hex()} until {at}")

    def look_at_order(self, endpoint_id: EndpointId, event_id: EventId, with_it: Collection[EventId]) -> None:
        """On an ordered line an event is not sent before all those before it were confirmed, were given up, or are with it."""
        endpoint = self.database.endpoints[endpoint_id]
        ordering = endpoint.config.ordering
        ((partition, seq),) = self.database.positions[event_id]
        events = self.database.partitions[partition].events
        event = events[seq]
        line = line_of(ordering, event.key, DeliveryClass.LIVE)
        if line == UNORDERED:
            return
        for earlier in events.values():
            if (
                earlier.seq < seq
                and earlier.app_id == event.app_id
                and line_of(ordering, earlier.key, DeliveryClass.LIVE) == line
                and not self.confirmed[endpoint_id, earlier.id]
                and earlier.id not in with_it
                and not self.is_given_up(endpoint_id, earlier.id)
            ):
                self.violations.append(
                    f"{seq} of partition {partition} is sent to {endpoint_id.hex()} before {earlier.seq} was confirmed"
                )

    def is_given_up(self, endpoint_id: EndpointId, event_id: EventId) -> bool:
        """On record, or in the memory of somebody who lives."""
        key = (endpoint_id, event_id)
        if any(not process.dead for process in self.given_up.get(key, ())):
            return True
        gave_up = AttemptOutcome.GAVE_UP
        return any(a.key == key and a.outcome is gave_up for a in self.database.attempts.values())

    # What happens

    def install(self) -> None:
        for a in range(APPS):
            app_id = AppId(uuid7(5, a + 1))
            self.database.put_app(app_id, partition=a % PARTITIONS)
            for e in range(ENDPOINTS):
                endpoint_id = EndpointId(uuid7(6, a * 100 + e))
                self.moods[endpoint_id] = self.second_moods[endpoint_id] = "good"
                self.flows[endpoint_id] = Flow.drawn(self.random)
                self.configure(endpoint_id, app_id, e)

    def configure(self, endpoint_id: EndpointId, app_id: AppId, e: int, *, paused: bool = False) -> None:
        self.revisions[endpoint_id] += 1
        path = f"/{endpoint_id.hex()}/{self.revisions[endpoint_id]}"
        self.endpoints[path] = self.endpoints[f"{path}/second"] = endpoint_id
        flow = self.flows[endpoint_id]
        config = EndpointConfig(
            url=f"https://example.com{path}",
            retry=RETRY if flow.exhausts is None else IMPATIENT,
            concurrency=CONCURRENCY_MAX - 1 + e,
            ordering=ORDERINGS[int.from_bytes(endpoint_id[8:], "big") % 256 % len(ORDERINGS)],
            rate_limit=flow.rate_limit,
            batch=flow.batch if self.random.random() < 0.8 else None,
            format=flow.format,
            fallback_urls=(f"https://example.com{path}/second",) if flow.fallback else (),
            on_exhausted=flow.exhausts or OnExhausted.SKIP,
        )
        self.database.put_endpoint(endpoint_id, app_id, config, paused=paused)

    async def publish(self, process: Process, app_id: AppId, count: int) -> None:
        drafts = [
            Draft(
                id=EventId(process.clock.new_id()),
                app_id=app_id,
                type="order.created",
                payload=b"{}",
                key=self.random.choice((None, "a", "b", "c")),
                expires_at=self.clock.now() + self.random.random() * 20 if self.random.random() < 0.05 else None,
            )
            for _ in range(count)
        ]
        try:
            results = await process.publisher.submit(self.database.apps[app_id].partition, drafts)
        except PosthouseError:
            self.doubtful.update(draft.id for draft in drafts)
            return
        for draft, result in zip(drafts, results, strict=True):
            assert isinstance(result, Appended)
            self.accepted[draft.id] = app_id
            if draft.expires_at is not None:
                self.expires[draft.id] = draft.expires_at

    def begin(self) -> None:
        process = Process(self)
        self.processes.append(process)
        process.run(process.start())

    async def lose_session(self, process: Process) -> None:
        """Others count it dead for a while, before it knows itself."""
        process.session_lost = True
        await asyncio.sleep(self.random.random())
        process.engine.suspend()
        await asyncio.sleep(self.random.random() * 2)
        process.session_lost = False

    def resend(self) -> None:
        """As the API does: a row for something that was settled, below the cursor."""
        settled = [k for k in self.confirmed if k[0] not in self.deleted and k[1] in self.database.positions]
        if not settled:
            return
        endpoint_id, event_id = self.random.choice(settled)
        ((partition, seq),) = self.database.positions[event_id]
        if seq > self.database.partitions[partition].cursor:
            return
        row = Owed(
            partition=partition,
            endpoint_id=endpoint_id,
            event_id=event_id,
            seq=seq,
            number=1,
            due_at=self.clock.now(),
            reason=OwedReason.RESENT,
            kind=DeliveryClass.REPLAY,
            line=line_of(
                self.database.endpoints[endpoint_id].config.ordering,
                self.database.partitions[partition].events[seq].key,
                DeliveryClass.REPLAY,
            ),
        )
        self.owe(row)
        self.resent[endpoint_id, event_id] += 1

    def owe(self, row: Owed) -> None:
        """What is owed already is due now, unless others of its line come first."""
        key = (row.partition, row.endpoint_id, row.event_id)
        before = self.database.owed.get(key, row)
        if before.reason is not OwedReason.IN_FLIGHT:
            reason = OwedReason.RESENT if before.reason is OwedReason.BLOCKED else before.reason
            before = replace(before, due_at=min(before.due_at, self.clock.now()), reason=reason)
        self.database.owed[key] = before
        if before.line:
            MemoryStore(self.database).order([(before.partition, before.endpoint_id, before.line)], self.clock.now())
        self.database.poke(before.partition)

    def release_blocked(self) -> None:
        """An operator sends again what its line stands for."""
        for row in list(self.database.owed.values()):
            if row.reason is OwedReason.BLOCKED:
                self.owe(row)

    async def step(self) -> None:
        for process in self.processes:
            if process.dead:
                process.bury()  # whatever its last steps began
        alive = [p for p in self.processes if not p.dead]
        process = self.random.choice(alive)
        choice = self.random.random()
        endpoint_id = self.random.choice(sorted(self.moods))
        endpoint = self.database.endpoints[endpoint_id]
        if choice < 0.55:
            app_id = self.random.choice(sorted(self.database.apps))
            process.run(self.publish(process, app_id, self.random.choice((1, 1, 2, 40))))
        elif choice < 0.68:
            self.moods[endpoint_id] = self.random.choice(MOODS)
            self.second_moods[endpoint_id] = self.random.choice(MOODS)
        elif choice < 0.70:
            self.release_blocked()
        elif choice < 0.80 and endpoint_id not in self.deleted:
            self.configure(endpoint_id, endpoint.app_id, 0, paused=self.random.random() < 0.5)
        elif choice < 0.82 and len(self.deleted) < 2:
            self.deleted.add(endpoint_id)
            self.database.delete_endpoint(endpoint_id)
        elif choice < 0.88:
            self.resend()
        elif choice < 0.92:
            process.kill()
            self.begin()
        elif choice < 0.95:
            await self.lose_session(process)
        elif choice < 0.97 and len(alive) < 3:
            self.begin()
        elif len(alive) > 1:
            await asyncio.wait([process.run(process.engine.stop(seconds=15.0))])
            process.kill()
        await asyncio.sleep(self.random.random() * 0.7)

    def mend(self) -> None:
        self.trouble = False
        for endpoint_id, endpoint in self.database.endpoints.items():
            self.moods[endpoint_id] = self.second_moods[endpoint_id] = "good"
            if endpoint_id not in self.deleted:
                self.configure(endpoint_id, endpoint.app_id, 1)

    def quiet(self) -> bool:
        self.release_blocked()
        live = [p for p in self.processes if not p.dead]
        return (
            not self.database.owed
            and all(p.cursor == p.head for p in self.database.partitions)
            and all(p.engine.journal.unwritten == 0 and p.engine.lanes.in_flight == 0 for p in live)
        )


async def history(seed: int) -> None:
    world = World(seed)
    loop = asyncio.get_running_loop()

    def remember(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, **options)
        process = options["context"].get(_process) if options.get("context") else _process.get()
        if process is not None:
            process.tasks.add(task)
            task.add_done_callback(process.tasks.discard)
        return task

    loop.set_task_factory(remember)
    world.install()
    world.begin()
    world.begin()
    for _ in range(STEPS):
        await world.step()
    world.mend()
    await until(world.quiet, "everything to be settled", seconds=900.0)

    for endpoint_id in world.flows:
        world.look_at_rate(endpoint_id)
    assert world.violations == []
    live = [p for p in world.processes if not p.dead]
    for process in live:
        engine = process.engine
        assert not engine.failed.done(), engine.failed
        assert (engine.progress.events, engine.progress.deliveries, engine.progress.payload_bytes) == (0, 0, 0)
        assert engine.progress.tracked == 0
        assert engine.lanes.bytes_in_flight == 0
        assert engine.lanes.paged_bytes == 0
        assert engine.lanes.waiting == 0
        assert engine.backlog._held == {}
        assert len(engine.lanes._stalled) == 0
    assert sum(len(p.engine.ownership.epochs) for p in live) == PARTITIONS

    log = {event_id for p in world.database.partitions for event_id in (e.id for e in p.events.values())}
    assert set(world.accepted) <= log, "an accepted event is in the log"
    assert log <= set(world.accepted) | world.doubtful | _unknown(world), "nothing else is"
    live_ends = [a for a in world.database.attempts.values() if a.outcome.terminal and a.kind is DeliveryClass.LIVE]
    terminal = {a.key: a for a in live_ends}
    assert len(terminal) == len(live_ends), "a delivery ends once"
    for event_id, app_id in world.accepted.items():
        for endpoint_id, endpoint in world.database.endpoints.items():
            if endpoint.app_id == app_id and endpoint_id not in world.deleted:
                end = terminal[endpoint_id, event_id]
                if end.outcome is AttemptOutcome.DELIVERED:
                    assert world.confirmed[endpoint_id, event_id] >= 1, "an accepted event arrives"
                elif end.reason == "expired":
                    assert end.started_at >= world.expires[event_id]
                else:
                    assert world.flows[endpoint_id].exhausts is not None
                    spent = {a.number for a in world.database.attempts.values() if a.key == end.key}
                    assert spent >= {1, 2, 3}, "it is given up after its attempts, and no other"
                    assert end.number == 3
    repeats = sum(n - 1 - world.resent[key] for key, n in world.confirmed.items() if n > 1 + world.resent[key])
    assert repeats <= world.repeats_allowed


def _unknown(world: World) -> set[EventId]:
    """Events whose publisher died before it was answered."""
    return {event_id for event_id in world.database.positions if event_id not in world.accepted}


CRAMPED: Final = {
    "posthouse.dispatch.engine.PAGED_BYTES_MAX": 20,
    "posthouse.dispatch.tail.OFFERED_EVENTS_MAX": 5,
    "posthouse.lane.lane.LANE_FRESH_MAX": 6,
    "posthouse.lane.lane.LANE_PAGED_MAX": 4,
    "posthouse.lane.registry.LANES_IDLE_MAX": 4,
    "posthouse.lane.lanes.PAGED_BYTES_MAX": 20,
    "posthouse.settle.backlog.PAGE_ENDPOINTS_MAX": 2,
    "posthouse.settle.journal.JOURNAL_RESULTS_MAX": 10,
    "posthouse.settle.journal.UNWRITTEN_RESULTS_MAX": 20,
    "posthouse.settle.progress.OUTSTANDING_EVENTS_MAX": 30,
    "posthouse.settle.progress.TRACKED_EVENTS_MAX": 60,
}
"""Limits so small that each is met all the time."""


@pytest.mark.parametrize("seed", range(SEEDS))
def test_nothing_is_lost_where_every_limit_is_met(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CRAMPED.items():
        monkeypatch.setattr(name, value)
    for function, options in ((Configs.__init__, {"limit": 2}), (Budget.__init__, {"sockets_max": 6, "bytes_max": 9})):
        monkeypatch.setattr(function, "__kwdefaults__", (function.__kwdefaults__ or {}) | options)
    test_nothing_is_lost_and_little_repeated(seed)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_nothing_is_lost_and_little_repeated(seed: int) -> None:
    with capture_logs() as logs, asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(history(seed))
    assert [entry for entry in logs if entry["log_level"] == "critical"] == []
