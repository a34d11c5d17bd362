"""The documentation's commands are run as they stand, by the installed wheel, in a clean folder."""

from __future__ import annotations

import os
import re
import socket
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.folders import FAST
from tests.postgres import end_server
from tests.snippets import Reader, Step, matches, steps

DOCS = Path(__file__).parents[2] / "docs"
GUIDES = sorted(path.name for path in (DOCS / "en" / "guides").glob("*.md"))
SHORTHAND = """\
export POSTHOUSE_KEY=ph_…
api() { curl -sS -H "Authorization: Bearer $POSTHOUSE_KEY" -H 'Content-Type: application/json' "$@"; echo; }
"""


def free_ports(*named: str) -> dict[str, int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in named]
    ports = {name: server.getsockname()[1] for name, server in zip(named, held, strict=True)}
    for server in held:
        server.close()
    return ports


@pytest.fixture
def reader(wheel: Path) -> Iterator[Reader]:
    """Somebody in an empty folder, with the wheel installed and nothing else."""
    with tempfile.TemporaryDirectory(prefix="posthouse-docs-", dir=FAST, ignore_cleanup_errors=True) as name:
        os.chmod(name, 0o755)
        folder = Path(name)
        ports = free_ports("8080", "9000")
        environment = {
            "PATH": f"{wheel / 'venv' / 'bin'}:{os.environ['PATH']}",
            "HOME": name,
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "NO_COLOR": "1",
            "POSTHOUSE_PORT": str(ports["8080"]),
            "POSTHOUSE_SHUTDOWN_SECONDS": "1",
            "POSTHOUSE_URL": f"http://127.0.0.1:{ports['8080']}",
        }
        with closing(Reader(folder, environment, ports)) as made:
            yield made
        end_server(folder / "data")


@pytest.mark.timeout(300)
def test_the_tutorial_does_what_it_says(reader: Reader) -> None:
    page = (DOCS / "en" / "tutorial.md").read_text("utf-8")
    assert reader.follow(page, "tutorial.md") > 15


@pytest.mark.timeout(600)
def test_the_guides_do_what_they_say(reader: Reader) -> None:
    """One server for all of them; each brings what it needs."""
    reader.follow(
        "<!-- run: terminal=server; until=listens on http -->\n```sh\nposthouse serve --dev --data-dir data\n```\n"
        f"```sh\n{SHORTHAND}```\n",
        "before",
    )
    count = sum(reader.follow((DOCS / "en" / "guides" / name).read_text("utf-8"), name) for name in GUIDES)
    assert count > 20


# The two languages run the same


def _pages_with_commands() -> list[str]:
    tree = DOCS / "en"
    return [path.relative_to(tree).as_posix() for path in sorted(tree.rglob("*.md")) if "internals" not in path.parts]


@pytest.mark.parametrize("page", _pages_with_commands())
def test_both_languages_show_the_same_commands(page: str) -> None:
    english, chinese = ((DOCS / language / page).read_text("utf-8") for language in ("en", "zh"))
    assert [_bare(step) for step in steps(english)] == [_bare(step) for step in steps(chinese)]


def _bare(step: Step) -> tuple[str, ...]:
    """What a step does, without what the languages may tell differently: comments, and why a block is not run."""
    lines = (re.sub(r"(^|\s)#.*", "", line).rstrip() for line in step.text.splitlines())
    code = "\n".join(line for line in lines if line)
    value = "" if step.what == "not run" else step.value
    return step.what, step.language, code, value, str(sorted(step.options.items()))


# The rules of this game


def test_steps_are_read_as_the_page_means_them() -> None:
    page = (
        "text\n\n<!-- run: terminal=a; until=says: this -->\n```sh\nserve\n```\n\n"
        "```text\nno comment, no step\n```\n<!-- not run: needs Go; and more -->\n```go\nx\n```\n"
        "<!-- press: Ctrl-C; terminal=a -->\n<!-- output -->\n```json\n{}\n```\n"
    )
    found = list(steps(page))
    assert [(step.what, step.language) for step in found] == [
        ("run", "sh"), ("not run", "go"), ("press", ""), ("output", "json"),
    ]  # fmt: skip
    assert found[0].options == {"terminal": "a", "until": "says: this"}
    assert found[1].value == "needs Go; and more"
    assert (found[2].value, found[2].options) == ("Ctrl-C", {"terminal": "a"})


def test_what_is_shown_is_compared_without_its_spaces_and_with_its_gaps() -> None:
    assert matches('{"id": "evt_…",\n "n": 1}', 'before {"id": "evt_abc", "n": 1} after')
    assert not matches('{"id": "evt_…", "n": 1}', '{"id": "evt_abc", "n": 2}')
    assert not matches("a … c", "a b\nb c"), "a gap ends with its line"
