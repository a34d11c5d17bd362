"""One run: a cluster, its load and its targets, a plan carried out, and the history of it all."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from pathlib import Path
from typing import Final

import asyncpg
from tests.chaos.cluster import Cluster, Process
from tests.chaos.history import History, Kind, Trouble
from tests.chaos.load import PUBLISHERS, Load
from tests.chaos.plan import Act, Plan, Step
from tests.chaos.proxy import Proxy
from tests.chaos.receiver import Receiver
from tests.chaos.records import Records

from posthouse.adapters.postgres.embedded import EmbeddedPostgres

REST_SECONDS_MAX: Final = 60.0
HEARTBEAT_SECONDS: Final = 0.02
BUSY_SECONDS: Final = 3.0  # so far back it is looked who sends how much


class Run:
    """Carries a plan out. `execute` returns the history, at rest or not."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan = plan
        self._folder = folder
        self._chance = random.Random(plan.seed)
        self.history = History()
        self._receiver = Receiver(self.history, random.Random(plan.seed + 1))
        self._targets: Proxy
        self._cluster: Cluster
        self._load: Load

    async def execute(self) -> History:
        (self._folder / "data").mkdir()
        os.chmod(self._folder / "data", 0o700)
        embedded = EmbeddedPostgres(self._folder / "data", durable=False, shared_buffers_mb=64, max_connections=300)
        dsn = await embedded.start()
        heart = asyncio.create_task(self._beat())
        self._cluster = Cluster(dsn, self._folder, self.history)
        try:
            await self._receiver.start()
            self._targets = Proxy(self._receiver.port, late=False)
            await self._targets.start()
            await self._cluster.start()
            self._load = Load(
                self.history,
                self._chance,
                self._cluster.ports,
                direct=self._receiver.port,
                proxied=self._targets.port,
            )
            await self._load.configure()
            await self._under_fire()
            records = Records(await asyncpg.connect(dsn))
            until = time.time() + REST_SECONDS_MAX
            while not await records.read_state(self.history):
                if time.time() >= until:
                    break
                await asyncio.sleep(0.2)
            await self._cluster.stop()
            await records.read_all(self.history)
        finally:
            heart.cancel()
            await self._cluster.close()
            await self._targets.close()
            await self._receiver.close()
            await embedded.stop()
        return self.history

    async def _under_fire(self) -> None:
        """Publish, and let go wrong what is planned. In the end everything works again."""
        self._began = time.time()
        publishers = [asyncio.create_task(self._load.publish(n)) for n in range(PUBLISHERS)]
        async with asyncio.TaskGroup() as group:
            group.create_task(self._to_processes(group))
            for step in self._plan.others:
                group.create_task(self._other(step))
            group.create_task(self._sleep_until(self._plan.seconds))
        self._receiver.moods.clear()
        self._load.publishing = False
        await asyncio.gather(*publishers)
        await self._load.resume_all()

    async def _sleep_until(self, at: float) -> None:
        await asyncio.sleep(max(self._began + at - time.time(), 0.0))

    async def _to_processes(self, group: asyncio.TaskGroup) -> None:
        """What happens to processes, to each one thing at a time: where all are suffering, the next step comes later."""
        well = asyncio.Queue[Process]()
        for process in self._cluster.processes:
            well.put_nowait(process)

        async def suffer(process: Process, step: Step) -> None:
            await process.suffer(step)
            well.put_nowait(process)

        for step in self._plan.to_processes:
            await self._sleep_until(step.at)
            able = [await well.get()]
            while not well.empty():
                able.append(well.get_nowait())
            if time.time() > self._began + self._plan.seconds:
                return
            sent = Counter(a.sender[0] for a in self.history.arrivals if a.at > time.time() - BUSY_SECONDS)
            able.sort(key=lambda process: (-sent[process.number], process.number))
            process = able.pop(min(step.whom, len(able) - 1))
            for other in able:
                well.put_nowait(other)
            group.create_task(suffer(process, step))

    async def _other(self, step: Step) -> None:
        await self._sleep_until(step.at)
        match step.act:
            case Act.SEVER_TARGETS:
                trouble = self._note_targets()
                self._targets.refusing = True
                self._targets.sever()
                await asyncio.sleep(step.seconds)
                self._targets.refusing = False
                trouble.end = time.time()
            case Act.STALL_TARGETS:
                trouble = self._note_targets()
                self._targets.stall()
                await asyncio.sleep(step.seconds)
                self._targets.flow()
                trouble.end = time.time()
            case Act.MOOD:
                path = self._load.pick(step.whom).path
                self._receiver.moods[path] = step.detail
                await asyncio.sleep(step.seconds)
                self._receiver.moods.pop(path, None)
            case Act.PAUSE:
                await self._load.pause(step.whom, step.seconds)
            case Act.CHANGE:
                await self._load.change(step.whom)
            case Act.CHURN:
                await self._load.churn(step.whom, step.seconds)
            case Act.RESEND:
                await self._load.resend(step.whom)
            case Act.REPLAY:
                await self._load.replay(step.whom)
            case _:
                raise ValueError(f"for a process: {step}")

    def _note_targets(self) -> Trouble:
        trouble = Trouble(Kind.TARGETS, time.time(), float("inf"))
        self.history.troubles.append(trouble)
        return trouble

    async def _beat(self) -> None:
        """How long we ourselves were held up: what came meanwhile was noted late."""
        while True:
            before = time.time()
            await asyncio.sleep(HEARTBEAT_SECONDS)
            lag = time.time() - before - HEARTBEAT_SECONDS
            if lag > HEARTBEAT_SECONDS:
                self.history.lags.append((before, lag))
