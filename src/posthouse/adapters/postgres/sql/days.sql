-- name: days
-- The day tables that exist: attached to one of these parents, half detached, or plain ones left over by an interrupted run.
SELECT p.relname::text AS parent, c.relname::text AS name, i.inhrelid IS NOT NULL AS attached,
       coalesce(i.inhdetachpending, false) AS detaching
  FROM unnest($1::text[]) parent (name)
  JOIN pg_class p ON p.oid = parent.name::regclass
  JOIN pg_class c ON c.relnamespace = p.relnamespace AND c.relkind = 'r' AND c.relname ~ ('^' || p.relname || '_[0-9]{8}$')
  LEFT JOIN pg_inherits i ON i.inhrelid = c.oid AND i.inhparent = p.oid
 ORDER BY 1, 2

-- name: days_lock
-- One process at a time makes or retires days; held to the end of the transaction.
SELECT pg_advisory_xact_lock($1)

-- name: days_try_lock
-- The same for what cannot be in a transaction; held by the session.
SELECT pg_try_advisory_lock($1)

-- name: days_unlock
SELECT pg_advisory_unlock($1)

-- name: oldest_cursor
-- Every event after some partition's cursor was created at or after this time. A partition that was read to its end does
-- not count: whatever comes next comes now. NULL: all are at their end.
SELECT extract(epoch FROM min(p.cursor_at))::float8
  FROM partition p JOIN log_head h ON h.partition = p.id WHERE p.cursor < h.seq

-- name: owed_before
-- The partitions in which something is owed of events below an id.
SELECT p.id FROM partition p
 WHERE EXISTS (SELECT 1 FROM delivery d WHERE d.partition = p.id AND d.event_id < $1) ORDER BY p.id

-- name: expire
-- Give up what is owed of events below an id, a chunk at a time in the order of the key: after a key, and as many rows as
-- there are ids for the attempts that say so. Runs after `lock_partition`, so that the cursor it reads is the last one. The
-- partition's owner learns of it through `poke`.
WITH chosen AS (
    SELECT d.endpoint_id, d.event_id, row_number() OVER (ORDER BY d.endpoint_id, d.event_id) AS n
      FROM delivery d JOIN partition p ON p.id = d.partition
     WHERE d.partition = $1 AND d.event_id < $2 AND (d.endpoint_id, d.event_id) > ($3, $4) AND d.seq <= p.cursor
     ORDER BY d.endpoint_id, d.event_id LIMIT cardinality($5::uuid[])
), gone AS (
    DELETE FROM delivery d USING chosen c
     WHERE d.partition = $1 AND d.endpoint_id = c.endpoint_id AND d.event_id = c.event_id
    RETURNING d.*, c.n
), given_up AS (
    INSERT INTO attempt (partition, id, app_id, endpoint_id, event_id, seq, number, kind, outcome, reason, sent, revision,
                         url, address, started_at, total_us)
    SELECT g.partition, i.id, coalesce(e.app_id, v.app_id), g.endpoint_id, g.event_id, g.seq, g.number, g.kind,
           'gave_up', 'expired', false, coalesce(e.revision, 0), coalesce(e.config ->> 'url', ''), '', to_timestamp($6), 0
      FROM gone g
      JOIN unnest($5::uuid[]) WITH ORDINALITY i (id, n) ON i.n = g.n
      LEFT JOIN endpoint e ON e.id = g.endpoint_id
      LEFT JOIN event v ON v.id = g.event_id AND v.partition = g.partition
     WHERE coalesce(e.app_id, v.app_id) IS NOT NULL
), told AS (
    UPDATE partition SET poke = poke + 1 WHERE id = $1 AND EXISTS (SELECT 1 FROM gone)
)
SELECT endpoint_id, event_id FROM gone ORDER BY n
