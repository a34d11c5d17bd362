"""No hot statement scans a table, searches old days, or reads many more rows than it needs.

What a statement touched is what PostgreSQL counted while it ran (`pg_stat_xact_user_tables`), not what a plan promised; so
the statements inside `publish` and `journal` are seen too.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest
from msgspec import structs
from tests.installed import installed, without_days
from tests.making import attempt, draft, new_endpoint, new_id, new_owner, owed

from posthouse.adapters.postgres.database import Connection, Database
from posthouse.adapters.postgres.days import ensure_days
from posthouse.adapters.postgres.jobs import PostgresJobs
from posthouse.adapters.postgres.log import PostgresLog
from posthouse.adapters.postgres.pools import POLLING_SETTINGS, READING_SETTINGS
from posthouse.adapters.postgres.schedules import PostgresSchedules
from posthouse.adapters.postgres.store import PostgresStore
from posthouse.adapters.postgres.stream import PostgresStreamSource
from posthouse.adapters.postgres.verifications import PostgresVerifications
from posthouse.domain.delivery import Attempt, Cursor, JournalBatch, Owed, OwedReason, Rollup
from posthouse.domain.event import Event
from posthouse.domain.ids import AppId, AttemptId, EndpointId, EventId, JobId, lower_bound
from posthouse.domain.replay import Replay, ReplayState, Select, Turn
from posthouse.domain.replay import Wanted as ReplayWanted
from posthouse.ports.directory import Audit
from posthouse.ports.jobs import Hold
from posthouse.ports.log import Announced, Appended, AppMissing, Repeated
from posthouse.ports.store import Want
from posthouse.ports.stream import Wanted

if TYPE_CHECKING:
    from tests.postgres import PostgresServer

DAY: Final = 86_400
DAYS: Final = 6
PARTITIONS: Final = 8
EVENTS: Final = 48_000
ROWS: Final = 24_000
ENDPOINTS: Final = 400
LINE_ROWS: Final = 100_000
LINE: Final = 6
SEQ_MAX: Final = EVENTS // PARTITIONS
SEQS_A_DAY: Final = SEQ_MAX // DAYS
PROBES: Final = 2 * DAYS
"""The planner itself may look at both ends of a day's index."""

# Events spread evenly over the days; those of a partition have no gap. Every one was tried, and every second one is owed.
FILL: Final = """
    CREATE FUNCTION id_at(ms bigint, n bigint) RETURNS uuid IMMUTABLE LANGUAGE sql AS $$
        SELECT (lpad(to_hex(ms), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid $$;
    CREATE TABLE made AS
    SELECT n, n % {partitions} AS partition, n / {partitions} + 1 AS seq, id_at(ms, n) AS id, ms,
           id_at(1, n % {partitions}) AS app_id, id_at(2, n % {endpoints}) AS endpoint_id
      FROM (SELECT n, {first_ms} + n * ({days}::bigint * 86400000 / {events}) AS ms FROM generate_series(0, {events} - 1) n) s;
    INSERT INTO app (id, partition, config_version) SELECT id_at(1, p), p, 1 FROM generate_series(0, {partitions} - 1) p;
    INSERT INTO endpoint (id, app_id, config)
    SELECT id_at(2, e), id_at(1, e % {partitions}), '{{"url": "https://example.com/"}}'
      FROM generate_series(0, {endpoints} - 1) e;
    INSERT INTO event (id, partition, seq, app_id, config_version, type, content_type, payload, created_at)
    SELECT id, partition, seq, app_id, 1, 'order.created', 'application/json', repeat('x', 300)::bytea,
           to_timestamp(ms / 1000.0) FROM made;
    INSERT INTO event_key (partition, app_id, key, event_id, fingerprint, created_at)
    SELECT partition, app_id, 'key ' || n, id, '', to_timestamp(ms / 1000.0) FROM made;
    INSERT INTO attempt (partition, id, app_id, endpoint_id, event_id, seq, number, kind, outcome, reason, sent, revision, url,
                         address, started_at, total_us)
    SELECT partition, id_at(ms + 50, n), app_id, endpoint_id, id, seq, 1, 'live',
           CASE WHEN n % 16 < 8 THEN 'failed' ELSE 'delivered' END, '', true, 1, '', '', to_timestamp(ms / 1000.0), 1 FROM made;
    INSERT INTO delivery (partition, endpoint_id, event_id, seq, number, due_at, reason, payload_bytes)
    SELECT partition, endpoint_id, id, seq, 2, to_timestamp(ms / 1000.0), 'failed', 300 FROM made WHERE n % 16 < 8;
    INSERT INTO rollup_minute (partition, minute, app_id, endpoint_id)
    SELECT DISTINCT partition, date_trunc('minute', to_timestamp(ms / 1000.0)), app_id, endpoint_id FROM made;
    -- Everybody hears of one type about everybody, of another about a few each, and one thing is heard of by a few.
    INSERT INTO app_grant (id, app_id, types, subjects) SELECT id_at(3, n), app_id, '{{}}', '{{}}' FROM made;
    INSERT INTO grant_entry (subject, type, app_id, grant_id, partition)
    SELECT CASE n % 3 WHEN 0 THEN '*' WHEN 1 THEN 'shop:*' ELSE 'shop:' || n / 60 END,
           CASE n % 3 WHEN 0 THEN 'news' WHEN 1 THEN 'digest' ELSE 'order.*' END, app_id, id_at(3, n), partition FROM made;
    UPDATE log_head SET seq = {seq_max};
    -- Much that is due some day, and nothing now.
    INSERT INTO schedule (id, config, progress, wake_at)
    SELECT id, '{{}}', '{{}}', now() + interval '1 day' FROM made WHERE n < 5000;
    INSERT INTO endpoint_verification (endpoint_id, progress, wake_at)
    SELECT id, '{{}}', now() + interval '1 day' FROM made WHERE n < 5000;
    VACUUM ANALYZE;
"""


