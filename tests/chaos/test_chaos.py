"""Three servers, one PostgreSQL, and everything that goes wrong at once: what was accepted arrives, as it was promised.

`make chaos` runs it for minutes: POSTHOUSE_CHAOS_SECONDS (of faults), SEED (of the plan; by default another one each time).
"""

from __future__ import annotations

import os
import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.chaos.history import History
from tests.chaos.plan import Plan, plan
from tests.chaos.rules import Offence, check
from tests.chaos.run import Run
from tests.folders import FAST

SECONDS = float(os.environ.get("POSTHOUSE_CHAOS_SECONDS", "16"))
SEED = int(os.environ.get("SEED") or random.SystemRandom().randrange(1_000_000))
OFFENCES_TOLD_MAX = 8

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(SECONDS + 300)]


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="posthouse-chaos-", dir=FAST, ignore_cleanup_errors=True) as name:
        os.chmod(name, 0o755)
        yield Path(name)


async def test_what_was_accepted_arrives_as_promised_whatever_happens(folder: Path) -> None:
    made = plan(SEED, SECONDS)
    history = await Run(made, folder).execute()
    print(_summary(history))
    offences = check(history)
    if offences:
        pytest.fail(_report(made, history, offences), pytrace=False)


def _summary(history: History) -> str:
    accepted = sum(p.accepted is not None for p in history.published)
    confirmed = Counter((a.path, a.event) for a in history.arrivals if a.confirmed and not a.replay)
    repeats = sum(confirmed.values()) - len(confirmed)
    replays = Counter((a.path, a.event) for a in history.arrivals if a.confirmed and a.replay)
    most = max(replays.values(), default=0)
    troubles = Counter(t.kind.value for t in history.troubles)
    return (
        f"seed {SEED}: {accepted} events accepted of {len(history.published)} wanted, {len(history.arrivals)} arrivals, "
        f"{repeats} repeats, {sum(replays.values())} replays (of one event {most}, asked for {len(history.again)} times), "
        f"lag {history.lag():.3f} s, {dict(troubles)}"
    )


def _report(made: Plan, history: History, offences: list[Offence]) -> str:
    by_rule = Counter(offence.rule for offence in offences)
    lines = [
        f"{len(offences)} offences: {dict(by_rule)}",
        f"again: make chaos SEED={made.seed} POSTHOUSE_CHAOS_SECONDS={made.seconds:g}",
        _summary(history),
        str(made),
    ]
    told: Counter[str] = Counter()
    for offence in offences:
        told[offence.rule] += 1
        if told[offence.rule] <= OFFENCES_TOLD_MAX:
            lines.append(f"\n*** {offence}")
            if told[offence.rule] <= 2 and offence.at:
                lines += list(history.around(offence.path, offence.event, offence.at))
    return "\n".join(lines)
