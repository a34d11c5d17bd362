"""When a schedule is due: cron expressions in a time zone, and intervals from an anchor. Whole unix seconds everywhere.

Cron is Debian's (`cronsim`): five fields; where both days are restricted either is enough. Around a change of the clocks a
job at fixed times (neither minutes nor hours begin with `*`) occurs exactly once: a local time that is skipped as soon as the
clocks have gone forward, one that is repeated the first time. Any other job follows the clock: what is skipped does not
occur, what is repeated occurs twice.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

import msgspec
from cronsim import CronSim, CronSimError

from posthouse.domain.errors import Invalid
from posthouse.domain.limits import (
    CRON_LENGTH_MAX,
    SCHEDULE_EVERY_SECONDS_MAX,
    SCHEDULE_SPAN_SECONDS_MAX,
    TIMEZONE_LENGTH_MAX,
)

ALIASES: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_FIELDS: Final = ("minute", "hour", "day-of-month", "month", "day-of-week")
_LOOKED_BACK_SECONDS: Final = 3_600  # at first, where the clocks were changed; then four times as far, and so on
_CHANGE_HOURS: Final = 26  # no change of the clocks reaches further


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """When: by `cron` in `timezone`, or `every` so many seconds from `anchor` on; one of the two. From `starts_at` on (where
    intervals then count from), and before `ends_at`."""

    cron: str | None = None
    every: int | None = None
    timezone: str = "UTC"
    anchor: int = 0
    starts_at: int | None = None
    ends_at: int | None = None


@lru_cache(maxsize=1_000)
def zone_of(name: str) -> ZoneInfo:
    """Raises Invalid where there is no such time zone."""
    try:
        if len(name) > TIMEZONE_LENGTH_MAX or not name.isascii() or not name.isprintable():
            raise ValueError
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # not found is a KeyError; a folder of zones an OSError
        raise Invalid(
            "there is no such time zone; its name is one of the IANA database, such as Europe/Berlin, Asia/Shanghai or UTC",
            path="timezone",
        ) from None


def check_timing(timing: Timing, *, now: float) -> None:
    """Raises Invalid with the path of what is wrong; also where it would never be due from `now` on."""
    zone_of(timing.timezone)
    if (timing.cron is None) == (timing.every is None):
        raise Invalid("give one of the two: cron, or every (seconds)", path="cron")
    if timing.cron is not None:
        _check_cron(timing.cron)
    if timing.every is not None and not 1 <= timing.every <= SCHEDULE_EVERY_SECONDS_MAX:
        raise Invalid(f"must be from 1 to {SCHEDULE_EVERY_SECONDS_MAX} seconds", path="every")
    for path, at in (("starts_at", timing.starts_at), ("ends_at", timing.ends_at)):
        if at is not None and not 0 <= at <= now + SCHEDULE_SPAN_SECONDS_MAX:
            raise Invalid("must be after 1970, and at most a hundred years from now", path=path)
    if timing.ends_at is not None and timing.ends_at <= (timing.starts_at or 0):
        raise Invalid("must be after starts_at", path="ends_at")
    if next_after(timing, now) is None:
        if timing.ends_at is not None:
            raise Invalid("nothing would happen from now until then", path="ends_at")
        raise Invalid("there is no such day", path="cron")


def next_after(timing: Timing, after: float) -> int | None:
    """The first occurrence later than a time; None where there is none any more."""
    if timing.starts_at is not None:
        after = max(after, timing.starts_at - 1)
    try:
        at = _next_every(timing, after) if timing.every is not None else _next_cron(timing, after)
    except (OverflowError, ValueError):  # beyond what datetimes hold
        return None
    if at is None or (timing.ends_at is not None and at >= timing.ends_at):
        return None
    return at


def first_at(timing: Timing, at: float) -> int | None:
    """The first occurrence at a time or later."""
    whole = int(at)
    return next_after(timing, whole - 1 if whole == at else whole)


def latest_until(timing: Timing, occurrence: int, until: float) -> int:
    """The last occurrence up to a time, given an earlier one."""
    if timing.ends_at is not None:
        until = min(until, timing.ends_at - 1)
    if timing.every is not None:
        start = _start(timing)
        return max(occurrence, start + (int(until) - start) // timing.every * timing.every)
    zone, whole = zone_of(timing.timezone), int(until)
    if not _clocks_changed(zone, whole):
        found = next(CronSim(_expression(timing), datetime.fromtimestamp(whole + 1, zone), reverse=True))
        if not _clocks_changed(zone, int(found.timestamp())):
            return max(occurrence, int(found.timestamp()))
    return _searched(timing, occurrence, whole)


def _searched(timing: Timing, occurrence: int, until: int) -> int:
    """Forward from further and further back: the only direction that is certain around a change of the clocks."""
    back = _LOOKED_BACK_SECONDS
    while True:
        latest, found = max(occurrence, until - back), None
        if latest == occurrence:
            found = occurrence
        while (at := _next_cron(timing, latest)) is not None and at <= until:
            found = latest = at
        if found is not None:
            return found
        back *= 4


def _start(timing: Timing) -> int:
    return timing.anchor if timing.starts_at is None else timing.starts_at


def _next_every(timing: Timing, after: float) -> int:
    start, every = _start(timing), timing.every
    assert every is not None
    return max(start, start + (int(after // 1) - start) // every * every + every)


def _next_cron(timing: Timing, after: float) -> int | None:
    zone, whole = zone_of(timing.timezone), int(after // 1)
    found = None
    moments = CronSim(_expression(timing), datetime.fromtimestamp(whole, zone))
    # Where an hour is repeated, what begins in its second turn may come out in the first one.
    for moment in moments:
        if (at := int(moment.timestamp())) > whole:
            found = at
            break
    if found is not None and moments.fixup_tz is None and _changed_by_part_of_an_hour(zone, whole, found):
        return _passed_over(moments, zone, whole, found)
    return found


def _passed_over(cron: CronSim, zone: ZoneInfo, after: int, found: int) -> int:
    """The first one up to what was found, minute by minute: steps of an hour lead past some where the clocks were changed by
    a part of one. Not for jobs at fixed times, whose steps are those of the calendar."""
    first = max(after, found - _CHANGE_HOURS * 3_600)
    for at in range(first - first % 60 + 60, found, 60):
        wall = datetime.fromtimestamp(at, zone)
        if (
            wall.minute in cron.minutes
            and wall.hour in cron.hours
            and wall.month in cron.months
            and cron.match_day(wall.date())
        ):
            return at
    return found


def _changed_by_part_of_an_hour(zone: ZoneInfo, one: int, other: int) -> bool:
    """As on Lord Howe Island, by half an hour."""
    first, second = (datetime.fromtimestamp(at, zone).utcoffset() for at in (one, other))
    return first is not None and second is not None and (second - first) % timedelta(hours=1) != timedelta(0)


def _clocks_changed(zone: ZoneInfo, at: int) -> bool:
    """Whether the clocks were changed within a day or so of a time."""
    moment = datetime.fromtimestamp(at, UTC)
    offsets = {
        (moment + timedelta(hours=hours)).astimezone(zone).utcoffset() for hours in (-_CHANGE_HOURS, 0, _CHANGE_HOURS)
    }
    return len(offsets) > 1


def _expression(timing: Timing) -> str:
    assert timing.cron is not None
    return ALIASES.get(timing.cron.lower(), timing.cron)


def _check_cron(text: str) -> None:
    """Raises Invalid."""
    if not text or len(text) > CRON_LENGTH_MAX:
        raise Invalid(f"must have 1 to {CRON_LENGTH_MAX} characters, has {len(text)}", path="cron")
    expression = ALIASES.get(text.lower(), text)
    if expression.startswith("@"):
        raise Invalid(f"there is no such word; there are {', '.join(ALIASES)}", path="cron")
    count = len(expression.split())
    if count != len(_FIELDS):
        raise Invalid(
            f"has {count} fields, and cron has five: {', '.join(_FIELDS)}, such as 30 6 * * MON-FRI; for seconds there is "
            "every",
            path="cron",
        )
    try:
        CronSim(expression, datetime(2000, 1, 1, tzinfo=UTC))
    except (CronSimError, ValueError, AssertionError, TypeError, IndexError) as error:
        # "Bad minute": which field it is.
        told = str(error).removeprefix("Bad ")
        which = told if told in _FIELDS else "expression"
        raise Invalid(
            f"the {which} is wrong; a field is *, a number, a name (MON, JAN), a range such as 1-5, several with commas, "
            "each with a step such as */15",
            path="cron",
        ) from None
