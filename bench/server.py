"""A server with its embedded PostgreSQL, in processes of its own, on a data directory."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from bench import processes

KEY: Final = "ph_bench_" + "0" * 43
READY_SECONDS_MAX: Final = 60
STOP_SECONDS_MAX: Final = 30


class Broken(Exception):
    """The benchmark found a fault, and has no figures to give."""


class Server:
    """A server that was started just now; `wait_ready` waits until it answers."""

    def __init__(self, data: Path, *, workers: int = 1, environment: Mapping[str, str] | None = None) -> None:
        self.data = data
        self.workers = workers
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "posthouse.cli.main", "serve", "--port", str(self.port), "--data-dir", str(data),
             "--allow-private-targets", "--workers", str(workers)],
            env=os.environ
            | {
                "POSTHOUSE_ADMIN_KEY": KEY,
                "POSTHOUSE_LOG_LEVEL": "warning",
                "POSTHOUSE_SHUTDOWN_SECONDS": "0.5",  # what hangs need not be waited for
            }
            | dict(environment or {}),
            stdout=subprocess.DEVNULL,
        )  # fmt: skip

    def wait_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS_MAX
        while not self.is_ready():
            if time.monotonic() > deadline:
                raise Broken(f"the server did not become ready within {READY_SECONDS_MAX} s")
            time.sleep(0.05)

    def is_ready(self) -> bool:
        """Whether it answers that it can do its work. Raises Broken where it has ended."""
        if self._process.poll() is not None:
            raise Broken("the server did not start; its log is above")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=1):
                return True
        except (urllib.error.URLError, OSError):
            return False

    def api(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        return json.loads(self.send(method, path, None if body is None else json.dumps(body).encode()))

    def send(self, method: str, path: str, body: bytes | None) -> bytes:
        """Raises urllib's errors where the server is not there, or refuses."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            method=method,
            data=body,
            headers={"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            told: bytes = answer.read()
        return told

    def metrics(self) -> dict[str, float]:
        """What it tells of itself now: each series, with its labels as they are written, and its value."""
        return read_metrics(self.send("GET", "/metrics", None).decode())

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def postmaster(self) -> int:
        return int((self.data / "postgres" / "postmaster.pid").read_text().splitlines()[0])

    def processes(self) -> list[int]:
        """Its own process and those of its workers; PostgreSQL's is not one of them."""
        if self.workers == 1:
            return [self.pid]
        return [self.pid, *(child for child in processes.children(self.pid) if child != self.postmaster)]

    def cpu(self) -> float:
        """Seconds of CPU that its processes used."""
        return sum(processes.cpu(pid) for pid in self.processes())

    def postgres_cpu(self) -> float:
        return processes.postgres_cpu(self.postmaster)

    def rss_mb(self) -> float:
        return processes.rss_mb(self.pid)

    def peak_rss_mb(self) -> float:
        """The most that its process has held since it was started."""
        return processes.peak_rss_mb(self.pid)

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def read_metrics(text: str) -> dict[str, float]:
    """Prometheus's text format, without timestamps."""
    lines = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
    return {series: float(value) for series, _, value in lines}
