-- Endpoints, and their secrets.

-- part: endpoint_columns
-- An endpoint `e` as it is told, with its health `h` and its verification `v`.
e.id, e.app_id, e.uid, e.revision, e.config, e.metadata, e.enabled, e.disabled_reason, e.paused,
       extract(epoch FROM e.disabled_at)::float8 AS disabled_at, extract(epoch FROM h.failing_since)::float8 AS failing_since,
       h.circuit, extract(epoch FROM h.opened_at)::float8 AS opened_at, extract(epoch FROM h.probe_at)::float8 AS probe_at,
       h.trips, extract(epoch FROM h.held_until)::float8 AS held_until, v.progress AS verification,
       extract(epoch FROM e.created_at)::float8 AS created_at, extract(epoch FROM e.updated_at)::float8 AS updated_at,
       ARRAY(SELECT k.name FROM endpoint_key k WHERE k.endpoint_id = e.id AND k.expires_at IS NULL ORDER BY k.name) AS keys

-- part: endpoint_facts
-- What `endpoint_columns` are of, joined to an endpoint `e`.
JOIN app a ON a.id = e.app_id
  LEFT JOIN endpoint_health h ON h.partition = a.partition AND h.endpoint_id = e.id
  LEFT JOIN endpoint_verification v ON v.endpoint_id = e.id

-- name: endpoints
SELECT {{endpoint_columns}}
  FROM endpoint e {{endpoint_facts}}
 WHERE e.app_id = $1 AND e.id < $2 AND e.deleted_at IS NULL AND ($3::boolean IS NULL OR e.enabled = $3)
   AND CASE $5::text WHEN 'paused' THEN e.paused WHEN 'circuit_open' THEN h.circuit <> 'closed'
                     WHEN 'unverified' THEN NOT v.sendable ELSE true END
   AND ($6::text[] IS NULL OR e.id = $7
        OR EXISTS (SELECT 1 FROM unnest($6::text[]) b WHERE starts_with(e.uid, b) OR starts_with(e.config ->> 'url', b)))
 ORDER BY e.id DESC LIMIT $4

-- name: all_endpoints
-- Of all apps. The page is cut before anything is joined to it.
SELECT {{endpoint_columns}}
  FROM (SELECT * FROM endpoint WHERE id < $1 AND deleted_at IS NULL ORDER BY id DESC LIMIT $2) e
  {{endpoint_facts}}
 ORDER BY e.id DESC

-- name: all_endpoints_enabled
-- The same, of those that are enabled, or are not.
SELECT {{endpoint_columns}}
  FROM (SELECT * FROM endpoint WHERE enabled = $3 AND id < $1 AND deleted_at IS NULL ORDER BY id DESC LIMIT $2) e
  {{endpoint_facts}}
 ORDER BY e.id DESC

-- name: all_endpoints_paused
-- The same, of those that are paused.
SELECT {{endpoint_columns}}
  FROM (SELECT * FROM endpoint WHERE paused AND id < $1 AND deleted_at IS NULL AND ($3::boolean IS NULL OR enabled = $3)
         ORDER BY id DESC LIMIT $2) e
  {{endpoint_facts}}
 ORDER BY e.id DESC

-- name: all_endpoints_circuit_open
-- The same, of those whose circuit is not closed. OFFSET 0 keeps them being looked up one by one, as far as the page goes.
SELECT {{endpoint_columns}}
  FROM (SELECT d.* FROM endpoint_health o, LATERAL (
                SELECT * FROM endpoint WHERE id = o.endpoint_id AND deleted_at IS NULL AND ($3::boolean IS NULL OR enabled = $3)
                OFFSET 0) d
         WHERE o.circuit <> 'closed' AND o.endpoint_id < $1
         ORDER BY o.endpoint_id DESC LIMIT $2) e
  {{endpoint_facts}}
 ORDER BY e.id DESC

