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
SELECT EXISTS (SELECT 1 FROM secret) OR EXISTS (SELECT 1 FROM data_key)

-- name: oldest_snapshot
-- Age in seconds of the oldest snapshot that keeps PostgreSQL from pruning: of a session in this database, or of one that sees all.
SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::float8
  FROM pg_stat_activity
 WHERE backend_xmin IS NOT NULL AND pid <> pg_backend_pid() AND (datname = current_database() OR datname IS NULL)

-- name: timeline
-- The cluster, and the timeline that it writes. The first eight digits of a WAL file's name are the timeline, and it is there at
-- once: pg_control_checkpoint() tells of a new one only after the next checkpoint. Fails on a standby.
SELECT s.system_identifier AS system, ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int AS timeline
  FROM pg_control_system() s

-- name: give_up
-- This process's partitions, by what is on record or by what it remembers, are nobody's. The history that was lost may have given
-- epochs which are not on record here: they must not be given again; nor may all that was sent be on record (`claim`).
UPDATE partition p SET owner = NULL, lease_until = clock_timestamp(), epoch = p.epoch + 1000
  FROM (SELECT id FROM partition WHERE owner = $1 OR id = ANY ($2::int[]) ORDER BY id FOR NO KEY UPDATE) held
 WHERE p.id = held.id

-- name: connections_max
-- How many connections this role may have to this database, whoever has them now.
SELECT least(
           current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
               - coalesce(current_setting('reserved_connections', true)::int, 0),
           nullif((SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user), -1),
           nullif((SELECT datconnlimit FROM pg_database WHERE datname = current_database()), -1)
       )

-- name: has_outbox
-- Whether somebody made an outbox (`posthouse outbox install`) in this database.
SELECT to_regclass('posthouse_outbox_lease') IS NOT NULL
