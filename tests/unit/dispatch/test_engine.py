"""The engine as a whole over the reference store, in virtual time: every way that a delivery goes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs
from tests.fakes import (
    EPOCH,
    FakeClock,
    FakeTelemetry,
    FakeTransport,
    Sent,
    answer,
    failure,
    until,
    virtual_time,
)
from tests.making import config, grant

from posthouse.adapters.memory import MemoryDatabase, MemoryLog, MemoryStore, Step
from posthouse.dispatch import engine as engine_module
from posthouse.dispatch.engine import Engine
from posthouse.domain.authentication import OAuth2Auth
from posthouse.domain.delivery import AttemptOutcome, DeliveryClass, JournalBatch, Owed, OwedReason
from posthouse.domain.endpoint import EndpointConfig, Ordering, RateLimit, Secret
from posthouse.domain.errors import StoreUnavailable
from posthouse.domain.event import Draft, Event
from posthouse.domain.exchange import Fault, Result
from posthouse.domain.ids import AppId, EndpointId, EventId, uuid7
from posthouse.domain.limits import IN_FLIGHT_GRACE_SECONDS, LANE_FRESH_MAX, UNWRITTEN_RESULTS_MAX
from posthouse.domain.named_keys import KeyVersion
from posthouse.domain.retry import RetrySettings
from posthouse.intake.publisher import Publisher
from posthouse.ports.expressions import NO_EXPRESSIONS, Expressions
from posthouse.ports.log import Appended
from posthouse.ports.store import Journalled
from posthouse.send.tokens import Tokens

APP = AppId(uuid7(1, 1))
OTHER_APP = AppId(uuid7(1, 2))
ONE, TWO, THREE = EndpointId(uuid7(2, 1)), EndpointId(uuid7(2, 2)), EndpointId(uuid7(2, 3))
QUICK = RetrySettings(schedule=(1.0, 1.0, 1.0), jitter=0.0)
OUTCOMES = AttemptOutcome

Reply = Callable[[Sent], Awaitable[Result]]


class World:
    """One installation and its processes; targets are functions by path."""

    def __init__(self) -> None:
        self.clock = FakeClock(seed=1)
        self.database = MemoryDatabase(clock=self.clock.now, partitions=2)
        self.database.put_app(APP, partition=0)
        self.replies: dict[str, Reply] = {}
        self.transports: list[FakeTransport] = []
        self.dead: set[bytes] = set()
        self.processes: list[Process] = []
        self.seeds = 1
        self.expressions: Expressions = NO_EXPRESSIONS

    async def reply(self, sent: Sent) -> Result:
        reply = self.replies.get(sent.path)
        return answer() if reply is None else await reply(sent)

    def endpoint(self, endpoint_id: EndpointId = ONE, reply: Reply | None = None, **fields: object) -> None:
        number = int.from_bytes(endpoint_id[12:], "big")
        made = EndpointConfig(url=f"https://example.com/{number}", retry=QUICK)
        options = {name: fields.pop(name) for name in ("enabled", "paused") if name in fields}
        if fields:
            made = config(made.url, **{"retry": QUICK} | fields)
        if reply is not None:
            self.replies[f"/{number}"] = reply
        self.database.put_endpoint(endpoint_id, APP, made, **options)  # type: ignore[arg-type]

    async def seen_dead(self, owners: Collection[bytes]) -> set[bytes]:
        return self.dead & set(owners)

    def changed(self) -> None:
        for process in self.processes:
            process.engine.ownership.wake()

    @property
    def sent(self) -> list[Sent]:
        return sorted((s for t in self.transports for s in t.sent), key=lambda s: s.at)

    def times_sent(self) -> Counter[EventId]:
        return Counter(sent.event_id for sent in self.sent)

    def outcomes(self, endpoint_id: EndpointId = ONE) -> list[tuple[int, AttemptOutcome, str]]:
        attempts = [a for a in self.database.attempts.values() if a.endpoint_id == endpoint_id]
        return [(a.seq, a.outcome, a.reason) for a in sorted(attempts, key=lambda a: (a.seq, a.number, a.id))]

    def rows(self) -> dict[int, Owed]:
        return {row.seq: row for row in self.database.owed.values()}

    @property
    def cursor(self) -> int:
        return self.database.partitions[0].cursor

    def quiet(self) -> bool:
        return not self.database.owed and all(p.cursor == p.head for p in self.database.partitions)


class Process:
    def __init__(self, world: World) -> None:
        self.world = world
        world.seeds += 1
        clock = FakeClock(seed=world.seeds)
        self.owner = clock.new_id()
        self.transport = FakeTransport(world.reply)
        world.transports.append(self.transport)
        self.telemetry = FakeTelemetry()
        log = MemoryLog(world.database)
        self.engine = Engine(
            event_log=log,
            store=MemoryStore(world.database),
            transport=self.transport,
            clock=clock,
            telemetry=self.telemetry,
            owner=self.owner,
            exclusive=False,
            dead=world.seen_dead,
            changed=world.changed,
            expressions=world.expressions,
        )
        world.processes.append(self)
        self.clock = clock
        self.publisher = Publisher(log, clock, self.telemetry, appended=self.appended)
        self.before = asyncio.all_tasks()

    def appended(self, events: list[Event]) -> None:
        self.engine.offer(events)

    async def publish(
        self, count: int = 1, *, app_id: AppId = APP, partition: int = 0, **fields: object
    ) -> list[EventId]:
        drafts = [
            Draft(id=EventId(self.clock.new_id()), app_id=app_id, type="order.created", payload=b"{}", **fields)  # type: ignore[arg-type]
            for _ in range(count)
        ]
        results = await self.publisher.submit(partition, drafts)
        assert all(isinstance(result, Appended) for result in results)
        return [draft.id for draft in drafts]

    async def kill(self) -> None:
        """As kill -9: its tasks end where they are, and the database notices by the lost session."""
        self.world.dead.add(self.owner)
        for _ in range(3):
            mine = asyncio.all_tasks() - self.before - {asyncio.current_task()}
            for task in mine:
                task.cancel()
            await asyncio.gather(*mine, return_exceptions=True)


@asynccontextmanager
async def started(world: World) -> AsyncIterator[Process]:
    process = Process(world)
    await process.engine.start()
    try:
        yield process
    finally:
        assert not process.engine.failed.done(), process.engine.failed
        await process.engine.stop(seconds=1.0)


def replying(*results: Result | Exception) -> Reply:
    """A target that gives these answers, the last one for ever."""
    left = list(results)

    async def reply(_: Sent) -> Result:
        result = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(result, Exception):
            raise result
        return result

    return reply


def delaying(seconds: float) -> Reply:
    """A target that takes its time."""

    async def reply(_: Sent) -> Result:
        await asyncio.sleep(seconds)
        return answer()

    return reply


def hanging(gate: asyncio.Event, result: Result | None = None) -> Reply:
    async def reply(_: Sent) -> Result:
        await gate.wait()
        return answer() if result is None else result

    return reply


@virtual_time
async def test_a_delivery_that_succeeds_at_once_is_one_attempt_and_no_row() -> None:
    world = World()
    world.endpoint(ONE)
    world.endpoint(TWO)
    async with started(world) as process:
        ids = await process.publish(3)
        await until(world.quiet)
        assert world.times_sent() == dict.fromkeys(ids, 2)
        assert world.outcomes(ONE) == [(seq, OUTCOMES.DELIVERED, "confirmed") for seq in (1, 2, 3)]
        assert world.cursor == 3
        assert process.telemetry.published_events == 3


@virtual_time
async def test_a_failure_is_tried_again_until_it_is_confirmed() -> None:
    world = World()
    world.endpoint(ONE, replying(answer(503), failure(Fault.CONNECT_FAILED), answer(204)))
    async with started(world) as process:
        await process.publish()
        await until(lambda: len(world.sent) == 3)
        await until(world.quiet)
        assert [(o, r) for _, o, r in world.outcomes()] == [
            (OUTCOMES.FAILED, "http_status"),
            (OUTCOMES.FAILED, "connect_failed"),
            (OUTCOMES.DELIVERED, "confirmed"),
        ]
        first, second, third = (sent.at for sent in world.sent)
        assert 0.999 <= second - first < 1.2, "within what a float tells of unix seconds"
        assert 0.999 <= third - second < 1.2
        assert world.database.health[ONE].failing_since is None


@virtual_time
async def test_the_cursor_does_not_wait_for_retries_and_neither_do_others() -> None:
    world = World()
    world.endpoint(ONE, replying(answer(500)), retry=RetrySettings(schedule=(3600.0,)))
    world.endpoint(TWO)
    async with started(world) as process:
        await process.publish(10)
        await until(lambda: world.cursor == 10, seconds=0.5)
        assert len(world.outcomes(TWO)) == 10
        assert {row.reason for row in world.rows().values()} == {OwedReason.FAILED}


@virtual_time
async def test_exhausted_is_given_up() -> None:
    world = World()
    world.endpoint(ONE, replying(answer(500)), retry=RetrySettings(schedule=(1.0,)))
    async with started(world) as process:
        await process.publish()
        await until(lambda: len(world.outcomes()) == 2)
        assert [o for _, o, _ in world.outcomes()] == [OUTCOMES.FAILED, OUTCOMES.GAVE_UP]
        await until(world.quiet)


@virtual_time
async def test_gone_disables_and_later_events_are_not_for_it() -> None:
    world = World()
    world.endpoint(ONE, replying(answer(410)))
    world.endpoint(TWO)
    async with started(world) as process:
        await process.publish()
        await until(lambda: not world.database.endpoints[ONE].enabled)
        assert world.database.endpoints[ONE].disabled_reason == "gone"
        assert world.database.effects == {}
        await process.publish(3)
        await until(world.quiet)
        assert [o for _, o, _ in world.outcomes(ONE)] == [OUTCOMES.GAVE_UP]
        assert len(world.outcomes(TWO)) == 4


@virtual_time
async def test_a_full_lane_spills_and_everything_is_delivered_once() -> None:
    world = World()

    async def slow(_: Sent) -> Result:
        await asyncio.sleep(0.01)
        return answer()

    world.endpoint(ONE, slow, concurrency=2)
    async with started(world) as process:
        ids = await process.publish(LANE_FRESH_MAX * 3)
        await until(lambda: any(row.reason is OwedReason.LANE_FULL for row in world.rows().values()))
        await until(lambda: world.cursor == len(ids), seconds=5.0)
        await until(world.quiet)
        assert world.times_sent() == dict.fromkeys(ids, 1)


def test_where_there_is_no_time_to_spare_what_is_more_waits_in_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would wait in memory for as long, and become rows there."""
    monkeypatch.setattr(engine_module, "OUTSTANDING_BUSY_MAX", 100)

    @virtual_time
    async def test() -> None:
        world = World()
        gate = asyncio.Event()
        world.endpoint(ONE, hanging(gate))
        world.endpoint(TWO, hanging(gate))
        async with started(world) as process:
            process.engine.busy = lambda: True  # type: ignore[assignment]
            ids = await process.publish(200)
            await asyncio.sleep(0.2)
            assert process.engine.progress.events == 100
            process.engine.busy = lambda: False  # type: ignore[assignment]
            await until(lambda: process.engine.progress.events == 200)
            gate.set()
            await until(world.quiet)
            assert world.times_sent() == dict.fromkeys(ids, 2), "by one request for each endpoint"

    test()


