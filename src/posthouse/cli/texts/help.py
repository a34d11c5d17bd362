"""Help in Chinese: how cyclopts shows it, with the texts out of the catalogue.

Nothing is loaded, of rich neither, before help is shown: every command makes a `ChineseHelp` as it starts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from posthouse.cli.texts.catalogue import in_chinese

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cyclopts.help import ColumnSpec, HelpEntry, HelpPanel
    from rich.console import Console, ConsoleOptions

    from posthouse.cli.texts.lines import Lines


class ChineseHelp:
    """A formatter of help, as cyclopts asks for one. `told` is the Chinese of a text."""

    def __init__(self, told: Callable[[str], str] = in_chinese) -> None:
        self._told = told

    def render_usage(self, console: Console, options: ConsoleOptions, usage: Any) -> None:
        from rich.text import Text

        words = (self._told(word) if word == "COMMAND" or word.startswith("[") else word for word in str(usage).split())
        console.print(Text(f"{self._told('Usage:')}{' '.join(words)}\n", style="bold"))

    def render_description(self, console: Console, options: ConsoleOptions, description: Any) -> None:
        from rich.text import Text

        from posthouse.cli.texts.lines import Lines

        if text := _plain(description):
            console.print(Lines(Text(f"{self._told(text)}\n")))

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        from cyclopts.help import DefaultFormatter

        shown = panel.copy(title=self._told(str(panel.title)))
        DefaultFormatter(column_specs=self._columns(console, options, panel))(console, options, shown)

    def _columns(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> tuple[ColumnSpec, ...]:
        """Those of cyclopts, but for the last one, which describes."""
        from cyclopts.help.specs import get_default_command_columns, get_default_parameter_columns

        columns = get_default_command_columns if panel.format == "command" else get_default_parameter_columns
        *names, description = columns(console, options, panel.entries)
        return (*names, description.copy(renderer=self._described))

    def _described(self, entry: HelpEntry) -> Lines:
        from rich.text import Text

        from posthouse.cli.texts.lines import Lines

        text = Text(self._told(_plain(entry.description)))
        for label, style in self._labels(entry):
            text.append(" ").append(label, style)
        return Lines(text)

    def _labels(self, entry: HelpEntry) -> Iterator[tuple[str, str]]:
        """What stands behind a description, each with its style."""
        if entry.choices:
            yield self._told("[choices: {}]").format(", ".join(entry.choices)), "cyclopts.choices"
        if entry.env_var:
            yield self._told("[env var: {}]").format(", ".join(entry.env_var)), "cyclopts.env_var"
        if entry.default is not None:
            yield self._told("[default: {}]").format(entry.default), "cyclopts.default"
        if entry.required:
            yield self._told("[required]"), "cyclopts.required"


def _plain(description: Any) -> str:
    """The text of what cyclopts describes something with; empty where that is nothing."""
    text: str = getattr(getattr(description, "primary_renderable", None), "plain", "")
    return text.strip()
