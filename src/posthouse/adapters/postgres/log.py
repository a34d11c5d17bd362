"""The log on PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Final, NamedTuple, assert_never, cast

import asyncpg
import msgspec

from posthouse.adapters.postgres.database import Connection, Database, confirmed, translated
from posthouse.adapters.postgres.queries import Queries
from posthouse.domain.errors import KeyReused, StoreUnavailable
from posthouse.domain.event import Draft, Event
from posthouse.domain.ids import ID_BYTES, AppId, EventId, lower_bound
from posthouse.domain.limits import (
    AUDIENCE_APPS_MAX,
    CLOCK_SKEW_SECONDS_MAX,
    TAIL_READ_BYTES_MAX,
    TAIL_READ_EVENTS_MAX,
)
from posthouse.ports.log import Announced, Appended, AppendResult, AppMissing, Head, Placed, Repeated

SQL = Queries("log.sql")
CHANNEL_SEPARATOR = "\x1f"
DAY_SECONDS = 86_400
_USED_OTHERWISE: Final = "repeated otherwise"  # as `publish_together` fails
TOGETHER_MAX: Final = 64  # reads in one statement
TOGETHER_EVENTS_MAX: Final = 32  # of each of them
TOGETHER_BYTES_MAX: Final = 128 * 1024


class _Want(NamedTuple):
    """A read that waits for the next statement."""

    partition: int
    after: int
    since: bytes
    rows: asyncio.Future[list[asyncpg.Record]]


class PostgresLog:
    """`ports.log.EventLog` on PostgreSQL. `publishing` and `reading` may be the same database or not."""

    def __init__(self, publishing: Database, reading: Database, *, polling: Database | None = None) -> None:
        self._publishing = publishing
        self._reading = reading
        self._polling = polling or reading
        self._wants: list[_Want] = []
        self._together: asyncio.Task[None] | None = None

    async def append(self, drafts: Sequence[Draft]) -> list[AppendResult]:
        if not drafts:
            return []
        async with self._publishing.connection() as connection:
            with translated(writing=True):
                try:
                    with confirmed(connection):
                        results = await self._publish(connection, drafts)
                except asyncpg.InvalidTextRepresentationError as error:
                    if _USED_OTHERWISE not in str(error):
                        raise
                    raise KeyReused("an idempotency key was used for another event") from error
                except asyncpg.UniqueViolationError:
                    # An id that is there already: this batch's earlier, doubtful commit happened.
                    known = await self._find(connection, [d.id for d in drafts])
                    if not known:
                        raise
                    await self._confirm(connection)
                    results = None
                if results is not None:
                    if all(type(result) is Appended for result in results):
                        return cast(list[AppendResult], results)  # nearly always: nothing was seen before
                    again = [d.id for d, r in zip(drafts, results, strict=True) if _seen_again(d, r)]
                    known = await self._find(connection, again) if again else {}
                    if known:
                        await self._confirm(connection)
                    return [known.get(d.id) or _certain(r) for d, r in zip(drafts, results, strict=True)]
        # The others of the batch had no app, or a key that was used: they are asked again, without those that are there.
        rest = [d for d in drafts if d.id not in known]
        others = dict(zip((d.id for d in rest), await self.append(rest) if rest else (), strict=True))
        return [known.get(d.id) or others[d.id] for d in drafts]

    async def _publish(self, connection: Connection, drafts: Sequence[Draft]) -> list[AppendResult | _Present]:
        if all(draft.app_id is not None for draft in drafts):
            if all(draft.idempotency_key is None for draft in drafts):
                return await self._publish_groups(connection, drafts)
            if any(draft.together for draft in drafts):
                rows = await connection.fetch(SQL.publish_together, *_columns(drafts), [d.together for d in drafts])
                return [_result(*row[:7]) for row in rows]
            return [_result(*row) for row in await connection.fetch(SQL.publish, *_columns(drafts))]
        if any(draft.together and draft.idempotency_key is not None for draft in drafts):
            rows = await connection.fetch(
                SQL.publish_platform_together, *_columns(drafts), AUDIENCE_APPS_MAX, [d.together for d in drafts]
            )
        else:
            rows = await connection.fetch(SQL.publish_platform, *_columns(drafts), AUDIENCE_APPS_MAX)
        results: list[AppendResult | _Present] = []
        for _, group in groupby(rows, key=lambda row: int(row["ord"])):
            places = list(group)
            if places[0]["audience"] is None:
                _, verdict, partition, seq, version, created_at, _, known_id, fingerprint = places[0][:9]
                results.append(_result(verdict, partition, seq, version, created_at, known_id, fingerprint))
            else:  # a platform event has a row for each of its partitions
                results.append(Announced(places[0]["created_at"], tuple(_placed(row) for row in places)))
        return results

    async def _publish_groups(self, connection: Connection, drafts: Sequence[Draft]) -> list[AppendResult | _Present]:
        groups: dict[tuple[AppId | None, str | None], int] = {}
        counts: list[int] = []
        places: list[tuple[int, int]] = []  # of each event: its group, and which of that it is, both from 1
        for draft in drafts:
            group = groups.setdefault((draft.app_id, draft.app_uid), len(counts) + 1)
            if group > len(counts):
                counts.append(0)
            counts[group - 1] += 1
            places.append((group, counts[group - 1]))
        ids = [draft.id for draft in drafts]
        rows = await connection.fetch(
            SQL.publish_groups,
            [app for app, _ in groups],
            [uid for _, uid in groups],
            counts,
            min(ids),
            max(ids),
            [(*place, draft.id, *_contents(draft)) for place, draft in zip(places, drafts, strict=True)],
        )
        placed = [tuple(row) for row in rows]
        results: list[AppendResult | _Present] = []
        for group, nth in places:
            partition, base, version, created_at = placed[group - 1]
            results.append(AppMissing() if partition is None else Appended(partition, base + nth, version, created_at))
        return results

    async def _find(self, connection: Connection, ids: Sequence[EventId]) -> dict[EventId, Appended | Announced]:
        found: dict[EventId, Appended | Announced] = {}
        for event_id, rows in groupby(await connection.fetch(SQL.appended, ids), key=lambda row: EventId(row["id"])):
            places = list(rows)
            first = places[0]
            if first["audience"] is None:
                found[event_id] = Appended(
                    first["partition"], first["seq"], first["config_version"], first["created_at"]
                )
            else:
                found[event_id] = Announced(first["created_at"], tuple(_placed(row) for row in places))
        return found

    async def _confirm(self, connection: Connection) -> None:
        """What was found is committed here; where there is a synchronous standby, wait until it has it, too."""
        with confirmed(connection):
            await connection.fetch(SQL.confirm)

    async def read(self, partition: int, after: int, *, since: float | None) -> list[Event]:
        rows = await self._read_together(partition, after, since)
        size = sum(len(row["payload"]) + len(row["attributes"] or b"") for row in rows)
        cut = len(rows) >= TOGETHER_EVENTS_MAX or size >= TOGETHER_BYTES_MAX
        if cut and size < TAIL_READ_BYTES_MAX:  # there may be more than a small read brings
            rows += await self._reading.fetch(
                SQL.read,
                [partition],
                [rows[-1]["seq"]],
                [_since(since)],
                TAIL_READ_EVENTS_MAX - len(rows),
                TAIL_READ_BYTES_MAX - size,
            )
        events: list[Event] = []
        for row in rows:
            if row["seq"] != after + len(events) + 1:
                break
            events.append(event_of(row))
        return events

    async def _read_together(self, partition: int, after: int, since: float | None) -> list[asyncpg.Record]:
        """What several partitions wait for at the same moment is one statement, and so is what comes while one is under way."""
        loop = asyncio.get_running_loop()
        want = _Want(partition, after, _since(since), loop.create_future())
        self._wants.append(want)
        if self._together is None or self._together.done():
            self._together = loop.create_task(self._serve_wants())
        return await want.rows

    async def _serve_wants(self) -> None:
        while self._wants:
            wants, self._wants = self._wants[:TOGETHER_MAX], self._wants[TOGETHER_MAX:]
            found: list[list[asyncpg.Record]] = [[] for _ in wants]
            try:
                columns = [list(column) for column in zip(*wants, strict=True)][:3]
                for row in await self._reading.fetch(SQL.read, *columns, TOGETHER_EVENTS_MAX, TOGETHER_BYTES_MAX):
                    found[row["want"]].append(row)
            except Exception as error:  # noqa: BLE001 - it is theirs who wait
                for want in wants:
                    if not want.rows.done():
                        want.rows.set_exception(error)
            else:
                for want, rows in zip(wants, found, strict=True):
                    if not want.rows.done():
                        want.rows.set_result(rows)

    async def heads(self, partitions: Sequence[int]) -> Mapping[int, Head]:
        rows = await self._polling.fetch(SQL.heads, partitions)
        return {partition: Head(seq, version, poke) for partition, seq, version, poke in rows}

    async def event_at(self, partition: int, seq: int, *, since: float | None) -> EventId | None:
        raw = await self._reading.fetchval(SQL.event_at, partition, seq, _since(since))
        return None if raw is None else EventId(raw)


def event_of(row: asyncpg.Record) -> Event:
    """An event from a row that holds the columns of the `read` query."""
    return Event(
        EventId(row["id"]),
        row["partition"],
        row["seq"],
        row["app_id"],
        row["type"],
        row["payload"],
        row["content_type"],
        row["created_at"],
        row["config_version"],
        subject=row["subject"],
        key=row["key"],
        channels=tuple(row["channels"] or ()),
        expires_at=row["expires_at"],
        depth=row["depth"],
        audience=tuple(row["audience"] or ()),
        only=row["only_endpoint"],
        to_url=row["to_url"],
        source=row["source"],
        attributes=row["attributes"],
    )


def _since(since: float | None) -> bytes:
    """The first id of the day of the earliest id that an event created at `since` may have (ids are made before, and by
    other clocks). Days are what it is for: a bound within one tempts the planner to intersect the positions with
    everything since then, of all partitions.
    """
    if since is None:
        return bytes(ID_BYTES)
    earliest = since - CLOCK_SKEW_SECONDS_MAX
    return lower_bound(int(earliest // DAY_SECONDS) * DAY_SECONDS * 1000)


class _Present(msgspec.Struct, frozen=True):
    """A platform event that is there already, from an earlier, doubtful commit of its batch."""


def _result(
    verdict: str,
    partition: int,
    seq: int,
    version: int,
    created_at: float,
    known_id: EventId,
    fingerprint: bytes,
) -> AppendResult | _Present:
    match verdict:
        case "appended":
            return Appended(partition, seq, version, created_at)
        case "repeated":
            return Repeated(known_id, fingerprint, created_at)
        case "present":
            return _Present()
        case _:
            return AppMissing()


def _placed(row: asyncpg.Record) -> Placed:
    return Placed(row["partition"], row["seq"], row["config_version"], tuple(row["audience"]))


def _seen_again(draft: Draft, result: AppendResult | _Present) -> bool:
    """Whether this may be the answer for an event that an earlier, doubtful commit of the batch appended: it is seen
    through its own idempotency key, or its app was deleted meanwhile."""
    match result:
        case Appended() | Announced():
            return False
        case Repeated(event_id=event_id):
            return event_id == draft.id
        case AppMissing() | _Present():
            return True
        case _:
            assert_never(result)


def _certain(result: AppendResult | _Present) -> AppendResult:
    if isinstance(result, _Present):
        raise StoreUnavailable("an event that was there is gone")  # retention dropped its day in between
    return result


def _contents(d: Draft) -> tuple[object, ...]:
    """What an event has of its own: of an `event_entry` (migrations/0029_groups.sql) all behind the id."""
    return (
        d.type, d.content_type, d.payload, d.subject, d.key, d.source,
        CHANNEL_SEPARATOR.join(d.channels) if d.channels else None, d.attributes, d.expires_at, d.traceparent, d.cause,
        d.depth,
    )  # fmt: skip


def _columns(drafts: Sequence[Draft]) -> list[tuple[object, ...]]:
    """As `publish` wants them."""
    rows = [(d.id, d.app_id, d.app_uid, *_contents(d), d.idempotency_key, d.fingerprint) for d in drafts]
    return list(zip(*rows, strict=True))
