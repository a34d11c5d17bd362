"""The statements of a replay store in a database: PostgreSQL, MySQL, MariaDB, SQLite.

The database's own clock grants and ends claims. `until` is unix seconds. Ids are compared byte by byte, so that MySQL does not
take `evt_a` for `evt_A`.
"""

# ruff: noqa: S608 - the only name that is put into them, the table's, is checked

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from posthouse_sdk.errors import ReceiverError
from posthouse_sdk.receiving.store import KEY_LENGTH_MAX, TOKEN_LENGTH_MAX

TABLE: Final = "posthouse_received"

_POSTGRESQL_NOW: Final = "extract(epoch FROM clock_timestamp())"
_NOW: Final = {
    "postgresql": _POSTGRESQL_NOW,
    "mysql": "unix_timestamp(now(6))",
    "mariadb": "unix_timestamp(now(6))",
    "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
}
_BYTEWISE: Final = {
    "postgresql": 'COLLATE "C"',
    "mysql": "CHARACTER SET ascii COLLATE ascii_bin",
    "mariadb": "CHARACTER SET ascii COLLATE ascii_bin",
    "sqlite": "COLLATE BINARY",
}
DIALECTS: Final = tuple(_NOW)
SWEEP_EVERY: Final = 1_000
"""Claims between two deletions of what has ended."""
SWEPT_MAX: Final = 5_000


@dataclass(frozen=True, slots=True)
class Statements:
    """Each with named parameters (`:id`); those of `create` have none and may be run again."""

    create: tuple[str, ...]
    insert: str
    """Claims an id that is not there: one row, or none."""
    take_over: str
    """Claims an id whose claim or confirmation has ended: one row, or none."""
    standing: str
    """Whether an id is confirmed (1) or held (0), and by which token; no row where it is not there."""
    confirm: str
    """Confirms an id that is there: one row, or none where it is not."""
    confirm_absent: str
    confirm_own: str
    """Confirms an id under one's own claim: one row, or none where the claim was lost."""
    release: str
    forget: str
    sweep: str
    """Deletes what has ended, some rows at once."""


def statements(dialect: str, table: str = TABLE) -> Statements:
    """The statements for one of DIALECTS.

    Raises: ReceiverError for another one, or a table whose name is no plain identifier (a schema may stand before it).
    """
    if dialect not in _NOW:
        raise ReceiverError(f"there is no replay store for {dialect!r}; there is one for {', '.join(DIALECTS)}")
    if not re.fullmatch(r"([A-Za-z_][A-Za-z0-9_]{0,62}\.)?[A-Za-z_][A-Za-z0-9_]{0,62}", table):
        raise ReceiverError(
            f"a table's name is letters, digits and underscores, and may have a schema before it: {table!r}"
        )
    now = _NOW[dialect]
    ignore, conflict = ("IGNORE ", "") if dialect in ("mysql", "mariadb") else ("", " ON CONFLICT DO NOTHING")
    columns = f"INTO {table} (id, token, confirmed, until) VALUES"
    rows = "rowid" if dialect == "sqlite" else "ctid"
    ended = (
        f"DELETE FROM {table} WHERE until <= {now} LIMIT {SWEPT_MAX}"
        if ignore
        else f"DELETE FROM {table} WHERE {rows} IN (SELECT {rows} FROM {table} WHERE until <= {now} LIMIT {SWEPT_MAX})"
    )
    return Statements(
        create=_create(dialect, table),
        insert=f"INSERT {ignore}{columns} (:id, :token, 0, {now} + :claim_seconds){conflict}",
        take_over=(
            f"UPDATE {table} SET token = :token, confirmed = 0, until = {now} + :claim_seconds "
            f"WHERE id = :id AND until <= {now}"
        ),
        standing=f"SELECT confirmed, token FROM {table} WHERE id = :id",
        confirm=f"UPDATE {table} SET confirmed = 1, token = '', until = {now} + :keep_seconds WHERE id = :id",
        confirm_absent=f"INSERT {ignore}{columns} (:id, '', 1, {now} + :keep_seconds){conflict}",
        confirm_own=(
            f"UPDATE {table} SET confirmed = 1, token = '', until = {now} + :keep_seconds "
            "WHERE id = :id AND token = :token AND confirmed = 0"
        ),
        release=f"DELETE FROM {table} WHERE id = :id AND token = :token AND confirmed = 0",
        forget=f"DELETE FROM {table} WHERE id = :id",
        sweep=ended,
    )


def _create(dialect: str, table: str) -> tuple[str, ...]:
    columns = (
        f"id varchar({KEY_LENGTH_MAX}) {_BYTEWISE[dialect]} PRIMARY KEY, token varchar({TOKEN_LENGTH_MAX}) NOT NULL, "
        "confirmed smallint NOT NULL, until double precision NOT NULL"
    )
    if dialect in ("mysql", "mariadb"):
        return (f"CREATE TABLE IF NOT EXISTS {table} ({columns}, INDEX (until))",)
    _, _, name = table.rpartition(".")
    # SQLite wants the schema before the index, PostgreSQL before the table.
    index = f"{table}_until ON {name}" if dialect == "sqlite" else f"{name}_until ON {table}"
    return (f"CREATE TABLE IF NOT EXISTS {table} ({columns})", f"CREATE INDEX IF NOT EXISTS {index} (until)")
