"""One process of the simulation: an engine, a publisher, a clock of its own, and the way to its targets."""

from __future__ import annotations

import asyncio
import contextvars
import math
import random
from collections import Counter
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, Final, cast

from tests.fakes import BOOT, EPOCH, FakeTelemetry, Sent
from tests.simulation.circuits import CIRCUITS
from tests.simulation.faults import Remote
from tests.simulation.filtering import SimExpressions
from tests.simulation.memory import UNWRITTEN, limit
from tests.simulation.scheduler import Machine, elsewhere, heard

from posthouse.adapters.memory import MemoryLog, MemoryStore
from posthouse.dispatch.engine import Engine
from posthouse.domain.delivery import Attempt, AttemptOutcome, Delivery, DeliveryKey, JournalBatch, Owed
from posthouse.domain.endpoint import Endpoint
from posthouse.domain.errors import NotOwner, StoreUnavailable
from posthouse.domain.event import Event
from posthouse.domain.exchange import Request, Result
from posthouse.domain.expression import Failed
from posthouse.domain.ids import EndpointId, unix_ms_of, uuid7
from posthouse.intake.publisher import Publisher
from posthouse.lane.budget import Budget
from posthouse.ports.log import EventLog
from posthouse.ports.store import Journalled, Store
from posthouse.send.peer import Peer
from posthouse.send.told import Told
from posthouse.settle.journal import Released

if TYPE_CHECKING:
    from tests.simulation.world import World

IDS_AHEAD_SECONDS_MAX: Final = 60.0
BUSY_EVERY_SECONDS: Final = 4.0
TURN_SECONDS_MAX: Final = 0.0
BUSY_SECONDS: Final = (0.0, 0.0, 1.0, 2.5)

taken_at: contextvars.ContextVar[float] = contextvars.ContextVar("taken_at")
"""When a lane let a request go: it may be looked up for a while whether its events may still be sent."""


class SimClock:
    """`ports.clock.Clock` of one machine: its wall clock is off by `skew`, which jumps; its boot clock began at any time. Of
    every four seconds it has none to spare for so many (`busy_seconds`)."""

    def __init__(self, seed: int, skew: float, busy_seconds: float) -> None:
        self._random = random.Random(seed)
        self._turns = random.Random(seed + 1)
        self.next_turn = 0.0  # how long the next one takes, if not as long as any
        self._count = seed << 32
        self._last_ms = 0
        self._booted = self._random.random() * 1_000
        self.skew = skew
        self.busy_seconds = busy_seconds

    def now(self) -> float:
        return EPOCH + asyncio.get_running_loop().time() + self.skew

    def boot(self) -> float:
        return asyncio.get_running_loop().time() + BOOT + self._booted

    def cpu(self) -> float:
        rounds, seconds = divmod(self.boot(), BUSY_EVERY_SECONDS)
        return rounds * self.busy_seconds + min(seconds, self.busy_seconds)

    def new_id(self) -> bytes:
        self._last_ms = max(int(self.now() * 1000), self._last_ms)
        self._count += 1 + self._random.getrandbits(20)
        return uuid7(self._last_ms, self._count)

    def ids_after(self, newest: bytes) -> None:
        unix_ms = unix_ms_of(newest)
        if self._last_ms <= unix_ms < (self.now() + IDS_AHEAD_SECONDS_MAX) * 1000:
            self._last_ms = unix_ms + 1

    def draw(self) -> float:
        return self._random.random()

    async def sleep(self, seconds: float) -> None:
        """Who lets others have a turn (0) gets the next one after all that came meanwhile, which takes its time."""
        if not seconds:
            seconds, self.next_turn = self.next_turn or TURN_SECONDS_MAX * self._turns.random() ** 3, 0.0
        await asyncio.sleep(seconds)


