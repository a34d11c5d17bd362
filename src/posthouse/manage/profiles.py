"""Profiles: which there are, and what naming one makes of an endpoint.

Those that come with Posthouse are in `posthouse_sdk.profiles`, where receivers have them too; an operator adds more, a file
each. Naming one writes its fields into the endpoint: what is stored is complete, and stays as it is whatever becomes of the
profile.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import UNSET

from posthouse.domain.configuration import read
from posthouse.domain.endpoint import BLANK, EndpointConfig
from posthouse.domain.errors import Invalid, NotFound, SetupError
from posthouse.domain.fields import SHORT, TYPES, read_field
from posthouse.domain.limits import PROFILE_BYTES_MAX, PROFILES_MAX
from posthouse.domain.profile import NAME, Profile, filled
from posthouse.manage.endpoint_change import EndpointChange, check_change
from posthouse.manage.rules_check import check_rules

PRESET: Final = frozenset(TYPES) - {
    "url", "description", "profile", "profile_settings", "events", "channels", "fallback_urls", "equal_urls", "proxy",
    "proxy_key", "source_address", "payload_versions", "by_app",
}  # fmt: skip
"""The fields that a profile may preset: those that say how a target is spoken to, and not which one or of what."""

_SUFFIX: Final = ".toml"
SAMPLE: Final = "sample"


def load(text: str, *, name: str | None = None) -> Profile:
    """A profile from its file; `name` is what the file is called, which the profile must be, too.

    Raises: Invalid with the path of what is wrong.
    """
    if len(text) > PROFILE_BYTES_MAX:
        raise Invalid(f"a profile has at most {PROFILE_BYTES_MAX} characters")
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Invalid(f"this is not TOML: {error}") from None
    profile: Profile = read(document, Profile, "")
    if not NAME.match(profile.name):
        raise Invalid("a name is 1 to 64 small letters, digits and -, and begins with a letter", path="name")
    if name is not None and profile.name != name:
        raise Invalid(f"the file is {name}{_SUFFIX}: it and the profile have the same name", path="name")
    for path, names in (
        ("keys", [key.name for key in profile.keys]),
        ("settings", [setting.name for setting in profile.settings]),
    ):
        if len(set(names)) < len(names):
            raise Invalid("each name is there once", path=path)
    samples = {setting.name: SAMPLE for setting in profile.settings if setting.default is None}
    with within("endpoint"):
        fields = fields_of(profile, samples)
        check_change(EndpointChange(**fields))
        check_rules(BLANK, msgspec.structs.replace(BLANK, **fields))
    return profile


def fields_of(profile: Profile, settings: Mapping[str, str]) -> dict[str, Any]:
    """What the profile writes into an endpoint with these settings, in the domain's words.

    Raises: Invalid with the path of what is wrong: in the endpoint, or of a setting.
    """
    fields = filled(profile, settings)
    for name in fields:
        if name not in PRESET:
            raise Invalid(f"a profile has no such field; it has: {', '.join(sorted(PRESET))}", path=name[:64])
    return {name: read_field(name, value) for name, value in fields.items()}


@cache
def shipped() -> tuple[Profile, ...]:
    """Those that come with Posthouse, by name; read once."""
    files = [file for file in resources.files("posthouse_sdk.profiles").iterdir() if file.name.endswith(_SUFFIX)]
    return tuple(
        load(file.read_text("utf-8"), name=file.name.removesuffix(_SUFFIX))
        for file in sorted(files, key=lambda file: file.name)
    )


def in_directory(directory: Path) -> list[Profile]:
    """An operator's own. Raises: SetupError, which names the file."""
    found = []
    try:
        files = sorted(directory.iterdir())
    except OSError as error:
        raise SetupError(
            f"the profiles in {directory} cannot be read: {error.strerror}; name a folder that holds a TOML file for each"
        ) from None
    for file in files:
        if file.suffix != _SUFFIX:
            continue
        try:
            found.append(load(file.read_text("utf-8"), name=file.stem))
        except Invalid as error:
            where = f"{error.path}: " if error.path else ""
            raise SetupError(f"the profile {file} cannot be used: {where}{error}") from None
        except (OSError, UnicodeDecodeError) as error:
            raise SetupError(f"the profile {file} cannot be read: {error}") from None
    return found


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a profile's file, as JSON has it."""
    found = msgspec.json.schema(Profile)
    fields: dict[str, Any] = {}
    schemas, parts = msgspec.json.schema_components(
        [TYPES[name] for name in sorted(PRESET)], ref_template="#/$defs/{name}"
    )
    for name, each in zip(sorted(PRESET), schemas, strict=True):
        short = [{"type": "string"}] if name in SHORT else []
        fields[name] = {"anyOf": [*short, each]} if short else each
    found["$defs"] = {**parts, **found["$defs"]}
    found["$defs"]["Profile"]["properties"]["endpoint"] = {
        "type": "object",
        "properties": fields,
        "additionalProperties": False,
    }
    return found


