"""A compiled JSON Schema that judges anybody's data, and says what is wrong with them in a bounded time.

Whether data fit is found out in linear time. Why they do not is another matter: the validator gathers all errors before it
tells the first (two hundred thousand, of an array of as many nulls), for each alternative of `anyOf` and `oneOf` all there are
in it, and where a schema refers to itself that doubles with each level of the data. So it is asked for as much as is sure to be
told soon: for all errors, for the first one, or for none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import islice
from typing import Any, Final

from posthouse.domain.limits import SCHEMA_ERRORS_WORK_MAX
from posthouse.wire.json_schema import LINEAR, referred, validator_of

_DEFINITIONS: Final = frozenset({"$defs", "definitions"})
_DYNAMIC: Final = frozenset({"$dynamicRef", "$recursiveRef"})
_IN_PLACE: Final = frozenset({"anyOf", "oneOf", "allOf", "not", "if", "then", "else", "dependentSchemas"})
"""Keywords that apply schemas to the value that they themselves are about."""


class Judge:
    """Raises ValueError for what is no schema (`validator_of`)."""

    __slots__ = ("_branches", "_steps", "_steps_in_place", "_validator")

    def __init__(self, schema: Any, *, patterns: Any = LINEAR, mask: str | None = None) -> None:
        self._validator: Final = validator_of(schema, patterns=patterns, mask=mask)
        counted = _Counted(schema)
        self._branches: Final = counted.branches
        self._steps: Final = counted.steps
        self._steps_in_place: Final = counted.steps_in_place

    def is_valid(self, data: Any) -> bool:
        return bool(self._validator.is_valid(data))

    def errors_of(self, data: Any, *, most: int) -> Sequence[Any]:
        """The first errors of data that do not fit, at most so many; one, or none, where looking for more may take long."""
        values, depth = _measured(data)
        if values * min(self._steps, self._branches**depth) <= SCHEMA_ERRORS_WORK_MAX:
            return list(islice(self._validator.iter_errors(data), most))
        if values * self._steps_in_place <= SCHEMA_ERRORS_WORK_MAX:
            return [_first(self._validator, data)]
        return []


def _first(validator: Any, data: Any) -> Any:
    try:
        validator.validate(data)
    except ValueError as error:  # the validator's own is one
        return error
    raise AssertionError("it was asked of data that do not fit")


def _measured(data: Any) -> tuple[int, int]:
    """How many values there are, and how many levels; no more than matter."""
    values, depth, level = 0, 0, [data]
    while level:
        values += len(level)
        depth += 1
        if values > SCHEMA_ERRORS_WORK_MAX:
            break
        inside: list[Any] = []
        for value in level:
            if len(inside) > SCHEMA_ERRORS_WORK_MAX:
                break
            if isinstance(value, dict):
                inside.extend(value.values())
            elif isinstance(value, list):
                inside.extend(value)
        level = inside
    return values, depth


class _Endless(Exception):
    """The schema refers to itself, or to what is not looked up here."""


class _Counted:
    """`steps`: how many keywords and values a schema has, with its references followed; infinite where it refers to itself.
    `steps_in_place`: those in keywords that apply schemas to the same value. `branches`: how many such schemas there are."""

    def __init__(self, schema: Any) -> None:
        self._root: Final = schema
        self._known: Final[dict[str, tuple[int, int] | None]] = {}
        self.branches = 1
        self._find_branches(schema)
        try:
            self.steps, self.steps_in_place = map(float, self._count(schema))
        except (_Endless, RecursionError, OverflowError):
            self.steps, self.steps_in_place = math.inf, 0.0 if self.branches == 1 else math.inf

    def _find_branches(self, value: Any) -> None:
        if isinstance(value, dict):
            for name, each in value.items():
                if name in _IN_PLACE:
                    self.branches += len(each) if isinstance(each, list | dict) else 1
                self._find_branches(each)
        elif isinstance(value, list):
            for each in value:
                self._find_branches(each)

    def _count(self, value: Any) -> tuple[int, int]:
        steps = in_place = 0
        if isinstance(value, dict):
            for name, each in value.items():
                if name in _DYNAMIC:
                    raise _Endless
                if name in _DEFINITIONS:
                    continue
                more, more_in_place = self._referred(each) if name == "$ref" else self._count(each)
                steps += 1 + more
                in_place += more if name in _IN_PLACE else more_in_place
        elif isinstance(value, list):
            for each in value:
                more, more_in_place = self._count(each)
                steps += 1 + more
                in_place += more_in_place
        return steps, in_place

    def _referred(self, reference: Any) -> tuple[int, int]:
        if not isinstance(reference, str):
            return 0, 0  # a property of that name
        if reference in self._known:
            known = self._known[reference]
            if known is None:
                raise _Endless
            return known
        found = referred(self._root, reference)
        if found is None:
            raise _Endless
        self._known[reference] = None  # until it is counted: who meets it meanwhile has gone round
        counted = self._known[reference] = self._count(found)
        return counted
