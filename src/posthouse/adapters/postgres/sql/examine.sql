-- name: clock
SELECT extract(epoch FROM clock_timestamp())::float8

-- name: settings
SELECT name, setting FROM pg_settings
 WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit', 'max_connections', 'autovacuum', 'transaction_read_only')

-- name: connections
SELECT count(*)::int FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()

-- name: snapshots
-- Sessions that keep PostgreSQL from pruning, or that do nothing in an open transaction; the oldest first.
SELECT pid, application_name AS program, coalesce(usename::text, '') AS "user",
       extract(epoch FROM clock_timestamp() - (CASE WHEN state LIKE 'idle in transaction%' THEN state_change ELSE xact_start END))::float8
           AS seconds,
       state LIKE 'idle in transaction%' AS idle_in_transaction
  FROM pg_stat_activity
 WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
   AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL OR state LIKE 'idle in transaction%')
 ORDER BY xact_start LIMIT 20

-- name: leases
-- Each partition: is it owned, and how long has the event after its cursor waited? One that holds no event there is lost.
SELECT p.id AS partition, p.owner IS NOT NULL AND p.lease_until > clock_timestamp() AS live,
       coalesce(extract(epoch FROM clock_timestamp() - next.created_at), 0)::float8 AS waiting_seconds,
       h.seq > p.cursor AND next.seq IS DISTINCT FROM p.cursor + 1 AS lost
  FROM partition p
  JOIN log_head h ON h.partition = p.id
  LEFT JOIN LATERAL (
      SELECT e.seq, e.created_at FROM event e
       WHERE h.seq > p.cursor AND e.partition = p.id AND e.seq > p.cursor ORDER BY e.seq LIMIT 1
  ) next ON true
 ORDER BY p.id

-- name: processes
SELECT count(*)::int FROM process WHERE live_until > clock_timestamp()

-- name: rewinds
-- What operators were told of logs that had lost their ends ($1: their app), the newest first, among the newest events for them.
SELECT extract(epoch FROM clock_timestamp() - created_at)::float8 AS seconds, payload
  FROM (SELECT type, created_at, payload FROM event WHERE app_id = $1 ORDER BY id DESC LIMIT $2) newest
 WHERE type = 'log.rewound' LIMIT 20

-- name: overdue
-- Of a sample of what is owed: how many rows are due since longer than this many seconds, though their endpoint takes deliveries.
SELECT count(*)::int AS rows, coalesce(max(extract(epoch FROM clock_timestamp() - d.due_at)), 0)::float8 AS seconds
  FROM (SELECT endpoint_id, due_at FROM delivery LIMIT 10000) d
  JOIN endpoint e ON e.id = d.endpoint_id AND e.enabled AND NOT e.paused AND e.deleted_at IS NULL
   AND NOT EXISTS (SELECT 1 FROM endpoint_verification v WHERE v.endpoint_id = e.id AND NOT v.sendable)
 WHERE d.due_at < clock_timestamp() - make_interval(secs => $1)

-- name: vacuum
SELECT NOT coalesce('autovacuum_enabled=false' = ANY (c.reloptions) OR 'autovacuum_enabled=off' = ANY (c.reloptions), false) AS "on",
       coalesce(s.n_dead_tup, 0) AS dead_rows, coalesce(s.n_live_tup, 0) AS live_rows
  FROM pg_class c LEFT JOIN pg_stat_user_tables s ON s.relid = c.oid
 WHERE c.oid = 'delivery'::regclass

-- name: sealed
-- For each master key something that it sealed: data keys, and what is older than those.
SELECT DISTINCT ON (substring(ciphertext FROM 1 FOR 5)) owner_id, kind, version, ciphertext
  FROM (SELECT app_id AS owner_id, 'data-key' AS kind, version, ciphertext, created_at FROM data_key
         UNION ALL
        SELECT owner_id, kind, version, ciphertext, created_at FROM secret WHERE data_key IS NULL
         UNION ALL
        SELECT endpoint_id, 'key:' || name, version, ciphertext, created_at FROM endpoint_key WHERE data_key IS NULL) s
 ORDER BY substring(ciphertext FROM 1 FOR 5), created_at DESC

-- name: target_hosts
-- Where the newest endpoints that take deliveries are.
SELECT config ->> 'url' AS url FROM endpoint WHERE enabled AND deleted_at IS NULL ORDER BY id DESC LIMIT 50
