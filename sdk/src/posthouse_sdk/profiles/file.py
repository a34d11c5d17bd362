"""A profile: how a platform speaks to who receives its events, as one TOML file.

    profile("feishu", {"app_id": "cli_a1b2"})       one that comes with Posthouse
    profile("profiles/shop.toml")                   an operator's own

The server presets an endpoint with `endpoint`; here the same is read the other way about.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from os import PathLike
from pathlib import Path
from typing import Any, Final

from posthouse_sdk.encryption.errors import SettingError
from posthouse_sdk.encryption.reading import Reader
from posthouse_sdk.errors import ProfileError
from posthouse_sdk.profiles.filling import filled, settings_values

PROFILE_BYTES_MAX: Final = 64 * 1024

_SUFFIX: Final = ".toml"
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,63}\Z")

Source = str | PathLike[str] | Mapping[str, Any]
"""The name of a profile that comes with Posthouse, the path of a file (`….toml`), or what such a file holds."""


@dataclass(frozen=True, slots=True)
class Named:
    """A key or a setting that a profile has."""

    name: str
    about: str
    default: str | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """Where the receiving side finds things, and what it answers. Places are `header:Name`, `query:name`, `json:/pointer`,
    `xml:/Element`, `form:name`, `body` or empty. `sealed` is the shape of an answer that is encrypted. `passed_over` are texts
    that may stand beside signatures that are repeated, of a scheme that is not looked at."""

    id: str = ""
    type: str = ""
    timestamp: str = ""
    data: str = "body"
    status: int = 200
    answer: str = ""
    content_type: str = "text/plain"
    encrypt: bool = False
    sealed: Mapping[str, Any] | None = None
    passed_over: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile with its settings filled in. `endpoint` is what an endpoint of it is configured with, as the API has it."""

    name: str
    title: str
    about: str
    source: str = ""
    keys: tuple[Named, ...] = ()
    settings: tuple[Named, ...] = ()
    endpoint: Mapping[str, Any] = field(default_factory=dict)
    receive: Reading = Reading()


def profile(source: Source, settings: Mapping[str, str] | None = None) -> Profile:
    """A profile by its name, its file, or as a mapping. `settings` are the texts that it has to be told.

    Raises: ProfileError.
    """
    document, what = _document(source)
    try:
        return _read(Reader(document), settings or {})
    except SettingError as error:
        where = f"{error.path}: " if error.path else ""
        raise ProfileError(f"{what} cannot be used: {where}{error}") from None


def profile_names() -> list[str]:
    """Those that come with Posthouse."""
    files = resources.files(__package__).iterdir()
    return sorted(each.name.removesuffix(_SUFFIX) for each in files if each.name.endswith(_SUFFIX))


def _document(source: Source) -> tuple[Mapping[str, Any], str]:
    if isinstance(source, Mapping):
        return source, "this profile"
    if isinstance(source, str) and _NAME.match(source):
        what = f"the profile {source}"
        try:
            text = resources.files(__package__).joinpath(source + _SUFFIX).read_text("utf-8")
        except FileNotFoundError:
            raise ProfileError(
                f"there is no profile {source}; there are {', '.join(profile_names())}. A file of your own is named with its "
                "path: ./shop.toml"
            ) from None
    else:
        what = f"the profile {source}"
        try:
            text = Path(source).read_text("utf-8")
        except (OSError, UnicodeDecodeError, ValueError) as error:
            why = getattr(error, "strerror", None) or "it is no text"
            raise ProfileError(f"{what} cannot be read: {why}") from None
    if len(text) > PROFILE_BYTES_MAX:
        raise ProfileError(f"{what} has more than {PROFILE_BYTES_MAX} characters")
    try:
        return tomllib.loads(text), what
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ProfileError(f"{what} is not TOML: {error}") from None


def _read(reader: Reader, given: Mapping[str, str]) -> Profile:
    name = reader.text("name")
    keys, settings = _named(reader, "keys"), _named(reader, "settings")
    values = settings_values(name, {each.name: (each.about, each.default) for each in settings}, given, "settings")
    endpoint = reader.object("endpoint") if reader.has("endpoint") else {}
    receive = reader.object("receive") if reader.has("receive") else {}
    read = Profile(
        name=name,
        title=reader.text("title", ""),
        about=reader.text("about", ""),
        source=reader.text("source", ""),
        keys=keys,
        settings=settings,
        endpoint={key: filled(value, values, f"endpoint.{key}") for key, value in endpoint.items()},
        receive=_reading(Reader(filled(receive, values, "receive"), "receive")),
    )
    for known in ("keys", "settings", "endpoint", "receive"):
        reader.any(known, None)
    reader.check_all_read()
    return read


def _named(reader: Reader, name: str) -> tuple[Named, ...]:
    value = reader.any(name, ())
    if not isinstance(value, list | tuple):
        raise SettingError("this is a list of tables", name)
    found = []
    for index, each in enumerate(value):
        inner = Reader(each, f"{name}[{index}]")
        default = inner.text("default", "") if inner.has("default") else None
        found.append(Named(inner.text("name"), inner.text("about", ""), default))
    return tuple(found)


def _reading(reader: Reader) -> Reading:
    default = Reading()
    status = reader.any("status", default.status)
    if not isinstance(status, int) or isinstance(status, bool) or not 200 <= status <= 599:
        raise SettingError("this is a status of HTTP", "receive.status")
    read = Reading(
        id=reader.text("id", ""),
        type=reader.text("type", ""),
        timestamp=reader.text("timestamp", ""),
        data=reader.text("data", default.data),
        status=status,
        answer=reader.text("answer", ""),
        content_type=reader.text("content_type", default.content_type),
        encrypt=reader.flag("encrypt", False),
        sealed=reader.object("sealed") if reader.has("sealed") else None,
        passed_over=tuple(reader.texts("passed_over")),
    )
    reader.check_all_read()
    return read
