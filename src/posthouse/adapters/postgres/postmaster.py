"""Which process serves a cluster: reading `postmaster.pid`, and telling a live server from what a dead one left behind.

A process number by itself proves nothing: after a restart of a machine or a container another program may bear it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from posthouse.domain.errors import SetupError

READY: Final = "ready"
_EMPTY_SECONDS_MAX: Final = 5.0


@dataclass(frozen=True)
class Postmaster:
    """What `postmaster.pid` says. `status` is `starting`, `ready`, `stopping` or empty while the file is written."""

    pid: int
    status: str


def read(cluster: Path) -> Postmaster | None:
    """The server that `postmaster.pid` names, alive or not."""
    try:
        lines = (cluster / "postmaster.pid").read_text("utf-8", errors="replace").splitlines()
        return Postmaster(abs(int(lines[0])), lines[7].strip() if len(lines) > 7 else "")
    except (FileNotFoundError, IndexError, ValueError):
        return None


def serves(pid: int, cluster: Path) -> bool:
    """Whether the process is alive and the server of `cluster` (a zombie has no command line, and does not count)."""
    return f"postgres -D {cluster} " in f"{command_line(pid)} "


def command_line(pid: int) -> str:
    """The command line of a live process, its words joined by spaces; empty if there is none."""
    if sys.platform == "linux":
        try:
            return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).rstrip("\0").replace("\0", " ")
        except (FileNotFoundError, ProcessLookupError):
            return ""
    else:
        ask = ["/bin/ps", "-ww", "-o", "command=", "-p", str(pid)]
        return subprocess.run(ask, capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603


def running(cluster: Path) -> Postmaster | None:
    """The live server of the cluster."""
    found = read(cluster)
    return found if found is not None and serves(found.pid, cluster) else None


def clear_the_way(cluster: Path, socket_path: Path) -> None:
    """Remove lock files that would make PostgreSQL refuse to start for no reason. The cluster has no live server here.

    PostgreSQL itself overlooks a lock file whose process is gone. It refuses one whose number another program has by
    now, and one that a crash left empty; those are removed. Processes left over from the old server need no lock file
    to be noticed: PostgreSQL finds them by the shared memory that they hold.
    """
    if _answers(socket_path):
        raise SetupError(
            f"a PostgreSQL that is not to be seen from here answers at {socket_path}, perhaps in another container "
            "with the same data directory. Stop it, or choose another --data-dir."
        )
    for lock in (cluster / "postmaster.pid", Path(f"{socket_path}.lock")):
        with suppress(FileNotFoundError):
            words = lock.read_text("utf-8", errors="replace").split()
            if not words:
                stale = time.time() - lock.stat().st_mtime > _EMPTY_SECONDS_MAX
            else:
                stale = words[0].lstrip("-").isdigit() and _is_in_use(abs(int(words[0])))
            if stale:
                lock.unlink()


def _answers(socket_path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(2)
        try:
            probe.connect(os.fspath(socket_path))
        except OSError:
            return False
        return True


def _is_in_use(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def end_orphans(cluster_name: str) -> int:
    """Kill the processes left of a server that has died, and return how many they were. (Linux; elsewhere, none.)

    Without a postmaster such a process can only delay the next start: until it ends its statement, it holds the old
    shared memory. What it wrote is recovered from the log or undone, as after any crash. They are known by the cluster's
    name in their titles, which every user may read; their working folder is closed to a root without CAP_SYS_PTRACE.
    """
    ended = 0
    if sys.platform == "linux":
        for entry in Path("/proc").glob("[0-9]*"):
            if command_line(int(entry.name)).startswith(f"postgres: {cluster_name}: "):
                with suppress(ProcessLookupError):
                    os.kill(int(entry.name), signal.SIGKILL)
                    ended += 1
    return ended
