"""Bringing a database to the schema of this program: numbered SQL files, forward only, each applied once.

A file is `NNNN_name.sql`. Each runs in a transaction of its own, under an advisory lock that lasts as long as that
transaction, and is recorded in `schema_migration` with the checksum of its text. So any number of processes may start
at once, through a pooler too: one applies a migration, the others wait for it and find it done.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING, Any, Final

import asyncpg

from posthouse.adapters.postgres.dsn import connect, dsn_for_humans
from posthouse.domain.errors import SetupError, StoreUnavailable

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]
else:
    Connection = Any

__all__ = ["Migration", "check", "dsn_for_humans", "load", "migrate", "pending"]

SERVER_MAJOR_MIN: Final = 15
TURN_SECONDS_MAX: Final = 600
"""How long to wait for another process that is migrating."""

TABLE_LOCK_SECONDS_MAX: Final = 5
"""How long a migration waits for a table that somebody uses: whoever comes after it waits as well."""

TABLE_LOCK_ATTEMPTS_MAX: Final = 6
TABLE_LOCK_PAUSE_SECONDS: Final = 1.0

_LOCK_KEY: Final = int.from_bytes(b"posthous")
_FILE_NAME: Final = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_IN_THE_WAY: Final = (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError)
_THERE_ALREADY: Final = (asyncpg.DuplicateTableError, asyncpg.DuplicateFunctionError, asyncpg.DuplicateObjectError)
_ENDED: Final = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
)
_TABLE: Final = """
    CREATE TABLE IF NOT EXISTS schema_migration (
        version     int PRIMARY KEY,
        name        text NOT NULL,
        applied_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
        checksum    bytea NOT NULL
    )
"""


@dataclass(frozen=True)
class Migration:
    """One step of the schema. Line ends do not count in its checksum."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> bytes:
        return hashlib.sha256(self.sql.replace("\r\n", "\n").encode()).digest()

    def __str__(self) -> str:
        return f"{self.version:04d}_{self.name}"


def load(folder: Traversable | None = None) -> tuple[Migration, ...]:
    """The migrations of a folder (by default this program's), in order. ValueError for a wrong name or number."""
    folder = folder or resources.files("posthouse.adapters.postgres") / "migrations"
    migrations: dict[int, Migration] = {}
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if not file.name.endswith(".sql"):
            continue
        match = _FILE_NAME.fullmatch(file.name)
        if match is None:
            raise ValueError(f"a migration is named NNNN_name.sql, and not {file.name}")
        migration = Migration(int(match[1]), match[2], file.read_text("utf-8"))
        if migrations.setdefault(migration.version, migration) is not migration:
            raise ValueError(f"two migrations have the number {migration.version:04d}")
    return tuple(migrations.values())


def pending(known: Sequence[Migration], applied: Mapping[int, tuple[str, bytes]]) -> list[Migration]:
    """What of `known` is still to be applied, given name and checksum of each version in the database.

    Raises: SetupError where the database's schema is not an earlier state of this program's.
    """
    newest_known = max((migration.version for migration in known), default=0)
    newest_applied = max(applied, default=0)
    if newest_applied > newest_known:
        raise SetupError(
            f"the database has schema version {newest_applied} ({applied[newest_applied][0]}), and this Posthouse "
            f"knows {newest_known} at most: a newer one has used it. Install that version or a later one; to go back, "
            "restore a backup from before the upgrade."
        )
    for migration in known:
        if migration.version not in applied and migration.version < newest_applied:
            raise SetupError(
                f"the database has schema version {newest_applied} without {migration}, which comes before it: it was "
                "made by a development version. Use an empty database, or the version that made this one."
            )
        if migration.version in applied and applied[migration.version][1] != migration.checksum:
            raise SetupError(
                f"migration {migration} is not the one that was applied to the database: its text has changed since. "
                "Install a released version of Posthouse; a database of a development version is not migrated, use an "
                "empty one."
            )
    unknown = applied.keys() - {migration.version for migration in known}
    if unknown:
        raise SetupError(
            f"the database has schema version {min(unknown)}, which this Posthouse does not know. Install the version "
            "that made it, or a later one."
        )
    return [migration for migration in known if migration.version not in applied]


async def check(dsn: str, *, folder: Traversable | None = None) -> list[Migration]:
    """What `migrate` would apply; writes nothing. Raises as `migrate` does."""
    known = load(folder)
    connection = await connect(dsn)
    try:
        with _translated("checking the schema"):
            return await _missing(connection, dsn, known)
    finally:
        await _close(connection)


