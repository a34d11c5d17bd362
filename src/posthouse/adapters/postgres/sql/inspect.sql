-- What people look at: the log, what was tried and what is owed, of one app. Every list walks an index backwards from a
-- position and stops at its limit; where a filter that no index knows leaves out most of what it passes, the walk is made in
-- stretches of time (searching.py); an app's lists of attempts and of what is owed merge those of its endpoints, the deleted
-- ones too.

-- part: event_columns
-- An event `e`, without its payload.
e.id, e.app_id, e.type, e.subject, e.key, e.source, e.channels, e.attributes, e.content_type,
       octet_length(e.payload) AS payload_bytes, extract(epoch FROM e.created_at)::float8 AS created_at,
       extract(epoch FROM e.expires_at)::float8 AS expires_at, e.cause, e.depth

-- part: attempt_columns
-- An attempt `a`, without the answer.
a.id, a.app_id, a.event_id, a.endpoint_id, a.number, a.kind, a.outcome, a.reason, a.sent, a.status, a.revision, a.url,
       a.address, extract(epoch FROM a.started_at)::float8 AS started_at, a.dns_us, a.connect_us, a.tls_us, a.first_byte_us,
       a.total_us, a.error, a.reaction

-- name: events
-- Those addressed to the app, and those of the platform that it is in the audience of.
SELECT * FROM (
    (SELECT {{event_columns}}
       FROM event e
      WHERE e.app_id = $1 AND e.partition = $2 AND e.id < $3 AND e.id >= $4 AND ($5::text IS NULL OR e.type = $5)
        AND ($6::text IS NULL OR e.subject = $6)
      ORDER BY e.id DESC LIMIT $7)
    UNION ALL
    (SELECT {{event_columns}}
       FROM event e
      WHERE e.app_id IS NULL AND e.partition = $2 AND e.id < $3 AND e.id >= $4 AND $1 = ANY (e.audience)
        AND ($5::text IS NULL OR e.type = $5) AND ($6::text IS NULL OR e.subject = $6)
      ORDER BY e.id DESC LIMIT $7)
 ) e
 ORDER BY e.id DESC LIMIT $7

-- name: all_events
-- Of every app and of the platform; one of those is in several partitions, and is one event.
SELECT DISTINCT ON (e.id) {{event_columns}}
  FROM event e
 WHERE e.id < $1 AND e.id >= $2 AND ($3::text IS NULL OR e.type = $3) AND ($4::text IS NULL OR e.subject = $4)
 ORDER BY e.id DESC, e.partition DESC LIMIT $5

-- name: events_by_key
-- Of one key, of an app ($6, $7) or of all; `event_by_key` has them in the order of their ids.
SELECT DISTINCT ON (e.id) {{event_columns}}
  FROM event e
 WHERE e.key = $1 AND e.id < $2 AND e.id >= $3 AND ($4::text IS NULL OR e.type = $4) AND ($5::text IS NULL OR e.subject = $5)
   AND ($6::int IS NULL OR e.partition = $6)
   AND ($7::uuid IS NULL OR e.app_id = $7 OR (e.app_id IS NULL AND $7 = ANY (e.audience)))
   AND ($8::uuid IS NULL OR e.cause = $8)
 ORDER BY e.id DESC, e.partition DESC LIMIT $9

-- name: events_by_cause
-- Those that the answers to one event asked for; `event_by_cause` has them.
SELECT DISTINCT ON (e.id) {{event_columns}}
  FROM event e
 WHERE e.cause = $1 AND e.id < $2 AND e.id >= $3 AND ($4::text IS NULL OR e.type = $4) AND ($5::text IS NULL OR e.subject = $5)
   AND ($6::int IS NULL OR e.partition = $6)
   AND ($7::uuid IS NULL OR e.app_id = $7 OR (e.app_id IS NULL AND $7 = ANY (e.audience)))
 ORDER BY e.id DESC, e.partition DESC LIMIT $8

