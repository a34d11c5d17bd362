"""Shell completion, in a real bash."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from tests.commands import PATIENCE_SECONDS, environment, run

BASH = shutil.which("bash")


def completed(script: str, line: str) -> set[str]:
    """What bash offers for the last word of a line, with this script loaded."""
    words = line.split(" ")
    quoted = " ".join(f"'{word}'" for word in words)
    code = f"""
{script}
name=$(complete -p posthouse | sed -E 's/.*-F ([^ ]+) .*/\\1/')
COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; COMP_LINE='{line}'; COMP_POINT={len(line)}
"$name" posthouse '{words[-1]}' '{words[-2]}'
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    assert BASH is not None
    told = subprocess.run(
        [BASH, "--norc", "--noprofile", "-c", code], capture_output=True, text=True, timeout=30, env=environment()
    )
    assert told.stderr == "", told.stderr
    return {word.strip() for word in told.stdout.splitlines() if word.strip()}


@pytest.fixture(scope="module")
def script() -> str:
    told = run("completion", "bash")
    assert told.returncode == 0, told.stderr
    return told.stdout


@pytest.mark.skipif(BASH is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("posthouse en", {"endpoints"}),
        ("posthouse endpoints ", {"list", "create", "pause", "rotate-secret"}),
        ("posthouse endpoints re", {"resume", "revisions"}),
        ("posthouse endpoints create --de", {"--description"}),
        ("posthouse apply --p", {"--prune"}),
        ("posthouse completion ", {"bash", "zsh", "fish"}),
    ],
)
def test_bash_completes(script: str, line: str, offered: set[str]) -> None:
    assert offered <= completed(script, line)


def test_each_shell_has_a_script() -> None:
    for shell in ("zsh", "fish"):
        told = run("completion", shell)
        assert told.returncode == 0, told.stderr
        assert "posthouse" in told.stdout
    assert run("completion", "tcsh").returncode == 2


@pytest.mark.skipif(BASH is None, reason="there is no bash")
def test_installing_it_makes_the_next_shell_complete(tmp_path: Path) -> None:
    told = run("--install-completion", "--shell", "bash", HOME=str(tmp_path), XDG_DATA_HOME=str(tmp_path / "share"))
    assert told.returncode == 0, told.stderr
    assert "wrote" in told.stderr
    assert BASH is not None
    code = "shopt -s expand_aliases; source ~/.bashrc; complete -p posthouse"
    shown = subprocess.run(
        [BASH, "--norc", "--noprofile", "-c", code],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        env=environment(HOME=str(tmp_path)),
    )
    assert "posthouse" in shown.stdout, shown.stderr