class SimTransport:
    """`ports.transport.Transport`: connecting takes a moment, and what a target was sent it deals with, whoever dies."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def send(
        self, request: Request, *, may_write: Callable[[], bool] | None = None, once: bool = False, anew: bool = False
    ) -> Result:
        process, world = self._process, self._process.world
        sent = Sent(request, asyncio.get_running_loop().time())
        endpoint_id = world.endpoints[sent.path]
        world.checker.starts(process, endpoint_id, sent)
        world.targets.started(process, endpoint_id, sent, taken_at.get(), anew=anew)
        try:
            await asyncio.sleep(world.connecting_seconds(endpoint_id))
            if may_write is not None and not may_write():
                raise NotOwner("the lease has ended")
            world.checker.sends(process, endpoint_id, sent)
            reply = elsewhere(world.targets.reply(endpoint_id, sent, kept=not anew))
            reply.add_done_callback(heard)
            result: Result = await asyncio.shield(reply)
            world.targets.answered(process, endpoint_id, sent.path, result)
            return result
        finally:
            world.checker.ends_request(process, endpoint_id, sent)

    async def close(self) -> None:
        """There is no connection to close."""


class WatchedEngine(Engine):
    """Says which deliveries may be repeated as partitions are lost, and which were given up."""

    process: Process

    def watch(self, process: Process) -> None:
        self.process = process
        record = self.journal.record

        def watched(delivery: Delivery, attempt: Attempt, owed: Owed | None, **more: Any) -> bool:
            ours = record(delivery, attempt, owed, **more)
            if ours and attempt.outcome is AttemptOutcome.GAVE_UP:
                process.world.checker.gives_up(process, attempt.key)
            process.is_full()
            return ours

        self.journal.record = watched  # type: ignore[method-assign]
        mark = self.journal.mark_in_flight

        def marked(delivery: Delivery, owed: Owed) -> None:
            if self.journal.owns(delivery):
                process.world.checker.marks(process, delivery.key)
            mark(delivery, owed)

        self.journal.mark_in_flight = marked  # type: ignore[method-assign]
        write = self.journal._write

        async def written(batch: JournalBatch, released: Released) -> None:
            process.writing, process.writing_since = batch, asyncio.get_running_loop().time()
            await write(batch, released)

        self.journal._write = written  # type: ignore[method-assign]
        send = self.lanes._send

        async def timed(peer: Peer, load: list[Delivery]) -> Told:
            now = asyncio.get_running_loop().time()
            taken_at.set(now)
            if process.is_full() and process.full_since is not None and now > process.full_since:
                process.world.checker.wrong(
                    f"process {process.number} begins a request at the cap on unwritten results"
                )
            return await send(peer, load)

        self.lanes._send = timed
        tell = self.filtering._tell

        def defaulted(event: Event, endpoint: Endpoint, failed: Failed) -> None:
            process.world.checker.defaulted.add(((endpoint.id, event.id), endpoint.on_filter_error))
            tell(event, endpoint, failed)

        self.filtering._tell = defaulted  # type: ignore[method-assign]
        abandon = self.ownership.abandon

        async def abandoned(partitions: Collection[int]) -> None:
            # Also as it stops: a hand-over that does not get done in time is as good as a crash.
            if self._stopping:
                process.world.checker.may_repeat(process.at_risk(partitions))
            await abandon(partitions)

        self.ownership.abandon = abandoned  # type: ignore[method-assign]

    def _lost(self, partitions: Collection[int]) -> None:
        if not self._stopping:
            self.process.world.checker.may_repeat(self.process.at_risk(partitions))
        super()._lost(partitions)
        self.process.is_full()  # what was not written of them is forgotten

    def _written(self, batch: JournalBatch, result: Journalled, released: Released) -> None:
        lost = [attempt.key for attempt in batch.attempts if attempt.partition not in result.held]
        self.process.world.checker.may_repeat(lost)
        self.process.writing = None
        self.process.is_full()
        super()._written(batch, result, released)


class Process(Machine):
    """`disturbed_at`: when anything last went wrong for it; `writing`: the batch that its journal last sent,
    and since when it does."""

    def __init__(self, world: World, number: int, *, budget: Budget | None, owed_max: int) -> None:
        super().__init__()
        self.world = world
        self.number = number
        self.session_lost = False
        self.stopped = False
        self.disturbed_at = 0.0
        self.cut_off: tuple[frozenset[str], float] = (frozenset(), 0.0)  # what does not arrive, until when
        self.late_answers: dict[str, float] = {}  # so many seconds late is the next one
        self.late_questions: dict[str, float] = {}  # so many seconds it is on its way
        self.overdue: dict[
            str, float
        ] = {}  # the next one's connection dies, and it is carried out so many seconds later
        self.unheard: dict[str, int] = {}  # so many questions find no connection
        self.full_since: float | None = None  # when the cap on unwritten results was reached
        self.writing: JournalBatch | None = None
        self.writing_since = 0.0
        self.requests: Counter[EndpointId] = Counter()
        self.running: Counter[DeliveryKey] = Counter()
        self.begun: set[DeliveryKey] = set()  # of which it ever made a request
        self.ended_at: dict[DeliveryKey, float] = {}  # when the last one did that it made
        skew = world.weather.skew * (2 * world.random.random() - 1)
        busy_seconds = world.busying.choice(BUSY_SECONDS) if world.weather.stall or world.weather.crash else 0.0
        self.clock = SimClock(number, skew, busy_seconds)
        self.owner = uuid7(1, number)
        event_log = cast(EventLog, Remote(self, world.network, MemoryLog(world.database)))
        store = cast(Store, Remote(self, world.network, MemoryStore(world.database)))
        self.engine = WatchedEngine(
            event_log=event_log,
            store=store,
            transport=SimTransport(self),
            clock=self.clock,
            telemetry=FakeTelemetry(),
            owner=self.owner,
            exclusive=False,
            dead=self._seen_dead,
            budget=budget,
            circuits=CIRCUITS,
            owed_max=owed_max,
            expressions=SimExpressions(self, number),
            pressed=lambda: self.publisher.pressed(),
        )
        self.engine.watch(self)
        self.publisher = Publisher(
            event_log,
            self.clock,
            FakeTelemetry(),
            appended=self._appended,
            sharing=lambda: self.engine.ownership.live,
        )

    def _appended(self, events: list[Event]) -> None:
        if self.world.random.random() >= self.world.weather.deaf:
            self.world.wake(self.engine.offer(events), self)

    async def _seen_dead(self, owners: Collection[bytes]) -> set[bytes]:
        return set(owners) - self.world.sessions()

    def disturbed(self) -> None:
        self.disturbed_at = self.world.now()

    def is_cut_off(self, operation: str) -> bool:
        operations, until = self.cut_off
        return operation in operations and self.world.now() < until

    def settles_late(self, keys: Collection[DeliveryKey]) -> None:
        """The answer may be lost on the way: then the rows fall due. And their endpoint may be deleted just then."""
        self.world.deleted_soon({endpoint_id for endpoint_id, _ in keys})
        if self.world.network.trouble and self.world.weather.failing:
            self.world.checker.may_repeat(keys)

    def is_full(self) -> bool:
        """Whether so many results are unwritten that lanes may start nothing."""
        writing = 0 if self.writing is None else len(self.writing.attempts)
        full = len(self.engine.journal._buffer.attempts) + writing >= limit(UNWRITTEN)
        if not full:
            self.full_since = None
        elif self.full_since is None:
            self.full_since = self.world.now()
        return full

    def at_risk(self, partitions: Collection[int]) -> list[DeliveryKey]:
        """What its end would repeat: requests in flight, and results that are not written."""
        engine, keys = self.engine, []
        for lane in engine.lanes._lanes:
            if lane.endpoint.partition in partitions:
                keys += list(lane.in_flight)
        attempts = [*engine.journal._buffer.attempts, *(self.writing.attempts if self.writing is not None else ())]
        keys += [attempt.key for attempt in attempts if attempt.partition in partitions]
        return keys

    def is_under_way(self, key: DeliveryKey, *, since: float) -> bool:
        """Whether it has begun a request for this, which has not ended since then."""
        if any(key in lane.in_flight for lane in self.engine.lanes._lanes):
            return key in self.begun
        return self.ended_at.get(key, -math.inf) >= since

    async def begin(self) -> None:
        while True:
            try:
                await self.engine.start()
                return
            except StoreUnavailable:
                await asyncio.sleep(0.2)

    def kill(self) -> None:
        self.dead = True
