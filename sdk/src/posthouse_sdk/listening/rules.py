"""Rules: which requests and answers become which events. Plain configuration, read and checked once. Pure.

Rule("POST", "/orders", "order_create", status=201, subject="shop:{answer.shop}", key="order:{answer.id}")

[[rules]]                              # the same, in TOML
method = "POST"
path = "/orders"
event = "order_create"
status = 201
subject = "shop:{answer.shop}"
key = "order:{answer.id}"
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final, NamedTuple

from posthouse_sdk.listening.conditions import conditions_of
from posthouse_sdk.listening.misses import UnreadableError
from posthouse_sdk.listening.paths import PathTemplate
from posthouse_sdk.listening.references import ABSENT, BODY_ROOTS, Facts, Template
from posthouse_sdk.publishing.errors import ConfigurationError, EventError
from posthouse_sdk.publishing.event import Event

RULES_MAX: Final = 1_000
ANY_METHOD: Final = "*"
_EARLY: Final = frozenset({"path", "query", "header", "method"})
_WORDS: Final = ("answer", "request", "both", "none")

StatusLike = int | str


@dataclass(frozen=True)
class Rule:
    """What is to be published of an answer. Texts may hold references in braces: see `references.py`.

    `method`: one, several, or "*" for any. `path`: a template (`paths.py`). `status`: 201, "2xx", or several of such. `when`:
    what fields must be besides (`conditions.py`).

    `event` is the event's type; `subject`, `key` and `app` are as an event has them. Where one of these needs a field that is
    not there, no event is made of it, and that is told: an event without its subject would go to others than it was meant for.

    `data`: "answer" (its body), "request" (its body), "both" (`{"request": …, "answer": …}`), "none" (`{}`), or chosen fields:
    `{"order": "{answer.id}", "by": "{header.x-user}", "source": "api"}`. A text that is one reference and nothing else becomes
    what it refers to, number or object, and is left out where that is not there.

    `name` is what logs and gauges call the rule; by default, what it says. Where the idempotency key of a client makes its
    retry the same event, the name is a part of that: keep it when the rule is changed.
    """

    method: str | Sequence[str]
    path: str
    event: str
    status: StatusLike | Sequence[StatusLike] = "2xx"
    when: Mapping[str, Any] = field(default_factory=dict)
    subject: str | None = None
    key: str | None = None
    app: str | None = None
    data: str | Mapping[str, Any] = "answer"
    name: str | None = None


def rule_of(told: Mapping[str, Any], where: str = "rule") -> Rule:
    """A rule as plain data, of settings or a file. Raises ConfigurationError, which names the field."""
    if not isinstance(told, Mapping):
        raise ConfigurationError(f"{where}: a rule maps names to values, and is no {type(told).__name__}")
    known = [one.name for one in fields(Rule)]
    if unknown := [str(name) for name in told if name not in known]:
        raise ConfigurationError(f"{where}.{unknown[0]}: a rule has no such field; it has {', '.join(known)}")
    if absent := [name for name in ("method", "path", "event") if name not in told]:
        raise ConfigurationError(f"{where}.{absent[0]}: it is not there; a rule has a method, a path and an event")
    return Rule(**told)


class Made(NamedTuple):
    """What an event is made of, all but its idempotency key."""

    type: str
    data: Any
    subject: str | None
    key: str | None
    app: str | None


class CompiledRule:
    """A rule that was checked. Raises ConfigurationError, which begins with `where`."""

    def __init__(self, rule: Rule, where: str = "rule") -> None:
        self.methods: Final = _checked(where, "method", _methods, rule.method)
        self.path: Final = _checked(where, "path", PathTemplate, rule.path)
        self.name: Final = rule.name or f"{' '.join(self.methods)} {rule.path} -> {rule.event}"
        self.statuses: Final = _checked(where, "status", _statuses, rule.status)
        kinds = self.path.kinds

        def template(text: str) -> Template:
            return Template(text, kinds)

        def optional(field_name: str, text: str | None) -> Template | None:
            return None if text is None else _checked(where, field_name, template, text)

        self._event = _checked(where, "event", template, rule.event)
        if self._event.is_constant:
            _checked(where, "event", lambda text: Event(text, {}), self._event.text)
        self._subject = optional("subject", rule.subject)
        self._key = optional("key", rule.key)
        self._app = optional("app", rule.app)
        self._data = _checked(where, "data", lambda data: _Data(data, kinds), rule.data)
        conditions = _checked(where, "when", lambda when: conditions_of(when, kinds), rule.when)
        self._early = [one for one in conditions if one.reference.root in _EARLY]
        self._late = [one for one in conditions if one.reference.root in BODY_ROOTS]
        self._by_head = [one for one in conditions if one not in self._early and one not in self._late]
        texts = (self._event, self._subject, self._key, self._app)
        roots = {one.reference.root for one in conditions} | self._data.roots
        roots |= {root for text in texts if text is not None for root in text.roots}
        self.needs_request: Final = "request" in roots
        self.needs_answer: Final = "answer" in roots

    def __repr__(self) -> str:
        return f"<rule {self.name}>"

    def may_match(self, facts: Facts) -> bool:
        """Whether the request's head, whose method and path fit, rules it out."""
        return all(one.holds(facts) for one in self._early)

    def matches_head(self, status: int, facts: Facts) -> bool:
        """The same, of the answer's head."""
        return status in self.statuses and all(one.holds(facts) for one in self._by_head)

    def made(self, facts: Facts) -> Made | None:
        """What its event is made of; None where a body rules it out. Raises UnreadableError, MissingFieldError."""
        if not all(one.holds(facts) for one in self._late):
            return None
        subject, key, app = (
            None if text is None else text.filled(facts) for text in (self._subject, self._key, self._app)
        )
        return Made(self._event.filled(facts), self._data.made(facts), subject, key, app)


