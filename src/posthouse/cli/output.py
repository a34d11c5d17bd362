"""How results are shown: for people on a terminal, NDJSON when piped or asked for.

What strangers wrote (names, answers of targets) must not drive the terminal: every value goes through `printable`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from posthouse.cli import exact

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

COLOURS: Final = {
    "delivered": "green",
    "confirmed": "green",
    "done": "green",
    "ok": "green",
    "finished": "green",
    "failed": "yellow",
    "owed": "yellow",
    "paused": "yellow",
    "warn": "yellow",
    "gave_up": "red",
    "disabled": "red",
    "cancelled": "red",
    "fail": "red",
}
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(\.\d+)?Z\Z")
_GAP: Final = 2
_FOLDED_MIN: Final = 16  # a folded column is not made narrower than this


class Column(NamedTuple):
    """A column: where its value is in the row (`timings.total_ms`), and its title where that is not the last word.

    `folds` may be broken into lines where room is short (ids never are); `spare` columns are left out then.
    """

    path: str
    title: str = ""
    folds: bool = False
    spare: bool = False


def plural(count: int, noun: str) -> str:
    """`1 event`, `2 events`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def as_json(wanted: bool) -> bool:
    """Whether rows go out as lines of JSON."""
    return wanted or not sys.stdout.isatty()


def show(rows: Iterable[dict[str, Any]], columns: Sequence[Column], *, json_wanted: bool = False) -> int:
    """Print rows to stdout, as they come where they are JSON; how many there were."""
    if as_json(json_wanted):
        count = 0
        for row in rows:
            print(exact.dumps(row))
            count += 1
        return count
    found = list(rows)
    if found:
        _table(found, columns)
    else:
        note("nothing to show")
    return len(found)


def show_record(record: dict[str, Any], *, json_wanted: bool = False) -> None:
    """Print one thing to stdout: a line a field on a terminal."""
    if as_json(json_wanted):
        print(exact.dumps(record))
        return
    from rich.table import Table

    grid = Table.grid(padding=(0, _GAP))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in record.items():
        grid.add_row(name, cell(name, value, inline=False))
    terminal().print(grid)


def terminal() -> Console:
    """Stdout as a terminal. It honours NO_COLOR and COLUMNS."""
    from rich.console import Console

    return Console(highlight=False)


def note(text: str) -> None:
    """Progress and advice, to stderr."""
    print(text, file=sys.stderr, flush=True)


def printable(text: str) -> str:
    """Without what would drive a terminal; line ends stay."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


def cell(name: str, value: Any, *, inline: bool = True) -> Text:
    """A value as a person reads it."""
    from rich.text import Text

    match value:
        case None:
            return Text("-", style="dim")
        case bool():
            return Text("yes" if value else "no", style="" if value else "dim")
        case str() | list() | dict() if not value:
            return Text("-", style="dim")
        case str():
            found = _TIME.match(value)
            text = f"{found[1]} {found[2]}" if found else value
            return Text(printable(text if not inline else text.replace("\n", " ")), style=COLOURS.get(value, ""))
        case float() if name.endswith("_ms"):
            return Text(f"{value:.1f}")
        case list() if inline and all(isinstance(one, str) for one in value):
            return Text(printable(", ".join(value)))
        case list() | dict() if inline:
            return Text(printable(exact.dumps(value)))
        case list() | dict():
            return Text(printable(outlined(value).rstrip()))
        case _:
            return Text(str(value))


def outlined(value: Any, *, width: int = 100) -> str:
    """A value as YAML, to be read: lists of plain values on one line, everything else on lines of its own."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Without anchors."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

    def sequence(dumper: Dumper, values: list[Any]) -> yaml.Node:
        flat = not any(isinstance(one, list | dict) for one in values)
        return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=flat)

    def number(dumper: Dumper, value: exact.Exact) -> yaml.Node:
        return dumper.represent_scalar("tag:yaml.org,2002:float", value.written)

    Dumper.add_representer(list, sequence)
    Dumper.add_representer(exact.Exact, number)
    return str(
        yaml.dump(value, Dumper=Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=width)
    )


def _value(row: dict[str, Any], path: str) -> Any:
    value: Any = row
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _table(rows: Sequence[dict[str, Any]], columns: Sequence[Column]) -> None:
    """A table that fits: spare columns go first, then foldable ones are broken into lines; ids stay whole."""
    from rich.table import Table

    console = terminal()
    cells = {column: [cell(column.path, _value(row, column.path)) for row in rows] for column in columns}
    kept = _fitting({column: _width(column, cells[column]) for column in columns}, console.width)
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for column in kept:
        table.add_column(_title(column), no_wrap=not column.folds, overflow="fold")
    for index in range(len(rows)):
        table.add_row(*(cells[column][index] for column in kept))
    console.print(table)
    left_out = [_title(column) for column in columns if column not in kept]
    if left_out:
        note(f"left out for want of room: {', '.join(left_out)}; --json shows everything")


def _title(column: Column) -> str:
    return column.title or column.path.rpartition(".")[2].removesuffix("_ms").replace("_", " ")


def _width(column: Column, cells: Sequence[Text]) -> int:
    return max(len(_title(column)), *(found.cell_len for found in cells))


def _fitting(widths: dict[Column, int], room: int) -> list[Column]:
    """The columns that are shown in this room, in their order."""
    kept = list(widths)

    def least() -> int:
        narrow = (min(widths[c], _FOLDED_MIN) if c.folds else widths[c] for c in kept)
        return sum(narrow) + _GAP * len(kept)

    while least() > room and (spare := [column for column in kept if column.spare]):
        kept.remove(spare[-1])
    return kept
