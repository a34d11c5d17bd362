"""`make bench`: measure this machine's Posthouse, and print one table.

The server with its embedded PostgreSQL, the publisher and the target are processes of their own, all on this machine.
Each figure is the median of several runs after a warm-up, with its spread; events are counted at the target.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from bench import floor, generator, hostile, processes, target
from bench.generator import Load

KEY = "ph_bench_" + "0" * 43
APPS = 20
CONNECTIONS = 64
HOSTILE_RATE = 500
PATIENCE_SECONDS = 120


class Run(NamedTuple):
    """One measured run."""

    seconds: float  # from the first publish to the last receipt
    published_seconds: float
    deliveries: int
    lost: int
    repeated: int
    latencies_us: list[int]
    cpu_us: float  # of the server, a delivery
    postgres_us: float
    generator_load: float  # share of one core


class Bench:
    """The processes of a benchmark, started."""

    def __init__(self, folder: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self._context = context
        self._target, theirs = context.Pipe()
        context.Process(target=target.run, args=(theirs,), daemon=True).start()
        self.target_port: int = self._target.recv()
        self._hostile, theirs = context.Pipe()
        context.Process(target=hostile.run, args=(theirs,), daemon=True).start()
        self._hostile_port: int = self._hostile.recv()
        self._generator, theirs = context.Pipe()
        context.Process(target=generator.run, args=(theirs,), daemon=True).start()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.folder = folder
        self._server = subprocess.Popen(
            [sys.executable, "-m", "posthouse.cli.main", "serve", "--port", str(self.port), "--data-dir", str(folder / "data"),
             "--allow-private-targets"],
            env=os.environ | {"POSTHOUSE_ADMIN_KEY": KEY, "POSTHOUSE_LOG_LEVEL": "warning"},
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        self._wait_ready()

    def _wait_ready(self) -> None:
        for _ in range(600):
            if self._server.poll() is not None:
                raise SystemExit("the server did not start; its log is above")
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=1):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        raise SystemExit("the server did not become ready within a minute")

    def api(self, path: str, body: dict[str, Any]) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            data=json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def make_apps(self, prefix: str, endpoints: int) -> list[str]:
        """Apps with this many endpoints each."""
        names = [f"{prefix}-{n}" for n in range(APPS)]
        for name in names:
            self.api("/v1/apps", {"uid": name})
            for path in range(endpoints):
                self.api(f"/v1/apps/{name}/endpoints", {"url": f"http://127.0.0.1:{self.target_port}/{path}"})
        return names

    def add_hostile_endpoints(self, apps: list[str]) -> None:
        """Give the apps one bad endpoint each, of all kinds in turn."""
        for number, app in enumerate(apps):
            behaviour = list(hostile.BEHAVIOURS)[number % len(hostile.BEHAVIOURS)]
            self.api(f"/v1/apps/{app}/endpoints", {"url": f"http://127.0.0.1:{self._hostile_port}/{behaviour}"})

    @property
    def postmaster(self) -> int:
        return int((self.folder / "data" / "postgres" / "postmaster.pid").read_text().splitlines()[0])

    def measure(self, apps: list[str], *, events: int, fanout: int = 1, rate: float = 0.0, batch: int = 1) -> Run:
        """Publish, and wait until everything arrived."""
        self._command("reset", events)
        cpu, postgres = processes.cpu(self._server.pid), processes.postgres_cpu(self.postmaster)
        self._generator.send(Load(self.port, KEY, apps, events, CONNECTIONS, rate, batch))
        started, ended, refused, refusal, generator_cpu = _received(self._generator)
        if refused:
            raise SystemExit(f"{refused} of {events} publishes were refused, such as: {refusal}")
        expected = events * fanout
        last, since = -1, time.monotonic()
        while (count := self._command("count")) < expected:
            if count != last:
                last, since = count, time.monotonic()
            elif time.monotonic() - since > 20:
                break
            time.sleep(0.02)
        counts, latencies, total, last_at = self._command("report")
        spent = processes.cpu(self._server.pid) - cpu, processes.postgres_cpu(self.postmaster) - postgres
        times = array("I")
        times.frombytes(latencies)
        return Run(
            seconds=last_at - started,
            published_seconds=ended - started,
            deliveries=total,
            lost=sum(max(fanout - c, 0) for c in counts),
            repeated=sum(max(c - fanout, 0) for c in counts),
            latencies_us=sorted(times),
            cpu_us=spent[0] / max(total, 1) * 1e6,
            postgres_us=spent[1] / max(total, 1) * 1e6,
            generator_load=generator_cpu / (ended - started),
        )

    def _command(self, *message: Any) -> Any:
        self._target.send(message)
        return _received(self._target)

    def floor(self) -> tuple[float, float, float]:
        """µs of CPU for a bare send, a bare insert, and PostgreSQL's for that insert."""
        self._command("reset", floor.REQUESTS)
        ours, theirs = self._context.Pipe()
        self._context.Process(target=floor.run, args=(theirs, self.target_port), daemon=True).start()
        measured: tuple[float, float, float] = _received(ours)
        return measured

    def rss_mb(self) -> float:
        return processes.rss_mb(self._server.pid)

    def stop(self) -> None:
        self._server.terminate()
        try:
            self._server.wait(30)
        except subprocess.TimeoutExpired:
            self._server.kill()
        self._target.send(("stop",))
        self._hostile.send(None)
        self._generator.send(None)


