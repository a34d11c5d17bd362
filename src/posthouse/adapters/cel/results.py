"""What expressions come to, as plain JSON values; and what goes wrong with them, in words that hold none of the data."""

from __future__ import annotations

import base64
import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from cel_expr_python import cel

from posthouse.adapters.cel.program import Program, operator_name, type_name
from posthouse.domain.expression import Failed, FailedBecause, Outcome, Use, Value
from posthouse.domain.limits import EXPRESSION_DATA_DEPTH_MAX, EXPRESSION_TEXT_BYTES_MAX

_T: Final = cel.Type


class ResultBounds(msgspec.Struct, frozen=True):
    """How large a value may be."""

    bytes: int
    nodes: int


class Exceeded(Exception):
    """A value is larger than that."""


class _Unfit(Exception):
    """A value that cannot be what its use asks for: why."""


def outcome_of(program: Program, value: Any, bounds: ResultBounds) -> Outcome:
    """What the runtime came to. Raises Exceeded."""
    plain = value.value()
    if program.use in (Use.FILTER, Use.RULE) and (plain is True or plain is False):
        return _TRUE if plain else _FALSE
    kind = value.type()
    if kind == _T.ERROR:
        return failed_as(str(plain), program)
    try:
        match program.use:
            case Use.FILTER | Use.RULE:
                raise _Unfit(f"it came to {type_name(str(kind))}, and not to true or false")
            case Use.TEXT | Use.ANSWER_TEXT:
                return Value(_text(plain, str(kind), bounds))
            case _:
                return Value(_Plain(bounds).of(value, 0))
    except _Unfit as unfit:
        return Failed(FailedBecause.WRONG_TYPE, str(unfit))


_TRUE: Final = Value(True)
_FALSE: Final = Value(False)


def _text(plain: Any, kind: str, bounds: ResultBounds) -> str:
    match plain:
        case bool():
            return "true" if plain else "false"
        case str():
            if len(plain.encode()) > min(EXPRESSION_TEXT_BYTES_MAX, bounds.bytes):
                raise Exceeded
            return plain
        case int():
            return str(plain)
        case float():
            return _number(plain)
        case datetime() | timedelta():
            return _time_text(plain)
        case _:
            raise _Unfit(f"it came to {type_name(kind)}, and not to a text, a number or a bool")


def _number(value: float) -> str:
    _finite(value)
    return str(int(value)) if value == int(value) and abs(value) < _EXACT else repr(value)


_EXACT: Final = 2.0**53


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise _Unfit("it came to something that is no number (NaN), or infinite")
    return value


