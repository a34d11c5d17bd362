"""Operators are told of quotas, and not too often."""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec
import pytest
from structlog.testing import capture_logs
from tests.fakes import EPOCH, FakeClock, FakeTelemetry, virtual_time

from posthouse.adapters.memory import MemoryDatabase, MemoryLog, Step
from posthouse.domain.errors import QuotaExceeded, StoreUnavailable
from posthouse.domain.ids import REPLAY, AppId, EndpointId, JobId, ScheduleId, format_id, uuid7
from posthouse.domain.limits import NEWS_PENDING_MAX
from posthouse.domain.occurrences import Timing
from posthouse.domain.operations import OPERATIONS_APP, LogRewound, ScheduleFailing, replay_finished
from posthouse.domain.replay import Replay, ReplayState, Select, Wanted
from posthouse.domain.schedule import Schedule, ScheduleConfig
from posthouse.domain.verdict import Refused
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
async def test_logs_that_lost_their_ends_are_told_of_together_and_until_it_is_stored() -> None:
    desk = Desk()

    async def away(operation: str, step: Step) -> None:
        raise StoreUnavailable("away")

    desk.database.hook = away
    for partition, at in ((7, EPOCH - 5), (3, EPOCH - 1), (7, EPOCH - 9)):
        desk.operators.log_rewound(partition, at)
    await asyncio.sleep(30)
    assert desk.database.partitions[0].events == {}
    desk.database.hook = None
    await asyncio.sleep(2)
    (event,) = desk.database.partitions[0].events.values()
    assert (event.type, event.app_id, event.key) == ("log.rewound", OPERATIONS_APP, "log.rewound")
    told = msgspec.json.decode(event.payload, type=LogRewound)
    assert (told.app, told.partitions) == (None, [3, 7])
    assert told.last_seen_at.timestamp() == EPOCH - 1
    await asyncio.sleep(30)
    assert len(desk.database.partitions[0].events) == 1
    desk.operators.log_rewound(7, EPOCH)
    await asyncio.sleep(2)
    assert len(desk.database.partitions[0].events) == 2


@virtual_time
async def test_a_log_that_lost_its_end_keeps_nobody_from_ending() -> None:
    desk = Desk()
    desk.operators.log_rewound(7, EPOCH)
    with capture_logs() as logs:
        await desk.operators.close()
    assert [(entry["event"], entry["partitions"]) for entry in logs] == [("operations.not_told", [7])]
    await asyncio.sleep(2)
    assert desk.database.partitions[0].events == {}


@virtual_time
async def test_an_occurrence_that_is_refused_is_told_once() -> None:
    desk = Desk()
    config = ScheduleConfig(timing=Timing(every=60), type="day.closed")
    schedule = Schedule(id=ScheduleId(uuid7(4, 1)), config=config, uid="nightly", app_id=None)
    for _ in range(2):
        desk.operators.schedule_failing(schedule, EPOCH - 60, Refused("event_type_not_found", "there is none"))
        await desk.operators.close()
    (event,) = desk.database.partitions[0].events.values()
    assert event.type == "schedule.failing"
    told = msgspec.json.decode(event.payload, type=ScheduleFailing)
    assert (told.app, told.schedule, told.type, told.code) == (None, "nightly", "day.closed", "event_type_not_found")
    assert told.scheduled_at.timestamp() == EPOCH - 60


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
