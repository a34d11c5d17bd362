"""Whether an event passes an endpoint's filters: its `filters` (dialects) and its `filter` (an expression) together. Pure.

The dialects mean what they mean in the CloudEvents Subscriptions API (version 1.0, section 3.2.4.1): an attribute that the
event does not have matches nothing, texts are compared as they are written, and all filters of a list must match. The
attributes of an event are its `type`, `subject`, `source`, `key` (also as `partitionkey`) and `datacontenttype`, and those that
it was published with; its `id` is that of the CloudEvent that it came as, else Posthouse's own.

Expressions are not evaluated here. A condition says which it has (`expressions`), and judges by what they came to. One without
a value decides nothing that the others decide without it: `any` of it and of something true is true.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from posthouse.domain.endpoint import Endpoint, EndpointConfig
from posthouse.domain.errors import Invalid
from posthouse.domain.event import Event
from posthouse.domain.expression import Expression, Failed, FailedBecause, Outcome, Use, Value
from posthouse.domain.filters import Dialect, Filters
from posthouse.domain.ids import EVENT, format_id
from posthouse.domain.limits import (
    FILTER_ATTRIBUTES_MAX,
    FILTER_DEPTH_MAX,
    FILTER_DIALECTS_MAX,
    FILTERS_MAX,
    NAME_LENGTH_MAX,
    TEXT_LENGTH_MAX,
)

Verdict = bool | Failed
"""Whether an event passes; or, why that cannot be said."""

Outcomes = Mapping[Expression, Outcome]

_OF_ENDPOINT: Final = re.compile(r"\b(?:endpoint|app)\b")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_WRONG_TYPE: Final = Failed(FailedBecause.WRONG_TYPE, "a filter is true or false")
_UNEVALUATED: Final = Failed(FailedBecause.UNAVAILABLE, "it was not evaluated")
_attributes: Final = msgspec.json.Decoder(dict[str, object])


class Attributes:
    """What filters may ask of an event, by name. What it was published with is read once, and only if a filter wants it."""

    __slots__ = ("_event", "_own", "_published")

    def __init__(self, event: Event) -> None:
        self._event = event
        self._own = {
            "type": event.type,
            "subject": event.subject,
            "source": event.source,
            "key": event.key,
            "partitionkey": event.key,
            "datacontenttype": event.content_type,
        }
        self._published: dict[str, object] | None = None

    def get(self, name: str) -> str | None:
        """Its text; None where the event does not have it."""
        own = self._own.get(name)
        if own is not None:
            return own
        if self._published is None:
            raw = self._event.attributes
            self._published = {} if raw is None else _attributes.decode(raw)
        found = self._published.get(name)
        if isinstance(found, str):
            return found
        return format_id(EVENT, self._event.id) if name == "id" else None


_Match = Callable[[Attributes, Outcomes], Verdict]


class Condition:
    """The filters of one or more endpoints, compiled.

    `expressions` are the distinct ones that it has. `personal`: they look at the endpoint or its app, so that what they come to
    is of that endpoint alone; `by_app`: an app wrote any of them; `mixed`: there are dialects, which may decide without them.
    """

    __slots__ = ("_match", "by_app", "expressions", "mixed", "personal")

    def __init__(self, endpoint: Endpoint | EndpointConfig) -> None:
        found: dict[Expression, None] = {}
        matches = [_compiled(dialect, "filters" in endpoint.by_app, found) for dialect in endpoint.filters]
        if endpoint.filter:
            matches.append(_expression(endpoint.filter, "filter" in endpoint.by_app, found))
        self._match = _joined(matches, decides=False)
        self.expressions = tuple(found)
        self.personal = any(_OF_ENDPOINT.search(expression.text) for expression in found)
        self.by_app = any(expression.by_app for expression in found)
        self.mixed = any(dialect.cel is None for dialect in endpoint.filters)

    def judge(self, attributes: Attributes, outcomes: Outcomes) -> Verdict:
        """Whether the event passes, given what the expressions came to."""
        return self._match(attributes, outcomes)


def key_of(endpoint: Endpoint) -> object:
    """The same for endpoints whose filters are the same. An operator's and an app's are not: they are evaluated elsewhere."""
    return (
        endpoint.filter,
        msgspec.json.encode(endpoint.filters),
        "filter" in endpoint.by_app,
        "filters" in endpoint.by_app,
    )


def has_filters(endpoint: Endpoint | EndpointConfig) -> bool:
    """Whether anything besides types and channels decides what it gets."""
    return bool(endpoint.filter or endpoint.filters)


# Compiling


def _compiled(dialect: Dialect, by_app: bool, found: dict[Expression, None]) -> _Match:
    if dialect.exact is not None:
        return _texts(dialect.exact, str.__eq__)
    if dialect.prefix is not None:
        return _texts(dialect.prefix, str.startswith)
    if dialect.suffix is not None:
        return _texts(dialect.suffix, str.endswith)
    if dialect.all is not None:
        return _joined([_compiled(each, by_app, found) for each in dialect.all], decides=False)
    if dialect.any is not None:
        return _joined([_compiled(each, by_app, found) for each in dialect.any], decides=True)
    if dialect.not_ is not None:
        return _not(_compiled(dialect.not_, by_app, found))
    return _expression(dialect.cel or "", by_app, found)


def _texts(wanted: Mapping[str, str], holds: Callable[[str, str], bool]) -> _Match:
    pairs = tuple(wanted.items())

    def match(attributes: Attributes, outcomes: Outcomes) -> Verdict:
        for name, text in pairs:
            found = attributes.get(name)
            if found is None or not holds(found, text):
                return False
        return True

    return match


def _joined(matches: Sequence[_Match], *, decides: bool) -> _Match:
    """One of these that is `decides` decides for all; else the first without a value, where there is one."""
    if len(matches) == 1:
        return matches[0]

    def match(attributes: Attributes, outcomes: Outcomes) -> Verdict:
        verdict: Verdict = not decides
        for each in matches:
            found = each(attributes, outcomes)
            if found is decides:
                return decides
            if isinstance(found, Failed) and not isinstance(verdict, Failed):
                verdict = found
        return verdict

    return match


def _not(inner: _Match) -> _Match:
    def match(attributes: Attributes, outcomes: Outcomes) -> Verdict:
        found = inner(attributes, outcomes)
        return found if isinstance(found, Failed) else not found

    return match


def _expression(text: str, by_app: bool, found: dict[Expression, None]) -> _Match:
    expression = Expression(text, Use.FILTER, by_app)
    found[expression] = None

    def match(attributes: Attributes, outcomes: Outcomes) -> Verdict:
        outcome = outcomes.get(expression, _UNEVALUATED)
        if isinstance(outcome, Value):
            return outcome.value if isinstance(outcome.value, bool) else _WRONG_TYPE
        return outcome

    return match


# Explaining


def refused_by(
    endpoint: Endpoint | EndpointConfig, attributes: Attributes, outcomes: Outcomes
) -> tuple[str, str] | None:
    """The path of the first of its filters that the event does not pass, and that filter; None where none says no."""
    for index, dialect in enumerate(endpoint.filters):
        if _compiled(dialect, "filters" in endpoint.by_app, {})(attributes, outcomes) is False:
            return f"filters[{index}]", msgspec.json.encode(dialect).decode()
    if endpoint.filter and _expression(endpoint.filter, "filter" in endpoint.by_app, {})(attributes, outcomes) is False:
        return "filter", endpoint.filter
    return None


# Checking


def check_filters(filters: Filters, path: str = "filters") -> None:
    """Whether these may be stored, apart from their expressions. Raises Invalid with the path of what is wrong."""
    if len(filters) > FILTERS_MAX:
        raise Invalid(f"an endpoint has at most {FILTERS_MAX} filters", path=path)
    for number, at in enumerate(_checked(filters, path, 1)):
        if number >= FILTER_DIALECTS_MAX:
            raise Invalid(f"there are more than {FILTER_DIALECTS_MAX} filters, counting those inside others", path=at)


def _checked(filters: Filters, path: str, depth: int) -> Iterator[str]:
    for index, dialect in enumerate(filters):
        yield from _checked_one(dialect, f"{path}[{index}]", depth)


def _checked_one(dialect: Dialect, path: str, depth: int) -> Iterator[str]:
    """The path of each as it is looked at."""
    yield path
    if depth > FILTER_DEPTH_MAX:
        raise Invalid(f"filters are at most {FILTER_DEPTH_MAX} deep inside each other", path=path)
    given = [name for name in Dialect.__struct_fields__ if getattr(dialect, name) is not None]
    if len(given) != 1:
        names = ", ".join(name.rstrip("_") for name in given) or "none"
        raise Invalid(
            f"a filter has exactly one of exact, prefix, suffix, all, any, not and cel; this one has {names}", path=path
        )
    for name, wanted in (("exact", dialect.exact), ("prefix", dialect.prefix), ("suffix", dialect.suffix)):
        if wanted is not None:
            _check_texts(wanted, f"{path}.{name}")
    for name, several in (("all", dialect.all), ("any", dialect.any)):
        if several is not None:
            if not several:
                raise Invalid("give at least one filter", path=f"{path}.{name}")
            yield from _checked(several, f"{path}.{name}", depth + 1)
    if dialect.not_ is not None:
        yield from _checked_one(dialect.not_, f"{path}.not", depth + 1)
    if dialect.cel == "":
        raise Invalid("the expression is empty", path=f"{path}.cel")


def _check_texts(wanted: Mapping[str, str], path: str) -> None:
    if not wanted:
        raise Invalid("give at least one attribute", path=path)
    if len(wanted) > FILTER_ATTRIBUTES_MAX:
        raise Invalid(f"a filter looks at no more than {FILTER_ATTRIBUTES_MAX} attributes", path=path)
    for name, text in wanted.items():
        if not 0 < len(name) <= NAME_LENGTH_MAX or _CONTROL.search(name):
            raise Invalid(
                f"an attribute's name has 1 to {NAME_LENGTH_MAX} characters, and none of them is a control character",
                path=path,
            )
        if not 0 < len(text) <= TEXT_LENGTH_MAX:
            raise Invalid(f"must have 1 to {TEXT_LENGTH_MAX} characters, has {len(text)}", path=f"{path}.{name}")