-- name: event
SELECT {{event_columns}}, e.partition, e.seq, e.payload, e.config_version, e.audience,
       e.only_endpoint, e.to_url
  FROM event e
 WHERE e.id = $1 AND ($2::int IS NULL OR e.partition = $2)
   AND ($3::uuid IS NULL OR e.app_id = $3 OR (e.app_id IS NULL AND $3 = ANY (e.audience)))
 LIMIT 1

-- name: event_routes
-- The last attempt of each endpoint, and what it is owed, in the order of endpoints.
SELECT * FROM (
    SELECT coalesce(a.endpoint_id, d.endpoint_id) AS endpoint_id, coalesce(a.app_id, d.app_id) AS app_id, a.outcome,
           coalesce(d.reason, a.reason) AS reason, coalesce(a.number, 0) AS attempts, d.endpoint_id IS NOT NULL AS owed,
           extract(epoch FROM d.due_at)::float8 AS due_at
      FROM (
        SELECT DISTINCT ON (a.endpoint_id) a.endpoint_id, a.app_id, a.outcome, a.reason, a.number
          FROM attempt a
         WHERE a.event_id = $1 AND a.id >= $4 AND ($2::int IS NULL OR a.partition = $2) AND ($3::uuid IS NULL OR a.app_id = $3)
         ORDER BY a.endpoint_id, a.id DESC LIMIT $5
      ) a
      FULL JOIN (
        SELECT d.endpoint_id, n.app_id, d.reason, d.due_at
          FROM delivery d JOIN endpoint n ON n.id = d.endpoint_id
         WHERE d.event_id = $1 AND ($2::int IS NULL OR d.partition = $2) AND ($3::uuid IS NULL OR n.app_id = $3)
         ORDER BY d.endpoint_id LIMIT $5
      ) d ON d.endpoint_id = a.endpoint_id
 ) r
 ORDER BY r.endpoint_id LIMIT $5

-- name: event_pending
-- Whether some partition that holds the event has not dispatched it yet.
SELECT EXISTS (
    SELECT 1 FROM event e JOIN partition p ON p.id = e.partition
     WHERE e.id = $1 AND ($2::int IS NULL OR e.partition = $2) AND e.seq > p.cursor
)

-- name: event_attempts
-- All attempts of the event are found first (OFFSET 0): walking ids backwards could pass millions of others.
SELECT a.*, (SELECT v.type FROM event v WHERE v.id = $1 LIMIT 1) AS type
  FROM (
    SELECT {{attempt_columns}}
      FROM attempt a
     WHERE a.event_id = $1 AND ($2::int IS NULL OR a.partition = $2) AND ($3::uuid IS NULL OR a.app_id = $3)
       AND a.id < $4 AND a.id >= $5 OFFSET 0
  ) a
 ORDER BY a.id DESC LIMIT $6

-- name: attempts
-- The type is asked for row by row in a scalar subquery: as EXISTS it could be hashed, and read the whole log.
SELECT a.*, (SELECT v.type FROM event v WHERE v.id = a.event_id AND v.partition = $2) AS type
  FROM (
    SELECT a.* FROM endpoint p
     CROSS JOIN LATERAL (
        SELECT {{attempt_columns}}
          FROM attempt a
         WHERE a.endpoint_id = p.id AND a.partition = $2 AND a.id < $3 AND a.id >= $4
           AND ($6::text IS NULL OR a.outcome = $6)
           AND ($7::text IS NULL OR (SELECT v.type FROM event v WHERE v.id = a.event_id AND v.partition = $2) = $7)
         ORDER BY a.id DESC LIMIT $8
     ) a
     WHERE p.app_id = $1 AND ($5::uuid IS NULL OR p.id = $5)
     ORDER BY a.id DESC LIMIT $8
  ) a
 ORDER BY a.id DESC

