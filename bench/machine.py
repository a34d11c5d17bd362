"""What the figures were taken on: they mean nothing without it."""

from __future__ import annotations

import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, Final

PACKAGES: Final = ("posthouse", "uvloop", "httptools", "asyncpg", "msgspec", "requests")
SYNCS: Final = 50


def facts() -> dict[str, Any]:
    """The machine, and the versions of what matters."""
    return {
        "cores": os.cpu_count(),
        "cpu": _cpu(),
        "memory_mb": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20,
        "system": f"{platform.system()} {platform.release()}",
        "fdatasync_ms": round(fdatasync_ms(), 2),
        "calibration": round(calibrate()),
        "load_before": round(os.getloadavg()[0], 2),
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "versions": {"python": platform.python_version(), "postgresql": _postgresql(), "commit": _commit()}
        | {name: metadata.version(name) for name in PACKAGES},
    }


def calibrate() -> float:
    """Thousands of small dictionary and string operations a second on one core: how fast this machine is just now."""

    def work() -> None:
        for n in range(100_000):
            _ = {"a": n, "b": str(n)}["b"]

    return 100 / min(_timed(work) for _ in range(5))


def fdatasync_ms() -> float:
    """The median time of a small write to the disk of the benchmark's databases: a commit costs at least that."""
    with tempfile.TemporaryFile(dir="/tmp") as file:

        def work() -> None:
            file.write(b"x" * 4096)
            file.flush()
            os.fdatasync(file.fileno())

        times = sorted(_timed(work) for _ in range(SYNCS))
    return times[SYNCS // 2] * 1000


def _timed(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _postgresql() -> str:
    from posthouse.adapters.postgres.runtime import locate

    told = subprocess.run([locate() / "bin" / "postgres", "--version"], capture_output=True, text=True, check=True)
    return told.stdout.split()[-1]


def _commit() -> str | None:
    """Of the working copy; a star where it was changed since."""
    git = ("git", "-C", str(Path(__file__).parent))
    try:
        told = subprocess.run([*git, "describe", "--always", "--dirty=*"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return told.stdout.strip()
