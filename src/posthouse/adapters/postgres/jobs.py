"""Replays on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Final

import asyncpg
import msgspec

from posthouse.adapters.postgres.changes import write_audit
from posthouse.adapters.postgres.database import Connection, Database
from posthouse.adapters.postgres.queries import Queries
from posthouse.domain.delivery import AttemptOutcome, DeliveryClass
from posthouse.domain.endpoint import EndpointConfig
from posthouse.domain.errors import Conflict
from posthouse.domain.ids import AppId, EndpointId, EventId, JobId, lower_bound, next_id
from posthouse.domain.limits import (
    CLOCK_SKEW_SECONDS_MAX,
    REPLAY_OUTSTANDING_ROWS_MAX,
    REPLAY_STEP_POSITIONS_MAX,
)
from posthouse.domain.order import UNORDERED, line_of
from posthouse.domain.replay import (
    BEHIND_ANOTHER,
    TRANSITIONS,
    Bounds,
    Candidate,
    Replay,
    ReplayState,
    Select,
    Turn,
    Wanted,
    is_wanted,
)
from posthouse.ports.directory import Audit
from posthouse.ports.jobs import Hold, Scan, Work

SQL = Queries("jobs.sql")

OUTSTANDING_COUNTED_MAX: Final = 2 * REPLAY_OUTSTANDING_ROWS_MAX
_SKEW_SECONDS: Final = 2 * CLOCK_SKEW_SECONDS_MAX
"""Between the time in an event's id, that of its appending, and that in the id of an attempt."""


class _Request(msgspec.Struct, frozen=True):
    """`job.request`."""

    select: Select
    since: float
    until: float
    types: tuple[str, ...] = ()


class _Progress(msgspec.Struct, frozen=True):
    """`job.progress`. `untried` is of one that has ended; until then the rows say."""

    scanned: int = 0
    selected: int = 0
    untried: int = 0


_config: Final = msgspec.json.Decoder(EndpointConfig)
_request: Final = msgspec.json.Decoder(_Request)
_progress: Final = msgspec.json.Decoder(_Progress)


