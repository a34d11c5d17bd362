-- name: publish
-- Append a batch of events that all have an app (migrations/0002_functions.sql).
SELECT * FROM publish($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)

-- name: publish_together
-- The same where some of the events stand or fall together: one whose key was used otherwise fails the statement (SQLSTATE 22P02),
-- and nothing is appended.
SELECT r.verdict, r.partition, r.seq, r.config_version, r.created_at, r.known_id, r.known_fingerprint,
       CASE WHEN r.together AND r.verdict = 'repeated' AND r.known_fingerprint IS DISTINCT FROM r.fingerprint
            THEN (r.verdict || ' otherwise')::int END AS refused
  FROM ROWS FROM (
    publish($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17), unnest($18::bool[]), unnest($17::bytea[])
  ) AS r (verdict, partition, seq, config_version, created_at, known_id, known_fingerprint, together, fingerprint)

-- name: publish_groups
-- Append a batch of events that all have an app and no idempotency key (migrations/0029_groups.sql).
SELECT * FROM publish_groups($1, $2, $3, $4, $5, $6)

-- name: publish_platform
-- Append a batch in which some have none (migrations/0003_grants.sql).
SELECT * FROM publish_platform($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)

-- name: publish_platform_together
-- As `publish_together`.
SELECT p.*, CASE WHEN f.together AND p.verdict = 'repeated' AND p.known_fingerprint IS DISTINCT FROM f.fingerprint
                 THEN (p.verdict || ' otherwise')::int END AS refused
  FROM publish_platform($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18) p
  JOIN unnest($19::bool[], $17::bytea[]) WITH ORDINALITY f (together, fingerprint, ord) USING (ord)
 ORDER BY p.ord, p.partition

-- name: appended
-- Where the events of a batch in doubt are, if they were committed.
SELECT e.id, e.partition, e.seq, e.config_version, extract(epoch FROM e.created_at)::float8 AS created_at, e.audience
  FROM event e WHERE e.id = ANY ($1::uuid[]) ORDER BY e.id, e.partition

-- name: confirm
-- Returns when all that was committed before is where `synchronous_standby_names` wants it: this commit waits for that. Reading
-- does not, and the earlier commit's own wait was cut short.
SELECT pg_logical_emit_message(true, 'posthouse', '')

-- name: read
-- The next events of partitions, each from a position of its own, in order, up to a count and a size of each. The size is summed
-- before any payload is fetched: octet_length reads it from the pointer to a payload that is stored apart.
-- A partition has no gap, so that the count is a range of `seq`, and the planner knows how few rows it is.
SELECT w.ord::int - 1 AS want, r.*
  FROM unnest($1::int[], $2::bigint[], $3::uuid[]) WITH ORDINALITY w (partition, after, since, ord)
  CROSS JOIN LATERAL (
    SELECT e.id, e.partition, e.seq, e.app_id, e.type, e.payload, e.content_type,
           extract(epoch FROM e.created_at)::float8 AS created_at, e.config_version, e.subject, e.key, e.channels,
           extract(epoch FROM e.expires_at)::float8 AS expires_at, e.depth, e.audience, e.source, e.attributes,
           e.only_endpoint, e.to_url
      FROM (
        SELECT n.id, sum(n.bytes) OVER (ORDER BY n.seq) - n.bytes AS before
          FROM (
            SELECT id, seq, octet_length(payload) + coalesce(octet_length(attributes), 0) AS bytes FROM event
             WHERE partition = w.partition AND seq > w.after AND seq <= w.after + $4::int AND id >= w.since
          ) n
      ) s
      CROSS JOIN LATERAL (SELECT * FROM event e WHERE e.id = s.id AND e.partition = w.partition OFFSET 0) e
     WHERE s.before < $5
  ) r
 ORDER BY w.ord, r.seq

-- name: event_at
-- Which event is at a position.
SELECT id FROM event WHERE partition = $1 AND seq = $2 AND id >= $3 LIMIT 1

-- name: heads
-- Where partitions stand: one statement for all that a process owns.
SELECT h.partition, h.seq, c.version, p.poke
  FROM log_head h JOIN config_head c ON c.partition = h.partition JOIN partition p ON p.id = h.partition
 WHERE h.partition = ANY ($1::int[])
