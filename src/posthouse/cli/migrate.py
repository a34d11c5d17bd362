"""`posthouse migrate`: bring a database's schema up to date."""

from __future__ import annotations

import asyncio

from posthouse.cli.output import note
from posthouse.domain.errors import SetupError


def migrate(*, database_url: str | None = None, check: bool = False) -> int:
    """Apply the migrations that a database lacks. `serve` does this too; here it can be done before.

    The embedded database needs no command: it is migrated as its server starts.

    Parameters
    ----------
    database_url
        The database (default: POSTHOUSE_DATABASE_URL).
    check
        Only say what is pending; exit code 1 where anything is.
    """
    from posthouse import config
    from posthouse.adapters.postgres import migrate as migrations

    settings = config.load(database_url=database_url)
    if settings.database_url is None:
        raise SetupError("which database? Give --database-url, or set POSTHOUSE_DATABASE_URL")
    dsn = (settings.database_direct_url or settings.database_url).get_secret_value()
    if check:
        pending = asyncio.run(migrations.check(dsn))
        for migration in pending:
            print(migration)
        note(f"{len(pending)} pending" if pending else "the schema is up to date")
        return 1 if pending else 0
    applied = asyncio.run(migrations.migrate(dsn))
    for migration in applied:
        print(migration)
    note(f"{len(applied)} applied" if applied else "the schema was up to date")
    return 0
