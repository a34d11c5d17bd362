"""What processes cost, read from /proc (Linux)."""

from __future__ import annotations

import os
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def cpu(pid: int) -> float:
    """Seconds of CPU that a process used."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / TICKS


def machine_cpu() -> float:
    """Seconds of CPU that everyone on this machine used, and that its host took from it."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    user, nice, system, _idle, _waiting, irq, softirq, steal = (int(field) for field in fields)
    return (user + nice + system + irq + softirq + steal) / TICKS


def children(pid: int) -> list[int]:
    """The children of a process."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if int(_stat(int(entry.name))[1]) == pid:
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def postgres_cpu(postmaster: int) -> float:
    """Seconds of CPU that a PostgreSQL used: the postmaster, its children, and those of its children that ended."""
    fields = _stat(postmaster)
    total = sum(int(fields[i]) for i in range(11, 15)) / TICKS
    for pid in children(postmaster):
        try:
            total += cpu(pid)
        except OSError:
            continue
    return total


def tree_private_mb(parent: int) -> float:
    """Memory that a process and its children have to themselves, in MiB: what they share is not in it."""
    total = 0
    for pid in (parent, *children(parent)):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:  # it ended meanwhile
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))
    return total / 1024


def files(pid: int) -> int:
    """How many files a process has open, sockets among them."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def rss_mb(pid: int) -> float:
    """Resident memory of a process in MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024 / 1024


def peak_rss_mb(pid: int) -> float:
    """The most resident memory that a process ever had, in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"the kernel does not tell the peak of process {pid}")
