-- name: due_calls
-- The calls of these partitions that are due first: a few of each, from its end of the index.
SELECT c.* FROM unnest($1::int[]) u (partition)
 CROSS JOIN LATERAL (
    SELECT e.id, e.partition, e.endpoint_id, e.kind, e.reason, e.data, e.tries, extract(epoch FROM e.due_at)::float8 AS due_at
      FROM effect e WHERE e.partition = u.partition AND e.kind = 'call' ORDER BY e.due_at, e.id LIMIT $2
 ) c
 ORDER BY c.due_at, c.id LIMIT $2

-- name: count_calls
SELECT partition, count(*) AS rows FROM effect WHERE partition = ANY ($1::int[]) AND kind = 'call' GROUP BY partition

-- name: call_facts
SELECT e.id, e.partition, e.seq, e.app_id, e.type, e.payload, e.content_type, extract(epoch FROM e.created_at)::float8 AS created_at,
       e.config_version, e.subject, e.key, e.source, e.channels, e.attributes,
       extract(epoch FROM e.expires_at)::float8 AS expires_at, e.depth,
       e.only_endpoint, e.to_url, NULL::uuid[] AS audience, -- known: the endpoint is of one app
       a.id AS called_app, a.uid AS app_uid, a.name AS app_name, n.id AS endpoint_id, n.uid AS endpoint_uid, n.config, n.metadata
  FROM event e
  JOIN endpoint n ON n.id = $3 AND n.deleted_at IS NULL
  JOIN app a ON a.id = n.app_id AND a.deleted_at IS NULL
 WHERE e.id = $1 AND e.partition = $2

-- name: app_of_endpoint
SELECT app_id FROM endpoint WHERE id = $1 AND deleted_at IS NULL

-- name: record_effects
INSERT INTO effect (partition, id, endpoint_id, kind, reason, data)
SELECT u.p, u.id, u.ep, u.kind, u.reason, u.data::jsonb
  FROM unnest($1::int[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[]) u (p, id, ep, kind, reason, data)
ON CONFLICT DO NOTHING

-- name: call_done
DELETE FROM effect WHERE partition = $1 AND id = $2 AND kind = 'call' RETURNING id

-- name: call_again
UPDATE effect SET tries = $3, due_at = to_timestamp($4) WHERE partition = $1 AND id = $2 AND kind = 'call' RETURNING id
