-- Whom an event would reach.

-- name: covered_apps
-- The apps that a live grant covers, in their order.
SELECT DISTINCT a.id AS app_id, a.uid
  FROM type_patterns($1) t CROSS JOIN subject_patterns($2) s
 CROSS JOIN LATERAL (
    SELECT g.app_id FROM grant_entry g
     WHERE g.subject = s AND g.type = t AND (g.expires_at IS NULL OR g.expires_at > clock_timestamp()) OFFSET 0
 ) g
  JOIN app a ON a.id = g.app_id
 ORDER BY a.id LIMIT $3

-- name: near_misses
-- Apps that hear of the subject but not of the type, of the type but not of the subject, or did until a grant ended: a
-- few of each.
WITH about AS (
    SELECT DISTINCT g.app_id, g.type IN (SELECT type_patterns($1)) AS of_type
      FROM subject_patterns($2) s JOIN grant_entry g ON g.subject = s LIMIT $3
), of_type AS (
    SELECT f.app_id FROM type_patterns($1) t
     CROSS JOIN LATERAL (
        WITH RECURSIVE scan AS (
            (SELECT g.app_id FROM grant_entry g WHERE g.type = t ORDER BY g.app_id LIMIT 1)
            UNION ALL
            SELECT n.app_id FROM scan s CROSS JOIN LATERAL (
                SELECT g.app_id FROM grant_entry g WHERE g.type = t AND g.app_id > s.app_id ORDER BY g.app_id LIMIT 1
            ) n
        )
        SELECT app_id FROM scan LIMIT $3
     ) f
)
SELECT m.app_id, a.uid, bool_or(m.both) AS ended, bool_or(m.subject) AS subject_granted
  FROM (
    SELECT app_id, of_type AS both, true AS subject FROM about
    UNION ALL
    SELECT app_id, false, false FROM of_type
  ) m
  JOIN app a ON a.id = m.app_id
 WHERE NOT covered(m.app_id, $1, $2)
 GROUP BY m.app_id, a.uid ORDER BY m.app_id LIMIT $3

-- name: app_endpoints
SELECT e.id, e.app_id, e.uid, e.config, e.enabled, e.disabled_reason, e.paused, v.sendable IS NOT FALSE AS verified
  FROM endpoint e LEFT JOIN endpoint_verification v ON v.endpoint_id = e.id WHERE e.app_id = ANY ($1::uuid[]) AND e.deleted_at IS NULL ORDER BY e.app_id, e.id LIMIT $2

-- name: visibility
SELECT visibility FROM event_type WHERE name = $1
