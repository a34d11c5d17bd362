-- Counters by spans of time (migrations/0025_traffic.sql). Where the spans are known, each is a step into the primary key; a list of
-- all endpoints walks the spans of one length alone.

-- name: add
WITH counted AS (
    SELECT u.level, u.minutes, to_timestamp(u.at) AS at, u.scope, u.partition, u.app_id, u.published, u.delivered, u.failed,
           u.gave_up, u.owed, u.latency
      FROM unnest($1::traffic_record[]) u
), timed AS (
    INSERT INTO traffic_latency AS t (level, minutes, at, scope, partition, latency)
    SELECT c.level, c.minutes, c.at, c.scope, c.partition, c.latency FROM counted c WHERE c.latency <> '{}'
    ON CONFLICT (level, minutes, at, scope, partition) DO UPDATE
       SET latency = ARRAY (SELECT coalesce(a, 0) + coalesce(b, 0) FROM unnest(t.latency, EXCLUDED.latency) s (a, b))
)
INSERT INTO traffic AS t (level, minutes, at, scope, partition, app_id, published, delivered, failed, gave_up, owed)
SELECT c.level, c.minutes, c.at, c.scope, c.partition, c.app_id, c.published, c.delivered, c.failed, c.gave_up, c.owed FROM counted c
ON CONFLICT (level, minutes, at, scope, partition) DO UPDATE
   SET published = t.published + EXCLUDED.published, delivered = t.delivered + EXCLUDED.delivered,
       failed = t.failed + EXCLUDED.failed, gave_up = t.gave_up + EXCLUDED.gave_up,
       owed = greatest(t.owed, EXCLUDED.owed)

-- name: everything
-- By point of the grid: $4 seconds each, from $2 on.
SELECT floor((extract(epoch FROM t.at) - $2) / $4)::int AS place, sum(t.published)::bigint AS published,
       sum(t.delivered)::bigint AS delivered, sum(t.failed)::bigint AS failed, sum(t.gave_up)::bigint AS gave_up,
       max(t.owed) AS owed
  FROM traffic t
 WHERE t.level = 0 AND t.minutes = $1 AND t.at >= to_timestamp($2) AND t.at < to_timestamp($3)
 GROUP BY 1

-- name: everything_latency
SELECT l.place, array_agg(l.requests ORDER BY l.bucket) AS latency
  FROM (
    SELECT floor((extract(epoch FROM t.at) - $2) / $4)::int AS place, u.bucket, sum(u.requests)::bigint AS requests
      FROM traffic_latency t CROSS JOIN LATERAL unnest(t.latency) WITH ORDINALITY u (requests, bucket)
     WHERE t.level = 0 AND t.minutes = $1 AND t.at >= to_timestamp($2) AND t.at < to_timestamp($3)
     GROUP BY 1, 2
 ) l
 GROUP BY l.place

-- name: of_scope
-- Each of the spans that begin at $4, of an app or of an endpoint.
SELECT g.at, t.delivered, t.failed, t.gave_up, t.owed, coalesce(l.latency, '{}') AS latency
  FROM unnest($4::float8[]) g (at)
 CROSS JOIN LATERAL (
    SELECT t.delivered, t.failed, t.gave_up, t.owed, t.partition FROM traffic t
     WHERE t.level = $1 AND t.minutes = $2 AND t.at = to_timestamp(g.at) AND t.scope = $3 OFFSET 0
 ) t
  LEFT JOIN LATERAL (
    SELECT l.latency FROM traffic_latency l
     WHERE l.level = $1 AND l.minutes = $2 AND l.at = to_timestamp(g.at) AND l.scope = $3 AND l.partition = t.partition OFFSET 0
 ) l ON true

-- name: minutes_of_endpoint
SELECT extract(epoch FROM r.minute)::float8 AS at, r.delivered, r.failed, r.gave_up, NULL::bigint AS owed,
       coalesce(r.latency, '{}') AS latency
  FROM rollup_minute r
 WHERE r.partition = $1 AND r.endpoint_id = $2 AND r.minute >= to_timestamp($3) AND r.minute < to_timestamp($4)

-- name: scopes
-- Endpoints that are there or were, of an app or of all.
SELECT e.id, e.app_id, a.partition, e.uid, e.config ->> 'url' AS url, a.uid AS app_uid, a.name AS app_name
  FROM endpoint e JOIN app a ON a.id = e.app_id
 WHERE e.id = ANY ($1::uuid[]) AND ($2::uuid IS NULL OR e.app_id = $2)

