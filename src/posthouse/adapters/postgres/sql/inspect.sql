-- What people look at: the log, what was tried and what is owed, of one app. Every list walks an index backwards from a
-- position and stops at its limit; an app's lists of attempts and of what is owed merge those of its endpoints, the deleted
-- ones too.

-- name: events
SELECT e.id, e.type, e.subject, e.key, e.source, e.channels, e.attributes, e.content_type,
       octet_length(e.payload) AS payload_bytes, extract(epoch FROM e.created_at)::float8 AS created_at,
       extract(epoch FROM e.expires_at)::float8 AS expires_at
  FROM event e
 WHERE e.app_id = $1 AND e.partition = $2 AND e.id < $3 AND e.id >= $4 AND ($5::text IS NULL OR e.type = $5)
 ORDER BY e.id DESC LIMIT $6

-- name: event
SELECT e.id, e.partition, e.seq, e.app_id, e.type, e.subject, e.key, e.source, e.channels, e.attributes, e.content_type,
       e.payload, octet_length(e.payload) AS payload_bytes, extract(epoch FROM e.created_at)::float8 AS created_at,
       extract(epoch FROM e.expires_at)::float8 AS expires_at, e.config_version, e.depth
  FROM event e WHERE e.id = $1 AND e.partition = $2 AND e.app_id = $3

-- name: event_attempts
-- All attempts of the event are found first (OFFSET 0): walking ids backwards could pass millions of others.
SELECT a.*, v.type
  FROM (
    SELECT a.id, a.event_id, a.endpoint_id, a.number, a.kind, a.outcome, a.reason, a.sent, a.status, a.revision, a.url,
           a.address, extract(epoch FROM a.started_at)::float8 AS started_at, a.dns_us, a.connect_us, a.tls_us,
           a.first_byte_us, a.total_us, a.error
      FROM attempt a
     WHERE a.event_id = $1 AND a.partition = $2 AND a.app_id = $3 AND a.id < $4 AND a.id >= $5 OFFSET 0
  ) a
  LEFT JOIN event v ON v.id = $1 AND v.partition = $2
 ORDER BY a.id DESC LIMIT $6

-- name: attempts
-- The type is asked for row by row in a scalar subquery: as EXISTS it could be hashed, and read the whole log.
SELECT a.*, (SELECT v.type FROM event v WHERE v.id = a.event_id AND v.partition = $2) AS type
  FROM (
    SELECT a.* FROM endpoint p
     CROSS JOIN LATERAL (
        SELECT a.id, a.event_id, a.endpoint_id, a.number, a.kind, a.outcome, a.reason, a.sent, a.status, a.revision, a.url,
               a.address, extract(epoch FROM a.started_at)::float8 AS started_at, a.dns_us, a.connect_us, a.tls_us,
               a.first_byte_us, a.total_us, a.error
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

-- name: attempt
SELECT a.id, a.event_id, a.endpoint_id, a.number, a.kind, a.outcome, a.reason, a.sent, a.status, a.revision, a.url,
       a.address, extract(epoch FROM a.started_at)::float8 AS started_at, a.dns_us, a.connect_us, a.tls_us, a.first_byte_us,
       a.total_us, a.error, a.response_headers, a.response_body, r.config,
       (SELECT v.type FROM event v WHERE v.id = a.event_id AND v.partition = $2) AS type
  FROM attempt a LEFT JOIN endpoint_revision r ON r.endpoint_id = a.endpoint_id AND r.revision = a.revision
 WHERE a.id = $1 AND a.partition = $2 AND a.app_id = $3

-- name: owed
SELECT d.*, (SELECT v.type FROM event v WHERE v.id = d.event_id AND v.partition = $2) AS type
  FROM (
    SELECT d.* FROM endpoint p
     CROSS JOIN LATERAL (
        SELECT d.endpoint_id, d.event_id, d.number, d.kind, extract(epoch FROM d.due_at)::float8 AS due_at, d.reason,
               extract(epoch FROM d.expires_at)::float8 AS expires_at
          FROM delivery d
         WHERE d.partition = $2 AND d.endpoint_id = p.id AND d.event_id <= $3
           AND (d.event_id < $3 OR d.endpoint_id < $4)
         ORDER BY d.event_id DESC LIMIT $6
     ) d
     WHERE p.app_id = $1 AND ($5::uuid IS NULL OR p.id = $5)
     ORDER BY d.event_id DESC, d.endpoint_id DESC LIMIT $6
  ) d
 ORDER BY d.event_id DESC, d.endpoint_id DESC

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
SELECT e.seq, octet_length(e.payload) AS payload_bytes, e.type, e.seq <= p.cursor AS dispatched, n.enabled,
       extract(epoch FROM e.expires_at)::float8 AS expires_at
  FROM partition p
  LEFT JOIN event e ON e.id = $2 AND e.partition = p.id AND e.app_id = $4
  LEFT JOIN endpoint n ON n.id = $3 AND n.app_id = $4 AND n.deleted_at IS NULL
 WHERE p.id = $1

-- name: resend
-- A delivery that is owed already is only due sooner; what is in flight stays with whoever sends it.
INSERT INTO delivery AS d (partition, endpoint_id, event_id, seq, kind, number, due_at, reason, expires_at, payload_bytes)
VALUES ($1, $2, $3, $4, 'replay', 1, to_timestamp($5), 'resent', to_timestamp($6), $7)
    ON CONFLICT (partition, endpoint_id, event_id) DO UPDATE SET due_at = least(d.due_at, EXCLUDED.due_at)
RETURNING d.endpoint_id, d.event_id, d.number, d.kind, extract(epoch FROM d.due_at)::float8 AS due_at, d.reason,
          extract(epoch FROM d.expires_at)::float8 AS expires_at

-- name: poke
UPDATE partition SET poke = poke + 1 WHERE id = $1