-- name: all_attempts
-- Of every app: the newest of each partition, merged.
SELECT a.*, (SELECT v.type FROM event v WHERE v.id = a.event_id LIMIT 1) AS type
  FROM (
    SELECT a.* FROM partition p
     CROSS JOIN LATERAL (
        SELECT {{attempt_columns}}
          FROM attempt a
         WHERE a.partition = p.id AND a.id < $1 AND a.id >= $2 AND ($3::text IS NULL OR a.outcome = $3)
           AND ($4::text IS NULL OR (SELECT v.type FROM event v WHERE v.id = a.event_id AND v.partition = a.partition) = $4)
         ORDER BY a.id DESC LIMIT $5
     ) a
     ORDER BY a.id DESC LIMIT $5
  ) a
 ORDER BY a.id DESC

-- name: all_ill_attempts
-- The same of those that failed or were given up: `attempt_ill` has them by their ids.
SELECT a.*, (SELECT v.type FROM event v WHERE v.id = a.event_id LIMIT 1) AS type
  FROM (
    SELECT {{attempt_columns}}
      FROM attempt a
     WHERE a.outcome = $3 AND a.outcome <> 'delivered' AND a.id < $1 AND a.id >= $2
       AND ($4::text IS NULL OR (SELECT v.type FROM event v WHERE v.id = a.event_id AND v.partition = a.partition) = $4)
     ORDER BY a.id DESC LIMIT $5
 ) a
 ORDER BY a.id DESC

-- name: attempt
SELECT {{attempt_columns}},
       a.response_headers, a.response_body, r.config,
       (SELECT v.type FROM event v WHERE v.id = a.event_id LIMIT 1) AS type
  FROM partition p
  JOIN attempt a ON a.partition = p.id AND a.id = $1
  LEFT JOIN endpoint_revision r ON r.endpoint_id = a.endpoint_id AND r.revision = a.revision
 WHERE ($2::int IS NULL OR p.id = $2) AND ($3::uuid IS NULL OR a.app_id = $3)

-- name: owed
SELECT d.*, $1::uuid AS app_id, (SELECT v.type FROM event v WHERE v.id = d.event_id AND v.partition = $2) AS type
  FROM (
    SELECT d.* FROM endpoint p
     CROSS JOIN LATERAL (
        SELECT d.endpoint_id, d.event_id, d.number, d.kind, extract(epoch FROM d.due_at)::float8 AS due_at, d.reason,
               extract(epoch FROM d.expires_at)::float8 AS expires_at
          FROM delivery d
         WHERE d.partition = $2 AND d.endpoint_id = p.id AND d.event_id <= $3
           AND (d.event_id < $3 OR d.endpoint_id < $4) AND d.event_id >= $8 AND ($7::text IS NULL OR d.reason = $7)
         ORDER BY d.event_id DESC LIMIT $6
     ) d
     WHERE p.app_id = $1 AND ($5::uuid IS NULL OR p.id = $5)
     ORDER BY d.event_id DESC, d.endpoint_id DESC LIMIT $6
  ) d
 ORDER BY d.event_id DESC, d.endpoint_id DESC

-- name: all_owed
SELECT d.*, n.app_id, (SELECT v.type FROM event v WHERE v.id = d.event_id LIMIT 1) AS type
  FROM (
    SELECT d.endpoint_id, d.event_id, d.number, d.kind, extract(epoch FROM d.due_at)::float8 AS due_at, d.reason,
           extract(epoch FROM d.expires_at)::float8 AS expires_at
      FROM delivery d
     WHERE (d.event_id, d.endpoint_id) < ($1, $2) AND d.event_id >= $5 AND ($4::text IS NULL OR d.reason = $4)
     ORDER BY d.event_id DESC, d.endpoint_id DESC LIMIT $3
  ) d
  LEFT JOIN endpoint n ON n.id = d.endpoint_id
 ORDER BY d.event_id DESC, d.endpoint_id DESC

-- name: owed_reasons
-- Why deliveries of an app (or of one of its endpoints) wait: of so many rows at most, those of each endpoint along an index.
SELECT r.reason, count(*)::bigint AS owed, min(r.due_at) FILTER (WHERE r.due_at < 'infinity') AS next_due_at
  FROM (
    SELECT d.reason, extract(epoch FROM d.due_at)::float8 AS due_at FROM endpoint p
     CROSS JOIN LATERAL (
        SELECT d.reason, d.due_at FROM delivery d
         WHERE d.partition = $2 AND d.endpoint_id = p.id ORDER BY d.due_at LIMIT $4
     ) d
     WHERE p.app_id = $1 AND ($3::uuid IS NULL OR p.id = $3) LIMIT $4
  ) r
 GROUP BY r.reason ORDER BY owed DESC, r.reason

