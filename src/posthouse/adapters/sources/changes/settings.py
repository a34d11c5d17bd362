"""The settings of the kind `changes`: what people write, and what is made of it. Asks nobody."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec

from posthouse.domain.errors import Invalid
from posthouse_sdk.outbox import dsn as dsns
from posthouse_sdk.outbox.errors import DsnError

KIND: Final = "changes"
OPERATIONS: Final = ("insert", "update", "delete", "truncate")
TABLES_MAX: Final = 100
COLUMNS_MAX: Final = 1_600
"""As many as PostgreSQL allows."""
NAME_BYTES_MAX: Final = 63
RETAINED_BYTES_MAX: Final = 10 * 1024**3

_FORM: Final = "postgresql://user:password@host:5432/database"
# Parameters of libpq that are secret.
_SECRET: Final = ("password", "sslpassword", "oauth_client_secret")
_SLOT_NAME: Final = re.compile(r"[a-z0-9_]{1,63}\Z")
_PART: Final = re.compile(r'"((?:[^"]|"")+)"|([^".]+)')

EXPECTS: Final[Mapping[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["dsn", "tables"],
    "additionalProperties": False,
    "properties": {
        "dsn": {
            "type": "string",
            "description": "The database: postgresql://user:password@host:5432/database. Its user needs "
            "REPLICATION, and "
            "either owns the tables or is given a publication. A connection pooler will not do. Never shown with its "
            "password.",
        },
        "tables": {
            "type": "array",
            "items": {"type": "string"},
            "minItems": 1,
            "maxItems": TABLES_MAX,
            "uniqueItems": True,
            "description": 'Whose rows: ["public.orders", …]. Without a schema it is public; names are as they are stored, in '
            'quotation marks where they have a dot: public."odd.name".',
        },
        "on": {
            "type": "array",
            "items": {"enum": list(OPERATIONS)},
            "minItems": 1,
            "uniqueItems": True,
            "default": ["insert", "update", "delete"],
            "description": "Which changes.",
        },
        "columns": {
            "type": "object",
            "additionalProperties": {"type": "array", "items": {"type": "string"}, "minItems": 1},
            "default": {},
            "description": "For a table, the only columns that leave the database: "
            '{"public.orders": ["id", "status"]}. They include those of its key. PostgreSQL 15 or later.',
        },
        "snapshot": {
            "type": "boolean",
            "default": False,
            "description": "Whether the rows that are there at the beginning are published, too, as op snapshot. "
            "Tables "
            "need a primary key for that.",
        },
        "slot": {
            "type": ["string", "null"],
            "default": None,
            "description": "A replication slot of yours, with the plug-in pgoutput, that is used and never dropped. "
            "Without: one is made, and dropped with the trigger.",
        },
        "publication": {
            "type": ["string", "null"],
            "default": None,
            "description": "A publication of yours, that is used and never changed: it has exactly these tables. "
            "Without: "
            "one is made, and dropped with the trigger.",
        },
        "retained_bytes_max": {
            "type": "integer",
            "minimum": 1024**2,
            "default": RETAINED_BYTES_MAX,
            "description": "How much log the database may keep for this trigger before on_cap happens. It is looked at "
            "while the trigger runs; set max_slot_wal_keep_size in the database for what works always.",
        },
        "on_cap": {
            "enum": ["alarm", "drop"],
            "default": "alarm",
            "description": "Over that: alarm says so and reads on; drop drops the slot, which frees the disk and loses "
            "changes.",
        },
    },
}


class TableName(msgspec.Struct, frozen=True, order=True):
    schema: str
    name: str

    @property
    def reference(self) -> str:
        """As in what is seen: without quotation marks."""
        return f"{self.schema}.{self.name}"


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Checked settings. `tables` are the names of `table_names`."""

    dsn: str
    tables: tuple[str, ...]
    on: tuple[str, ...] = ("insert", "update", "delete")
    columns: dict[str, tuple[str, ...]] = {}
    snapshot: bool = False
    slot: str | None = None
    publication: str | None = None
    retained_bytes_max: int = RETAINED_BYTES_MAX
    on_cap: str = "alarm"

    @property
    def table_names(self) -> tuple[TableName, ...]:
        return tuple(table_name(table) for table in self.tables)

    @property
    def column_names(self) -> dict[TableName, tuple[str, ...]]:
        return {table_name(table): columns for table, columns in self.columns.items()}

    @property
    def where(self) -> str:
        """The database, for people: without its password."""
        return dsns.parse(self.dsn).shown

    @property
    def identifies(self) -> bool:
        """Whether rows have to be identifiable: an update or a delete is published."""
        return "update" in self.on or "delete" in self.on


def table_name(text: str) -> TableName:
    """`orders`, `public.orders`, `public."odd.name"`. Raises ValueError."""
    parts = []
    at = 0
    while True:
        found = _PART.match(text, at)
        if found is None:
            raise ValueError
        quoted, plain = found.groups()
        parts.append(quoted.replace('""', '"') if quoted is not None else plain)
        at = found.end()
        if at == len(text):
            break
        if text[at] != ".":
            raise ValueError
        at += 1
    if len(parts) > 2 or any(not _is_name(part) for part in parts):
        raise ValueError
    return TableName(parts[0], parts[1]) if len(parts) == 2 else TableName("public", parts[0])


def own_name(trigger: str) -> str:
    """The name of the slot and of the publication that are made for a trigger, by its id."""
    return "posthouse_" + re.sub(r"[^a-z0-9]", "_", trigger.lower())[: NAME_BYTES_MAX - len("posthouse_")]