@virtual_time
async def test_a_request_that_hangs_is_passed_by_the_cursor_and_settles_its_row() -> None:
    world = World()
    gate = asyncio.Event()
    world.endpoint(ONE, hanging(gate))
    async with started(world) as process:
        await process.publish()
        await until(lambda: world.cursor == 1, seconds=3.0)
        row = world.rows()[1]
        assert (row.reason, row.sender, row.number) == (OwedReason.IN_FLIGHT, process.owner, 1)
        assert row.due_at == pytest.approx(EPOCH + 2 + 15 + IN_FLIGHT_GRACE_SECONDS, abs=0.5)
        await asyncio.sleep(60)
        assert len(world.sent) == 1, "memory speaks for it, due or not"
        gate.set()
        await until(world.quiet)
        assert world.outcomes() == [(1, OUTCOMES.DELIVERED, "confirmed")]


@virtual_time
async def test_what_waits_behind_it_becomes_rows_and_is_delivered() -> None:
    world = World()
    gate = asyncio.Event()
    world.endpoint(ONE, hanging(gate), concurrency=1)
    async with started(world) as process:
        ids = await process.publish(20)
        await until(lambda: world.cursor == 20, seconds=3.0)
        assert len(world.rows()) == 20
        gate.set()
        await until(world.quiet)
        assert world.times_sent() == dict.fromkeys(ids, 1)