-- name: all_endpoints_unverified
-- The same, of those that did not pass their handshake.
SELECT {{endpoint_columns}}
  FROM (SELECT d.* FROM endpoint_verification o, LATERAL (
                SELECT * FROM endpoint WHERE id = o.endpoint_id AND deleted_at IS NULL AND ($3::boolean IS NULL OR enabled = $3)
                OFFSET 0) d
         WHERE NOT o.sendable AND o.endpoint_id < $1
         ORDER BY o.endpoint_id DESC LIMIT $2) e
  {{endpoint_facts}}
 ORDER BY e.id DESC

-- name: endpoints_found
-- The newest of those with the id $1, or whose uid begins with one of $2 or URL with one of $3: of the first $4 of each.
SELECT {{endpoint_columns}}
  FROM (SELECT $1::uuid AS id
        UNION SELECT f.id FROM unnest($2::text[]) b, LATERAL (
            SELECT id FROM endpoint WHERE uid COLLATE "C" >= b AND uid COLLATE "C" < b || chr(1114111)
               AND deleted_at IS NULL ORDER BY uid COLLATE "C" LIMIT $4) f
        UNION SELECT f.id FROM unnest($3::text[]) b, LATERAL (
            SELECT id FROM endpoint WHERE left(config ->> 'url', 256) COLLATE "C" >= b
               AND left(config ->> 'url', 256) COLLATE "C" < b || chr(1114111)
               AND deleted_at IS NULL ORDER BY left(config ->> 'url', 256) COLLATE "C" LIMIT $4) f) found,
       LATERAL (SELECT * FROM endpoint WHERE id = found.id AND deleted_at IS NULL
                   AND ($5::boolean IS NULL OR enabled = $5) OFFSET 0) e
  {{endpoint_facts}}
 WHERE CASE $6::text WHEN 'paused' THEN e.paused WHEN 'circuit_open' THEN h.circuit <> 'closed'
                     WHEN 'unverified' THEN NOT v.sendable ELSE true END
 ORDER BY e.id DESC LIMIT $7

-- name: endpoint
SELECT {{endpoint_columns}}
  FROM endpoint e {{endpoint_facts}}
 WHERE e.app_id = $1 AND (e.id = $2 OR e.uid = $3) AND e.deleted_at IS NULL

-- name: endpoint_locked
SELECT {{endpoint_columns}}
  FROM endpoint e {{endpoint_facts}}
 WHERE e.app_id = $1 AND e.id = $2 AND e.deleted_at IS NULL FOR NO KEY UPDATE OF e

-- name: count_endpoints
-- After `bump_app`: false where the app is gone. A uid that is taken is looked for here: the index would wait for whoever is
-- changing its row, and he for the counter.
SELECT a.deleted_at IS NULL AS there, a.quotas,
       EXISTS (SELECT 1 FROM endpoint e WHERE e.app_id = a.id AND e.uid = $2 AND e.deleted_at IS NULL) AS taken,
       (SELECT count(*) FROM endpoint e WHERE e.app_id = a.id AND e.deleted_at IS NULL) AS endpoints
  FROM app a WHERE a.id = $1

-- name: create_endpoint
WITH made AS (
    INSERT INTO endpoint (id, app_id, uid, config, metadata, enabled, disabled_reason, disabled_at, paused)
    VALUES ($1, $2, $3, $4::json, $5::jsonb, $6, $7, to_timestamp($8), $9) RETURNING id, revision, config
)
INSERT INTO endpoint_revision (endpoint_id, revision, config) SELECT id, revision, config FROM made

-- name: update_endpoint
UPDATE endpoint SET uid = $2, revision = $3, config = $4::json, metadata = $5::jsonb, enabled = $6, disabled_reason = $7,
       disabled_at = to_timestamp($8), paused = $9, updated_at = clock_timestamp()
 WHERE id = $1

-- name: add_revision
INSERT INTO endpoint_revision (endpoint_id, revision, config) VALUES ($1, $2, $3::json)

