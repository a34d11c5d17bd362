"""`pip install posthouse-sdk`, in an empty environment outside the tree."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.answering import answering
from tests.wheel import REPOSITORY, UV, python_for_all

import posthouse_sdk

IMPORT_SECONDS_MAX = 0.060
PACKAGES_MAX = 3


@pytest.fixture(scope="module")
def python() -> Iterator[str]:
    """The Python of an environment with the wheel of the SDK, and what it needs."""
    uv = UV if UV.exists() else Path(shutil.which("uv") or "uv")
    with tempfile.TemporaryDirectory(prefix="posthouse-sdk-", dir="/tmp", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        commands: list[list[str | Path]] = [
            [uv, "build", "--wheel", "--out-dir", folder / "dist", REPOSITORY / "sdk"],
            [uv, "venv", "--quiet", "--python", python_for_all(), folder / "venv"],
        ]
        for command in commands:
            subprocess.run(command, check=True, capture_output=True, timeout=300)
        (wheel,) = (folder / "dist").glob("posthouse_sdk-*.whl")
        install: list[str | Path] = [uv, "pip", "install", "--quiet", "--python", folder / "venv", wheel]
        subprocess.run(install, check=True, capture_output=True, timeout=300)
        yield str(folder / "venv" / "bin" / "python")


def run(python: str, program: str, **more: str) -> str:
    told = subprocess.run(
        [python, "-c", program],
        cwd="/",
        env={"PATH": os.environ["PATH"]} | more,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert told.returncode == 0, told.stderr
    return told.stdout


def test_it_brings_few_packages(python: str) -> None:
    found = json.loads(
        run(python, "import json, importlib.metadata as m; print(json.dumps([d.name for d in m.distributions()]))")
    )
    others = [name for name in found if name not in ("posthouse-sdk", "pip", "setuptools")]
    assert len(others) <= PACKAGES_MAX
    assert others == [], "sdk/README.md says so"


@pytest.mark.parametrize("program", ["import posthouse_sdk", "from posthouse_sdk import Posthouse, Webhook"])
def test_it_is_imported_at_once(python: str, program: str) -> None:
    timed = f"import time; begun = time.process_time(); {program}; print(time.process_time() - begun)"
    run(python, timed)  # writes what Python keeps of the sources
    seconds = [float(run(python, timed)) for _ in range(5)]
    # The least of them: what others do at the same moment is not the import's.
    assert min(seconds) < IMPORT_SECONDS_MAX, seconds
    assert statistics.median(seconds) < 2 * IMPORT_SECONDS_MAX, seconds


def test_every_public_name_is_there_or_says_which_extra_it_needs(python: str) -> None:
    told = run(python, "import posthouse_sdk as sdk\nprint(*[name for name in sdk.__all__ if hasattr(sdk, name)])")
    assert set(told.split()) == set(posthouse_sdk.__all__)


def test_it_publishes(python: str) -> None:
    with answering() as server:
        program = "from posthouse_sdk import Posthouse\nPosthouse().on_event('user_register', {'username': 'li'})"
        run(python, program, POSTHOUSE_URL=server.url, POSTHOUSE_API_KEY="k")
        assert [event["data"] for event in server.events] == [{"username": "li"}]


def test_an_ed25519_key_says_what_it_needs(python: str) -> None:
    program = "from posthouse_sdk import parse_secret\ntry: parse_secret('whpk_' + 'A' * 43)\nexcept ValueError as e: print(e)"
    assert "pip install 'posthouse-sdk[ed25519]'" in run(python, program)


def test_decrypting_says_what_it_needs(python: str) -> None:
    program = (
        "from posthouse_sdk import Decryption, ReceiverError\n"
        "for kind in ({'kind': 'envelope', 'key': 'k'}, {'kind': 'jwe', 'key': 'k', 'algorithm': 'dir'}):\n"
        "    try: Decryption(kind, 'k' * 32)\n"
        "    except ReceiverError as e: print(e)"
    )
    assert run(python, program).count("pip install 'posthouse-sdk[encryption]'") == 2
