"""Sources: what a trigger watches. A source sees, in an order of its own, and remembers how far it was told to go.

A kind of source (`SourceKind`) is found by its name: those that come with Posthouse are in `adapters/sources`, those of others
are objects that a package names in the entry-point group `posthouse.sources`. What follows is all that a source has to know of
Posthouse. The runner does the rest: leases, so that one process at a time works on a trigger; back-off; what is published, left
out or set aside; and the position.

What is seen is published at least once: it is seen again, with the same key, until it was acknowledged. Events of what one
reading holds are in the log in its order, those of one reading before those of the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

GROUP = "posthouse.sources"
"""The entry-point group of kinds."""


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was seen.

    `key` (1 to 128 printable characters) is the same whenever and by whomever this is seen, and nothing else's in this trigger:
    repeats collapse by it. `seen` is a JSON object, which templates and expressions look at; `data` is what is published of it,
    unless the trigger maps it: None is `seen` itself. `event_key` is by what order is kept, unless the trigger says. `at` is
    when it happened, in unix seconds.
    """

    key: str
    seen: bytes
    data: bytes | None = None
    content_type: str = "application/json"
    event_key: str | None = None
    at: float | None = None


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What a source saw, in its order. `position` is the source's word for having all of it (and all before it) behind itself;
    at most 4,000 characters. `receipt` is for the source alone: it is handed back with `acknowledge`.

    `wait_seconds`: after so long it is worth looking again; 0 where there may be more.
    """

    observations: tuple[Observation, ...] = ()
    position: str | None = None
    receipt: Any = None
    wait_seconds: float = 0.0


class Lag(msgspec.Struct, frozen=True, kw_only=True):
    """How far behind a source is; None where it does not know. `seconds` is the age of the oldest that was not acknowledged, 0
    where there is none; `retained_bytes` is what the source has to keep because of that. `alarm` says what somebody has to look
    at, although it goes on."""

    pending: int | None = None
    seconds: float | None = None
    retained_bytes: int | None = None
    alarm: str | None = None


class Source(Protocol):
    """A source at work: opened, read and acknowledged by turns, closed. One call at a time, but for `close`, which may come
    while another one is under way, and then after that was cancelled. A call that was cancelled has lost nothing: the source is
    closed, and what was not acknowledged is seen again by the next one.

    Everything raises SourceUnavailable (it does not answer: tried again soon) and SourceRefused (somebody has to do something,
    which the text says: tried again now and then).
    """

    async def open(self, position: str | None) -> None:
        """Connect, and be ready to read what comes after this position; None: from the beginning, whatever that is here."""
        ...

    async def read(self, *, limit: int, wait_seconds: float) -> Reading:
        """What comes next after the reading before, about `limit` of them at most (what belongs together may be more): at once
        where there is something, else after waiting for it for at most so long, and empty then."""
        ...

    async def acknowledge(self, reading: Reading) -> None:
        """All of this reading is in the log, or set aside, and its position is on record. Should this be lost, the same may be
        seen again."""
        ...

    async def lag(self) -> Lag:
        """How far behind it is. Asked every few seconds."""
        ...

    async def close(self) -> None: ...


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """What a kind is told of a trigger: `id` is unique and stays (`trg_…`), `name` is what people call it, `settings` are as
    `SourceKind.check` answered them, and `generation` counts how often it was rewound."""

    id: str
    name: str
    settings: Mapping[str, Any]
    generation: int = 0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a kind does where it watches: statements that make it ready, and those that remove all traces. `remarks` are what
    somebody should know about it, in sentences."""

    install: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


class TriggerKind(Protocol):
    """A kind of trigger: what is watched, and how that is made ready."""

    @property
    def name(self) -> str:
        """What `kind` of a trigger says: a few lower-case letters, digits and `-`."""
        ...

    @property
    def expects(self) -> Mapping[str, Any]:
        """The JSON Schema (2020-12) of its settings, with descriptions: what people read."""
        ...

    def check(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The settings, complete: what is left out has its default. Asks nobody.

        Raises Invalid with the path (within the settings) of what is wrong, and what to do.
        """
        ...

    def shown(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The settings as they may be shown: without passwords and other secrets."""
        ...

    async def plan(self, spec: Spec) -> Plan:
        """What `install` and `remove` would do, as it is now. Changes nothing. Raises what `install` raises."""
        ...

    async def install(self, spec: Spec, *, before: Spec | None = None) -> None:
        """Make ready what is watched. It may be there already, wholly or in parts: then what is missing is made. `before`: it
        was installed with those settings, and what they needed and these do not is removed.

        Raises Invalid (a table that is missing, …: the path is within the settings), SourceRefused, SourceUnavailable.
        """
        ...

    async def remove(self, spec: Spec) -> None:
        """Remove all traces; nothing where there are none. Raises SourceRefused, SourceUnavailable."""
        ...

    async def rewind(self, spec: Spec, to: float | None) -> str | None:
        """Go back, so that everything since a time (unix seconds), or everything there is (None), is seen again: the position
        to go on from. `spec.generation` is the new one; nobody reads meanwhile.

        Raises Invalid where that cannot be done, and says what can be; SourceRefused, SourceUnavailable.
        """
        ...


class SourceKind(TriggerKind, Protocol):
    """A kind that is read, by whoever works on the trigger."""

    def source(self, spec: Spec) -> Source:
        """A source for a trigger; nothing is connected before it is opened."""
        ...