@virtual_time
async def test_a_hanging_target_does_not_slow_its_neighbours_in_the_partition() -> None:
    """Even at a pace at which two seconds hold more events than may be outstanding."""
    world = World()
    gate = asyncio.Event()
    world.endpoint(ONE, hanging(gate), concurrency=1, events=("never.mind",))
    world.endpoint(TWO)
    world.endpoint(ONE, hanging(gate), concurrency=1)
    async with started(world) as process:
        await process.publish()
        await until(lambda: len(world.sent) == 2)
        world.endpoint(ONE, events=("never.mind",))
        await process.publish()
        for _ in range(20):
            await process.publish(500)
            await asyncio.sleep(0.05)
        assert world.cursor == 0, "the first event holds the cursor back"
        delays = sorted(process.telemetry.delays)
        assert delays[4_900] < 0.2, "what finds room in its lane goes at once"
        # A lane takes half of each of these; the rest are rows, which go as nothing live is in their way.
        await until(lambda: len(process.telemetry.delays) >= 10_000, seconds=10.0)
        gate.set()
        await until(world.quiet)


@virtual_time
async def test_a_paused_endpoint_keeps_its_rows_and_resumes() -> None:
    world = World()
    world.endpoint(ONE, paused=True)
    async with started(world) as process:
        ids = await process.publish(3)
        await until(lambda: world.cursor == 3)
        assert {row.reason for row in world.rows().values()} == {OwedReason.PAUSED}
        await asyncio.sleep(3600)
        assert world.sent == []
        world.endpoint(ONE)
        await until(world.quiet, seconds=1.0)
        assert world.times_sent() == dict.fromkeys(ids, 1)


@virtual_time
async def test_pausing_stops_what_waits_in_the_lane() -> None:
    world = World()
    gate = asyncio.Event()
    world.endpoint(ONE, hanging(gate), concurrency=1)
    async with started(world) as process:
        await process.publish(5)
        await until(lambda: len(world.sent) == 1)
        world.endpoint(ONE, concurrency=1, paused=True)
        await until(lambda: len(world.rows()) == 4)
        gate.set()
        await asyncio.sleep(60)
        assert len(world.sent) == 1
        assert len(world.outcomes()) == 1


@virtual_time
async def test_a_deleted_endpoint_is_owed_nothing_any_more() -> None:
    world = World()
    world.endpoint(ONE, replying(answer(500)), retry=RetrySettings(schedule=(5.0,)))
    world.endpoint(TWO, paused=True)
    async with started(world) as process:
        await process.publish(300)
        await until(lambda: len(world.database.owed) == 600)
        world.database.delete_endpoint(ONE)
        world.database.delete_endpoint(TWO)
        await until(world.quiet)
        last = {a.key: a for a in sorted(world.database.attempts.values(), key=lambda a: a.id)}
        assert {(a.outcome, a.reason, a.sent) for a in last.values()} == {(OUTCOMES.GAVE_UP, "cancelled", False)}
        assert len(last) == 600
        assert process.engine.backlog.endpoints == 0


