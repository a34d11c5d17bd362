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
-- Give up a chunk of what is owed of events below an id (migrations/0009_owed_cap.sql).
SELECT endpoint_id, event_id FROM expire_owed($6, $1, NULL, $2, $3, $4, '{}', $5, NULL)
