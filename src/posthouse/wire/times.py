"""Times as targets want them written.

    rfc3339        2026-01-02T03:04:05.678Z, in a zone 2026-01-02T11:04:05.678+08:00
    seconds        1767323045
    milliseconds   1767323045678
    a pattern      %Y-%m-%d %H:%M:%S

A pattern knows %Y %y %m %d %H %M %S %j and %% of strftime, %L (milliseconds), %f (microseconds), %z (+0800) and %:z (+08:00),
and nothing that depends on a language.

Fractions are cut and not rounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from posthouse.domain.errors import Invalid
from posthouse.domain.formats import TimeText
from posthouse.domain.limits import NAME_LENGTH_MAX
from posthouse.domain.occurrences import zone_of
from posthouse.wire.standard import timestamp

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DIRECTIVE: Final = re.compile(r"%(:z|.|$)", re.DOTALL)
_DIRECTIVES: Final[dict[str, Callable[[datetime], str]]] = {
    "Y": lambda at: f"{at.year:04d}",
    "y": lambda at: f"{at.year % 100:02d}",
    "m": lambda at: f"{at.month:02d}",
    "d": lambda at: f"{at.day:02d}",
    "H": lambda at: f"{at.hour:02d}",
    "M": lambda at: f"{at.minute:02d}",
    "S": lambda at: f"{at.second:02d}",
    "j": lambda at: f"{at.timetuple().tm_yday:03d}",
    "L": lambda at: f"{at.microsecond // 1_000:03d}",
    "f": lambda at: f"{at.microsecond:06d}",
    "z": lambda at: _offset(at, ""),
    ":z": lambda at: _offset(at, ":"),
    "%": lambda _at: "%",
}


def is_number(config: TimeText) -> bool:
    """Whether it is written as a number."""
    return config.form in ("seconds", "milliseconds")


def milliseconds(unix_seconds: float) -> int:
    return round(unix_seconds * 1_000_000) // 1_000


def compile_time(config: TimeText, *, path: str) -> Callable[[float], str]:
    """A function from unix seconds to text. Raises: Invalid, with the path of what is wrong."""
    try:
        zone = zone_of(config.zone)
    except Invalid as error:
        raise Invalid(str(error), path=f"{path}.zone") from None
    match config.form:
        case "seconds":
            return lambda at: str(milliseconds(at) // 1_000)
        case "milliseconds":
            return lambda at: str(milliseconds(at))
        case "rfc3339" if config.zone == "UTC":
            return lambda at: timestamp(at).decode("ascii")
        case "rfc3339":
            pattern = "%Y-%m-%dT%H:%M:%S.%L%:z"
        case pattern:
            _check(pattern, f"{path}.form")

    def written(unix_seconds: float) -> str:
        at = (_EPOCH + timedelta(microseconds=round(unix_seconds * 1_000_000))).astimezone(zone)
        return _DIRECTIVE.sub(lambda found: _DIRECTIVES[found[1]](at), pattern)

    return written


def _check(pattern: str, path: str) -> None:
    directives = _DIRECTIVE.findall(pattern)
    if not directives:
        raise Invalid(
            "the form of a time is rfc3339, seconds, milliseconds or a pattern such as %Y-%m-%d %H:%M:%S", path=path
        )
    if len(pattern) > NAME_LENGTH_MAX or not pattern.isprintable():
        raise Invalid(f"a pattern has at most {NAME_LENGTH_MAX} characters, all of them printable", path=path)
    for directive in directives:
        if directive not in _DIRECTIVES:
            there_are = " ".join(f"%{name}" for name in _DIRECTIVES)
            raise Invalid(f"there is no %{directive} in the pattern of a time; there are {there_are}", path=path)


def _offset(at: datetime, colon: str) -> str:
    offset = at.utcoffset()
    assert offset is not None
    seconds = int(offset.total_seconds())
    sign, minutes = "-" if seconds < 0 else "+", abs(seconds) // 60  # an offset of the 19th century may have seconds
    return f"{sign}{minutes // 60:02d}{colon}{minutes % 60:02d}"
