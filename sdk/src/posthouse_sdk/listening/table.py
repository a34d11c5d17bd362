"""Which rules a request could match, by its method and path: the one thing that every request pays for.

Per method, paths without parameters are looked up in a dictionary, and one regular expression over all templates with
parameters says whether any of them matches; only if it does, each is asked. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from posthouse_sdk.listening.rules import ANY_METHOD, CompiledRule


class Match(NamedTuple):
    """A rule whose method and path a request has, with the parameters of its path."""

    rule: CompiledRule
    parameters: Mapping[str, Any]


class _Lane(NamedTuple):
    """The rules of one method."""

    static: dict[str, tuple[Match, ...]]
    may_match: Callable[[str], object] | None
    templated: tuple[CompiledRule, ...]


_NONE: Final[Sequence[Match]] = ()


class RuleTable:
    """Rules by method and path; `find` keeps their order among paths without parameters, then among the others."""

    def __init__(self, rules: Iterable[CompiledRule]) -> None:
        self.rules: Final = tuple(rules)
        methods = {method for rule in self.rules for method in rule.methods}
        self._lanes = {method: self._lane(method) for method in methods}
        self._others = self._lanes.get(ANY_METHOD)

    def find(self, method: str, path: str) -> Sequence[Match]:
        """The rules that a request of this method to this path may match; empty for most requests."""
        lane = self._lanes.get(method, self._others)
        if lane is None:
            return _NONE
        found = lane.static.get(path, _NONE)
        if lane.may_match is None or lane.may_match(path) is None:
            return found
        more = [(rule, rule.path.match(path)) for rule in lane.templated]
        return [*found, *(Match(rule, parameters) for rule, parameters in more if parameters is not None)]

    def _lane(self, method: str) -> _Lane:
        rules = [rule for rule in self.rules if method in rule.methods or ANY_METHOD in rule.methods]
        static: dict[str, tuple[Match, ...]] = {}
        for rule in rules:
            if rule.path.is_static:
                static[rule.path.text] = (*static.get(rule.path.text, ()), Match(rule, {}))
        templated = tuple(rule for rule in rules if not rule.path.is_static)
        patterns = dict.fromkeys(rule.path.pattern for rule in templated)
        any_of = "|".join(f"(?:{pattern})" for pattern in patterns)
        return _Lane(static, re.compile(any_of, re.DOTALL).fullmatch if patterns else None, templated)
