-- The configuration. Rows are locked in one order everywhere: endpoints, then the counter of their partition, then the app.

-- name: installation
SELECT id, partitions FROM installation

-- name: audit
INSERT INTO audit (actor, action, object, detail) VALUES ($1, $2, $3, $4::jsonb)

-- name: bump_shared
-- Event types, keys or quotas change: what all partitions share. Holds others off until the end of the transaction.
UPDATE config_head SET version = version + 1 WHERE partition = -1

-- name: bump_app
SELECT bump_config($1)

-- What intake asks ---------------------------------------------------------------------------------------------------

-- name: event_type_entry
SELECT schema, archived_at IS NOT NULL AS archived FROM event_type WHERE name = $1

-- name: find_app
SELECT id, partition, uid, quotas FROM app WHERE (id = $1 OR uid = $2) AND deleted_at IS NULL
