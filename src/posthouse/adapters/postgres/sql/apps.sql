-- Apps: the consumers of the platform.

-- name: apps
SELECT id, partition, uid, name, metadata, quotas, extract(epoch FROM created_at)::float8 AS created_at,
       extract(epoch FROM updated_at)::float8 AS updated_at
  FROM app WHERE id < $1 AND deleted_at IS NULL ORDER BY id DESC LIMIT $2

-- name: apps_found
-- The newest of those with the id $1, or whose uid or name begins with $2: of the first $3 of either. OFFSET 0 keeps them being
-- looked up one by one.
SELECT a.id, a.partition, a.uid, a.name, a.metadata, a.quotas, extract(epoch FROM a.created_at)::float8 AS created_at,
       extract(epoch FROM a.updated_at)::float8 AS updated_at
  FROM (SELECT $1::uuid AS id
        UNION (SELECT id FROM app WHERE uid COLLATE "C" >= $2 AND uid COLLATE "C" < $2::text || chr(1114111)
                  AND deleted_at IS NULL ORDER BY uid COLLATE "C" LIMIT $3)
        UNION (SELECT id FROM app WHERE lower(name) COLLATE "C" >= lower($2)
                  AND lower(name) COLLATE "C" < lower($2) || chr(1114111)
                  AND deleted_at IS NULL ORDER BY lower(name) COLLATE "C" LIMIT $3)) f,
       LATERAL (SELECT * FROM app WHERE id = f.id AND deleted_at IS NULL OFFSET 0) a
 ORDER BY a.id DESC LIMIT $4

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

-- name: app_triggers
-- Of an app that is locked, which whoever makes a trigger of it does first.
SELECT id, uid FROM trigger WHERE app_id = $1 ORDER BY id LIMIT $2

-- name: drop_app_schedules
DELETE FROM schedule WHERE app_id = $1
