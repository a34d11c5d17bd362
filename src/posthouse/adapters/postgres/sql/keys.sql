-- API keys.

-- name: keys
SELECT id, hint, scope, name, app_id, extract(epoch FROM created_at)::float8 AS created_at,
       extract(epoch FROM revoked_at)::float8 AS revoked_at
  FROM api_key WHERE id < $1 AND revoked_at IS NULL ORDER BY id DESC LIMIT $2

-- name: key_locked
SELECT id, hint, scope, name, app_id, extract(epoch FROM created_at)::float8 AS created_at,
       extract(epoch FROM revoked_at)::float8 AS revoked_at
  FROM api_key WHERE id = $1 AND revoked_at IS NULL FOR NO KEY UPDATE

-- name: principal
SELECT k.id, k.scope, k.app_id, k.name FROM api_key k LEFT JOIN app a ON a.id = k.app_id
 WHERE k.hash = $1 AND k.revoked_at IS NULL AND (k.app_id IS NULL OR (a.id IS NOT NULL AND a.deleted_at IS NULL))

-- name: create_key
-- Nothing where its app is gone; the app stays until the end of the transaction.
WITH owner AS (SELECT id FROM app WHERE id = $6 AND deleted_at IS NULL FOR SHARE)
INSERT INTO api_key (id, hash, hint, name, scope, app_id)
SELECT $1, $2, $3, $4, $5, $6
 WHERE $6 IS NULL OR EXISTS (SELECT 1 FROM owner)
RETURNING extract(epoch FROM created_at)::float8 AS created_at

-- name: admin_keys
SELECT count(*) FROM api_key WHERE scope = 'admin' AND revoked_at IS NULL

-- name: revoke_key
UPDATE api_key SET revoked_at = clock_timestamp() WHERE id = $1 RETURNING extract(epoch FROM revoked_at)::float8
