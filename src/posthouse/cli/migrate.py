"""`posthouse migrate`: bring a database's schema up to date."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

from posthouse.cli.output import note
from posthouse.domain.errors import SetupError

if TYPE_CHECKING:
    from posthouse.adapters.postgres.migrate import Migration
    from posthouse.config import Settings


def migrate(*, database_url: str | None = None, data_dir: Path | None = None, check: bool = False) -> int:
    """Apply the migrations that a database lacks. `serve` does this too; here it can be done before.

    The embedded database is migrated as its server starts, so it needs this only with --check, or to have it done before.
    Where its server does not run, the database alone is started for as long as this takes.

    Parameters
    ----------
    database_url
        The database, as for serve (default: POSTHOUSE_DATABASE_URL, else the embedded one).
    data_dir
        The data directory of the embedded database, as for serve.
    check
        Only say what is pending; exit code 1 where anything is.
    """
    from posthouse import config

    settings = config.load(database_url=database_url, data_dir=data_dir)
    found = asyncio.run(_migrate(settings, check=check))
    for migration in found:
        print(migration)
    if check:
        note(f"{len(found)} pending" if found else "the schema is up to date")
        return 1 if found else 0
    note(f"{len(found)} applied" if found else "the schema was up to date")
    return 0


async def _migrate(settings: Settings, *, check: bool) -> list[Migration]:
    """What is pending, or was applied."""
    from posthouse.adapters.postgres import migrate as migrations

    work = migrations.check if check else migrations.migrate
    if settings.database_url is not None:
        return await work((settings.database_direct_url or settings.database_url).get_secret_value())

    from posthouse.adapters.postgres.embedded import EmbeddedPostgres
    from posthouse.adapters.postgres.examine import embedded_dsn
    from posthouse.adapters.system.datadir import DataDir, default_data_dir
    from posthouse.ports.diagnosis import Trouble

    folder = settings.data_dir or default_data_dir()
    dsn = embedded_dsn(folder)
    if not isinstance(dsn, Trouble):
        note(f"the embedded database in {folder}, which runs")
        return await work(dsn)
    if not _is_made(folder):
        error = SetupError(dsn.told)
        error.add_note("--data-dir names another; for a database of your own give --database-url")
        raise error
    with DataDir.hold(folder) as held:
        postgres = EmbeddedPostgres(held.path)
        note(f"the embedded database in {folder}, which is started for this")
        try:
            return await work(await postgres.start())
        finally:
            await postgres.stop()


def _is_made(folder: Path) -> bool:
    """Whether there is a database that could be started: none is made only to look at it. Never raises, as Path's would."""
    return os.path.isfile(folder / "postgres" / "PG_VERSION")
