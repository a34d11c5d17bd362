"""What is said over and over is said once in a while; nothing else is left out."""

from __future__ import annotations

from typing import Any

import pytest
import structlog

from posthouse.adapters.system import repetitions
from posthouse.adapters.system.repetitions import REPEATED_SECONDS, Repetitions


class Log:
    def __init__(self) -> None:
        self.now = 0.0
        self._repetitions = Repetitions(lambda: self.now)

    def says(self, event: str, level: str = "warning", **more: Any) -> int | None:
        """How many of its repetitions a line tells of; None where it is not written."""
        try:
            written = self._repetitions(None, level, {"event": event, "level": level, **more})
        except structlog.DropEvent:
            return None
        return int(written.get("repeated", 0))


def test_the_same_warning_is_written_once_in_a_while_with_a_count() -> None:
    log = Log()
    assert log.says("tail.failed", error="away") == 0
    for _ in range(3):
        log.now += 1
        assert log.says("tail.failed", error="away") is None
    log.now = REPEATED_SECONDS
    assert log.says("tail.failed", error="away") == 3
    log.now += REPEATED_SECONDS
    assert log.says("tail.failed", error="away") == 0, "there was none in between"


def test_a_warning_of_something_else_is_written() -> None:
    log = Log()
    assert [log.says("tail.failed", partition=n) for n in range(3)] == [0, 0, 0]
    assert log.says("tail.failed", partition=1, error="another") == 0


@pytest.mark.parametrize("level", ["debug", "info", "error", "critical"])
def test_other_levels_are_always_written(level: str) -> None:
    log = Log()
    assert [log.says("told", level) for _ in range(3)] == [0, 0, 0]


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repetitions, "WARNINGS_MAX", 2)
    log = Log()
    assert [log.says("tail.failed", partition=n) for n in (0, 1, 2)] == [0, 0, 0]
    assert log.says("tail.failed", partition=2) is None
    assert log.says("tail.failed", partition=0) == 0, "it was forgotten"