def read(settings: Mapping[str, Any]) -> Settings:
    """What `check` answered."""
    return msgspec.convert(settings, Settings)


def check(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Complete settings. Raises Invalid."""
    for name in settings:
        if name not in EXPECTS["properties"]:
            raise Invalid(f"there is no setting {name}; there are {', '.join(EXPECTS['properties'])}", path=name)
    for name in EXPECTS["required"]:
        if settings.get(name) in (None, "", []):
            example = _FORM if name == "dsn" else '["public.orders"]'
            raise Invalid(f"is missing; give {example}", path=name)
    given = {name: value for name, value in settings.items() if value is not None}
    dsn = _checked_dsn(given.pop("dsn"))
    try:
        made = msgspec.convert({**given, "dsn": dsn}, Settings, strict=True)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$.")
        raise Invalid(message, path=path.rstrip("`")) from error
    _check_tables(made)
    _check_columns(made)
    for at, operation in enumerate(made.on):
        if operation not in OPERATIONS:
            raise Invalid(f"is one of {', '.join(OPERATIONS)}", path=f"on[{at}]")
    if not made.on:
        raise Invalid(f"name what is to be seen: {', '.join(OPERATIONS)}", path="on")
    if made.slot is not None and not _SLOT_NAME.match(made.slot):
        raise Invalid("the name of a slot is 1 to 63 lower-case letters, digits and _", path="slot")
    if made.publication is not None and not _is_name(made.publication):
        raise Invalid(f"a name of PostgreSQL has 1 to {NAME_BYTES_MAX} bytes", path="publication")
    if made.retained_bytes_max < 1024**2:
        raise Invalid("is at least 1048576", path="retained_bytes_max")
    if made.on_cap not in ("alarm", "drop"):
        raise Invalid("is alarm or drop", path="on_cap")
    if made.on_cap == "drop" and made.slot is not None:
        raise Invalid("a slot of yours is never dropped: leave out slot, or say alarm", path="on_cap")
    checked: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(made))
    checked["on"] = [operation for operation in OPERATIONS if operation in made.on]
    return checked


def shown(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Without the password: where one is, there is `***`."""
    made = dict(settings)
    if isinstance(made.get("dsn"), str):
        made["dsn"] = _without_secrets(made["dsn"])
    return made


def _without_secrets(dsn: str) -> str:
    try:
        parts = urlsplit(dsn)
    except ValueError:
        return "***"
    user, separator, host = parts.netloc.rpartition("@")
    name, colon, _ = user.partition(":")
    netloc = f"{name}{':***' if colon else ''}{separator}{host}"
    query = parts.query
    if any(name in _SECRET for name, _ in parse_qsl(query)):
        pairs = [
            (name, "***" if name in _SECRET else value) for name, value in parse_qsl(query, keep_blank_values=True)
        ]
        query = urlencode(pairs, safe="*/")
    return urlunsplit(parts._replace(netloc=netloc, query=query))


def _checked_dsn(dsn: object) -> str:
    if not isinstance(dsn, str):
        raise Invalid(f"is a text like {_FORM}", path="dsn")
    try:
        found = dsns.parse(dsn)
    except DsnError as error:
        if dsn.partition("://")[0].partition("+")[0].lower() not in ("postgresql", "postgres"):
            raise Invalid(f"is no DSN of PostgreSQL; give {_FORM}", path="dsn") from None
        raise Invalid(str(error).replace(dsns.FORMS, _FORM), path="dsn") from None
    if found.dialect != "postgresql":
        raise Invalid(
            f"change capture reads the log of PostgreSQL, and this is {found.dialect}: for that there is the kind "
            "table",
            path="dsn",
        )
    if not found.path and "dbname" not in found.query:
        raise Invalid(f"names no database; give {_FORM}", path="dsn")
    return found.url


def _check_tables(settings: Settings) -> None:
    if len(settings.tables) > TABLES_MAX:
        raise Invalid(
            f"at most {TABLES_MAX} tables; make several triggers, or a publication of your own", path="tables"
        )
    seen: set[TableName] = set()
    for at, table in enumerate(settings.tables):
        try:
            name = table_name(table)
        except ValueError:
            raise Invalid(
                'is no name of a table; write public.orders, or public."odd.name" where it has a dot',
                path=f"tables[{at}]",
            ) from None
        if name in seen:
            raise Invalid("is there twice", path=f"tables[{at}]")
        seen.add(name)
        if name.schema in ("pg_catalog", "information_schema", "pg_toast"):
            raise Invalid("is a table of PostgreSQL itself, whose changes are not published", path=f"tables[{at}]")


def _check_columns(settings: Settings) -> None:
    names = set(settings.table_names)
    for table, columns in settings.columns.items():
        try:
            known = table_name(table) in names
        except ValueError:
            known = False
        if not known:
            raise Invalid("is not among the tables", path=f"columns.{table}")
        if not columns or len(set(columns)) != len(columns) or len(columns) > COLUMNS_MAX:
            raise Invalid("names each column once", path=f"columns.{table}")
        for at, column in enumerate(columns):
            if not _is_name(column):
                raise Invalid("is no name of a column", path=f"columns.{table}[{at}]")


def _is_name(text: str) -> bool:
    try:
        return 0 < len(text.encode()) <= NAME_BYTES_MAX and "\0" not in text
    except UnicodeEncodeError:
        return False
