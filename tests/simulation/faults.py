"""What goes wrong in a history, drawn by its seed: not everything in each one, so that rare mixtures come up, too.

`Weather` is what is drawn once; `Network` is the way of every process to the database, which loses questions and answers,
waits, and leaves the database with statements whose asker is gone.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
import zlib
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tests.simulation.scheduler import elsewhere, heard

from posthouse.adapters.memory import Step
from posthouse.domain.delivery import JournalBatch
from posthouse.domain.errors import InDoubt, StoreRejected, StoreUnavailable

if TYPE_CHECKING:
    from tests.simulation.process import Process

WRITES: Final = frozenset(
    {
        "append", "claim", "renew", "release", "journal", "settle_late", "recover_in_flight", "hasten_revoked",
        "expire_oldest", "disable_endpoint", "publish_effects",
    }
)  # fmt: skip
MOODS: Final = ("slow", "hanging", "failing", "flaky", "broken", "asking", "mute", "gone")
"""Of a target: confirms late, hangs, answers 500 (now and then), cannot be reached for a fault of ours, asks for time, takes
what it is sent but its answer is lost, says that it is gone for good."""


YOUNG_MOODS: Final = ("cutting",)
"""Ends connections in place of answers. Drawn apart, so that the histories without it are as they were."""


RARE: Final = {
    "settle_late": 15,
    "release": 15,
    "recover_in_flight": 5,
    "claim": 3,
    "renew": 3,
    "hasten_revoked": 10,
    "expire_oldest": 5,
}
"""Statements that are so seldom made that they are slow more often, for anything to happen meanwhile."""


OVERTAKEN: Final = {"page": 6, "owed_lines": 10, "last_sent": 10, "apps": 3, "changed_apps": 3, "owed_endpoints": 3}
"""Reads that memory goes on beside: their answers are late more often, so that what they say is the past."""


PLOTS: Final = (
    "rerouted",
    "held_up",
    "come_back",
    "widened",
    "cancelled",
    "overlapped",
    "joined",
    "succeeded",
    "renewed",
    "probed",
    "suspended",
    "flooded",
    "dialled",
    "outlived",
    "returned",
    "resent",
)
"""What `plots.py` arranges."""

YOUNG_PLOTS: Final = ("repeated", "announced", "credited", "passed_on")
"""The same; drawn apart, so that the histories without them are as they were."""


class Weather(NamedTuple):
    """How likely what is, for a whole history. Chances of failure are for each question; weights are for each step."""

    failing: float  # no connection, or one that dies on the way
    slow: float  # seconds between a lock and the commit
    late: float  # what was read or done is done; the answer takes a while
    latency: float  # seconds at most, of the network and of a commit
    deaf: float  # what was published is not handed on, as if the wake-up was lost
    crash: float
    stall: float
    session: float  # taken for dead while it lives
    exchange: float  # taken from, and given back, while its journal cannot write
    cut_off: float  # what it writes does not arrive, after an answer that was late
    hand_over: float
    leaving: float  # as it sends to a target with a slow rate
    flood: float  # all targets hang
    stream: float  # one event after the other, for one app
    join: float
    configure: float
    grants: float
    skew: float  # seconds at most between a process's clock and the database's
    moods: tuple[str, ...]
    cramped: float  # how likely each limit is so small that it is met all the time
    shuffled: bool
    refusing: float  # how many attempts the store takes only without their answers
    overtaken: float  # what is written meanwhile overtakes the asking for a page
    loading: float  # configuration changes as an older one is on its way
    returning: float  # a partition comes back while what was lost with it is put on record
    orphaning: float  # an endpoint is deleted as somebody puts something of it on record whose partition is another's
    claiming: float  # cut off right after a claim, while other leases are older
    unlooked: float  # somebody sends again, and nobody can look just then
    plots: tuple[str, ...]  # which are played, now and then

    @classmethod
    def drawn(cls, draw: random.Random, more: random.Random) -> Weather:
        """`more` draws for the scenes."""

        def some(value: float, chance: float = 0.5) -> float:
            return value if draw.random() < chance else 0.0

        quiet = draw.random() < 0.2  # nothing but targets and limits

        def some_more(value: float, chance: float) -> float:
            return value if more.random() < chance and not quiet else 0.0

        def some_plots() -> tuple[str, ...]:
            apart = random.Random()
            old = [plot for plot in PLOTS if more.random() < 0.5 and (not quiet or plot == "flooded")]
            apart.setstate(more.getstate())
            return (*old, *[plot for plot in YOUNG_PLOTS if apart.random() < 0.5 and not quiet])

        bad = tuple(mood for mood in MOODS if draw.random() < 0.5)
        return cls(
            failing=0.0 if quiet else some(draw.choice((0.01, 0.03, 0.1)), 0.6),
            slow=0.0 if quiet else some(draw.choice((0.003, 0.02))),
            late=0.0 if quiet else some(draw.choice((0.01, 0.05)), 0.6),
            latency=draw.choice((0.001, 0.01, 0.04)),
            deaf=some(draw.choice((0.1, 1.0)), 0.4),
            crash=0.0 if quiet else some(4.0, 0.6),
            stall=0.0 if quiet else some(3.0),
            session=0.0 if quiet else some(3.0),
            exchange=0.0 if quiet else some(3.0, 0.4),
            cut_off=0.0 if quiet else some(3.0, 0.4),
            hand_over=0.0 if quiet else some(4.0, 0.6),
            leaving=0.0 if quiet else some(4.0, 0.5),
            flood=some(8.0, 0.5),
            stream=some(draw.choice((3.0, 8.0)), 0.7),
            join=0.0 if quiet else some(3.0, 0.7),
            configure=some(12.0, 0.7),
            grants=some(8.0, 0.6),
            skew=0.0 if quiet else some(2.0, 0.3),
            moods=("good", "good", *bad),
            cramped=draw.choice((0.0, 0.0, 0.3, 1.0)),
            shuffled=draw.random() < 0.7,
            refusing=some_more(0.05, 0.3),
            overtaken=some_more(0.02, 0.4),
            loading=some_more(0.3, 0.4),
            returning=some_more(1.0, 0.4),
            orphaning=some_more(0.3, 0.4),
            claiming=some_more(1.0, 0.4),
            unlooked=some_more(3.0, 0.4),
            plots=some_plots(),
        )


class Statement(NamedTuple):
    """What is being done in the database: for which process (None: an operator), under which epochs, since when."""

    operation: str
    process: Process | None
    epochs: Mapping[int, int]
    arguments: tuple[tuple[Any, ...], dict[str, Any]]
    changes: int  # how many changes of configuration there had been when it began
    began_at: float


statement: contextvars.ContextVar[Statement | None] = contextvars.ContextVar("statement", default=None)


class Network:
    """`trouble` ends when the history does: then everything arrives."""

    def __init__(self, draw: random.Random, weather: Weather) -> None:
        self._random = draw
        self._weather = weather
        self.trouble = True
        self.doubt = 0.0  # how likely the answer to what a journal wrote is lost
        self.slow_commits: dict[str, float] = {}  # so long the next of these takes, once it has its locks
        self.changes: Callable[[], int] = lambda: 0
        self.committed: Callable[[Statement], None] = lambda statement: None

    async def hook(self, operation: str, step: Step) -> None:
        """In the database: a statement waits, and what it has committed is looked at before anybody else does anything."""
        now = statement.get()
        assert now is not None, "everything is done by a statement"
        if step is Step.AFTER_COMMIT:
            self.committed(now)
        elif step is not Step.READ and self.trouble and operation in self.slow_commits:
            await asyncio.sleep(self.slow_commits.pop(operation))
        elif (
            step is not Step.READ
            and self.trouble
            and self._random.random() < self._weather.slow * RARE.get(operation, 1)
        ):
            await asyncio.sleep(self._random.random() * self._random.choice((1.0, 4.0, 14.0)))
        else:
            await asyncio.sleep(self._random.random() * self._weather.latency)

    async def ask(
        self, process: Process, operation: str, work: Callable[[], Coroutine[Any, Any, Any]], now: Statement
    ) -> Any:
        """A process asks the database. The answer may be lost; then the statement goes on, or is rolled back."""
        draw, weather = self._random, self._weather
        began = asyncio.get_running_loop().time()
        fate = draw.random() if self.trouble else 1.0
        early = process.late_questions.pop(operation, 0.0)
        if early:
            process.disturbed()
        await asyncio.sleep(draw.random() * weather.latency / 2 + early)
        if operation == "journal" and self.trouble and self.refuses(now.arguments[0][0]):
            raise StoreRejected("an answer that cannot be stored")
        if process.unheard.get(operation, 0):
            process.unheard[operation] -= 1
            process.disturbed()
            raise StoreUnavailable("no connection")
        if fate < weather.failing / 2 or process.is_cut_off(operation):
            process.disturbed()
            raise StoreUnavailable("no connection")
        if process.overdue.get(operation, 0.0):
            elsewhere(self._serve(work, now, process.overdue.pop(operation))).add_done_callback(heard)
            process.disturbed()
            raise InDoubt("the connection died")
        asked = elsewhere(self._serve(work, now))
        doubtful = self.trouble and operation == "journal" and draw.random() < self.doubt
        if fate < weather.failing or doubtful:
            asked.add_done_callback(heard)
            await asyncio.sleep(draw.random() * weather.latency * 2)
            if not doubtful and draw.random() < 0.5:
                asked.cancel()  # as where the server notices it, if it is not too late
            process.disturbed()
            raise (InDoubt if operation in WRITES else StoreUnavailable)("the connection died")
        asked.add_done_callback(heard)
        answer = await asyncio.shield(asked)
        if asyncio.get_running_loop().time() - began > 0.5:
            process.disturbed()  # what it has changed is known to others at once
        late = process.late_answers.pop(operation, 0.0)
        if self.trouble and draw.random() < weather.late * OVERTAKEN.get(operation, 1):
            late += draw.random() * draw.choice((0.1, 0.5, 2.0))
        await asyncio.sleep(draw.random() * weather.latency / 2 + late)
        if asyncio.get_running_loop().time() - began > 0.5:
            process.disturbed()
        return answer

    def refuses(self, batch: JournalBatch) -> bool:
        """Whether there is an attempt among these whose answer the store does not take."""
        refusing = self._weather.refusing
        return refusing > 0 and any(
            attempt.response_body and zlib.crc32(attempt.id) % 1000 < refusing * 1000 for attempt in batch.attempts
        )

    async def _serve(self, work: Callable[[], Coroutine[Any, Any, Any]], now: Statement, seconds: float = 0.0) -> Any:
        if seconds:
            await asyncio.sleep(seconds)
        statement.set(now)
        return await work()


class Remote:
    """A port of one process, through its network."""

    def __init__(self, process: Process, network: Network, port: object) -> None:
        self._process = process
        self._network = network
        self._port = port

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        method = getattr(self._port, name)

        async def ask(*args: Any, **options: Any) -> Any:
            epochs: Mapping[int, int] = {}
            if name == "journal":
                epochs = args[0].epochs
            elif name in ("renew", "release", "recover_in_flight"):
                epochs = dict(args[1])
            elif name in ("hasten_revoked", "expire_oldest"):
                epochs = {args[2]: args[1]}
            now = Statement(
                name,
                self._process,
                dict(epochs),
                (args, options),
                self._network.changes(),
                asyncio.get_running_loop().time(),
            )
            for asked in self._process.world.asked[name]:
                asked(self._process, (*args, options))
            if name == "settle_late":
                self._process.settles_late([late[0].key for late in args[0]])
            return await self._network.ask(self._process, name, lambda: method(*args, **options), now)

        setattr(self, name, ask)
        return ask
