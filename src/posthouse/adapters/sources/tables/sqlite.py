"""Table triggers in a SQLite file, by `sqlite3`: polled.

A row is written as JSON by joining texts, column by column, with no function but `json_quote`. Real numbers are written by
`quote`, which is the only function of SQLite that gives back each exactly; texts of a column declared as JSON are JSON, where
they are that. The triggers name the columns: SQLite renames them along, and refuses to drop one while a trigger names it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from posthouse.adapters.sources.tables.blocking.dialect import RowTrigger, Words, transaction
from posthouse.adapters.sources.tables.change import ROW_BYTES_MAX
from posthouse.adapters.sources.tables.place import (
    TABLES,
    VERSION,
    Column,
    Table,
    check_columns,
    digest_of,
    no_key,
    no_table,
    not_a_table,
    not_installed,
)
from posthouse.adapters.sources.tables.settings import OPERATIONS, Settings, TableName
from posthouse.domain.errors import Invalid, PosthouseError, SourceRefused, SourceUnavailable
from posthouse_sdk.outbox.dsn import Dsn

BUSY_SECONDS: Final = 10.0  # of waiting for others to end writing
SCHEMA: Final = "main"
_NOW: Final = "((julianday('now') - 2440587.5) * 86400.0)"
_ROWS: Final = """\
    trigger_id text NOT NULL,
    id integer PRIMARY KEY{counted},
    uid text NOT NULL{uid},
    op text NOT NULL,
    table_schema text NOT NULL,
    table_name text NOT NULL,
    row_key text NOT NULL,
    old_row text,
    new_row text,
    note text,
    created_at real NOT NULL{now}"""
_SHARED: Final = (
    "CREATE TABLE IF NOT EXISTS posthouse_change (\n"
    + _ROWS.format(counted=" AUTOINCREMENT", uid=" DEFAULT (lower(hex(randomblob(16))))", now=f" DEFAULT {_NOW}")
    + "\n)",
    "CREATE INDEX IF NOT EXISTS posthouse_change_by_trigger ON posthouse_change (trigger_id)",
    "CREATE TABLE IF NOT EXISTS posthouse_change_kept (\n"
    + _ROWS.format(counted="", uid="", now="")
    + f",\n    published_at real NOT NULL DEFAULT {_NOW}\n)",
    "CREATE INDEX IF NOT EXISTS posthouse_change_kept_by_trigger ON posthouse_change_kept (trigger_id)",
    """\
CREATE TABLE IF NOT EXISTS posthouse_change_trigger (
    trigger_id text PRIMARY KEY,
    made_for text NOT NULL,
    kept_since real
)""",
    """\
