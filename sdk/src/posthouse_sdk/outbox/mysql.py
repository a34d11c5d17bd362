"""An outbox on MySQL or MariaDB, by `pymysql`: polled."""

from __future__ import annotations

import ssl
from typing import Any, Final

from posthouse_sdk.outbox.dsn import Dsn
from posthouse_sdk.outbox.errors import DatabaseError, DriverMissingError, DsnError, NotInstalledError
from posthouse_sdk.outbox.threaded import ThreadedStore, Words

CONNECT_SECONDS: Final = 10
STATEMENT_SECONDS: Final = 30
_ACCESS: Final = {1044, 1045, 1049, 1142, 1143, 1698}
_NO_TABLE: Final = 1146
_OPTIONS: Final = frozenset({"unix_socket", "ssl_ca", "ssl"})


def check_options(dsn: Dsn) -> None:
    """Raises DsnError for an option that is not known."""
    if unknown := set(dsn.query) - _OPTIONS - {"charset"}:
        raise DsnError(f"the DSN has the unknown option {min(unknown)}; there are {', '.join(sorted(_OPTIONS))}")


def connect(driver: Any, dsn: Dsn) -> Any:
    """A connection of `pymysql` that commits each statement by itself. Raises DsnError, and the driver's errors."""
    check_options(dsn)
    security: Any = None
    if "ssl_ca" in dsn.query or dsn.query.get("ssl") in ("true", "1"):
        security = ssl.create_default_context(cafile=dsn.query.get("ssl_ca"))
    return driver.connect(
        host=dsn.host or "localhost",
        port=dsn.port or 3306,
        user=dsn.user,
        password=dsn.password or "",
        database=dsn.path or None,
        unix_socket=dsn.query.get("unix_socket"),
        charset="utf8mb4",
        autocommit=True,
        connect_timeout=CONNECT_SECONDS,
        read_timeout=STATEMENT_SECONDS,
        write_timeout=STATEMENT_SECONDS,
        ssl=security,
        # A snapshot held from one statement to the next would hide what was committed since.
        init_command="SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    )


class MysqlStore(ThreadedStore):
    words = Words(
        place="%s",
        now="utc_timestamp(6)",
        later="utc_timestamp(6) + INTERVAL (%s * 1000000) MICROSECOND",
        seconds_from="timestampdiff(MICROSECOND, {}, utc_timestamp(6)) / 1e6",
        bytes_of="octet_length({})",
        line="concat(coalesce(app, ''), char(31 USING utf8mb4), event_key)",
        begin="START TRANSACTION",
        unix_time="timestampdiff(MICROSECOND, '1970-01-01', utc_timestamp(6)) / 1e6",
    )
    poll_seconds = 0.05

    def __init__(self, dsn: Dsn) -> None:
        try:
            import pymysql
        except ImportError:
            raise DriverMissingError(
                "the relay reads a MySQL or MariaDB outbox with pymysql: pip install 'posthouse-sdk[mysql]'"
            ) from None
        check_options(dsn)
        super().__init__(dsn)
        self._driver = pymysql

    def _connect(self) -> Any:
        return connect(self._driver, self._dsn)

    def _has_lease_table(self, cursor: Any) -> bool:
        cursor.execute("SHOW TABLES LIKE 'posthouse\\_outbox\\_lease'")
        return cursor.fetchone() is not None

    def _translated(self, error: Exception) -> Exception | None:
        where = self._dsn.shown
        if isinstance(error, self._driver.MySQLError):
            code = error.args[0] if error.args else None
            if code == _NO_TABLE:
                return NotInstalledError(f"there is no outbox in {where}: `posthouse outbox install --dsn …` makes it")
            if code in _ACCESS:
                return DatabaseError(
                    f"{where} refuses us: {error.args[-1]}. Check user, password and database of --dsn; a relay needs "
                    "SELECT, INSERT, UPDATE and DELETE on the three posthouse_outbox tables",
                    refused=True,
                )
            return DatabaseError(f"{where}: {error.args[-1] if error.args else error}")
        if isinstance(error, OSError | ssl.SSLError):
            return DatabaseError(f"{where} cannot be reached: {error}")
        return None
