"""Table triggers on MySQL and MariaDB, by `pymysql`: polled."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from posthouse.adapters.sources.tables.blocking.dialect import RowTrigger, Words
from posthouse.adapters.sources.tables.mysql_rows import body_of, literal, quoted
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
from posthouse.adapters.sources.tables.settings import Settings, TableName
from posthouse.domain.errors import Invalid, PosthouseError, SourceRefused, SourceUnavailable
from posthouse_sdk.outbox.dsn import Dsn
from posthouse_sdk.outbox.errors import DsnError
from posthouse_sdk.outbox.mysql import connect

LOCK_SECONDS: Final = 1  # so long at most does the application wait behind us for its table
LOCK_PAUSE_SECONDS: Final = 0.5
SERVER_VERSION_MIN: Final = (8, 0, 13)
MARIADB_VERSION_MIN: Final = (10, 3, 0)
_DEADLOCK: Final = 1213
_LOCKED: Final = 1205
_NO_TABLE: Final = 1146
_ACCESS: Final = frozenset({1045, 1049, 1698, 2054, 2061})
_PRIVILEGE: Final = frozenset({1044, 1142, 1143, 1227, 1370})
_NOT_TRUSTED: Final = 1419
_READ_ONLY: Final = frozenset({1290, 1792, 1836})
_ROWS: Final = """\
    trigger_id varchar(40) NOT NULL,
    id bigint NOT NULL{counted} PRIMARY KEY,
    uid varchar(36) NOT NULL{uid},
    op varchar(8) NOT NULL,
    table_schema varchar(64) NOT NULL,
    table_name varchar(64) NOT NULL,
    row_key text NOT NULL,
    old_row longtext,
    new_row longtext,
    note text,
    created_at datetime(6) NOT NULL{now},
"""
_ENGINE: Final = "ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
_SHARED: Final = (
    "CREATE TABLE IF NOT EXISTS posthouse_change (\n"
    + _ROWS.format(counted=" AUTO_INCREMENT", uid=" DEFAULT (uuid())", now=" DEFAULT (utc_timestamp(6))")
    + f"    KEY by_trigger (trigger_id, id)\n) {_ENGINE}",
    "CREATE TABLE IF NOT EXISTS posthouse_change_kept (\n"
    + _ROWS.format(counted="", uid="", now="")
    + "    published_at datetime(6) NOT NULL DEFAULT (utc_timestamp(6)),\n"
    + f"    KEY by_trigger (trigger_id, id)\n) {_ENGINE}",
    f"""\
CREATE TABLE IF NOT EXISTS posthouse_change_trigger (
    trigger_id varchar(40) NOT NULL PRIMARY KEY,
    made_for longtext NOT NULL,
    kept_since double
) {_ENGINE}""",
    f"""\
