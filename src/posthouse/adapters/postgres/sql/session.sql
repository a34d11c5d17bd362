-- name: notify
SELECT pg_notify($1, $2)

-- name: dead
-- The advisory locks that can be had: their holders are gone. Each is given back at the end of the statement's transaction.
SELECT k FROM unnest($1::bigint[]) k WHERE pg_try_advisory_xact_lock(k)

-- name: database_time
SELECT extract(epoch FROM clock_timestamp())::float8

-- name: install
SELECT install($1)

-- name: owed_estimate
-- How many rows are owed: counted up to a bound, estimated from statistics above it.
SELECT CASE WHEN n < 10000 THEN n ELSE greatest(n, (SELECT reltuples::bigint FROM pg_class WHERE oid = 'delivery'::regclass)) END
  FROM (SELECT count(*) AS n FROM (SELECT 1 FROM delivery LIMIT 10000) sample) counted

-- name: oldest_owed
-- The creation time of the oldest event that is owed to anybody: the smallest id, whose first six bytes are its time.
SELECT event_id FROM delivery ORDER BY event_id LIMIT 1

-- name: has_secrets
-- Whether anything sealed is there: then its master key must be too.
SELECT EXISTS (SELECT 1 FROM secret)

-- name: oldest_snapshot
-- Age in seconds of the oldest snapshot that keeps PostgreSQL from pruning: of a session in this database, or of one that sees all.
SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::float8
  FROM pg_stat_activity
 WHERE backend_xmin IS NOT NULL AND pid <> pg_backend_pid() AND (datname = current_database() OR datname IS NULL)
