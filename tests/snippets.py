"""The fenced blocks of a page, run as a reader would run them: in terminals, one after the other, in one folder.

Comments of the page, invisible to its readers, say how a block is run:

    <!-- run: terminal=server; until=listens on -->   in another terminal than `main`; it goes on, and has said this
    <!-- run: exit=7 -->                              it ends with this exit code, not 0
    <!-- file: receiver.py -->                        the block is a file of this name
    <!-- output -->                                   what the last command prints; … is anything within a line
    <!-- output: eventually -->                       the same; the command is run again until the fact is there
    <!-- output: terminal=receiver -->                what another terminal prints, from the last command on
    <!-- press: Ctrl-C; terminal=receiver -->         what the text tells to press
    <!-- not run: why -->                             the block is shown only

A `sh` or `python` block without a comment is run in `main`. What a page writes as `ph_…`, `whsec_…`, `evt_…` and so on a
reader copies from what was printed last; so does this. Only the ports are changed: others may be in use here.
"""

from __future__ import annotations

import itertools
import os
import re
import select
import signal
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

PATIENCE_SECONDS: Final = 30
_COMMENT: Final = re.compile(r"<!-- (run|file|output|press|not run)(?:: (.*?))? -->\Z")
_COPIED: Final = re.compile(r"\b(ph|whsec|whsk|evt|att|grant|app|ep|rpl)_…")
_KINDS: Final = ("sh", "python", "json", "text")


@dataclass(frozen=True)
class Step:
    """A block with what its comment says, or a key that is pressed. `line` is where it stands."""

    what: str  # run, file, output, press, not run
    language: str
    text: str
    line: int
    value: str = ""
    options: Mapping[str, str] = field(default_factory=dict)


def steps(page: str) -> Iterator[Step]:
    """What a page tells its reader to do, in its order; blocks of other languages without a comment are passed over."""
    comment: tuple[str, str] | None = None
    lines = enumerate(page.splitlines(), 1)
    for number, line in lines:
        text = line.strip()
        if found := _COMMENT.fullmatch(text):
            comment = (found[1], found[2] or "")
            if comment[0] == "press":
                yield _step(*comment, "", "", number)
                comment = None
        elif fence := re.fullmatch(r"(```+|~~~+)(\S*).*", text):
            body = []
            for _, inner in lines:
                if inner.strip() == fence[1]:
                    break
                body.append(inner)
            if comment is not None or fence[2] in ("sh", "python"):
                yield _step(*(comment or ("run", "")), fence[2], "\n".join(body) + "\n", number)
            comment = None


def _step(what: str, value: str, language: str, text: str, line: int) -> Step:
    parts = [part.strip() for part in value.split(";")] if what != "not run" else [value]
    options = {name: told for name, equals, told in (part.partition("=") for part in parts if "=" in part) if equals}
    own = next((part for part in parts if "=" not in part), "")
    return Step(what, language, text, line, own, options)


def matches(shown: str, printed: str) -> bool:
    """Whether what a page shows is in what was printed; spaces and line ends count alike, and … is anything in a line."""
    wanted = r"\s+".join(r"[^\n]*?".join(re.escape(part) for part in word.split("…")) for word in shown.split())
    return re.search(wanted, printed) is not None


class Terminal:
    """A shell on a terminal of its own, as a person has it."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._master, slave = os.openpty()
        attributes = termios.tcgetattr(slave)
        attributes[3] &= ~termios.ECHO
        termios.tcsetattr(slave, termios.TCSANOW, attributes)
        termios.tcsetwinsize(slave, (50, 100))
        name = os.ttyname(slave)
        # Opened by the leader of a session, the terminal becomes its own: Ctrl-C reaches what runs in front.
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", f"exec bash --norc --noprofile --noediting -i <>{name} >&0 2>&1"],
            cwd=folder, env=dict(environment), start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        self.said = ""
        self._count = 0
        self.type("PS1= PS2=")

    def type(self, text: str) -> None:
        os.write(self._master, text.encode() + b"\n")

    def run(self, text: str, folder: Path) -> tuple[str, int]:
        """Run a block to its end: what was printed, and 0 or the exit code of the last command that failed."""
        self._count += 1
        script = folder / f".block-{self._count}"
        script.write_text(text)
        start = len(self.said)
        mark = f"block {self._count} ended with "
        # Each of its commands counts, not only the last.
        self.type(f"code=0; trap 'code=$?' ERR; . ./{script.name}; trap - ERR; echo; echo {mark}$code")
        found = self.until(re.escape(mark) + r"(\d+)\n", start)
        script.unlink()
        return self.said[start : found.start()], int(found[1])

    def until(self, pattern: str, start: int = 0) -> re.Match[str]:
        """Read until it has said this since `start`."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (found := re.compile(pattern).search(self.said, start)) is None:
            if time.monotonic() > deadline or self.process.poll() is not None:
                pytest.fail(f"never said {pattern!r} but: {self.said[start:]}")
            self.read(0.2)
        return found

    def read(self, patience: float = 0.0) -> None:
        """Take in what there is."""
        while select.select([self._master], [], [], patience)[0]:
            try:
                text = os.read(self._master, 65536)
            except OSError:  # Linux says so when the other side is closed
                return
            if not text:
                return
            self.said += text.decode("utf-8", "replace").replace("\r\n", "\n")
            patience = 0.0

    def interrupt(self) -> None:
        os.write(self._master, b"\x03")

    def idle(self) -> None:
        """Wait for the shell to be in front again: what ran there has ended, and listens no more."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while os.tcgetpgrp(self._master) != self.process.pid:
            if time.monotonic() > deadline:
                pytest.fail(f"what runs in front does not end: {self.said[-2000:]}")
            self.read(0.05)

    def close(self) -> None:
        """Ctrl-C to what still runs, then the end of the shell."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        self.interrupt()
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
                break
            # Ctrl-C takes what was typed ahead with it, so it is said again; and somebody must read, or writers block.
            self.type("exit")
            self.read(0.2)
        os.close(self._master)


