"""Help in the language of the environment, as a person sees it."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from rich.cells import cell_len
from tests.commands import environment, on_terminal, run

CHINESE = {"LC_ALL": "zh_CN.UTF-8"}


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("words", [(), ("keys", "rekey"), ("endpoints", "create"), ("listen",), ("outbox", "retry")])
def test_help_is_chinese_and_fits_the_terminal(words: tuple[str, ...], width: int) -> None:
    code, shown = on_terminal((*words, "--help"), CHINESE, width=width)
    assert code == 0
    usage, *lines = re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()
    assert usage.startswith(" ".join(("用法：posthouse", *words)))
    assert max(map(cell_len, lines)) == width
    assert {cell_len(line) for line in lines if line.startswith(("│", "╭", "╰"))} == {width}
    assert not any(re.match(r"│ *[，。；：、）”]", line.replace(" ", "")) for line in lines), "no line begins so"
    assert not re.search(r"Usage|Commands|Parameters|OPTIONS|\[default|\[required|\[choices", shown)


def test_whoever_asks_for_no_chinese_gets_english() -> None:
    for more in ({}, {"LC_ALL": "C", "LANG": "zh_CN.UTF-8"}, {"LC_ALL": "de_DE.UTF-8"}):
        told = run("trigger", "--help", **more)
        assert told.stdout.startswith("Usage: posthouse trigger")
        assert told.stdout.isascii() or "Publish one event" in told.stdout


def test_a_group_without_a_command_tells_its_commands_in_chinese() -> None:
    told = run("keys", **CHINESE)
    assert "吊销密钥" in told.stdout
    assert "[选项]" in run("keys", "list", "-h", **CHINESE).stdout


def test_errors_of_the_command_line_are_in_english() -> None:
    told = run("apps", "get", **CHINESE)
    assert told.returncode == 2
    assert told.stderr.startswith("posthouse: `posthouse apps get` needs APP")


@pytest.mark.parametrize(("words", "read"), [(("--version",), 0), (("keys", "list"), 0), (("--help",), 1)])
def test_only_help_reads_the_catalogue(words: tuple[str, ...], read: int) -> None:
    code = (
        f"import sys; sys.argv = ['posthouse', *{words!r}]\n"
        "from posthouse.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "from posthouse.cli.texts.catalogue import chinese\n"
        "print('READ', chinese.cache_info().currsize, 'posthouse.cli.texts.lines' in sys.modules)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], env=environment(**CHINESE), capture_output=True, text=True, timeout=30
    )
    assert f"READ {read} {read == 1}" in told.stdout, told.stdout + told.stderr
