"""What `posthouse doctor` looks at on this machine. Reads only."""

from __future__ import annotations

import os
import re
import shutil
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from posthouse.adapters.system.datadir import LOCK_FILE
from posthouse.adapters.system.keyring import MASTER_KEY_FILE
from posthouse.ports.diagnosis import DirectoryFacts, FileFacts

if sys.platform != "win32":
    import fcntl
    import resource

_OPEN_FILES: Final = re.compile(r"^Max open files\s+(?:\d+|unlimited)\s+(\d+|unlimited)", re.MULTILINE)
_UNLIMITED: Final = 1 << 30


def directory_facts(path: Path, *, key_file: Path | None) -> DirectoryFacts:
    """The data directory as it is; `key_file` is a master key file elsewhere."""
    path = path.resolve()
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    usage = shutil.disk_usage(there)
    keys = [path / MASTER_KEY_FILE, path / "postgres.password"] + ([key_file] if key_file else [])
    return DirectoryFacts(
        path=str(path),
        folder=_file(path),
        keys=tuple(facts for key in keys if (facts := _file(key)) is not None),
        free_bytes=usage.free,
        total_bytes=usage.total,
        holder_pid=holder(path),
    )


def holder(data_dir: Path) -> int | None:
    """The process that holds a data directory now."""
    if sys.platform == "win32":
        return None
    try:
        descriptor = os.open(data_dir / LOCK_FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        told = os.pread(descriptor, 32, 0).decode("ascii", errors="replace").strip()
        return int(told) if told.isdigit() else None
    finally:
        os.close(descriptor)
    return None


def arguments(pid: int) -> list[str]:
    """The words of a process's command line; none where they cannot be had."""
    with suppress(OSError):
        return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).split("\0")
    return []


def open_files_max(pid: int | None) -> tuple[int | None, str]:
    """How many files a process may open (the one that serves, or keeps those that do, where it is known), and whose limit that
    is: the hard one, up to which a server raises its own."""
    if pid is not None:
        with suppress(OSError):
            found = _OPEN_FILES.search(Path(f"/proc/{pid}/limits").read_text("ascii"))
            if found is not None:
                return _UNLIMITED if found[1] == "unlimited" else int(found[1]), f"the server (process {pid})"
    if sys.platform == "win32":
        return None, "a process"
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _UNLIMITED if hard == resource.RLIM_INFINITY else hard, "a process of this shell"


def _file(path: Path) -> FileFacts | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return FileFacts(path=str(path), mode=stat.S_IMODE(status.st_mode), owner_uid=status.st_uid)
