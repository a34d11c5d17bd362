-- name: partitions
SELECT partitions FROM installation

-- name: claim
-- Take partitions that are free. The database's clock decides, and the clock of this moment, not of the transaction's start.
-- Of one that was released, `lease_until` is since when all that was sent is on record. Who was seen dead may have come back since,
-- and renewed: its lock (session.py: `lock_key`) is tried again here, and held until all is committed.
WITH free AS (
    SELECT id, owner, lease_until FROM partition
     WHERE $5 OR owner IS NULL OR lease_until < clock_timestamp()
        OR (owner = ANY ($4::uuid[])
            AND pg_try_advisory_xact_lock(('x' || right(replace(owner::text, '-', ''), 16))::bit(64)::bigint))
     ORDER BY id LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE partition p
   SET owner = $1, epoch = p.epoch + 1, lease_until = clock_timestamp() + make_interval(secs => $3)
  FROM free WHERE p.id = free.id
RETURNING p.id, p.epoch, p.cursor, extract(epoch FROM p.cursor_at)::float8 AS cursor_at, free.owner AS previous,
          CASE WHEN isfinite(free.lease_until) THEN extract(epoch FROM clock_timestamp() - free.lease_until)::float8
               ELSE 'infinity' END AS on_record_seconds

-- name: renew
-- Even an expired lease is renewed while nobody took the partition.
UPDATE partition p SET lease_until = clock_timestamp() + make_interval(secs => $4)
  FROM (
    SELECT q.id FROM partition q JOIN unnest($2::int[], $3::bigint[]) u (id, epoch) USING (id)
     WHERE q.epoch = u.epoch AND q.owner = $1 ORDER BY q.id FOR NO KEY UPDATE OF q
  ) held
 WHERE p.id = held.id RETURNING p.id

-- name: release
UPDATE partition p
   SET owner = NULL, lease_until = CASE WHEN held.seconds < 'infinity' THEN clock_timestamp() - make_interval(secs => held.seconds)
                                        ELSE '-infinity' END
  FROM (
    SELECT q.id, u.seconds
      FROM partition q JOIN unnest($2::int[], $3::bigint[], $4::float8[]) u (id, epoch, seconds) USING (id)
     WHERE q.epoch = u.epoch AND q.owner = $1 ORDER BY q.id FOR NO KEY UPDATE OF q
  ) held
 WHERE p.id = held.id

-- name: attend
-- A process takes part for so many seconds more, or no longer. Rows of processes that ended long ago go.
WITH over AS (
    DELETE FROM process
     WHERE id = $1 AND $2::float8 <= 0 OR id <> $1 AND live_until < clock_timestamp() - interval '1 hour'
)
INSERT INTO process (id, live_until) SELECT $1, clock_timestamp() + make_interval(secs => $2) WHERE $2 > 0
ON CONFLICT (id) DO UPDATE SET live_until = excluded.live_until

-- name: processes
SELECT owner AS id, false AS attends FROM partition WHERE owner IS NOT NULL GROUP BY owner
UNION ALL
SELECT id, true FROM process WHERE live_until > clock_timestamp()

-- name: journal
-- Write a batch of results (migrations/0030_numbered.sql); nothing, as an owner of none, where the history of the database is another
-- one than that by which the results were made (a pooler may have led us to a standby that was promoted).
SELECT * FROM journal_numbered(CASE WHEN $33::int IS NULL
                                     OR ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int = $33 THEN $1::uuid END,
                           $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21,
                           $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32)

-- name: newest_attempt
SELECT max_id.id FROM unnest($1::int[]) p (id)
 CROSS JOIN LATERAL (SELECT a.id FROM attempt a WHERE a.partition = p.id ORDER BY a.id DESC LIMIT 1) max_id
 ORDER BY max_id.id DESC LIMIT 1

-- name: recorded
-- What of the log after the cursor has a home already. Attempts are searched from the time of the cursor's event on: none
-- for a later event is older than that.
SELECT endpoint_id, event_id FROM delivery WHERE partition = $1 AND seq > $2 AND seq <= $3
UNION ALL
SELECT endpoint_id, event_id FROM attempt
 WHERE partition = $1 AND id >= $4 AND seq > $2 AND seq <= $3 AND outcome <> 'failed'

-- name: recover_in_flight
-- The requests of a dead process will not answer: their rows are due now. On an ordered line one that is still under way
-- must not arrive after the next: it waits until it cannot be any more.
UPDATE delivery d SET due_at = to_timestamp($5), reason = 'recovered', sender = NULL
  FROM (
    SELECT p.id FROM partition p JOIN unnest($2::int[], $3::bigint[]) u (id, epoch) USING (id)
     WHERE p.epoch = u.epoch AND p.owner = $1 ORDER BY p.id FOR NO KEY UPDATE OF p
  ) held
 WHERE d.partition = held.id AND d.reason = 'in_flight' AND d.sender = $4 AND d.key_hash = 0

-- name: lock_partition
SELECT id FROM partition WHERE id = $1 FOR NO KEY UPDATE

-- name: late_delete
DELETE FROM delivery WHERE partition = $1 AND endpoint_id = $2 AND event_id = $3 AND number = $4 AND sender = $5
   AND reason = 'in_flight' RETURNING key_hash

-- name: late_update
UPDATE delivery SET number = $6, due_at = to_timestamp($7), reason = $8, sender = NULL
 WHERE partition = $1 AND endpoint_id = $2 AND event_id = $3 AND number = $4 AND sender = $5 AND reason = 'in_flight'
RETURNING key_hash

-- name: order_line
SELECT 1 FROM order_lines($1, ARRAY[$2::int], ARRAY[$2::int], ARRAY[$3::uuid], ARRAY[$4::bigint])

-- name: late_attempt
INSERT INTO attempt (partition, id, app_id, endpoint_id, event_id, seq, number, kind, outcome, reason, sent, revision, url,
                     address, started_at, status, dns_us, connect_us, tls_us, first_byte_us, total_us, response_headers,
                     response_body, error, request_id, reaction)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, to_timestamp($15), $16, $17, $18, $19, $20, $21, $22,
        $23, $24, $25, $26)

