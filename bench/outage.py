"""What an hour's outage leaves behind, written into the database while no server runs: a server would take new events for
fresh ones. Apps of ten endpoints whose circuits are open, and events that are owed to all ten."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final

from bench.bulk import Bulk, NewEndpoint
from bench.programs.generator import EVENT
from posthouse.domain.circuit import CircuitPolicy

PER_APP: Final = 10
RUN: Final = 1
"""The run whose numbers the owed events bear."""

OUTAGE_SECONDS: Final = 3_600.0
TRIPS: Final = 8  # so often the circuits opened in a row: their interval has long been the longest

_FILL: Final = (
    # $1: app uids like this; $2: events an app; $3: the unix milliseconds of the newest, and $4 those between two of them;
    # $5, $6: a payload around its number.
    "INSERT INTO event (id, partition, seq, app_id, config_version, type, content_type, payload, created_at)"
    " SELECT (lpad(to_hex(at), 12, '0') || '7' || lpad(to_hex(n % 4096), 3, '0') || '8' || lpad(to_hex(n), 15, '0'))::uuid,"
    "        partition, head + row_number() OVER (PARTITION BY partition ORDER BY n), app_id, version, 'bench.event',"
    "        'application/json', $5::bytea || convert_to(lpad(n::text, 8, '0'), 'UTF8') || $6::bytea, to_timestamp(at / 1000.0)"
    "   FROM (SELECT *, ($3::float8 - (total - n) * $4::float8)::bigint AS at"
    "           FROM (SELECT a.id AS app_id, a.partition, a.config_version AS version, h.seq AS head,"
    "                        count(*) OVER () AS total, row_number() OVER (ORDER BY e, a.id) - 1 AS n"
    "                   FROM app a JOIN log_head h ON h.partition = a.partition CROSS JOIN generate_series(1, $2::int) e"
    "                  WHERE a.uid LIKE $1) made) timed"
)
_OWE: Final = (
    "INSERT INTO delivery (partition, endpoint_id, event_id, seq, number, due_at, reason, payload_bytes)"
    " SELECT e.partition, p.id, e.id, e.seq, 1, e.created_at, 'circuit_open', octet_length(e.payload)"
    "   FROM event e JOIN app a ON a.id = e.app_id JOIN endpoint p ON p.app_id = a.id WHERE a.uid LIKE $1 ORDER BY e.id"
)
_OPEN: Final = (
    "INSERT INTO endpoint_health (partition, endpoint_id, failing_since, circuit, opened_at, probe_at, trips)"
    " SELECT a.partition, p.id, to_timestamp($2), 'open', to_timestamp($2), to_timestamp($3 + random() * $4), $5"
    "   FROM endpoint p JOIN app a ON a.id = p.app_id WHERE a.uid LIKE $1"
)
_HEADS: Final = (
    "UPDATE log_head h SET seq = n.seq FROM (SELECT partition, max(seq) AS seq FROM event GROUP BY partition) n"
    " WHERE n.partition = h.partition AND n.seq > h.seq"
)
_CURSORS: Final = (
    "UPDATE partition p SET cursor = h.seq, cursor_at = clock_timestamp() FROM log_head h WHERE h.partition = p.id"
)


async def write_apps(platform: Bulk, prefix: str, apps: int, port: int) -> None:
    """Apps of ten endpoints each that point there."""
    uids = [f"{prefix}-{number}" for number in range(apps)]
    await platform.apps(uids)
    await platform.endpoints(
        [NewEndpoint(uid, f"http://127.0.0.1:{port}/{number}") for uid in uids for number in range(PER_APP)]
    )
    await platform.database.execute("ANALYZE app, endpoint")


async def write_events(platform: Bulk, prefix: str, apps: int, events: int) -> None:
    """So many events of each of the apps, all of today, read by their partitions' owners already."""
    now = time.time()
    today = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
    apart_ms = min(1.0, (now - today) * 1000 / (apps * events + 1))
    payload = EVENT[EVENT.index(b'"data":') + len(b'"data":') : -1]
    before, after = (payload.replace(b"%08d", b"@") % (RUN, int(now * 1e9))).split(b"@")
    database = platform.database
    await database.execute(_FILL, f"{prefix}-%", events, now * 1000, apart_ms, before, after)
    await database.execute(_HEADS)
    await database.execute(_CURSORS)
    await database.execute("ANALYZE event")


async def write_outage(platform: Bulk, apps: int, events: int, port: int) -> None:
    """All of it: so many apps, `dead-…`, and so many events of each, owed to its ten endpoints at that port."""
    await write_apps(platform, "dead", apps, port)
    await write_events(platform, "dead", apps, events)
    now = time.time()
    await platform.database.execute(_OWE, "dead-%")
    interval = CircuitPolicy().probe_seconds_max
    await platform.database.execute(_OPEN, "dead-%", now - OUTAGE_SECONDS, now, interval, TRIPS)
