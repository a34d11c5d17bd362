"""The system that is measured, started: the server with its PostgreSQL, and the programs beside it.

`Bench.measure` is one run: publish, wait for what must arrive, and count it at the target. A run in which anything is lost
raises `Broken`: it is a bug, not a figure.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import time
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple, Protocol

from bench import processes
from bench.programs import floor, generator, hostile, journey, mission, target
from bench.programs.generator import Load, Published, counted
from bench.programs.journey import Aim, Commits
from bench.server import KEY, Broken, Server

EVENT_TYPE: Final = "bench.event"
CONNECTIONS: Final = 64
PATIENCE_SECONDS: Final = 120  # for an answer of a program of ours
STILL_SECONDS: Final = 20  # nothing arrived for so long: it is lost
OURS: Final = ("server", "postgres", "generator", "target")
OTHERS_ARE_FEW: Final = 0.2  # of a core
SETTLE_SECONDS: Final = 0.15  # until the last results are in the journal, and their CPU in the account


class Worker:
    """A program in a process of its own, at the other end of a pipe."""

    def __init__(self, program: Callable[[Connection], None]) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=program, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        self._name = program.__module__

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def ask(self, message: object) -> Any:
        self.tell(message)
        return self.told()

    def tell(self, message: object) -> None:
        self._pipe.send(message)

    def told(self) -> Any:
        """What it says next. One that died or hangs ends the benchmark."""
        if not self._pipe.poll(PATIENCE_SECONDS):
            raise Broken(f"{self._name} did not answer within {PATIENCE_SECONDS} s")
        try:
            return self._pipe.recv()
        except EOFError as error:
            raise Broken(f"{self._name} died; what it said is above") from error

    def stop(self, message: object = None, *, seconds: float = 5.0) -> None:
        try:
            self._pipe.send(message)
        except OSError:
            return  # it is gone already
        self._process.join(seconds)
        self._process.kill()


class Subject(Protocol):
    """What stands between the generator and the target, and is measured."""

    @property
    def port(self) -> int: ...

    def cpu(self) -> float:
        """Seconds of CPU that its processes used, without PostgreSQL."""

    def postgres_cpu(self) -> float:
        """Seconds of CPU that its PostgreSQL used."""


class Journey:
    """The journey floor, started and aimed at a target."""

    def __init__(self, target_port: int, *, ca_file: Path | None = None) -> None:
        self._worker = Worker(journey.run)
        self.port: int
        self.port, self._postmaster = self._worker.told()
        self._worker.ask(Aim(target_port, KEY, ca_file))

    def cpu(self) -> float:
        return processes.cpu(self._worker.pid)

    def postgres_cpu(self) -> float:
        return processes.postgres_cpu(self._postmaster)

    def commits(self) -> Commits:
        told: Commits = self._worker.ask("commits")
        return told

    def stop(self) -> None:
        self._worker.stop(seconds=30)


class Usage(NamedTuple):
    """Seconds of CPU so far, of everyone who takes part; `server` is the one that is measured, `postgres` its own."""

    at: float
    server: float
    postgres: float
    generator: float
    target: float
    machine: float  # of everyone there is


class Received(NamedTuple):
    """What a run brought to the target."""

    deliveries: int
    lost: int
    repeated: int
    latencies_us: list[int]  # in order
    arrivals_us: array[int]  # the same as they came
    last_at: float  # unix seconds


class Run(NamedTuple):
    """One run of a load."""

    seconds: float  # from the first publish to the last receipt
    published_seconds: float
    received: Received
    answered_us: list[int]  # how long each publish request took, in order of size
    cpu_us: float  # of the server, a delivery
    postgres_us: float
    shares: dict[str, float]  # of one core, by who took them

    @property
    def per_second(self) -> float:
        return self.received.deliveries / self.seconds

    @property
    def all_us(self) -> float:
        """CPU of the server and its PostgreSQL, a delivery."""
        return self.cpu_us + self.postgres_us


class Bench:
    """The processes of a benchmark, started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cores = os.cpu_count() or 1
        self.runs = 0
        self.deliveries = 0
        self.lost = 0
        self.repeated = 0
        self.target = Worker(target.run)
        self.hostile = Worker(hostile.run)
        self.generator = Worker(generator.run)
        self.mission = Worker(mission.run)
        self.floor = Worker(floor.run)
        self.target_port: int = self.target.told()
        self.target_url = f"http://127.0.0.1:{self.target_port}"
        self.hostile_port: int = self.hostile.told()
        self._folders = 0
        self.server = self._new_server()

    # The server

    def wait_ready(self) -> None:
        self.server.wait_ready()
        self.api("POST", "/v1/event-types", {"name": EVENT_TYPE})
        self.floor.told()

    def renew(self, environment: Mapping[str, str] | None = None) -> None:
        """From here on an empty platform: the server stops, and one is started on a data directory of its own."""
        self.server.stop()
        shutil.rmtree(self.server.data, ignore_errors=True)
        self.server = self._new_server(environment)
        self.server.wait_ready()
        self.api("POST", "/v1/event-types", {"name": EVENT_TYPE})

    def restart(self, *, data: Path | None = None, workers: int = 1) -> None:
        """Start a server on the data directory of the one that was stopped, or on another one. It is not ready yet."""
        self.server = Server(data or self.server.data, workers=workers)

    def _new_server(self, environment: Mapping[str, str] | None = None) -> Server:
        self._folders += 1
        return Server(self.folder / f"data-{self._folders}", environment=environment)

    @contextmanager
    def aimed_at(self, target: Worker, url: str) -> Iterator[None]:
        """Within it another target counts, and new endpoints point there."""
        usual, self.target, self.target_url = (self.target, self.target_url), target, url
        try:
            yield
            self.repeated += self.late()
        finally:
            self.target, self.target_url = usual

    @property
    def port(self) -> int:
        return self.server.port

    @property
    def data(self) -> Path:
        """The server's data directory."""
        return self.server.data

    def api(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        return self.server.api(method, path, body)

    def make_app(self, name: str, endpoints: int = 1, **fields: Any) -> str:
        """An app, with so many endpoints that point at the target; the first has the uid `main`."""
        self.api("POST", "/v1/apps", {"uid": name})
        for path in range(endpoints):
            uid = "main" if path == 0 else f"also-{path}"
            url = f"{self.target_url}/{path}"
            self.api("POST", f"/v1/apps/{name}/endpoints", {"uid": uid, "url": url} | fields)
        return name

    def make_apps(self, prefix: str, count: int, endpoints: int = 1) -> list[str]:
        return [self.make_app(f"{prefix}-{number}", endpoints) for number in range(count)]

    # Runs

    def begin(self, numbers: int, *, delay_seconds: float = 0.0) -> int:
        """A new run, in which the target expects so many events and answers each after the delay. Its number."""
        self.runs += 1
        self.target.ask(("reset", self.runs, numbers, delay_seconds))
        return self.runs

    def publish(self, load: Load) -> Published:
        self.generator.tell(load)
        return self.published(load)

    def published(self, load: Load) -> Published:
        """How a load went that the generator was told. Raises Broken where anything of it was refused."""
        published: Published = self.generator.told()
        if published.refused:
            raise Broken(
                f"{published.refused} of {load.events} publishes were refused, such as: {published.refusal[:1000]}"
            )
        return published

    def load(self, run: int, apps: Sequence[str], events: int, **fields: Any) -> Load:
        defaults: dict[str, Any] = {"port": self.port, "connections": CONNECTIONS}
        return Load(**{**defaults, "key": KEY, "run": run, "apps": apps, "events": events, **fields})

    def wait_received(self, expected: int) -> None:
        """Until so many arrived (and were answered), or none any more."""
        last, since = -1, time.monotonic()
        while (count := self.target.ask(("count",))) < expected:
            if count != last:
                last, since = count, time.monotonic()
            elif time.monotonic() - since > STILL_SECONDS:
                break
            time.sleep(0.02)

    def received(self, what: str, fanout: int = 1) -> Received:
        """What the run brought. Raises Broken for an event that was answered 202 and did not arrive as often as it should."""
        counts, latencies, total, last_at, _ = self.target.ask(("report",))
        times = array("I")
        times.frombytes(latencies)
        lost = sum(max(fanout - count, 0) for count in counts)
        self.lost += lost
        if lost:
            raise Broken(f"{what}: {lost} of {len(counts) * fanout} deliveries did not arrive: a bug, not a figure")
        repeated = sum(max(count - fanout, 0) for count in counts)
        self.deliveries += total
        self.repeated += repeated
        return Received(total, lost, repeated, sorted(times), times, last_at)

    def measure(
        self,
        what: str,
        apps: Sequence[str],
        events: int,
        *,
        fanout: int = 1,
        through: Subject | None = None,
        **load: Any,
    ) -> Run:
        """Publish to the server, or through another program, and wait until everything arrived."""
        numbers = counted(events, load.get("routes", ()))
        run = self.begin(numbers)
        if through is not None:
            load["port"] = through.port
        before = self.usage(through)
        published = self.publish(self.load(run, apps, events, **load))
        self.wait_received(numbers * fanout)
        received = self.received(what, fanout)
        time.sleep(SETTLE_SECONDS)
        after = self.usage(through)
        answered = array("I")
        answered.frombytes(published.answered_us)
        return Run(
            seconds=received.last_at - published.started,
            published_seconds=published.ended - published.started,
            received=received,
            answered_us=sorted(answered),
            cpu_us=(after.server - before.server) / received.deliveries * 1e6,
            postgres_us=(after.postgres - before.postgres) / received.deliveries * 1e6,
            shares=shares(before, after, received.last_at - published.started),
        )

    def late(self) -> int:
        """Deliveries that arrived in a later run than their own: repeats that came late."""
        late: int = self.target.ask(("report",))[4]
        return late

    # What the processes cost

    def usage(self, through: Subject | None = None) -> Usage:
        measured = through or self.server
        return Usage(
            at=time.time(),
            server=measured.cpu(),
            postgres=measured.postgres_cpu(),
            generator=processes.cpu(self.generator.pid),
            target=processes.cpu(self.target.pid),
            machine=processes.machine_cpu(),
        )

    def rss_mb(self) -> float:
        return self.server.rss_mb()

    def stop(self) -> None:
        self.server.stop()
        self.target.stop(("stop",))
        for worker in (self.hostile, self.generator, self.mission):
            worker.stop()
        self.floor.stop(seconds=30)


def shares(before: Usage, after: Usage, seconds: float) -> dict[str, float]:
    """Of one core, by who took them, over so many seconds of work between the two; `others` is who has no part in it."""
    spent = {name: getattr(after, name) - getattr(before, name) for name in OURS}
    others = (after.machine - before.machine - sum(spent.values())) * seconds / (after.at - before.at)
    return {name: took / seconds for name, took in {**spent, "others": max(others, 0.0)}.items()}


def busy(what: str, runs: Sequence[Run]) -> list[str]:
    """A sentence, where others were at work on the machine."""
    others = max(run.shares["others"] for run in runs)
    if others <= OTHERS_ARE_FEW:
        return []
    return [
        f"With {what} others took up to {others:.0%} of a core from the machine: the figures are worse than they would be if "
        "it were quiet."
    ]


@contextmanager
def running() -> Iterator[Bench]:
    with TemporaryDirectory(prefix="posthouse-bench-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)
        bench = Bench(Path(folder))
        try:
            bench.wait_ready()
            yield bench
        finally:
            bench.stop()
