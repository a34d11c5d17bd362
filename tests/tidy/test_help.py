"""Every text of the help has its Chinese, and the catalogue holds nothing else."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from typing import Final

import cyclopts
import pytest
from rich.console import Console
from tests.tidy.chinese import amiss
from tests.tidy.tree import PACKAGE, name

from posthouse.cli.main import app, tell_all_of
from posthouse.cli.reference import reference
from posthouse.cli.texts.catalogue import chinese, in_chinese
from posthouse.cli.texts.help import ChineseHelp

CATALOGUE: Final = PACKAGE / "cli" / "texts" / "zh_cn.json"
# What a translation takes over as it is: what is typed, what is filled in, and numbers.
KEPT: Final = re.compile(r"\{\}|--[a-z-]+|POSTHOUSE_\w+|`[^`]+`|@[A-Z]+\b|\d\d+")


def commands(within: cyclopts.App, *words: str) -> Iterator[tuple[str, ...]]:
    """Every command's words, and those of every group."""
    yield words
    if words and within.default_command is not None:
        return
    for verb in within:
        if verb not in (*within.help_flags, *within.version_flags):
            yield from commands(within[verb], *words, verb)


@pytest.fixture(scope="module")
def said() -> dict[str, str]:
    """Each paragraph of the help and of the reference, with a command that says it."""
    found: dict[str, str] = {}
    place = ""

    def heard(text: str) -> str:
        for paragraph in text.split("\n\n"):
            found.setdefault(" ".join(paragraph.split()), place)
        return text

    console = Console(file=io.StringIO(), width=100)
    app.help_formatter = ChineseHelp(heard)
    try:
        for words in list(commands(app)):
            place = " ".join(("posthouse", *words, "--help"))
            tell_all_of(words)
            app.help_print(words, console=console)
    finally:
        app.help_formatter = None
    place = "the reference"
    reference(heard)
    return found


def test_every_text_of_the_help_has_its_chinese(said: dict[str, str]) -> None:
    missing = [
        f"{json.dumps(text, ensure_ascii=False)}: …,  <- {place}"
        for text, place in said.items()
        if text not in chinese()
    ]
    assert not missing, f"add these to {name(CATALOGUE)}, in the order of the English:\n" + "\n".join(sorted(missing))


def test_no_text_is_left_over(said: dict[str, str]) -> None:
    left_over = [text for text in chinese() if text not in said]
    assert not left_over, f"no command says this any more; take it out of {name(CATALOGUE)}:\n" + "\n".join(left_over)


def test_every_command_was_asked(said: dict[str, str]) -> None:
    places = set(said.values())
    assert {"posthouse --help", "posthouse keys rekey --help", "posthouse --install-completion --help"} <= places
    assert "Revoke a key: it is refused from now on, within ten seconds on every server." in said


def test_it_is_chinese_as_it_is_written() -> None:
    for text, into in chinese().items():
        assert not amiss(into), f"{amiss(into)}: {into}"
        assert KEPT.findall(text) == KEPT.findall(into), into


def test_the_order_is_that_of_the_english() -> None:
    assert list(chinese()) == sorted(chinese())


def test_a_text_that_is_not_known_stays_as_it_is() -> None:
    assert in_chinese("Publish\n  one event.\n\nNobody said this.") == "发布一个事件。\n\nNobody said this."
