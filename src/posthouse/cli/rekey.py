"""`posthouse keys rekey`: seal everything anew after a new master key was put in front."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from posthouse.cli.output import note, show_record
from posthouse.cli.verbs import Json
from posthouse.domain.errors import SetupError

if TYPE_CHECKING:
    from posthouse.adapters.system.keyring import Sealer
    from posthouse.config import Settings
    from posthouse.manage.rekey import Rekeyed

PARTIAL = 6


def rekey(
    *,
    data_keys: Annotated[bool, Parameter(negative="")] = False,
    database_url: str | None = None,
    data_dir: Path | None = None,
    json_wanted: Json = False,
) -> int:
    """Seal every app's data key with the first master key, and what older releases sealed directly with a data key.

    Run it where the server runs, as the same user, with the same settings, after every server was started with the new
    master key in front of the old one. Servers go on meanwhile. It may be interrupted and run again; once it says that
    nothing remains, the old master key can be taken away. Exit code 6: something remains.

    Parameters
    ----------
    data_keys
        Make new data keys too, where they were made under another master key, and seal all secrets with them.
    database_url
        The database, as for serve (default: POSTHOUSE_DATABASE_URL, else the embedded one, whose server must run).
    data_dir
        The data directory of the embedded database, as for serve.
    """
    from posthouse import config

    settings = config.load(database_url=database_url, data_dir=data_dir)
    done, first = asyncio.run(_rekey(settings, data_keys=data_keys))
    remaining = done.remaining
    rest = remaining.data_keys + remaining.secrets + remaining.behind
    show_record(
        {
            "master_key": first,
            "data_keys": done.data_keys,
            "new_data_keys": done.new_data_keys,
            "secrets": done.secrets,
            "removed_data_keys": done.removed,
            "failed": done.failed,
            "remaining": rest,
            "made_before": remaining.made_before,
        },
        json_wanted=json_wanted,
    )
    if rest:
        note(
            f"{remaining.data_keys} data keys and {remaining.secrets + remaining.behind} secrets remain as they were: run this "
            "again; what does not open is named above, and has to be set anew"
        )
        return PARTIAL
    note(f"nothing is sealed with any other master key than {first}")
    if remaining.made_before and not data_keys:
        note(f"{remaining.made_before} data keys were made under another master key; --data-keys replaces them")
    return 0


async def _rekey(settings: Settings, *, data_keys: bool) -> tuple[Rekeyed, str]:
    from posthouse.adapters.postgres import migrate
    from posthouse.adapters.postgres.database import Database
    from posthouse.adapters.postgres.vault import PostgresVault
    from posthouse.manage.rekey import rekey as seal_anew

    sealer, dsn = _sealer_and_dsn(settings)
    if await migrate.check(dsn):
        raise SetupError("the database's schema is not up to date: run `posthouse migrate`, or start the server, first")
    database = Database(dsn, size=1)
    await database.open()
    try:
        vault = PostgresVault(database, sealer)
        return await seal_anew(vault, data_keys=data_keys), sealer.sealing_id
    finally:
        await database.close()


def _sealer_and_dsn(settings: Settings) -> tuple[Sealer, str]:
    from posthouse.adapters.postgres.examine import embedded_dsn
    from posthouse.adapters.system.datadir import default_data_dir
    from posthouse.adapters.system.keyring import Sealer, load_keyring
    from posthouse.ports.diagnosis import Trouble

    data_dir = None if settings.database_url is not None else settings.data_dir or default_data_dir()
    keyring = load_keyring(
        value=None if settings.master_key is None else settings.master_key.get_secret_value(),
        file=settings.master_key_file,
        data_dir=data_dir,
        create=False,
    )
    if settings.database_url is not None:
        dsn = (settings.database_direct_url or settings.database_url).get_secret_value()
        return Sealer(keyring), dsn
    assert data_dir is not None
    found = embedded_dsn(data_dir)
    if isinstance(found, Trouble):
        raise SetupError(found.told)
    return Sealer(keyring), found
