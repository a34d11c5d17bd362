"""What is wrong with how a command was called, in our words: what it is, where, and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args, get_origin

from cyclopts.exceptions import (
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    RepeatArgumentError,
    UnusedCliTokensError,
)

from posthouse.domain.errors import Invalid

if TYPE_CHECKING:
    from cyclopts.argument import Argument

SHOWN_LENGTH_MAX: Final = 200  # of what was typed
_KINDS: Final[dict[Any, str]] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    Path: "a path",
}


def told(error: CycloptsError) -> Invalid:
    """The error as one of ours, with the next steps as its notes, which `main` prints under it."""
    made = Invalid(_what(error))
    for step in _steps(error):
        made.add_note(step)
    return made


def _what(error: CycloptsError) -> str:
    argument = error.argument
    match error:
        case MissingArgumentError() if argument is not None and type(error) is MissingArgumentError:
            kind = f": {kind}" if (kind := _kind(argument)) else ""
            option = _option_without_value(error, argument)
            if option is not None:
                return f"{option} needs a value after it{kind}"
            return f"`{_command(error)}` needs {_name(argument)}{kind}"
        case CoercionError(token=token, msg=None) if argument is not None and token is not None and _kind(argument):
            return (
                f"{token.keyword or _name(argument)} is {_kind(argument)}, and not {token.value[:SHOWN_LENGTH_MAX]!r}"
            )
        case UnusedCliTokensError(unused_tokens=[first, *_]):
            return f"`{_command(error)}` takes no {first[:SHOWN_LENGTH_MAX]!r}"
        case RepeatArgumentError(token=token) if token.keyword is not None:
            return f"{token.keyword} is given more than once"
    text = str(error).strip()
    text = text if text.endswith("...") else text.removesuffix(".")
    return text[:1].lower() + text[1:]


def _steps(error: CycloptsError) -> list[str]:
    steps = []
    argument = error.argument
    if isinstance(error, MissingArgumentError) and argument is not None:
        if meant := _meaning(error, argument):
            steps.append(f"{_name(argument)}: {meant}")
        option = _option_without_value(error, argument)
        if option is None:
            if variables := _variables(argument):
                steps.append(f"give it, or set {' or '.join(variables)}")
        elif (word := _word_after(error, option)).startswith("-"):
            steps.append(f"{word} is taken for an option; a value that begins with - is given as {option}=VALUE")
    return [*steps, f"`{_command(error)} --help` says what there is"]


def _command(error: CycloptsError) -> str:
    return " ".join(["posthouse", *(error.command_chain or ())])


def _name(argument: Argument) -> str:
    """What it is called: its option, or its place in capitals."""
    return argument.name if argument.name.startswith("-") else argument.name.upper()


def _meaning(error: CycloptsError, argument: Argument) -> str:
    """What its help says. A docstring is read only where somebody asks for help: it is as cyclopts parses the command line."""
    collection = error.app.assemble_argument_collection(parse_docstring=True) if error.app is not None else [argument]
    found = next((one for one in collection if one.name == argument.name), argument)
    return " ".join(str(found.parameter.help or "").split())


def _option_without_value(error: MissingArgumentError, argument: Argument) -> str | None:
    """The option as it was written, where it was; None where it was not given at all."""
    if error.keyword is not None:
        return error.keyword
    return next((token.keyword for token in reversed(argument.tokens) if token.keyword is not None), None)


def _word_after(error: CycloptsError, option: str) -> str:
    """The word after this option, where it was given last; empty where that is the end."""
    words = error.root_input_tokens or []
    return next((after for word, after in zip(words[-2::-1], words[:0:-1], strict=True) if word == option), "")


def _variables(argument: Argument) -> tuple[str, ...]:
    found = argument.parameter.env_var
    return (found,) if isinstance(found, str) else tuple(found or ())


def _kind(argument: Argument) -> str:
    """What its values are; empty where any text is one."""
    hint: Any = argument.hint
    while get_origin(hint) is not None and get_origin(hint) is not Literal:
        # list[int], int | None: the first that says something.
        hint = next((one for one in get_args(hint) if one not in (type(None), ...)), str)
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(map(str, get_args(hint)))
    return _KINDS.get(hint, "")
