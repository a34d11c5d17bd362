"""A kind of trigger whose source is a list in this process: what lies on it, and what goes wrong, is the test's to say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from posthouse.domain.errors import Invalid, PosthouseError, SourceRefused
from posthouse.ports.clock import set_or_over
from posthouse.ports.sources import Lag, Observation, Plan, Reading, Spec


class Shelf:
    """`ports.sources.SourceKind`. Positions are numbers of what lies on it; `fails` is raised by whatever is done next, until
    it is None. `made` are the ids of what was installed."""

    name = "shelf"
    expects: Mapping[str, Any] = {"type": "object", "properties": {"label": {"type": "string"}, "password": {}}}

    def __init__(self) -> None:
        self.rows: list[Observation] = []
        self.fails: PosthouseError | None = None
        self.made: dict[str, Mapping[str, Any]] = {}
        self.open = 0
        self.opened = 0
        self.acknowledged = 0
        self.acknowledges = True
        self.changed = asyncio.Event()

    def put(self, *seen: dict[str, Any] | bytes, event_key: str | None = None) -> None:
        for one in seen:
            raw = one if isinstance(one, bytes) else json.dumps(one).encode()
            self.rows.append(Observation(key=f"row-{len(self.rows)}", seen=raw, event_key=event_key, at=1.0))
        self.changed.set()

    def check(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        for name in settings:
            if name not in ("label", "password"):
                raise Invalid(f"there is no setting {name!r}", path=name)
        return {"label": "first"} | dict(settings)

    def shown(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in settings.items() if name != "password"}

    async def plan(self, spec: Spec) -> Plan:
        self.fail()
        return Plan(install=(f"MAKE {spec.settings['label']}",), remove=("TAKE AWAY",), remarks=("It is a shelf.",))

    async def install(self, spec: Spec, *, before: Spec | None = None) -> None:
        self.fail()
        if spec.settings["label"] == "taken":
            raise SourceRefused("this label is taken; choose another one", code="label_taken")
        self.made[spec.id] = spec.settings

    async def remove(self, spec: Spec) -> None:
        self.fail()
        self.made.pop(spec.id, None)

    async def rewind(self, spec: Spec, to: float | None) -> str | None:
        if to is not None:
            raise Invalid("a shelf has no times; leave to out", path="to")
        return None

    def source(self, spec: Spec) -> ShelfSource:
        return ShelfSource(self)

    def fail(self) -> None:
        if self.fails is not None:
            raise self.fails


class ShelfSource:
    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._at = 0

    async def open(self, position: str | None) -> None:
        self._shelf.fail()
        assert not self._shelf.open, "two work on it"
        self._shelf.open += 1
        self._shelf.opened += 1
        self._at = int(position or 0)

    async def read(self, *, limit: int, wait_seconds: float) -> Reading:
        self._shelf.fail()
        if self._at >= len(self._shelf.rows):
            self._shelf.changed.clear()
            await set_or_over(self._shelf.changed, wait_seconds)
            self._shelf.fail()
        rows = tuple(self._shelf.rows[self._at : self._at + limit])
        return Reading(observations=rows, position=str(self._at + len(rows)), receipt=self._at + len(rows))

    async def acknowledge(self, reading: Reading) -> None:
        self._shelf.fail()
        self._at = self._shelf.acknowledged = reading.receipt

    async def lag(self) -> Lag:
        return Lag(pending=len(self._shelf.rows) - self._at, seconds=0.0)

    async def close(self) -> None:
        self._shelf.open = 0