def _time_text(value: datetime | timedelta) -> str:
    """A time as RFC 3339 has it, a duration in seconds as CEL writes it: `90s`, `1.5s`."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    whole = value.days * 86_400_000_000 + value.seconds * 1_000_000 + value.microseconds
    seconds, micros = divmod(abs(whole), 1_000_000)
    fraction = f".{micros:06d}".rstrip("0") if micros else ""
    return f"{'-' if whole < 0 else ''}{seconds}{fraction}s"


class _Plain:
    """A value of the runtime, step by step, as far as the bounds."""

    def __init__(self, bounds: ResultBounds) -> None:
        self._bytes, self._nodes = bounds.bytes, bounds.nodes

    def of(self, value: Any, depth: int) -> Any:
        self._take(1)
        if depth > 2 * EXPRESSION_DATA_DEPTH_MAX:
            raise Exceeded
        plain = value.value()
        match plain:
            case None | bool() | int():
                return plain
            case str():
                self._take(len(plain))
                return plain
            case float():
                return _finite(plain)
            case list():
                return [self.of(each, depth + 1) for each in plain]
            case dict():
                # The runtime has no order of its own: the same value is always the same JSON.
                return {self._key(key): self.of(plain[key], depth + 1) for key in sorted(plain, key=_in_order)}
            case bytes() | bytearray():
                self._take(2 * len(plain))
                return base64.b64encode(plain).decode()
            case datetime() | timedelta():
                return _time_text(plain)
            case _:
                if value.type() == _T.TYPE:
                    return str(plain).partition("<")[0].lower()
                raise _Unfit(f"it has {type_name(str(value.type()))} in it, which is no JSON")

    def _key(self, key: Any) -> str:
        text = key if isinstance(key, str) else ("true" if key else "false") if isinstance(key, bool) else str(key)
        self._take(len(text))
        return text

    def _take(self, size: int) -> None:
        self._bytes -= size
        self._nodes -= 1
        if self._bytes < 0 or self._nodes < 0:
            raise Exceeded


def _in_order(key: Any) -> tuple[str, str]:
    return type(key).__name__, str(key)


# What goes wrong

_MISSING: Final = re.compile(r'Key not found in map : "(.*)"\Z', re.DOTALL)
_OVERLOAD: Final = re.compile(r"No matching overloads found(?: : (\S+?))?\Z", re.DOTALL)
_TYPES: Final = re.compile(r"No matching overloads found : ([^ ()]*)\(([a-z0-9_, ]*)\)\Z")
_METHOD: Final = re.compile(r"No matching overloads found : \(([a-z0-9_]+)\)\.([A-Za-z]+)\(([a-z0-9_, ]*)\)\Z")
_KNOWN: Final = (
    ("divide by zero", "a division by zero"),
    ("modulus by zero", "a division by zero"),
    ("integer overflow", "an integer beyond 64 bits"),
    ("unsigned integer overflow", "an integer beyond 64 bits"),
    ("out of int64 range", "an integer beyond 64 bits"),
    ("out of uint64 range", "an integer beyond 64 bits"),
    ("Index error", "an index that is not in the list, or is none"),
    ("Key not found", "a key that is not there"),
    ("Applying SELECT", "a field of something that is no object (has(…) says whether it is there)"),
    ("invalid regular expression", "no regular expression"),
    ("cannot convert", "a text that is not what it is converted to"),
    ("conversion failed", "a text that is not what it is converted to"),
    ("Timestamp", "a time that is none, or too far away"),
    ("timestamp", "a time that is none, or too far away"),
    ("Duration", "a duration that is none, or too long"),
    ("duration", "a duration that is none, or too long"),
    ("<pos>", "a position that is not in the text"),
    ("<start>", "a position that is not in the text"),
    ("<end>", "a position that is not in the text"),
    ("clause", "format cannot write this value so"),
)
_NAME_LENGTH_MAX: Final = 64


def failed_as(said: str, program: Program) -> Failed:
    """What the runtime says of an error."""
    if "Iteration budget exceeded" in said:
        return Failed(FailedBecause.TOO_LARGE, "the lists are too long: an expression looks at 10,000 values of them")
    if "No value with name" in said:
        return Failed(FailedBecause.ERROR, "a variable that is not there: here is no endpoint, or no app")
    return Failed(FailedBecause.ERROR, _in_words(said, program))


def _in_words(said: str, program: Program) -> str:
    missing = _MISSING.search(said)
    if missing is not None:
        name = missing[1]
        if name in program.looks.literals and len(name) <= _NAME_LENGTH_MAX:
            return f'there is no field "{name}"'
        return "a key that is not there"
    method = _METHOD.search(said)
    if method is not None:
        return f"{method[2]} is not for {_types(method[1])} and ({_types(method[3])})"
    types = _TYPES.search(said)
    if types is not None:
        return f"{operator_name(types[1])} is not for ({_types(types[2])})"
    if (overload := _OVERLOAD.search(said)) is not None:
        name = operator_name(overload[1] or "")
        return "the condition is not true or false" if "jump" in name or not name else f"{name} is not for what it got"
    return next((words for part, words in _KNOWN if part in said), "it could not be evaluated")


def _types(text: str) -> str:
    return text.replace("int64", "int").replace("null_type", "null")
