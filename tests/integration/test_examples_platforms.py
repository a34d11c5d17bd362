"""The examples of platforms, each by its one command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.commands import environment

ROOT = Path(__file__).parents[2]


def run(example: str) -> subprocess.CompletedProcess[str]:
    ran = subprocess.run(
        [sys.executable, "-m", f"examples.{example}"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran


def test_hooks_are_called_with_answers_and_their_event_goes_out() -> None:
    ran = run("callbacks")
    assert "done: the warehouse's answer is in the shop's database, and the carrier heard of it" in ran.stdout
    assert "order 42 is in parcel P-7" in ran.stderr, "what hooks print is in the server's log"


@pytest.mark.parametrize("example", ["fastapi_platform", "django_platform"])
def test_an_example_does_what_it_shows(example: str) -> None:
    ran = run(example)
    assert "done: three events, and none of what was rolled back" in ran.stdout
    assert '"amount_cents": 100' in ran.stdout
    assert ran.stdout.index('"amount_cents": 100') < ran.stdout.index('"amount_cents": 250')
