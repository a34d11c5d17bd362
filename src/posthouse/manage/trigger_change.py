"""A trigger as somebody wants it: its fields, and whether they make a good one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from posthouse.domain.access import Principal
from posthouse.domain.errors import Invalid, NotFound
from posthouse.domain.ids import TRIGGER, AppId, TriggerId
from posthouse.domain.limits import NAME_LENGTH_MAX, TRIGGER_SETTINGS_BYTES_MAX
from posthouse.domain.seen import Template
from posthouse.domain.trigger import Trigger, TriggerConfig
from posthouse.intake.catalogue import CatalogueCache
from posthouse.intake.parse import check_type
from posthouse.manage.access import check_uid, find_app, not_reserved
from posthouse.ports.directory import Directory
from posthouse.ports.expressions import Expressions
from posthouse.ports.sources import TriggerKind
from posthouse.trigger.mapping import check_templates, expressions_of

_CONFIG: Final = frozenset({"kind", "type", "subject", "key", "when", "map"})


class TriggerChange(msgspec.Struct, frozen=True, kw_only=True):
    """New values of a trigger's fields; what is not set stays as it is. `app` is an id or uid. Of `settings`, those that are
    given take the place of those that were there; null brings a default back."""

    uid: str | UnsetType | None = UNSET
    name: str | UnsetType = UNSET
    kind: str | UnsetType = UNSET
    type: str | UnsetType = UNSET
    subject: str | UnsetType | None = UNSET
    key: str | UnsetType | None = UNSET
    app: str | UnsetType | None = UNSET
    when: str | UnsetType | None = UNSET
    map: str | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET
    settings: dict[str, Any] | UnsetType = UNSET

    def given(self) -> dict[str, Any]:
        return {field: value for field in self.__struct_fields__ if (value := getattr(self, field)) is not UNSET}

    def whole(self) -> TriggerChange:
        """With the default of whatever is not set. Raises Invalid where a field has none."""
        for field in ("kind", "type"):
            if getattr(self, field) is UNSET:
                raise Invalid("this field is missing", path=field)
        return TriggerChange(**(_DEFAULTS | self.given()))


_DEFAULTS: Final[dict[str, Any]] = {
    "uid": None,
    "name": "",
    "subject": None,
    "key": None,
    "app": None,
    "when": None,
    "map": None,
    "enabled": True,
    "settings": {},
}
BLANK: Final = Trigger(id=TriggerId(bytes(16)), config=TriggerConfig(kind="", type=""))


def on_top(old: Trigger, made: Trigger, change: TriggerChange) -> Trigger:
    """The same change to a trigger as it is when it is locked: `made` is what it made of one that was read before. What others
    have changed meanwhile stays."""
    app_id = old.app_id if change.app is UNSET else made.app_id
    return _applied(old, change, app_id, (old if change.settings is UNSET else made).config.settings)


def _applied(old: Trigger, change: TriggerChange, app_id: AppId | None, settings: str) -> Trigger:
    """With the fields that are given, this app and these settings."""
    given = change.given()
    config = {name: given[name] for name in _CONFIG if name in given}
    fields = {name: given[name] for name in ("uid", "name", "enabled") if name in given}
    return msgspec.structs.replace(
        old, app_id=app_id, config=msgspec.structs.replace(old.config, settings=settings, **config), **fields
    )


class TriggerChecks:
    """What a trigger has to be, so that it can be stored. Asks nobody where it watches."""

    def __init__(
        self,
        directory: Directory,
        kinds: Mapping[str, TriggerKind],
        catalogue: CatalogueCache,
        expressions: Expressions,
    ) -> None:
        self.kinds = kinds
        self._directory = directory
        self._catalogue = catalogue
        self._expressions = expressions

    async def changed(self, principal: Principal, old: Trigger, change: TriggerChange) -> Trigger:
        """The trigger with these fields, if that is a good one. Raises Invalid, NotFound, Forbidden."""
        app_id: AppId | None = old.app_id
        if change.app is not UNSET:
            app_id = None
            if change.app is not None:
                try:
                    app_id = (await find_app(self._directory, principal, change.app)).id
                except NotFound as error:
                    error.path = "app"
                    raise
                not_reserved(app_id)
        made = _applied(old, change, app_id, old.config.settings)
        check_uid(made.uid, prefix=TRIGGER)
        if len(made.name) > NAME_LENGTH_MAX:
            raise Invalid(f"must have at most {NAME_LENGTH_MAX} characters", path="name")
        check_templates(made)
        for name, expression in expressions_of(made):
            self._expressions.check(expression, path=name)
        if not Template(made.config.type).varies:
            check_type(made.config.type, path="type")
            try:
                await self._catalogue.check(made.config.type, None, path="data")
            except NotFound as error:
                error.path = "type"
                raise
        return msgspec.structs.replace(
            made, config=msgspec.structs.replace(made.config, settings=self._settings(made, old, change))
        )

    def _settings(self, made: Trigger, old: Trigger, change: TriggerChange) -> str:
        """The settings, checked by their kind. Raises Invalid with their path."""
        kind = self.kind(made)
        settings: dict[str, Any] = msgspec.json.decode(old.config.settings)
        if change.settings is not UNSET:
            settings |= change.settings
        elif old.config.kind == made.config.kind:
            return old.config.settings
        settings = {name: value for name, value in settings.items() if value is not None}
        with of_settings():
            checked = kind.check(settings)
        text = msgspec.json.encode(checked, order="sorted").decode()
        if len(text.encode()) > TRIGGER_SETTINGS_BYTES_MAX:
            raise Invalid(f"settings have at most {TRIGGER_SETTINGS_BYTES_MAX} bytes as JSON", path="settings")
        return text

    def kind(self, trigger: Trigger) -> TriggerKind:
        kind = self.kinds.get(trigger.config.kind)
        if kind is None:
            known = ", ".join(sorted(self.kinds))
            raise Invalid(f"there is no kind {trigger.config.kind[:80]!r} here; there are {known}", path="kind")
        return kind


@contextmanager
def of_settings() -> Iterator[None]:
    """What a kind finds wrong is wrong with the settings."""
    try:
        yield
    except Invalid as error:
        error.path = f"settings.{error.path}" if error.path else "settings"
        raise