@virtual_time
async def test_what_waits_in_a_deleted_endpoints_lane_is_not_sent() -> None:
    world = World()
    gate = asyncio.Event()
    world.endpoint(ONE, hanging(gate), concurrency=1)
    async with started(world) as process:
        await process.publish(5)
        await until(lambda: len(world.sent) == 1)
        world.database.delete_endpoint(ONE)
        await until(lambda: len(world.outcomes()) == 4, seconds=1.0)
        gate.set()
        await until(world.quiet)
        assert len(world.sent) == 1
        assert Counter(r for _, _, r in world.outcomes()) == {"cancelled": 4, "confirmed": 1}


@virtual_time
async def test_an_expired_event_is_given_up_without_a_request() -> None:
    world = World()
    world.endpoint(ONE, replying(answer(500)))
    async with started(world) as process:
        await process.publish(expires_at=EPOCH - 1.0)
        await process.publish(expires_at=EPOCH + 1.5)
        await until(world.quiet)
        assert world.outcomes() == [
            (1, OUTCOMES.GAVE_UP, "expired"),
            (2, OUTCOMES.FAILED, "http_status"),
            (2, OUTCOMES.FAILED, "http_status"),
            (2, OUTCOMES.GAVE_UP, "expired"),
        ]


@virtual_time
async def test_an_event_without_a_receiver_moves_the_cursor() -> None:
    world = World()
    async with started(world) as process:
        await process.publish(10)
        await until(world.quiet, seconds=3.0)
        assert world.sent == []


@virtual_time
async def test_an_endpoint_made_before_a_publish_never_misses_it() -> None:
    world = World()
    async with started(world) as process:
        for n in range(1, 30):
            endpoint_id = EndpointId(uuid7(3, n))
            world.endpoint(endpoint_id, events=("order.*",))
            await process.publish()
            await until(lambda e=endpoint_id, n=n: (n, OUTCOMES.DELIVERED, "confirmed") in world.outcomes(e))  # type: ignore[misc]


@virtual_time
async def test_what_has_ended_by_our_clock_but_not_by_the_stores_keeps_no_event_back() -> None:
    world = World()
    world.database = MemoryDatabase(clock=lambda: world.clock.now() - 5.0, partitions=2)
    world.database.put_app(APP, partition=0)
    world.endpoint(ONE)
    world.database.put_grant(grant(APP, expires_at=world.clock.now() + 1.0))
    loads = 0

    async def counted(operation: str, step: Step) -> None:
        nonlocal loads
        if operation == "apps":
            loads += 1
            await asyncio.sleep(0.001)

    world.database.hook = counted
    async with started(world) as process:
        await asyncio.sleep(2)
        await process.publish()
        await until(lambda: len(world.sent) == 1, seconds=1)
        assert loads < 10


@virtual_time
async def test_a_row_written_from_outside_is_sent_within_a_second() -> None:
    world = World()
    world.endpoint(ONE)
    async with started(world) as process:
        (event_id,) = await process.publish()
        await until(world.quiet)
        row = Owed(
            partition=0,
            endpoint_id=ONE,
            event_id=event_id,
            seq=1,
            number=1,
            due_at=world.clock.now(),
            reason=OwedReason.RESENT,
            kind=DeliveryClass.REPLAY,
        )
        world.database.owed[0, ONE, event_id] = row
        world.database.poke(0)
        await until(world.quiet, seconds=1.0)
        assert [sent.headers.get("webhook-replay") for sent in world.sent] == [None, "true"]


@virtual_time
async def test_a_retry_is_made_with_the_configuration_of_its_time() -> None:
    world = World()
    world.endpoint(ONE, replying(answer(500)))
    world.replies["/new"] = replying(answer(200))
    async with started(world) as process:
        await process.publish()
        await until(lambda: len(world.outcomes()) == 1)
        world.database.put_endpoint(ONE, APP, config("https://example.com/new", retry=QUICK))
        await until(world.quiet)
        assert [sent.path for sent in world.sent] == ["/1", "/new"]


@virtual_time
async def test_a_fault_of_ours_spends_no_attempt() -> None:
    world = World()
    world.endpoint(ONE, replying(OSError("no file descriptor is left"), OSError("still none"), answer()))
    async with started(world) as process:
        await process.publish()
        await until(world.quiet)
        assert world.outcomes() == [(1, OUTCOMES.DELIVERED, "confirmed")]
        assert [a.number for a in world.database.attempts.values()] == [1]
        assert ONE not in world.database.health


@virtual_time
async def test_an_endpoint_that_cannot_be_spoken_to_harms_no_other_and_waits_to_be_mended() -> None:
    world = World()
    world.endpoint(ONE)
    world.database.put_secret(ONE, Secret("v1", b"too short"))
    world.endpoint(TWO)
    async with started(world) as process:
        with capture_logs() as logs:
            ids = await process.publish(5)
            await until(lambda: world.cursor == 5)
            assert len(world.outcomes(TWO)) == 5
            await asyncio.sleep(600)
        assert len([e for e in logs if e["log_level"] == "error"]) < 5, "and floods no log"
        assert {row.reason for row in world.rows().values()} == {OwedReason.OUR_FAULT}
        world.database.endpoints[ONE].secrets.clear()
        world.endpoint(ONE)
        await until(world.quiet)
        assert world.times_sent() == dict.fromkeys(ids, 2)


# Processes come and go


