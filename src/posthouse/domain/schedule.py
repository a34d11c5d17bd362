"""Schedules: events that are published at certain times, each occurrence once. Times are unix seconds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, assert_never

import msgspec

from posthouse.domain.errors import Invalid
from posthouse.domain.ids import SCHEDULE, AppId, EventId, ScheduleId, format_id, unix_ms_of
from posthouse.domain.limits import (
    ERROR_LENGTH_MAX,
    SCHEDULE_BACKOFF_SECONDS,
    SCHEDULE_CAUGHT_UP_MAX,
    SCHEDULE_ON_TIME_SECONDS,
)
from posthouse.domain.occurrences import Timing, first_at, latest_until, next_after, zone_of
from posthouse.domain.verdict import Postponed, Published, Refused, Verdict

_PLACEHOLDER: Final = re.compile(r"\{\{([^{}]*)\}\}")
_ID_AGE_SECONDS_MAX: Final = 240.0
"""The log takes no id that is off by five minutes."""


class CatchUp(StrEnum):
    """What becomes of occurrences that were missed, as nothing ran."""

    NONE = "none"
    LAST = "last"
    ALL = "all"


class Firing(msgspec.Struct, frozen=True):
    """An occurrence that was fired: when it was due, when it was, and the event it became."""

    scheduled_at: float
    fired_at: float
    event_id: EventId


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a schedule is.

    `due_at` is the occurrence to be fired next, None where there is none. `pending`: an occurrence was taken to be fired
    under this event id, and what became of it is not on record (yet). `caught_up`: missed occurrences fired in a row.
    """

    due_at: int | None = None
    pending_at: int | None = None
    pending_event: EventId | None = None
    caught_up: int = 0
    fired: int = 0
    last: Firing | None = None
    skipped_from: int | None = (
        None  # of the last stretch that was missed and is not fired: both are occurrences or ends
    )
    skipped_until: int | None = None
    failures: int = 0  # refusals in a row
    failure: str | None = None
    failure_code: str | None = None
    failed_at: float | None = None
    retry_at: float | None = None


class ScheduleConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What is published when. `data` is JSON, in which placeholders stand for the occurrence."""

    timing: Timing
    type: str
    data: str = "{}"
    subject: str | None = None
    key: str | None = None
    catch_up: CatchUp = CatchUp.LAST


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule as it is stored. Without an app its events are the platform's."""

    id: ScheduleId
    config: ScheduleConfig
    uid: str | None = None
    name: str = ""
    app_id: AppId | None = None
    enabled: bool = True
    progress: Progress = Progress()
    created_at: float = 0.0
    updated_at: float = 0.0

    @property
    def reference(self) -> str:
        """Its uid; its id where it has none."""
        return self.uid or format_id(SCHEDULE, self.id)


class Turn(msgspec.Struct, frozen=True):
    """What is to be done with a schedule that is due: fire an occurrence, or (None) go on to the next one."""

    progress: Progress
    fire: int | None


def plan(schedule: Schedule, *, now: float, published: bool, event_id: EventId) -> Turn:
    """What is to be done with a schedule at a time; `published`: its pending event is in the log. `event_id` is for what is
    fired.

    An occurrence at most `SCHEDULE_ON_TIME_SECONDS` ago was not missed; what becomes of one that was, `catch_up` says.
    """
    progress = _resolved(schedule, published)
    due = progress.due_at
    if due is None or due > now:
        return Turn(progress, None)
    on_time = now - SCHEDULE_ON_TIME_SECONDS
    if due < on_time:
        wanted = _caught_up(schedule, progress, due, now)
        if wanted != due:
            progress = msgspec.structs.replace(
                progress, due_at=wanted, skipped_from=due, skipped_until=wanted or int(now), caught_up=0
            )
        if wanted is None or wanted > now:
            return Turn(progress, None)
        due = wanted
    pending = progress.pending_event
    if progress.pending_at == due and pending is not None and now - unix_ms_of(pending) / 1000 < _ID_AGE_SECONDS_MAX:
        # Whoever took it before us, should he still live, publishes the same event.
        event_id = pending
    return Turn(msgspec.structs.replace(progress, pending_at=due, pending_event=event_id), due)


def _resolved(schedule: Schedule, published: bool) -> Progress:
    """The progress, where what was pending turned out to be published after all."""
    progress = schedule.progress
    if not published or progress.pending_at is None or progress.pending_event is None:
        return progress
    at = unix_ms_of(progress.pending_event) / 1000
    return fired(schedule, progress.pending_at, Firing(progress.pending_at, at, progress.pending_event))


def _caught_up(schedule: Schedule, progress: Progress, due: int, now: float) -> int | None:
    """Which occurrence comes next, where the one that is due was missed."""
    timing, on_time = schedule.config.timing, now - SCHEDULE_ON_TIME_SECONDS
    catch_up = schedule.config.catch_up
    if catch_up is CatchUp.ALL and progress.caught_up < SCHEDULE_CAUGHT_UP_MAX:
        return due
    first = first_at(timing, on_time)  # of those that were not missed
    if catch_up is CatchUp.NONE or (first is not None and first <= now):
        return first
    return latest_until(timing, due, now)


def fired(schedule: Schedule, occurrence: int, firing: Firing) -> Progress:
    """An occurrence was fired. What is due changes only if it was this one: it may have been planned anew meanwhile."""
    progress = schedule.progress
    due = progress.due_at
    missed = firing.fired_at - firing.scheduled_at > SCHEDULE_ON_TIME_SECONDS
    return msgspec.structs.replace(
        _forgiven(progress),
        caught_up=progress.caught_up + 1 if missed else 0,
        due_at=next_after(schedule.config.timing, occurrence) if due == occurrence else due,
        pending_at=None,
        pending_event=None,
        fired=progress.fired + 1,
        last=firing,
    )