-- name: all_owed_reasons
-- The same of all: the newest rows, which every list of them begins with.
SELECT r.reason, count(*)::bigint AS owed, min(r.due_at) FILTER (WHERE r.due_at < 'infinity') AS next_due_at
  FROM (
    SELECT d.reason, extract(epoch FROM d.due_at)::float8 AS due_at
      FROM delivery d ORDER BY d.event_id DESC, d.endpoint_id DESC LIMIT $1
  ) r
 GROUP BY r.reason ORDER BY owed DESC, r.reason

-- name: paces
-- Each endpoint's last minutes with attempts, at most so many and so old: one walk back along an index.
SELECT n.id, n.enabled AND NOT n.paused AND v.sendable IS NOT FALSE AND coalesce(h.circuit, 'closed') = 'closed' AS open,
       n.config, v.allowed_per_second, r.attempts, r.total_us, extract(epoch FROM h.held_until)::float8 AS held_until
  FROM endpoint n
  JOIN app a ON a.id = n.app_id
  LEFT JOIN endpoint_health h ON h.partition = a.partition AND h.endpoint_id = n.id
  LEFT JOIN endpoint_verification v ON v.endpoint_id = n.id
 CROSS JOIN LATERAL (
    SELECT coalesce(sum(m.attempts), 0)::bigint AS attempts, coalesce(sum(m.total_us), 0)::bigint AS total_us
      FROM (
        SELECT r.delivered + r.failed + r.gave_up AS attempts, r.total_us FROM rollup_minute r
         WHERE r.partition = a.partition AND r.endpoint_id = n.id AND r.minute >= to_timestamp($2)
         ORDER BY r.minute DESC LIMIT $3
     ) m
 ) r
 WHERE n.id = ANY ($1::uuid[]) AND n.deleted_at IS NULL

-- name: positions
-- The rows of each endpoint are numbered in the order in which they fall due, up to a bound; one walk of an index each.
SELECT w.ord, o.position
  FROM (
    SELECT e.endpoint_id, a.partition FROM (SELECT DISTINCT unnest($1::uuid[]) AS endpoint_id) e
      JOIN endpoint n ON n.id = e.endpoint_id JOIN app a ON a.id = n.app_id
 ) l
 CROSS JOIN LATERAL (
    SELECT d.event_id, row_number() OVER (ORDER BY d.due_at, d.event_id) - 1 AS position
      FROM (
        SELECT d.event_id, d.due_at FROM delivery d
         WHERE d.partition = l.partition AND d.endpoint_id = l.endpoint_id ORDER BY d.due_at LIMIT $3
     ) d
 ) o
  JOIN unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS w (endpoint_id, event_id, ord)
    ON w.endpoint_id = l.endpoint_id AND w.event_id = o.event_id

-- name: stats
SELECT coalesce(sum(delivered), 0)::bigint AS delivered, coalesce(sum(failed), 0)::bigint AS failed,
       coalesce(sum(gave_up), 0)::bigint AS gave_up, coalesce(sum(total_us), 0)::bigint AS total_us
  FROM rollup_minute
 WHERE partition = $1 AND endpoint_id = $2 AND minute >= to_timestamp($3) AND minute < to_timestamp($4)

-- name: owed_count
-- Counted up to a bound.
SELECT (SELECT count(*) FROM (SELECT 1 FROM delivery WHERE partition = $1 AND endpoint_id = $2 LIMIT $3) counted) AS owed,
       (SELECT extract(epoch FROM due_at)::float8 FROM delivery
         WHERE partition = $1 AND endpoint_id = $2 ORDER BY due_at LIMIT 1) AS next_due_at

-- name: lock_partition
SELECT id FROM partition WHERE id = $1 FOR NO KEY UPDATE

