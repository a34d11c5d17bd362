"""A DSN in words: how to show one without its secrets, and what to tell somebody whose database cannot be reached."""

from __future__ import annotations

import ssl
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import asyncpg

from posthouse.adapters.postgres.hosts import Hosts
from posthouse.domain.errors import PosthouseError, SetupError, StoreUnavailable
from posthouse.domain.limits import STORE_CONNECT_SECONDS

_SCHEMES: Final = ("postgresql", "postgres")
_UNREADABLE: Final = "a DSN that cannot be read"
_LOOKS_LIKE: Final = (
    "It looks like postgresql://user:password@host:5432/database; in the password, write @ : / ? # % as "
    "%40 %3A %2F %3F %23 %25"
)
# Parameters that say where a database is; any other is left out, since it may be or name a secret.
_SHOWN: Final = ("host", "port", "dbname", "sslmode", "target_session_attrs")


def dsn_for_humans(dsn: str) -> str:
    """The DSN without password, fit for logs. One that is not clearly a URL is not shown: it may be all secret."""
    try:
        parts = urlsplit(dsn)
        parameters = parse_qsl(parts.query)
    except ValueError:
        return _UNREADABLE
    # An "@" after the host, or a host with a strange port, is what a password with "/", "?" or "#" in it looks like.
    rest = parts.path + parts.query + parts.fragment
    user, at, hosts = parts.netloc.rpartition("@")
    ports = [host.rpartition(":")[2] for host in hosts.split(",") if ":" in host and not host.endswith("]")]
    if parts.scheme not in _SCHEMES or "@" in rest or not all(port.isdigit() for port in ports):
        return _UNREADABLE
    shown = urlencode([(name, value) for name, value in parameters if name in _SHOWN], safe="/")
    name = quote(unquote(user.partition(":")[0]))
    return f"{parts.scheme}://{name}{at}{hosts}{parts.path}" + (f"?{shown}" if shown else "")


def check_dsn(dsn: str) -> None:
    """Raises: SetupError for what is no URL of PostgreSQL at all."""
    try:
        if urlsplit(dsn).scheme in _SCHEMES:  # the driver takes an empty one for its defaults
            return
    except ValueError:
        pass
    raise SetupError(f"this is no URL of PostgreSQL. {_LOOKS_LIKE}")


async def connect(dsn: str) -> asyncpg.Connection[asyncpg.Record]:
    """One connection outside any pool, for work at start-up. It prepares nothing, so that any pooler will do.

    Raises: SetupError and StoreUnavailable, as `unreachable` words them.
    """
    try:
        check_dsn(dsn)
        return await Hosts(dsn).connect(statement_cache_size=0)
    except (asyncpg.InterfaceError, ValueError, SetupError):
        # Without its cause: the driver may quote the part of the DSN that it could not read.
        raise SetupError(f"--database-url cannot be read. {_LOOKS_LIKE}") from None
    except (asyncpg.PostgresError, asyncpg.InternalClientError, OSError) as error:
        raise unreachable(dsn, error) from error


def unreachable(dsn: str, error: Exception) -> PosthouseError:
    """Why no connection could be had, and what to check: SetupError where only a change of settings helps."""
    where = dsn_for_humans(dsn)
    match error:
        case asyncpg.InvalidAuthorizationSpecificationError() | asyncpg.InvalidPasswordError():
            return SetupError(
                f"PostgreSQL lets us not in ({where}): {error}. Check user and password in --database-url, "
                "and the server's pg_hba.conf."
            )
        case asyncpg.InvalidCatalogNameError():
            return SetupError(f"{error} ({where}). Create it, for example with createdb, or correct --database-url.")
        case asyncpg.InsufficientPrivilegeError():
            return SetupError(f"{error} ({where}). Grant CONNECT on the database to the user of --database-url.")
        case asyncpg.TooManyConnectionsError():
            return StoreUnavailable(f"PostgreSQL has no connection left ({where}): raise its max_connections.")
        case asyncpg.TargetServerAttributeNotMatched():
            return StoreUnavailable(
                f"none of the hosts takes writes now ({where}): they are standbys, until one of them is promoted."
            )
        case asyncpg.PostgresError():
            return StoreUnavailable(f"PostgreSQL does not take connections now ({where}): {error}.")
        case ssl.SSLCertVerificationError():
            return SetupError(
                f"the certificate of PostgreSQL is not trusted ({where}): {error.verify_message}. "
                "Check sslmode and sslrootcert in --database-url."
            )
        case TimeoutError():
            return StoreUnavailable(
                f"PostgreSQL did not answer within {STORE_CONNECT_SECONDS:.0f} s ({where}). Check the host in "
                "--database-url, and what lies between: firewall, VPN, security group."
            )
        case _:
            return StoreUnavailable(
                f"PostgreSQL cannot be reached ({where}): {_reason(error)}. Check that it runs, that it listens there, "
                "and host and port in --database-url."
            )


def _reason(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
