"""The master keys (key-encryption keys): from a setting, a file, or made on first use. They seal the data keys of apps, and
those seal secrets.

Several keys may be loaded: the first one seals, all of them open; so a key is rotated by putting a new one in front.
"""

from __future__ import annotations

import binascii
import contextlib
import hashlib
import os
import re
import stat
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from posthouse.domain.cache_use import CacheFacts, CacheUse
from posthouse.domain.errors import SetupError, Unreadable
from posthouse.domain.limits import OPENED_DATA_KEYS_MAX
from posthouse.ports.sealing import DataKey
from posthouse.wire.sealing import (
    DATA_KEY,
    KEY_BYTES,
    KEY_ID_LENGTH,
    NONCE_BYTES,
    binding,
    data_key_version,
    open_sealed,
    open_with_data_key,
    seal,
    seal_with_data_key,
)

MASTER_KEY_FILE: Final = "master.key"
KEY_FILE_BYTES_MAX: Final = 64 * 1024

_HOW_TO_MAKE_ONE: Final = "make one with: openssl rand -base64 32"
_HEX: Final = re.compile(r"[0-9A-Fa-f]{64}")


class Keyring:
    """Master keys in the clear, by key id, the sealing one first. Its text form shows ids only."""

    __slots__ = ("_keys", "_random", "sealing_id")

    def __init__(self, keys: Iterable[bytes], *, random: Callable[[int], bytes] = os.urandom) -> None:
        self._keys: Final[dict[str, bytes]] = {}
        for key in keys:
            if len(key) != KEY_BYTES:
                raise SetupError(f"a master key has {KEY_BYTES} bytes, one of these has {len(key)}; {_HOW_TO_MAKE_ONE}")
            if self._keys.setdefault(key_id(key), key) != key:
                raise SetupError(f"two different master keys share the id {key_id(key)}: replace one of them")
        if not self._keys:
            raise SetupError(f"there is no master key; {_HOW_TO_MAKE_ONE}")
        self.sealing_id: Final = next(iter(self._keys))
        self._random: Final = random

    def __repr__(self) -> str:
        return f"Keyring({', '.join(self._keys)})"

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all keys, the sealing one first."""
        return tuple(self._keys)

    def seal(self, plaintext: bytes, *, bound_to: bytes) -> bytes:
        """Seal with the first key, under a fresh nonce (see `wire.sealing`)."""
        nonce = self._random(NONCE_BYTES)
        return seal(self._keys[self.sealing_id], self.sealing_id, plaintext, nonce=nonce, bound_to=bound_to)

    def open(self, sealed: bytes, *, bound_to: bytes) -> bytes:
        """Open with whichever key sealed it. Raises: Unreadable (see `wire.sealing.open_sealed`)."""
        return open_sealed(self._keys, sealed, bound_to=bound_to)


def key_id(key: bytes) -> str:
    """The first eight hexadecimal digits of the key's SHA-256: says which key it is and nothing about it."""
    return hashlib.sha256(key).hexdigest()[:KEY_ID_LENGTH]


