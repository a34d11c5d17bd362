"""Several processes on one store, in virtual time, with everything going wrong at random: the invariants hold.

Each seed is one history: processes are killed, taken for dead while they live, and restarted; the store fails before and
after its commits; targets hang, fail and recover; endpoints are paused, changed and deleted. Then all is mended, and what
was accepted has arrived, within the bounds that the design gives for repeats.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import random
from collections import Counter
from collections.abc import Collection, Coroutine
from typing import Any, Final

import pytest
from structlog.testing import capture_logs
from tests.fakes import FakeClock, FakeTelemetry, FakeTransport, Sent, VirtualLoop, answer, failure, until

from posthouse.adapters.memory import MemoryDatabase, MemoryLog, MemoryStore, Step
from posthouse.dispatch.configs import Configs
from posthouse.dispatch.engine import Engine
from posthouse.domain.delivery import DeliveryClass, JournalBatch, Owed, OwedReason
from posthouse.domain.endpoint import EndpointConfig, Ordering
from posthouse.domain.errors import InDoubt, PosthouseError, StoreUnavailable
from posthouse.domain.event import Draft, Event
from posthouse.domain.exchange import Fault, Result
from posthouse.domain.ids import AppId, EndpointId, EventId, uuid7
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
SEEDS: Final = int(os.environ.get("POSTHOUSE_SEEDS", "30"))
ORDERINGS: Final = (Ordering.NONE, Ordering.KEY, Ordering.ENDPOINT)
RETRY: Final = RetrySettings(schedule=(1.0,) * 100)

_process: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


class CountingEngine(Engine):
    """Says what may be repeated as partitions are lost: what is in flight, and what is unwritten."""

    world: World

    def _lost(self, partitions: Collection[int]) -> None:
        self.world.repeats_allowed += self.journal.unwritten
        if not self._stopping:
            self.world.repeats_allowed += self.lanes.in_flight
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
        self.running: set[tuple[str, EventId]] = set()
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
        )
        self.engine.world = world
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
        self.world.repeats_allowed += self.engine.lanes.in_flight + self.engine.journal.unwritten
        self.dead = True
        self.bury()

    def bury(self) -> None:
        for task in list(self.tasks):
            task.cancel()

    async def reply(self, sent: Sent) -> Result:
        if self.dead:
            await asyncio.get_running_loop().create_future()  # a ghost sends nothing
        self.world.repeats_allowed += self.session_lost  # its successor may send the same
        return await self.world.reply(self, sent)


class World:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.clock = FakeClock(seed=1)
        self.database = MemoryDatabase(clock=self.clock.now, partitions=PARTITIONS, hook=self.hook)
        self.processes: list[Process] = []
        self.trouble = True
        self.repeats_allowed = 0
        self.accepted: dict[EventId, AppId] = {}
        self.doubtful: set[EventId] = set()
        self.resent: Counter[tuple[EndpointId, EventId]] = Counter()
        self.confirmed: Counter[tuple[EndpointId, EventId]] = Counter()
        self.violations: list[str] = []
        self.endpoints: dict[str, EndpointId] = {}  # by path
        self.moods: dict[EndpointId, str] = {}
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
            self.repeats_allowed += operation == "settle_late"
            if step is Step.AFTER_COMMIT:
                raise InDoubt("the connection died after the commit")
            if step is Step.BEFORE_COMMIT and chance < 0.02:
                raise InDoubt("the connection died before the commit")
            raise StoreUnavailable("no connection")

    # Targets

    async def reply(self, process: Process, sent: Sent) -> Result:
        endpoint_id = self.endpoints[sent.path]
        key = (sent.path.rpartition("/")[0], sent.event_id)
        if key in process.running:
            self.violations.append(f"one process sends {key} twice at once")
        process.running.add(key)
        if b"webhook-replay" not in sent.request.head:
            self.look_at_order(endpoint_id, sent.event_id)
        try:
            mood = self.moods[endpoint_id]
            await asyncio.sleep(self.random.random() * 0.05)
            if mood == "slow":
                await asyncio.sleep(3.0)
            elif mood == "hanging":
                await asyncio.sleep(10.0)
                return failure(Fault.TOTAL_TIMEOUT)
            elif mood == "broken":
                raise OSError("no file descriptor is left")
            elif mood == "failing" or (mood == "flaky" and self.random.random() < 0.3):
                return answer(500)
            self.confirmed[endpoint_id, sent.event_id] += 1
            return answer()
        finally:
            process.running.discard(key)

    def look_at_order(self, endpoint_id: EndpointId, event_id: EventId) -> None:
        """On an ordered line an event is not sent before all those before it were confirmed."""
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
            ):
                self.violations.append(
                    f"{seq} of partition {partition} is sent to {endpoint_id.hex()} before {earlier.seq} was confirmed"
                )

    # What happens

    def install(self) -> None:
        for a in range(APPS):
            app_id = AppId(uuid7(5, a + 1))
            self.database.put_app(app_id, partition=a % PARTITIONS)
            for e in range(ENDPOINTS):
                endpoint_id = EndpointId(uuid7(6, a * 100 + e))
                self.moods[endpoint_id] = "good"
                self.configure(endpoint_id, app_id, e)

    def configure(self, endpoint_id: EndpointId, app_id: AppId, e: int, *, paused: bool = False) -> None:
        self.revisions[endpoint_id] += 1
        path = f"/{endpoint_id.hex()}/{self.revisions[endpoint_id]}"
        self.endpoints[path] = endpoint_id
        config = EndpointConfig(
            url=f"https://example.com{path}",
            retry=RETRY,
            concurrency=2 + e,
            ordering=ORDERINGS[int.from_bytes(endpoint_id[8:], "big") % 256 % len(ORDERINGS)],
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
        self.database.owed.setdefault((partition, endpoint_id, event_id), row)
        if row.line:
            MemoryStore(self.database).order([(partition, endpoint_id, row.line)], self.clock.now())
        self.database.poke(partition)
        self.resent[endpoint_id, event_id] += 1

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
        elif choice < 0.70:
            self.moods[endpoint_id] = self.random.choice(
                ("good", "good", "slow", "hanging", "failing", "flaky", "broken")
            )
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
            self.moods[endpoint_id] = "good"
            if endpoint_id not in self.deleted:
                self.configure(endpoint_id, endpoint.app_id, 1)

    def quiet(self) -> bool:
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
    terminal = {a.key for a in world.database.attempts.values() if a.outcome.terminal}
    for event_id, app_id in world.accepted.items():
        for endpoint_id, endpoint in world.database.endpoints.items():
            if endpoint.app_id == app_id and endpoint_id not in world.deleted:
                assert world.confirmed[endpoint_id, event_id] >= 1, "an accepted event arrives"
                assert (endpoint_id, event_id) in terminal, "and is on record"
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