def refused(progress: Progress, *, code: str, reason: str, now: float) -> Progress:
    """An occurrence was not taken: nothing was published, and it is tried again after a while."""
    failures = progress.failures + 1
    wait = SCHEDULE_BACKOFF_SECONDS[min(failures, len(SCHEDULE_BACKOFF_SECONDS)) - 1]
    return msgspec.structs.replace(
        progress,
        pending_at=None,
        pending_event=None,
        failures=failures,
        failure=reason,
        failure_code=code,
        failed_at=now,
        retry_at=now + wait,
    )


def settled(
    schedule: Schedule, occurrence: int, verdict: Verdict, *, now: float, again_seconds: float
) -> tuple[Schedule, float | None]:
    """The schedule after what became of its pending occurrence, and when it is to be looked at next."""
    match verdict:
        case Published(event_id=event_id):
            progress = fired(schedule, occurrence, Firing(occurrence, now, event_id))
        case Refused(code=code, reason=reason):
            progress = refused(schedule.progress, code=code, reason=reason[:ERROR_LENGTH_MAX], now=now)
        case Postponed():
            # What is pending stays: it may be in the log.
            wake_at = None if schedule.progress.due_at is None else now + again_seconds
            return schedule, wake_at
        case _:
            assert_never(verdict)
    return msgspec.structs.replace(schedule, progress=progress), wakes_at(progress)


def planned_anew(schedule: Schedule, *, now: float) -> Progress:
    """The progress of a schedule that begins, goes on after a pause, or whose times are other ones: from now on. What would
    have been before is not made up for."""
    due = next_after(schedule.config.timing, now) if schedule.enabled else None
    return msgspec.structs.replace(_forgiven(schedule.progress), due_at=due, caught_up=0)


def _forgiven(progress: Progress) -> Progress:
    """The progress without what was refused."""
    return msgspec.structs.replace(progress, failures=0, failure=None, failure_code=None, failed_at=None, retry_at=None)


def begun(schedule: Schedule, *, now: float) -> Schedule:
    """A new schedule, from now on; intervals count from now where it does not say when it starts."""
    timing = msgspec.structs.replace(schedule.config.timing, anchor=int(now))
    made = msgspec.structs.replace(schedule, config=msgspec.structs.replace(schedule.config, timing=timing))
    return msgspec.structs.replace(made, progress=planned_anew(made, now=now))


def changed(old: Schedule, new: Schedule, *, now: float) -> Schedule:
    """A schedule whose fields were changed. Other times, or another `enabled`, count from now on; whatever else it was, what
    was refused is tried again at once."""
    if (new.config.timing, new.enabled) != (old.config.timing, old.enabled):
        progress = planned_anew(new, now=now)
    else:
        progress = _forgiven(old.progress)
    return msgspec.structs.replace(new, progress=progress)


def wakes_at(progress: Progress) -> float | None:
    """When it is to be looked at; None: never, as it is."""
    return None if progress.due_at is None else progress.retry_at or progress.due_at


def idempotency_key_of(schedule_id: ScheduleId, occurrence: int) -> str:
    """The same for an occurrence whoever fires it, and however often."""
    return f"{format_id(SCHEDULE, schedule_id)}/{occurrence}"


# What an occurrence puts into the data


def utc_time(occurrence: float) -> str:
    """RFC 3339."""
    return datetime.fromtimestamp(int(occurrence), UTC).isoformat().replace("+00:00", "Z")


def placeholders_of(schedule: Schedule, occurrence: float) -> Mapping[str, str]:
    """By name, what stands for it in an event of this occurrence."""
    local = datetime.fromtimestamp(int(occurrence), zone_of(schedule.config.timing.timezone))
    return {
        "scheduled_time": utc_time(occurrence),
        "local_time": local.isoformat(),
        "local_date": local.date().isoformat(),
        "schedule": schedule.reference,
    }


PLACEHOLDERS: Final = ("scheduled_time", "local_time", "local_date", "schedule")


def payload_of(schedule: Schedule, occurrence: float) -> bytes:
    """The data of an occurrence's event, as JSON."""
    data = schedule.config.data
    if "{{" not in data:
        return data.encode()
    return msgspec.json.encode(_filled(msgspec.json.decode(data), placeholders_of(schedule, occurrence), "data"))


def check_placeholders(data: Any) -> None:
    """Raises Invalid for one that there is not."""
    _filled(data, dict.fromkeys(PLACEHOLDERS, ""), "data")


def _filled(value: Any, words: Mapping[str, str], path: str) -> Any:
    match value:
        case str():
            return _PLACEHOLDER.sub(lambda found: _word(found[1], words, path), value) if "{{" in value else value
        case list():
            return [_filled(one, words, f"{path}[{index}]") for index, one in enumerate(value)]
        case dict():
            return {name: _filled(one, words, f"{path}.{name}") for name, one in value.items()}
        case _:
            return value


def _word(name: str, words: Mapping[str, str], path: str) -> str:
    found = words.get(name.strip())
    if found is None:
        known = ", ".join(f"{{{{{word}}}}}" for word in PLACEHOLDERS)
        raise Invalid(f"there is no placeholder {name.strip()[:80]!r}; there are {known}", path=path)
    return found