-- name: first_endpoints
SELECT e.id, e.app_id, a.partition, e.uid, e.config ->> 'url' AS url, a.uid AS app_uid, a.name AS app_name
  FROM (
    SELECT t.scope, sum(t.failed + t.gave_up) AS failed, sum(t.delivered + t.failed + t.gave_up) AS attempts
      FROM traffic t
     WHERE t.level = 2 AND t.minutes = $1 AND t.at >= to_timestamp($2) AND t.at < to_timestamp($3)
       AND ($4::uuid IS NULL OR t.app_id = $4)
     GROUP BY t.scope HAVING sum(t.delivered + t.failed + t.gave_up) > 0
     ORDER BY CASE WHEN $5 = 'failed' THEN sum(t.failed + t.gave_up) END DESC, sum(t.delivered + t.failed + t.gave_up) DESC, t.scope
     LIMIT 2 * $6
 ) t
  JOIN endpoint e ON e.id = t.scope AND e.deleted_at IS NULL
  JOIN app a ON a.id = e.app_id
 ORDER BY CASE WHEN $5 = 'failed' THEN t.failed END DESC, t.attempts DESC, t.scope LIMIT $6

-- name: first_apps
SELECT a.id, a.id AS app_id, a.partition, NULL AS uid, NULL AS url, a.uid AS app_uid, a.name AS app_name
  FROM (
    SELECT t.scope, sum(t.failed + t.gave_up) AS failed, sum(t.delivered + t.failed + t.gave_up) AS attempts
      FROM traffic t
     WHERE t.level = 1 AND t.minutes = $1 AND t.at >= to_timestamp($2) AND t.at < to_timestamp($3)
     GROUP BY t.scope HAVING sum(t.delivered + t.failed + t.gave_up) > 0
     ORDER BY CASE WHEN $4 = 'failed' THEN sum(t.failed + t.gave_up) END DESC, sum(t.delivered + t.failed + t.gave_up) DESC, t.scope
     LIMIT 2 * $5
 ) t
  JOIN app a ON a.id = t.scope AND a.deleted_at IS NULL
 ORDER BY CASE WHEN $4 = 'failed' THEN t.failed END DESC, t.attempts DESC, t.scope LIMIT $5

-- name: series
SELECT s.ord::int AS ord, g.at, t.delivered, t.failed, t.gave_up, t.owed
  FROM unnest($3::uuid[]) WITH ORDINALITY s (scope, ord)
 CROSS JOIN unnest($4::float8[]) g (at)
 CROSS JOIN LATERAL (
    SELECT t.delivered, t.failed, t.gave_up, t.owed FROM traffic t
     WHERE t.level = $1 AND t.minutes = $2 AND t.at = to_timestamp(g.at) AND t.scope = s.scope OFFSET 0
 ) t

-- name: latencies
SELECT l.ord, array_agg(l.requests ORDER BY l.bucket) AS latency
  FROM (
    SELECT s.ord::int AS ord, u.bucket, sum(u.requests)::bigint AS requests
      FROM unnest($3::uuid[]) WITH ORDINALITY s (scope, ord)
     CROSS JOIN unnest($4::float8[]) g (at)
     CROSS JOIN LATERAL (
        SELECT t.latency FROM traffic_latency t
         WHERE t.level = $1 AND t.minutes = $2 AND t.at = to_timestamp(g.at) AND t.scope = s.scope OFFSET 0
     ) t
     CROSS JOIN LATERAL unnest(t.latency) WITH ORDINALITY u (requests, bucket)
     GROUP BY 1, 2
 ) l
 GROUP BY l.ord

-- name: minute_series
SELECT s.ord::int AS ord, extract(epoch FROM r.minute)::float8 AS at, r.delivered, r.failed, r.gave_up, NULL::bigint AS owed
  FROM unnest($1::int[], $2::uuid[]) WITH ORDINALITY s (partition, scope, ord)
 CROSS JOIN LATERAL (
    SELECT r.minute, r.delivered, r.failed, r.gave_up FROM rollup_minute r
     WHERE r.partition = s.partition AND r.endpoint_id = s.scope AND r.minute >= to_timestamp($3) AND r.minute < to_timestamp($4)
    OFFSET 0
 ) r

-- name: minute_latencies
SELECT l.ord, array_agg(l.requests ORDER BY l.bucket) AS latency
  FROM (
    SELECT s.ord::int AS ord, u.bucket, sum(u.requests)::bigint AS requests
      FROM unnest($1::int[], $2::uuid[]) WITH ORDINALITY s (partition, scope, ord)
     CROSS JOIN LATERAL (
        SELECT r.latency FROM rollup_minute r
         WHERE r.partition = s.partition AND r.endpoint_id = s.scope AND r.minute >= to_timestamp($3) AND r.minute < to_timestamp($4)
        OFFSET 0
     ) r
     CROSS JOIN LATERAL unnest(r.latency) WITH ORDINALITY u (requests, bucket)
     GROUP BY 1, 2
 ) l
 GROUP BY l.ord
