"""`posthouse profiles check`: whether a profile's file can be used, without a server."""

from __future__ import annotations

from pathlib import Path

from posthouse.cli.output import note
from posthouse.domain.errors import Invalid


def check(file: Path, /) -> None:
    """Say whether a profile's file can be used, and where it is wrong. No server is asked.

    What only an endpoint's keys can tell (whether a key fits its algorithm) is said where an endpoint names it.

    Parameters
    ----------
    file
        The TOML file.
    """
    from posthouse.manage.profiles import Profiles, load, shipped

    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"{file} cannot be read: {error}") from None
    try:
        profile = load(text, name=file.stem)
    except Invalid as error:
        where = f"{error.path}: " if error.path else ""
        raise Invalid(f"{file}: {where}{error}") from None
    Profiles(shipped(), [profile])
    note(f"{file}: the profile {profile.name} can be used; it sets {', '.join(sorted(profile.endpoint)) or 'nothing'}")
