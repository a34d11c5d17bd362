"""What goes wrong, when and to whom: all of it from a seed. When exactly it happens is real, and so is what comes of it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tests.chaos.server import POINTS

from posthouse.domain.limits import LEASE_SECONDS

PROCESSES: Final = 3
PAST_THE_LEASE_SECONDS: Final = LEASE_SECONDS + 2.0


class Act(StrEnum):
    # To a process
    KILL = "kill -9"
    CRASH = "kill -9 at a point"  # `detail`: the point, and how often it is passed before
    STOP = "SIGSTOP"
    RESTART = "SIGTERM"
    HASTEN = "SIGTERM, then kill -9"
    SEVER_STORE = "sever its database"  # `share`: how many of its connections
    STALL_STORE = "stall its database"
    # To the way to the targets
    SEVER_TARGETS = "sever the targets"
    STALL_TARGETS = "stall the targets"
    # To one target
    MOOD = "target"  # `detail`: how it answers
    # What people do
    CHANGE = "change"
    PAUSE = "pause"
    CHURN = "create, later delete"
    RESEND = "resend"
    REPLAY = "replay"


OF_PROCESSES: Final = (
    Act.KILL,
    Act.CRASH,
    Act.STOP,
    Act.RESTART,
    Act.HASTEN,
    Act.SEVER_STORE,
    Act.STALL_STORE,
)
OF_OTHERS: Final = tuple(act for act in Act if act not in OF_PROCESSES)
MOODS: Final = ("fail", "busy", "slow", "crawl", "hang", "cut")


@dataclass(frozen=True, slots=True)
class Step:
    """`whom` is a process by how much it sends (0: the most, of those that nothing else is happening to), or a number that
    picks an endpoint; `seconds` is how long it lasts."""

    at: float
    act: Act
    whom: int
    seconds: float
    detail: str = ""
    share: float = 1.0

    def __str__(self) -> str:
        share = f" ({self.share:.0%})" if self.share < 1 else ""
        return f"{self.at:7.2f} s  {self.act}{share} {self.whom} for {self.seconds:.1f} s {self.detail}".rstrip()


@dataclass(frozen=True, slots=True)
class Plan:
    seed: int
    seconds: float
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        return "\n".join([f"seed {self.seed}, {self.seconds:g} s", *map(str, self.steps)])

    @property
    def to_processes(self) -> list[Step]:
        return [step for step in self.steps if step.act in OF_PROCESSES]

    @property
    def others(self) -> list[Step]:
        return [step for step in self.steps if step.act not in OF_PROCESSES]


def plan(seed: int, seconds: float) -> Plan:
    """Faults for so many seconds. Each deals from a shuffled deck, so that a short plan holds one of each kind too."""
    chance = random.Random(seed)
    steps = [*_to_processes(chance, seconds), *_to_others(chance, seconds)]
    return Plan(seed, seconds, tuple(sorted(steps, key=lambda step: step.at)))


def _deck(chance: random.Random, acts: tuple[Act, ...]) -> Iterator[Act]:
    while True:
        yield from chance.sample(acts, len(acts))


def _to_processes(chance: random.Random, seconds: float) -> Iterator[Step]:
    """First what matters most happens to whoever does the work, for short plans too: a planned end, a kill, a stop past the
    lease. Then the deck, to the busiest more often than to another one."""
    yield Step(1.0, Act.RESTART, 0, 0.5)
    yield Step(2.5, Act.KILL, 0, 0.5)
    yield Step(4.5, Act.STOP, 0, PAST_THE_LEASE_SECONDS)
    at = 4.5
    acts = _deck(chance, OF_PROCESSES)
    while (at := at + chance.uniform(0.5, 2.5)) < seconds:
        act = next(acts)
        detail, share = "", 1.0
        match act:
            case Act.CRASH:
                lasts, detail = 5.0, f"{chance.choice(POINTS)}:{chance.randrange(3, 40)}"
            case Act.STOP:
                lasts = chance.choice((0.3, 2.0, 5.0, PAST_THE_LEASE_SECONDS, PAST_THE_LEASE_SECONDS + 3.0))
            case Act.STALL_STORE:
                lasts = chance.choice((0.5, 2.0, 4.0, 9.0, PAST_THE_LEASE_SECONDS))
                share = chance.choice((1.0, 0.4))
            case Act.SEVER_STORE:
                lasts = chance.choice((0.0, 0.0, 1.0, 3.0))
                share = 1.0 if lasts else chance.choice((1.0, 0.4))
            case _:
                lasts = chance.uniform(0.0, 2.0)
        yield Step(at, act, chance.choice((0, 0, 1, 2)), lasts, detail, share)


def _to_others(chance: random.Random, seconds: float) -> Iterator[Step]:
    at = 0.0
    acts = _deck(chance, (*OF_OTHERS, Act.MOOD, Act.MOOD, Act.RESEND, Act.RESEND))
    while (at := at + chance.uniform(0.2, 1.2)) < seconds:
        act = next(acts)
        lasts = chance.uniform(0.5, 5.0)
        if act in (Act.SEVER_TARGETS, Act.STALL_TARGETS):
            lasts = chance.uniform(0.0, 1.5)
        yield Step(at, act, chance.randrange(1000), lasts, chance.choice(MOODS) if act is Act.MOOD else "")
