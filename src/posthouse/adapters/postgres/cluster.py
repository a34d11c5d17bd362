"""The embedded PostgreSQL's files: what lies where in the data directory, and how each comes to be.

    <data_dir>/postgres/            the cluster, 0700, owned by the account that PostgreSQL runs as
    <data_dir>/postgres.password    the superuser's generated password, 0600, Posthouse's own
    <data_dir>/run/                 the Unix socket, 0700, owned by that account
    <data_dir>/log/postgres.log     what the server says; `postgres.log.1` is the one before
    <data_dir>/runtime-<version>/   a copy of the programs, only where the account cannot reach the installed ones

Everything here expects the caller to hold the data directory's lock.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from posthouse.adapters.postgres.runtime import MAJOR, Account, first_closed, run
from posthouse.domain.errors import SetupError

ROLE: Final = "posthouse"
DATABASE: Final = "posthouse"
PORT: Final = 5432
"""Only the name of the socket file: the server listens on no network address."""

LOG_BYTES_MAX: Final = 16 * 1024 * 1024
SOCKET_PATH_BYTES_MAX: Final = 103 if sys.platform == "darwin" else 107
"""`sun_path` of the platform, less its closing NUL."""

_SETTINGS_FILE: Final = "posthouse.conf"
# How the names begin that Posthouse puts into a data directory; a directory with others in it was somebody's before.
_OURS: Final = ("posthouse", "postgres", "master.key", "run", "log")


class Cluster:
    """The files of one cluster in `data_dir`, which PostgreSQL uses as `account` (None: as we are)."""

    def __init__(self, data_dir: Path, account: Account | None) -> None:
        self.data_dir = data_dir
        self.account = account
        self.path = data_dir / "postgres"
        self.log = data_dir / "log" / "postgres.log"
        self.name = f"posthouse-{hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:12]}"

    def prepare(self) -> None:
        """Make the data directory and let the account through; SetupError where it cannot get there."""
        try:
            self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self.account is None:
                self._require_own(self.data_dir)
            else:
                self._let_through(self.account)
            self._folder(self.log.parent, None)
            if self.path.is_dir():
                self._check_version()
                if self.account is not None and self.path.stat().st_uid != self.account.uid:
                    self._give_all(self.path, self.account)  # as after a copy made by root
        except OSError as error:
            raise SetupError(f"the data directory {self.data_dir} cannot be used: {error}") from error

    def _require_own(self, path: Path) -> None:
        owner = path.stat().st_uid
        if owner != os.geteuid():
            raise SetupError(
                f"{path} belongs to the user with uid {owner}, and Posthouse runs with uid {os.geteuid()}. "
                "Run Posthouse as its owner, or choose another --data-dir."
            )

    def _let_through(self, account: Account) -> None:
        """Give the account's group the right to pass through the data directory (not to list it), if it needs that.

        Root stays the owner: the account can neither replace nor remove what Posthouse keeps beside the cluster.
        """
        closed = first_closed(self.data_dir, account)
        if closed == self.data_dir and self._is_ours():
            os.chown(self.data_dir, 0, account.gid)
            self.data_dir.chmod(0o710)
            closed = first_closed(self.data_dir, account)
        if closed is not None:
            raise SetupError(
                f"PostgreSQL does not run as root, so it runs as the user {account.name} (uid {account.uid}), and that "
                f"user cannot enter {closed} on the way to the data directory {self.data_dir}. "
                "Choose another --data-dir, such as /var/lib/posthouse, or run Posthouse as an ordinary user. "
                "(Posthouse changes no permissions of a folder that is not its own.)"
            )

    def _is_ours(self) -> bool:
        return all(name.startswith(_OURS) for name in os.listdir(self.data_dir))

    def _check_version(self) -> None:
        try:
            found = (self.path / "PG_VERSION").read_text("ascii").strip()
        except FileNotFoundError:
            raise SetupError(
                f"{self.path} is not a PostgreSQL cluster: it has no file PG_VERSION. Restore the data directory "
                "from a backup, or move this folder away to start with an empty database."
            ) from None
        if found != str(MAJOR):
            raise SetupError(
                f"{self.path} was made by PostgreSQL {found}, and this Posthouse brings PostgreSQL {MAJOR}, which does "
                f"not read it. Dump the database with pg_dump {found} while the Posthouse that made it runs, start "
                "this one with an empty --data-dir, and restore the dump into that."
            )

    def password(self) -> str:
        """The superuser's password, generated when there is no cluster yet."""
        path = self.data_dir / "postgres.password"
        with suppress(FileNotFoundError):
            return path.read_text("ascii").strip()
        if self.path.exists():
            raise SetupError(
                f"{path}, the password of the database in {self.path}, is missing. Restore it from the backup of the "
                "data directory."
            )
        password = secrets.token_urlsafe(32)
        self._write(path, f"{password}\n", None)
        return password

    def create(self, install: Path, password: str, *, durable: bool) -> bool:
        """Make the cluster if there is none; whether it was made now.

        It is made under another name and renamed when complete, so that a crash leaves nothing that looks like one.
        """
        if self.path.exists():
            return False
        for abandoned in self.data_dir.glob("postgres.new-*"):
            shutil.rmtree(abandoned, ignore_errors=True)
        scratch = Path(tempfile.mkdtemp(prefix="postgres.new-", dir=self.data_dir))
        self._give(scratch, self.account)
        password_file, made = scratch / "password", scratch / "cluster"
        self._write(password_file, password, self.account)
        # One syncfs is faster than an fsync for each of a thousand files, on slow disks by far.
        sync = ["--no-sync"] if not durable else ["--sync-method=syncfs"] if sys.platform == "linux" else []
        command: list[str | Path] = [install / "bin" / "initdb", "--pgdata", made, f"--pwfile={password_file}", *sync]
        command += [f"--username={ROLE}", "--auth=scram-sha-256", "--encoding=UTF8", "--data-checksums"]
        command += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions"]
        done = run(command, self.account)
        if done.returncode != 0:
            shutil.rmtree(scratch, ignore_errors=True)
            raise SetupError(f"initdb could not make the database in {self.data_dir}: {_reason(done.stdout)}")
        with open(made / "postgresql.conf", "a", encoding="ascii") as conf:
            conf.write(f"\ninclude '{_SETTINGS_FILE}'\n")
            conf.flush()
            os.fsync(conf.fileno())
        made.rename(self.path)
        _sync_folder(self.data_dir)
        shutil.rmtree(scratch, ignore_errors=True)
        return True

    def wal_compression(self, install: Path) -> str:
        """`lz4` where this build knows it, otherwise `pglz`."""
        ask: list[str | Path] = [
            install / "bin" / "postgres",
            "-D",
            self.path,
            "-C",
            "wal_compression",
            "-c",
            "wal_compression=lz4",
        ]
        return "lz4" if run(ask, self.account).returncode == 0 else "pglz"

    def settings(self) -> str | None:
        """The settings that the last start wrote; None before the first."""
        with suppress(FileNotFoundError):
            return (self.path / _SETTINGS_FILE).read_text("utf-8")
        return None

    def write_settings(self, text: str) -> None:
        self._write(self.path / _SETTINGS_FILE, text, self.account)

    def socket_dir(self) -> Path:
        """The folder of the Unix socket: `run/`, or a private one under /tmp where that path will not do for a socket.

        It may be too long, or hold what the driver or the settings file take for a separator. The name of the folder
        under /tmp is kept in `run.path`, so that a later start finds a server that is still running.
        """
        inside = self.data_dir / "run"
        speakable = str(inside).isprintable() and "," not in str(inside)
        if speakable and len(os.fsencode(inside / socket_name())) <= SOCKET_PATH_BYTES_MAX:
            self._folder(inside, self.account)
            return inside
        record = self.data_dir / "run.path"
        with suppress(FileNotFoundError):
            recorded = Path(record.read_text("utf-8").strip())
            if self._is_private(recorded):
                return recorded
        outside = Path(tempfile.mkdtemp(prefix="posthouse-", dir="/tmp"))
        self._give(outside, self.account)
        self._write(record, f"{outside}\n", None)
        return outside

    def forget_socket_dir(self, folder: Path) -> None:
        """Take away the folder under /tmp after the server has stopped; `run/` stays."""
        if folder.parent != self.data_dir:
            shutil.rmtree(folder, ignore_errors=True)
            (self.data_dir / "run.path").unlink(missing_ok=True)

    def _is_private(self, folder: Path) -> bool:
        try:
            status = folder.lstat()
        except FileNotFoundError:
            return False
        owner = os.geteuid() if self.account is None else self.account.uid
        return stat.S_ISDIR(status.st_mode) and status.st_uid == owner and not status.st_mode & 0o077

    def open_log(self) -> int:
        """A descriptor that appends to the server's log, which starts anew when it has grown over `LOG_BYTES_MAX`."""
        with suppress(FileNotFoundError):
            if self.log.stat().st_size > LOG_BYTES_MAX:
                self.log.replace(self.log.with_name(f"{self.log.name}.1"))
        descriptor = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        self._give(descriptor, None)
        return descriptor

    def _folder(self, path: Path, account: Account | None) -> None:
        """A private folder in the data directory."""
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)
            self._give(path, account)
        if not stat.S_ISDIR(path.lstat().st_mode):
            raise SetupError(f"{path} is not a folder: move it away; Posthouse makes one there.")

    def _write(self, path: Path, text: str, account: Account | None) -> None:
        """Put a 0600 file in place all at once and durably, whatever name or link is there."""
        draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as opened:
            self._give(descriptor, account)
            opened.write(text)
            opened.flush()
            os.fsync(descriptor)
        draft.replace(path)
        _sync_folder(path.parent)

    def _give(self, path: Path | int, account: Account | None) -> None:
        """Give a file to `account`; None is Posthouse itself: the data directory's owner, even where root writes it."""
        if os.geteuid() == 0:
            uid, gid = (account.uid, account.gid) if account else (self.data_dir.stat().st_uid, -1)
            if isinstance(path, int):
                os.fchown(path, uid, gid)
            else:
                os.chown(path, uid, gid, follow_symlinks=False)

    def _give_all(self, tree: Path, account: Account) -> None:
        for parent, folders, files in os.walk(tree):
            for name in (*folders, *files):
                self._give(Path(parent, name), account)
        self._give(tree, account)