class _Data:
    """What the data of an event are made of."""

    def __init__(self, data: str | Mapping[str, Any], kinds: Mapping[str, str]) -> None:
        self._word = data if isinstance(data, str) else None
        self._fields: dict[str, Any] = {}
        self.roots: set[str] = set()
        if isinstance(data, Mapping):
            self._fields = self._read(data, kinds)
        elif data not in _WORDS:
            raise ValueError(f"it is one of {', '.join(_WORDS)}, or a mapping of fields, and not {data!r}")
        elif data != "none":
            self.roots = set(BODY_ROOTS) if data == "both" else {data}

    def _read(self, told: Mapping[str, Any], kinds: Mapping[str, str]) -> dict[str, Any]:
        read: dict[str, Any] = {}
        for name, value in told.items():
            match value:
                case Mapping():
                    read[name] = self._read(value, kinds)
                case str() if value:
                    read[name] = Template(value, kinds)
                    self.roots |= read[name].roots
                case None | bool() | int() | float() | str():
                    read[name] = value
                case _:
                    raise ValueError(f"{name}: a text, number, boolean, null or a mapping of such, and not {value!r}")
        return read

    def made(self, facts: Facts) -> Any:
        match self._word:
            case "none":
                return {}
            case "answer" | "request" as body:
                return _body(body, facts)
            case "both":
                return {"request": _body("request", facts), "answer": _body("answer", facts)}
            case _:
                return _filled(self._fields, facts)


def _body(root: str, facts: Facts) -> Any:
    found = facts.root(root)
    if found is ABSENT:
        raise UnreadableError("not_json", f"the {root} has no body of JSON")
    return found


def _filled(told: Mapping[str, Any], facts: Facts) -> dict[str, Any]:
    filled = {}
    for name, value in told.items():
        made = value.value(facts) if isinstance(value, Template) else value
        if isinstance(value, Mapping):
            made = _filled(value, facts)
        if made is not ABSENT:
            filled[name] = made
    return filled


def _methods(told: str | Sequence[str]) -> tuple[str, ...]:
    methods = (told,) if isinstance(told, str) else tuple(told)
    for method in methods:
        if not isinstance(method, str) or not (method == ANY_METHOD or (method.isascii() and method.isalpha())):
            raise ValueError(f'{method!r} is no method; write "POST", ["POST", "PUT"] or "*"')
    if not methods:
        raise ValueError('there is none; write "*" for any')
    return (ANY_METHOD,) if ANY_METHOD in methods else tuple(dict.fromkeys(method.upper() for method in methods))


def _statuses(told: StatusLike | Sequence[StatusLike]) -> frozenset[int]:
    several = [told] if isinstance(told, int | str) else list(told)
    found: set[int] = set()
    for one in several:
        text = str(one)
        if isinstance(one, bool) or len(text) != 3 or text[0] not in "12345" or not (text[1:] == "xx" or _digits(text)):
            raise ValueError(f'{one!r} is no status; write 201, "2xx" or a list of such')
        found |= set(range(int(text[0]) * 100, int(text[0]) * 100 + 100)) if text[1:] == "xx" else {int(text)}
    if not found:
        raise ValueError('there is none; write "2xx", or leave it away')
    return frozenset(found)


def _digits(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _checked(where: str, field_name: str, read: Callable[[Any], Any], told: Any) -> Any:
    try:
        return read(told)
    except (ValueError, TypeError, EventError) as error:
        raise ConfigurationError(f"{where}.{field_name}: {error}") from None
