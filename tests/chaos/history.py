"""What was asked, answered, received and stored: everything that the rules (rules.py) look at. Times are unix seconds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

STARVED_SECONDS: Final = 0.4
AROUND_SECONDS: Final = 3.0


@dataclass(slots=True)
class Asked:
    """Something asked of the API: `answered` is infinite until it certainly was done."""

    asked: float
    answered: float = math.inf


@dataclass(slots=True)
class Try:
    """One request to publish. `status` is None where no answer came: the connection ended, or (`late`) our patience."""

    server: int
    began: float
    ended: float
    status: int | None = None
    event: str | None = None
    late: bool = False


@dataclass(slots=True)
class Published:
    """One event that somebody wanted, with each time that it was asked for; `tag` is in its data. With `once` it carried an
    idempotency key."""

    tag: str
    app: str
    type: str
    key: str | None
    once: bool
    tries: list[Try] = field(default_factory=list)

    @property
    def began(self) -> float:
        return self.tries[0].began

    @property
    def accepted(self) -> str | None:
        return next((t.event for t in self.tries if t.status == 202), None)

    @property
    def answered(self) -> float:
        return min((t.ended for t in self.tries if t.status == 202), default=math.inf)


@dataclass(slots=True)
class Endpoint:
    id: str
    app: str
    path: str  # under which the target knows it
    created: Asked
    types: tuple[str, ...] = ()  # none: all
    ordering: str = "none"
    rate: tuple[float, int] | None = None  # requests a second, burst
    timeout: float = 15.0
    deleted: Asked | None = None
    pauses: list[tuple[Asked, Asked]] = field(default_factory=list)  # paused, resumed

    def hears(self, type: str) -> bool:
        return not self.types or type in self.types


@dataclass(slots=True)
class Arrival:
    """An event in a request that a target read whole. `status` is what it answered, None for nothing; `sender` is the process
    and which of its lives."""

    path: str
    event: str
    at: float
    sender: tuple[int, int] = (0, 1)
    replay: bool = False
    request: int = 0  # a number for each request: events of a batch share it
    status: int | None = None
    answered: float = math.inf

    @property
    def confirmed(self) -> bool:
        return self.status is not None and self.status < 300


@dataclass(slots=True)
class Again:
    """A resend (of `event`) or a replay (of all that was published since) that somebody asked for, `times` times: each but the
    last had no answer."""

    path: str
    when: Asked
    event: str | None = None
    since: float = math.inf
    accepted: bool = False
    times: int = 1


class Kind(StrEnum):
    KILLED = "killed"
    STOPPED = "stopped"
    RESTARTED = "restarted"  # planned
    STORE = "its database was away"
    TARGETS = "targets were away"


@dataclass(slots=True)
class Trouble:
    """Something went wrong, for one process or (None) for all."""

    kind: Kind
    begin: float
    end: float
    process: int | None = None


@dataclass(slots=True)
class Logged:
    """An event in the log."""

    id: str
    partition: int
    seq: int
    app: str
    type: str
    key: str | None
    tag: str


@dataclass(slots=True)
class Attempt:
    """An attempt on record."""

    path: str
    event: str
    number: int
    replay: bool
    outcome: str  # delivered, failed, gave_up
    reason: str
    sent: bool
    status: int | None
    started: float
    ended: float


@dataclass(slots=True)
class Partition:
    id: int
    cursor: int
    head: int
    owned: bool


@dataclass(slots=True)
class Exit:
    """A process ended by itself, or as it was asked to."""

    process: int
    at: float
    code: int
    planned: bool


@dataclass(slots=True)
class History:
    published: list[Published] = field(default_factory=list)
    endpoints: list[Endpoint] = field(default_factory=list)
    arrivals: list[Arrival] = field(default_factory=list)
    again: list[Again] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    exits: list[Exit] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    # As the store has it at the end
    log: list[Logged] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    owed: list[str] = field(default_factory=list)
    partitions: list[Partition] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)  # jobs, effects
    lags: list[tuple[float, float]] = field(default_factory=list)  # when whoever took notes was held up, for how long

    def lag(self, begin: float = -math.inf, end: float = math.inf) -> float:
        """The longest that it was held up about that time."""
        return max((lag for at, lag in self.lags if begin - AROUND_SECONDS <= at <= end + AROUND_SECONDS), default=0.0)

    def starved(self, begin: float = -math.inf, end: float = math.inf) -> bool:
        """Whether the machine was too busy then to say what should have been done within seconds."""
        return self.lag(begin, end) > STARVED_SECONDS

    def touched(self, begin: float, end: float, *kinds: Kind, process: int | None = None) -> list[Trouble]:
        """Troubles of these kinds between two times: everybody's, or one process's (and what was everybody's)."""
        return [
            t
            for t in self.troubles
            if t.kind in kinds
            and t.begin <= end
            and begin <= t.end
            and (process is None or t.process in (None, process))
        ]

    def around(self, path: str | None, event: str | None, at: float, *, seconds: float = 3.0) -> Iterator[str]:
        """What is known of an event at an endpoint, of its neighbours there, and what went wrong meanwhile, by time."""
        told = [
            (a.at, f"{'>>' if a.event == event else '  '} {a}")
            for a in self.arrivals
            if path in (None, a.path) and (a.event == event or (path is not None and abs(a.at - at) <= seconds))
        ]
        told += [(t.started, f">> {t}") for t in self.attempts if t.event == event and path in (None, t.path)]
        told += [
            (t.began, f">> {p.tag}: {t}")
            for p in self.published
            for t in p.tries
            if event is not None and t.event == event
        ]
        told += [(a.when.asked, f">> {a}") for a in self.again if a.path == path and a.event in (None, event)]
        times = [moment for moment, _ in told] or [at]
        troubles = self.touched(min(times) - seconds, max(times) + seconds, *Kind)
        told += [(t.begin, f"!! {t}") for t in troubles]
        yield from [f">> {logged}" for logged in self.log if logged.id == event]
        yield from [f">> {endpoint}" for endpoint in self.endpoints if endpoint.path == path]
        yield from [f"{moment:.3f} {text}" for moment, text in sorted(told)]
