"""Times as platforms write them: read back by how they look, or as the profile's format says."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo

from posthouse_sdk.encryption.errors import SettingError

MILLISECONDS_MIN: Final = 100_000_000_000
"""What is larger is milliseconds: of seconds it would be the year 5138."""

_DIGITS_MAX: Final = 15


class Moments:
    """`time` is that of a format: its `form`, and its `zone` for a time that names none. Raises: SettingError for a zone that
    is needed and not known here."""

    __slots__ = ("_pattern", "_zone")

    def __init__(self, time: Any) -> None:
        told: Mapping[str, Any] = time if isinstance(time, Mapping) else {}
        form = str(told.get("form", ""))
        self._pattern: Final = form.replace("%:z", "%z").replace("%L", "%f") if "%" in form else ""
        bare = self._pattern and "%z" not in self._pattern
        self._zone: Final[tzinfo] = _zone(str(told.get("zone", "UTC"))) if bare else UTC

    def read(self, value: Any) -> datetime | None:
        """Unix seconds, milliseconds, RFC 3339, or as the format has it; None for what is no moment."""
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _DIGITS_MAX:
            value = int(value)
        try:
            if isinstance(value, int | float) and not isinstance(value, bool):
                return datetime.fromtimestamp(value / 1_000 if value >= MILLISECONDS_MIN else value, UTC)
            read = self._as_patterned(value) or datetime.fromisoformat(value)
            return read if read.tzinfo else read.replace(tzinfo=self._zone)
        except (TypeError, ValueError, OverflowError, OSError):
            return None

    def _as_patterned(self, value: str) -> datetime | None:
        if not self._pattern:
            return None
        try:
            return datetime.strptime(value, self._pattern)
        except ValueError:
            return None


def _zone(name: str) -> tzinfo:
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (ValueError, LookupError, OSError):
        raise SettingError(
            "this time zone is not known here; where the system has none, pip install tzdata",
            "endpoint.format.time.zone",
        ) from None
