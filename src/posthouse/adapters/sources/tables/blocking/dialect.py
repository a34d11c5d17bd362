"""What the databases whose drivers block differ in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from posthouse.adapters.sources.tables.place import (
    TABLES,
    VERSION,
    Standing,
    Table,
    check_columns,
    check_id,
    check_version,
)
from posthouse.adapters.sources.tables.settings import Settings, TableName
from posthouse.domain.errors import PosthouseError
from posthouse_sdk.outbox.dsn import Dsn

T = TypeVar("T")

IDS_MAX: Final = 500  # in one statement
ROW: Final = "trigger_id, id, uid, op, table_schema, table_name, row_key, old_row, new_row, note, created_at"


class Words(NamedTuple):
    """How a dialect says what the standard does not."""

    place: str  # a parameter
    now: str
    unix_time: str  # "{}": a time in unix seconds
    bytes_of: str  # "{}"
    begin: str
    on_conflict: str  # of an insert, before what it sets instead


class RowTrigger(NamedTuple):
    """A row trigger that is there: its name, and what it is on."""

    name: str
    table: str
    operation: str


class Dialect(Protocol):
    """A dialect at one DSN."""

    words: Words
    dsn: Dsn

    def connect(self) -> Any:
        """A DB-API connection that commits each statement by itself. Raises Invalid, SourceRefused, and the driver's errors."""
        ...

    def translated(self, error: Exception) -> PosthouseError | None:
        """An error as one of ours; None where it is not the database's."""
        ...

    def check_server(self, cursor: Any) -> None:
        """Raises SourceRefused where nothing can be installed here at all."""
        ...

    def tables(self, cursor: Any) -> int:
        """How many of our tables are there."""
        ...

    def watched(self, cursor: Any, named: TableName) -> Table:
        """Raises Invalid, SourceRefused."""
        ...

    def row_triggers(self, cursor: Any, trigger_id: str) -> list[RowTrigger]: ...

    def shared(self) -> tuple[str, ...]:
        """The statements that make our tables."""
        ...

    def row_trigger(self, trigger_id: str, settings: Settings, table: Table, operation: str) -> tuple[str, str]:
        """The name of a row trigger as it should be, which depends on all of it, and the statement that makes it."""
        ...

    def changed(self, make: Mapping[str, str], drop: list[RowTrigger], table: Table) -> tuple[str, ...]:
        """The statements that put these row triggers in the place of those, so that no change is missed or seen twice."""
        ...

    def quoted(self, name: str) -> str: ...

    def literal(self, text: str) -> str: ...

    def prepare(self) -> tuple[str, ...]:
        """What has to be said of a session before it makes anything."""
        ...

    def alone(self, cursor: Any, seconds: float) -> AbstractContextManager[Callable[[str], None]]:
        """Nobody else installs or removes as long as this is open; it is a transaction where there are any for such statements.
        What it gives runs a statement, and tries for so long to get the locks for it."""
        ...

    def remarks(self, cursor: Any, table: Table) -> tuple[str, ...]: ...


class Session:
    """A connection that is made as it is needed, in whatever thread calls. One call at a time."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self._connection: Any = None

    def run(self, work: Callable[[Any], T]) -> T:
        """Do something with a cursor. Raises what `work` does, and the driver's errors as ours."""
        try:
            if self._connection is None:
                self._connection = self.dialect.connect()
            cursor = self._connection.cursor()
            try:
                return work(cursor)
            finally:
                cursor.close()
        except PosthouseError:
            raise
        except Exception as error:
            told = self.dialect.translated(error)
            if told is None:
                raise
            self.close()
            raise told from error

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except Exception as error:
                if self.dialect.translated(error) is None:
                    raise


@contextmanager
def transaction(cursor: Any, words: Words) -> Iterator[None]:
    cursor.execute(words.begin)
    try:
        yield
    except BaseException:
        cursor.execute("ROLLBACK")
        raise
    cursor.execute("COMMIT")


def move(cursor: Any, words: Words, trigger_id: str, ids: Sequence[int], source: str, target: str | None) -> None:
    """Move changes from one of our tables to another, or remove them. In a transaction of the caller's."""
    for start in range(0, len(ids), IDS_MAX):
        some = ids[start : start + IDS_MAX]
        chosen = f"WHERE trigger_id = {words.place} AND id IN ({', '.join([words.place] * len(some))})"
        if target is not None:
            cursor.execute(f"INSERT INTO {target} ({ROW}) SELECT {ROW} FROM {source} {chosen}", (trigger_id, *some))  # noqa: S608
        cursor.execute(f"DELETE FROM {source} {chosen}", (trigger_id, *some))  # noqa: S608


def wanted_triggers(dialect: Dialect, trigger_id: str, settings: Settings, table: Table) -> dict[str, str]:
    """The row triggers as they should be: names, and the statements that make them. Raises Invalid."""
    check_columns(settings, table)
    return dict(dialect.row_trigger(check_id(trigger_id), settings, table, operation) for operation in settings.on)


def standing(
    dialect: Dialect, cursor: Any, trigger_id: str, settings: Settings, table: Table, there: Sequence[RowTrigger]
) -> Standing:
    if not check_tables(dialect, cursor):
        return Standing.GONE
    place = dialect.words.place
    cursor.execute(f"SELECT made_for FROM posthouse_change_trigger WHERE trigger_id = {place}", (trigger_id,))  # noqa: S608
    row = cursor.fetchone()
    if row is None or row[0] != settings.made_for:
        return Standing.GONE if row is None else Standing.OTHERS
    on_table = [trigger for trigger in there if trigger.table == table.name]
    if {trigger.operation for trigger in on_table} != set(settings.on):
        return Standing.GONE
    wanted = wanted_triggers(dialect, trigger_id, settings, table).keys()
    return Standing.CURRENT if {trigger.name for trigger in there} == wanted else Standing.OUTDATED


def check_tables(dialect: Dialect, cursor: Any) -> bool:
    """Whether our tables are there. Raises SourceRefused where they are a newer program's."""
    if dialect.tables(cursor) < len(TABLES):
        return False
    cursor.execute(f"SELECT version FROM {TABLES[3]}")  # noqa: S608
    row = cursor.fetchone()
    check_version(VERSION if row is None else int(row[0]), dialect.dsn.shown)
    return True
