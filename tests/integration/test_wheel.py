"""The installed wheel does what the README promises, for root and for an ordinary user."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from tests.wheel import ordinary_user, runs
from ui.sources import BUILT


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


def test_the_wheel_tells_the_story(wheel: Path) -> None:
    told = demo(wheel, None, None)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "That is the story." in told.stdout


def test_the_wheel_tells_the_story_to_an_ordinary_user(wheel: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("this run is an ordinary user's already")
    uid, gid = ordinary_user()
    if not runs(str(wheel / "venv" / "bin" / "python"), uid, gid):
        pytest.skip("no Python of this machine can be reached by an ordinary user")
    told = demo(wheel, uid, gid)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "That is the story." in told.stdout


def test_the_wheel_has_the_console_in_it(wheel: Path) -> None:
    (console,) = (wheel / "venv").glob("lib/python*/site-packages/posthouse/console")
    ours = {path.relative_to(BUILT): path.read_bytes() for path in BUILT.rglob("*") if path.is_file()}
    theirs = {path.relative_to(console): path.read_bytes() for path in console.rglob("*") if path.is_file()}
    assert Path("index.html") in theirs
    assert theirs == ours


def test_the_wheel_has_help_in_chinese(wheel: Path) -> None:
    command = wheel / "venv" / "bin" / "posthouse"
    told = subprocess.run(
        [command, "--help"], env={"LC_ALL": "zh_CN.UTF-8", "NO_COLOR": "1"}, capture_output=True, timeout=60
    )
    assert "用法：posthouse 命令" in told.stdout.decode()
