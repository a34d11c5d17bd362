"""The engine through random histories, as many as there is time for; `make simulate` runs as many as you like."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.simulation import mutants

ROOT: Final = Path(__file__).parents[2]
SEEDS: Final = os.environ.get("POSTHOUSE_SEEDS", "1-1000")
SECONDS: Final = os.environ.get("POSTHOUSE_SIMULATION_SECONDS", "20")
SEED: Final = 3


def simulated(*arguments: str, source: Path = ROOT / "src") -> subprocess.CompletedProcess[str]:
    """A run of its own: sets are ordered by hashes, which must be the same each time."""
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation", *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": "0", "PYTHONPATH": f"{source}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_nothing_is_lost_and_little_repeated() -> None:
    run = simulated(SEEDS, "--seconds", SECONDS)
    assert run.returncode == 0, run.stdout + run.stderr
    assert " 0 wrong" in run.stdout


def test_a_seed_is_one_history_and_others_are_others() -> None:
    """Nothing is left over from the histories before it, and where things are in memory does not count."""
    first = simulated(f"{SEED},{SEED + 1},{SEED}", "--digests").stdout.splitlines()
    alone = simulated(f"={SEED}", "--digests").stdout.splitlines()
    assert first[0].startswith(f"{SEED}: ")
    assert first[0] == first[2] == alone[0]
    assert first[0].split()[1] != first[1].split()[1]


def test_a_bug_is_found_and_the_command_that_shows_it_again_is_printed(tmp_path: Path) -> None:
    (mutation,) = mutants.mutations("cursor_moved_early")
    source = mutants.copied(mutation, tmp_path)
    run = simulated("1-40", "--first", source=source)
    assert run.returncode == 1
    assert "again: make simulate SEED=" in run.stdout