CREATE TABLE IF NOT EXISTS posthouse_change_version (
    id int NOT NULL PRIMARY KEY,
    version int NOT NULL,
    uid varchar(36) NOT NULL DEFAULT (uuid())
) {_ENGINE}""",
    f"INSERT IGNORE INTO posthouse_change_version (id, version) VALUES (1, {VERSION})",  # noqa: S608
)


class MysqlDialect:
    """MySQL knows no transactions of such statements. Each step leaves the application's writes working, and
    installing again completes what was begun."""

    words = Words(
        place="%s",
        now="utc_timestamp(6)",
        unix_time="(timestampdiff(MICROSECOND, '1970-01-01', {}) / 1e6)",
        bytes_of="octet_length({})",
        begin="START TRANSACTION",
        on_conflict="ON DUPLICATE KEY UPDATE",
    )

    def __init__(self, dsn: Dsn) -> None:
        try:
            import pymysql
        except ImportError:
            raise SourceRefused(
                "tables of MySQL and MariaDB are watched with pymysql: pip install 'posthouse-sdk[mysql]'",
                code="driver_missing",
            ) from None
        self._driver = pymysql
        self.dsn = dsn

    def connect(self) -> Any:
        if not self.dsn.path:
            raise Invalid("names no database: mysql://user:password@host:3306/database", path="dsn")
        try:
            return connect(self._driver, self.dsn)
        except DsnError as error:
            raise Invalid(str(error), path="dsn") from None

    def translated(self, error: Exception) -> PosthouseError | None:
        where = self.dsn.shown
        if isinstance(error, self._driver.MySQLError):
            code = error.args[0] if error.args else None
            told = error.args[-1] if error.args else error
            if code in _ACCESS:
                return SourceRefused(
                    f"{where} refuses us: {told}. Check user, password and database of the DSN", code="access_denied"
                )
            if code in _PRIVILEGE:
                return SourceRefused(
                    f"{where}: {told}. GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, TRIGGER, LOCK TABLES "
                    f"ON {quoted(self.dsn.path)}.* TO the DSN's user",
                    code="missing_privilege",
                )
            if code == _NOT_TRUSTED:
                return SourceRefused(
                    f"{where}: {told}. While the binary log is on, only who has SUPER may make triggers, or everybody after "
                    "SET GLOBAL log_bin_trust_function_creators = 1",
                    code="missing_privilege",
                )
            if code in _READ_ONLY:
                return _read_only(where)
            if code == _NO_TABLE:
                return not_installed(where)
            if code == _LOCKED:
                return SourceUnavailable(
                    f"a table in {where} is locked by transactions that do not end: try again when they are over; "
                    "information_schema.innodb_trx shows them, with their trx_started"
                )
            return SourceUnavailable(f"{where} did not do what it was asked: {told}")
        if isinstance(error, TimeoutError):
            return SourceUnavailable(f"{where} did not answer in time")
        if isinstance(error, OSError):
            return SourceUnavailable(f"{where} cannot be reached: {error}")
        return None

    def check_server(self, cursor: Any) -> None:
        cursor.execute("SELECT version(), @@global.read_only")
        version, read_only = cursor.fetchone()
        is_mariadb = "mariadb" in version.lower()
        least = MARIADB_VERSION_MIN if is_mariadb else SERVER_VERSION_MIN
        if tuple(int(part) for part in version.partition("-")[0].split(".")[:3] if part.isdigit()) < least:
            raise SourceRefused(
                f"{self.dsn.shown} is {'MariaDB' if is_mariadb else 'MySQL'} {version}: table triggers need version "
                f"{'.'.join(str(part) for part in least)} or newer",
                code="old_server",
            )
        if read_only not in (0, "0", "OFF", "NO_LOCK"):
            raise _read_only(self.dsn.shown)

    def tables(self, cursor: Any) -> int:
        cursor.execute(
            "SELECT count(*) FROM information_schema.tables WHERE table_schema = database() "
            "AND table_name IN (%s, %s, %s, %s)",
            TABLES,
        )
        return int(cursor.fetchone()[0])

    def watched(self, cursor: Any, named: TableName) -> Table:
        if named.schema not in (None, self.dsn.path):
            raise Invalid(
                f"is of another database than the DSN's, {self.dsn.path}: give the DSN of that one", path="table"
            )
        cursor.execute(
            "SELECT table_name, table_type, engine FROM information_schema.tables WHERE table_schema = database() "
            "ORDER BY table_name"
        )
        there = {name: (kind, engine) for name, kind, engine in cursor.fetchall()}
        if named.name not in there:
            names = [name for name in there if not name.startswith("posthouse_")]
            raise no_table(named, names if named.schema is None else [f"{named.schema}.{name}" for name in names])
        table = Table(self.dsn.path, named.name, self._columns(cursor, named.name), self._key(cursor, named.name))
        kind, engine = there[named.name]
        if kind not in ("BASE TABLE", "SYSTEM VERSIONED"):
            raise not_a_table(table.shown, "a view" if "VIEW" in kind else "a sequence")
        if engine != "InnoDB":
            raise Invalid(
                f"{table.shown} is a table of {engine}, which has no transactions to write its changes in: "
                f"ALTER TABLE {quoted(named.name)} ENGINE = InnoDB",
                path="table",
            )
        if not table.key:
            raise no_key(table.shown)
        return table

    def row_triggers(self, cursor: Any, trigger_id: str) -> list[RowTrigger]:
        prefix = f"posthouse_{trigger_id}_"
        cursor.execute(
            "SELECT trigger_name, event_object_table FROM information_schema.triggers "
            "WHERE trigger_schema = database() AND left(trigger_name, %s) = %s ORDER BY trigger_name",
            (len(prefix), prefix),
        )
        return [RowTrigger(name, table, name[len(prefix) :].partition("_")[0]) for name, table in cursor.fetchall()]

    def shared(self) -> tuple[str, ...]:
        return _SHARED

    def row_trigger(self, trigger_id: str, settings: Settings, table: Table, operation: str) -> tuple[str, str]:
        names = check_columns(settings, table)
        columns = [column for column in table.columns if column.name in names]
        body = body_of(trigger_id, table, columns, operation, skips_equal=settings.columns is not None)
        name = f"posthouse_{trigger_id}_{operation}_{digest_of(table.name, body)}"
        return (
            name,
            f"CREATE TRIGGER {quoted(name)} AFTER {operation.upper()} ON {quoted(table.name)} FOR EACH ROW\n{body}",
        )

    def changed(self, make: Mapping[str, str], drop: Sequence[RowTrigger], table: Table) -> tuple[str, ...]:
        """The new ones are there before the old ones go. On one table a change would be written down twice in between: so
        nobody may write meanwhile. Should we die then, a change may be seen twice, but none is missed."""
        drops = tuple(f"DROP TRIGGER IF EXISTS {quoted(trigger.name)}" for trigger in drop)
        tables = sorted({trigger.table for trigger in drop if trigger.table == table.name})
        if not tables or not make:
            return (*make.values(), *drops)
        here = {trigger.name for trigger in drop if trigger.table == table.name}
        inside = tuple(f"DROP TRIGGER IF EXISTS {quoted(name)}" for name in sorted(here))
        outside = tuple(drop for drop in drops if drop not in inside)
        return (f"LOCK TABLES {quoted(table.name)} WRITE", *make.values(), *inside, "UNLOCK TABLES", *outside)

    def quoted(self, name: str) -> str:
        return quoted(name)

    def literal(self, text: str) -> str:
        return literal(text)

    def prepare(self) -> tuple[str, ...]:
        # A trigger keeps both: with no strict mode it fails nobody's statement, and the texts in it are what they look like.
        return "SET NAMES utf8mb4", "SET SESSION sql_mode = ''"

    @contextmanager
    def alone(self, cursor: Any, seconds: float) -> Iterator[Callable[[str], None]]:
        """Statements that wait for a lock give up after a second, since the application would wait behind them, and are tried
        again. What is locked is free when the connection ends."""
        until = time.monotonic() + seconds
        cursor.execute(f"SET SESSION lock_wait_timeout = {LOCK_SECONDS}")
        cursor.execute("SELECT get_lock(concat('posthouse_change:', md5(database())), %s)", (int(seconds) + 1,))
        if cursor.fetchone() != (1,):
            raise SourceUnavailable(f"somebody else installs table triggers in {self.dsn.shown}: try again")

        def run(statement: str) -> None:
            while True:
                try:
                    cursor.execute(statement)
                except self._driver.MySQLError as error:
                    if error.args[0] not in (_LOCKED, _DEADLOCK) or time.monotonic() > until:
                        raise
                    time.sleep(LOCK_PAUSE_SECONDS)
                else:
                    return

        yield run

    def remarks(self, cursor: Any, table: Table) -> tuple[str, ...]:
        told = [
            "MySQL commits each of these statements by itself. Each leaves what the application does working, and installing "
            "again completes what was begun. In a client that splits at ; set another DELIMITER first.",
            "The triggers name the columns. A column that is dropped or renamed is left out from then on; a new one is "
            "part of it as soon as the trigger is made anew, which its reader does within half a minute.",
            "TRUNCATE is no change of rows: it makes no events.",
        ]
        cursor.execute(
            "SELECT constraint_name FROM information_schema.referential_constraints WHERE constraint_schema = database() "
            "AND table_name = %s AND (delete_rule NOT IN ('RESTRICT', 'NO ACTION') OR update_rule NOT IN ('RESTRICT', "
            "'NO ACTION')) ORDER BY 1",
            (table.name,),
        )
        if cascades := [name for (name,) in cursor.fetchall()]:
            told.append(
                f"What the foreign keys {', '.join(cascades)} change by themselves fires no triggers: it makes no events."
            )
        return tuple(told)

    def _columns(self, cursor: Any, name: str) -> tuple[Column, ...]:
        cursor.execute(
            "SELECT column_name, data_type FROM information_schema.columns "
            "WHERE table_schema = database() AND table_name = %s ORDER BY ordinal_position",
            (name,),
        )
        columns = [Column(column, str(kind).lower()) for column, kind in cursor.fetchall()]
        cursor.execute("SELECT version()")
        if "mariadb" not in cursor.fetchone()[0].lower():
            return tuple(columns)
        # There, JSON is a text with a check.
        cursor.execute(
            "SELECT constraint_name FROM information_schema.check_constraints WHERE constraint_schema = database() "
            "AND table_name = %s AND check_clause = concat('json_valid(`', replace(constraint_name, '`', '``'), '`)')",
            (name,),
        )
        documents = {name for (name,) in cursor.fetchall()}
        return tuple(Column(c.name, "json" if c.name in documents else c.type) for c in columns)

    def _key(self, cursor: Any, name: str) -> tuple[str, ...]:
        cursor.execute(
            "SELECT column_name FROM information_schema.key_column_usage WHERE table_schema = database() "
            "AND table_name = %s AND constraint_name = 'PRIMARY' ORDER BY ordinal_position",
            (name,),
        )
        return tuple(column for (column,) in cursor.fetchall())


def _read_only(where: str) -> SourceRefused:
    return SourceRefused(
        f"{where} takes no writes: it is a replica, or read-only. Give the DSN of the primary", code="read_only"
    )
