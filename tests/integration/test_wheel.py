"""The wheel in an empty environment outside the tree: what somebody gets who installs it."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
UV = REPOSITORY / ".venv" / "bin" / "uv"


def _python() -> str:
    """A Python that ordinary users can run too, where there is one: as root, ours may lie in root's own folder."""
    for candidate in (os.path.realpath(sys.executable), "/usr/local/bin/python3", "/usr/bin/python3"):
        if _runs(candidate, *_ordinary()):
            return candidate
    return sys.executable


def _ordinary() -> tuple[int | None, int | None]:
    if os.geteuid() != 0:
        return None, None
    entry = pwd.getpwnam("nobody")
    return entry.pw_uid, entry.pw_gid


def _runs(python: str, uid: int | None, gid: int | None) -> bool:
    check = "import sys; sys.exit(sys.version_info < (3, 11))"
    groups: list[int] | None = None if uid is None else []
    try:
        return subprocess.run([python, "-c", check], user=uid, group=gid, extra_groups=groups, cwd="/").returncode == 0
    except OSError:
        return False


@pytest.fixture(scope="module")
def installed() -> Iterator[Path]:
    """The folder of a virtual environment that holds the wheel and what it needs, readable by everybody."""
    uv = UV if UV.exists() else Path(shutil.which("uv") or "uv")
    with tempfile.TemporaryDirectory(prefix="posthouse-wheel-", dir="/tmp", ignore_cleanup_errors=True) as name:
        os.chmod(name, 0o755)
        folder = Path(name)
        commands: list[list[str | Path]] = [
            [uv, "build", "--wheel", "--out-dir", folder / "dist", REPOSITORY],
            [uv, "venv", "--quiet", "--python", _python(), folder / "venv"],
        ]
        for command in commands:
            subprocess.run(command, check=True, capture_output=True, timeout=300)
        (wheel,) = (folder / "dist").glob("posthouse-*.whl")
        # The locked versions: this test is about the wheel, not about what was released since.
        locked = subprocess.run(
            [uv, "export", "--frozen", "--no-dev", "--no-emit-workspace", "--no-hashes", "--quiet"],
            cwd=REPOSITORY, check=True, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        (folder / "locked.txt").write_text(locked.stdout)
        subprocess.run(
            [uv, "pip", "install", "--quiet", "--python", folder / "venv", wheel, "-c", folder / "locked.txt"],
            check=True, capture_output=True, timeout=600,
        )  # fmt: skip
        yield folder


def demo(folder: Path, uid: int | None, gid: int | None) -> subprocess.CompletedProcess[str]:
    home = tempfile.mkdtemp(prefix="posthouse-home-", dir="/tmp")
    environment = {"PATH": os.environ["PATH"], "HOME": home, "NO_COLOR": "1"}
    groups: list[int] | None = None
    if uid is not None:
        os.chown(home, uid, -1)
        groups = []
    try:
        return subprocess.run(
            [folder / "venv" / "bin" / "posthouse", "demo"], cwd=home, env=environment, user=uid, group=gid,
            extra_groups=groups, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
    finally:
        shutil.rmtree(home, ignore_errors=True)


def test_the_wheel_tells_the_story(installed: Path) -> None:
    told = demo(installed, None, None)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "That is the story." in told.stdout


def test_the_wheel_tells_the_story_to_an_ordinary_user(installed: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("this run is an ordinary user's already")
    uid, gid = _ordinary()
    if not _runs(str(installed / "venv" / "bin" / "python"), uid, gid):
        pytest.skip("no Python of this machine can be reached by an ordinary user")
    told = demo(installed, uid, gid)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "That is the story." in told.stdout