-- name: revisions
SELECT r.revision, r.config, extract(epoch FROM r.created_at)::float8 AS created_at
  FROM endpoint_revision r JOIN endpoint e ON e.id = r.endpoint_id
 WHERE e.app_id = $1 AND r.endpoint_id = $2 AND r.revision < $3 ORDER BY r.revision DESC LIMIT $4

-- name: forget_health
DELETE FROM endpoint_health h USING endpoint e, app a
 WHERE e.id = $1 AND a.id = e.app_id AND h.partition = a.partition AND h.endpoint_id = e.id

-- name: delete_endpoint
UPDATE endpoint SET deleted_at = clock_timestamp(), updated_at = clock_timestamp() WHERE id = $1

-- Secrets ------------------------------------------------------------------------------------------------------------

-- name: secrets
-- Each with the data key that it is sealed with, in one snapshot.
SELECT s.owner_id, s.kind, s.version, s.ciphertext, e.app_id, d.ciphertext AS data_key,
       extract(epoch FROM s.created_at)::float8 AS created_at, extract(epoch FROM s.expires_at)::float8 AS expires_at
  FROM secret s JOIN endpoint e ON e.id = s.owner_id
  LEFT JOIN data_key d ON d.app_id = e.app_id AND d.version = s.data_key
 WHERE s.owner_id = $1 AND (s.expires_at IS NULL OR s.expires_at > to_timestamp($2)) ORDER BY s.version DESC

-- name: all_secrets
-- Whether they still sign or not.
SELECT s.owner_id, s.kind, s.version, s.ciphertext, e.app_id, d.ciphertext AS data_key,
       extract(epoch FROM s.created_at)::float8 AS created_at, extract(epoch FROM s.expires_at)::float8 AS expires_at
  FROM secret s JOIN endpoint e ON e.id = s.owner_id
  LEFT JOIN data_key d ON d.app_id = e.app_id AND d.version = s.data_key
 WHERE s.owner_id = $1 ORDER BY s.version DESC

-- name: add_secret
INSERT INTO secret (owner_id, kind, version, ciphertext, data_key) VALUES ($1, $2, $3, $4, $5)

-- name: expire_secrets
UPDATE secret SET expires_at = least(expires_at, to_timestamp($2)) WHERE owner_id = $1

-- name: drop_expired_secrets
DELETE FROM secret WHERE owner_id = $1 AND expires_at <= to_timestamp($2)

-- name: drop_secrets
DELETE FROM secret WHERE owner_id = $1

-- Named keys ---------------------------------------------------------------------------------------------------------

-- name: keys
-- Without what they are; whether they are live or not.
SELECT name, version, extract(epoch FROM created_at)::float8 AS created_at, extract(epoch FROM expires_at)::float8 AS expires_at
  FROM endpoint_key WHERE endpoint_id = $1 ORDER BY name, version DESC

-- name: sealed_keys
SELECT k.name, k.version, k.ciphertext, e.app_id, d.ciphertext AS data_key,
       extract(epoch FROM k.created_at)::float8 AS created_at, extract(epoch FROM k.expires_at)::float8 AS expires_at
  FROM endpoint_key k JOIN endpoint e ON e.id = k.endpoint_id
  LEFT JOIN data_key d ON d.app_id = e.app_id AND d.version = k.data_key
 WHERE k.endpoint_id = $1 ORDER BY k.name, k.version DESC

-- name: add_key
INSERT INTO endpoint_key (endpoint_id, name, version, ciphertext, data_key) VALUES ($1, $2, $3, $4, $5)

-- name: expire_key
UPDATE endpoint_key SET expires_at = to_timestamp($4) WHERE endpoint_id = $1 AND name = $2 AND version = $3

-- name: drop_key
DELETE FROM endpoint_key WHERE endpoint_id = $1 AND name = $2 AND version = $3

-- name: drop_keys
DELETE FROM endpoint_key WHERE endpoint_id = $1
