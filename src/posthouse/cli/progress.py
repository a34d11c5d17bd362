"""How far something long is: a bar on stderr, on a terminal only, with how many, how fast and how long yet."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from posthouse.cli.output import note, printable

if TYPE_CHECKING:
    from rich.progress import Task
    from rich.text import Text

SPEED_SECONDS: Final = 10  # the pace is that of so long


class Bar:
    """What is told of the work. This one shows nothing but lines."""

    def at(self, done: int, total: int | None, *, told: str | None = None, eta_seconds: float | None = None) -> None:
        """So much is done of so much (None: nobody knows yet); a word on it, and how long it will take where that is known."""

    def line(self, text: str) -> None:
        """A line that stays above it."""
        note(text)


def wanted(*, json_wanted: bool) -> bool:
    """Whether a bar is shown: to a person, who did not ask for JSON."""
    return not json_wanted and sys.stderr.isatty()


@contextmanager
def bar(told: str, total: int | None = None, *, json_wanted: bool = False) -> Iterator[Bar]:
    """A bar while the block runs; where none is wanted one that shows nothing, and whose lines are lines all the same."""
    if not wanted(json_wanted=json_wanted):
        yield Bar()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        _text_column(_pace),
        _text_column(_left),
        console=Console(stderr=True, highlight=False),
        speed_estimate_period=SPEED_SECONDS,
        expand=True,
        redirect_stdout=False,  # what is piped stays what it is
    )
    task = progress.add_task(printable(told), total=total)

    class Shown(Bar):
        """On a terminal."""

        def at(
            self, done: int, total: int | None, *, told: str | None = None, eta_seconds: float | None = None
        ) -> None:
            description = None if told is None else printable(told)
            progress.update(task, completed=done, total=total, description=description, eta_seconds=eta_seconds)

        def line(self, text: str) -> None:
            progress.console.print(printable(text), markup=False, soft_wrap=True)

    with progress:
        yield Shown()


def _text_column(told: Callable[[Task], str]) -> Any:
    from rich.progress import ProgressColumn
    from rich.text import Text

    class Column(ProgressColumn):
        """A text about the work."""

        def render(self, task: Task) -> Text:
            return Text(told(task), style="progress.data.speed")

    return Column()


def _pace(task: Task) -> str:
    speed = task.finished_speed or task.speed
    return "" if not speed else f"{speed:,.0f}/s" if speed >= 10 else f"{speed:.1f}/s"


def _left(task: Task) -> str:
    """As the server estimates it, else by the pace."""
    if task.finished:
        return ""
    seconds = task.fields.get("eta_seconds")
    if seconds is None:
        seconds = task.time_remaining
    return "" if seconds is None else f"{clock(seconds)} left"


def clock(seconds: float) -> str:
    """7 s; 3:05; 1:02:03."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
