"""How results are shown."""

from __future__ import annotations

import json

import pytest

from posthouse.cli.output import Column, _fitting, cell, printable, show, show_record

ID, URL, EXTRA, MORE = (
    Column("id"),
    Column("url", folds=True),
    Column("extra", spare=True),
    Column("more", spare=True),
)
WIDTHS = {ID: 30, URL: 60, EXTRA: 20, MORE: 10}


@pytest.mark.parametrize(
    ("room", "kept"),
    [
        (200, [ID, URL, EXTRA, MORE]),
        (84, [ID, URL, EXTRA, MORE]),  # the URL is folded to 16
        (83, [ID, URL, EXTRA]),
        (60, [ID, URL]),
        (20, [ID, URL]),  # what is not spare stays, whatever comes of it
    ],
)
def test_spare_columns_make_room(room: int, kept: list[Column]) -> None:
    assert _fitting(WIDTHS, room) == kept


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("created_at", "2026-11-24T22:54:03.179Z", "2026-11-24 22:54:03"),
        ("uid", None, "-"),
        ("enabled", True, "yes"),
        ("events", ["order.*", "user"], "order.*, user"),
        ("events", [], "-"),
        ("timings.total_ms", 1.2345, "1.2"),
        ("metadata", {"a": 1}, '{"a": 1}'),
        ("name", "two\nlines", "two lines"),
        ("name", "\x1b[31mred", "\N{REPLACEMENT CHARACTER}[31mred"),
    ],
)
def test_cells(name: str, value: object, text: str) -> None:
    assert cell(name, value).plain == text


def test_a_nested_value_of_a_record_is_outlined() -> None:
    told = cell("retry", {"schedule": [5, 300], "jitter": 0.1}, inline=False).plain
    assert told == "schedule: [5, 300]\njitter: 0.1"
    told = cell("routes", [{"state": "owed", "attempts": 1}], inline=False).plain
    assert told == "- state: owed\n  attempts: 1"


def test_piped_rows_are_lines_of_json_with_everything(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"id": "x" * 300, "other": "名"}, {"id": "y"}]
    assert show(iter(rows), [ID]) == 2
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == rows
    show_record(rows[0])
    assert json.loads(capsys.readouterr().out) == rows[0]


def test_printable_keeps_line_ends() -> None:
    assert printable("a\nb\r\x00") == "a\nb\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}"