class PostgresJobs:
    """`ports.jobs.Jobs` and `ports.jobs.ReplayBook` on PostgreSQL."""

    def __init__(self, database: Database, *, polling: Database | None = None) -> None:
        self._database = database
        self._polling = polling or database

    # What both read

    async def bounds(self, wanted: Wanted) -> Bounds:
        (row,) = await self._database.read(
            SQL.bounds, wanted.partition, wanted.since - _SKEW_SECONDS, wanted.until + _SKEW_SECONDS
        )
        return Bounds(row["first"], row["last"])

    async def scan(self, wanted: Wanted, *, after: int, until: int, limit: int) -> Scan:
        # The cursor first: what it had passed then has a row or an attempt in whatever is seen later.
        cursor = await self._database.fetchval(SQL.cursor, wanted.partition)
        end = min(until, cursor, after + REPLAY_STEP_POSITIONS_MAX)
        found: list[Candidate] = []
        reached = after
        while reached < end and 4 * len(found) < 3 * limit:
            # No more positions than events are wanted: where all are the app's, none is read in vain.
            last = min(reached + limit - len(found), end)
            found += await self._stretch(wanted, reached, last)
            reached = last
        return Scan(tuple(found), reached)

    async def _stretch(self, wanted: Wanted, after: int, until: int) -> list[Candidate]:
        rows = await self._database.read(
            SQL.stretch,
            wanted.partition,
            after,
            until,
            _id_at(wanted.since),
            _id_at(wanted.until),
            wanted.app_id,
            wanted.endpoint_id,
            _id_at(wanted.since - _SKEW_SECONDS),
        )
        return [_candidate(row) for row in rows]

    # The steps of the one who carries it out

    async def live(self, partitions: Collection[int], *, after: bytes, limit: int) -> list[Work]:
        rows = await self._polling.fetch(SQL.live, list(partitions), after, limit, OUTSTANDING_COUNTED_MAX)
        return [
            Work(
                replay=_replay(row),
                config=None if row["config"] is None else _config.decode(row["config"]),
                enabled=bool(row["enabled"]),
                cursor=row["cursor"],
                outstanding=row["outstanding"],
            )
            for row in rows
        ]

    async def begin(self, hold: Hold, replay: Replay, bounds: Bounds) -> Replay | None:
        async with self._held(hold, replay) as (connection, current):
            state = None if current is None else TRANSITIONS[current.state, Turn.BEGIN]
            if state is None:
                return None
            return _replay(
                await connection.fetchrow(SQL.begin, replay.id, state.value, bounds.first, bounds.last),
            )

    async def advance(
        self,
        hold: Hold,
        work: Work,
        chosen: Sequence[Candidate],
        *,
        scanned: int,
        position: int,
        now: float,
    ) -> Replay | None:
        replay, config = work.replay, work.config
        assert config is not None, "there is nothing to be done for an endpoint that is gone"
        wanted = replay.wanted
        async with self._held(hold, replay) as (connection, current):
            if current is None or current.state is not ReplayState.RUNNING:
                return None
            owed = 0
            if chosen:
                still = await _still_wanted(connection, wanted, chosen, config)
                owed = await _owe(connection, wanted, still, config, now=now)
            if owed:
                await connection.execute(SQL.poke, wanted.partition)
            progress = _Progress(current.scanned + scanned, current.selected + owed)
            return _replay(await connection.fetchrow(SQL.advance, replay.id, position, _json(progress)))

    async def settle(self, hold: Hold, replay: Replay, turn: Turn, *, reason: str | None = None) -> Replay | None:
        async with self._held(hold, replay) as (connection, current):
            state = None if current is None else TRANSITIONS[current.state, turn]
            if current is None or state is None:
                return None
            untried = await _outstanding(connection, replay.wanted)
            if turn is Turn.FINISH and untried:
                return None
            return await _change(connection, current, state, reason=reason, untried=untried)

    @asynccontextmanager
    async def _held(self, hold: Hold, replay: Replay) -> AsyncIterator[tuple[Connection, Replay | None]]:
        """A transaction that holds the partition and the job; None where either is not as it was."""
        async with self._database.transaction() as connection:
            held = await connection.fetch(SQL.hold_owned, replay.wanted.partition, hold.owner, hold.epoch)
            row = await connection.fetchrow(SQL.lock_job, replay.id) if held else None
            current = None if row is None else _replay(row)
            yield connection, current if current is not None and current.position == replay.position else None

    # What is asked of it

    async def create(self, replay: Replay, audit: Audit, *, live_max: int) -> Replay:
        wanted = replay.wanted
        request = _Request(wanted.select, wanted.since, wanted.until, wanted.types)
        async with self._database.transaction() as connection:
            await connection.fetch(SQL.hold, wanted.partition)
            if await connection.fetchval(SQL.count_live, wanted.partition, wanted.app_id) >= live_max:
                raise Conflict(
                    f"the app has {live_max} replays that have not ended; wait for one, or cancel one",
                    code="too_many_replays",
                )
            row = await connection.fetchrow(
                SQL.create, replay.id, wanted.partition, wanted.app_id, wanted.endpoint_id, _json(request)
            )
            await connection.execute(SQL.poke, wanted.partition)
            await write_audit(connection, audit)
        return _replay(row)

    async def get(self, app_id: AppId, job_id: JobId) -> Replay | None:
        rows = await self._database.read(SQL.replays, app_id, next_id(job_id), job_id, 1, OUTSTANDING_COUNTED_MAX)
        return _replay(rows[0]) if rows else None

    async def page(self, app_id: AppId | None, *, before: bytes, limit: int) -> list[Replay]:
        rows = await self._database.read(SQL.replays, app_id, before, bytes(16), limit, OUTSTANDING_COUNTED_MAX)
        return [_replay(row) for row in rows]

    async def turn(self, replay: Replay, turn: Turn, audit: Audit, *, now: float) -> Replay | None:
        wanted = replay.wanted
        async with self._database.transaction() as connection:
            await connection.fetch(SQL.hold, wanted.partition)
            row = await connection.fetchrow(SQL.lock_job, replay.id)
            if row is None:
                return None
            current = _replay(row)
            state = TRANSITIONS[current.state, turn]
            if state is None:
                raise Conflict(f"this replay is {current.state.value}; start another one", code="replay_ended")
            if state is not current.state:
                untried = 0
                if turn is Turn.CANCEL and current.bounds is not None:
                    untried = await _take_back(connection, wanted, now=now)
                await _change(connection, current, state, reason=None, untried=untried)
                await connection.execute(SQL.poke, wanted.partition)
                await write_audit(connection, audit)
        return await self.get(wanted.app_id, replay.id)


