"""Expressions as the runtime has them: compiled, with what their trees say; and in words of ours what is wrong with a text."""

from __future__ import annotations

import re
import string
from typing import Any, Final

import msgspec
from cel_expr_python import cel
from cel_expr_python.ext import ext_math, ext_strings

from posthouse.adapters.cel.judging import Looks, Refused, judge
from posthouse.adapters.cel.names import TIME, variables_of
from posthouse.adapters.cel.tree import Call, Const, TooDeep, Tree, read_tree, walk
from posthouse.domain.errors import placed
from posthouse.domain.expression import Failed, FailedBecause, Use
from posthouse.domain.limits import EXPRESSION_LENGTH_MAX

_T: Final = cel.Type
_BOOL: Final = frozenset({Use.FILTER, Use.RULE})
_TEXT: Final = frozenset({Use.TEXT, Use.ANSWER_TEXT})
_AS_TEXT: Final = ("STRING", "INT", "UINT", "DOUBLE", "BOOL", "TIMESTAMP", "DURATION")


class Program(msgspec.Struct, frozen=True):
    """An expression that may be, ready to be evaluated."""

    use: Use
    run: Any  # cel.Expression
    looks: Looks
    type: str
    """What is known beforehand of what it comes to; `DYN` is anything."""


class NotOne(Exception):
    """A text is no expression for its use: why, and where (both counted from 1), as far as that is known."""

    def __init__(self, message: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(message)
        self.line = line
        self.column = column

    @property
    def whole(self) -> str:
        """With the place."""
        return placed(str(self), self.line, self.column)


def _environment(use: Use) -> Any:
    variables = {name: _T.Map(_T.STRING, _T.DYN) for name in variables_of(use)} | {TIME: _T.TIMESTAMP}
    return cel.NewEnv(variables=variables, extensions=[ext_strings.ExtStrings(), ext_math.ExtMath()])


_environments: Final = {of_answer: _environment(use) for of_answer, use in ((False, Use.FILTER), (True, Use.RULE))}


def activation(use: Use, variables: dict[str, Any]) -> Any:
    """What expressions of such a use are evaluated in."""
    return _environments[use.of_answer].Activation(variables)


def program_of(text: str, use: Use) -> Program | Failed:
    """An expression, compiled; of a text that is none, what it comes to instead."""
    try:
        return compile_expression(text, use)
    except NotOne as error:
        return Failed(FailedBecause.ERROR, error.whole)


def compile_expression(text: str, use: Use) -> Program:
    """Raises NotOne."""
    if len(text) > EXPRESSION_LENGTH_MAX:
        raise NotOne(f"an expression has at most {EXPRESSION_LENGTH_MAX} characters")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _placed("half a character (a lone surrogate) stands here", text, error.start) from None
    if "\0" in text:
        raise _placed("the character NUL stands here", text, text.index("\0"))
    try:
        run = _environments[use.of_answer].compile(text)
    except RuntimeError as error:
        raise _told(str(error), text, use) from None
    kind = str(run.return_type())
    try:
        tree = read_tree(run.serialize())
        looks = judge(tree, use)
        _check_patterns(tree)
    except TooDeep:
        raise NotOne("it is nested too deeply, or has too many parts") from None
    except Refused as refused:
        raise _placed(str(refused), text, refused.offset) from None
    except ValueError as error:
        raise NotOne(f"the compiler gave something that is not understood ({error})") from None
    _check_type(kind, use)
    return Program(use, run, looks, kind)


def _check_type(kind: str, use: Use) -> None:
    plain = kind.removeprefix("WRAPPER<").removesuffix(">")
    if use in _BOOL and plain not in ("BOOL", "DYN"):
        raise NotOne(f"it must come to true or false, and this comes to {type_name(kind)}; compare it with something")
    if use in _TEXT and plain not in (*_AS_TEXT, "DYN"):
        raise NotOne(f"it must come to a text, a number or a bool, and this comes to {type_name(kind)}; try string(…)")


def _check_patterns(tree: Tree) -> None:
    """Whether what stands as a regular expression is one."""
    for node in walk(tree.root):
        match node:
            case Call(_, "matches", _, (*_, Const(identity, str() as pattern))):
                value = _MATCHES.eval(data={"pattern": pattern})
                if value.type() != _T.BOOL:
                    reason = str(value.value()).rpartition("regular expression: ")[2]
                    raise Refused(
                        f"this is no regular expression that RE2 knows: {reason[:100]}", tree.offsets.get(identity)
                    )
            case _:
                pass


_MATCHES: Final = cel.NewEnv(variables={"pattern": _T.STRING}).compile("''.matches(pattern)")


def _placed(message: str, text: str, offset: int | None) -> NotOne:
    if offset is None:
        return NotOne(message)
    before = text[:offset]
    return NotOne(message, before.count("\n") + 1, offset - before.rfind("\n"))


# What the compiler says

_ERROR: Final = re.compile(r"ERROR: <input>:(-?[0-9]+):(-?[0-9]+): ([^\n]*)")
_UNDECLARED: Final = re.compile(r"undeclared reference to '([^']*)'")
_NO_OVERLOAD: Final = re.compile(r"found no matching overload for '([^']*)' applied to '([^']*)'")
_NAME_CHARACTERS: Final = "_." + string.ascii_letters + string.digits
_MESSAGE_LENGTH_MAX: Final = 200


def _told(said: str, text: str, use: Use) -> NotOne:
    found = _ERROR.search(said)
    if found is None or "recursion" in said:
        if "recursion" in said:
            return NotOne("it is nested too deeply: at most 32 levels, and as many + or . in a row")
        return NotOne("it cannot be compiled")
    line, column, message = int(found[1]), int(found[2]), found[3].removesuffix(" [INVALID_ARGUMENT]")
    if line <= 0:
        return NotOne(_in_words(message, use))
    undeclared = _UNDECLARED.search(message)
    if undeclared is not None:  # the dot before its last part is where the compiler stands; it begins before that
        before = text.split("\n")[line - 1][: column - 1]
        column -= len(before) - len(before.rstrip(_NAME_CHARACTERS)) if "." in undeclared[1] else 0
    return NotOne(_in_words(message, use), line, column)


def _in_words(message: str, use: Use) -> str:
    undeclared = _UNDECLARED.search(message)
    if undeclared is not None:
        names = ", ".join(variables_of(use))
        first = undeclared[1].partition(".")[0]
        name = undeclared[1] if first in variables_of(use) else first
        return f'there is no variable or function "{name}"; the variables are {names}'
    unfit = _NO_OVERLOAD.search(message)
    if unfit is not None:
        return f"{operator_name(unfit[1])} is not for {unfit[2]}"
    if message.startswith("Syntax error: "):
        what = message.removeprefix("Syntax error: ").partition(" expecting ")[0]
        if "'<EOF>'" in what:
            return "the expression is not complete here"
        return f"syntax error: {what[:_MESSAGE_LENGTH_MAX]}"
    return message[:_MESSAGE_LENGTH_MAX]


def operator_name(function: str) -> str:
    """A function as it is written: `+` for `_+_`."""
    return {"_?_:_": "? :", "@in": "in", "_[_]": "[ ]"}.get(function, function.strip("_@") or function)


_TYPE_NAMES: Final = {
    "BOOL": "a bool",
    "STRING": "a text",
    "INT": "an integer",
    "UINT": "an integer",
    "DOUBLE": "a number",
    "BYTES": "bytes",
    "NULL": "null",
    "TIMESTAMP": "a time",
    "DURATION": "a duration",
    "LIST": "a list",
    "MAP": "a map",
    "TYPE": "a type",
    "DYN": "something else",
}


def type_name(kind: str) -> str:
    """A type of the runtime in words."""
    return _TYPE_NAMES.get(kind.partition("<")[0], "something else")
