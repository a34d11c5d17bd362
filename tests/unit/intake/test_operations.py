"""Operators are told of quotas, and not too often."""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec
import pytest
from tests.fakes import EPOCH, FakeClock, FakeTelemetry, virtual_time

from posthouse.adapters.memory import MemoryDatabase, MemoryLog, Step
from posthouse.domain.errors import QuotaExceeded, StoreUnavailable
from posthouse.domain.ids import REPLAY, AppId, EndpointId, JobId, format_id, uuid7
from posthouse.domain.limits import NEWS_PENDING_MAX
from posthouse.domain.operations import OPERATIONS_APP, replay_finished
from posthouse.domain.replay import Replay, ReplayState, Select, Wanted
from posthouse.intake.operations import Operators
from posthouse.intake.publisher import Publisher

APP: Final = AppId(uuid7(1, 1))
HOUR: Final = 3600
RATE: Final = QuotaExceeded("too fast", code="quota_publish_rate", limit=5, retry_after=1)
ENDPOINTS: Final = QuotaExceeded("too many", code="quota_endpoints", limit=3)


class Desk:
    def __init__(self, database: MemoryDatabase | None = None) -> None:
        self.clock = FakeClock()
        self.database = database or MemoryDatabase(clock=self.clock.now, partitions=2)
        self.publisher = Publisher(MemoryLog(self.database), self.clock, FakeTelemetry(), appended=lambda _: None)
        self.operators = Operators(self.publisher, self.clock)

    async def told(self) -> list[tuple[str, float]]:
        await self.operators.close()
        events = self.database.partitions[0].events.values()
        assert {event.type for event in events} <= {"quota.reached"}
        return [(data["quota"], data["limit"]) for data in (msgspec.json.decode(event.payload) for event in events)]


@virtual_time
async def test_a_quota_is_told_of_once_an_hour() -> None:
    desk = Desk()
    for refusal in (RATE, RATE, ENDPOINTS, RATE):
        desk.operators.quota_refused(APP, refusal)
    assert await desk.told() == [("quota_publish_rate", 5), ("quota_endpoints", 3)]
    await asyncio.sleep(HOUR - 10)
    desk.operators.quota_refused(APP, RATE)
    assert len(await desk.told()) == 2
    await asyncio.sleep(11)
    desk.operators.quota_refused(APP, RATE)
    desk.operators.quota_refused(AppId(uuid7(1, 2)), RATE)
    assert len(await desk.told()) == 4


@virtual_time
async def test_of_several_processes_one_is_heard() -> None:
    first = Desk()
    second = Desk(first.database)
    for desk in (first, second):
        desk.operators.quota_refused(APP, RATE)
    await second.told()
    assert await first.told() == [("quota_publish_rate", 5)]


@virtual_time
async def test_nobody_is_told_of_the_operators_own_app() -> None:
    desk = Desk()
    desk.operators.quota_refused(OPERATIONS_APP, ENDPOINTS)
    assert await desk.told() == []


@virtual_time
async def test_what_could_not_be_told_is_told_the_next_time() -> None:
    desk = Desk()

    async def away(operation: str, step: Step) -> None:
        raise StoreUnavailable("away")

    desk.database.hook = away
    desk.operators.quota_refused(APP, RATE)
    assert await desk.told() == []
    desk.database.hook = None
    desk.operators.quota_refused(APP, RATE)
    assert await desk.told() == [("quota_publish_rate", 5)]


@virtual_time
async def test_the_end_of_a_replay_is_told_once() -> None:
    desk = Desk()
    wanted = Wanted(
        partition=1, app_id=APP, endpoint_id=EndpointId(uuid7(2, 1)), select=Select.ALL, since=0.0, until=1.0
    )
    replay = Replay(id=JobId(uuid7(3, 1)), wanted=wanted, state=ReplayState.FINISHED, selected=7, finished_at=EPOCH)
    for _ in range(2):
        desk.operators.replay_ended(replay)
        await desk.operators.close()
    (event,) = desk.database.partitions[0].events.values()
    assert event.type == "replay.finished"
    told = msgspec.json.decode(event.payload)
    assert (told["replay"], told["state"], told["deliveries"]) == (format_id(REPLAY, replay.id), "finished", 7)


@virtual_time
async def test_a_crowd_of_refusals_is_bounded() -> None:
    desk = Desk()
    for number in range(3 * NEWS_PENDING_MAX):
        desk.operators.quota_refused(AppId(uuid7(1, number)), RATE)
    assert len(await desk.told()) == NEWS_PENDING_MAX


@virtual_time
async def test_what_is_told_once_is_in_the_log_when_it_returns() -> None:
    desk = Desk()
    news = replay_finished(APP, b"e" * 16, replay="job_1", state="finished", deliveries=3, at=desk.clock.now())  # type: ignore[arg-type]
    await desk.operators.tell(news, once="replay.finished/job_1")
    await desk.operators.tell(news, once="replay.finished/job_1")
    assert [event.type for event in desk.database.partitions[0].events.values()] == ["replay.finished"]
    await desk.publisher.close()
    with pytest.raises(Exception, match="shutting down"):
        await desk.operators.tell(news, once="another")