-- name: resend_facts
-- In a statement after the lock: the cursor is the last one, and stays.
SELECT e.seq, octet_length(e.payload) AS payload_bytes, e.type, e.key, e.seq <= p.cursor AS dispatched, n.enabled, n.config,
       extract(epoch FROM e.expires_at)::float8 AS expires_at
  FROM partition p
  LEFT JOIN event e ON e.id = $2 AND e.partition = p.id
   AND (e.app_id = $4 OR (e.app_id IS NULL AND $4 = ANY (e.audience)))
  LEFT JOIN endpoint n ON n.id = $3 AND n.app_id = $4 AND n.deleted_at IS NULL
 WHERE p.id = $1

-- name: resend
-- A delivery that is owed already is only due sooner; what is in flight stays with whoever sends it. One that blocks its line
-- is tried again in that line. Its line is put in order afterwards: a delivery behind another one waits as it did.
INSERT INTO delivery AS d (partition, endpoint_id, event_id, seq, kind, number, due_at, reason, expires_at, payload_bytes, key_hash)
VALUES ($1, $2, $3, $4, 'replay', 1, to_timestamp($5), 'resent', to_timestamp($6), $7, $8)
    ON CONFLICT (partition, endpoint_id, event_id) DO UPDATE
   SET due_at = least(d.due_at, EXCLUDED.due_at), reason = CASE d.reason WHEN 'blocked' THEN 'resent' ELSE d.reason END
RETURNING d.key_hash

-- name: order_line
SELECT 1 FROM order_lines($1, ARRAY[$2::int], ARRAY[$2::int], ARRAY[$3::uuid], ARRAY[$4::bigint])

-- name: owed_row
SELECT $4::uuid AS app_id, d.endpoint_id, d.event_id, d.number, d.kind, extract(epoch FROM d.due_at)::float8 AS due_at, d.reason,
       extract(epoch FROM d.expires_at)::float8 AS expires_at
  FROM delivery d WHERE d.partition = $1 AND d.endpoint_id = $2 AND d.event_id = $3

-- name: poke
UPDATE partition SET poke = poke + 1 WHERE id = $1

-- name: cancel_facts
-- In a statement after the lock, too: what is owed stays, unless its owner had it settled before.
SELECT e.id IS NOT NULL AS event, e.type, e.seq <= p.cursor AS dispatched, n.id IS NOT NULL AS endpoint, d.reason
  FROM partition p
  LEFT JOIN event e ON e.id = $3 AND e.partition = p.id
   AND (e.app_id = $4 OR (e.app_id IS NULL AND $4 = ANY (e.audience)))
  LEFT JOIN endpoint n ON n.id = $2 AND n.app_id = $4 AND n.deleted_at IS NULL
  LEFT JOIN delivery d ON d.partition = p.id AND d.endpoint_id = $2 AND d.event_id = $3
 WHERE p.id = $1

-- name: newest_attempt
SELECT id FROM attempt WHERE partition = $1 ORDER BY id DESC LIMIT 1

-- name: cancel
-- What was owed, and the attempt that says that it was given up.
WITH gone AS (
    DELETE FROM delivery WHERE partition = $1 AND endpoint_id = $2 AND event_id = $3 RETURNING *
), given_up AS (
    INSERT INTO attempt (partition, id, app_id, endpoint_id, event_id, seq, number, kind, outcome, reason, sent, revision,
                         url, address, started_at, total_us)
    SELECT g.partition, $4, n.app_id, g.endpoint_id, g.event_id, g.seq, g.number, g.kind, 'gave_up', 'cancelled', false,
           n.revision, n.config ->> 'url', '', to_timestamp($6), 0
      FROM gone g JOIN endpoint n ON n.id = g.endpoint_id
)
SELECT $5::uuid AS app_id, g.endpoint_id, g.event_id, g.number, g.kind, extract(epoch FROM g.due_at)::float8 AS due_at, g.reason,
       extract(epoch FROM g.expires_at)::float8 AS expires_at, g.key_hash AS line
  FROM gone g
