"""What is there in a PostgreSQL database: the server, the table that is watched, and what is installed of a trigger."""

from __future__ import annotations

from typing import Final, NamedTuple

from posthouse.adapters.sources.tables.place import (
    TABLES,
    Column,
    Standing,
    Table,
    check_columns,
    check_version,
    no_key,
    no_table,
    not_a_table,
)
from posthouse.adapters.sources.tables.postgresql.connection import SERVER_VERSION_MIN, Connection, read_only
from posthouse.adapters.sources.tables.postgresql.definition import Definition, quoted
from posthouse.adapters.sources.tables.settings import Settings, TableName
from posthouse.domain.errors import Invalid, SourceRefused

NAMES_MAX: Final = 5_000  # tables that are looked through for one with a similar name
_KINDS: Final = {"v": "a view", "m": "a materialised view", "f": "a foreign table"}

_SERVER: Final = """
SELECT current_setting('server_version_num')::int / 10000 AS version, current_setting('server_version') AS told,
       pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on' AS read_only, current_user AS who,
       current_schema() AS first_schema, has_schema_privilege(current_schema(), 'CREATE') AS may_make,
       n.nspname AS home, pg_has_role(c.relowner, 'USAGE') AS is_ours, pg_get_userbyid(c.relowner) AS owner,
       (SELECT count(*) FROM pg_class t WHERE t.relnamespace = n.oid AND t.relname = ANY ($1)) AS tables
  FROM (SELECT coalesce(to_regclass('posthouse_change_version'), to_regclass('posthouse_change')) AS oid) r
  LEFT JOIN pg_class c ON c.oid = r.oid LEFT JOIN pg_namespace n ON n.oid = c.relnamespace"""
_TABLE: Final = """
SELECT c.oid, n.nspname AS schema, c.relkind::text AS kind, c.relpersistence::text AS persistence,
       has_table_privilege(c.oid, 'TRIGGER') AS may_trigger
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relname = $2 AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
   AND (n.nspname = $1 OR $1 IS NULL AND pg_table_is_visible(c.oid))"""
_NAMES: Final = f"""
SELECT CASE WHEN pg_table_is_visible(c.oid) AND $1::text IS NULL THEN c.relname ELSE n.nspname || '.' || c.relname END
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname NOT IN ('pg_catalog', 'information_schema')
   AND n.nspname !~ '^pg_toast' AND c.relname !~ '^posthouse_'
 ORDER BY pg_table_is_visible(c.oid) DESC, 1 LIMIT {NAMES_MAX}"""  # noqa: S608
_COLUMNS: Final = """
SELECT attname AS name, format_type(atttypid, atttypmod) AS type FROM pg_attribute
 WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped ORDER BY attnum"""
_KEY: Final = """
SELECT a.attname FROM pg_index i CROSS JOIN unnest(i.indkey) WITH ORDINALITY k (attnum, place)
  JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
 WHERE i.indrelid = $1 AND i.indisprimary AND k.place <= i.indnkeyatts ORDER BY k.place"""
_NUMBERED: Final = """
SELECT EXISTS (SELECT 1 FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
                WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
                  AND (a.attidentity <> '' OR pg_get_expr(d.adbin, d.adrelid) LIKE 'nextval(%'))"""
# The functions of a trigger, with the tables that call them. (Triggers on partitions are copies of their table's.)
_FUNCTIONS: Final = """
SELECT n.nspname AS schema, p.proname AS name, t.tgrelid AS oid, t.tgrelid::regclass::text AS caller,
       coalesce(t.tgenabled IN ('O', 'A'), false) AS is_enabled
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
  LEFT JOIN pg_trigger t ON t.tgfoid = p.oid AND t.tgparentid = 0
 WHERE starts_with(p.proname, $1) AND p.prorettype = 'trigger'::regtype ORDER BY 1, 2, 3"""


class Server(NamedTuple):
    """`home` is the schema that our tables are in, or will be in, and `tables` how many of them are there."""

    home: str
    tables: int

    @property
    def has_tables(self) -> bool:
        return self.tables == len(TABLES)


class Function(NamedTuple):
    """A function of a trigger. `callers` are the tables whose row trigger calls it, by name; `calls` by oid, where enabled."""

    schema: str
    name: str
    callers: tuple[str, ...]
    enabled_on: frozenset[int]

    @property
    def shown(self) -> str:
        return f"{quoted(self.schema)}.{quoted(self.name)}()"


class Watched(NamedTuple):
    """The table that is watched. `kind` is `pg_class.relkind`; `is_numbered`: it has a column that a sequence fills."""

    table: Table
    oid: int
    kind: str
    is_numbered: bool


class Found(NamedTuple):
    """What is installed of a trigger. `made_for` as in `Settings`; None where it is not registered."""

    functions: tuple[Function, ...]
    made_for: str | None