class Reader:
    """Somebody who follows a page. `ports` are put in the place of those that the page names."""

    def __init__(self, folder: Path, environment: Mapping[str, str], ports: Mapping[str, int]) -> None:
        self.folder = folder
        self._environment = environment
        self._ports = ports
        self._terminals: dict[str, Terminal] = {}
        self._last = ("", "main", 0)  # the last command, its terminal, and where its output begins
        self._seen: dict[str, int] = {}

    def terminal(self, name: str) -> Terminal:
        if name not in self._terminals:
            self._terminals[name] = Terminal(self.folder, self._environment)
        return self._terminals[name]

    def follow(self, page: str, path: str) -> int:
        """Do what the page says; how many blocks were run. Fails where an output is not as it is shown."""
        count = 0
        todo = list(steps(page))
        for step, following in itertools.zip_longest(todo, todo[1:]):  # a page may have none
            where = f"{path}:{step.line}"
            match step.what:
                case "run":
                    shows_problem = (
                        following is not None and following.what == "output" and '"status":' in following.text
                    )
                    self._run(step, where, may_fail=shows_problem)
                    count += 1
                case "file":
                    (self.folder / step.value).write_text(self._own(step.text))
                case "output":
                    self._compare(step, where)
                case "press":
                    assert step.value == "Ctrl-C", where
                    terminal = self.terminal(step.options["terminal"])
                    self._seen[step.options["terminal"]] = len(terminal.said)
                    terminal.interrupt()
                    terminal.idle()
        return count

    def _run(self, step: Step, where: str, *, may_fail: bool) -> None:
        for name, other in self._terminals.items():
            other.read()
            self._seen[name] = len(other.said)
        name = step.options.get("terminal", "main")
        terminal = self.terminal(name)
        text = self._own(step.text)
        if step.language == "python":
            (self.folder / ".snippet.py").write_text(text)
            text = "python .snippet.py"
        start = len(terminal.said)
        self._seen[name] = start
        self._last = (text, name, start)
        if "until" in step.options:
            for line in text.splitlines():
                terminal.type(line)
            terminal.until(self._here(step.options["until"]), start)
            return
        printed, code = terminal.run(text, self.folder)
        wanted = int(step.options.get("exit", "0"))
        assert code == wanted, f"{where}: exit code {code}, printed: {printed}"
        # `curl` ends well whatever the server says; a page that does not show a problem expects none.
        assert may_fail or '"type":"about:blank"' not in printed, f"{where}: {printed}"

    def _compare(self, step: Step, where: str) -> None:
        shown = self._here(step.text)
        text, name, start = self._last
        if "terminal" in step.options:
            name = step.options["terminal"]
            start = self._seen.get(name, 0)
        terminal = self.terminal(name)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not matches(shown, terminal.said[start:]):
            if step.value != "eventually" and "terminal" not in step.options and name == "main":
                pytest.fail(f"{where}: shown is\n{shown}\nbut printed was\n{terminal.said[start:]}")
            if time.monotonic() > deadline:
                pytest.fail(f"{where}: never printed\n{shown}\nbut at last\n{terminal.said[start:][-4000:]}")
            if step.value == "eventually":
                terminal.run(text, self.folder)
            terminal.read(0.05)

    def _own(self, text: str) -> str:
        """A command of the page with what its reader copies, and the ports of here."""
        return _COPIED.sub(lambda found: self._copied(found[1]), self._here(text))

    def _here(self, text: str) -> str:
        for port, own in self._ports.items():
            text = re.sub(rf"\b{port}\b", str(own), text)
        return text

    def _copied(self, kind: str) -> str:
        """The newest one that was printed, in `main` if it was there."""
        pattern = re.compile(rf"\b{kind}_[A-Za-z0-9+/=_-]{{12,}}")
        for _, terminal in sorted(self._terminals.items(), key=lambda item: item[0] != "main"):
            terminal.read()
            if found := pattern.findall(terminal.said):
                return str(found[-1])
        return f"{kind}_…"

    def close(self) -> None:
        for terminal in reversed(self._terminals.values()):
            terminal.close()
