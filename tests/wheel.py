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

REPOSITORY = Path(__file__).resolve().parents[1]
UV = REPOSITORY / ".venv" / "bin" / "uv"


def python_for_all() -> str:
    """A Python that ordinary users can run too, where there is one: as root, ours may lie in root's own folder."""
    for candidate in (os.path.realpath(sys.executable), "/usr/local/bin/python3", "/usr/bin/python3"):
        if runs(candidate, *ordinary_user()):
            return candidate
    return sys.executable


def ordinary_user() -> tuple[int | None, int | None]:
    if os.geteuid() != 0:
        return None, None
    entry = pwd.getpwnam("nobody")
    return entry.pw_uid, entry.pw_gid


def runs(python: str, uid: int | None, gid: int | None) -> bool:
    check = "import sys; sys.exit(sys.version_info < (3, 11))"
    groups: list[int] | None = None if uid is None else []
    try:
        return subprocess.run([python, "-c", check], user=uid, group=gid, extra_groups=groups, cwd="/").returncode == 0
    except OSError:
        return False


@pytest.fixture(scope="session")
def wheel() -> Iterator[Path]:
    """The folder of a virtual environment that holds the wheel and what it needs, readable by everybody."""
    uv = UV if UV.exists() else Path(shutil.which("uv") or "uv")
    with tempfile.TemporaryDirectory(prefix="posthouse-wheel-", dir="/tmp", ignore_cleanup_errors=True) as name:
        os.chmod(name, 0o755)
        folder = Path(name)
        commands: list[list[str | Path]] = [
            [uv, "build", "--wheel", "--out-dir", folder / "dist", REPOSITORY],
            [uv, "venv", "--quiet", "--python", python_for_all(), folder / "venv"],
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