async def server_of(connection: Connection, where: str) -> Server:
    """Raises SourceRefused where nothing can be installed here at all."""
    row = await connection.fetchrow(_SERVER, list(TABLES))
    assert row is not None
    if row["version"] < SERVER_VERSION_MIN:
        raise SourceRefused(
            f"{where} is PostgreSQL {row['told']}: table triggers need version {SERVER_VERSION_MIN} or newer",
            code="old_server",
        )
    if row["read_only"]:
        raise read_only(where)
    if row["home"] is None:
        if row["first_schema"] is None:
            raise SourceRefused(
                f"{where}: no schema of the search_path of {row['who']} is there, so that the tables of table triggers have "
                "no place: CREATE SCHEMA, or ALTER ROLE … SET search_path",
                code="no_schema",
            )
        if not row["may_make"]:
            raise SourceRefused(
                f"{where}: {row['who']} may make no tables in {row['first_schema']}, where those of table triggers would be: "
                f"GRANT CREATE ON SCHEMA {quoted(row['first_schema'])} TO {quoted(row['who'])}",
                code="missing_privilege",
            )
        return Server(row["first_schema"], 0)
    if not row["is_ours"]:
        # Whoever owns the table could make our functions run what they like.
        raise SourceRefused(
            f"{where}: {row['home']}.posthouse_change belongs to {row['owner']}, not to {row['who']}: give the DSN of that "
            "user, or of one with another search_path",
            code="missing_privilege",
        )
    if row["tables"] < len(TABLES):
        return Server(row["home"], row["tables"])
    version = await connection.fetchval(f"SELECT version FROM {quoted(row['home'])}.posthouse_change_version")  # noqa: S608
    check_version(version, where)
    return Server(row["home"], len(TABLES))


async def watched(connection: Connection, named: TableName) -> Watched:
    """Raises Invalid, SourceRefused."""
    row = await connection.fetchrow(_TABLE, named.schema, named.name)
    if row is None:
        raise no_table(named, [name for (name,) in await connection.fetch(_NAMES, named.schema)])
    table = Table(
        row["schema"],
        named.name,
        tuple(Column(*column) for column in await connection.fetch(_COLUMNS, row["oid"])),
        tuple(name for (name,) in await connection.fetch(_KEY, row["oid"])),
    )
    if row["kind"] in _KINDS:
        raise not_a_table(table.shown, _KINDS[row["kind"]])
    if row["persistence"] == "t":
        raise Invalid(f"{table.shown} is a temporary table, which nobody else sees", path="table")
    if table.schema in ("pg_catalog", "information_schema"):
        raise Invalid(f"{table.shown} is one of PostgreSQL's own tables, which have no triggers", path="table")
    if not table.key:
        raise no_key(table.shown)
    if not row["may_trigger"]:
        who = await connection.fetchval("SELECT current_user")
        raise SourceRefused(
            f"{who} may make no triggers on {table.shown}: "
            f"GRANT TRIGGER ON {quoted(table.schema)}.{quoted(table.name)} TO {quoted(who)}",
            code="missing_privilege",
        )
    return Watched(table, row["oid"], row["kind"], await connection.fetchval(_NUMBERED, row["oid"]))


async def found(connection: Connection, trigger_id: str, server: Server) -> Found:
    functions = await functions_of(connection, trigger_id)
    made_for = None
    if server.has_tables:
        made_for = await connection.fetchval(
            f"SELECT made_for FROM {quoted(server.home)}.posthouse_change_trigger WHERE trigger_id = $1",  # noqa: S608
            trigger_id,
        )
    return Found(functions, made_for)


async def functions_of(connection: Connection, trigger_id: str) -> tuple[Function, ...]:
    callers: dict[tuple[str, str], list[tuple[int, str, bool]]] = {}
    for row in await connection.fetch(_FUNCTIONS, f"posthouse_{trigger_id}_"):
        of = callers.setdefault((row["schema"], row["name"]), [])
        if row["oid"] is not None:
            of.append((row["oid"], row["caller"], row["is_enabled"]))
    return tuple(
        Function(
            schema,
            name,
            tuple(caller for _, caller, _ in of),
            frozenset(oid for oid, _, is_enabled in of if is_enabled),
        )
        for (schema, name), of in callers.items()
    )


def definition(trigger_id: str, settings: Settings, watched: Watched, server: Server) -> Definition:
    """Raises Invalid."""
    return Definition(trigger_id, settings, watched.table, server.home, check_columns(settings, watched.table))


def standing(made: Definition, oid: int, found: Found, settings: Settings) -> Standing:
    if found.made_for != settings.made_for:
        return Standing.GONE if found.made_for is None else Standing.OTHERS
    on_table = [function for function in found.functions if oid in function.enabled_on]
    if not on_table:
        return Standing.GONE
    is_current = [(function.schema, function.name) for function in found.functions] == [(made.home, made.function)]
    return Standing.CURRENT if is_current else Standing.OUTDATED
