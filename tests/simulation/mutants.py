"""Does the simulator find bugs? It is run against engines with one known bug each: `make mutants`, or ONLY=name.

A mutation is a file of `mutations/`: `name`, `why` (the rule that it breaks, and what would go wrong), `file` (below `src/`),
and for each `[[change]]` a snippet `old` that occurs exactly once in the file, and what stands there instead (`new`). A change
of another file names it.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = Path(__file__).parent / "mutations"
SECONDS_MAX: Final = 1800.0  # of one mutation


class Change(NamedTuple):
    file: str
    old: str
    new: str


class Mutation(NamedTuple):
    """One bug."""

    name: str
    why: str
    changes: tuple[Change, ...]


def mutations(only: str = "") -> Iterator[Mutation]:
    """Those of the folder whose name holds `only`."""
    for path in sorted(FOLDER.glob("*.toml")):
        found: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
        if only in found["name"]:
            changes = [Change(c.get("file", found["file"]), c["old"], c["new"]) for c in found["change"]]
            yield Mutation(found["name"], found["why"], tuple(changes))


def copied(mutation: Mutation, folder: Path) -> Path:
    """A copy of `src` with the bug in it. Raises ValueError where a snippet is not there exactly once."""
    source = folder / "src"
    shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
    for change in mutation.changes:
        path = source / change.file
        text = path.read_text("utf-8")
        if text.count(change.old) != 1:
            raise ValueError(f"{mutation.name}: {change.old!r} occurs {text.count(change.old)} times in {change.file}")
        path.write_text(text.replace(change.old, change.new), "utf-8")
    return source


def caught(mutation: Mutation, seeds: str, jobs: int) -> tuple[str, float]:
    """The first finding, nothing if there is none; and after how many seconds."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="posthouse-mutant-") as folder:
        source = copied(mutation, Path(folder))
        found = subprocess.run(
            [sys.executable, "-m", "tests.simulation", seeds, "--first", "--jobs", str(jobs)],
            cwd=ROOT,
            env=os.environ
            | {"PYTHONPATH": f"{source}{os.pathsep}{ROOT}", "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
        )
    seconds = time.monotonic() - began
    if found.returncode == 0:
        return "", seconds
    match = re.search(r"^seed (\d+): (.*)(?:\n(?! {4}again).*)*", found.stdout, re.MULTILINE)
    if match is None:
        raise RuntimeError(f"the simulation did not run: {found.stdout}{found.stderr}")
    last = match.group(0).splitlines()[-1].strip()
    return last if last.startswith("seed ") else f"seed {match.group(1)}: {last}", seconds


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutants", description=__doc__)
    parser.add_argument("--only", default="", help="mutations whose name holds this")
    parser.add_argument("--seeds", default="300", help="as many from 1, or a range")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    options = parser.parse_args(arguments)
    seeds = options.seeds if "-" in options.seeds else f"1-{options.seeds}"
    survived = []
    count = 0
    for mutation in mutations(options.only):
        count += 1
        finding, seconds = caught(mutation, seeds, options.jobs)
        print(f"{mutation.name:52} {seconds:6.1f} s  {finding[:110] or 'SURVIVED'}", flush=True)
        if not finding:
            survived.append(mutation.name)
    print(
        f"{count - len(survived)} of {count} are caught"
        + (f"; these are not: {', '.join(survived)}" if survived else "")
    )
    return 1 if survived or not count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