@virtual_time
async def test_a_planned_hand_over_repeats_nothing_and_takes_under_a_second() -> None:
    world = World()
    gate = asyncio.Event()
    world.endpoint(ONE, hanging(gate), concurrency=4)
    world.endpoint(TWO)
    first, second = Process(world), Process(world)
    await first.engine.start()
    ids = await first.publish(50)
    await until(lambda: len(world.outcomes(TWO)) == 50)
    before = world.clock.boot()
    stopping = asyncio.create_task(first.engine.stop(seconds=30.0))
    await second.engine.start()
    await until(lambda: len(second.engine.ownership.epochs) == 2)
    assert world.clock.boot() - before < 1.0
    running = [row for row in world.rows().values() if row.reason is OwedReason.IN_FLIGHT]
    assert {row.sender for row in running} == {first.owner}
    assert len(running) == 4
    await asyncio.sleep(1)
    gate.set()  # the late answers settle their own rows
    await stopping
    await until(world.quiet)
    assert world.times_sent() == dict.fromkeys(ids, 2), "each once to each endpoint"
    await second.engine.stop()


@virtual_time
async def test_a_process_that_joins_gets_its_share_while_the_rest_goes_on() -> None:
    world = World()
    gate = asyncio.Event()
    world.endpoint(ONE, hanging(gate), concurrency=4)
    world.endpoint(TWO)
    world.database.put_app(OTHER_APP, partition=1)
    world.database.put_endpoint(THREE, OTHER_APP, EndpointConfig(url="https://example.com/3"))
    first, second = Process(world), Process(world)
    await first.engine.start()
    ids = await first.publish(50)
    await until(lambda: len(world.outcomes(TWO)) == 50)
    before = world.clock.boot()
    await second.engine.start()
    await until(lambda: sorted(second.engine.ownership.epochs) == [0])
    assert world.clock.boot() - before < 1.0
    assert sorted(first.engine.ownership.epochs) == [1]
    running = [row for row in world.rows().values() if row.reason is OwedReason.IN_FLIGHT]
    assert [row.sender for row in running] == [first.owner] * 4, "what runs is on record, and nothing more is started"
    others = await first.publish(5, app_id=OTHER_APP, partition=1)
    await until(lambda: len(world.outcomes(THREE)) == 5)
    gate.set()
    await until(world.quiet)
    assert world.times_sent() == dict.fromkeys(ids, 2) | dict.fromkeys(others, 1), "each once to each endpoint"
    assert {process.engine.ownership.live for process in (first, second)} == {2}
    await second.engine.stop()
    await until(lambda: sorted(first.engine.ownership.epochs) == [0, 1])
    await first.engine.stop()


@virtual_time
async def test_an_ordered_line_stays_in_order_however_often_its_partition_moves() -> None:
    world = World()
    world.endpoint(ONE, delaying(0.013), ordering=Ordering.ENDPOINT)
    first = Process(world)
    await first.engine.start()
    ids: list[EventId] = []
    owners: set[bytes | None] = set()
    for _ in range(6):
        ids += await first.publish(20)
        second = Process(world)
        await second.engine.start()
        await until(
            lambda: sorted(first.engine.ownership.epochs) == [1] and world.database.partitions[0].owner is not None
        )
        owners.add(world.database.partitions[0].owner)
        ids += await first.publish(20)
        await second.engine.stop()
        await until(lambda: len(first.engine.ownership.epochs) == 2)
        owners.add(world.database.partitions[0].owner)
    await until(world.quiet)
    assert len(owners) == 7, "it moved each time"
    assert [sent.event_id for sent in world.sent] == ids
    await first.engine.stop()


@virtual_time
async def test_partitions_whose_results_cannot_be_written_in_time_are_taken_as_after_a_crash() -> None:
    world = World()
    gate, away = asyncio.Event(), asyncio.Event()
    world.endpoint(ONE, hanging(gate))
    first, second = Process(world), Process(world)
    await first.engine.start()
    (event_id,) = await first.publish()
    await until(lambda: len(world.sent) == 1)

    async def slow(operation: str, step: Step) -> None:
        if operation == "journal" and step is Step.BEFORE_COMMIT:
            await away.wait()

    world.database.hook = slow
    await second.engine.start()
    await until(lambda: 0 in second.engine.ownership.epochs)
    assert world.times_sent() == {event_id: 2}, "nobody knows that it is on its way: a repeat, and no loss"
    away.set()
    gate.set()
    await until(world.quiet)
    for process in (first, second):
        await process.engine.stop()


@virtual_time
async def test_an_answer_that_comes_between_the_last_write_and_the_release_is_not_lost() -> None:
    world = World()
    gate = asyncio.Event()
    world.endpoint(ONE, hanging(gate))
    first = Process(world)
    await first.engine.start()
    (event_id,) = await first.publish()
    await until(lambda: len(world.sent) == 1)

    async def answered_then(operation: str, step: Step) -> None:
        if operation == "journal" and step is Step.AFTER_COMMIT:
            gate.set()

    world.database.hook = answered_then
    await first.engine.stop(seconds=5.0)
    async with started(world):
        await until(world.quiet)
    assert world.times_sent() == {event_id: 1}