class Profiles:
    """Those that endpoints may name. Raises: SetupError where two have the same name, or there are too many."""

    def __init__(self, *of: Iterable[Profile]) -> None:
        self._profiles: Final[dict[str, Profile]] = {}
        for profile in [profile for profiles in of for profile in profiles]:
            if profile.name in self._profiles:
                raise SetupError(f"there are two profiles {profile.name!r}: give yours another name")
            self._profiles[profile.name] = profile
        if len(self._profiles) > PROFILES_MAX:
            raise SetupError(f"there are more than {PROFILES_MAX} profiles")

    def all(self) -> list[Profile]:
        """By name."""
        return [self._profiles[name] for name in sorted(self._profiles)]

    def get(self, name: str) -> Profile:
        """Raises: NotFound."""
        if name not in self._profiles:
            raise NotFound(f"there is no profile {name[:64]!r}", code="profile_not_found")
        return self._profiles[name]

    def named(self, change: EndpointChange, old: EndpointConfig) -> Profile | None:
        """The profile that an endpoint has after a change. Raises: Invalid."""
        name = old.profile if change.profile is UNSET else change.profile or ""
        if not name:
            return None
        if name not in self._profiles:
            raise Invalid(
                f"there is no profile {name[:64]!r}; there are: {', '.join(sorted(self._profiles))}", path="profile"
            )
        return self._profiles[name]

    def expanded(self, old: EndpointConfig, change: EndpointChange) -> EndpointChange:
        """The change with what its profile, or that of the endpoint, makes of it.

        A field that is null takes the profile's value. Where a profile or its settings are given, so does one that is not
        given, if it is as the profile before, or none, had made it; else it was set by somebody, and stays. Raises: Invalid.
        """
        given = change.given()
        if not change.names_profile:
            # An endpoint goes on whatever became of its profile: that is asked for its values alone.
            nulls = [name for name, value in given.items() if value is None]
            before = self._before(old) if nulls else {}
            return EndpointChange(**given | {name: before[name] for name in nulls if name in before})
        profile = self.named(change, old)
        if change.profile_settings is not UNSET:
            settings = change.profile_settings or {}
        else:
            settings = old.profile_settings if profile is not None and profile.name == old.profile else {}
            given["profile_settings"] = settings
        if profile is None and settings:
            raise Invalid("these are settings of a profile, and there is none", path="profile_settings")
        now = {} if profile is None else fields_of(profile, settings)
        before = self._before(old)
        for name in now.keys() | before.keys():
            if name in given:
                if given[name] is None and name in now:
                    given[name] = now[name]
                continue
            current = getattr(old, name)
            if current == before.get(name, getattr(BLANK, name)) and now.get(name) != before.get(name):
                given[name] = now.get(name)
        return EndpointChange(**given)

    def _before(self, old: EndpointConfig) -> dict[str, Any]:
        """What the endpoint has of its profile. Of one that is not there any more nothing is known: all of it counts as set."""
        profile = self._profiles.get(old.profile)
        if profile is None:
            return {}
        try:
            return fields_of(profile, old.profile_settings)
        except Invalid:
            return {}


@contextmanager
def blaming(change: EndpointChange, profile: Profile | None) -> Iterator[None]:
    """What goes wrong with a field that the change does not give is said to be the profile's."""
    try:
        yield
    except Invalid as error:
        field = error.path.partition(".")[0].partition("[")[0]
        if profile is None or field not in profile.endpoint or getattr(change, field, None) not in (UNSET, None):
            raise
        raise Invalid(
            f"the profile {profile.name} cannot be used so: {error}", path=error.path, code=error.code
        ) from None


@contextmanager
def within(path: str) -> Iterator[None]:
    """What goes wrong inside is said with this before its path."""
    try:
        yield
    except Invalid as error:
        raise Invalid(str(error), path=f"{path}.{error.path}" if error.path else path, code=error.code) from None
