"""A sink that only remembers, for tests of what listens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from posthouse_sdk.listening import Listener, Miss, Rule
from posthouse_sdk.listening.gauges import Held
from posthouse_sdk.listening.observation import Occurrence
from posthouse_sdk.listening.sink import Durable


class Taken:
    """Keeps what was put. `durable` makes what an answer waits for; `error` is raised by `put`."""

    def __init__(self) -> None:
        self.started = False
        self.hold_seconds = 30.0
        self.occurrences: list[Occurrence] = []
        self.durable: Callable[[], Durable | None] = lambda: None
        self.error: Exception | None = None
        self.closed = 0

    def attach(self, tell: Callable[[Miss], None]) -> None: ...

    def start(self) -> None:
        self.started = True

    def put(self, occurrence: Occurrence) -> Durable | None:
        if self.error is not None:
            raise self.error
        self.occurrences.append(occurrence)
        return self.durable()

    def held(self) -> Held:
        return Held()

    def close(self, timeout: float) -> None:
        self.started = False
        self.closed += 1

    @property
    def events(self) -> list[tuple[str, Any]]:
        return [(occurrence.made.type, occurrence.made.data) for occurrence in self.occurrences]


class Heard:
    """A listener with such a sink; `misses` are the reasons that it told."""

    def __init__(self, *rules: Rule, **options: Any) -> None:
        self.sink = Taken()
        self.told: list[Miss] = []
        self.listener = Listener(rules, self.sink, on_error=self.told.append, **options)

    @property
    def events(self) -> list[tuple[str, Any]]:
        return self.sink.events

    @property
    def misses(self) -> list[str]:
        return [miss.reason for miss in self.told]