# What this transaction did so far. (For an index, "returned" counts entries, those of index-only scans too.)
COUNTED: Final = """
    SELECT relname::text, pg_stat_get_xact_numscans(c.oid), i.searches, pg_stat_get_xact_tuples_returned(c.oid) + i.entries
      FROM pg_class c CROSS JOIN LATERAL (
        SELECT coalesce(sum(pg_stat_get_xact_numscans(indexrelid)), 0)::bigint AS searches,
               coalesce(sum(pg_stat_get_xact_tuples_returned(indexrelid)), 0)::bigint AS entries
          FROM pg_index WHERE indrelid = c.oid
      ) i
     WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
"""


class Touched(NamedTuple):
    """What a statement did to one table."""

    scans: int  # of the whole table
    searches: int  # of its indexes
    rows: int  # read from either


class _OneConnection(Database):
    """One connection, in the middle of a transaction."""

    def __init__(self, connection: Connection) -> None:
        self._only = connection
        self._pooled = False

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        yield self._only


@dataclass
class Probe:
    """Log and store in a transaction of their own, and what they touched in it so far."""

    log: PostgresLog
    store: PostgresStore
    stream: PostgresStreamSource
    jobs: PostgresJobs
    connection: Connection
    first_day: float  # unix seconds: the midnight with which the data begin
    before: dict[str, Touched] = field(default_factory=dict)

    async def touched(self) -> dict[str, Touched]:
        """What was touched since the last call, by table: partitions are tables of their own."""
        rows = await self.connection.fetch(COUNTED)
        total = {name: Touched(*counts) for name, *counts in rows}
        known, self.before = self.before, total
        since = {
            n: Touched(*(a - b for a, b in zip(t, known.get(n, (0, 0, 0)), strict=True))) for n, t in total.items()
        }
        return {name: t for name, t in since.items() if any(t)}

    def at(self, seq: int) -> float:
        """When the event at a position was created, roughly."""
        return self.first_day + (seq - 1) / SEQ_MAX * DAYS * DAY

    async def event(self, seq: int, *, partition: int = 1) -> Event:
        """An event, read with the days before it left aside."""
        return (await self.log.read(partition, seq - 1, since=self.at(seq)))[0]


