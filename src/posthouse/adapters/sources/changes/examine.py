"""Looking at a database before anything is made in it: what is missing, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from posthouse.adapters.sources.changes.catalog import Catalog
from posthouse.adapters.sources.changes.names import Names
from posthouse.adapters.sources.changes.refusals import standby
from posthouse.adapters.sources.changes.settings import Settings, TableName
from posthouse.domain.errors import Invalid, SourceRefused

VERSION_MIN: Final = 140_000
"""PostgreSQL 14, the first whose `pgoutput` passes messages on."""
VERSION_COLUMNS: Final = 150_000
VERSION_FAILOVER: Final = 170_000

_SERVER: Final = """
SELECT current_setting('server_version_num')::int, current_setting('server_version'), current_setting('wal_level'),
       pg_is_in_recovery(), current_user::text, current_database()::text,
       r.rolsuper, r.rolsuper OR r.rolreplication OR EXISTS (
           SELECT 1 FROM pg_roles m WHERE m.rolname = 'rds_replication' AND pg_has_role(current_user, m.oid, 'MEMBER')),
       has_database_privilege(current_database(), 'CREATE'),
       current_setting('max_slot_wal_keep_size'), coalesce(current_setting('idle_replication_slot_timeout', true), '0'),
       CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_lsn()::text END
  FROM pg_roles r WHERE r.rolname = current_user"""

# Of a table: the one whose updates and deletes cannot be published (without a replica identity they would fail for whoever
# makes them), itself or one of its partitions.
_TABLES: Final = """
SELECT w.place::int - 1, c.relkind::text, c.relpersistence::text, c.relreplident::text,
       pg_has_role(c.relowner, 'USAGE'), pg_get_userbyid(c.relowner)::text,
       EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND i.indisvalid),
       (SELECT format('%%I.%%I', tn.nspname, t.relname)
          FROM pg_class t JOIN pg_namespace tn ON tn.oid = t.relnamespace
         WHERE (t.oid = c.oid AND c.relkind <> 'p' OR t.oid IN (SELECT relid FROM pg_partition_tree(c.oid) WHERE isleaf))
           AND t.relreplident <> 'f'
           AND NOT EXISTS (
               SELECT 1 FROM pg_index i
                WHERE i.indrelid = t.oid AND i.indisvalid
                  AND CASE t.relreplident WHEN 'd' THEN i.indisprimary AND i.indimmediate WHEN 'i' THEN i.indisreplident END)
         LIMIT 1),
       has_table_privilege(c.oid, 'SELECT') OR has_any_column_privilege(c.oid, 'SELECT') AND w.listed,
       row_security_active(c.oid),
       (SELECT string_agg(format('%%I.%%I', n2.nspname, c2.relname), ', ')
          FROM pg_class c2 JOIN pg_namespace n2 ON n2.oid = c2.relnamespace
         WHERE lower(c2.relname) = lower(w.name) AND c2.relkind IN ('r', 'p') AND n2.nspname NOT LIKE 'pg\\_%%'),
       ARRAY(SELECT a.attname::text FROM pg_attribute a JOIN pg_index i ON i.indrelid = c.oid AND a.attnum = ANY (i.indkey)
              WHERE a.attrelid = c.oid AND CASE c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END)
  FROM unnest(%s::text[], %s::text[], %s::bool[]) WITH ORDINALITY w (schema, name, listed, place)
  LEFT JOIN (pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace) ON n.nspname = w.schema AND c.relname = w.name
 ORDER BY w.place"""


class Server(NamedTuple):
    number: int
    version: str
    wal_level: str
    standby: bool
    user: str
    database: str
    superuser: bool
    may_replicate: bool
    may_create: bool
    keep_size: str
    idle_timeout: str
    end: str | None


class TableFacts(NamedTuple):
    """`unidentified` is the table, or a partition of it, whose rows nothing identifies; `similar` are tables with nearly
    that name."""

    place: int
    kind: str | None
    persistence: str | None
    identity: str | None
    ours: bool | None
    owner: str | None
    primary_key: bool
    unidentified: str | None
    readable: bool | None
    secured: bool | None
    similar: str | None
    key: list[str]


async def server(catalog: Catalog, settings: Settings, names: Names) -> Server:
    """Raises SourceRefused where this database, or this user, will not do."""
    found = Server(*(await catalog.ask(_SERVER))[0])
    where = catalog.where
    if found.number < VERSION_MIN:
        raise SourceRefused(
            f"{where}: this is PostgreSQL {found.version}, and change capture needs 14 or later", code="version"
        )
    if found.standby:
        raise standby(where)
    if found.wal_level != "logical":
        raise SourceRefused(
            f"{where}: its wal_level is {found.wal_level}, so that its log has no row changes. ALTER SYSTEM SET "
            "wal_level = logical, "
            "and restart it (Amazon RDS: rds.logical_replication = 1; Cloud SQL: cloudsql.logical_decoding = on)",
            code="wal_level",
        )
    if not found.may_replicate:
        raise SourceRefused(
            f"{where}: the user {found.user} may not read the log. A superuser has to run: ALTER ROLE "
            f'"{found.user}" REPLICATION '
            f'(Amazon RDS: GRANT rds_replication TO "{found.user}")',
            code="no_replication_privilege",
        )
    if settings.columns and names.owns_publication and found.number < VERSION_COLUMNS:
        raise Invalid(
            f"PostgreSQL {found.version} publishes whole rows; leave this out, or upgrade to 15", path="columns"
        )
    return found


async def tables(
    catalog: Catalog,
    settings: Settings,
    found: Server,
    names: Names,
    *,
    snapshot: bool,
    only: Sequence[TableName] | None = None,
) -> list[TableFacts]:
    """Raises Invalid, with the path of the table that will not do, and SourceRefused where a right is missing. `only` is some
    of the tables: all, without."""
    wanted = settings.table_names if only is None else tuple(only)
    columns = settings.column_names
    facts = [
        TableFacts(*row)
        for row in await catalog.ask(
            _TABLES, ([n.schema for n in wanted], [n.name for n in wanted], [n in columns for n in wanted])
        )
    ]
    for name, table in zip(wanted, facts, strict=True):
        path = f"tables[{settings.table_names.index(name)}]"
        _check_kind(name, table, path)
        if settings.identifies and table.unidentified is not None:
            raise Invalid(
                f"{table.unidentified} has no primary key, so that nothing says which row an update or a delete is "
                "about; once it is published these would fail for your programs. Give it one, or: "
                f"ALTER TABLE {table.unidentified} REPLICA IDENTITY FULL; or take only inserts: "
                '"on": ["insert"]',
                path=path,
            )
        if snapshot and not table.primary_key:
            raise Invalid(f"{name.reference} has no primary key, by which a snapshot goes through it", path=path)
        if snapshot and not table.readable:
            raise SourceRefused(
                f"{catalog.where}: the user {found.user} may not read {name.reference}, which a snapshot has to: "
                f'GRANT SELECT ON {_quoted(name)} TO "{found.user}"',
                code="no_privilege",
            )
        if snapshot and table.secured:
            raise Invalid(
                f"{name.reference} shows this user only some of its rows (row security), and a snapshot has to see "
                "all: "
                f'ALTER ROLE "{found.user}" BYPASSRLS',
                path=path,
            )
        if names.owns_publication:
            _check_owner(catalog.where, name, table, found)
        if name in columns:
            await _check_columns(catalog, settings, name, table, columns[name])
    return facts


def _check_kind(name: TableName, table: TableFacts, path: str) -> None:
    if table.kind is None and table.similar:
        raise Invalid(
            f"there is no table {name.reference}, but {table.similar}. Upper and lower case, and the schema, count",
            path=path,
        )
    if table.kind is None:
        raise Invalid(f"there is no table {name.reference}. Make it first, or look in another database", path=path)
    if table.kind not in ("r", "p"):
        raise Invalid(
            f"{name.reference} is no table but a view or something else, which has no changes of its own", path=path
        )
    if table.persistence != "p":
        raise Invalid(
            f"{name.reference} is unlogged or temporary, and its changes are not in the log: ALTER TABLE "
            f"{_quoted(name)} SET LOGGED",
            path=path,
        )


def _check_owner(where: str, name: TableName, table: TableFacts, found: Server) -> None:
    if not table.ours and not found.superuser:
        raise SourceRefused(
            f"{where}: {name.reference} belongs to {table.owner}, and only an owner publishes a table. Either GRANT "
            f'"{table.owner}" TO "{found.user}", or have {table.owner} make a publication and name it in the '
            "setting publication",
            code="not_owner_of_table",
        )
    if not found.may_create:
        raise SourceRefused(
            f"{where}: the user {found.user} may make no publication here: GRANT CREATE ON DATABASE "
            f'"{found.database}" TO '
            f'"{found.user}"; or name one in the setting publication',
            code="no_privilege",
        )


async def _check_columns(
    catalog: Catalog, settings: Settings, name: TableName, table: TableFacts, listed: tuple[str, ...]
) -> None:
    written = next(text for text, known in zip(settings.tables, settings.table_names, strict=True) if known == name)
    path = f"columns.{written}"
    there = {column.name: column for column in await catalog.columns(name)}
    for at, column in enumerate(listed):
        if column not in there:
            raise Invalid(f"{name.reference} has no column {column}; it has {', '.join(there)}", path=f"{path}[{at}]")
        if there[column].generated:
            raise Invalid(f"{column} is a generated column, which is not published", path=f"{path}[{at}]")
    if settings.identifies:
        if table.identity == "f":
            raise Invalid(
                f"{name.reference} has REPLICA IDENTITY FULL, and with that PostgreSQL publishes whole rows only. "
                "Leave this "
                "out, or set another replica identity",
                path=path,
            )
        missing = [column for column in table.key if column not in listed]
        if missing:
            raise Invalid(f"has to include {', '.join(missing)}, which says which row a change is about", path=path)


def _quoted(name: TableName) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in (name.schema, name.name))


def remarks(found: Server, facts: list[TableFacts], settings: Settings) -> list[str]:
    """What somebody should know about it."""
    made = []
    if found.keep_size == "-1":
        made.append(
            "While nobody reads, the database keeps its log for this trigger without a limit, until its disk is "
            "full. ALTER SYSTEM "
            "SET max_slot_wal_keep_size = '10GB' protects it; over that the slot is lost, and with it changes."
        )
    else:
        made.append(
            f"The database keeps at most {found.keep_size} of log for this trigger (max_slot_wal_keep_size); over "
            "that the slot is "
            "lost, and with it changes."
        )
    if found.idle_timeout not in ("0", "0s", "0min"):
        made.append(
            f"A slot that nobody reads for {found.idle_timeout} is lost (idle_replication_slot_timeout): so long "
            "the trigger may "
            "be paused."
        )
    thin = [
        name.reference
        for name, table in zip(settings.table_names, facts, strict=True)
        if table.identity != "f" and "update" in settings.on
    ]
    if thin:
        made.append(
            f"Updates of {', '.join(thin)} say what a row is, not what it was, and leave out large values that did "
            "not change "
            "(unchanged_toast). ALTER TABLE … REPLICA IDENTITY FULL adds both, for some more log."
        )
    return made