class Sealer:
    """`ports.directory.Sealer` with a keyring. Data keys that were opened are kept, the most recently used of them: a data key
    is looked at for every secret that is loaded."""

    def __init__(
        self,
        keyring: Keyring,
        *,
        kept_max: int = OPENED_DATA_KEYS_MAX,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._keyring: Final = keyring
        self._random: Final = random
        self._kept_max: Final = kept_max
        self._opened: Final[OrderedDict[DataKey, bytes]] = OrderedDict()
        self._use = CacheUse()
        self._met_unreadable = False

    @property
    def sealing_id(self) -> str:
        return self._keyring.sealing_id

    def new_data_key(self, app_id: bytes, version: int) -> DataKey:
        sealed = self._keyring.seal(self._random(KEY_BYTES), bound_to=binding(app_id, DATA_KEY, version))
        return DataKey(app_id, version, sealed)

    def seal(self, plaintext: bytes, owner: bytes, kind: str, version: int, data_key: DataKey) -> bytes:
        key, nonce = self._open_data_key(data_key), self._random(NONCE_BYTES)
        return seal_with_data_key(key, data_key.version, plaintext, nonce=nonce, bound_to=binding(owner, kind, version))

    def seal_directly(self, plaintext: bytes, owner: bytes, kind: str, version: int) -> bytes:
        return self._keyring.seal(plaintext, bound_to=binding(owner, kind, version))

    def open(self, sealed: bytes, owner: bytes, kind: str, version: int, data_key: DataKey | None = None) -> bytes:
        try:
            return self._open(sealed, owner, kind, version, data_key)
        except Unreadable:
            self._met_unreadable = True
            raise

    def _open(self, sealed: bytes, owner: bytes, kind: str, version: int, data_key: DataKey | None) -> bytes:
        bound_to = binding(owner, kind, version)
        needed = data_key_version(sealed)
        if needed is None:
            return self._keyring.open(sealed, bound_to=bound_to)
        if data_key is None or data_key.version != needed:
            raise Unreadable(
                f"a secret is sealed with data key {needed} of its app, which is not there: restore it from a backup, "
                "or set the secret anew"
            )
        return open_with_data_key(self._open_data_key(data_key), sealed, bound_to=bound_to)

    def what_is_unreadable(self) -> str | None:
        """For operators, where a secret was met that does not open."""
        if not self._met_unreadable:
            return None
        return (
            "there are secrets that do not open with the master keys of this process: what needs them waits, and "
            "`posthouse doctor` says which master key it is"
        )

    def reseal(self, sealed: bytes, owner: bytes, kind: str, version: int) -> bytes:
        bound_to = binding(owner, kind, version)
        return self._keyring.seal(self._keyring.open(sealed, bound_to=bound_to), bound_to=bound_to)

    @property
    def cached(self) -> CacheFacts:
        return self._use.facts(len(self._opened))

    def _open_data_key(self, data_key: DataKey) -> bytes:
        key = self._opened.get(data_key)
        if key is not None:
            self._use.hits += 1
            self._opened.move_to_end(data_key)
            return key
        self._use.misses += 1
        bound_to = binding(data_key.app_id, DATA_KEY, data_key.version)
        key = self._opened[data_key] = self._keyring.open(data_key.sealed, bound_to=bound_to)
        if len(self._opened) > self._kept_max:
            self._opened.popitem(last=False)
        return key


def load_keyring(
    *,
    value: str | None = None,
    file: Path | None = None,
    data_dir: Path | None = None,
    create: bool = True,
    random: Callable[[int], bytes] = os.urandom,
) -> Keyring:
    """Load the master keys.

    `value` (a setting) and `file` hold one or more keys, base64 or hexadecimal, apart by commas or white space; those
    of `value` come first. Where neither is given the key is `<data_dir>/master.key`; with `create` it is made where
    there is none. A key already there goes on opening what it sealed when keys are given from outside.

    Raises: SetupError for a key that cannot be read or that others on this machine can read, and where there is none.
    """
    keys: list[bytes] = []
    if value is not None:
        keys += _parse(value, "the master key setting")
    if file is not None:
        keys += _parse(_read(file), f"the master key file {file}")
    if data_dir is not None:
        path = data_dir / MASTER_KEY_FILE
        if not keys and create and not os.path.exists(path):
            _create(path, random)
        if not keys and not os.path.exists(path):
            raise SetupError(
                f"there is no master key file {path}, and none is made where something may have been sealed with it: put back "
                "the one of your backup, or correct --data-dir"
            )
        if not keys or os.path.exists(path):
            keys += _parse(_read(path), f"the master key file {path}")
    return Keyring(keys, random=random)


def _parse(text: str, source: str) -> list[bytes]:
    keys = []
    for number, word in enumerate(re.split(r"[\s,]+", text.strip(" \t\r\n,")), start=1):
        try:
            key = bytes.fromhex(word) if _HEX.fullmatch(word) else binascii.a2b_base64(word, strict_mode=True)
        except ValueError:
            key = b""
        if len(key) != KEY_BYTES:
            # Without the word: it may be a key with a typing error.
            raise SetupError(
                f"key number {number} of {source} is not {KEY_BYTES} bytes in base64 or hexadecimal; {_HOW_TO_MAKE_ONE}"
            )
        keys.append(key)
    return keys


def _read(path: Path) -> str:
    try:
        # Without O_NONBLOCK, a named pipe in the file's place would hang the start.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        try:
            data = _read_private(descriptor, path)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise SetupError(f"the master key file {path} cannot be read: {error.strerror}") from error
    try:
        return data.decode("ascii")
    except UnicodeDecodeError:
        # Without its cause, which holds the bytes.
        raise SetupError(f"the master key file {path} holds no text; {_HOW_TO_MAKE_ONE}") from None


def _read_private(descriptor: int, path: Path) -> bytes:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise SetupError(f"the master key file {path} is not a regular file")
    if os.name == "posix" and status.st_mode & 0o077:
        raise SetupError(
            f"the master key file {path} is open to others (mode {stat.S_IMODE(status.st_mode):04o}): "
            f"run chmod 600 {path}, and replace the key if others use this machine"
        )
    if status.st_size > KEY_FILE_BYTES_MAX:
        raise SetupError(f"the master key file {path} is larger than {KEY_FILE_BYTES_MAX} bytes")
    return os.read(descriptor, KEY_FILE_BYTES_MAX)


def _create(path: Path, random: Callable[[int], bytes]) -> None:
    """Make a key file all at once: whoever sees it sees it whole, and where several make one, all use the first."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.{random(4).hex()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
            opened.write(binascii.b2a_base64(random(KEY_BYTES)))
            opened.flush()
            os.fsync(opened.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        _sync_directory(path.parent)
    except OSError as error:
        raise SetupError(f"the master key file {path} cannot be made: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):  # not there, or the error above tells more
            draft.unlink()


def _sync_directory(path: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