def socket_name() -> str:
    return f".s.PGSQL.{PORT}"


def render_settings(
    *,
    cluster_name: str,
    socket_dir: Path,
    shared_buffers_mb: int,
    max_connections: int,
    wal_compression: str,
    durable: bool,
    extra: Mapping[str, str],
) -> str:
    """The text of `posthouse.conf`, in which `extra` has the last word.

    The log never shows statements, parameters or details: those of a refused row hold the row, and so a payload.
    """
    escaped_dir = str(socket_dir).replace('"', '""')
    settings = {
        "cluster_name": cluster_name,
        "listen_addresses": "",
        "port": str(PORT),
        "unix_socket_directories": f'"{escaped_dir}"',
        "unix_socket_permissions": "0700",
        "password_encryption": "scram-sha-256",
        "max_connections": str(max_connections),
        "shared_buffers": f"{shared_buffers_mb}MB",
        "max_wal_size": "4GB",
        "checkpoint_timeout": "15min",
        "wal_compression": wal_compression,
        "fsync": "on" if durable else "off",
        "synchronous_commit": "on",  # not durable is what a crash of the machine takes, never one of the server
        "full_page_writes": "on" if durable else "off",
        # After a crash: one call for the file system rather than one for each of a thousand files.
        "recovery_init_sync_method": "syncfs" if sys.platform == "linux" else "fsync",
        "jit": "off",
        "autovacuum": "on",
        "autovacuum_naptime": "15s",
        "autovacuum_vacuum_scale_factor": "0.1",
        "autovacuum_analyze_scale_factor": "0.05",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_destination": "stderr",
        "logging_collector": "off",
        "log_line_prefix": "%m [%p] ",
        "log_error_verbosity": "terse",
        "log_statement": "none",
        "log_min_error_statement": "panic",
        "log_min_duration_statement": "-1",
        "log_parameter_max_length": "0",
        "log_parameter_max_length_on_error": "0",
    } | dict(extra)
    lines = ["# Written by Posthouse at every start; change nothing here. ALTER SYSTEM has precedence over this file."]
    for name, value in settings.items():
        escaped = value.replace("\\", "\\\\").replace("'", "''")
        lines.append(f"{name} = '{escaped}'")
    return "\n".join(lines) + "\n"


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    telling = [line for line in lines if "FATAL" in line or "error:" in line]
    return (telling or lines or ["it said nothing"])[-1]
