"""Master keys: where they come from, and when a start is refused."""

import base64
import hashlib
import os
import threading
from pathlib import Path

import pytest

from posthouse.adapters.system.keyring import MASTER_KEY_FILE, Keyring, Sealer, key_id, load_keyring
from posthouse.domain.errors import SetupError
from posthouse.ports.sealing import DataKey
from posthouse.wire.sealing import DATA_KEY, binding, sealed_with

OLD, NEW = b"o" * 32, b"n" * 32
PLACE = binding(b"endpoint", "v1", 1)


def text(key: bytes) -> str:
    return base64.b64encode(key).decode()


def private_file(path: Path, content: str) -> Path:
    path.write_text(content)
    path.chmod(0o600)
    return path


def test_an_id_is_the_start_of_the_keys_hash() -> None:
    assert key_id(OLD) == hashlib.sha256(OLD).hexdigest()[:8]


def test_the_first_key_seals_and_all_open() -> None:
    sealed = Keyring([OLD]).seal(b"secret", bound_to=PLACE)
    rotated = Keyring([NEW, OLD])
    assert rotated.open(sealed, bound_to=PLACE) == b"secret"
    again = rotated.seal(b"secret", bound_to=PLACE)
    assert sealed_with(again) == rotated.sealing_id == key_id(NEW)
    with pytest.raises(SetupError, match=f"{key_id(NEW)}, which is not loaded"):
        Keyring([OLD]).open(again, bound_to=PLACE)


def test_a_fresh_nonce_each_time() -> None:
    ring = Keyring([OLD])
    assert ring.seal(b"secret", bound_to=PLACE) != ring.seal(b"secret", bound_to=PLACE)


def test_a_repr_shows_ids_only() -> None:
    assert repr(Keyring([NEW, OLD])) == f"Keyring({key_id(NEW)}, {key_id(OLD)})"


@pytest.mark.parametrize("value", [text(OLD), OLD.hex(), OLD.hex().upper(), f"  {text(OLD)}\n"])
def test_a_setting_is_base64_or_hexadecimal(value: str) -> None:
    assert load_keyring(value=value).ids == (key_id(OLD),)


@pytest.mark.parametrize(
    "value", [f"{text(NEW)},{OLD.hex()}", f"{text(NEW)}\n{text(OLD)}\n", f"{text(NEW)} , {text(OLD)},"]
)
def test_a_setting_may_hold_several(value: str) -> None:
    assert load_keyring(value=value).ids == (key_id(NEW), key_id(OLD))


@pytest.mark.parametrize(
    "value", ["", "secret-passphrase", text(b"x" * 31), text(b"x" * 33), "0" * 63, text(OLD) + ",x", "é"]
)
def test_an_unusable_setting_is_refused_without_showing_it(value: str) -> None:
    with pytest.raises(SetupError, match="of the master key setting is not 32 bytes") as caught:
        load_keyring(value=value)
    assert "openssl rand -base64 32" in str(caught.value)
    assert caught.value.__cause__ is None
    assert not value or value not in str(caught.value).replace("openssl", "")


def test_a_file(tmp_path: Path) -> None:
    file = private_file(tmp_path / "keys", f"{text(NEW)}\n{text(OLD)}\n")
    assert load_keyring(file=file).ids == (key_id(NEW), key_id(OLD))
    assert load_keyring(value=text(OLD), file=file).sealing_id == key_id(OLD)


@pytest.mark.skipif(os.name != "posix", reason="file modes of POSIX")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_file_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    file = private_file(tmp_path / "keys", text(OLD))
    file.chmod(mode)
    with pytest.raises(SetupError, match="chmod 600") as caught:
        load_keyring(file=file)
    assert f"{mode:04o}" in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="cannot be read: No such file"):
        load_keyring(file=tmp_path / "none")
    with pytest.raises(SetupError, match="not a regular file"):
        load_keyring(file=tmp_path)
    with pytest.raises(SetupError, match="larger than 65536 bytes"):
        load_keyring(file=private_file(tmp_path / "large", "x" * 70_000))
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff" * 32)
    binary.chmod(0o600)
    with pytest.raises(SetupError, match="holds no text"):
        load_keyring(file=binary)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes of POSIX")