async def migrate(dsn: str, *, folder: Traversable | None = None) -> list[Migration]:
    """Apply what is missing, and return what this call applied.

    Raises: SetupError where the database must not be migrated (see `pending`), its server is too old, the user may not,
    or a migration fails, which then has changed nothing; StoreUnavailable where the database cannot be reached.
    """
    known = load(folder)
    connection = await connect(dsn)
    done: list[Migration] = []
    try:
        with _translated("checking the schema"):
            missing = await _missing(connection, dsn, known)
        for migration in missing:
            with _translated(f"applying migration {migration}"):
                if await _apply_patiently(connection, migration, known):
                    done.append(migration)
    finally:
        await _close(connection)
    return done


async def _apply_patiently(connection: Connection, migration: Migration, known: Sequence[Migration]) -> bool:
    for attempt in range(1, TABLE_LOCK_ATTEMPTS_MAX + 1):
        try:
            return await _apply(connection, migration, known)
        except _IN_THE_WAY:
            if attempt == TABLE_LOCK_ATTEMPTS_MAX:
                raise
            await asyncio.sleep(TABLE_LOCK_PAUSE_SECONDS)
    raise AssertionError("the last attempt returns or raises")


async def _apply(connection: Connection, migration: Migration, known: Sequence[Migration]) -> bool:
    """Apply one migration, unless another process has meanwhile; whether it was us."""
    async with connection.transaction():
        # The user's own settings might end a long migration halfway.
        await connection.execute(
            f"SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '{TURN_SECONDS_MAX}s'; "
            f"SELECT pg_advisory_xact_lock({_LOCK_KEY})"
        )
        await connection.execute(f"SET LOCAL lock_timeout = '{TABLE_LOCK_SECONDS_MAX}s'")
        # First this, which takes a lock: waiting for an advisory lock lets a session go on believing in tables, and in
        # their absence, as they were before it.
        await connection.execute(_TABLE)
        if migration not in pending(known, await applied(connection)):
            return False
        await connection.execute(migration.sql)
        await connection.execute(
            "INSERT INTO schema_migration (version, name, checksum) VALUES ($1, $2, $3)",
            migration.version,
            migration.name,
            migration.checksum,
        )
        return True


async def applied(connection: Connection) -> dict[int, tuple[str, bytes]]:
    if await connection.fetchval("SELECT to_regclass('schema_migration')") is None:
        return {}
    rows = await connection.fetch("SELECT version, name, checksum FROM schema_migration")
    return {row["version"]: (row["name"], row["checksum"]) for row in rows}


async def _missing(connection: Connection, dsn: str, known: Sequence[Migration]) -> list[Migration]:
    _require_server(connection, dsn)
    found = await applied(connection)
    encoding = connection.get_settings().server_encoding
    if not found and encoding != "UTF8":
        raise SetupError(
            f"the database {dsn_for_humans(dsn)} has the encoding {encoding}, and Posthouse needs UTF8. Make another one: "
            "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        )
    return pending(known, found)


def _require_server(connection: Connection, dsn: str) -> None:
    found = connection.get_server_version()
    if found.major < SERVER_MAJOR_MIN:
        raise SetupError(
            f"Posthouse needs PostgreSQL {SERVER_MAJOR_MIN} or newer, and {dsn_for_humans(dsn)} is PostgreSQL "
            f"{found.major}. Upgrade that server, or leave out --database-url to use the embedded one."
        )


@contextmanager
def _translated(doing: str) -> Iterator[None]:
    """The driver's errors in this project's words. All of them leave the migration undone."""
    try:
        yield
    except asyncpg.InsufficientPrivilegeError as error:
        raise SetupError(
            f"{doing}: {error}. Make the user of --database-url the owner of the database: "
            "ALTER DATABASE … OWNER TO …, or grant it CREATE on the schema public."
        ) from error
    except asyncpg.ReadOnlySQLTransactionError as error:
        raise SetupError(f"{doing}: {error}. --database-url names a standby; name the primary server.") from error
    except _IN_THE_WAY as error:
        raise SetupError(
            f"{doing}: another session holds a lock that this needs ({error}). Find it in pg_stat_activity, for "
            "example a backup, a dashboard or an open transaction in psql; end it and start again."
        ) from error
    except _THERE_ALREADY as error:
        raise SetupError(
            f"{doing}: {error}, and it is not Posthouse's. Give Posthouse a database of its own, or a schema: "
            "ALTER ROLE … IN DATABASE … SET search_path = …"
        ) from error
    except _ENDED as error:
        raise StoreUnavailable(f"{doing}: the connection to PostgreSQL ended ({error}). Start again.") from error
    except asyncpg.PostgresError as error:
        raise SetupError(
            f"{doing} failed, and nothing of it was changed: {error} ({error.sqlstate}). This should not happen; "
            "please report it with the version of PostgreSQL."
        ) from error


async def _close(connection: Connection) -> None:
    try:
        await connection.close(timeout=5)
    except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        connection.terminate()