CREATE TABLE IF NOT EXISTS posthouse_change_version (
    id integer PRIMARY KEY CHECK (id = 1),
    version integer NOT NULL,
    uid text NOT NULL DEFAULT (lower(hex(randomblob(16))))
)""",
    f"INSERT OR IGNORE INTO posthouse_change_version (id, version) VALUES (1, {VERSION})",  # noqa: S608
)


class SqliteDialect:
    words = Words(
        place="?",
        now=_NOW,
        unix_time="{}",
        bytes_of="length(CAST({} AS blob))",
        begin="BEGIN IMMEDIATE",
        on_conflict="ON CONFLICT (trigger_id) DO UPDATE SET",
    )

    def __init__(self, dsn: Dsn) -> None:
        self.dsn = dsn

    def connect(self) -> Any:
        path = Path(self.dsn.path).absolute()
        if not path.is_file():  # SQLite would make an empty one for any typing error
            raise SourceRefused(f"there is no file {path}; is that the database of your application?", code="no_file")
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        connection.text_factory = _text
        if connection.execute("PRAGMA journal_mode").fetchone() == ("wal",):
            connection.execute("PRAGMA synchronous = normal")
        return connection

    def translated(self, error: Exception) -> PosthouseError | None:
        where = self.dsn.shown
        match error:
            case sqlite3.OperationalError() if "readonly" in str(error) or "unable to open" in str(error):
                return SourceRefused(
                    f"{where}: {error}. Who runs Posthouse must be allowed to write the file and its folder",
                    code="missing_privilege",
                )
            case sqlite3.OperationalError() if "no such table: posthouse" in str(error):
                return not_installed(where)
            case sqlite3.OperationalError():
                return SourceUnavailable(f"{where} did not do what it was asked: {error}")
            case sqlite3.Error():
                return SourceRefused(f"{where} cannot be used as a database of SQLite: {error}", code="no_database")
            case _:
                return None

    def check_server(self, cursor: Any) -> None:
        cursor.execute("SELECT 1 FROM sqlite_master LIMIT 1")

    def tables(self, cursor: Any) -> int:
        cursor.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN (?, ?, ?, ?)", TABLES)
        return int(cursor.fetchone()[0])

    def watched(self, cursor: Any, named: TableName) -> Table:
        if named.schema not in (None, SCHEMA):
            raise Invalid("names a schema, of which a SQLite file has none", path="table")
        cursor.execute("SELECT name, type, sql FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name")
        there = {name: (kind, sql or "") for name, kind, sql in cursor.fetchall()}
        if named.name not in there:
            raise no_table(named, [name for name in there if not name.startswith(("sqlite_", "posthouse_"))])
        kind, sql = there[named.name]
        if kind == "view":
            raise not_a_table(named.name, "a view")
        if sql.lstrip().upper().startswith("CREATE VIRTUAL") or named.name.startswith("sqlite_"):
            raise not_a_table(named.name, "a virtual table or one of SQLite's own")
        cursor.execute(f"PRAGMA table_xinfo({self.quoted(named.name)})")
        rows = [row for row in cursor.fetchall() if row[6] != 1]  # 1: a hidden column of a virtual table
        key = tuple(row[1] for row in sorted((row for row in rows if row[5]), key=lambda row: row[5]))
        if not key:
            raise no_key(named.name)
        return Table(SCHEMA, named.name, tuple(Column(row[1], row[2].lower()) for row in rows), key)

    def row_triggers(self, cursor: Any, trigger_id: str) -> list[RowTrigger]:
        prefix = f"posthouse_{trigger_id}_"
        cursor.execute(
            "SELECT name, tbl_name FROM sqlite_master WHERE type = 'trigger' AND substr(name, 1, ?) = ? ORDER BY name",
            (len(prefix), prefix),
        )
        return [RowTrigger(name, table, name[len(prefix) :].partition("_")[0]) for name, table in cursor.fetchall()]

    def shared(self) -> tuple[str, ...]:
        return _SHARED

    def row_trigger(self, trigger_id: str, settings: Settings, table: Table, operation: str) -> tuple[str, str]:
        assert operation in OPERATIONS
        names = check_columns(settings, table)
        columns = [column for column in table.columns if column.name in names]
        rows = ("OLD",) if operation == "delete" else ("NEW",) if operation == "insert" else ("OLD", "NEW")
        fits = self._size(rows, columns)
        old, new = (
            f"CASE WHEN {fits} THEN {self._json(row, columns)} END" if row in rows else "NULL" for row in ("OLD", "NEW")
        )
        condition = ""
        if settings.columns is not None and operation == "update":
            differs = (
                f"OLD.{c} IS NOT NEW.{c} COLLATE BINARY OR typeof(OLD.{c}) <> typeof(NEW.{c})"
                for c in (self.quoted(column.name) for column in columns)
            )
            condition = f"\n    WHEN {_balanced(list(differs), ' OR ')}"
        body = f"""\
 AFTER {operation.upper()} ON {self.quoted(table.name)} FOR EACH ROW{condition}
BEGIN
    INSERT INTO posthouse_change (trigger_id, op, table_schema, table_name, row_key, old_row, new_row)
    VALUES ({self.literal(trigger_id)}, '{operation}', '{SCHEMA}', {self.literal(table.name)},
        {self._key(rows[-1], table)},
        {old},
        {new});