def test_a_named_pipe_does_not_hang_the_start(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(SetupError, match="not a regular file"):
        load_keyring(file=tmp_path / "pipe")


def test_a_key_is_made_once_in_the_data_directory(tmp_path: Path) -> None:
    data_dir = tmp_path / "new" / "data"
    first = load_keyring(data_dir=data_dir)
    assert load_keyring(data_dir=data_dir).ids == first.ids
    file = data_dir / MASTER_KEY_FILE
    assert os.listdir(data_dir) == [MASTER_KEY_FILE]
    if os.name == "posix":
        assert file.stat().st_mode & 0o777 == 0o600
        assert data_dir.stat().st_mode & 0o777 == 0o700


def test_no_key_is_made_where_that_is_not_wanted(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"no master key file .*put back the one of your backup"):
        load_keyring(data_dir=tmp_path, create=False)
    with pytest.raises(SetupError, match="there is no master key"):
        load_keyring()
    load_keyring(value=text(NEW), data_dir=tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_key_in_the_data_directory_goes_on_opening(tmp_path: Path) -> None:
    made = load_keyring(data_dir=tmp_path)
    sealed = made.seal(b"secret", bound_to=PLACE)
    given = load_keyring(value=text(NEW), data_dir=tmp_path)
    assert given.ids == (key_id(NEW), made.sealing_id)
    assert given.open(sealed, bound_to=PLACE) == b"secret"


def test_processes_that_start_together_use_one_key(tmp_path: Path) -> None:
    barrier = threading.Barrier(8)
    found: list[tuple[str, ...]] = []

    def start() -> None:
        barrier.wait()
        found.append(load_keyring(data_dir=tmp_path).ids)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert os.listdir(tmp_path) == [MASTER_KEY_FILE]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="a directory that cannot be written to")
def test_a_directory_that_cannot_be_written_to(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(SetupError, match="cannot be made: Permission denied"):
        load_keyring(data_dir=tmp_path)


def test_a_data_directory_that_is_a_file(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="cannot be made: File exists"):
        load_keyring(data_dir=private_file(tmp_path / "data", ""))


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SetupError, match="cannot be made: No space left on device"):
        load_keyring(data_dir=tmp_path)
    assert os.listdir(tmp_path) == []


def test_the_same_key_twice_is_one() -> None:
    assert Keyring([OLD, OLD]).ids == (key_id(OLD),)
    with pytest.raises(SetupError, match="has 3"):
        Keyring([b"abc"])


def test_a_sealer_seals_with_data_keys_and_opens_what_came_before_them() -> None:
    before = Keyring([OLD]).seal(b"secret", bound_to=binding(b"owner", "v1", 1))
    sealer = Sealer(Keyring([NEW, OLD]))
    assert sealer.open(before, b"owner", "v1", 1) == b"secret"
    first, second = sealer.new_data_key(b"app", 1), sealer.new_data_key(b"app", 2)
    sealed = sealer.seal(b"secret", b"owner", "v1", 1, second)
    assert Sealer(Keyring([NEW])).open(sealed, b"owner", "v1", 1, second) == b"secret"
    for wrong in (None, first, DataKey(b"other", 2, second.sealed), DataKey(b"app", 2, first.sealed)):
        with pytest.raises(SetupError):
            Sealer(Keyring([NEW])).open(sealed, b"owner", "v1", 1, wrong)


def test_a_data_key_sealed_anew_is_the_same_data_key() -> None:
    old = Sealer(Keyring([OLD])).new_data_key(b"app", 1)
    sealed = Sealer(Keyring([OLD])).seal(b"secret", b"owner", "v1", 1, old)
    both = Sealer(Keyring([NEW, OLD]))
    new = DataKey(b"app", 1, both.reseal(old.sealed, b"app", DATA_KEY, 1))
    assert Sealer(Keyring([NEW])).open(sealed, b"owner", "v1", 1, new) == b"secret"
    assert both.sealing_id == key_id(NEW)


def test_opened_data_keys_are_kept_up_to_a_bound() -> None:
    class Counting(Keyring):
        opened = 0

        def open(self, sealed: bytes, *, bound_to: bytes) -> bytes:
            self.opened += 1
            return super().open(sealed, bound_to=bound_to)

    ring = Counting([OLD])
    sealer = Sealer(ring, kept_max=2)
    keys = [sealer.new_data_key(b"app", version) for version in (1, 2, 3)]
    sealed = [sealer.seal(b"secret", b"owner", "v1", 1, key) for key in keys]
    assert ring.opened == 3
    for number in (1, 2, 1, 2):
        sealer.open(sealed[number], b"owner", "v1", 1, keys[number])
    assert ring.opened == 3
    sealer.open(sealed[0], b"owner", "v1", 1, keys[0])
    assert ring.opened == 4, "the one that was used longest ago had left"
