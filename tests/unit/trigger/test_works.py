"""The triggers of a process: one that nobody can begin to work on is no matter of the others."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Any, cast

import pytest
from structlog.testing import capture_logs
from tests.fakes import FakeClock, until, virtual_time
from tests.making import new_id, new_owner
from tests.shelf import Shelf

from posthouse.domain.ids import TriggerId
from posthouse.domain.limits import TRIGGER_PUT_OFF_SECONDS
from posthouse.domain.trigger import Trigger, TriggerConfig
from posthouse.ports.expressions import NO_EXPRESSIONS
from posthouse.ports.triggers import Progress, Taken
from posthouse.trigger.works import Works

OWNER = new_owner()


class Queue:
    """`TriggerQueue` of one process, in memory."""

    def __init__(self, *configs: TriggerConfig) -> None:
        self.triggers = [Trigger(id=TriggerId(new_id()), config=config) for config in configs]
        self.until: dict[TriggerId, float] = {}
        self.claimed: list[TriggerId] = []
        self.put: list[tuple[dict[TriggerId, int], float]] = []

    async def claim(
        self, owner: bytes, kinds: Collection[str], *, held: int, lease_seconds: float
    ) -> tuple[list[Taken], int]:
        now = asyncio.get_running_loop().time()
        free = [one for one in self.triggers if self.until.get(one.id, now) <= now]
        self._lease([one.id for one in free], lease_seconds)
        self.claimed += [one.id for one in free]
        return [Taken(one, 1) for one in free], len(self.triggers)

    async def put_off(self, owner: bytes, epochs: Mapping[TriggerId, int], *, seconds: float) -> None:
        self._lease(epochs, seconds)
        self.put.append((dict(epochs), seconds))

    async def renew(
        self, owner: bytes, epochs: Mapping[TriggerId, int], *, lease_seconds: float
    ) -> dict[TriggerId, int]:
        self._lease(epochs, lease_seconds)
        return {one.id: one.version for one in self.triggers if one.id in epochs}

    async def record(self, taken: Taken, progress: Progress) -> int | None:
        return 0

    async def release(self, owner: bytes, epochs: Mapping[TriggerId, int]) -> None:
        self._lease(epochs, 0.0)

    def _lease(self, ids: Collection[TriggerId], seconds: float) -> None:
        self.until |= dict.fromkeys(ids, asyncio.get_running_loop().time() + seconds)


@pytest.mark.parametrize(
    "config",
    [
        TriggerConfig(kind="shelf", type="row.{"),
        TriggerConfig(kind="shelf", type="row.{op}", settings="no JSON"),
    ],
    ids=["a template that is none", "settings that are none"],
)
@virtual_time
async def test_one_that_cannot_be_begun_is_put_off_and_the_others_begin(config: TriggerConfig) -> None:
    queue, shelf = Queue(config, TriggerConfig(kind="shelf", type="row.{op}")), Shelf()
    bad, good = (one.id for one in queue.triggers)
    nobody = cast(Any, None)
    works = Works(
        queue, {"shelf": shelf}, nobody, nobody, NO_EXPRESSIONS, FakeClock(), owner=OWNER, payload_bytes_max=1
    )
    with capture_logs() as logs:
        works.start()
        await until(lambda: shelf.open == 1, "work on the other one")
        await asyncio.sleep(TRIGGER_PUT_OFF_SECONDS / 2)
        assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["trigger.not_begun"]
        assert queue.put == [({bad: 1}, TRIGGER_PUT_OFF_SECONDS)]
        assert queue.claimed == [bad, good]
        # It is tried again, and the work on the other one goes on meanwhile.
        await until(lambda: len(queue.put) == 2, "another try", seconds=TRIGGER_PUT_OFF_SECONDS)
        assert queue.claimed == [bad, good, bad]
        assert shelf.opened == 1
        await works.close()
    assert not shelf.open
