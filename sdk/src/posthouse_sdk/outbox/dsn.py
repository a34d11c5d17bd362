"""Where an outbox is: `postgresql://…`, `mysql://…` (MariaDB's, too) or `sqlite:///path`."""

from __future__ import annotations

from typing import Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from posthouse_sdk.outbox.errors import DsnError
from posthouse_sdk.outbox.schema import Dialect

_DIALECTS: Final[dict[str, Dialect]] = {
    "postgresql": "postgresql",
    "postgres": "postgresql",
    "mysql": "mysql",
    "mariadb": "mysql",
    "sqlite": "sqlite",
}
FORMS: Final = (
    "postgresql://user:password@host:5432/database, mysql://user:password@host:3306/database or sqlite:///path/to/file"
)


class Dsn(NamedTuple):
    """A DSN that was read. `url` is it without the name of a SQLAlchemy driver; `path` is a file's, for SQLite."""

    dialect: Dialect
    url: str
    host: str | None
    port: int | None
    user: str | None
    password: str | None
    path: str
    query: dict[str, str]

    @property
    def shown(self) -> str:
        """It without its password, for logs."""
        if self.dialect == "sqlite":
            return f"sqlite:///{self.path}"
        port = "" if self.port is None else f":{self.port}"
        user = "" if self.user is None else f"{self.user}@"
        return f"{self.dialect}://{user}{self.host or ''}{port}/{self.path}"


def parse(text: str) -> Dsn:
    """Read a DSN; `postgresql+asyncpg://`, as SQLAlchemy writes it, will do. Raises DsnError, which does not quote it."""
    scheme, separator, rest = text.partition("://")
    dialect = _DIALECTS.get(scheme.partition("+")[0].lower()) if separator else None
    if dialect is None:
        raise DsnError(f"the DSN does not begin as one of a database that can hold an outbox; give {FORMS}")
    if dialect == "sqlite":
        path, _, options = rest.partition("?")
        if not path.startswith("/") or len(path) < 2 or path == "/:memory:":
            raise DsnError("a SQLite outbox is a file: sqlite:///relative/path or sqlite:////absolute/path")
        return Dsn(dialect, text, None, None, None, None, unquote(path[1:]), dict(parse_qsl(options)))
    url = f"{dialect}://{rest}"
    try:
        parts = urlsplit(url)
        hosts = parts.netloc.rpartition("@")[2]
        port = None if "," in hosts else parts.port
        host = hosts if "," in hosts else parts.hostname
    except ValueError:
        raise DsnError(
            f"the DSN cannot be read; give {FORMS}. In a password, write @ : / ? # % as %40 %3A %2F %3F %23 %25"
        ) from None
    if "@" in parts.path + parts.query:
        raise DsnError("the DSN has an @ behind its host: in a password, write @ : / ? # % as %40 %3A %2F %3F %23 %25")
    return Dsn(
        dialect,
        url,
        host,
        port,
        None if parts.username is None else unquote(parts.username),
        None if parts.password is None else unquote(parts.password),
        unquote(parts.path[1:]),
        dict(parse_qsl(parts.query)),
    )
