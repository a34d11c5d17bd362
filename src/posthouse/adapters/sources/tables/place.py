"""What the kind `table` needs of a database: a place where triggers are installed, and a store that reads what they wrote.

Tables of each database that has table triggers, beside those of the SDK's outbox:

posthouse_change          one row a change, written by row triggers in the user's transaction; gone when it was published
posthouse_change_kept     those that were published, for as long as `keep_seconds` says
posthouse_change_trigger  one row a trigger: what it was made for, what is kept of it, and whether its reader waits to be woken
posthouse_change_version  one row: the version of these tables, and an id of the database that holds them
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from enum import StrEnum
from hashlib import sha256
from typing import Final, Protocol

import msgspec

from posthouse.adapters.sources.tables.change import Change
from posthouse.adapters.sources.tables.settings import Settings, TableName
from posthouse.domain.errors import Invalid, SourceRefused
from posthouse.ports.sources import Lag, Plan

VERSION: Final = 1
TABLES: Final = ("posthouse_change", "posthouse_change_kept", "posthouse_change_trigger", "posthouse_change_version")
COUNTED_MAX: Final = 10_000  # changes that wait, counted no further
KEPT_CHANGES_MAX: Final = 1_000_000  # of one trigger; the oldest of more are not kept, whatever `keep_seconds` says
PRUNED_MAX: Final = 5_000  # of those, removed at once
SIMILAR_MAX: Final = 3  # names that are offered for one that is not there
INSTALL_SECONDS_MAX: Final = 30.0  # of trying to get a table's lock
UPGRADE_SECONDS_MAX: Final = 3.0  # the same, where a reader upgrades its own trigger
_ID: Final = re.compile(r"[a-z0-9_]{1,40}")


class Column(msgspec.Struct, frozen=True):
    """A column; `type` is the database's word for what it holds, in lower case."""

    name: str
    type: str = ""


class Table(msgspec.Struct, frozen=True):
    """A table as its database describes it: `key` is the primary key, in its order."""

    schema: str
    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]

    @property
    def shown(self) -> str:
        return f"{self.schema}.{self.name}"


class Standing(StrEnum):
    """How what is installed compares with what should be."""

    CURRENT = "current"
    OUTDATED = "outdated"  # it works, but the table, or this program, is another one than it was made for
    OTHERS = "others"  # it was made for other settings than these
    GONE = "gone"  # nothing writes down what happens to the table


class Store(Protocol):
    """What the triggers of one id wrote, for one reader. Raises SourceUnavailable, SourceRefused."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def fetch(self, limit: int, bytes_max: int) -> list[Change]:
        """The first changes by their ids: at least one where there is any, and of those after it as many as both limits allow.
        Always from the beginning: a lower id may be committed after a higher one. For one row of the table the ids are in the
        order of the commits, since who changes it waits for who has it locked."""
        ...

    async def settle(self, ids: Sequence[int]) -> None:
        """These were published: keep them for a while, or remove them."""
        ...

    async def wait(self, seconds: float) -> None:
        """Return when there may be something, or after so long at most. Called after an empty `fetch`, and followed by one."""
        ...

    async def prune(self) -> bool:
        """Remove some of what was kept for long enough; whether there is more of it."""
        ...

    async def lag(self) -> Lag: ...

    async def standing(self) -> Standing: ...


class Place(Protocol):
    """A database, as the user of a DSN has it. Everything connects by itself and leaves nothing open.

    Raises Invalid (with the path within the settings), SourceRefused, SourceUnavailable.
    """

    async def plan(self, trigger_id: str, settings: Settings) -> Plan: ...

    async def install(
        self, trigger_id: str, settings: Settings, *, seconds: float = INSTALL_SECONDS_MAX, upgrades: bool = False
    ) -> None:
        """Run what the plan says; try for so long to get the locks. `upgrades`: only where it was made for these settings, and
        is outdated."""
        ...

    async def remove(self, trigger_id: str) -> None: ...

    async def rewind(self, trigger_id: str, to: float | None) -> float | None:
        """Put back what was kept and happened since then. Answers since when what was published is still there; None: all
        of it. Where that is later than `to`, nothing was put back."""
        ...

    async def holds(self, trigger_id: str) -> tuple[str, int] | None:
        """The id of the database, and how many changes of this trigger wait in it; None where it has no such trigger."""
        ...

    def store(self, trigger_id: str, settings: Settings) -> Store: ...


def check_id(trigger_id: str) -> str:
    """The id, which becomes part of names. Nobody but Posthouse makes ids: that one is odd is a bug."""
    if not _ID.fullmatch(trigger_id):
        raise ValueError(f"no id of a trigger: {trigger_id!r}")
    return trigger_id


def digest_of(*texts: str) -> str:
    """A few letters that stand for what a trigger is made of: part of its name."""
    return sha256("\0".join((str(VERSION), *texts)).encode()).hexdigest()[:8]


def check_columns(settings: Settings, table: Table) -> tuple[str, ...]:
    """The columns that are to be part of old and new. Raises Invalid."""
    names = [column.name for column in table.columns]
    if settings.columns is None:
        return tuple(names)
    for index, name in enumerate(settings.columns):
        if name not in names:
            raise Invalid(
                f"the table {table.shown} has no column {name}; {_offered(name, names)}", path=f"columns[{index}]"
            )
    return tuple(name for name in names if name in settings.columns or name in table.key)


def no_table(wanted: TableName, there: Sequence[str]) -> Invalid:
    """`there` are the tables as they would be written in the settings."""
    return Invalid(f"there is no table {wanted.shown}; {_offered(wanted.shown, there)}", path="table")


def no_key(table: str) -> Invalid:
    return Invalid(
        f"the table {table} has no primary key, by which events are told apart and kept in order: "
        f"ALTER TABLE {table} ADD PRIMARY KEY (…)",
        path="table",
    )


def not_a_table(table: str, what: str) -> Invalid:
    return Invalid(f"{table} is {what}, which has no rows of its own to watch: name the table behind it", path="table")


def not_installed(where: str) -> SourceRefused:
    return SourceRefused(
        f"the tables of table triggers are not in {where}: `posthouse triggers resume` makes them anew",
        code="not_installed",
    )


def check_version(found: int | None, where: str) -> None:
    """Raises SourceRefused where the tables are not there, or a newer program's."""
    if found is None:
        raise not_installed(where)
    if found > VERSION:
        raise SourceRefused(
            f"the tables of table triggers in {where} have version {found}; this program knows version {VERSION}: upgrade it",
            code="newer_version",
        )


def _offered(name: str, names: Sequence[str]) -> str:
    if not names:
        return "this user sees none at all"
    # Case first: that is what is mistaken most.
    near = [other for other in names if other.lower() == name.lower()] or get_close_matches(
        name, names, SIMILAR_MAX, 0.5
    )
    return f"there is {' or '.join(near)}" if near else f"there are {', '.join(sorted(names)[:20])}"
