"""`posthouse profiles check`: whether a profile's file can be used, without a server."""

from __future__ import annotations

from pathlib import Path

from posthouse.cli.output import note
from posthouse.domain.errors import Invalid


def check(file: Path, /) -> None:
    """Say whether a profile's file can be used, and where it is wrong. No server is asked.

    A request is made on trial, with keys made as the profile makes them. Where a key has to be given, what only that key can
    tell is said where an endpoint names the profile.

    Parameters
    ----------
    file
        The TOML file.
    """
    from posthouse.manage.profile_check import check_profile
    from posthouse.manage.profiles import Profiles, shipped

    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"{file} cannot be read: {error}") from None
    try:
        profile = check_profile(text, name=file.stem)
    except Invalid as error:
        where = f"{error.path}: " if error.path else ""
        raise Invalid(f"{file}: {where}{error}") from None
    Profiles(shipped(), [profile])
    note(f"{file}: the profile {profile.name} can be used; it sets {', '.join(sorted(profile.endpoint)) or 'nothing'}")
