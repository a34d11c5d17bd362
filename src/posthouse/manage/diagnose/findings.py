"""What a check finds, and from when on something is not in order."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

import msgspec

from posthouse.domain.limits import CLOCK_SKEW_SECONDS_MAX
from posthouse.ports.diagnosis import Facts


class Verdict(StrEnum):
    """How a check ended. SKIPPED: there was nothing to look at, for a reason that another check tells."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIPPED = "skipped"


class Finding(NamedTuple):
    """What a check found, and what to do about it where it is not in order."""

    check: str
    verdict: Verdict
    found: str
    advice: str = ""


class Thresholds(msgspec.Struct, frozen=True):
    """From when on something is not in order."""

    skew_warn_seconds: float = 2.0
    skew_fail_seconds: float = CLOCK_SKEW_SECONDS_MAX
    snapshot_warn_seconds: float = 60.0
    snapshot_fail_seconds: float = 900.0
    idle_warn_seconds: float = 10.0  # our own sessions end after three
    rewound_warn_seconds: float = 7 * 86_400.0  # for so long a log that lost its end is told of
    waiting_fail_seconds: float = 60.0
    backlog_warn_rows: int = 100_000
    dead_rows_warn: int = 100_000
    free_warn_bytes: int = 5 * 1024**3  # the log of PostgreSQL alone may take 4 GiB
    free_fail_bytes: int = 1024**3
    connections_warn_share: float = 0.9


Check = Callable[[Facts, Thresholds], list[Finding]]


def ok(check: str, found: str) -> list[Finding]:
    return [Finding(check, Verdict.OK, found)]


def warn(check: str, found: str, advice: str) -> list[Finding]:
    return [Finding(check, Verdict.WARN, found, advice)]


def fail(check: str, found: str, advice: str) -> list[Finding]:
    return [Finding(check, Verdict.FAIL, found, advice)]


def skipped(check: str, why: str) -> list[Finding]:
    return [Finding(check, Verdict.SKIPPED, why)]
