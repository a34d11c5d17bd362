"""The body of a row trigger on MySQL and MariaDB.

Each column is written as JSON by a statement of its own. One that fails, since its column was dropped or renamed, leaves its
variable NULL, and `concat_ws` passes over that: the statement that fired the trigger never fails because a table has changed.
Nor does it where our table is no more. (That the disk is full fails both, as it must.)
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from posthouse.adapters.sources.tables.place import Column, Table
from posthouse.domain.limits import PAYLOAD_BYTES_MAX

ROW_BYTES_MAX: Final = PAYLOAD_BYTES_MAX  # of a row's texts and blobs; each as JSON is to fit into max_allowed_packet
_INTEGERS: Final = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "year", "bit"})
_REALS: Final = frozenset({"float", "double"})
_TEXTS: Final = frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set"})
_PLAIN: Final = frozenset({"date", "time", "uuid", "inet4", "inet6"})
# Of these no row is too large for an event by itself.
_SHORT: Final = (
    _INTEGERS
    | _REALS
    | _PLAIN
    | {"datetime", "timestamp", "char", "varchar", "tinytext", "enum", "set", "binary", "varbinary", "tinyblob"}
)
# No such table, column or privilege: somebody has taken ours away.
_DISMANTLED: Final = (1146, 1054, 1142, 1143)


def quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def body_of(trigger_id: str, table: Table, columns: Sequence[Column], operation: str, *, skips_equal: bool) -> str:
    """`skips_equal`: an update after which these columns are as before is not written down."""
    rows = ("OLD",) if operation == "delete" else ("NEW",) if operation == "insert" else ("OLD", "NEW")
    key = {column.name: column for column in table.columns}
    put = f"""\
    BEGIN
        DECLARE CONTINUE HANDLER FOR {", ".join(str(code) for code in _DISMANTLED)} BEGIN END;
        INSERT INTO posthouse_change (trigger_id, op, table_schema, table_name, row_key, old_row, new_row)
        VALUES ({literal(trigger_id)}, '{operation}', {literal(table.schema)}, {literal(table.name)},
                coalesce(row_key, ''), old_row, new_row);
    END;
"""  # noqa: S608
    if skips_equal and operation == "update":
        equal = "old_row IS NOT NULL AND CAST(old_row AS binary) = CAST(new_row AS binary)"
        put = f"    IF NOT coalesce({equal}, FALSE) THEN\n{_indented(put)}    END IF;\n"
    declared = "".join(
        f"    DECLARE {prefix}{index} longtext CHARACTER SET utf8mb4;\n"
        for prefix in (row.lower() for row in rows)
        for index in range(len(columns))
    )
    long = [index for index, column in enumerate(columns) if column.type not in _SHORT]
    measured = "".join(f"        DECLARE {row.lower()}_size{index} bigint;\n" for row in rows for index in long)
    written = "".join(_written(row, columns, long) for row in rows)
    return f"""\
BEGIN
    DECLARE row_key longtext CHARACTER SET utf8mb4;
    DECLARE old_row longtext CHARACTER SET utf8mb4;
    DECLARE new_row longtext CHARACTER SET utf8mb4;
{declared}    BEGIN
{measured}        DECLARE CONTINUE HANDLER FOR SQLEXCEPTION BEGIN END;
        SET row_key = {_key(rows[-1], [key[name] for name in table.key])};
{written}    END;
{put}END"""


def _written(row: str, columns: Sequence[Column], long: Sequence[int]) -> str:
    """The statements that write a row. `long` are the columns that may be too large; they are measured first."""
    prefix = row.lower()
    lines = [
        f"SET {prefix}{index} = concat({literal(json.dumps(column.name, ensure_ascii=False) + ':')}, "
        f"coalesce({_value(f'{row}.{quoted(column.name)}', column)}, 'null'));"
        for index, column in enumerate(columns)
    ]
    names = ", ".join(f"{prefix}{index}" for index in range(len(columns)))
    lines.append(f"SET {prefix}_row = concat('{{', concat_ws(',', {names}), '}}');")
    if long:
        sizes = [f"SET {prefix}_size{index} = length({row}.{quoted(columns[index].name)});" for index in long]
        total = " + ".join(f"coalesce({prefix}_size{index}, 0)" for index in long)
        lines = [*sizes, f"IF {total} <= {ROW_BYTES_MAX} THEN", *(f"    {line}" for line in lines), "END IF;"]
    return "".join(f"        {line}\n" for line in lines)


def _value(value: str, column: Column) -> str:
    """A value as JSON; NULL where it is null."""
    if column.type == "json":
        return _text(value, column)
    return _text(value, column) if column.type in _INTEGERS | _REALS else f"json_quote({_text(value, column)})"


def _text(value: str, column: Column) -> str:
    """A value as text, exactly and whatever the session's time zone."""
    kind = column.type
    if kind in _INTEGERS:
        return f"CAST({value} + 0 AS char)"  # and so without the zeros of ZEROFILL, and bits as a number
    if kind in _REALS:
        return f"CAST({value} * 1e0 AS char)"  # a float as the double that it is
    if kind in _TEXTS or kind == "json":
        return f"CONVERT({value} USING utf8mb4)"
    if kind == "datetime":
        return f"replace(CAST({value} AS char), ' ', 'T')"
    if kind == "timestamp":
        # What unix_timestamp says of a column does not depend on the session, unlike its text.
        since = f"CAST('1970-01-01' AS datetime(6)) + INTERVAL (unix_timestamp({value}) * 1000000) MICROSECOND"
        return f"concat(replace(CAST({since} AS char), ' ', 'T'), '+00:00')"
    if kind in _PLAIN:
        return f"CAST({value} AS char)"
    return rf"concat('\\x', lower(hex({value})))"


def _key(row: str, columns: Sequence[Column]) -> str:
    texts = [_text(f"{row}.{quoted(column.name)}", column) for column in columns]
    if len(texts) == 1:
        return texts[0]
    return "concat('[', " + ", ',', ".join(f"json_quote({text})" for text in texts) + ", ']')"


def _indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())
