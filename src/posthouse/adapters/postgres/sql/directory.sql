-- The configuration. Rows are locked in one order everywhere: endpoints, then the counter of their partition, then the app.

-- name: installation
SELECT id, partitions FROM installation

-- name: audit
INSERT INTO audit (actor, action, object, detail) VALUES ($1, $2, $3, $4::jsonb)

-- name: shared_version
SELECT version FROM config_head WHERE partition = -1

-- name: bump_shared
-- Event types or keys change: what all partitions share. Holds others off until the end of the transaction.
UPDATE config_head SET version = version + 1 WHERE partition = -1

-- name: bump_app
SELECT bump_config($1)

-- Event types --------------------------------------------------------------------------------------------------------

-- name: event_types
SELECT name, description, schema, examples, version, extract(epoch FROM created_at)::float8 AS created_at,
       extract(epoch FROM updated_at)::float8 AS updated_at, extract(epoch FROM archived_at)::float8 AS archived_at
  FROM event_type WHERE name > $1 AND ($3 OR archived_at IS NULL) ORDER BY name LIMIT $2

-- name: event_type
SELECT name, description, schema, examples, version, extract(epoch FROM created_at)::float8 AS created_at,
       extract(epoch FROM updated_at)::float8 AS updated_at, extract(epoch FROM archived_at)::float8 AS archived_at
  FROM event_type WHERE name = $1

-- name: event_type_locked
SELECT name, description, schema, examples, version, extract(epoch FROM created_at)::float8 AS created_at,
       extract(epoch FROM updated_at)::float8 AS updated_at, extract(epoch FROM archived_at)::float8 AS archived_at
  FROM event_type WHERE name = $1 FOR NO KEY UPDATE

-- name: event_type_entry
SELECT schema, archived_at IS NOT NULL AS archived FROM event_type WHERE name = $1

-- name: create_event_type
INSERT INTO event_type (name, description, schema, examples) VALUES ($1, $2, $3::jsonb, $4::jsonb)
    ON CONFLICT DO NOTHING RETURNING name

-- name: update_event_type
UPDATE event_type SET description = $2, schema = $3::jsonb, examples = $4::jsonb, version = $5,
       archived_at = to_timestamp($6), updated_at = clock_timestamp()
 WHERE name = $1

-- Apps ---------------------------------------------------------------------------------------------------------------

-- name: find_app
SELECT id, partition, uid FROM app WHERE (id = $1 OR uid = $2) AND deleted_at IS NULL

-- name: apps
SELECT id, partition, uid, name, metadata, extract(epoch FROM created_at)::float8 AS created_at,
       extract(epoch FROM updated_at)::float8 AS updated_at
  FROM app WHERE id < $1 AND deleted_at IS NULL ORDER BY id DESC LIMIT $2

-- name: app
SELECT id, partition, uid, name, metadata, extract(epoch FROM created_at)::float8 AS created_at,
       extract(epoch FROM updated_at)::float8 AS updated_at
  FROM app WHERE (id = $1 OR uid = $2) AND deleted_at IS NULL

-- name: create_app
WITH head AS (UPDATE config_head SET version = version + 1 WHERE partition = $2 RETURNING version)
INSERT INTO app (id, partition, uid, name, metadata, config_version)
SELECT $1, $2, $3, $4, $5::jsonb, head.version FROM head

-- name: update_app
-- After `bump_app`, which locks it.
UPDATE app SET uid = $2, name = $3, metadata = $4::jsonb WHERE id = $1

-- name: delete_app
UPDATE app SET deleted_at = clock_timestamp() WHERE id = $1 AND deleted_at IS NULL RETURNING id

-- name: lock_app_endpoints
SELECT id FROM endpoint WHERE app_id = $1 AND deleted_at IS NULL ORDER BY id FOR NO KEY UPDATE

-- name: delete_app_endpoints
UPDATE endpoint SET deleted_at = clock_timestamp(), updated_at = clock_timestamp()
 WHERE app_id = $1 AND deleted_at IS NULL RETURNING id

-- name: revoke_app_keys
UPDATE api_key SET revoked_at = clock_timestamp() WHERE app_id = $1 AND revoked_at IS NULL

-- name: drop_app_grants
DELETE FROM app_grant WHERE app_id = $1

-- Endpoints ----------------------------------------------------------------------------------------------------------

-- name: endpoints
SELECT e.id, e.app_id, e.uid, e.revision, e.config, e.metadata, e.enabled, e.disabled_reason, e.paused,
       extract(epoch FROM e.disabled_at)::float8 AS disabled_at, extract(epoch FROM h.failing_since)::float8 AS failing_since,
       extract(epoch FROM e.created_at)::float8 AS created_at, extract(epoch FROM e.updated_at)::float8 AS updated_at
  FROM endpoint e JOIN app a ON a.id = e.app_id
  LEFT JOIN endpoint_health h ON h.partition = a.partition AND h.endpoint_id = e.id
 WHERE e.app_id = $1 AND e.id < $2 AND e.deleted_at IS NULL ORDER BY e.id DESC LIMIT $3