async def _still_wanted(
    connection: Connection, wanted: Wanted, chosen: Sequence[Candidate], config: EndpointConfig
) -> list[Candidate]:
    """Of what was chosen before the partition was held, what is to be sent again now that nobody else writes."""
    facts = {
        row["event_id"]: (_outcome(row["last"]), row["owed"])
        for row in await connection.fetch(
            SQL.facts,
            wanted.partition,
            wanted.endpoint_id,
            [candidate.event_id for candidate in chosen],
            _id_at(wanted.since - _SKEW_SECONDS),
        )
    }
    now = [msgspec.structs.replace(c, last=facts[c.event_id][0], owed=facts[c.event_id][1]) for c in chosen]
    return [candidate for candidate in now if is_wanted(candidate, wanted, config)]


async def _owe(
    connection: Connection, wanted: Wanted, chosen: Sequence[Candidate], config: EndpointConfig, *, now: float
) -> int:
    """Put rows in, in the lines that they belong to; how many."""
    if not chosen:
        return 0
    rows = await connection.fetch(
        SQL.owe,
        wanted.partition,
        wanted.endpoint_id,
        now,
        [candidate.event_id for candidate in chosen],
        [candidate.seq for candidate in chosen],
        [candidate.payload_bytes for candidate in chosen],
        [line_of(config.ordering, candidate.key, DeliveryClass.REPLAY) for candidate in chosen],
    )
    await _put_in_order(connection, wanted, rows, now=now)
    return len(rows)


async def _take_back(connection: Connection, wanted: Wanted, *, now: float) -> int:
    rows = await connection.fetch(SQL.take_back, wanted.partition, wanted.endpoint_id, OUTSTANDING_COUNTED_MAX)
    await _put_in_order(connection, wanted, rows, now=now)
    return len(rows)


async def _put_in_order(connection: Connection, wanted: Wanted, rows: Sequence[asyncpg.Record], *, now: float) -> None:
    lines = sorted({row["key_hash"] for row in rows} - {UNORDERED})
    if lines:
        await connection.execute(SQL.order_lines, now, wanted.partition, wanted.endpoint_id, lines)


async def _outstanding(connection: Connection, wanted: Wanted) -> int:
    return int(
        await connection.fetchval(SQL.outstanding, wanted.partition, wanted.endpoint_id, OUTSTANDING_COUNTED_MAX)
    )


async def _change(
    connection: Connection, current: Replay, state: ReplayState, *, reason: str | None, untried: int
) -> Replay:
    ends = not state.live
    progress = _Progress(current.scanned, current.selected, untried if ends else 0)
    return _replay(await connection.fetchrow(SQL.change, current.id, state.value, _json(progress), reason, ends))


def _candidate(row: asyncpg.Record) -> Candidate:
    return Candidate(
        event_id=EventId(row["event_id"]),
        seq=row["seq"],
        type=row["type"],
        key=row["key"],
        channels=tuple(row["channels"] or ()),
        payload_bytes=row["payload_bytes"],
        permitted=row["permitted"],
        last=_outcome(row["last"]),
        owed=row["owed"],
    )


def _outcome(text: str | None) -> AttemptOutcome | None:
    return None if text is None else AttemptOutcome(text)


def _replay(row: asyncpg.Record | None) -> Replay:
    assert row is not None, "RETURNING of a row that is held"
    request, progress = _request.decode(row["request"]), _progress.decode(row["progress"])
    state = ReplayState(row["state"])
    return Replay(
        id=JobId(row["id"]),
        wanted=Wanted(
            partition=row["partition"],
            app_id=AppId(row["app_id"]),
            endpoint_id=EndpointId(row["endpoint_id"]),
            select=request.select,
            since=request.since,
            until=request.until,
            types=request.types,
        ),
        state=state,
        bounds=None if row["first_seq"] is None else Bounds(row["first_seq"], row["last_seq"]),
        position=row["position"],
        scanned=progress.scanned,
        selected=progress.selected,
        untried=row["outstanding"] if state.live else progress.untried,
        reason=BEHIND_ANOTHER if row.get("behind") else row["reason"],
        created_at=row["created_at"].timestamp(),
        updated_at=row["updated_at"].timestamp(),
        finished_at=None if row["finished_at"] is None else row["finished_at"].timestamp(),
    )


def _id_at(unix_seconds: float) -> bytes:
    """The first id of a time."""
    return lower_bound(int(unix_seconds * 1000))


def _json(value: msgspec.Struct) -> str:
    return msgspec.json.encode(value).decode()
