"""The reference of all commands as Markdown, out of the commands themselves: `python -m posthouse.cli.reference`.

The flags that every command of the API takes (--url, --key, --json) are told once.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from posthouse.cli.main import COMMANDS, app
from posthouse.cli.verbs import SERVER

if TYPE_CHECKING:
    import cyclopts
    from cyclopts.argument import Argument

Language = Callable[[str], str]  # what an English text is in it

HEAD: Final = """\
# Commands

`posthouse COMMAND --help` says what a command takes; `posthouse --install-completion` lets your shell complete all of it.

Data go to standard output; progress, advice and errors to standard error. On a terminal lists are tables; piped, or with
`--json`, they are lines of JSON, one a row, with everything that the API tells and nothing cut. `NO_COLOR` turns colours off.

Commands that speak to a server find it by `--url` or `POSTHOUSE_URL` (default `http://127.0.0.1:8080`) and take the API key
from `--key`, `POSTHOUSE_KEY` or `POSTHOUSE_API_KEY`.

| exit code | |
|---|---|
| 0 | done |
| 1 | failed |
| 2 | the command, a flag or a value is wrong |
| 3 | no key, an unknown one, or one that may not do this |
| 4 | there is no such thing |
| 5 | a conflict: the name is taken, or somebody else changed it meanwhile |
| 6 | partly done (`apply`), or warnings only (`doctor`) |
| 7 | the server or its database cannot be reached, or is overloaded |
| 130, 141 | ended by Ctrl-C, or because nobody read the output any more (`… \\| head -1`), as other programs are |
"""


def reference(language: Language = str) -> str:
    """The whole page, its texts in another language where one is given."""
    return HEAD + "".join(_commands(language))


def _commands(language: Language) -> Iterator[str]:
    group = ""
    for name, _, named, _ in COMMANDS:
        if named.name != group:
            group = str(named.name)
            yield f"\n## {language(group)}\n"
        yield from _command(("posthouse", name), app[name], language)
    yield f"\n## {language('Completion')}\n"
    yield from _command(("posthouse", "completion"), app["completion"], language)
    yield from _command(("posthouse", "--install-completion"), app["--install-completion"], language)


def _command(words: tuple[str, ...], command: cyclopts.App, language: Language) -> Iterator[str]:
    level = "#" * (len(words) + 1)
    verbs = [name for name in command if not name.startswith("-")]
    if verbs:
        yield f"\n{level} {' '.join(words)}\n\n{language(command.help)}\n"
        for verb in verbs:
            yield from _command((*words, verb), command[verb], language)
        return
    arguments = [argument for argument in command.assemble_argument_collection(parse_docstring=True) if argument.show]
    own = [argument for argument in arguments if SERVER not in _groups(argument)]
    positional = [_names(argument)[0] for argument in own if _is_positional(argument)]
    needed = [f"{_names(argument)[0]} …" for argument in own if argument.required and not _is_positional(argument)]
    optional = [language("[OPTIONS]")] if len(own) > len(positional) + len(needed) else []
    usage = " ".join([*words, *positional, *needed, *optional])
    yield f"\n{level} {' '.join(words)}\n\n```text\n{usage}\n```\n\n{language(_told(command))}\n"
    if own:
        yield "\n| | |\n|---|---|\n"
        yield from (_row(argument, language) for argument in own)


def _told(command: cyclopts.App) -> str:
    """What a command does: its docstring up to the parameters, which have their table."""
    text = inspect.getdoc(command.default_command) if command.default_command else command.help
    return (text or "").partition("\nParameters\n")[0].strip()


def _row(argument: Argument, language: Language) -> str:
    text = language(str(argument.parameter.help or "").strip())
    default = argument.field_info.default
    if argument.required:
        text = language("{} Required.").format(text)
    elif default not in (None, False, "", inspect.Parameter.empty):
        text = language("{} Default: {}.").format(text, default)
    text = text.replace("|", "\\|").replace("\n", " ")
    return f"| {', '.join(f'`{name}`' for name in _names(argument))} | {text} |\n"


def _names(argument: Argument) -> list[str]:
    return [name.upper() if _is_positional(argument) else name for name in argument.names]


def _is_positional(argument: Argument) -> bool:
    return bool(argument.field_info.is_positional_only)


def _groups(argument: Argument) -> tuple[object, ...]:
    group = argument.parameter.group
    return group if isinstance(group, tuple) else (group,)


if __name__ == "__main__":
    print(reference(), end="")
