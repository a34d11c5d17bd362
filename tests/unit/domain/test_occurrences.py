"""When a schedule is due, against a plain reference that walks the clock minute by minute."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posthouse.domain.errors import Invalid
from posthouse.domain.occurrences import Timing, check_timing, first_at, latest_until, next_after

NOW = 1_800_000_000.0


def unix(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def ahead(timing: Timing, after: float, count: int) -> list[int]:
    found: list[int] = []
    while len(found) < count and (at := next_after(timing, found[-1] if found else after)) is not None:
        found.append(at)
    return found


def told(timing: Timing, after: str, count: int) -> list[str]:
    """The next occurrences, as the clocks there show them."""
    zone = ZoneInfo(timing.timezone)
    return [datetime.fromtimestamp(at, zone).isoformat() for at in ahead(timing, unix(after), count)]


@pytest.mark.parametrize(
    ("cron", "after", "expected"),
    [
        ("30 6 * * MON-FRI", "2026-11-27T06:30:00+00:00", ["2026-11-30T06:30:00+00:00", "2026-12-01T06:30:00+00:00"]),
        ("@monthly", "2026-11-28T00:00:00+00:00", ["2026-12-01T00:00:00+00:00", "2027-01-01T00:00:00+00:00"]),
        ("0 0 29 2 *", "2026-11-28T00:00:00+00:00", ["2028-02-29T00:00:00+00:00", "2032-02-29T00:00:00+00:00"]),
        ("0 0 13 * FRI", "2026-11-12T12:00:00+00:00", ["2026-11-13T00:00:00+00:00", "2026-11-20T00:00:00+00:00"]),
        ("0 12 L * *", "2027-02-01T00:00:00+00:00", ["2027-02-28T12:00:00+00:00", "2027-03-31T12:00:00+00:00"]),
    ],
)
def test_cron(cron: str, after: str, expected: list[str]) -> None:
    assert told(Timing(cron=cron), after, 2) == expected


def test_a_time_that_is_skipped_comes_as_soon_as_the_clocks_went_forward() -> None:
    berlin = Timing(cron="30 2 * * *", timezone="Europe/Berlin")
    assert told(berlin, "2026-03-28T02:30:00+01:00", 2) == ["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]
    both = Timing(cron="0,30 2 * * *", timezone="Europe/Berlin")
    assert told(both, "2026-03-28T02:30:00+01:00", 2) == ["2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"]
    follows = Timing(cron="*/30 2 * * *", timezone="Europe/Berlin")
    assert told(follows, "2026-03-28T02:30:00+01:00", 1) == ["2026-03-30T02:00:00+02:00"]
    midnight = Timing(cron="0 0 * * *", timezone="America/Sao_Paulo")  # there, midnight itself was skipped
    assert told(midnight, "2018-11-03T00:00:00-03:00", 2) == ["2018-11-04T01:00:00-02:00", "2018-11-05T00:00:00-02:00"]


def test_a_time_that_is_repeated_comes_the_first_time_alone() -> None:
    new_york = Timing(cron="30 1 * * *", timezone="America/New_York")
    assert told(new_york, "2026-10-31T12:00:00-04:00", 2) == ["2026-11-01T01:30:00-04:00", "2026-11-02T01:30:00-05:00"]
    # Asked in the second turn of the hour it does not come back.
    assert told(new_york, "2026-11-01T01:10:00-05:00", 1) == ["2026-11-02T01:30:00-05:00"]
    follows = Timing(cron="*/30 * * * *", timezone="America/New_York")
    assert told(follows, "2026-11-01T01:00:00-04:00", 3) == [
        "2026-11-01T01:30:00-04:00",
        "2026-11-01T01:00:00-05:00",
        "2026-11-01T01:30:00-05:00",
    ]
    half_an_hour = Timing(cron="* 0 * * *", timezone="Australia/Lord_Howe")
    assert told(half_an_hour, "2026-04-05T00:59:00+11:00", 1) == ["2026-04-06T00:00:00+10:30"]
    half_an_hour = Timing(cron="45 1 * * *", timezone="Australia/Lord_Howe")
    assert told(half_an_hour, "2026-04-04T12:00:00+11:00", 2) == [
        "2026-04-05T01:45:00+11:00",
        "2026-04-06T01:45:00+10:30",
    ]


def test_a_day_that_did_not_exist() -> None:
    apia = Timing(cron="0 12 * * *", timezone="Pacific/Apia")
    assert told(apia, "2011-12-29T12:00:00-10:00", 2) == ["2011-12-31T00:00:00+14:00", "2011-12-31T12:00:00+14:00"]


def test_intervals_count_from_their_start() -> None:
    assert ahead(Timing(every=90, anchor=1000), 1000, 2) == [1090, 1180]
    assert ahead(Timing(every=90, anchor=1000), 0, 2) == [1000, 1090]
    assert ahead(Timing(every=90, anchor=1000, starts_at=5000), 0, 2) == [5000, 5090]
    assert ahead(Timing(every=60, anchor=0, ends_at=180), 0, 9) == [60, 120]
    assert ahead(Timing(cron="* * * * *", starts_at=90, ends_at=240), 0, 9) == [120, 180]


# A plain reference: Debian's rules, by looking at every minute that there was.

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "Asia/Kathmandu",
    "Africa/Cairo",
)
DAYS = {  # days around which the clocks are changed in one of those zones, and a quiet one
    "2018-11-04", "2026-03-08", "2026-03-29", "2026-04-05", "2026-04-24",
    "2026-10-04", "2026-10-25", "2026-10-30", "2026-11-01", "2026-07-15",
}  # fmt: skip


def matches(minutes: set[int] | None, hours: set[int] | None, moment: datetime) -> bool:
    return (minutes is None or moment.minute in minutes) and (hours is None or moment.hour in hours)


def walked(minutes: set[int] | None, hours: set[int] | None, zone: ZoneInfo, first: int, last: int) -> list[int]:
    """All occurrences between two times. What follows the clock occurs whenever the clock shows it; what is at fixed times,
    once for each minute of the calendar, the first time that the clock shows that or something later."""
    follows = minutes is None or hours is None
    found: set[int] = set()
    shown: set[datetime] = set()
    latest = datetime.fromtimestamp(first - 60, zone).replace(tzinfo=None)
    for at in range(first, last + 1, 60):
        wall = datetime.fromtimestamp(at, zone).replace(tzinfo=None)
        if follows:
            if matches(minutes, hours, wall):
                found.add(at)
            continue
        skipped = latest
        while skipped < wall:
            skipped = datetime.fromtimestamp(skipped.replace(tzinfo=UTC).timestamp() + 60, UTC).replace(tzinfo=None)
            if skipped not in shown and matches(minutes, hours, skipped):
                found.add(at)
            shown.add(skipped)
        latest = max(latest, wall)
    return sorted(found)


def text_of(values: set[int] | None) -> str:
    return "*" if values is None else ",".join(map(str, sorted(values)))


minutes_of = st.none() | st.sets(st.integers(0, 59), min_size=1, max_size=3)
hours_of = st.none() | st.sets(st.integers(0, 4) | st.integers(0, 23), min_size=1, max_size=3)


@given(minutes_of, hours_of, st.sampled_from(ZONES), st.sampled_from(sorted(DAYS)), st.integers(0, 2 * 1440), st.data())
@settings(max_examples=25, deadline=None)
def test_against_the_reference(
    minutes: set[int] | None, hours: set[int] | None, zone: str, day: str, offset: int, data: st.DataObject
) -> None:
    middle = unix(f"{day}T00:00:00+00:00")
    first, last = middle - 2 * 86_400, middle + 2 * 86_400
    expected = [at for at in walked(minutes, hours, ZoneInfo(zone), first, last) if at > first + 86_400]
    timing = Timing(cron=f"{text_of(minutes)} {text_of(hours)} * * *", timezone=zone)
    found, at = [], float(first + 86_400)
    while (following := next_after(timing, at)) is not None and following <= last:
        found.append(following)
        at = following
    assert found == expected
    # From anywhere between two of them the next one is the same, and so is the one before.
    asked = first + 86_400 + offset * 60 + data.draw(st.integers(0, 59))
    later = [at for at in expected if at > asked]
    if later:
        assert next_after(timing, asked) == later[0]
        assert first_at(timing, later[0]) == later[0]
    earlier = [at for at in expected if at <= asked]
    if earlier:
        assert latest_until(timing, expected[0], asked) == earlier[-1]


@pytest.mark.parametrize(
    ("cron", "zone"), [("0 3 * * *", "UTC"), ("*/7 * * * *", "Asia/Shanghai"), ("0 0 1 1 *", "Europe/Berlin")]
)
def test_the_latest_one_after_years(cron: str, zone: str) -> None:
    timing = Timing(cron=cron, timezone=zone)
    oldest = next_after(timing, unix("2020-05-05T00:00:00+00:00"))
    assert oldest is not None
    now = unix("2026-07-15T10:11:12+00:00")
    latest = latest_until(timing, oldest, now)
    following = next_after(timing, latest)
    assert following is not None
    assert latest <= now < following


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({}, "cron"),
        ({"cron": "* * * * *", "every": 5}, "cron"),
        ({"cron": "* * * *"}, "cron"),
        ({"cron": "* * * * * *"}, "cron"),
        ({"cron": "60 * * * *"}, "cron"),
        ({"cron": "* * * * FOO"}, "cron"),
        ({"cron": "0 0 30 2 *"}, "cron"),
        ({"cron": "@reboot"}, "cron"),
        ({"cron": "1," * 200 + "1 * * * *"}, "cron"),
        ({"every": 0}, "every"),
        ({"every": 10**9}, "every"),
        ({"cron": "@daily", "timezone": "Mars/Olympus"}, "timezone"),
        ({"cron": "@daily", "timezone": "../../etc/passwd"}, "timezone"),
        ({"cron": "@daily", "starts_at": 5, "ends_at": 5}, "ends_at"),
        ({"cron": "@yearly", "ends_at": int(NOW) + 60}, "ends_at"),
    ],
)
def test_what_is_refused(fields: dict[str, object], path: str) -> None:
    with pytest.raises(Invalid) as refused:
        check_timing(Timing(**fields), now=NOW)  # type: ignore[arg-type]
    assert refused.value.path == path
