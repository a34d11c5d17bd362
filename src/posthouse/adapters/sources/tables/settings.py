"""What the kind `table` is told: which table of which database, and which of its changes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from posthouse.domain.errors import Invalid
from posthouse_sdk.outbox.dsn import FORMS, Dsn, parse
from posthouse_sdk.outbox.errors import DsnError

OPERATIONS: Final = ("insert", "update", "delete")
KEEP_SECONDS: Final = 86_400
KEEP_SECONDS_MAX: Final = 30 * 86_400
NAME_LENGTH_MAX: Final = 128  # of a schema, table or column; every database has a limit of its own below that
COLUMNS_MAX: Final = 1_600  # as many as PostgreSQL has in a table
DSN_LENGTH_MAX: Final = 4_096
_SECRET_OPTIONS: Final = frozenset({"password", "sslpassword", "passfile"})
_PART: Final = re.compile(r'"((?:[^"]|"")+)"|([^."]+)')

EXPECTS: Final[dict[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["dsn", "table"],
    "additionalProperties": False,
    "properties": {
        "dsn": {
            "type": "string",
            "maxLength": DSN_LENGTH_MAX,
            "description": f"The database that the table is in: {FORMS}. Its user makes the triggers and reads what they "
            "wrote: best the table's owner.",
        },
        "table": {
            "type": "string",
            "description": "The table, exactly as the database spells it; with its schema where that is not the first one: "
            'public.orders. A name with a dot in it goes in double quotes: "my.orders".',
        },
        "on": {
            "type": "array",
            "items": {"enum": list(OPERATIONS)},
            "minItems": 1,
            "uniqueItems": True,
            "default": list(OPERATIONS),
            "description": "Which changes become events.",
        },
        "columns": {
            "type": ["array", "null"],
            "items": {"type": "string"},
            "minItems": 1,
            "maxItems": COLUMNS_MAX,
            "uniqueItems": True,
            "default": None,
            "description": "Only these columns are part of old and new, with the primary key; an update that changes none of "
            "them makes no event. Without it: all columns, and every update.",
        },
        "keep_seconds": {
            "type": "integer",
            "minimum": 0,
            "maximum": KEEP_SECONDS_MAX,
            "default": KEEP_SECONDS,
            "description": "How long changes are kept in the database after they were published, so that the trigger can be "
            "rewound. 0 keeps none.",
        },
    },
}


class TableName(msgspec.Struct, frozen=True):
    """A table as it was named; without a schema it is looked for where its database looks first."""

    schema: str | None
    name: str

    @property
    def shown(self) -> str:
        return self.name if self.schema is None else f"{self.schema}.{self.name}"


class Settings(msgspec.Struct, frozen=True):
    """Settings that were checked. `on` is in the order of OPERATIONS."""

    dsn: Dsn
    table: TableName
    on: tuple[str, ...]
    columns: tuple[str, ...] | None
    keep_seconds: int

    @property
    def made_for(self) -> str:
        """What of it decides what is installed, as JSON."""
        told = {"table": [self.table.schema, self.table.name], "on": self.on, "columns": self.columns}
        return msgspec.json.encode(told).decode()


def complete(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with what was left out. Raises Invalid."""
    if unknown := settings.keys() - EXPECTS["properties"].keys():
        raise Invalid(f"is not known here; there are {', '.join(EXPECTS['properties'])}", path=min(unknown))
    read = read_settings(settings)
    return {
        "dsn": settings["dsn"],
        "table": settings["table"],
        "on": list(read.on),
        "columns": None if read.columns is None else list(read.columns),
        "keep_seconds": read.keep_seconds,
    }


def read_settings(settings: Mapping[str, Any]) -> Settings:
    """Raises Invalid."""
    return Settings(
        _dsn(settings.get("dsn")),
        table_named(settings.get("table")),
        _operations(settings.get("on")),
        _columns(settings.get("columns")),
        _keep_seconds(settings.get("keep_seconds", KEEP_SECONDS)),
    )


def shown(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings without a password; a DSN that cannot be read is not shown at all."""
    try:
        dsn = parse(str(settings.get("dsn")))
    except DsnError:
        return {**settings, "dsn": "…"}
    options = {name: value for name, value in dsn.query.items() if name not in _SECRET_OPTIONS}
    return {**settings, "dsn": dsn.shown + (f"?{urlencode(options, safe='/')}" if options else "")}


def table_named(text: object) -> TableName:
    """A table by its name, with a schema or without. Raises Invalid."""
    if not isinstance(text, str) or not text:
        raise Invalid("name the table, with its schema where it is not the first one: public.orders", path="table")
    parts = list[str]()
    position = 0
    while match := _PART.match(text, position):
        parts.append(match[2] if match[1] is None else match[1].replace('""', '"'))
        position = match.end()
        if position == len(text) or text[position] != ".":
            break
        position += 1
    if position != len(text) or text.endswith(".") or not 1 <= len(parts) <= 2:
        raise Invalid(
            'is not the name of a table: write public.orders, and a name with a dot or a quote in it as "my.orders"',
            path="table",
        )
    for part in parts:
        _check_name(part, "table")
    return TableName(parts[0] if len(parts) == 2 else None, parts[-1])


def _dsn(text: object) -> Dsn:
    if not isinstance(text, str) or not text:
        raise Invalid(f"give the DSN of the database that the table is in: {FORMS}", path="dsn")
    if len(text) > DSN_LENGTH_MAX:
        raise Invalid(f"is longer than {DSN_LENGTH_MAX} characters", path="dsn")
    if "\0" in text:
        raise Invalid("has a NUL in it, which no database takes", path="dsn")
    try:
        return parse(text)
    except DsnError as error:
        raise Invalid(str(error), path="dsn") from None


def _operations(value: object) -> tuple[str, ...]:
    if value is None:
        return OPERATIONS
    if not isinstance(value, list | tuple) or not value:
        raise Invalid(f"is a list of some of {', '.join(OPERATIONS)}", path="on")
    for index, operation in enumerate(value):
        if operation not in OPERATIONS:
            raise Invalid(f"is none of {', '.join(OPERATIONS)}", path=f"on[{index}]")
    return tuple(operation for operation in OPERATIONS if operation in value)


def _columns(value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list | tuple) or not value:
        raise Invalid("is a list of columns; leave it out to have all of them", path="columns")
    if len(value) > COLUMNS_MAX:
        raise Invalid(f"has more than {COLUMNS_MAX} columns", path="columns")
    for index, column in enumerate(value):
        path = f"columns[{index}]"
        if not isinstance(column, str) or not column:
            raise Invalid("is no name of a column", path=path)
        _check_name(column, path)
        if column in value[:index]:
            raise Invalid("is named twice", path=path)
    return tuple(value)


def _check_name(name: str, path: str) -> None:
    if "\0" in name:
        raise Invalid("has a NUL in it, which no database takes", path=path)
    if len(name) > NAME_LENGTH_MAX:
        raise Invalid(f"is longer than {NAME_LENGTH_MAX} characters", path=path)


def _keep_seconds(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= KEEP_SECONDS_MAX:
        raise Invalid(f"is a whole number of seconds from 0 to {KEEP_SECONDS_MAX}", path="keep_seconds")
    return value