@pytest.fixture(scope="module")
def filled(postgres_server: PostgresServer) -> tuple[str, float]:
    """The DSN of a database with much in it, and the midnight with which that begins."""

    async def fill() -> tuple[str, float]:
        dsn = await without_days(await postgres_server.fresh_database())
        async with installed(dsn, partitions=PARTITIONS) as postgres:
            first_day = (postgres.at // DAY - DAYS + 2) * DAY  # to the end of tomorrow
            await ensure_days(postgres.reading, now=first_day + DAY, ahead=DAYS - 2)
            text = FILL.format(
                partitions=PARTITIONS,
                endpoints=ENDPOINTS,
                events=EVENTS,
                days=DAYS,
                first_ms=int(first_day * 1000),
                seq_max=SEQ_MAX,
            )
            for statement in re.split(r";\n", text.strip()):
                await postgres.reading.execute(statement)
        return dsn, first_day

    return asyncio.run(fill())


# An endpoint of its own that is owed very much, all in one ordered line, and a thousand more lines of a few rows each.
FILL_LINE: Final = """
    INSERT INTO delivery (partition, endpoint_id, event_id, seq, number, due_at, reason, payload_bytes, key_hash)
    SELECT 1, '{endpoint}', id_at(5, n), n, 2, CASE n WHEN 1 THEN to_timestamp(0) ELSE 'infinity' END, 'behind', 300, {line}
      FROM generate_series(1, {rows}) n;
    INSERT INTO delivery (partition, endpoint_id, event_id, seq, number, due_at, reason, payload_bytes, key_hash)
    SELECT 1, '{endpoint}', id_at(6, n), {rows} + n, 2,
           CASE WHEN n <= 1000 THEN to_timestamp(10) ELSE 'infinity' END, 'behind', 300, 1000 + 2 * (n % 1000)
      FROM generate_series(1, 3000) n;
    VACUUM ANALYZE delivery;
"""
OF_LINES: Final = EndpointId(bytes.fromhex("0000000000047000800000000000abcd"))


@pytest.fixture(scope="module")
def with_a_line(filled: tuple[str, float]) -> None:
    """Much in one line, besides all the rest."""

    async def fill() -> None:
        database = Database(filled[0], size=1)
        await database.open()
        text = FILL_LINE.format(endpoint=OF_LINES.hex(), line=LINE, rows=LINE_ROWS)
        for statement in re.split(r";\n", text.strip()):
            await database.execute(statement)
        await database.close()

    asyncio.run(fill())


@pytest.fixture(
    params=[READING_SETTINGS, {"plan_cache_mode": "force_generic_plan"}, POLLING_SETTINGS],
    ids=["custom", "generic", "polling"],
)
async def probe(filled: tuple[str, float], request: pytest.FixtureRequest) -> AsyncIterator[Probe]:
    """Both kinds of plans, as a session that does not ask for one comes to either; and those of what is asked over and over."""
    dsn, first_day = filled
    database = Database(dsn, size=1, settings=request.param)
    await database.open()
    try:
        async with database.connection() as connection:
            transaction = connection.transaction()
            await transaction.start()
            one = _OneConnection(connection)
            yield Probe(
                PostgresLog(one, one),
                PostgresStore(one, one, lambda sealed, *_: sealed),
                PostgresStreamSource(one),
                PostgresJobs(one),
                connection,
                first_day,
            )
            await transaction.rollback()
    finally:
        await database.close()


def rows_of(touched: dict[str, Touched], parent: str) -> int:
    """The rows read of a table and its days, none of which was scanned."""
    mine = {name: t for name, t in touched.items() if name == parent or re.fullmatch(rf"{parent}_\d{{8}}", name)}
    assert not [name for name, t in mine.items() if t.scans], f"scanned: {mine}"
    return sum(t.rows for t in mine.values())


def days_of(touched: dict[str, Touched], parent: str) -> int:
    """How many days of a table were searched."""
    return len([name for name in touched if re.fullmatch(rf"{parent}_\d{{8}}", name)])


# The log


async def test_a_read_of_recent_events_reads_them_and_searches_recent_days(probe: Probe) -> None:
    after = SEQ_MAX - 50
    events = await probe.log.read(1, after, since=probe.at(after) - 3600)
    touched = await probe.touched()
    assert [event.seq for event in events] == list(range(after + 1, SEQ_MAX + 1))
    assert rows_of(touched, "event") <= 2 * len(events) + PROBES
    assert days_of(touched, "event") == 1
    assert touched.keys() <= {name for name in touched if name.startswith("event_")}


async def test_a_read_of_older_events_leaves_the_days_before_them_aside(probe: Probe) -> None:
    after = SEQ_MAX - 2 * SEQS_A_DAY - 300
    events = await probe.log.read(1, after, since=probe.at(after) - 3600)
    touched = await probe.touched()
    assert len(events) == 500
    assert rows_of(touched, "event") <= 2 * len(events) + PROBES
    assert days_of(touched, "event") <= 3


async def test_a_read_without_a_time_searches_all_days_by_their_index(probe: Probe) -> None:
    events = await probe.log.read(1, SEQ_MAX - 50, since=None)
    touched = await probe.touched()
    assert len(events) == 50
    assert rows_of(touched, "event") <= 2 * len(events) + PROBES


async def test_a_read_at_the_end_reads_nothing(probe: Probe) -> None:
    assert await probe.log.read(1, SEQ_MAX, since=probe.at(SEQ_MAX) - 3600) == []
    assert rows_of(await probe.touched(), "event") <= PROBES


async def test_a_position_is_looked_up_in_its_day(probe: Probe) -> None:
    seq = SEQ_MAX - 5
    assert await probe.log.event_at(3, seq, since=probe.at(seq)) is not None
    touched = await probe.touched()
    assert rows_of(touched, "event") <= 1 + PROBES
    assert days_of(touched, "event") == 1


async def test_heads_touch_neither_events_nor_deliveries(probe: Probe) -> None:
    assert len(await probe.log.heads(range(PARTITIONS))) == PARTITIONS
    touched = await probe.touched()
    assert touched.keys() <= {"log_head", "config_head", "partition"}


async def test_a_look_at_what_falls_due_by_the_clock_reads_the_first_of_it(probe: Probe) -> None:
    one = _OneConnection(probe.connection)
    schedules = await PostgresSchedules(one).claim(new_id, limit=10, lease_seconds=10)
    assert (schedules.taken, schedules.next_at is None) == ((), False)
    assert rows_of(await probe.touched(), "schedule") <= 1 + PROBES
    verifications = await PostgresVerifications(one).claim(limit=10, lease_seconds=10)
    assert (verifications.taken, verifications.next_at is None) == ((), False)
    assert rows_of(await probe.touched(), "endpoint_verification") <= 1 + PROBES


async def test_publishing_reads_what_it_looks_up_and_no_events(probe: Probe) -> None:
    apps = [AppId(row[0]) for row in await probe.connection.fetch("SELECT id FROM app WHERE uid IS NULL ORDER BY id")]
    for _ in range(7):
        keys = [
            (app_id, [f"key {EVENTS - PARTITIONS * n + p}" for n in (1, 2)] + [new_id().hex()])
            for p, app_id in enumerate(apps)
        ]
        batch = [draft(app_id, idempotency_key=key) for app_id, its in keys for key in (*its, None)]
        await probe.touched()
        results = await probe.log.append([*batch, draft(AppId(new_id()))])
        touched = await probe.touched()
        kinds = [type(result) for result in results]
        assert [kinds.count(kind) for kind in (Repeated, Appended, AppMissing)] == [2 * PARTITIONS, 2 * PARTITIONS, 1]
        assert rows_of(touched, "event") == 0
        assert rows_of(touched, "event_key") <= len(batch)
        assert touched.keys() <= {"app", "log_head"} | {n for n in touched if n.startswith("event_")}


async def test_an_audience_is_found_without_looking_at_those_who_are_not_in_it(probe: Probe) -> None:
    for _ in range(7):
        batch = [draft(None, type="order.created", subject=f"shop:{n}") for n in range(100, 130)]
        await probe.touched()
        results = await probe.log.append(batch)
        touched = await probe.touched()
        audience = sum(result.apps for result in results if isinstance(result, Announced))
        assert audience > len(batch)
        # A shop's few grants are of some apps several times.
        assert rows_of(touched, "grant_entry") <= 20 * len(batch)
        assert rows_of(touched, "event") <= len(batch)
        tables = {"app", "log_head", "installation", "grant_entry", "config_head", "event_type"}
        assert {n for n in touched if n[:6] != "event_"} <= tables


async def test_whether_an_app_is_covered_is_a_few_probes(probe: Probe) -> None:
    (app_id,) = [
        AppId(row[0])
        for row in await probe.connection.fetch("SELECT id FROM app WHERE uid IS NULL ORDER BY id LIMIT 1")
    ]
    for _ in range(7):
        await probe.touched()
        assert not await probe.store.covered(app_id, "order.created", "shop:nobody")
        touched = await probe.touched()
        assert rows_of(touched, "grant_entry") == 0
        assert touched.keys() <= {"grant_entry"}


async def test_a_batch_in_doubt_is_looked_up_by_its_ids(probe: Probe) -> None:
    old = [(await probe.event(seq)) for seq in (500, SEQ_MAX - 10)]
    await probe.touched()
    found = await probe.log._find(probe.connection, [event.id for event in old])
    assert {at.seq for at in found.values() if isinstance(at, Appended)} == {event.seq for event in old}
    touched = await probe.touched()
    assert rows_of(touched, "event") == len(old)


# The store


async def test_recovery_reads_what_was_recorded_since_the_cursor(probe: Probe) -> None:
    seq = SEQ_MAX - 40
    event = await probe.event(seq)
    await probe.touched()
    found = await probe.store.recorded(1, after=Cursor(1, seq, event.created_at), until=SEQ_MAX)
    touched = await probe.touched()
    assert len(found) == 40
    assert days_of(touched, "attempt") == 1
    skew = PARTITIONS * SEQS_A_DAY * 600 // DAY  # attempts of a few minutes before are looked at
    assert rows_of(touched, "attempt") <= 40 + skew
    # By position in a partition's rows: there is no index for it, and a take-over reads them all once.
    assert touched.get("delivery", Touched(0, 0, 0)).rows <= ROWS


async def test_owed_endpoints_take_one_row_each(probe: Probe) -> None:
    found = await probe.store.owed_endpoints(range(PARTITIONS))
    touched = await probe.touched()
    assert rows_of(touched, "delivery") <= 2 * len(found) + PARTITIONS
    assert touched.keys() == {"delivery"}


async def wants(probe: Probe, *, limit: int) -> list[Want]:
    found = await probe.store.owed_endpoints(range(PARTITIONS))
    await probe.touched()
    return [Want(partition, endpoint_id, limit) for partition, endpoint_id, _ in found[:100]]


async def test_pages_take_the_rows_they_return_and_their_events(probe: Probe) -> None:
    asked = await wants(probe, limit=10)
    assert len(asked) == 100
    pages = await probe.store.page(asked, now=probe.at(SEQ_MAX), bytes_max=1 << 30)
    touched = await probe.touched()
    rows = sum(len(page.rows) for page in pages)
    assert rows == 1000
    assert rows_of(touched, "delivery") <= 2 * rows
    assert rows_of(touched, "event") == rows
    assert touched.keys() <= {"delivery"} | {n for n in touched if n.startswith("event_")}


async def test_pages_skip_what_is_held_and_look_only_into_the_days_of_their_events(probe: Probe) -> None:
    asked = await wants(probe, limit=5)
    early = probe.first_day + DAY / 2
    pages = await probe.store.page(asked, now=early, bytes_max=1 << 30)
    assert days_of(await probe.touched(), "event") == 1
    holding = [
        Want(w.partition, w.endpoint_id, 5, tuple(row.event_id for row, _ in page.rows))
        for w, page in zip(asked, pages, strict=True)
    ]
    more = await probe.store.page(holding, now=early, bytes_max=1 << 30)
    touched = await probe.touched()
    rows = sum(len(page.rows) for page in more)
    assert rows_of(touched, "delivery") <= rows + 2 * 5 * len(asked) + len(asked)
    assert rows_of(touched, "event") == rows


async def test_pages_cut_by_bytes_fetch_no_payload_beyond_the_cut(probe: Probe) -> None:
    asked = await wants(probe, limit=10)
    pages = await probe.store.page(asked, now=probe.at(SEQ_MAX), bytes_max=3000)
    touched = await probe.touched()
    assert sum(len(page.rows) for page in pages) == 10
    assert rows_of(touched, "event") == 10
    rows_of(touched, "delivery")


async def test_a_journal_writes_by_key(probe: Probe) -> None:
    owner = new_owner()
    claims = await probe.store.claim(owner, limit=100, lease_seconds=60, exclusive=False)
    epochs = {claim.partition: claim.epoch for claim in claims}
    asked = await wants(probe, limit=4)
    pages = await probe.store.page(asked, now=probe.at(SEQ_MAX), bytes_max=1 << 30)
    rows = [(row, event) for page in pages for row, event in page.rows if event is not None]
    assert len(rows) == 400
    for part in range(0, 400, 50):
        batch = structs.replace(_batch(owner, epochs, rows[part : part + 50]), number=part + 1)
        await probe.touched()
        held = await probe.store.journal(batch, now=0.0, lease_seconds=60)
        touched = await probe.touched()
        assert held.held == epochs.keys()
        assert rows_of(touched, "delivery") <= 2 * 50
        assert rows_of(touched, "attempt") == 0
        assert rows_of(touched, "rollup_minute") <= 50
        assert rows_of(touched, "event") == 0


def _batch(owner: bytes, epochs: dict[int, int], rows: list[tuple[Owed, Event]]) -> JournalBatch:
    """Of some rows one half is delivered and the other one fails; and some fresh events are owed."""
    attempts = [attempt(event, row.endpoint_id, number=row.number) for row, event in rows]
    half = len(rows) // 2
    return JournalBatch(
        owner=owner,
        epochs=epochs,
        attempts=tuple(attempts),
        owed=tuple(
            [owed(event, row.endpoint_id, number=row.number + 1) for row, event in rows[:half]]
            + [owed(event, new_endpoint(), reason=OwedReason.LANE_FULL) for _, event in rows[:10]]
        ),
        settled=tuple((row.partition, *row.key) for row, _ in rows[half:]),
        cursors=tuple(Cursor(partition, 100, 0.0) for partition in epochs),
        rollups=tuple({a.endpoint_id: _rollup(a) for a in attempts}.values()),
    )


def _rollup(made: Attempt) -> Rollup:
    minute = int(made.started_at // 60)
    return Rollup(
        partition=made.partition, minute=minute, app_id=made.app_id, endpoint_id=made.endpoint_id, delivered=1
    )


# Replays


# What a test before put in and rolled back stays in the indexes: each takes another endpoint of the app.
_endpoints = itertools.count(1, PARTITIONS)


async def _wanted(probe: Probe, select: Select, days: tuple[float, float]) -> ReplayWanted:
    return ReplayWanted(
        partition=1,
        app_id=AppId(await probe.connection.fetchval("SELECT id_at(1, 1)")),
        endpoint_id=EndpointId(await probe.connection.fetchval("SELECT id_at(2, $1)", next(_endpoints))),
        select=select,
        since=probe.first_day + days[0] * DAY,
        until=probe.first_day + days[1] * DAY,
    )


async def test_the_bounds_of_a_replay_are_found_by_halving(probe: Probe) -> None:
    wanted = await _wanted(probe, Select.ALL, (2, 4))
    await probe.touched()
    bounds = await probe.jobs.bounds(wanted)
    touched = await probe.touched()
    assert abs(bounds.first - 2 * SEQS_A_DAY) < 20
    assert abs(bounds.last - 4 * SEQS_A_DAY) < 20
    # Each step asks each day for one row.
    assert rows_of(touched, "event") <= 2 * 16 * (DAYS + 2) + PROBES
    assert touched.keys() <= {"log_head"} | {name for name in touched if name.startswith("event_")}


@pytest.mark.parametrize("select", list(Select))
async def test_a_replay_looks_at_its_stretch_and_at_the_attempts_of_its_events(probe: Probe, select: Select) -> None:
    wanted = await _wanted(probe, select, (2, 4))
    await probe.connection.execute("UPDATE partition SET cursor = $1 WHERE id = 1", SEQ_MAX)
    after = 2 * SEQS_A_DAY + 100
    for limit in (300, 500):
        await probe.touched()
        scan = await probe.jobs.scan(wanted, after=after, until=4 * SEQS_A_DAY, limit=limit)
        touched = await probe.touched()
        assert len(scan.candidates) == limit
        assert scan.reached == after + limit
        assert any(candidate.last is not None for candidate in scan.candidates)
        assert rows_of(touched, "event") <= 2 * limit + PROBES
        assert days_of(touched, "event") <= 3
        assert rows_of(touched, "attempt") <= 2 * limit + PROBES
        assert rows_of(touched, "delivery") <= 2 * limit


async def test_a_step_of_a_replay_writes_by_key(probe: Probe) -> None:
    owner = new_owner()
    claims = await probe.store.claim(owner, limit=100, lease_seconds=60, exclusive=False)
    hold = Hold(owner, next(claim.epoch for claim in claims if claim.partition == 1))
    await probe.connection.execute("UPDATE partition SET cursor = $1 WHERE id = 1", SEQ_MAX)
    wanted = await _wanted(probe, Select.ALL, (2, 4))
    made = Replay(id=JobId(new_id()), wanted=wanted, state=ReplayState.PENDING)
    await probe.jobs.create(made, Audit("test", "test", "test"), live_max=10)
    assert await probe.jobs.begin(hold, made, await probe.jobs.bounds(wanted)) is not None
    await probe.touched()
    (work,) = await probe.jobs.live(range(PARTITIONS), after=bytes(16), limit=100)
    touched = await probe.touched()
    assert rows_of(touched, "delivery") == 0
    assert rows_of(touched, "endpoint") == 1
    scan = await probe.jobs.scan(wanted, after=work.replay.position, until=SEQ_MAX, limit=200)
    chosen = [candidate for candidate in scan.candidates if not candidate.owed]
    assert chosen
    await probe.touched()
    written = await probe.jobs.advance(hold, work, chosen, scanned=200, position=scan.reached, now=0.0)
    touched = await probe.touched()
    assert written is not None
    assert written.selected == len(chosen)
    assert rows_of(touched, "delivery") <= 2 * len(chosen)
    assert rows_of(touched, "attempt") <= 2 * len(chosen) + PROBES
    assert rows_of(touched, "event") == 0
    ended = await probe.jobs.turn(written, Turn.CANCEL, Audit("test", "test", "test"), now=0.0)
    assert ended is not None
    assert rows_of(await probe.touched(), "delivery") <= 3 * len(chosen)


# Ordered lines


async def line_rows(probe: Probe, *seqs: int, line: int = LINE) -> list[Owed]:
    found = await probe.connection.fetch(
        "SELECT event_id, seq FROM delivery WHERE partition = 1 AND endpoint_id = $1 AND key_hash = $2 AND seq = ANY ($3)",
        OF_LINES,
        line,
        list(seqs),
    )
    return [
        Owed(
            partition=1,
            endpoint_id=OF_LINES,
            event_id=EventId(row["event_id"]),
            seq=row["seq"],
            number=3,
            due_at=20.0,
            reason=OwedReason.FAILED,
            line=line,
        )
        for row in sorted(found, key=lambda row: row["seq"])
    ]


@pytest.mark.usefixtures("with_a_line")
@pytest.mark.parametrize("change", ["the first fails", "the first is settled", "more at its end", "the first seven go"])
async def test_a_long_line_is_put_in_order_by_a_few_rows(probe: Probe, change: str) -> None:
    owner = new_owner()
    claims = await probe.store.claim(owner, limit=100, lease_seconds=60, exclusive=False)
    epochs = {claim.partition: claim.epoch for claim in claims}
    key = (1, OF_LINES, LINE)
    for n in range(7):  # a generic plan comes after five
        first = 1 + 7 * n if change == "the first seven go" else 1 + n if change == "the first is settled" else 1
        rows = await line_rows(probe, *range(first, first + 7))
        new = [
            structs.replace(rows[0], seq=LINE_ROWS + 7 * n + k, event_id=EventId(new_id()), due_at=math.inf)
            for k in range(7)
        ]
        owed_rows = {"the first fails": rows[:1], "more at its end": new}.get(change, [])
        gone = {"the first is settled": rows[:1], "the first seven go": rows}.get(change, [])
        batch = JournalBatch(
            owner=owner,
            epochs=epochs,
            owed=tuple(owed_rows),
            settled=tuple((1, *row.key) for row in gone),
            lines=(key,),
        )
        await probe.touched()
        result = await probe.store.journal(batch, now=30.0, lease_seconds=60)
        touched = await probe.touched()
        assert result.lines[key] == {"the first fails": 20.0, "more at its end": 0.0}.get(change, 30.0)
        # What was settled in this transaction is still in the indexes.
        assert rows_of(touched, "delivery") <= 60 + 20 * n


@pytest.mark.usefixtures("with_a_line")
async def test_many_lines_are_put_in_order_by_a_few_rows_each(probe: Probe) -> None:
    owner = new_owner()
    claims = await probe.store.claim(owner, limit=100, lease_seconds=60, exclusive=False)
    epochs = {claim.partition: claim.epoch for claim in claims}
    lines = tuple((1, OF_LINES, 1000 + 2 * n) for n in range(500))
    for _ in range(7):
        await probe.touched()
        result = await probe.store.journal(
            JournalBatch(owner=owner, epochs=epochs, lines=lines), now=30.0, lease_seconds=60
        )
        touched = await probe.touched()
        assert len(result.lines) == 500
        assert rows_of(touched, "delivery") <= 10 * len(lines)


@pytest.mark.usefixtures("with_a_line")
async def test_a_page_of_a_long_line_takes_what_it_returns(probe: Probe) -> None:
    for _ in range(7):
        await probe.touched()
        (page,) = await probe.store.page([Want(1, OF_LINES, 40)], now=5.0, bytes_max=1 << 30)
        touched = await probe.touched()
        assert [row.seq for row, _ in page.rows] == list(range(1, 41))
        assert rows_of(touched, "delivery") <= 100


@pytest.mark.usefixtures("with_a_line")
async def test_a_page_of_many_lines_takes_what_it_returns(probe: Probe) -> None:
    for limit in [300] * 7:
        await probe.touched()
        (page,) = await probe.store.page([Want(1, OF_LINES, limit)], now=15.0, bytes_max=1 << 30)
        touched = await probe.touched()
        assert len(page.rows) == limit
        assert rows_of(touched, "delivery") <= 5 * limit


@pytest.mark.usefixtures("with_a_line")
async def test_all_of_an_endpoint_that_is_gone_comes_in_pages(probe: Probe) -> None:
    for _ in range(7):
        await probe.touched()
        (page,) = await probe.store.page([Want(1, OF_LINES, 100, every=True)], now=15.0, bytes_max=1 << 30)
        touched = await probe.touched()
        assert len(page.rows) == 100
        assert rows_of(touched, "delivery") <= 300


@pytest.mark.usefixtures("with_a_line")
async def test_lines_that_have_rows_take_one_each(probe: Probe) -> None:
    for _ in range(7):
        await probe.touched()
        assert len(await probe.store.owed_lines(1, OF_LINES, limit=500)) == 500
        assert rows_of(await probe.touched(), "delivery") <= 3 * 500


async def test_the_last_attempt_of_an_endpoint_is_looked_up(probe: Probe) -> None:
    asked = (await wants(probe, limit=1))[:20]
    for want in asked:
        assert await probe.store.last_sent(want.partition, want.endpoint_id) is not None
    touched = await probe.touched()
    rows_of(touched, "delivery")
    assert rows_of(touched, "attempt") <= 20 * (1 + PROBES)


async def test_rows_of_what_is_under_way_are_looked_up_by_their_keys(probe: Probe) -> None:
    rows = [(want.partition, want.endpoint_id, EventId(new_id())) for want in await wants(probe, limit=1)]
    assert await probe.store.in_flight(new_id(), rows) == set()
    assert rows_of(await probe.touched(), "delivery") <= len(rows)


# The live stream


async def test_the_ends_of_partitions_take_one_row_each(probe: Probe) -> None:
    ends = await probe.stream.ends(since=probe.at(SEQ_MAX))
    touched = await probe.touched()
    assert ends.events == dict.fromkeys(range(PARTITIONS), SEQ_MAX)
    assert len(ends.attempts) == PARTITIONS
    assert rows_of(touched, "attempt") <= PARTITIONS + PROBES
    assert days_of(touched, "attempt") <= 3
    assert touched.keys() <= {"log_head"} | {name for name in touched if name.startswith("attempt_")}


async def test_the_ends_of_quiet_partitions_search_no_old_days(probe: Probe) -> None:
    ends = await probe.stream.ends(since=probe.first_day + (DAYS + 2) * DAY)
    assert ends.attempts == {}
    assert days_of(await probe.touched(), "attempt") == 0


APP = "SELECT id FROM app WHERE partition = $1"


@pytest.mark.parametrize("filtered", [False, True])
async def test_a_stream_reads_the_events_after_a_position(probe: Probe, filtered: bool) -> None:
    wanted = Wanted(AppId(await probe.connection.fetchval(APP, 1)), ("order.*", "user")) if filtered else Wanted()
    after = SEQ_MAX - 100
    await probe.touched()
    page = await probe.stream.events(
        dict.fromkeys(range(PARTITIONS), (after, after + 60)), wanted, since=probe.at(after), limit=30
    )
    touched = await probe.touched()
    rows = 30 if filtered else 30 * PARTITIONS
    assert len(page.rows) == rows
    assert page.read == {p: after + (30 if p == 1 or not filtered else 60) for p in range(PARTITIONS)}
    assert not page.missing
    # No more is looked at than the spans hold.
    assert rows_of(touched, "event") <= 2 * 60 * PARTITIONS + PROBES
    assert days_of(touched, "event") <= 3


@pytest.mark.parametrize("filtered", [False, True])
async def test_a_stream_reads_the_attempts_after_a_position(probe: Probe, filtered: bool) -> None:
    wanted = Wanted(AppId(await probe.connection.fetchval(APP, 1)), ("order.*", "user")) if filtered else Wanted()
    at = probe.at(SEQ_MAX - SEQS_A_DAY // 2)
    await probe.touched()
    after = dict.fromkeys(range(PARTITIONS), AttemptId(lower_bound(int(at * 1000))))
    page = await probe.stream.attempts(after, wanted, since=at, limit=30)
    touched = await probe.touched()
    assert len(page.rows) == (30 if filtered else 30 * PARTITIONS)
    assert page.read.keys() == after.keys()
    # Where none is wanted, the position moves past those that were looked at.
    assert (page.read[0] > page.read[1]) is filtered
    # As many are looked at as may be: STREAM_EXAMINED_ROWS_MAX of each partition, here half a day.
    looked_at = SEQS_A_DAY // 2 * PARTITIONS if filtered else 30 * PARTITIONS
    assert rows_of(touched, "attempt") <= 2 * looked_at + PROBES
    assert rows_of(touched, "event") <= 2 * looked_at
    assert days_of(touched, "attempt") <= 3


async def test_payloads_are_fetched_by_key(probe: Probe) -> None:
    page = await probe.stream.events({2: (10, 50)}, Wanted(), since=None, limit=40)
    await probe.touched()
    assert len(await probe.stream.payloads(page.rows)) == 40
    assert rows_of(await probe.touched(), "event") == 40
