"""The cap on what an endpoint is owed: beyond it the oldest is given up, and somebody is told."""

from __future__ import annotations

from tests.fakes import EPOCH, FakeClock, FakeTelemetry, FakeTransport, until, virtual_time

from posthouse.adapters.memory import MemoryDatabase, MemoryLog, MemoryStore
from posthouse.dispatch.engine import Engine
from posthouse.domain.delivery import AttemptOutcome
from posthouse.domain.endpoint import EndpointConfig
from posthouse.domain.event import Draft
from posthouse.domain.ids import AppId, EndpointId, EventId, uuid7

APP = AppId(uuid7(5, 1))
PAUSED, OTHER = EndpointId(uuid7(6, 1)), EndpointId(uuid7(6, 2))


@virtual_time
async def test_what_is_too_much_expires_oldest_first_and_the_operators_hear_of_it() -> None:
    clock = FakeClock(seed=1)
    database = MemoryDatabase(clock=clock.now, partitions=1)
    database.put_app(APP, partition=0)
    database.put_endpoint(PAUSED, APP, EndpointConfig(url="https://example.com/paused"), paused=True)
    database.put_endpoint(OTHER, APP, EndpointConfig(url="https://example.com/other"))

    engine = Engine(
        event_log=(log := MemoryLog(database)),
        store=MemoryStore(database),
        transport=FakeTransport(),
        clock=clock,
        telemetry=FakeTelemetry(),
        owner=clock.new_id(),
        exclusive=True,
        owed_max=100,
    )
    told: list[tuple[AppId, int]] = []
    engine.overflow.told = lambda app_id, rows_max: told.append((app_id, rows_max))
    await engine.start()
    try:
        ids = [EventId(clock.new_id()) for _ in range(150)]
        await log.append([Draft(id=i, app_id=APP, type="order.created", payload=b"{}") for i in ids])
        await until(lambda: len(database.owed) == 99 and engine.journal.unwritten == 0, "a hundredth more than must be")
        kept = {event_id for _, _, event_id in database.owed}
        assert kept == set(ids[-99:]), "the oldest went"
        gone = [a for a in database.attempts.values() if a.endpoint_id == PAUSED]
        assert {a.event_id for a in gone} == set(ids) - kept
        assert {(a.outcome, a.reason, a.sent) for a in gone} == {(AttemptOutcome.GAVE_UP, "expired", False)}
        assert {a.error for a in gone} == {"the endpoint was owed more than 100 deliveries"}
        assert all(app == (APP, 100) for app in told)
        delivered = [a for a in database.attempts.values() if a.endpoint_id == OTHER]
        assert len(delivered) == 150, "others lose nothing"
        assert clock.now() < EPOCH + 30
    finally:
        await engine.stop()
