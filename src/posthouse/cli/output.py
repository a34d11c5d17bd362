"""How results are shown: a table on a terminal, NDJSON when piped or asked for."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any


def show(rows: Iterable[dict[str, Any]], columns: Sequence[str], *, as_json: bool = False) -> None:
    """Print rows to stdout."""
    if as_json or not sys.stdout.isatty():
        for row in rows:
            print(json.dumps(row, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*("" if row.get(column) is None else str(row[column]) for column in columns))
    Console().print(table)


def note(text: str) -> None:
    """Progress and advice, to stderr."""
    print(text, file=sys.stderr, flush=True)
