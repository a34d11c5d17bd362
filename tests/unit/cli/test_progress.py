"""A bar on a terminal, and nothing of it anywhere else."""

from __future__ import annotations

import io

import pytest

from posthouse.cli.progress import bar, clock, wanted
from posthouse.cli.replay import watch


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def terminal_of(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Stderr, from now on. (In a fixture it would be replaced again as the test begins.)"""
    made = Terminal()
    monkeypatch.setattr("sys.stderr", made)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    return made


def found(state: str, sent: int, total: int | None = 20, *, eta: float | None = None) -> dict[str, object]:
    progress = {"scanned": 40, "selected": 20, "sent": sent, "total": total}
    return {"id": "rpl_1", "app": "app_1", "state": state, "reason": None, "progress": progress, "eta_seconds": eta}


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("posthouse.cli.replay.POLL_SECONDS", 0)


def test_a_terminal_gets_a_bar_with_how_many_and_how_long(monkeypatch: pytest.MonkeyPatch, unhurried: None) -> None:
    terminal = terminal_of(monkeypatch)
    looks = [found("running", 5, eta=95), found("finished", 20)]
    assert watch(lambda: looks.pop(0), found("pending", 0, None))["state"] == "finished"
    shown = terminal.getvalue()
    assert "rpl_1  finished" in shown
    assert "20/20" in shown
    assert "of 20 sent" not in shown


def test_lines_stay_above_the_bar_and_drive_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = terminal_of(monkeypatch)
    with bar("applying", 2) as shown:
        shown.line("✓ created [bold]a\x1b]0;b")
        shown.at(1, 2)
    told = terminal.getvalue()
    assert "✓ created [bold]a\N{REPLACEMENT CHARACTER}]0;b" in told
    assert "1/2" in told


def test_without_a_terminal_there_are_lines(capsys: pytest.CaptureFixture[str], unhurried: None) -> None:
    looks = [found("running", 5, eta=95), found("finished", 20)]
    watch(lambda: looks.pop(0), found("pending", 0, None))
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines() == [
        "rpl_1  pending  0 sent",
        "rpl_1  running  5 of 20 sent, 95 s left",
        "rpl_1  finished  20 of 20 sent",
    ]


def test_who_asks_for_json_gets_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], unhurried: None
) -> None:
    terminal = terminal_of(monkeypatch)
    assert not wanted(json_wanted=True)
    watch(lambda: found("finished", 20), found("running", 5), json_wanted=True)
    assert terminal.getvalue() == capsys.readouterr().out == ""


@pytest.mark.parametrize(("seconds", "told"), [(0.2, "0 s"), (59.4, "59 s"), (185, "3:05"), (3723, "1:02:03")])
def test_a_time_that_is_left(seconds: float, told: str) -> None:
    assert clock(seconds) == told


def test_who_stops_watching_is_told_how_to_end_it(capsys: pytest.CaptureFixture[str], unhurried: None) -> None:
    def interrupted() -> dict[str, object]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        watch(interrupted, found("running", 5))
    assert "rpl_1 goes on; `posthouse replays cancel rpl_1 --app app_1` ends it" in capsys.readouterr().err
