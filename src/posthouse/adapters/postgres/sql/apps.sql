-- Apps: the consumers of the platform.

-- name: apps
SELECT id, partition, uid, name, metadata, quotas, extract(epoch FROM created_at)::float8 AS created_at,
       extract(epoch FROM updated_at)::float8 AS updated_at
  FROM app WHERE id < $1 AND deleted_at IS NULL ORDER BY id DESC LIMIT $2

-- name: app
SELECT id, partition, uid, name, metadata, quotas, extract(epoch FROM created_at)::float8 AS created_at,
       extract(epoch FROM updated_at)::float8 AS updated_at
  FROM app WHERE (id = $1 OR uid = $2) AND deleted_at IS NULL

-- name: create_app
WITH head AS (UPDATE config_head SET version = version + 1 WHERE partition = $2 RETURNING version)
INSERT INTO app (id, partition, uid, name, metadata, quotas, config_version)
SELECT $1, $2, $3, $4, $5::jsonb, $6::jsonb, head.version FROM head

-- name: update_app
-- After `bump_app`, which locks it.
UPDATE app SET uid = $2, name = $3, metadata = $4::jsonb, quotas = $5::jsonb,
       updated_at = clock_timestamp()
 WHERE id = $1

-- name: delete_app
UPDATE app SET deleted_at = clock_timestamp() WHERE id = $1

-- name: lock_app_endpoints
SELECT id FROM endpoint WHERE app_id = $1 AND deleted_at IS NULL ORDER BY id FOR NO KEY UPDATE

-- name: delete_app_endpoints
UPDATE endpoint SET deleted_at = clock_timestamp(), updated_at = clock_timestamp()
 WHERE app_id = $1 AND deleted_at IS NULL RETURNING id

-- name: drop_app_secrets
DELETE FROM secret WHERE owner_id = ANY ($1::uuid[])

-- name: drop_app_endpoint_keys
DELETE FROM endpoint_key WHERE endpoint_id = ANY ($1::uuid[])

-- name: drop_data_keys
DELETE FROM data_key WHERE app_id = $1

-- name: revoke_app_keys
UPDATE api_key SET revoked_at = clock_timestamp() WHERE app_id = $1 AND revoked_at IS NULL

-- name: drop_app_grants
DELETE FROM app_grant WHERE app_id = $1

-- name: drop_app_schedules
DELETE FROM schedule WHERE app_id = $1
