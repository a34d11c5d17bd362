"""The examples of platforms, each by its one command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.commands import environment

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("example", ["fastapi_platform", "django_platform"])
def test_an_example_does_what_it_shows(example: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", f"examples.{example}"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "done: three events, and none of what was rolled back" in ran.stdout
    assert '"amount_cents": 100' in ran.stdout
    assert ran.stdout.index('"amount_cents": 100') < ran.stdout.index('"amount_cents": 250')
