"""`posthouse doctor`: judgements over facts. Pure; every check is one function from facts to findings."""

from __future__ import annotations

from typing import Final

from posthouse.manage.diagnose import database, machine
from posthouse.manage.diagnose.findings import Check, Finding, Thresholds, Verdict
from posthouse.ports.diagnosis import Facts

__all__ = ["CHECKS", "Finding", "Thresholds", "Verdict", "diagnose", "exit_code"]

CHECKS: Final[tuple[Check, ...]] = (
    machine.version,
    machine.server,
    *database.CHECKS,
    machine.key_files,
    machine.data_dir,
    machine.disk,
    machine.open_files,
    machine.guard,
    machine.dns,
)
"""In the order in which an operator would read them."""


def diagnose(facts: Facts, thresholds: Thresholds | None = None) -> list[Finding]:
    """All findings, in the order in which an operator would read them."""
    given = thresholds or Thresholds()
    return [finding for check in CHECKS for finding in check(facts, given)]


def exit_code(findings: list[Finding]) -> int:
    """0 all is in order, 6 there are warnings only, 1 something is wrong."""
    verdicts = {finding.verdict for finding in findings}
    return 1 if Verdict.FAIL in verdicts else 6 if Verdict.WARN in verdicts else 0
