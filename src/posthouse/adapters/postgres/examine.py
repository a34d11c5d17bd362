"""What `posthouse doctor` looks at in a database. Reads only, on one connection, and installs nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote
from uuid import UUID

import asyncpg
import msgspec

from posthouse.adapters.postgres import migrate, postmaster
from posthouse.adapters.postgres.cluster import DATABASE, PORT, ROLE, socket_name
from posthouse.adapters.postgres.days import PARENTS, missing_days
from posthouse.adapters.postgres.days import SQL as DAYS
from posthouse.adapters.postgres.dsn import connect, dsn_for_humans
from posthouse.adapters.postgres.queries import Queries
from posthouse.adapters.postgres.upkeep import SQL as UPKEEP
from posthouse.domain.errors import PosthouseError, SetupError
from posthouse.domain.ids import unix_ms_of
from posthouse.domain.operations import OPERATIONS_APP, LogRewound
from posthouse.ports.diagnosis import Backlog, DatabaseFacts, Lease, Rewind, Snapshot, Trouble, Vacuum

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]
else:
    Connection = Any

SQL = Queries("examine.sql")
OVERDUE_SECONDS: Final = 300.0
STATEMENT_SECONDS: Final = 10
NEWS_LOOKED_AT: Final = 10_000  # of the newest operational events, in case there are very many

Open = Callable[[bytes, bytes, str, int], object]
"""Opens a sealed secret of an owner, kind and version; raises SetupError where it does not open."""


def embedded_dsn(data_dir: Path) -> str | Trouble:
    """How to reach the embedded database of a data directory, whoever runs it; Trouble where nothing runs."""
    data_dir = data_dir.resolve()
    cluster = data_dir / "postgres"
    try:
        if not cluster.exists():
            return Trouble(f"there is no database in {data_dir}: `posthouse serve` makes one")
        if postmaster.running(cluster) is None:
            return Trouble(f"nothing is running: the embedded database in {data_dir} starts with `posthouse serve`")
        password = (data_dir / "postgres.password").read_text("ascii").strip()
        folder = data_dir / "run"
        with suppress(FileNotFoundError):
            folder = Path((data_dir / "run.path").read_text("utf-8").strip())
        if not (folder / socket_name()).exists():
            return Trouble(f"the embedded database in {data_dir} runs, and its socket is not in {folder}")
    except OSError as error:
        return Trouble(
            f"{error.filename} cannot be read ({error.strerror}): run this as the user that Posthouse runs as"
        )
    return f"postgresql://{ROLE}:{password}@/{DATABASE}?host={quote(str(folder), safe='')}&port={PORT}"


async def examine(dsn: str, open_secret: Open | None) -> tuple[DatabaseFacts | Trouble, list[str]]:
    """The facts of a database, and the URLs of the newest endpoints. `open_secret` is None where there is no master key."""
    try:
        connection = await connect(dsn)
    except PosthouseError as error:
        return Trouble(str(error)), []
    try:
        # What this session does must not stand in anybody's way, nor show up as a trouble itself.
        await connection.execute(f"SET statement_timeout = '{STATEMENT_SECONDS}s'; SET lock_timeout = '2s'")
        found = connection.get_server_version()
        facts: dict[str, Any] = {"where": dsn_for_humans(dsn), "version": f"{found.major}.{found.minor or found.micro}"}
        facts |= await _server(connection)
        facts |= await _schema(connection)
        urls: list[str] = []
        if not facts.get("schema_trouble") and not facts.get("pending_migrations"):
            facts |= await _installation(connection, facts["settings"], open_secret)
            urls = [row["url"] for row in await connection.fetch(SQL.target_hosts)]
        return DatabaseFacts(**facts), urls
    except (asyncpg.PostgresError, OSError, TimeoutError) as error:
        return Trouble(f"{dsn_for_humans(dsn)} ended while it was looked at: {error or type(error).__name__}"), []
    finally:
        connection.terminate()


async def _server(connection: Connection) -> dict[str, Any]:
    asked_at = time.time()
    told = float(await connection.fetchval(SQL.clock))
    ahead = (asked_at + time.time()) / 2 - told
    return {
        "ahead_seconds": ahead,
        "settings": {row["name"]: row["setting"] for row in await connection.fetch(SQL.settings)},
        "connections": await connection.fetchval(SQL.connections),
        "snapshots": tuple(Snapshot(**row) for row in await connection.fetch(SQL.snapshots)),
    }


async def _schema(connection: Connection) -> dict[str, Any]:
    try:
        missing = migrate.pending(migrate.load(), await migrate.applied(connection))
    except SetupError as error:
        return {"schema_trouble": str(error)}
    return {"pending_migrations": tuple(map(str, missing))}


async def _installation(connection: Connection, settings: dict[str, str], open_secret: Open | None) -> dict[str, Any]:
    leases = tuple(Lease(**row) for row in await connection.fetch(SQL.leases))
    now = float(await connection.fetchval(SQL.clock))
    attached = {row["name"] for row in await connection.fetch(DAYS.days, [*PARENTS]) if row["attached"]}
    vacuum = await connection.fetchrow(SQL.vacuum)
    assert vacuum is not None, "the table is there: the schema is ours"
    sealed = await connection.fetch(SQL.sealed)
    return {
        "installed": bool(leases),
        "leases": leases or None,
        "processes": await connection.fetchval(SQL.processes),
        "missing_days": missing_days(attached, now=now),
        "rewinds": await _rewinds(connection),
        "backlog": await _backlog(connection, now),
        "vacuum": Vacuum(
            on=vacuum["on"] and settings.get("autovacuum") == "on",
            dead_rows=vacuum["dead_rows"],
            live_rows=vacuum["live_rows"],
        ),
        "secrets": tuple(_opened(row, open_secret) for row in sealed),
    }


async def _rewinds(connection: Connection) -> tuple[Rewind, ...]:
    rows = await connection.fetch(SQL.rewinds, UUID(bytes=OPERATIONS_APP), NEWS_LOOKED_AT)
    told = [(float(row["seconds"]), msgspec.json.decode(row["payload"], type=LogRewound)) for row in rows]
    return tuple(Rewind(seconds, tuple(news.partitions)) for seconds, news in told)


async def _backlog(connection: Connection, now: float) -> Backlog:
    rows = int(await connection.fetchval(UPKEEP.owed_estimate))
    if not rows:
        return Backlog(0, 0.0, 0, 0.0)
    oldest = await connection.fetchval(UPKEEP.oldest_owed)
    overdue = await connection.fetchrow(SQL.overdue, OVERDUE_SECONDS)
    assert overdue is not None, "an aggregate always has a row"
    age = 0.0 if oldest is None else now - unix_ms_of(oldest.bytes) / 1000
    return Backlog(rows, age, overdue["rows"], overdue["seconds"])


def _opened(row: asyncpg.Record, open_secret: Open | None) -> tuple[str, str | None]:
    """The id of the key that a secret is sealed with, and why it does not open."""
    key_id = bytes(row["ciphertext"][1:5]).hex()
    if open_secret is None:
        return key_id, None
    try:
        open_secret(row["ciphertext"], row["owner_id"].bytes, row["kind"], row["version"])
    except SetupError as error:
        return key_id, str(error)
    return key_id, None