@virtual_time
async def test_a_late_failure_after_a_hand_over_is_the_successors_to_try_again() -> None:
    world = World()
    gate = asyncio.Event()
    world.endpoint(ONE, hanging(gate, answer(500)))
    first = Process(world)
    await first.engine.start()
    (event_id,) = await first.publish()
    await until(lambda: len(world.sent) == 1)
    stopping = asyncio.create_task(first.engine.stop(seconds=10.0))
    async with started(world):
        await asyncio.sleep(1)
        gate.set()
        await stopping
        world.replies["/1"] = replying(answer())
        await until(world.quiet)
    assert world.times_sent() == {event_id: 2}
    assert [(o, r) for _, o, r in world.outcomes()] == [
        (OUTCOMES.FAILED, "http_status"),
        (OUTCOMES.DELIVERED, "confirmed"),
    ]


@virtual_time
async def test_what_is_looked_up_at_a_hand_over_is_its_successors_at_once() -> None:
    world = World()
    world.endpoint(ONE)
    world.database.put_grant(grant(APP))
    world.database.put_grant(grant(APP, expires_at=world.clock.now()))  # whether it is still covered must be asked
    asked, gate = asyncio.Event(), asyncio.Event()

    async def late(operation: str, step: Step) -> None:
        if operation == "covered" and not asked.is_set():
            asked.set()
            await gate.wait()

    world.database.hook = late
    first = Process(world)
    await first.engine.start()
    event_id = EventId(first.clock.new_id())
    await first.publisher.submit(0, [Draft(id=event_id, app_id=None, type="order.created", payload=b"{}")])
    await asked.wait()
    before = world.clock.boot()
    stopping = asyncio.create_task(first.engine.stop(seconds=30.0))
    async with started(world):
        await until(world.quiet)
        assert world.clock.boot() - before < 2.0
        gate.set()
        await stopping
    assert world.times_sent() == {event_id: 1}


@virtual_time
async def test_what_waits_for_a_token_at_a_hand_over_is_its_successors_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.endpoint(ONE, auth=OAuth2Auth(token_url="https://example.com/token", client_id="c", key="k"))
    world.database.endpoints[ONE].keys.append(KeyVersion("k", 1, "s"))
    asked, gate = asyncio.Event(), asyncio.Event()

    async def bearer(*_: object, **__: object) -> str:
        if not asked.is_set():
            asked.set()
            await gate.wait()
        return "token"

    monkeypatch.setattr(Tokens, "bearer", bearer)
    first = Process(world)
    await first.engine.start()
    (event_id,) = await first.publish()
    await asked.wait()
    before = world.clock.boot()
    stopping = asyncio.create_task(first.engine.stop(seconds=30.0))
    async with started(world):
        await asyncio.sleep(0.5)
        gate.set()
        await until(world.quiet)
        assert world.clock.boot() - before < 2.0
        await stopping
    assert world.times_sent() == {event_id: 1}


@virtual_time
async def test_a_slow_rate_holds_over_a_hand_over_while_something_cancelled_is_sent() -> None:
    world = World()
    gate = asyncio.Event()
    world.endpoint(ONE, rate_limit=RateLimit(0.1))
    first, second = Process(world), Process(world)
    await first.engine.start()
    ids = await first.publish(3)
    await until(lambda: len(world.outcomes()) == 1)
    world.replies["/1"] = hanging(gate)
    await until(lambda: len(world.rows()) == first.engine.lanes.waiting == 2)
    # It is in memory already, and goes ten seconds after the first.
    world.database.give_up(world.rows()[2], now=world.clock.now(), reason="cancelled")
    await until(lambda: [sent.event_id for sent in world.sent] == ids[:2])
    world.replies.clear()
    stopping = asyncio.create_task(first.engine.stop(seconds=60.0))
    await second.engine.start()
    await until(lambda: len(world.sent) == 3)
    assert world.sent[2].at - world.sent[1].at >= 10.0
    gate.set()
    await stopping
    await until(world.quiet)
    assert world.times_sent() == dict.fromkeys(ids, 1)
    await second.engine.stop()


@virtual_time
async def test_after_a_crash_only_what_has_no_terminal_attempt_is_sent_again() -> None:
    world = World()
    world.endpoint(ONE)
    first = Process(world)
    await first.engine.start()
    done = await first.publish(30)
    await until(lambda: len(world.outcomes()) == 30)
    gate = asyncio.Event()
    world.replies["/1"] = hanging(gate)
    undone = await first.publish(10)
    await until(lambda: len(world.sent) == 40)
    await first.kill()
    world.replies.clear()
    async with started(world):
        await until(world.quiet)
        assert world.times_sent() == dict.fromkeys(done, 1) | dict.fromkeys(undone, 2)
        assert len(world.outcomes()) == 40


@virtual_time
async def test_after_a_crash_rows_in_flight_are_due_at_once() -> None:
    world = World()
    gate = asyncio.Event()
    world.endpoint(ONE, hanging(gate))
    first = Process(world)
    await first.engine.start()
    (event_id,) = await first.publish()
    await until(lambda: world.cursor == 1, seconds=3.0)
    await first.kill()
    world.replies.clear()
    async with started(world):
        await until(world.quiet, seconds=1.0)
        assert world.times_sent() == {event_id: 2}