@contextmanager
def running() -> Iterator[Bench]:
    with TemporaryDirectory(prefix="posthouse-bench-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)
        bench = Bench(Path(folder))
        try:
            yield bench
        finally:
            bench.stop()


def _received(pipe: Connection) -> Any:
    """What a process of ours answers. One that died or hangs ends the benchmark."""
    if not pipe.poll(PATIENCE_SECONDS):
        raise SystemExit(f"a part of the benchmark did not answer within {PATIENCE_SECONDS} s")
    return pipe.recv()


class Figures:
    """What was measured, in the order in which it is printed."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}
        self.how: dict[str, str] = {}

    def add(self, name: str, values: list[float], how: str, *, digits: int = 0) -> None:
        self.values[name] = round(statistics.median(values), digits)
        spread = f"{min(values):,.{digits}f} to {max(values):,.{digits}f}" if len(values) > 1 else "one run"
        self.how[name] = f"{how} ({spread})"
        print(f"  {name:<32} {self.values[name]:>12,.{digits}f}   {self.how[name]}", flush=True)


def _percentile(ordered: list[int], share: float) -> float:
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] / 1000


def measure(bench: Bench, *, runs: int, events: int, quick: bool) -> Figures:
    """Every figure of the table."""
    figures = Figures()
    bench.api("/v1/event-types", {"name": "bench.event"})
    single, triple = bench.make_apps("one", 1), bench.make_apps("three", 3)
    bench.measure(single, events=max(events // 4, 2000))
    print(f"\n  {'figure':<32} {'median':>12}   how it was measured")

    def repeat(count: int, **load: Any) -> list[Run]:
        done = [bench.measure(**load) for _ in range(count)]
        broken = sum(r.lost for r in done)
        if broken:
            raise SystemExit(f"{broken} events that were answered 202 did not arrive: this is a bug, not a figure")
        return done

    plain = repeat(runs, apps=single, events=events)
    figures.add("events_per_second", [r.deliveries / r.seconds for r in plain],
                f"{events:,} events of ~350 bytes, {CONNECTIONS} connections, first publish to last receipt")  # fmt: skip
    figures.add("published_per_second", [events / r.published_seconds for r in plain], "the same runs, answered 202")
    figures.add("cpu_us_per_delivery", [r.cpu_us for r in plain], "the same runs, the server's process", digits=1)
    figures.add("pg_cpu_us_per_delivery", [r.postgres_us for r in plain], "the same runs, all of PostgreSQL", digits=1)
    figures.add("generator_load", [r.generator_load for r in plain], "the publisher's share of one core", digits=2)
    if quick:
        return figures
    fanned = repeat(runs, apps=triple, events=events // 2, fanout=3)
    figures.add("deliveries_per_second_fanout3", [r.deliveries / r.seconds for r in fanned], "three endpoints an event")
    batched = repeat(runs, apps=single, events=events * 2, batch=100)
    figures.add(
        "batched_published_per_second", [2 * events / r.published_seconds for r in batched], "100 events a request"
    )
    paced = repeat(runs, apps=single, events=2000 * 8, rate=2000)
    figures.add("latency_p50_ms_at_2000", [_percentile(r.latencies_us, 0.5) for r in paced],
                "2,000 events/s for 8 s, publish to receipt", digits=2)  # fmt: skip
    figures.add("latency_p99_ms_at_2000", [_percentile(r.latencies_us, 0.99) for r in paced], "the same runs", digits=2)
    figures.add("rss_mb", [bench.rss_mb()], "the server's process, after all of that")
    hostile_apps = bench.make_apps("hostile", 1)
    bench.add_hostile_endpoints(hostile_apps)
    pairs = [
        (repeat(1, apps=single, events=HOSTILE_RATE * 5, rate=HOSTILE_RATE)[0],
         repeat(1, apps=hostile_apps, events=HOSTILE_RATE * 5, rate=HOSTILE_RATE)[0])
        for _ in range(runs)
    ]  # fmt: skip
    figures.add("hostile_healthy_p99_ratio",
                [_percentile(bad.latencies_us, 0.99) / _percentile(good.latencies_us, 0.99) for good, bad in pairs],
                f"healthy p99 at {HOSTILE_RATE}/s, each app also with a target that hangs, drips, floods; over a control run",
                digits=2)  # fmt: skip
    figures.add("hostile_healthy_max_ms", [bad.latencies_us[-1] / 1000 for _, bad in pairs],
                "slowest healthy delivery of those runs", digits=1)  # fmt: skip
    repeated = sum(r.repeated for r in (*plain, *fanned, *batched, *paced))
    figures.add("repeated_deliveries", [float(repeated)], "over all runs; lost ones end the benchmark")
    sending, inserting, postgres = bench.floor()
    figures.add("floor_us_per_delivery", [sending + inserting + postgres],
                "bare sender loop + bare array insert, PostgreSQL included", digits=1)  # fmt: skip
    ratio = (statistics.median(r.cpu_us + r.postgres_us for r in plain)) / (sending + inserting + postgres)
    figures.add("floor_ratio", [ratio], "all CPU of a delivery over the floor's, same run", digits=2)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--events", type=int, default=30_000)
    parser.add_argument("--quick", action="store_true", help="only the first figures, for a comparison while working")
    options = parser.parse_args()
    calibration = _calibrate()
    print(
        f"Posthouse benchmark: {os.cpu_count()} cores, Python {platform.python_version()}, calibration {calibration:.0f}"
    )
    with running() as bench:
        figures = measure(bench, runs=options.runs, events=options.events, quick=options.quick)
    if options.json is not None:
        told = {"calibration": round(calibration), "cores": os.cpu_count(), **figures.values, "how": figures.how}
        options.json.write_text(json.dumps(told, indent=2) + "\n")


def _calibrate() -> float:
    """Thousands of small dictionary and string operations a second on one core: how fast this machine is just now."""

    def work() -> None:
        for n in range(100_000):
            _ = {"a": n, "b": str(n)}["b"]

    return 100 / min(_timed(work) for _ in range(5))


def _timed(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
