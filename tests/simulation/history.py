"""One history, from its seed to its verdict."""

from __future__ import annotations

import asyncio
import gc
import random
import zlib
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, NoReturn

import structlog
from tests.simulation.faults import YOUNG_MOODS, Weather
from tests.simulation.memory import (
    CRAMPED,
    CRAMPED_BUSY,
    CRAMPED_FILTERING,
    LANES,
    LONG_TURNS,
    PAGED,
    SLOWING,
    patched,
)
from tests.simulation.plots import Plots
from tests.simulation.process import Process
from tests.simulation.scenes import Scenes
from tests.simulation.scheduler import SimLoop, elsewhere
from tests.simulation.world import World

from posthouse.domain.ids import AppId

STEPS: Final = 60
SETTLED_SECONDS_MAX: Final = 900.0
STALL_SECONDS_MAX: Final = 25.0
HAND_OVER_SECONDS: Final = 15.0
PROCESSES_MAX: Final = 3
APART: Final = 0.25  # so much less becomes of processes while a plot is played


class Verdict(NamedTuple):
    """What is wrong with a history, nothing if all is well. Equal digests are of equal histories: of what happened, of how
    often the loop went round, and of what was drawn."""

    seed: int
    wrong: str
    digest: int
    events: int
    statements: int


@contextmanager
def undisturbed() -> Iterator[None]:
    """Free what is left behind afterwards, and not at any time: a coroutine that is freed runs its `finally`."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.collect()
        if was_enabled:
            gc.enable()


def run(seed: int, tell: Callable[[str], None] | None = None) -> Verdict:
    """Run the history of a seed, which depends on nothing else; `tell` is told of everything that happens."""
    with undisturbed():
        return _run(seed, tell)


def _run(seed: int, tell: Callable[[str], None] | None) -> Verdict:
    draw = random.Random(seed)
    weather = Weather.drawn(draw, random.Random(seed + 4))
    limits: dict[str, float] = {path: value for path, value in CRAMPED.items() if draw.random() < weather.cramped}
    apart = random.Random(seed + 7)
    if "held_up" in weather.plots and apart.random() < 0.5:
        limits |= {path: CRAMPED[path] for path in LANES}
    if not PAGED.keys().isdisjoint(limits):
        limits |= PAGED
    limits |= {path: value for path, value in CRAMPED_FILTERING.items() if apart.random() < weather.cramped}
    busy = random.Random(seed + 11)
    limits |= {path: value for path, value in CRAMPED_BUSY.items() if busy.random() < weather.cramped}
    if random.Random(seed + 13).random() < 0.3:
        limits |= LONG_TURNS
        weather = weather._replace(plots=(*weather.plots, "opened", "let_go"))
    moods = random.Random(seed + 15)
    weather = weather._replace(moods=(*weather.moods, *(mood for mood in YOUNG_MOODS if moods.random() < 0.3)))
    alarms: list[str] = []

    def listen(_: object, level: str, entry: MutableMapping[str, Any]) -> NoReturn:
        if level == "critical":
            alarms.append(f"alarm: {entry['event']} {entry.get('error', '')} {entry.get('exc_info', '')!r}")
        if tell is not None:
            tell(f"{level}: {entry}")
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[listen], cache_logger_on_first_use=False)
    try:
        with patched(limits):
            history = History(seed, weather, slow=not SLOWING.isdisjoint(limits), alarms=alarms)
            history.world.checker.tell = tell
            order = random.Random(seed + 2) if weather.shuffled else None
            loop = SimLoop(order)
            loop.set_exception_handler(lambda _, about: None)  # what belonged to the dead is never ended
            try:
                wrong = loop.run_until_complete(history.told())
            finally:
                loop.close()
    finally:
        structlog.configure(**before)
    checker = history.world.checker
    drawn = [source.random() for source in (history.random, history.world.random, *([order] if order else []))]
    digest = zlib.crc32(repr((loop.turns, loop.time(), drawn)).encode(), checker.digest)
    return Verdict(seed, wrong, digest, len(checker.began), checker.statements)


class History:
    """Some steps in which anything may go wrong, then time in which nothing does; `alarms` are what the engine shouted."""

    def __init__(self, seed: int, weather: Weather, *, slow: bool, alarms: list[str]) -> None:
        self.random = random.Random(seed + 3)
        small = self.random.random() < 0.5
        self.world = World(seed, weather, small_budget=small, slow_limits=slow)
        self.alarms = alarms
        self.scenes = Scenes(
            self.world,
            self.random,
            random.Random(seed + 5),
            leave=self._hand_over_of,
            without_session=self._without_session,
        )
        self.fates = (self._crash, self._stall, self._lose_session, self._exchange, self._cut_off, self._hand_over)
        self.plots = Plots(self.world, random.Random(seed + 9), leave=self._hand_over_of)

    async def told(self) -> str:
        """What is wrong; the first thing, since others follow from it."""
        try:
            await self._lived()
        except AssertionError as error:
            return self._wrong() or f"at {self.world.now():.3f} s: {error}"
        return self._wrong()

    def _wrong(self) -> str:
        return next(iter([*self.world.checker.violations, *self.alarms]), "")

    def _look(self) -> None:
        """Stop at once where anything is wrong."""
        for process in self.world.alive():
            self.world.checker.looks_at(process)
            failed = process.engine.failed
            assert not failed.done(), f"process {process.number} has failed: {failed.exception()!r}"
        assert not self._wrong(), self._wrong()

    async def _lived(self) -> None:
        world = self.world
        world.install()
        world.begin()
        world.begin()
        for _ in range(STEPS):
            self._step()
            await asyncio.sleep(self.random.random() * 0.7)
            self._look()
        if world.weather.failing:
            # What the store did not answer to at the very end nothing brings to mind any more.
            world.network.doubt = self.random.choice((0.0, 0.5, 0.9))
            await asyncio.sleep(self.random.random() * 2.0)
        self.scenes.over = self.plots.over = True
        self._be_good()
        await asyncio.sleep(self.random.random() * 2.0)
        self._mend()
        until = world.now() + SETTLED_SECONDS_MAX
        while not self._settled():
            assert world.now() < until, f"it is not settled: {self._unsettled()}"
            await asyncio.sleep(0.5)
            self._look()
        self._look_back()

    def _step(self) -> None:
        world, weather, draw = self.world, self.world.weather, self.random
        weights = {
            self._publish: 55.0,
            self._stream: weather.stream,
            self._change_mood: 13.0,
            world.release_blocked: 2.0,
            world.resend: 6.0,
            world.cancel: 4.0,
            world.reconfigure: weather.configure,
            self._change_grants: weather.grants,
            self._crash: weather.crash,
            self._stall: weather.stall,
            self._lose_session: weather.session,
            self._exchange: weather.exchange,
            self._cut_off: weather.cut_off,
            self._hand_over: weather.hand_over,
            self.scenes.leave_as_it_sends: weather.leaving,
            self.scenes.flood: weather.flood,
            self.scenes.send_again_unlooked: weather.unlooked,
            self.plots.play: 15.0 if weather.plots else 0.0,
            self._join: weather.join,
            self._jump: 3.0 if weather.skew else 0.0,
        }
        if self.plots.playing:
            weights |= {step: weights[step] * APART for step in self.fates}
        (step,) = draw.choices(list(weights), list(weights.values()))
        world.checker.note(step.__name__)
        step()

    def _publish(self) -> None:
        app_id = None if self.random.random() < 0.25 else self.random.choice(self.world.apps)
        elsewhere(self.world.publish(app_id, self.random.choice((1, 1, 2, 40) if app_id else (1, 1, 2, 10))))

    def _stream(self) -> None:
        """Events of one app, one after the other, about as fast as its rows are written; its targets may change meanwhile."""
        draw, world = self.random, self.world
        app_id = draw.choice(world.apps)
        mine = [e for e in world.changeable() if world.database.endpoints[e].app_id == app_id]
        for endpoint_id in mine:
            if draw.random() < 0.5:
                world.targets.moods[endpoint_id] = draw.choice(world.weather.moods)
        elsewhere(self._streamed(app_id, draw.choice((0.0, 0.02, 0.1)), draw.choice((10, 30))))

    async def _streamed(self, app_id: AppId, seconds: float, count: int) -> None:
        for _ in range(count):
            elsewhere(self.world.publish(app_id, 1))
            await asyncio.sleep(self.random.random() * seconds)

    def _change_mood(self) -> None:
        targets, moods = self.world.targets, self.world.weather.moods
        if self.random.random() < 0.1:  # a network that many of them share
            mood = self.random.choice(moods)
            for endpoint_id in self.world.changeable():
                targets.moods[endpoint_id] = targets.second_moods[endpoint_id] = mood
            return
        endpoint_id = self.random.choice(self.world.changeable())
        targets.moods[endpoint_id] = self.random.choice(moods)
        targets.second_moods[endpoint_id] = self.random.choice(moods)

    def _change_grants(self) -> None:
        if self.random.random() < 0.5:
            self.world.revoke()
        else:
            self.world.grant(self.random.choice(self.world.apps))

    # What becomes of processes

    def _some(self) -> Process:
        self.world.disturbed = self.world.now()
        return self.random.choice(self.world.serving())

    def _crash(self) -> None:
        self._some().kill()
        self.world.begin()

    def _stall(self) -> None:
        """It stops, perhaps past its lease, and goes on."""
        process = self._some()
        if not process.stalled:
            process.stall()
            elsewhere(self._resume(process, self.random.random() * STALL_SECONDS_MAX))

    async def _resume(self, process: Process, seconds: float) -> None:
        await asyncio.sleep(seconds)
        if process.stalled:
            self.world.disturbed = self.world.now()
            process.disturbed()
            process.resume()

    def _exchange(self) -> None:
        """Its partitions go to others and come back, while what it has to write of them waits."""
        process = self._some()
        if not process.session_lost and len(self.world.serving()) > 1:
            process.cut_off = (frozenset({"journal"}), self.world.now() + 3.0 + self.random.random() * 6.0)
            elsewhere(self._without_session(process))
            elsewhere(self._given_back(process))

    def _cut_off(self) -> None:
        """The answer to its renewal comes late, and then it cannot renew: its lease ends sooner than it might think."""
        process = self._some()
        late = 4.0 + self.random.random() * 4.0
        process.late_answers["renew"] = late
        elsewhere(self._cut_off_in(process, 3.0))

    async def _cut_off_in(self, process: Process, seconds: float) -> None:
        await asyncio.sleep(seconds)
        if self.world.network.trouble:
            process.cut_off = (frozenset({"renew", "journal"}), self.world.now() + 20.0)

    async def _given_back(self, process: Process) -> None:
        await asyncio.sleep(1.0 + self.random.random() * 3.0)
        for other in self.world.serving():
            if other is not process and not process.dead:
                other.stopped = True
                elsewhere(self._leave(other))
        if not self.world.serving():
            self.world.begin()

    def _lose_session(self) -> None:
        process = self._some()
        if not process.session_lost:
            elsewhere(self._without_session(process))

    async def _without_session(self, process: Process) -> None:
        """Others count it dead for a while, before it knows itself."""
        process.session_lost = True
        await asyncio.sleep(self.random.random())
        process.run(self._notices(process))  # where it is stopped, later

    async def _notices(self, process: Process) -> None:
        process.engine.suspend()
        await asyncio.sleep(self.random.random() * 2)
        process.session_lost = False
        self.world.disturbed = self.world.now()

    def _hand_over(self) -> None:
        self._hand_over_of(self._some())

    def _hand_over_of(self, process: Process) -> None:
        self.world.disturbed = self.world.now()
        if len(self.world.serving()) < 2:
            self.world.begin()
        process.stopped = True
        elsewhere(self._leave(process))

    async def _leave(self, process: Process) -> None:
        await asyncio.wait({process.run(process.engine.stop(seconds=HAND_OVER_SECONDS))}, timeout=60.0)
        self.world.disturbed = self.world.now()
        process.kill()

    def _join(self) -> None:
        if len(self.world.serving()) < PROCESSES_MAX:
            self.world.disturbed = self.world.now()
            self.scenes.joins()
            self.world.begin()

    def _jump(self) -> None:
        process = self._some()
        process.clock.skew = self.world.weather.skew * (2 * self.random.random() - 1)

    # The end

    def _be_good(self) -> None:
        """Targets are well and endpoints open; what can go wrong still may, as they change."""
        world = self.world
        for endpoint_id in world.flows:
            world.targets.moods[endpoint_id] = world.targets.second_moods[endpoint_id] = "good"
            state = world.database.endpoints[endpoint_id]
            # What is open already is not touched: that might wake what sleeps.
            if (world.hasten(endpoint_id) or state.paused or not state.enabled) and endpoint_id not in world.deleted:
                world.configure(endpoint_id, state.app_id)

    def _mend(self) -> None:
        world = self.world
        world.network.trouble = False
        for process in world.alive():
            process.cut_off = (frozenset(), 0.0)
            if process.stalled:
                process.disturbed()
                process.resume()

    def _settled(self) -> bool:
        world = self.world
        world.release_blocked()
        for endpoint_id, state in world.database.endpoints.items():
            if not state.enabled and endpoint_id not in world.deleted:
                world.configure(endpoint_id, state.app_id)  # it was disabled by an answer from before
        return self._unsettled() == ""

    def _unsettled(self) -> str:
        database = self.world.database
        if database.owed:
            return f"{len(database.owed)} rows are owed, such as {next(iter(database.owed.values()))}"
        if database.effects:
            return f"{len(database.effects)} follow-ups are to be done"
        behind = [(n, p.cursor, p.head) for n, p in enumerate(database.partitions) if p.cursor != p.head]
        if behind:
            return f"cursors are behind their heads: {behind}"
        busy = [p.number for p in self.world.alive() if p.engine.journal.unwritten or p.engine.lanes.in_flight]
        if busy or any(process.stopped for process in self.world.alive()):
            return f"processes are busy: {busy}"
        owned = sorted(n for p in self.world.alive() for n in p.engine.ownership.epochs)
        if owned != list(range(len(database.partitions))):
            return f"partitions are owned {owned}"
        return ""

    def _look_back(self) -> None:
        """All is settled: memory is empty, and every delivery has come to its end."""
        world = self.world
        for process in world.alive():
            engine = process.engine
            left = {
                "events": engine.progress.events,
                "deliveries": engine.progress.deliveries,
                "bytes": engine.progress.payload_bytes,
                "tracked": engine.progress.tracked,
                "bytes in flight": engine.lanes.bytes_in_flight,
                "paged": engine.lanes.paged_bytes,
                "waiting": engine.lanes.waiting,
                "held": len(engine.backlog._held),
                "stalled": len(engine.lanes._stalled),
                "waiting for filters": engine.filtering.events,
                "bytes waiting for filters": engine.filtering.bytes,
                "turns of filters": engine.filtering.turns + len(engine.filtering._lines) + len(engine.configs.pinned),
            }
            assert not any(left.values()), f"process {process.number} keeps {left}"
        checker = world.checker
        for (partition, seq), endpoints in checker.audience.must.items():
            event_id = world.database.partitions[partition].events[seq].id
            for endpoint_id in endpoints:
                assert (endpoint_id, event_id) in checker.ends, (
                    f"{seq} of {partition} has not come to {endpoint_id.hex()[-4:]}"
                )
        for event_id in checker.accepted:
            assert event_id in world.database.positions, "an accepted event is not in the log"