@virtual_time
async def test_a_crash_repeats_at_most_what_was_in_flight_and_unwritten() -> None:
    world = World()
    world.endpoint(ONE, concurrency=16)
    first = Process(world)
    await first.engine.start()
    published = [asyncio.create_task(first.publish(100)) for _ in range(30)]
    await asyncio.gather(*published)

    stuck = asyncio.Event()

    async def hook(operation: str, step: Step) -> None:
        if operation == "journal" and step is Step.BEFORE_COMMIT:
            await stuck.wait()

    world.database.hook = hook
    for _ in range(40):
        await first.publish(100)
    await asyncio.sleep(30)
    unwritten = len(world.sent) - len(world.database.attempts)
    assert unwritten <= UNWRITTEN_RESULTS_MAX + 16, "at the cap the lanes start nothing"
    await first.kill()
    world.database.hook = None
    async with started(world):
        await until(world.quiet)
    times = world.times_sent()
    assert len(times) == 7_000
    assert sum(times.values()) - len(times) <= UNWRITTEN_RESULTS_MAX + 16


@virtual_time
async def test_at_the_cap_of_unwritten_results_no_lane_starts_anything() -> None:
    world = World()

    async def slow(_: Sent) -> Result:
        await asyncio.sleep(0.05)
        return answer()

    stuck = asyncio.Event()

    async def hook(operation: str, step: Step) -> None:
        if operation == "journal" and step is Step.BEFORE_COMMIT:
            await stuck.wait()

    world.endpoint(ONE)
    world.endpoint(TWO, slow, concurrency=1)
    async with started(world) as process:
        world.database.hook = hook
        for _ in range(60):
            await process.publish(50)
            await asyncio.sleep(0.05)
        assert process.engine.lanes.waiting > 0
        before = len(world.sent)
        await asyncio.sleep(60)
        assert len(world.sent) == before
        stuck.set()
        await until(world.quiet, seconds=300.0)
        assert set(world.times_sent().values()) == {2}


@virtual_time
async def test_a_batch_of_an_older_epoch_releases_nothing_of_the_new_one() -> None:
    world = World()
    async with started(world) as process:
        key = (ONE, EventId(bytes(16)))
        process.engine.backlog.hold(0, key)
        epoch = process.engine.ownership.epochs[0]
        for epochs, held in (({0: epoch - 1}, True), ({0: epoch}, False)):
            process.engine._written(JournalBatch(owner=process.owner, epochs=epochs), Journalled({0}), [(0, key)])
            assert bool(process.engine.backlog._held) is held


@virtual_time
async def test_a_zombie_changes_nothing_but_the_row_it_had_marked() -> None:
    world = World()
    gate = asyncio.Event()
    world.endpoint(ONE, hanging(gate), concurrency=10)
    zombie = Process(world)
    await zombie.engine.start()
    (marked,) = await zombie.publish()
    await until(lambda: world.cursor == 1, seconds=3.0)
    (fresh,) = await zombie.publish()
    await until(lambda: len(world.sent) == 2)
    # Its session is lost, so its partitions are taken, while it knows nothing of that.
    world.replies["/1"] = hanging(asyncio.Event())
    world.dead.add(zombie.owner)
    async with started(world) as successor:
        await until(lambda: len(successor.engine.ownership.epochs) == 2)
        await until(lambda: len(successor.transport.sent) == 2)
        state = dict(world.database.owed)
        gate.set()
        await asyncio.sleep(1)
        assert world.outcomes() == [], (
            "its answers are not recorded: one row was recovered, the other never was its own"
        )
        assert world.database.owed == state
        assert zombie.engine.ownership.epochs == {}
        assert world.cursor == 1
        before = len(zombie.transport.sent)
        await zombie.publish(5)  # it may still append to the log
        await asyncio.sleep(1)
        assert len(zombie.transport.sent) == before, "and it starts no new send"
        assert {marked, fresh} <= set(world.times_sent())
    await zombie.engine.stop(seconds=1.0)


@virtual_time
async def test_nothing_is_sent_while_the_session_is_lost() -> None:
    world = World()
    world.endpoint(ONE)
    async with started(world) as process:
        world.dead.add(process.owner)
        process.engine.suspend()
        await process.publish(5)
        await asyncio.sleep(3)
        assert world.sent == []
        world.dead.clear()
        await until(lambda: len(world.sent) == 5)


@virtual_time
async def test_a_partition_taken_again_by_the_same_process_sends_nothing_twice_at_once() -> None:
    world = World()
    gate = asyncio.Event()
    world.endpoint(ONE, hanging(gate))
    async with started(world) as process:
        ids = await process.publish(3)
        await until(lambda: len(world.sent) == 3)
        await process.engine.ownership.abandon([0, 1])
        await until(lambda: len(process.engine.ownership.epochs) == 2)
        await asyncio.sleep(5)
        assert world.times_sent() == dict.fromkeys(ids, 1)
        gate.set()
        await until(world.quiet)
        assert world.times_sent() == dict.fromkeys(ids, 1)
        assert len(world.outcomes()) == 3


