-- The installation as a whole: what needs somebody, who serves, and what it stands on. Each kind of concern walks an index that
-- holds little else, and stops at its limit.

-- name: disabled
SELECT e.app_id, a.uid AS app_uid, a.name AS app_name, e.id AS endpoint_id, e.config ->> 'url' AS name,
       extract(epoch FROM e.disabled_at)::float8 AS since, e.disabled_reason AS reason,
       (SELECT count(*) FROM (SELECT 1 FROM delivery d WHERE d.partition = a.partition AND d.endpoint_id = e.id LIMIT $2) c) AS owed
  FROM endpoint e JOIN app a ON a.id = e.app_id
 WHERE NOT e.enabled AND e.deleted_at IS NULL AND e.disabled_reason <> $3
 ORDER BY e.disabled_at DESC NULLS LAST LIMIT $1

-- name: circuits
SELECT e.app_id, a.uid AS app_uid, a.name AS app_name, e.id AS endpoint_id, e.config ->> 'url' AS name,
       extract(epoch FROM coalesce(h.failing_since, h.opened_at))::float8 AS since, h.circuit AS reason,
       (SELECT count(*) FROM (SELECT 1 FROM delivery d WHERE d.partition = a.partition AND d.endpoint_id = e.id LIMIT $2) c) AS owed
  FROM endpoint_health h
  JOIN endpoint e ON e.id = h.endpoint_id AND e.deleted_at IS NULL AND e.enabled
  JOIN app a ON a.id = e.app_id AND a.partition = h.partition
 WHERE h.circuit <> 'closed'
 ORDER BY h.opened_at DESC NULLS LAST LIMIT $1

-- name: unverified
SELECT e.app_id, a.uid AS app_uid, a.name AS app_name, e.id AS endpoint_id, e.config ->> 'url' AS name,
       extract(epoch FROM e.updated_at)::float8 AS since, coalesce(v.progress ->> 'reason', 'unverified') AS reason,
       (SELECT count(*) FROM (SELECT 1 FROM delivery d WHERE d.partition = a.partition AND d.endpoint_id = e.id LIMIT $2) c) AS owed
  FROM endpoint_verification v
  JOIN endpoint e ON e.id = v.endpoint_id AND e.deleted_at IS NULL AND e.enabled
  JOIN app a ON a.id = e.app_id
 WHERE NOT v.sendable
 ORDER BY e.updated_at DESC LIMIT $1

-- name: backlogs
-- Endpoints that are owed more than about an hour ago, by what their owners told in the last twenty minutes ($4) and then ($5).
-- The oldest event that an endpoint is owed has its time in its id.
SELECT e.app_id, a.uid AS app_uid, a.name AS app_name, e.id AS endpoint_id, e.config ->> 'url' AS name,
       (SELECT d.event_id FROM delivery d WHERE d.partition = a.partition AND d.endpoint_id = e.id
         ORDER BY d.event_id LIMIT 1) AS oldest, 'growing' AS reason,
       (SELECT count(*) FROM (SELECT 1 FROM delivery d WHERE d.partition = a.partition AND d.endpoint_id = e.id LIMIT $2) c) AS owed
  FROM (
    SELECT n.scope, n.owed
      FROM (
        SELECT t.scope, max(t.owed) AS owed FROM traffic t
         WHERE t.level = 2 AND t.minutes = 10 AND t.at >= to_timestamp($4::float8) AND t.owed >= $3 GROUP BY t.scope
     ) n
      LEFT JOIN LATERAL (
        SELECT max(t.owed) AS owed FROM traffic t
         WHERE t.level = 2 AND t.minutes = 10 AND t.at = to_timestamp($5::float8) AND t.scope = n.scope
     ) then_ ON true
     WHERE n.owed * 10 > coalesce(then_.owed, 0) * 11
     ORDER BY n.owed DESC LIMIT $1
 ) n
  JOIN endpoint e ON e.id = n.scope AND e.deleted_at IS NULL
  JOIN app a ON a.id = e.app_id
 ORDER BY n.owed DESC

-- name: triggers
SELECT t.app_id, a.uid AS app_uid, coalesce(a.name, '') AS app_name, t.id AS trigger_id, coalesce(nullif(t.name, ''), t.uid, '') AS name,
       (t.standing ->> 'failing_since')::float8 AS since,
       coalesce(t.standing ->> 'error_code', t.standing ->> 'state') AS reason
  FROM trigger t LEFT JOIN app a ON a.id = t.app_id
 WHERE t.enabled AND t.standing ->> 'state' IN ('failing', 'stopped')
 ORDER BY t.id DESC LIMIT $1

-- name: present
WITH over AS (
    DELETE FROM server WHERE id <> $1 AND seen_at < clock_timestamp() - make_interval(secs => $7)
)
INSERT INTO server (id, host, pid, role, version, started_at, seen_at)
VALUES ($1, $2, $3, $4, $5, to_timestamp($6), clock_timestamp())
ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at

-- name: absent
DELETE FROM server WHERE id = $1

-- name: servers
SELECT s.id, f.host, f.pid, f.role, f.version, extract(epoch FROM f.started_at)::float8 AS started_at,
       extract(epoch FROM f.seen_at)::float8 AS seen_at, extract(epoch FROM p.live_until)::float8 AS live_until,
       (SELECT count(*) FROM partition q WHERE q.owner = s.id)::int AS partitions
  FROM (SELECT id FROM server WHERE seen_at > clock_timestamp() - interval '2 minutes'
        UNION SELECT id FROM process WHERE live_until > clock_timestamp()
        UNION SELECT owner FROM partition WHERE owner IS NOT NULL) s (id)
  LEFT JOIN server f ON f.id = s.id
  LEFT JOIN process p ON p.id = s.id
 ORDER BY f.started_at, s.id

-- name: partitions
SELECT p.id, p.owner, p.epoch, extract(epoch FROM p.lease_until)::float8 AS lease_until, coalesce(h.seq, 0) AS head, p.cursor,
       greatest(coalesce(h.seq, 0) - p.cursor, 0) AS behind,
       CASE WHEN coalesce(h.seq, 0) > p.cursor
            THEN greatest(extract(epoch FROM clock_timestamp() - p.cursor_at), 0)::float8 ELSE 0 END AS age_seconds
  FROM partition p LEFT JOIN log_head h ON h.partition = p.id
 ORDER BY p.id

-- name: database
SELECT current_setting('server_version') AS version, pg_database_size(current_database()) AS size_bytes,
       extract(epoch FROM pg_postmaster_start_time())::float8 AS started_at,
       (SELECT max(version) FROM schema_migration) AS migration,
       (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::int AS connections,
       current_setting('max_connections')::int AS connections_max
