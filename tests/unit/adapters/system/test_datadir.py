from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from posthouse.adapters.system.datadir import LOCK_FILE, DataDir, default_data_dir
from posthouse.domain.errors import SetupError

HOLD = """
import sys
from pathlib import Path
from posthouse.adapters.system.datadir import DataDir
held = DataDir.hold(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@contextmanager
def another_process_holding(path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_a_new_directory_is_private_and_names_its_holder(tmp_path: Path) -> None:
    with DataDir.hold(tmp_path / "a" / "b") as held:
        assert held.path == tmp_path / "a" / "b"
        assert mode(held.path) == 0o700
        assert mode(held.path / LOCK_FILE) == 0o600
        assert (held.path / LOCK_FILE).read_text() == f"{os.getpid()}\n"


def test_a_second_process_is_told_who_holds_it(tmp_path: Path) -> None:
    with (
        another_process_holding(tmp_path / "data") as other,
        pytest.raises(SetupError, match=f"in use by process {other.pid}"),
    ):
        DataDir.hold(tmp_path / "data")


@pytest.mark.parametrize("below", ["", "data"])
def test_a_file_where_it_should_be(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SetupError, match="cannot be used: a file is there and no directory"):
        DataDir.hold(tmp_path / "file" / below)


def test_death_releases_it(tmp_path: Path) -> None:
    with another_process_holding(tmp_path / "data") as other:
        other.kill()
        other.wait()
        DataDir.hold(tmp_path / "data").release()


def test_release_lets_the_next_one_in(tmp_path: Path) -> None:
    first = DataDir.hold(tmp_path)
    first.release()
    first.release()
    with DataDir.hold(tmp_path), pytest.raises(SetupError, match="in use"):
        DataDir.hold(tmp_path)


def test_an_empty_directory_is_closed_to_others(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with DataDir.hold(tmp_path):
        assert mode(tmp_path) & 0o067 == 0


def test_a_directory_with_other_things_keeps_its_permissions(tmp_path: Path) -> None:
    (tmp_path / "server.txt").touch()
    tmp_path.chmod(0o755)
    with DataDir.hold(tmp_path):
        assert mode(tmp_path) == 0o755


def test_a_directory_that_others_write_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "server.txt").touch()
    tmp_path.chmod(0o1777)
    with pytest.raises(SetupError, match=r"others can write to it \(mode 1777\)"):
        DataDir.hold(tmp_path)
    assert mode(tmp_path) == 0o1777
    assert not (tmp_path / LOCK_FILE).exists()


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    (data / LOCK_FILE).symlink_to(victim)
    with pytest.raises(SetupError, match="cannot be used"):
        DataDir.hold(data)
    assert victim.read_text() == "precious"


def test_somebody_elses_directory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = tmp_path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 4321)
    with pytest.raises(SetupError, match=f"belongs to the user with uid {owner}"):
        DataDir.hold(tmp_path)


def test_the_default_is_in_the_users_own_place_but_not_for_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    if sys.platform == "linux":
        assert default_data_dir() == Path("/var/lib/posthouse")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    if sys.platform == "linux":
        assert default_data_dir() == Path("/home/ada/.local/share/posthouse")