-- name: endpoint
SELECT e.id, e.app_id, e.uid, e.revision, e.config, e.metadata, e.enabled, e.disabled_reason, e.paused,
       extract(epoch FROM e.disabled_at)::float8 AS disabled_at, extract(epoch FROM h.failing_since)::float8 AS failing_since,
       extract(epoch FROM e.created_at)::float8 AS created_at, extract(epoch FROM e.updated_at)::float8 AS updated_at
  FROM endpoint e JOIN app a ON a.id = e.app_id
  LEFT JOIN endpoint_health h ON h.partition = a.partition AND h.endpoint_id = e.id
 WHERE e.app_id = $1 AND (e.id = $2 OR e.uid = $3) AND e.deleted_at IS NULL

-- name: endpoint_locked
SELECT e.id, e.app_id, e.uid, e.revision, e.config, e.metadata, e.enabled, e.disabled_reason, e.paused,
       extract(epoch FROM e.disabled_at)::float8 AS disabled_at, extract(epoch FROM h.failing_since)::float8 AS failing_since,
       extract(epoch FROM e.created_at)::float8 AS created_at, extract(epoch FROM e.updated_at)::float8 AS updated_at
  FROM endpoint e JOIN app a ON a.id = e.app_id
  LEFT JOIN endpoint_health h ON h.partition = a.partition AND h.endpoint_id = e.id
 WHERE e.app_id = $1 AND e.id = $2 AND e.deleted_at IS NULL FOR NO KEY UPDATE OF e

-- name: count_endpoints
-- After `bump_app`: false where the app is gone.
SELECT a.deleted_at IS NULL AS there,
       (SELECT count(*) FROM endpoint e WHERE e.app_id = a.id AND e.deleted_at IS NULL) AS endpoints
  FROM app a WHERE a.id = $1

-- name: create_endpoint
WITH made AS (
    INSERT INTO endpoint (id, app_id, uid, config, metadata, enabled, disabled_reason, disabled_at, paused)
    VALUES ($1, $2, $3, $4::jsonb, $5::jsonb, $6, $7, to_timestamp($8), $9) RETURNING id, revision, config
)
INSERT INTO endpoint_revision (endpoint_id, revision, config) SELECT id, revision, config FROM made

-- name: update_endpoint
UPDATE endpoint SET uid = $2, revision = $3, config = $4::jsonb, metadata = $5::jsonb, enabled = $6, disabled_reason = $7,
       disabled_at = to_timestamp($8), paused = $9, updated_at = clock_timestamp()
 WHERE id = $1

-- name: add_revision
INSERT INTO endpoint_revision (endpoint_id, revision, config) VALUES ($1, $2, $3::jsonb)

-- name: forget_health
DELETE FROM endpoint_health h USING endpoint e, app a
 WHERE e.id = $1 AND a.id = e.app_id AND h.partition = a.partition AND h.endpoint_id = e.id

-- name: delete_endpoint
UPDATE endpoint SET deleted_at = clock_timestamp(), updated_at = clock_timestamp() WHERE id = $1

-- Secrets ------------------------------------------------------------------------------------------------------------

-- name: secrets
SELECT owner_id, kind, version, ciphertext, extract(epoch FROM created_at)::float8 AS created_at,
       extract(epoch FROM expires_at)::float8 AS expires_at
  FROM secret WHERE owner_id = $1 AND (expires_at IS NULL OR expires_at > to_timestamp($2)) ORDER BY version DESC

-- name: add_secret
INSERT INTO secret (owner_id, kind, version, ciphertext) VALUES ($1, $2, $3, $4)

-- name: expire_secrets
UPDATE secret SET expires_at = least(expires_at, to_timestamp($2)) WHERE owner_id = $1

-- name: drop_expired_secrets
DELETE FROM secret WHERE owner_id = $1 AND expires_at <= to_timestamp($2)

-- name: drop_secrets
DELETE FROM secret WHERE owner_id = ANY ($1::uuid[])

-- API keys -----------------------------------------------------------------------------------------------------------

-- name: keys
SELECT id, hint, name, app_id, extract(epoch FROM created_at)::float8 AS created_at,
       extract(epoch FROM revoked_at)::float8 AS revoked_at
  FROM api_key WHERE id < $1 AND revoked_at IS NULL ORDER BY id DESC LIMIT $2

-- name: key_locked
SELECT id, hint, name, app_id, extract(epoch FROM created_at)::float8 AS created_at,
       extract(epoch FROM revoked_at)::float8 AS revoked_at
  FROM api_key WHERE id = $1 AND revoked_at IS NULL FOR NO KEY UPDATE

-- name: principal
SELECT k.id, k.app_id, k.name FROM api_key k LEFT JOIN app a ON a.id = k.app_id
 WHERE k.hash = $1 AND k.revoked_at IS NULL AND (k.app_id IS NULL OR (a.id IS NOT NULL AND a.deleted_at IS NULL))

-- name: create_key
-- Nothing where its app is gone; the app stays until the end of the transaction.
WITH owner AS (SELECT id FROM app WHERE id = $5 AND deleted_at IS NULL FOR SHARE)
INSERT INTO api_key (id, hash, hint, name, scope, app_id)
SELECT $1, $2, $3, $4, CASE WHEN $5::uuid IS NULL THEN 'admin' ELSE 'app' END, $5
 WHERE $5 IS NULL OR EXISTS (SELECT 1 FROM owner)
RETURNING extract(epoch FROM created_at)::float8 AS created_at

-- name: admin_keys
SELECT count(*) FROM api_key WHERE app_id IS NULL AND revoked_at IS NULL

-- name: revoke_key
UPDATE api_key SET revoked_at = clock_timestamp() WHERE id = $1 RETURNING extract(epoch FROM revoked_at)::float8
