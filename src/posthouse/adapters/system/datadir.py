"""The data directory: where it is by default, who may enter it, and that one Posthouse at a time uses it."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import platformdirs

from posthouse.domain.errors import SetupError

if sys.platform != "win32":
    import fcntl

LOCK_FILE: Final = "posthouse.lock"

# Root's directory may be passed through by a group: the embedded PostgreSQL, which never runs as root, lives inside.
_PRIVATE: Final = 0o700
_PASSABLE: Final = 0o710


def default_data_dir() -> Path:
    """The platform's folder for a user's data; for root on Linux /var/lib/posthouse, since nobody else enters /root."""
    if sys.platform == "linux" and os.geteuid() == 0:
        return Path("/var/lib/posthouse")
    return platformdirs.user_data_path("posthouse", appauthor=False)


class DataDir:
    """A data directory held by this process until `release`, or until it dies, however it dies."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path: Final = path
        self._descriptor: int | None = descriptor

    @classmethod
    def hold(cls, path: Path) -> Self:
        """Make the directory where there is none, private to us, and take its lock.

        Raises: SetupError when another process holds it, and when the directory is not ours to use.
        """
        if sys.platform == "win32":
            raise SetupError("a data directory needs Linux or macOS; on Windows, run Posthouse in WSL.")
        path = path.resolve()
        try:
            path.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
            _make_private(path)
            # O_NOFOLLOW: as root, never write through a link that somebody put here.
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(path / LOCK_FILE, flags, 0o600)
        except OSError as error:
            is_file = isinstance(error, FileExistsError | NotADirectoryError)
            why = "a file is there and no directory" if is_file else error.strerror
            raise SetupError(
                f"the data directory {path} cannot be used: {why} ({error.filename}). Choose another with --data-dir."
            ) from error
        try:
            _take(descriptor, path)
        except BaseException:
            os.close(descriptor)
            raise
        return cls(path, descriptor)

    def release(self) -> None:
        """Let others have it. The lock file stays: whoever removes one races with whoever takes it."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.ftruncate(descriptor, 0)
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


def _make_private(path: Path) -> None:
    """Narrow the permissions of a directory that is ours; never widen them, and never touch somebody else's.

    Ours is one that is empty or has been held before. One that was in use for other things keeps its permissions, and
    is refused where others could put files into it.
    """
    status = path.stat()
    mode = stat.S_IMODE(status.st_mode)
    root = os.geteuid() == 0
    if status.st_uid != os.geteuid() and not root:
        raise SetupError(
            f"the data directory {path} belongs to the user with uid {status.st_uid}, and Posthouse runs with uid "
            f"{os.geteuid()}. Run Posthouse as its owner, or choose another --data-dir."
        )
    if (path / LOCK_FILE).exists() or not any(path.iterdir()):
        narrow = mode & (_PASSABLE if root else _PRIVATE)
        if narrow != mode:
            path.chmod(narrow)
    elif mode & 0o022:
        raise SetupError(
            f"the directory {path} holds other things, and others can write to it (mode {mode:04o}). "
            "Choose an empty or a new directory with --data-dir."
        )


def _take(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode("ascii", errors="replace").strip()
        raise SetupError(
            f"the data directory {path} is in use by process {holder or '(unknown)'}. Stop that Posthouse, or choose "
            "another --data-dir."
        ) from None
    except OSError as error:
        raise SetupError(
            f"the data directory {path} cannot be locked: {error.strerror}. Choose a local disk."
        ) from error
    owner = path.stat()
    if os.geteuid() == 0 and owner.st_uid != 0:
        os.fchown(descriptor, owner.st_uid, -1)  # the directory's owner may be the next to run Posthouse
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
