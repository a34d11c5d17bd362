"""Databases of others for tests: MariaDB, where it is installed (`make test-databases`).

One server a session, on a socket in a folder of its own and no port, with nothing synced to disk; each test gets a database.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from tests.folders import FAST

PATIENCE_SECONDS: Final = 60
PREFIX: Final = "posthouse-mariadb-"


def mariadb_program() -> str | None:
    """The server, where it is installed. Debian's is not on everybody's PATH."""
    return shutil.which("mariadbd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


class MariaDb:
    """A server in a folder. It keeps what was committed when it is killed, if it is started with `durable`: as long as the
    machine lives. It asks who one is if it is `guarded`: that needs tables of users, which take seconds to make."""

    def __init__(self, folder: Path, *, durable: bool = False, guarded: bool = False) -> None:
        self.socket = folder / "socket"
        self._folder = folder
        self._durable = durable
        self._guarded = guarded
        self._process: subprocess.Popen[bytes] | None = None

    def connect(self, database: str | None = None, **options: Any) -> Any:
        import pymysql

        return pymysql.connect(**{"unix_socket": str(self.socket), "user": "root", "database": database, **options})

    def fresh_database(self) -> str:
        """The DSN of a new database."""
        name = f"test_{secrets.token_hex(6)}"
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
        return f"mysql://root@localhost/{name}?unix_socket={self.socket}"

    def drop_database(self, dsn: str) -> None:
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE {dsn.partition('?')[0].rpartition('/')[2]}")

    def start(self) -> None:
        """Start, and wait until it answers."""
        program = mariadb_program()
        assert program is not None
        user = ["--user=root"] if os.geteuid() == 0 else []
        data = self._folder / "data"
        data.mkdir(exist_ok=True)
        self.socket.unlink(missing_ok=True)
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    program,
                    "--no-defaults",
                    f"--datadir={data}",
                    # One of its own: a server that starts clears away the temporary tables that lie there.
                    f"--tmpdir={data}",
                    f"--socket={self.socket}",
                    f"--pid-file={self._folder / 'pid'}",
                    "--skip-networking",
                    f"--innodb-flush-log-at-trx-commit={2 if self._durable else 0}",
                    "--innodb-buffer-pool-size=32M",
                    "--innodb-log-file-size=8M",
                    *([] if self._guarded else ["--skip-grant-tables"]),
                    *user,
                ],
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            # Not by the driver: it leaves a socket open that could not connect.
            with socket.socket(socket.AF_UNIX) as probe:
                if probe.connect_ex(str(self.socket)) == 0:
                    return
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError((self._folder / "log").read_text("utf-8", "replace")[-2000:])
            time.sleep(0.05)

    def kill(self) -> None:
        """kill -9."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()


@contextmanager
def mariadb_server(*, durable: bool = False, guarded: bool = False) -> Iterator[MariaDb]:
    """Start a server, and end it."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=FAST))
    server = MariaDb(folder, durable=durable, guarded=guarded)
    try:
        if guarded:
            make = [
                "mariadb-install-db",
                "--no-defaults",
                f"--datadir={folder / 'data'}",
                "--user=root",
                "--skip-test-db",
            ]
            subprocess.run([*make, "--auth-root-authentication-method=normal"], check=True, capture_output=True)
        server.start()
        if durable:  # one that was made a moment ago, and never ended, cannot be recovered
            server.drop_database(server.fresh_database())  # it listens before it can be told to end
            server.end()
            server.start()
        yield server
    finally:
        server.end()
        shutil.rmtree(folder, ignore_errors=True)


def needs_mariadb() -> None:
    if mariadb_program() is None:
        pytest.skip("MariaDB is not installed; `make test-databases` installs it where that is permitted")


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDb]:
    needs_mariadb()
    with mariadb_server() as server:
        yield server