END"""  # noqa: S608
        name = f"posthouse_{trigger_id}_{operation}_{digest_of(body)}"
        return name, f"CREATE TRIGGER {self.quoted(name)}{body}"

    def changed(self, make: Mapping[str, str], drop: Sequence[RowTrigger], table: Table) -> tuple[str, ...]:
        # The old ones first, since a name may be theirs, on another table: all of it is one transaction.
        return (*(f"DROP TRIGGER IF EXISTS {self.quoted(trigger.name)}" for trigger in drop), *make.values())

    def quoted(self, name: str) -> str:
        return '"' + name.replace('"', '""') + '"'

    def literal(self, text: str) -> str:
        return "'" + text.replace("'", "''") + "'"

    def prepare(self) -> tuple[str, ...]:
        return ()

    @contextmanager
    def alone(self, cursor: Any, seconds: float) -> Iterator[Callable[[str], None]]:
        with transaction(cursor, self.words):
            yield cursor.execute

    def remarks(self, cursor: Any, table: Table) -> tuple[str, ...]:
        return (
            "The statements are run in one transaction, in this order.",
            "What writes to the file needs the JSON functions of SQLite, which are part of it since version 3.38.",
            "REPLACE deletes the row before without a trigger, unless PRAGMA recursive_triggers is on: it is an insert.",
            "A column cannot be dropped while the triggers are there: remove the trigger, drop it, and install again.",
        )

    def _json(self, row: str, columns: Sequence[Column]) -> str:
        fields = (
            f"{self.literal(_label(column.name, index))} || {self._value(f'{row}.{self.quoted(column.name)}', column)}"
            for index, column in enumerate(columns)
        )
        return f"{_balanced(list(fields), ' || ')} || '}}'"

    def _value(self, value: str, column: Column) -> str:
        text = f"json_quote({value})"
        if "json" in column.type:
            text = f"CASE WHEN json_valid({value}) THEN {value} ELSE {text} END"
        return (
            f"CASE typeof({value}) WHEN 'integer' THEN {value} WHEN 'text' THEN {text} "
            # Only of an infinite number is this not 0 but null.
            f"WHEN 'real' THEN CASE WHEN {value} - {value} IS NOT NULL THEN quote({value}) "
            f"WHEN {value} > 0 THEN '\"Infinity\"' ELSE '\"-Infinity\"' END "
            f"""WHEN 'blob' THEN '"\\\\x' || lower(hex({value})) || '"' ELSE 'null' END"""
        )

    def _size(self, rows: Sequence[str], columns: Sequence[Column]) -> str:
        """Whether all of it is small enough to be written down. (Blobs and texts alone can be large.)"""
        sizes = [f"coalesce(length({row}.{self.quoted(column.name)}), 0)" for row in rows for column in columns]
        return f"{_balanced(sizes, ' + ')} <= {ROW_BYTES_MAX}"

    def _key(self, row: str, table: Table) -> str:
        texts = [
            f"CASE typeof({value}) WHEN 'blob' THEN '\\x' || lower(hex({value})) WHEN 'real' THEN quote({value}) "
            f"ELSE CAST({value} AS text) END"
            for value in (f"{row}.{self.quoted(name)}" for name in table.key)
        ]
        if len(texts) == 1:
            return f"coalesce({texts[0]}, '')"
        return "'[' || " + " || ',' || ".join(f"json_quote({text})" for text in texts) + " || ']'"


def _label(name: str, index: int) -> str:
    """What stands before a value in the JSON of a row."""
    return f"{',' if index else '{'}{json.dumps(name, ensure_ascii=False)}:"


def _balanced(parts: Sequence[str], operator: str) -> str:
    """The parts joined, as a tree that is no deeper than it has to be: SQLite takes 1,000 levels."""
    if len(parts) <= 2:
        return operator.join(f"({part})" for part in parts) if len(parts) == 2 else f"({parts[0]})"
    half = len(parts) // 2
    return f"({_balanced(parts[:half], operator)}{operator}{_balanced(parts[half:], operator)})"


def _text(raw: bytes) -> str:
    """SQLite takes any bytes as a text."""
    return raw.decode("utf-8", "replace")