@pytest.mark.parametrize("moment", ["newest_attempt", "recorded", "owed_endpoints"])
def test_a_partition_that_is_lost_again_as_it_is_taken_is_not_held_for_ours(moment: str) -> None:
    """Its lanes would stay, and what they know of their lines grow old while it is another's."""

    @virtual_time
    async def test() -> None:
        world = World()
        gate, reached, go_on = asyncio.Event(), asyncio.Event(), asyncio.Event()
        world.endpoint(ONE, hanging(gate), ordering=Ordering.ENDPOINT)

        async def slow(operation: str, step: Step) -> None:
            if operation == moment:
                reached.set()
                await go_on.wait()

        async with started(world) as process:
            await process.publish()
            await until(lambda: len(world.sent) == 1)
            world.database.hook = slow
            await process.engine.ownership.abandon([0])
            await reached.wait()
            await process.engine.ownership.abandon([0])
            partition = world.database.partitions[0]
            partition.owner, partition.lease_until = b"o" * 16, world.clock.now() + 3600.0
            go_on.set()
            await asyncio.sleep(1)
            gate.set()
            await until(lambda: not process.transport.running)
            await asyncio.sleep(1)
            assert process.engine.ownership.epochs.keys() == {1}
            assert len(process.engine.lanes) == 0

    test()


@virtual_time
async def test_gone_from_before_its_partition_was_taken_again_leaves_an_ordered_lane_open() -> None:
    """It speaks for nothing then: its event is sent again, and what is told then counts."""
    world = World()
    gate = asyncio.Event()
    world.endpoint(ONE, hanging(gate, answer(410)), ordering=Ordering.ENDPOINT)
    async with started(world) as process:
        ids = await process.publish()
        await until(lambda: len(world.sent) == 1)
        await process.engine.ownership.abandon([0])
        await until(lambda: len(process.engine.ownership.epochs) == 2)
        world.replies.clear()
        gate.set()
        await until(lambda: not process.transport.running)
        ids += await process.publish(3)
        await until(world.quiet)
        assert [sent.event_id for sent in world.sent] == ids[:1] + ids
        assert world.database.endpoints[ONE].enabled


@virtual_time
async def test_what_changed_while_a_partition_was_another_s_is_known_when_it_is_ours_again() -> None:
    world = World()
    world.endpoint(ONE, replying(answer(500)), retry=RetrySettings(schedule=(60.0,)))
    world.replies["/new"] = replying(answer())
    async with started(world) as process:
        await process.publish()
        await until(lambda: len(world.rows()) == 1)
        await process.engine.ownership.abandon([0])
        world.database.put_endpoint(ONE, APP, config("https://example.com/new", retry=QUICK))
        await until(world.quiet, seconds=90)
        assert [sent.path for sent in world.sent] == ["/1", "/new"]


@virtual_time
async def test_a_store_that_is_away_stops_everything_and_loses_nothing() -> None:
    world = World()
    world.endpoint(ONE)
    async with started(world) as process:
        ids = await process.publish(50)

        async def away(operation: str, step: Step) -> None:
            raise StoreUnavailable("away")

        world.database.hook = away
        await asyncio.sleep(120)
        with pytest.raises(StoreUnavailable):
            await process.publish()
        world.database.hook = None
        await until(world.quiet)
        assert set(world.times_sent()) == set(ids)
        assert not process.engine.failed.done()


@virtual_time
async def test_an_effect_is_done_though_the_process_died_before_it() -> None:
    world = World()
    world.endpoint(ONE, replying(answer(410)))

    async def no_effects(operation: str, step: Step) -> None:
        if operation in ("disable_endpoint", "publish_effects"):
            raise StoreUnavailable("away")

    world.database.hook = no_effects
    first = Process(world)
    await first.engine.start()
    await first.publish()
    await until(lambda: len(world.database.effects) == 2)  # it is disabled, and the operators are told
    await first.kill()
    world.database.hook = None
    async with started(world):
        await until(lambda: not world.database.endpoints[ONE].enabled)
        await until(lambda: world.database.effects == {})


@virtual_time
async def test_a_start_that_fails_leaves_nothing_running() -> None:
    world = World()

    async def away(operation: str, step: Step) -> None:
        raise StoreUnavailable("away")

    world.database.hook = away
    process = Process(world)
    with pytest.raises(StoreUnavailable):
        await process.engine.start()
    assert asyncio.all_tasks() == {asyncio.current_task()}


@virtual_time
async def test_a_stop_leaves_nothing_running() -> None:
    world = World()
    world.endpoint(ONE, hanging(asyncio.Event()))
    process = Process(world)
    await process.engine.start()
    await process.publish(300)
    await asyncio.sleep(3)
    await process.engine.stop(seconds=1.0)
    await process.publisher.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert all(partition.owner is None for partition in world.database.partitions)


@virtual_time
async def test_a_stop_without_a_store_ends_in_time() -> None:
    world = World()
    world.endpoint(ONE)
    process = Process(world)
    await process.engine.start()
    await process.publish(3)

    async def away(operation: str, step: Step) -> None:
        await asyncio.sleep(3600)

    world.database.hook = away
    process.engine.tails.nudge([0])
    await asyncio.sleep(3)  # a round of the ownership hangs too
    before = world.clock.boot()
    await process.engine.stop(seconds=2.0)
    assert world.clock.boot() - before <= 5.0
    assert asyncio.all_tasks() == {asyncio.current_task()}


@virtual_time
async def test_a_task_that_dies_of_a_bug_is_told() -> None:
    world = World()
    process = Process(world)
    await process.engine.start()

    async def bug(operation: str, step: Step) -> None:
        raise ZeroDivisionError(operation)

    world.database.hook = bug
    with capture_logs() as logs:
        await until(process.engine.failed.done)
    with pytest.raises(ZeroDivisionError):
        process.engine.failed.result()
    assert any(entry["log_level"] == "critical" for entry in logs)
    world.database.hook = None
    await process.engine.stop(seconds=1.0)
