"""What can be declared: event types, apps, grants and endpoints, and how each compares with what the server says.

A declaration is checked by the models and rules of the API itself, and its `view` is what the server would show of it, every
default included. So nothing is told here a second time, and a new field of an endpoint is one here from its first day.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

from pydantic import BaseModel, ValidationError

from posthouse.api.models.common import optional_time
from posthouse.api.models.directory import AppAnswer, AppFields
from posthouse.api.models.endpoint import EndpointAnswer, EndpointCreate
from posthouse.api.models.event_types import EventTypeAnswer, EventTypeCreate
from posthouse.api.models.grant import GrantPut
from posthouse.api.problems import fields_of
from posthouse.cli.platform.documents import Path_, steps
from posthouse.domain.endpoint import BLANK
from posthouse.domain.errors import Invalid
from posthouse.domain.ids import APP as APP_PREFIX
from posthouse.domain.ids import ENDPOINT, ID_BYTES, AppId, EndpointId, parse_id
from posthouse.domain.ids import GRANT as GRANT_PREFIX
from posthouse.intake.parse import check_type
from posthouse.manage.access import check_uid
from posthouse.manage.endpoint_change import changed, check_change
from posthouse.manage.grants import check_grant
from posthouse.manage.profiles import Profiles, blaming, shipped
from posthouse.ports.directory import App, StoredEndpoint
from posthouse.ports.event_types import EventType

Fields = dict[str, Any]
Known = Callable[[], Profiles]
"""Which profiles there are, asked where an endpoint names one."""
KindName = Literal["event type", "app", "grant", "endpoint"]

_NOBODY: Final = bytes(ID_BYTES)
_IDENTITY: Final = frozenset({"id", "uid", "secret", "keys", "archived"})


def shipped_profiles() -> Profiles:
    """Those that every server has."""
    return Profiles(shipped())


class Wrong(Exception):
    """A declaration that the server would refuse: (path, message) each."""

    def __init__(self, problems: list[tuple[Path_, str]]) -> None:
        super().__init__(problems)
        self.problems = problems


class Kind(NamedTuple):
    """One kind of thing. `shown` makes its view; `fields` are the names that may be declared; `prefix` is that of its ids."""

    name: KindName
    section: str
    prefix: str
    fields: frozenset[str]
    shown: Callable[[Fields, Known], Fields]
    kept: frozenset[str] = frozenset()
    """Fields that stay as they are on the server where a file does not name them."""

    def view(self, fields: Fields, known: Known = shipped_profiles) -> Fields:
        """What the server shows of a thing with these fields, every default included. Raises Wrong."""
        return self.shown(fields, known)

    def is_id(self, text: str) -> bool:
        return bool(self.prefix) and parse_id(self.prefix, text) is not None


def _names(model: type[BaseModel]) -> frozenset[str]:
    return frozenset(field.alias or name for name, field in model.model_fields.items()) - _IDENTITY


def _validated(model: type[BaseModel], fields: Fields) -> BaseModel:
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        told = fields_of([one | {"loc": ("body", *one["loc"])} for one in error.errors(include_input=False)])
        raise Wrong([(steps(path), message) for path, message in told.fields]) from None


def _with_defaults(body: BaseModel, defaults: Fields, names: frozenset[str]) -> Fields:
    given = body.model_dump(by_alias=True)
    return {name: defaults.get(name) if given.get(name) is None else given[name] for name in sorted(names)}


def _event_type(fields: Fields, known: Known) -> Fields:
    body = _validated(EventTypeCreate, {"name": "any"} | fields)
    defaults = EventTypeAnswer.of(EventType(name="any")).model_dump(by_alias=True)
    return _with_defaults(body, defaults, EVENT_TYPE.fields)


def _app(fields: Fields, known: Known) -> Fields:
    body = _validated(AppFields, fields)
    return _with_defaults(body, AppAnswer.of(App(id=AppId(_NOBODY))).model_dump(by_alias=True), APP.fields)


def _endpoint(fields: Fields, known: Known) -> Fields:
    body = _validated(EndpointCreate, fields)
    assert isinstance(body, EndpointCreate)
    blank = StoredEndpoint(id=EndpointId(_NOBODY), app_id=AppId(_NOBODY), config=BLANK)
    try:
        change = body.change()
        if change.profile or change.profile_settings:
            profiles = known()
            with blaming(change, profiles.named(change, blank.config)):
                change = profiles.expanded(blank.config, change)
                check_change(change)
        else:
            check_change(change)
        made = changed(blank, change, now=0.0)
    except Invalid as error:
        raise Wrong([(steps(error.path), str(error))]) from None
    shown = EndpointAnswer.of(made).model_dump(mode="json", by_alias=True)  # a list is a list, as the server says it
    return {name: shown[name] for name in sorted(ENDPOINT_KIND.fields)}


def _grant(fields: Fields, known: Known) -> Fields:
    body = _validated(GrantPut, fields)
    assert isinstance(body, GrantPut)
    given = body.fields()
    try:
        check_grant(given, now=0.0)  # one that has expired is in order in a file
    except Invalid as error:
        raise Wrong([(steps(error.path), str(error))]) from None
    return {
        "types": list(dict.fromkeys(given.types)),
        "subjects": list(dict.fromkeys(given.subjects)),
        "expires_at": optional_time(given.expires_at),
    }


def _instant(value: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return found if found.tzinfo else None


EVENT_TYPE: Final = Kind("event type", "event_types", "", _names(EventTypeCreate) - {"name"}, _event_type)
APP: Final = Kind("app", "apps", APP_PREFIX, _names(AppFields), _app)
GRANT: Final = Kind("grant", "grants", GRANT_PREFIX, _names(GrantPut), _grant)
ENDPOINT_KIND: Final = Kind(
    "endpoint",
    "endpoints",
    ENDPOINT,
    _names(EndpointCreate),
    _endpoint,
    # Targets that are gone or fail for days are disabled by the server: applying a file again must not wake them.
    kept=frozenset({"enabled"}),
)


def check_reference(kind: Kind, reference: str) -> str | None:
    """Why this cannot be the name or uid of a thing."""
    try:
        if kind is EVENT_TYPE:
            check_type(reference, path="name")
        else:
            check_uid(reference, prefix=kind.prefix)
    except Invalid as error:
        return str(error)
    return None


def same(one: Any, other: Any) -> bool:
    """Whether two values mean the same: 5 and 5.0, one time in two spellings."""
    if one == other:
        return True
    if isinstance(one, str) and isinstance(other, str):
        first, second = _instant(one), _instant(other)
        return first is not None and first == second
    return False
