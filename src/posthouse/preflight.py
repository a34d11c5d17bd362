"""What can be wrong with settings beyond their form, looked at before anything begins: no database is started for a server that
cannot go on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import NoReturn

from posthouse.adapters.http.proxy import parse_proxy
from posthouse.adapters.http.tls import check_authorities
from posthouse.adapters.postgres.dsn import check_dsn
from posthouse.adapters.system.keyring import load_keyring
from posthouse.config import Settings, bad_settings
from posthouse.domain.errors import SetupError
from posthouse.manage.keys import check_given
from posthouse.manage.profiles import Profiles, in_directory, shipped
from posthouse.process import NO_MASTER_KEY, NO_POOLER


def check_settings(settings: Settings, flags: Collection[str] = ()) -> None:
    """Raises BadSettings, which names each one that is wrong as it was given; `flags` are the settings that flags said."""
    wrong = [((name,), why) for name, look in _looks(settings) if (why := _why_not(look)) is not None]
    if wrong:
        raise bad_settings(wrong, flags)


def _why_not(look: Callable[[], object]) -> str | None:
    try:
        look()
    except SetupError as error:
        return str(error)
    return None


def _looks(settings: Settings) -> Iterator[tuple[str, Callable[[], object]]]:
    """Each setting that is there, and what raises SetupError where it cannot be used."""
    url, direct, own_key, admin = (
        None if secret is None else secret.get_secret_value()
        for secret in (settings.database_url, settings.database_direct_url, settings.master_key, settings.admin_key)
    )
    if url is not None:
        yield "database_url", lambda: check_dsn(url)
    if direct is not None:
        yield "database_direct_url", lambda: _refuse(NO_POOLER) if url is None else check_dsn(direct)
    if own_key is not None:
        yield "master_key", lambda: load_keyring(value=own_key)
    if settings.master_key_file is not None:
        yield "master_key_file", lambda: load_keyring(file=settings.master_key_file)
    elif url is not None and own_key is None:
        yield "master_key", lambda: _refuse(NO_MASTER_KEY)
    if admin is not None:
        yield "admin_key", lambda: check_given(admin)
    if settings.ca_file is not None:
        authorities = settings.ca_file
        yield "ca_file", lambda: check_authorities(authorities)
    if settings.proxies:
        yield "proxies", lambda: [parse_proxy(name, at.get_secret_value()) for name, at in settings.proxies.items()]
    if settings.profiles is not None:
        folder = settings.profiles
        yield "profiles", lambda: Profiles(shipped(), in_directory(folder))


def _refuse(why: str) -> NoReturn:
    raise SetupError(why)
