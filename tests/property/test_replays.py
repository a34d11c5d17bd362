"""What a replay selects is what a plain reading of the same events selects, however its steps are cut."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any, Final
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.installed import installed
from tests.making import grant, new_app, new_id
from tests.replaying import HOME, Replaying
from tests.worlds import PostgresWorld

from posthouse.dispatch.replays import STEP_SECONDS
from posthouse.domain.delivery import AttemptOutcome
from posthouse.domain.event import Event
from posthouse.domain.ids import EventId
from posthouse.domain.limits import REPLAY_STEP_EVENTS_MAX
from posthouse.domain.replay import ReplayState, Select, is_wanted

DELIVERED, FAILED, GAVE_UP = AttemptOutcome.DELIVERED, AttemptOutcome.FAILED, AttemptOutcome.GAVE_UP
ADDRESSEES: Final = ("own", "other", "platform", "revoked", "elsewhere")
FATES: Final[dict[str, tuple[tuple[AttemptOutcome, ...], bool]]] = {
    "never": ((), False),
    "waits": ((), True),
    "delivered": ((DELIVERED,), False),
    "retried": ((FAILED,), True),
    "recovered": ((FAILED, DELIVERED), False),
    "lost": ((FAILED, GAVE_UP), False),
    "resent": ((GAVE_UP, DELIVERED), False),
    "lost again": ((DELIVERED, GAVE_UP), False),
    "on its way again": ((GAVE_UP,), True),
}
TYPES: Final = ("order.created", "order.paid", "user")
SPAN: Final = (-120.0, -40.0)

events = st.lists(
    st.fixed_dictionaries(
        {
            "to": st.sampled_from(ADDRESSEES),
            "fate": st.sampled_from(sorted(FATES)),
            "type": st.sampled_from(TYPES),
            "channels": st.sampled_from([(), ("eu",), ("us",), ("eu", "us")]),
            "ago": st.sampled_from([-200.0, -120.0, -119.0, -80.0, -41.0, -40.0, -1.0]),
            "key": st.sampled_from([None, "a", "b"]),
        }
    ),
    max_size=12,
)
patterns = st.sampled_from([(), ("order.*",), ("user", "order.paid"), ("*",), ("none",)])


@pytest.fixture
async def real(shared_database: str) -> AsyncIterator[PostgresWorld]:
    async with installed(shared_database) as postgres:
        yield PostgresWorld(postgres)


def selected(
    one: dict[str, object], select: Select, types: tuple[str, ...], matches: tuple[str, ...], channels: tuple[str, ...]
) -> bool:
    """The rule, said once more."""

    def one_of(some: tuple[str, ...]) -> bool:
        name = str(one["type"])
        return not some or any(p in (name, "*") or (p == "order.*" and name.startswith("order.")) for p in some)

    attempts, owed = FATES[str(one["fate"])]
    seen = attempts[-1] if attempts else None
    heard = one_of(matches) and (not channels or bool(set(channels) & set(one["channels"])))  # type: ignore[call-overload]
    if one["to"] not in ("own", "platform") or owed or not one_of(types):
        return False
    if not SPAN[0] <= float(str(one["ago"])) < SPAN[1]:
        return False
    return {
        Select.FAILED: seen is GAVE_UP,
        Select.MISSING: seen is None and heard,
        Select.ALL: seen is not None or heard,
    }[select]


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    made=events,
    select=st.sampled_from(list(Select)),
    types=patterns,
    matches=patterns,
    channels=st.sampled_from([(), ("eu",)]),
    step=st.integers(1, 6),
    line=st.integers(2, 6),
)
async def test_what_is_selected(
    real: PostgresWorld,
    made: list[dict[str, object]],
    select: Select,
    types: tuple[str, ...],
    matches: tuple[str, ...],
    channels: tuple[str, ...],
    step: int,
    line: int,
) -> None:
    await real.clear()
    at = Replaying(real, events=matches, channels=channels)
    await at.open()
    other, now = new_app(), float(int(time.time()))
    await real.put_app(other, partition=HOME)
    revoked = grant(at.app_id, "*", "shop:revoked")
    for granted in (grant(at.app_id, "*", "shop:platform"), revoked, grant(other, "*", "*")):
        await real.put_grant(granted)
    known: dict[EventId, Event] = {}
    expected: list[EventId] = []
    for one in made:
        to = str(one["to"])
        event = await at.publish(
            app_id=other if to == "other" else None,
            platform=to in ("platform", "revoked", "elsewhere"),
            subject=f"shop:{to}",
            id=EventId(new_id(at=now + float(str(one["ago"])))),
            type=one["type"],
            channels=one["channels"],
            key=one["key"],
        )
        known[event.id] = event
        if to not in ("other", "elsewhere"):
            attempts, owed = FATES[str(one["fate"])]
            await at.tried(event, *attempts)
            if owed:
                await at.owe(event)
        if selected(one, select, types, matches, channels):
            expected.append(event.id)
    for event in list(known.values())[-1:]:
        await at.dispatched(event)
    await real.remove_grant(revoked)
    span: dict[str, Any] = {"since": now + SPAN[0], "until": now + SPAN[1], "types": types}

    wanted = at.wanted(select, **span)
    bounds = await at.jobs.bounds(wanted)
    counted, position = 0, bounds.first
    while position < bounds.last:
        scan = await at.jobs.scan(wanted, after=position, until=bounds.last, limit=REPLAY_STEP_EVENTS_MAX)
        counted += sum(is_wanted(candidate, wanted, at.config) for candidate in scan.candidates)
        position = scan.reached
    assert counted == len(expected), "a dry run"

    replay = await at.ask(select, **span)
    sent: list[EventId] = []
    with patch.multiple("posthouse.dispatch.replays", REPLAY_OUTSTANDING_ROWS_MAX=line, REPLAY_STEP_EVENTS_MAX=step):
        while (await at.now(replay)).state is not ReplayState.FINISHED:
            while await at.runner.round() == STEP_SECONDS:
                pass
            rows = await at.replayed()
            assert len(rows) <= line
            sent += [row.event_id for row in rows]
            if rows:
                await at.deliver(rows, known)
    assert sent == expected
    found = await at.now(replay)
    assert (found.selected, found.sent, found.total) == (len(expected), len(expected), len(expected))