-- name: late_effects
-- What else the answer makes happen (their ids are of the attempt as it was made, which nobody else's are).
INSERT INTO effect (partition, id, endpoint_id, kind, reason, data)
SELECT u.p, u.id, u.ep, u.kind, u.reason, u.data::jsonb
  FROM unnest($1::int[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[]) u (p, id, ep, kind, reason, data)
ON CONFLICT DO NOTHING

-- name: poke
-- Tell the partition's owner that somebody wrote beside it.
UPDATE partition SET poke = poke + 1 WHERE id = $1

-- name: owed_endpoints
-- A loose index scan: one descent of the index for each endpoint, however many rows it is owed.
SELECT p.id, s.endpoint_id, extract(epoch FROM s.due_at)::float8 AS due_at
  FROM unnest($1::int[]) p (id)
 CROSS JOIN LATERAL (
    WITH RECURSIVE scan AS (
        (SELECT d.endpoint_id, d.due_at FROM delivery d WHERE d.partition = p.id ORDER BY d.endpoint_id, d.due_at LIMIT 1)
        UNION ALL
        SELECT n.endpoint_id, n.due_at FROM scan s CROSS JOIN LATERAL (
            SELECT d.endpoint_id, d.due_at FROM delivery d
             WHERE d.partition = p.id AND d.endpoint_id > s.endpoint_id ORDER BY d.endpoint_id, d.due_at LIMIT 1
        ) n
    )
    SELECT * FROM scan
 ) s

-- name: page
-- Due rows of many endpoints at once, with their events; with the one of an ordered line that is due the whole line from its
-- first row on, as far as its share of the room goes. Endpoints take turns, a row each, until the bytes are reached: payload sizes are summed before one is fetched.
WITH want AS (
    SELECT w.*, coalesce((SELECT array_agg(h.event_id) FROM unnest($6::int[], $7::uuid[]) h (ord, event_id) WHERE h.ord = w.ord),
                         '{}') AS held
      FROM unnest($1::int[], $2::uuid[], $3::int[], $4::float8[]) WITH ORDINALITY AS w (partition, endpoint_id, n, until, ord)
), due AS (
    SELECT w.ord, w.n, count(*) OVER (PARTITION BY w.ord) AS firsts,
           d.key_hash <> 0 AND w.until < 'infinity' AS leads, -- where every row is due, they are all there
           d.*
      FROM want w CROSS JOIN LATERAL (
        SELECT * FROM delivery d
         WHERE d.partition = w.partition AND d.endpoint_id = w.endpoint_id AND d.due_at <= to_timestamp(w.until)
           AND d.event_id <> ALL (w.held)
         ORDER BY d.due_at LIMIT w.n
    ) d
), run AS (
    SELECT 1::bigint AS place, due.* FROM due WHERE NOT leads
    UNION ALL
    SELECT row_number() OVER (PARTITION BY h.ord, h.key_hash ORDER BY f.seq), h.ord, h.n, h.firsts, h.leads, f.*
      FROM due h CROSS JOIN LATERAL (
        SELECT * FROM delivery f
         WHERE f.partition = h.partition AND f.endpoint_id = h.endpoint_id AND f.key_hash = h.key_hash AND f.key_hash <> 0
         ORDER BY f.seq LIMIT h.n / h.firsts
      ) f
     WHERE h.leads
), turns AS (
    SELECT *, row_number() OVER (PARTITION BY ord ORDER BY place, due_at, event_id) AS turn FROM run
), sized AS (
    SELECT *, sum(payload_bytes) OVER (ORDER BY turn, ord) - payload_bytes AS before FROM turns
)
SELECT s.ord::int AS ord, s.partition, s.endpoint_id, s.event_id, s.seq, s.kind, s.number,
       extract(epoch FROM s.due_at)::float8 AS due_at, s.reason, s.sender, s.key_hash, s.place,
       extract(epoch FROM s.expires_at)::float8 AS owed_expires_at, s.payload_bytes, e.id, e.app_id, e.type, e.payload, e.content_type,
       extract(epoch FROM e.created_at)::float8 AS created_at, e.config_version, e.subject, e.key, e.channels,
       extract(epoch FROM e.expires_at)::float8 AS expires_at, e.depth, e.source, e.attributes,
       e.only_endpoint, e.to_url,
       NULL::uuid[] AS audience -- known: the row is of one app
  FROM sized s
  LEFT JOIN LATERAL (
    SELECT * FROM event e WHERE s.before < $5 AND e.id = s.event_id AND e.partition = s.partition OFFSET 0
  ) e ON true
 WHERE s.before < $5
 ORDER BY s.ord, s.turn

-- name: next_due
-- When each endpoint's next row after now is due; infinity where all that are left wait for others.
SELECT w.ord::int AS ord, extract(epoch FROM n.due_at)::float8 AS due_at
  FROM unnest($1::int[], $2::uuid[], $3::float8[]) WITH ORDINALITY AS w (partition, endpoint_id, until, ord)
 CROSS JOIN LATERAL (
    SELECT d.due_at FROM delivery d
     WHERE d.partition = w.partition AND d.endpoint_id = w.endpoint_id AND d.due_at > to_timestamp(w.until)
     ORDER BY d.due_at LIMIT 1
 ) n

-- name: lock_owned
SELECT id FROM partition WHERE id = $1 AND epoch = $2 AND owner = $3 FOR NO KEY UPDATE

-- name: expire_oldest
-- Give up the oldest of what an endpoint is owed (migrations/0009_owed_cap.sql).
SELECT event_id FROM expire_owed($1, $2, $3, 'ffffffff-ffff-ffff-ffff-ffffffffffff', $3, '00000000-0000-0000-0000-000000000000',
                                 $4, $5, $6)

-- name: count_owed
-- What each endpoint of these partitions is owed.
SELECT d.partition, d.endpoint_id, count(*) AS rows FROM delivery d WHERE d.partition = ANY ($1::int[])
 GROUP BY d.partition, d.endpoint_id

-- name: last_sent
-- An attempt's id is of when it ended, or (a late answer) of another's: which began last is not always the one that ended
-- last. It ended after that one began.
WITH ended AS (
    SELECT a.started_at FROM attempt a WHERE a.partition = $1 AND a.endpoint_id = $2 ORDER BY a.id DESC LIMIT 1
)
SELECT EXISTS (SELECT 1 FROM delivery d WHERE d.partition = $1 AND d.endpoint_id = $2 AND d.reason = 'in_flight') AS running,
       (SELECT extract(epoch FROM max(a.started_at))::float8 FROM attempt a
         WHERE a.partition = $1 AND a.endpoint_id = $2
           AND a.id >= (SELECT rpad(lpad(to_hex(floor(extract(epoch FROM e.started_at) * 1000)::bigint), 12, '0'), 32, '0')::uuid
                          FROM ended e)) AS last

-- name: in_flight
-- Which of these rows say that a request of this process is under way.
SELECT d.partition, d.endpoint_id, d.event_id
  FROM unnest($1::int[], $2::uuid[], $3::uuid[]) u (partition, endpoint_id, event_id)
  JOIN delivery d USING (partition, endpoint_id, event_id)
 WHERE d.reason = 'in_flight' AND d.sender = $4

-- name: owed_lines
-- The ordered lines of an endpoint that have rows: a loose index scan.
WITH RECURSIVE scan AS (
    (SELECT d.key_hash FROM delivery d WHERE d.partition = $1 AND d.endpoint_id = $2 AND d.key_hash <> 0
      ORDER BY d.key_hash LIMIT 1)
    UNION ALL
    SELECT n.key_hash FROM scan s CROSS JOIN LATERAL (
        SELECT d.key_hash FROM delivery d
         WHERE d.partition = $1 AND d.endpoint_id = $2 AND d.key_hash > s.key_hash AND d.key_hash <> 0
         ORDER BY d.key_hash LIMIT 1
    ) n
)
SELECT key_hash FROM scan LIMIT $3

-- name: apps
-- The routing configuration of apps: one statement, hence one snapshot.
SELECT a.id AS app_id, a.partition, a.config_version, a.shrunk_version, g.expired_at, g.expires_at AS grants_expire_at, e.id, e.revision, e.config, e.enabled, e.paused,
       extract(epoch FROM h.failing_since)::float8 AS failing_since, h.circuit, extract(epoch FROM h.opened_at)::float8 AS opened_at,
       extract(epoch FROM h.probe_at)::float8 AS probe_at, h.trips, extract(epoch FROM h.held_until)::float8 AS held_until,
       h.throttle_per_second, extract(epoch FROM h.throttle_until)::float8 AS throttle_until,
       v.sendable, v.allowed_per_second, k.secret_kinds, k.secret_versions, k.secrets, k.secret_expiries, k.secret_data_keys,
       n.key_names, n.key_versions, n.keys, n.key_expiries, n.key_data_keys
  FROM app a
  LEFT JOIN endpoint e ON e.app_id = a.id AND e.deleted_at IS NULL
  LEFT JOIN endpoint_health h ON h.partition = a.partition AND h.endpoint_id = e.id
  LEFT JOIN endpoint_verification v ON v.endpoint_id = e.id
 CROSS JOIN LATERAL (
    SELECT (SELECT extract(epoch FROM max(x.expires_at))::float8 FROM app_grant x
             WHERE x.app_id = a.id AND x.expires_at <= clock_timestamp()) AS expired_at,
           (SELECT extract(epoch FROM min(x.expires_at))::float8 FROM app_grant x
             WHERE x.app_id = a.id AND x.expires_at > clock_timestamp()) AS expires_at
  ) g
  LEFT JOIN LATERAL (
    SELECT array_agg(s.kind ORDER BY s.version DESC, s.kind) AS secret_kinds,
           array_agg(s.version ORDER BY s.version DESC, s.kind) AS secret_versions,
           array_agg(s.ciphertext ORDER BY s.version DESC, s.kind) AS secrets,
           array_agg(extract(epoch FROM s.expires_at)::float8 ORDER BY s.version DESC, s.kind) AS secret_expiries,
           array_agg(d.ciphertext ORDER BY s.version DESC, s.kind) AS secret_data_keys
      FROM secret s LEFT JOIN data_key d ON d.app_id = a.id AND d.version = s.data_key
     WHERE s.owner_id = e.id AND (s.expires_at IS NULL OR s.expires_at > clock_timestamp())
  ) k ON true
  LEFT JOIN LATERAL (
    SELECT array_agg(x.name ORDER BY x.name, x.version DESC) AS key_names,
           array_agg(x.version ORDER BY x.name, x.version DESC) AS key_versions,
           array_agg(x.ciphertext ORDER BY x.name, x.version DESC) AS keys,
           array_agg(extract(epoch FROM x.expires_at)::float8 ORDER BY x.name, x.version DESC) AS key_expiries,
           array_agg(d.ciphertext ORDER BY x.name, x.version DESC) AS key_data_keys
      FROM endpoint_key x LEFT JOIN data_key d ON d.app_id = a.id AND d.version = x.data_key
     WHERE x.endpoint_id = e.id AND (x.expires_at IS NULL OR x.expires_at > clock_timestamp())
  ) n ON true
 WHERE a.id = ANY ($1::uuid[]) AND a.deleted_at IS NULL
 ORDER BY a.id, e.id

-- name: changed_apps
-- One statement, hence one snapshot: with all that changed up to the version that it gives.
SELECT c.version, (SELECT array_agg(a.id) FROM app a WHERE a.partition = c.partition AND a.config_version > $2) AS apps
  FROM config_head c WHERE c.partition = $1

-- name: covered
SELECT covered($1, $2, $3)

-- name: hasten_revoked
-- Of a page of what an endpoint is owed, what no grant of its app covers any more is due now, and will be given up as it is
-- looked at. Where the page was full: its last event.
WITH held AS (
    SELECT id FROM partition WHERE id = $2 AND epoch = $3 AND owner = $1 FOR NO KEY UPDATE
), page AS (
    SELECT d.event_id FROM delivery d WHERE d.partition = $2 AND d.endpoint_id = $5 AND d.event_id > $6
     ORDER BY d.event_id LIMIT $8
), hastened AS (
    UPDATE delivery d SET due_at = to_timestamp($7)
      FROM held, page p, event e
     WHERE d.partition = held.id AND d.endpoint_id = $5 AND d.event_id = p.event_id AND d.reason <> 'in_flight'
       AND d.due_at > to_timestamp($7) AND (d.key_hash = 0 OR d.due_at < 'infinity') -- what stands behind another waits for it
       AND e.id = d.event_id AND e.partition = held.id AND e.app_id IS NULL AND NOT covered($4, e.type, e.subject)
)
SELECT event_id FROM page ORDER BY event_id OFFSET $8 - 1

-- name: endpoint_apps
SELECT id, app_id FROM endpoint WHERE id = ANY ($1::uuid[]) AND deleted_at IS NULL

-- name: effects
SELECT id, partition, endpoint_id, kind, reason, data FROM effect
 WHERE partition = ANY ($1::int[]) AND kind <> 'call' ORDER BY id LIMIT $2

-- name: effect_done
DELETE FROM effect WHERE partition = $1 AND id = $2 RETURNING endpoint_id, reason

-- name: disable_endpoint
UPDATE endpoint SET enabled = false, disabled_reason = $2, disabled_at = clock_timestamp(), updated_at = clock_timestamp()
 WHERE id = $1 AND enabled AND deleted_at IS NULL RETURNING app_id

-- name: bump_config
SELECT bump_config($1)

-- name: events_by_id
SELECT e.id, e.partition, e.seq, e.app_id, e.type, e.payload, e.content_type, extract(epoch FROM e.created_at)::float8 AS created_at,
       e.config_version, e.subject, e.key, e.channels, extract(epoch FROM e.expires_at)::float8 AS expires_at, e.depth, e.source,
       e.attributes, e.only_endpoint, e.to_url, NULL::uuid[] AS audience
  FROM unnest($1::int[], $2::uuid[]) u (partition, id)
 CROSS JOIN LATERAL (SELECT * FROM event e WHERE e.id = u.id AND e.partition = u.partition OFFSET 0) e

-- name: publish_effects
-- Publish what effects tell, and remove them (migrations/0018_reactions.sql).
SELECT * FROM publish_follow_ups($1)

-- name: count_effects
SELECT partition, count(*) AS rows FROM effect WHERE partition = ANY ($1::int[]) AND kind <> 'call' GROUP BY partition

-- name: effects_done
-- Of these, those that were still there.
DELETE FROM effect e USING unnest($1::int[], $2::uuid[]) u (partition, id)
 WHERE e.partition = u.partition AND e.id = u.id RETURNING e.id

-- name: lock_metadata
SELECT metadata FROM endpoint WHERE id = $1 AND deleted_at IS NULL FOR NO KEY UPDATE

-- name: set_metadata
UPDATE endpoint SET metadata = $2::jsonb, updated_at = clock_timestamp() WHERE id = $1

-- name: throttle_endpoint
INSERT INTO endpoint_health (partition, endpoint_id, throttle_per_second, throttle_until) VALUES ($1, $2, $3, to_timestamp($4))
ON CONFLICT (partition, endpoint_id) DO UPDATE
   SET throttle_per_second = EXCLUDED.throttle_per_second, throttle_until = EXCLUDED.throttle_until

-- name: endpoint_named
-- The endpoint of an app with this id or uid.
SELECT id FROM endpoint WHERE app_id = $1 AND (id = $2 OR uid = $3) AND deleted_at IS NULL
