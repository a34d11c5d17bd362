"""The settings of a profile, in its texts: done the same by the server and by receivers, who import it from here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from posthouse_sdk.encryption.errors import SettingError

_NAMED: Final = re.compile(r"\$\{([^}]*)\}")
_SETTING: Final = re.compile(r"[\w.:/@+=, ~?&%#;!*()-]{1,256}\Z")  # no quotes, braces or line breaks: it goes anywhere


def settings_values(
    profile: str, known: Mapping[str, tuple[str, str | None]], given: Mapping[str, Any], path: str
) -> dict[str, str]:
    """The values of settings, each `known` by what it is about and its default.

    Raises: SettingError, whose path begins with `path`, for a setting that is none, has another form, or is missing.
    """
    for name, value in given.items():
        if name not in known:
            raise SettingError(
                f"the profile {profile} has no such setting; it has: {', '.join(known) or 'none'}",
                f"{path}.{name[:64]}",
            )
        if not isinstance(value, str) or not _SETTING.match(value):
            raise SettingError(
                "a setting has 1 to 256 letters, digits, spaces and . : / @ + = , ~ _ ? & % # ; ! * ( ) -",
                f"{path}.{name}",
            )
    values: dict[str, str] = {}
    for name, (about, default) in known.items():
        text = given.get(name, default)
        if text is None:
            raise SettingError(f"the profile {profile} needs this: {about}", f"{path}.{name}")
        values[name] = text
    return values


def filled(value: Any, values: Mapping[str, str], path: str) -> Any:
    """The value with `${setting}` in its texts replaced. Raises: SettingError with the path of a name that is none."""
    if isinstance(value, Mapping):
        return {name: filled(inner, values, f"{path}.{name}") for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [filled(inner, values, f"{path}[{index}]") for index, inner in enumerate(value)]
    if not isinstance(value, str):
        return value

    def named(found: re.Match[str]) -> str:
        if found[1] not in values:
            raise SettingError(f"the profile has no setting {found[1][:64]!r}", path)
        return values[found[1]]

    return _NAMED.sub(named, value)
