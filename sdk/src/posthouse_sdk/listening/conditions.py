"""What a rule asks of fields beside method, path and status. Pure.

    when = {"answer.state": "paid", "request.amount": {"at_least": 100}, "header.x-source": {"one_of": ["app", "web"]}}

All of them must hold. There is no language in it: what needs one is asked of the event, by the server's filters.

| test | holds where the field |
|---|---|
| a value, or `equals` | is this text, number, boolean or null |
| `not_equals` | is there, and is another |
| `one_of`, `none_of` | is one of these; is there, and is none of these |
| `exists` | is there (`true`), even as null; is not (`false`) |
| `starts_with`, `ends_with` | is a text that does |
| `at_least`, `at_most` | is a number that is |

A field that is not there fails every test but `exists = false`. A number and a boolean are never equal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from posthouse_sdk.listening.references import ABSENT, TEXT_ROOTS, Facts, Reference, reference_of

_Holds = Callable[[Any, Any], bool]


class Condition(NamedTuple):
    """One thing asked of one field."""

    reference: Reference
    operator: str
    expected: Any

    def holds(self, facts: Facts) -> bool:
        value = self.reference.value(facts)
        if self.operator == "exists":
            return (value is not ABSENT) is self.expected
        return value is not ABSENT and _OPERATORS[self.operator](value, self.expected)


def conditions_of(when: Mapping[str, Any], parameters: Mapping[str, str]) -> list[Condition]:
    """Read the tests of a rule whose path has these parameters, each of a kind. Raises ValueError."""
    if not isinstance(when, Mapping):
        raise ValueError(f'it maps fields to what they must be, such as {{"answer.state" = "paid"}}; this is {when!r}')
    return [found for field, asked in when.items() for found in _of_a_field(str(field), asked, parameters)]


def _of_a_field(field: str, asked: Any, parameters: Mapping[str, str]) -> list[Condition]:
    reference = reference_of(field, parameters)
    if not isinstance(asked, Mapping):
        asked = {"equals": asked}
    if not asked:
        raise ValueError(f"{field}: nothing is asked of it; write exists = true")
    is_text = reference.root in TEXT_ROOTS or (reference.root == "path" and parameters[reference.keys[0]] != "int")
    return [_condition(reference, str(operator), expected, is_text) for operator, expected in asked.items()]


def _condition(reference: Reference, operator: str, expected: Any, is_text: bool) -> Condition:
    where = f"{reference.text}: {operator}"
    match operator:
        case "equals" | "not_equals":
            _check_value(expected, where, is_text)
        case "one_of" | "none_of":
            if not isinstance(expected, list | tuple) or not expected:
                raise ValueError(f"{where} is a list that is not empty, and not {expected!r}")
            for value in expected:
                _check_value(value, where, is_text)
        case "exists":
            if not isinstance(expected, bool):
                raise ValueError(f"{where} is true or false, and not {expected!r}")
        case "starts_with" | "ends_with":
            if not isinstance(expected, str) or not expected:
                raise ValueError(f"{where} is a text that is not empty, and not {expected!r}")
        case "at_least" | "at_most":
            if not _is_number(expected):
                raise ValueError(f"{where} is a number, and not {expected!r}")
            if is_text:
                raise ValueError(f"{where}: what stands there is text, which is no number")
        case _:
            raise ValueError(f"{where} is no test; there are {', '.join((*_OPERATORS, 'exists'))}")
    return Condition(reference, operator, expected)


def _check_value(value: Any, where: str, is_text: bool) -> None:
    if value is not None and not isinstance(value, str | int | float):
        raise ValueError(f"{where} compares with texts, numbers, booleans and null, and not with {value!r}")
    if is_text and not isinstance(value, str):
        raise ValueError(f"{where}: what stands there is text; write {str(value)!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _equal(value: Any, expected: Any) -> bool:
    return isinstance(value, bool) == isinstance(expected, bool) and bool(value == expected)


_OPERATORS: Final[dict[str, _Holds]] = {
    "equals": _equal,
    "not_equals": lambda value, expected: not _equal(value, expected),
    "one_of": lambda value, expected: any(_equal(value, one) for one in expected),
    "none_of": lambda value, expected: not any(_equal(value, one) for one in expected),
    "starts_with": lambda value, expected: isinstance(value, str) and value.startswith(expected),
    "ends_with": lambda value, expected: isinstance(value, str) and value.endswith(expected),
    "at_least": lambda value, expected: _is_number(value) and value >= expected,
    "at_most": lambda value, expected: _is_number(value) and value <= expected,
}
